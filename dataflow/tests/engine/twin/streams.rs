//! Between timely's streams, which carry an epoch beside the records, and differential's
//! collections, which carry it in them; and the counts of what was accepted.

use std::collections::BTreeMap;

use differential_dataflow::{AsCollection, Data};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::Operator;
use trueup_dataflow::record::EventRecord;
use trueup_dataflow::{Accepted, Origin};
use trueup_ledger::TransactionKey;

use super::Epochs;
use super::model::Content;

/// A content, and a record of it in the order that counts: epoch, partition, ordinal.
pub(crate) type Seen = ((TransactionKey, Content), (u64, u32, u64));

/// Makes a collection of what was pushed.
pub(crate) fn records<'s>(events: Stream<'s, u64, Vec<EventRecord>>) -> Epochs<'s, Seen> {
    let updates = events.unary(Pipeline, "Records", |_, _| {
        |input, output| {
            input.for_each(|capability, records: &mut Vec<EventRecord>| {
                let epoch = *capability.time();
                let updates = records.drain(..).map(|record| {
                    let content = (record.key, record.canonical);
                    let Origin { partition, ordinal } = record.origin;
                    ((content, (epoch, partition, ordinal)), epoch, 1)
                });
                output.session(&capability).give_iterator(updates);
            });
        }
    });
    updates.as_collection()
}

/// The record of each content that counts as applied. A later one is never smaller.
pub(crate) fn firsts<'s>(records: Epochs<'s, Seen>) -> Epochs<'s, Seen> {
    records.reduce(|_, seen, first| first.push((*seen[0].0, 1)))
}

/// Counts the firsts as applied and all other records as duplicates, each in its epoch.
pub(crate) fn accepted<'s>(
    records: Epochs<'s, Seen>,
    firsts: Epochs<'s, Seen>,
) -> Stream<'s, u64, Vec<(u32, Accepted)>> {
    let count = |(_, (_, partition, _)): Seen, diff, applied| {
        let times = u64::try_from(diff).expect("nothing is taken back that was accepted");
        let (applied, duplicate) = if applied { (times, 0) } else { (0, times) };
        Some((partition, Accepted { applied, duplicate }))
    };
    let others = records.concat(firsts.clone().negate()).consolidate();
    let applied = at_epochs(firsts, move |seen, diff| count(seen, diff, true));
    applied.concat(at_epochs(others, move |seen, diff| count(seen, diff, false)))
}

/// Turns the changes of a collection into records at the epochs they are of, which may be later
/// than the one they travel under.
pub(crate) fn at_epochs<'s, D: Data, O: Clone + 'static>(
    collection: Epochs<'s, D>,
    logic: impl Fn(D, isize) -> Option<O> + 'static,
) -> Stream<'s, u64, Vec<O>> {
    collection.inner.unary(Pipeline, "AtEpochs", move |_, _| {
        move |input, output| {
            input.for_each(|capability, updates| {
                let mut by_epoch: BTreeMap<u64, Vec<O>> = BTreeMap::new();
                for (data, epoch, diff) in updates.drain(..) {
                    by_epoch.entry(epoch).or_default().extend(logic(data, diff));
                }
                for (epoch, mut records) in by_epoch {
                    output.session(&capability.delayed(&epoch, 0)).give_container(&mut records);
                }
            });
        }
    })
}
