//! Nets, up the chains: the sums are the differences, as `net = gross - (nets of those below)` is
//! linear.

use differential_dataflow::VecCollection;
use differential_dataflow::operators::Iterate;
use trueup_ledger::{Kind, TransactionKey};

use super::Epochs;
use super::lines::{Lines, grosses};
use super::model::{Money, Part};

/// What the effective links to each transaction add up to, by kind and currency.
pub(crate) fn inflows<'s>(
    lines: Lines<'s>,
    effective: Epochs<'s, (TransactionKey, (TransactionKey, Kind))>,
) -> Epochs<'s, (TransactionKey, Part)> {
    let gross: VecCollection<'s, u64, (TransactionKey, Box<str>), Money> =
        lines.explode(|(key, lines)| {
            let grosses = grosses(&lines).into_iter();
            grosses.map(move |(currency, units)| ((key, currency), Money(units)))
        });
    let up = effective.clone();
    let nets = gross.clone().iterate(move |scope, nets| {
        let below =
            nets.join_map(up.enter(scope), |_, currency, (target, _)| (*target, currency.clone()));
        gross.enter(scope).concat(below.negate()).consolidate()
    });
    nets.join_map(effective, |_, currency, (target, kind)| (*target, *kind, currency.clone()))
        .count()
        .map(|((target, kind, currency), units)| (target, Part::Inflow(kind, currency, units)))
}
