//! Between timely's streams, which carry an epoch beside the records, and differential's
//! collections, which carry it in them; and the counts of what was accepted.

use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::{AsCollection, Data};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Capability, Concat};
use trueup_dataflow::periods::Closing;
use trueup_dataflow::record::{EventRecord, LateLine};
use trueup_dataflow::time::EpochClock;
use trueup_dataflow::{Accepted, Origin};
use trueup_ledger::{Event, Month, Rules, TransactionKey};

use super::Epochs;
use super::model::Content;

/// A content, and a record of it in the order that counts: epoch, partition, ordinal; with the time by
/// which it is late, if it is.
pub(crate) type Seen = ((TransactionKey, Content), (u64, u32, u64, Option<i64>));

/// Makes a collection of what was pushed.
pub(crate) fn records<'s>(
    events: Stream<'s, u64, Vec<EventRecord>>,
    clock: EpochClock,
    rules: Arc<Rules>,
) -> Epochs<'s, Seen> {
    let updates = events.unary_frontier(Pipeline, "Records", move |_, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, Vec<EventRecord>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, records: &mut Vec<EventRecord>| {
                let entry = waiting.entry(*capability.time());
                entry.or_insert_with(|| (capability.retain(0), Vec::new())).1.append(records);
            });
            // The time of an epoch is known once it is complete.
            while let Some(first) = waiting.first_entry() {
                let epoch = *first.key();
                if frontier.less_equal(&epoch) {
                    break;
                }
                let (capability, records) = first.remove();
                let time = clock.at(epoch);
                let updates = records.into_iter().map(|record| {
                    let recorded_at = Event::decode(&record.canonical).unwrap().recorded_at;
                    let delay = rules.delayed.as_ref();
                    let delay = delay.and_then(|delayed| delayed.delay(recorded_at, time));
                    let content = (record.key, record.canonical);
                    let Origin { partition, ordinal } = record.origin;
                    ((content, (epoch, partition, ordinal, delay)), epoch, 1)
                });
                output.session(&capability).give_iterator(updates);
            }
        }
    });
    updates.as_collection()
}

/// Lets through what was changed in a month that was closed before the epoch.
pub(crate) fn of_closed_months<'s>(
    lines: Stream<'s, u64, Vec<LateLine>>,
    closings: Stream<'s, u64, Vec<Closing>>,
) -> Stream<'s, u64, Vec<LateLine>> {
    lines.binary_frontier(closings, Pipeline, Pipeline, "OfClosedMonths", |_, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, Vec<LateLine>)> = BTreeMap::new();
        let mut closed: BTreeMap<(Box<str>, Month), BTreeMap<u64, bool>> = BTreeMap::new();
        move |(lines, frontier), (closings, closings_frontier), output| {
            lines.for_each(|capability, lines: &mut Vec<LateLine>| {
                let entry = waiting.entry(*capability.time());
                entry.or_insert_with(|| (capability.retain(0), Vec::new())).1.append(lines);
            });
            closings.for_each(|capability, closings: &mut Vec<Closing>| {
                for closing in closings.drain(..) {
                    let month = closed.entry((closing.tenant, closing.month)).or_default();
                    month.insert(*capability.time(), closing.since.is_some());
                }
            });
            while let Some(first) = waiting.first_entry() {
                let epoch = *first.key();
                if frontier.less_equal(&epoch) || closings_frontier.less_than(&epoch) {
                    break;
                }
                let (capability, mut lines) = first.remove();
                lines.retain(|line| {
                    let month = closed.get(&(line.tenant.clone(), line.month));
                    let before = month.and_then(|month| month.range(..epoch).next_back());
                    before.is_some_and(|(_, is_closed)| *is_closed)
                });
                output.session(&capability).give_container(&mut lines);
            }
        }
    })
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
    let count = |(_, (_, partition, ..)): Seen, diff, applied| {
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
