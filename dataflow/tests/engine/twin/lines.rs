//! The lines of current postings, from holds to captures and down the chains of reversals, and how
//! each transaction stands in the end.

use differential_dataflow::operators::Iterate;
use trueup_ledger::{Side, TransactionKey};

use super::Epochs;
use super::links::Links;
use super::model::{Head, Line, Part, Standing};

/// The current lines of every transaction that has events, one list each.
pub(crate) type Lines<'s> = Epochs<'s, (TransactionKey, Vec<Line>)>;

/// Derives lines until nothing more follows. Winners name each other in trees only, since circles
/// are no winners; a winner has lines once its target has.
pub(crate) fn lines<'s>(heads: Epochs<'s, (TransactionKey, Head)>, links: Links<'s>) -> Lines<'s> {
    let winners = links.winners;
    let given = heads
        .map(|(key, head)| (key, head.carried))
        .antijoin(winners.clone().map(|(_, (from, _))| from));
    given.clone().iterate(move |scope, lines| {
        let derived = winners.enter(scope).join_map(lines, |_, (from, kind), lines| {
            (*from, lines.iter().map(|line| line.derived(*kind)).collect())
        });
        given.enter(scope).concat(derived).consolidate()
    })
}

/// How everyone stands that does not stand clear.
pub(crate) fn standings<'s>(
    lines: Lines<'s>,
    links: Links<'s>,
) -> Epochs<'s, (TransactionKey, Part)> {
    let orphans = links.orphans.map(|(key, cause)| (key, Standing::Orphan(cause)));
    let derived = links
        .winners
        .join_map(lines.clone(), |_, (from, _), lines| (*from, Standing::Derives(lines.clone())));
    let lost = links
        .losers
        .join_map(lines, |_, from, lines| (*from, Standing::WithoutEffect(grosses(lines))));
    let late = links.late.map(|(key, resolver)| (key, Standing::Late(resolver)));
    orphans
        .concat(derived)
        .concat(lost)
        .concat(late)
        .map(|(key, standing)| (key, Part::Standing(standing)))
}

/// Returns the gross by currency, in order, where it is not 0: the debits, or the credits of one
/// that has no debit line.
pub(crate) fn grosses(lines: &[Line]) -> Vec<(Box<str>, i128)> {
    let mut currencies: Vec<&str> = lines.iter().map(|line| &*line.currency).collect();
    currencies.sort_unstable();
    currencies.dedup();
    let mut grosses = Vec::new();
    for currency in currencies {
        let of = |side| {
            let lines = lines.iter().filter(move |line| &*line.currency == currency);
            lines.filter(move |line| line.side == side).map(|line| line.units)
        };
        let gross: i128 = match of(Side::Debit).count() {
            0 => of(Side::Credit).sum(),
            _ => of(Side::Debit).sum(),
        };
        if gross != 0 {
            grosses.push((currency.into(), gross));
        }
    }
    grosses
}
