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

/// What has come of an epoch, with the right to send what follows from it.
struct Waiting<D, B> {
    capability: Capability<u64>,
    changes: Vec<D>,
    beside: Vec<B>,
}

impl<D, B> Waiting<D, B> {
    /// Begins an epoch with the room of one that is done, if there is some.
    fn new(capability: Capability<u64>, room: &mut Vec<D>) -> Waiting<D, B> {
        Waiting { capability, changes: std::mem::take(room), beside: Vec::new() }
    }
}

/// Calls `each` with the changes of every epoch, which it may take or leave, and with what comes
/// `beside` them and is on its worker already, once all is there; epochs come in order. `shard` decides
/// the worker of what comes, and `add` adds it to the changes.
pub(crate) fn by_epoch<'s, C: ExchangeData, D: 'static, B: Clone + 'static>(
    changes: Stream<'s, u64, Vec<C>>,
    beside: Stream<'s, u64, Vec<B>>,
    name: &str,
    shard: impl Fn(&C) -> u64 + 'static,
    add: impl Fn(&mut Vec<D>, &mut Vec<C>) + 'static,
    mut each: impl FnMut(u64, &mut Vec<D>, Vec<B>) -> Vec<Table> + 'static,
) -> Tables<'s> {
    changes.binary_frontier(beside, Exchange::new(shard), Pipeline, name, move |_, _| {
        let mut waiting: BTreeMap<u64, Waiting<D, B>> = BTreeMap::new();
        // What the last epoch had room for: as many changes are likely to come again, growing would
        // move them all, and memory that is used again needs no zeroing.
        let mut room = Vec::new();
        move |(input, frontier), (beside, beside_frontier), output| {
            input.for_each(|capability, changes| {
                let entry = waiting.entry(*capability.time());
                let epoch = entry.or_insert_with(|| Waiting::new(capability.retain(0), &mut room));
                add(&mut epoch.changes, changes);
            });
            beside.for_each(|capability, beside| {
                let entry = waiting.entry(*capability.time());
                let epoch = entry.or_insert_with(|| Waiting::new(capability.retain(0), &mut room));
                epoch.beside.append(beside);
            });
            while let Some(first) = waiting.first_entry() {
                if frontier.less_equal(first.key()) || beside_frontier.less_equal(first.key()) {
                    break;
                }
                let (epoch, Waiting { capability, mut changes, beside }) = first.remove_entry();
                let mut tables = each(epoch, &mut changes, beside);
                output.session(&capability).give_container(&mut tables);
                changes.clear();
                room = changes;
            }
        }
    })
}

/// Adds up the changes of one epoch, so that each key changes once, and puts them in the order of
/// their keys.
pub(crate) fn consolidate<K: Ord + Copy, V: Total>(changes: &mut Vec<(K, V)>) {
    changes.sort_unstable_by_key(|(key, _)| *key);
    changes.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        if same {
            sum.1.plus_equals(&next.1);
        }
        same
    });
    changes.retain(|(_, change)| !change.is_zero());
}
