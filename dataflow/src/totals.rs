//! What views that keep totals outside arrangements share, since their keys grow without end.
//!
//! In: changes of sums at epochs, exchanged so that one worker owns a key, and the names that they
//! use. Out: whole epochs, in order, to the view that keeps the totals in the store.

use std::collections::BTreeMap;
use std::rc::Rc;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, OutputBuilderSession};
use trueup_ledger::Table;

use crate::names::{AccountKey, AccountName, Directory};
use crate::sums::Total;
use crate::transactions::Tables;

type Nothing = CapacityContainerBuilder<Vec<()>>;

/// The names that a worker prints, shared by its operators.
pub(crate) type SharedDirectory = Rc<Directory>;

/// Sends each name to the worker that prints it and records it there. The stream that comes out
/// is empty: its frontier says through which epoch all names are recorded.
pub(crate) fn record_names<'s>(
    names: Stream<'s, u64, Vec<(AccountKey, AccountName)>>,
    directory: SharedDirectory,
) -> Stream<'s, u64, Vec<()>> {
    let by_account = Exchange::new(|(key, _): &(AccountKey, AccountName)| route(*key));
    names.unary(by_account, "RecordNames", move |_, _| {
        move |input, _output: &mut OutputBuilderSession<'_, u64, Nothing>| {
            input.for_each(|_, names| directory.record(names.drain(..)));
        }
    })
}

/// Returns the number by which an account is routed to its worker.
pub(crate) fn route(key: AccountKey) -> u64 {
    u64::from(key.shard())
}

/// Calls `each` with the changes of every epoch, once all are there and the names they use are
/// recorded; epochs come in order. `shard` decides the worker of a change.
pub(crate) fn by_epoch<'s, D: ExchangeData>(
    changes: Stream<'s, u64, Vec<D>>,
    names: Stream<'s, u64, Vec<()>>,
    name: &str,
    shard: impl Fn(&D) -> u64 + 'static,
    mut each: impl FnMut(u64, Vec<D>) -> Vec<Table> + 'static,
) -> Tables<'s> {
    by_epoch_beside(changes, names, name, shard, move |epoch, changes, _| each(epoch, changes))
}

/// What has come of an epoch, with the right to send what follows from it.
struct Waiting<D, B> {
    capability: Capability<u64>,
    changes: Vec<D>,
    beside: Vec<B>,
}

impl<D, B> Waiting<D, B> {
    fn new(capability: Capability<u64>, changes: usize) -> Waiting<D, B> {
        Waiting { capability, changes: Vec::with_capacity(changes), beside: Vec::new() }
    }
}

/// As [`by_epoch`], with what comes `beside` the changes and is on its worker already; `each` is
/// called too where an epoch has nothing else.
pub(crate) fn by_epoch_beside<'s, D: ExchangeData, B: Clone + 'static>(
    changes: Stream<'s, u64, Vec<D>>,
    beside: Stream<'s, u64, Vec<B>>,
    name: &str,
    shard: impl Fn(&D) -> u64 + 'static,
    mut each: impl FnMut(u64, Vec<D>, Vec<B>) -> Vec<Table> + 'static,
) -> Tables<'s> {
    changes.binary_frontier(beside, Exchange::new(shard), Pipeline, name, move |_, _| {
        let mut waiting: BTreeMap<u64, Waiting<D, B>> = BTreeMap::new();
        // As many as in the epoch before are likely to come: growing would move them all.
        let mut expected = 0;
        move |(input, frontier), (beside, beside_frontier), output| {
            input.for_each(|capability, changes| {
                let entry = waiting.entry(*capability.time());
                let epoch = entry.or_insert_with(|| Waiting::new(capability.retain(0), expected));
                epoch.changes.append(changes);
            });
            beside.for_each(|capability, beside| {
                let entry = waiting.entry(*capability.time());
                let epoch = entry.or_insert_with(|| Waiting::new(capability.retain(0), expected));
                epoch.beside.append(beside);
            });
            while let Some(first) = waiting.first_entry() {
                if frontier.less_equal(first.key()) || beside_frontier.less_equal(first.key()) {
                    break;
                }
                let (epoch, Waiting { capability, changes, beside }) = first.remove_entry();
                expected = changes.len();
                output.session(&capability).give_container(&mut each(epoch, changes, beside));
            }
        }
    })
}

/// Adds up the changes of one epoch, so that each key changes once; they come in the
/// order of their keys.
pub(crate) fn consolidated<K: Ord + Copy, V: Total>(mut changes: Vec<(K, V)>) -> Vec<(K, V)> {
    changes.sort_unstable_by_key(|(key, _)| *key);
    changes.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        if same {
            sum.1.plus_equals(&next.1);
        }
        same
    });
    changes.retain(|(_, change)| !change.is_zero());
    changes
}
