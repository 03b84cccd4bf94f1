//! What became of each transaction in each currency (SPEC §4, `transaction_totals`): gross,
//! corrected, reversed, refunded and net, and what was captured of a hold. What a hold amounts to
//! is what it held, resolved or not.

use std::collections::BTreeMap;

use super::lines::Line;
use super::links::Link;
use super::sum;
use super::transactions::Transaction;
use crate::{Kind, Side};

/// The sums of one transaction in one currency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total<'a> {
    pub(super) currency: &'a str,
    /// Whether the view has a row: the currency is one of the openings or the current lines.
    pub(super) is_row: bool,
    pub(super) gross: i128,
    pub(super) corrected: i128,
    pub(super) reversed: i128,
    pub(super) refunded: i128,
    /// The sum of the nets of the captures of a hold; no column of the view.
    pub(super) captured: i128,
}

impl Total<'_> {
    /// Returns what is left: gross − reversed − refunded.
    pub(super) fn net(&self) -> i128 {
        sum(sum(self.gross, -self.reversed), -self.refunded)
    }
}

/// Returns the totals of all transactions.
pub(super) fn totals<'a>(
    transactions: &[Transaction<'a>],
    links: &[Link],
    lines: &[Vec<Line<'a>>],
) -> Vec<Vec<Total<'a>>> {
    let mut totals: Vec<_> = transactions
        .iter()
        .zip(lines)
        .map(|(transaction, lines)| own_totals(transaction, lines))
        .collect();
    // A net is final when all that is effective on the transaction has been taken off.
    let mut awaited = vec![0_usize; links.len()];
    for (transaction, link) in transactions.iter().zip(links) {
        if let Some(target) = counts_for(transaction, *link) {
            awaited[target] += 1;
        }
    }
    let mut ready: Vec<_> = (0..links.len()).filter(|index| awaited[*index] == 0).collect();
    while let Some(index) = ready.pop() {
        let Some(target) = counts_for(&transactions[index], links[index]) else {
            continue;
        };
        for taken in std::mem::take(&mut totals[index]) {
            let total = total_of(&mut totals[target], taken.currency);
            match transactions[index].kind() {
                Some(Kind::Refund) => total.refunded = sum(total.refunded, taken.net()),
                Some(Kind::Capture) => total.captured = sum(total.captured, taken.net()),
                _ => total.reversed = sum(total.reversed, taken.net()),
            }
            totals[index].push(taken);
        }
        awaited[target] -= 1;
        if awaited[target] == 0 {
            ready.push(target);
        }
    }
    totals
}

/// Returns the transaction in whose totals the net of this one is counted: the target of every
/// effective link but a release, and the hold of a late capture that carries its postings.
fn counts_for(transaction: &Transaction<'_>, link: Link) -> Option<usize> {
    match (link, transaction.kind()) {
        (_, Some(Kind::Release)) => None,
        (Link::Effective(target), _) => Some(target),
        (Link::Late { hold, .. }, _) if transaction.derives().is_none() => Some(hold),
        _ => None,
    }
}

fn own_totals<'a>(transaction: &Transaction<'a>, lines: &[Line<'a>]) -> Vec<Total<'a>> {
    let mut totals = Vec::new();
    let current = lines.iter().map(|line| {
        let posting = line.posting;
        (posting.currency.as_ref(), line.side, posting.amount.0)
    });
    for (currency, gross) in gross(current) {
        let total = total_of(&mut totals, currency);
        total.is_row = true;
        total.gross = gross;
        total.corrected = gross;
    }
    if transaction.derives().is_some() {
        for total in &mut totals {
            total.corrected = 0;
        }
        return totals;
    }
    let opened = transaction
        .legs
        .iter()
        .flat_map(|leg| &leg.opening.postings)
        .map(|posting| (posting.currency.as_ref(), posting.side, posting.amount.0));
    for (currency, gross) in gross(opened) {
        let total = total_of(&mut totals, currency);
        total.is_row = true;
        total.corrected = sum(total.corrected, -gross);
    }
    totals
}

/// Returns, by currency, the sum of the debits, or of the credits where no line debits.
fn gross<'a>(lines: impl Iterator<Item = (&'a str, Side, i128)>) -> BTreeMap<&'a str, i128> {
    let mut sides: BTreeMap<&str, (Option<i128>, i128)> = BTreeMap::new();
    for (currency, side, amount) in lines {
        let (debits, credits) = sides.entry(currency).or_default();
        match side {
            Side::Debit => *debits = Some(sum(debits.unwrap_or(0), amount)),
            Side::Credit => *credits = sum(*credits, amount),
        }
    }
    sides
        .into_iter()
        .map(|(currency, (debits, credits))| (currency, debits.unwrap_or(credits)))
        .collect()
}

fn total_of<'t, 'a>(totals: &'t mut Vec<Total<'a>>, currency: &'a str) -> &'t mut Total<'a> {
    let index = totals.iter().position(|total| total.currency == currency).unwrap_or_else(|| {
        totals.push(Total {
            currency,
            is_row: false,
            gross: 0,
            corrected: 0,
            reversed: 0,
            refunded: 0,
            captured: 0,
        });
        totals.len() - 1
    });
    &mut totals[index]
}
