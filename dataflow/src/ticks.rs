//! Operators that act on every epoch, though nothing has come: time goes by without events.

use std::collections::BTreeMap;

use timely::ExchangeData;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use trueup_ledger::Table;

use crate::transactions::Tables;

/// Calls `each` once for every epoch behind `since`, in order, with all that came in it. `shard`
/// decides the worker of what comes.
pub(crate) fn every_epoch<'s, D: ExchangeData>(
    name: &str,
    changes: Stream<'s, u64, Vec<D>>,
    shard: impl Fn(&D) -> u64 + 'static,
    since: u64,
    mut each: impl FnMut(u64, Vec<D>) -> Vec<Table> + 'static,
) -> Tables<'s> {
    changes.unary_frontier(Exchange::new(shard), name, move |capability, _| {
        let mut waiting: BTreeMap<u64, Vec<D>> = BTreeMap::new();
        // The epoch that comes next, as long as one may.
        let mut next = Some(capability.delayed(&(since + 1)));
        move |(input, frontier), output| {
            input.for_each(|capability, changes| {
                // What the store had kept is of an epoch that is published.
                if *capability.time() > since {
                    waiting.entry(*capability.time()).or_default().append(changes);
                }
            });
            let Some(through) = frontier.frontier().first().copied() else {
                // The open epoch has no end.
                next = None;
                return;
            };
            if let Some(held) = &mut next {
                while *held.time() < through {
                    let epoch = *held.time();
                    let changes = waiting.remove(&epoch).unwrap_or_default();
                    let mut tables = each(epoch, changes);
                    output.session(&*held).give_container(&mut tables);
                    *held = held.delayed(&(epoch + 1));
                }
            }
        }
    })
}
