//! A collection's totals by key, kept outside arrangements: for views whose keys grow without end.
//!
//! In: changes of sums at epochs, exchanged so that one worker owns a key. Out: for each key whose
//! total an epoch changes, the row of the old total retracted and that of the new one inserted.
//! State: one total a key, and names shared with the other totals of the worker, both
//! kept in the store.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, OutputBuilderSession};
use trueup_ledger::{Table, View};

use crate::names::{AccountKey, AccountName, Directory};
use crate::store::{Kept, Space, StateKey, StateValue, WorkerState};
use crate::sums::Total;
use crate::transactions::Tables;

type Nothing = CapacityContainerBuilder<Vec<()>>;

/// The names that a worker prints, shared by its operators.
pub(crate) type SharedDirectory = Rc<Directory>;

/// Sends each name to the worker that prints it and records it there. The stream that comes out
/// is empty: its frontier says through which epoch all names are recorded.
pub(crate) fn record_names<'s>(
    names: Stream<'s, u64, Vec<AccountName>>,
    directory: SharedDirectory,
) -> Stream<'s, u64, Vec<()>> {
    let by_account = Exchange::new(|name: &AccountName| route(name.key()));
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
    changes.binary_frontier(names, Exchange::new(shard), Pipeline, name, move |_, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, Vec<D>)> = BTreeMap::new();
        move |(input, frontier), (names, names_frontier), output| {
            names.for_each(|_, _| ());
            input.for_each(|capability, changes| {
                let epoch = *capability.time();
                let entry = waiting.entry(epoch);
                entry.or_insert_with(|| (capability.retain(0), Vec::new())).1.append(changes);
            });
            while let Some(first) = waiting.first_entry() {
                if frontier.less_equal(first.key()) || names_frontier.less_equal(first.key()) {
                    break;
                }
                let (epoch, (capability, changes)) = first.remove_entry();
                output.session(&capability).give_container(&mut each(epoch, changes));
            }
        }
    })
}

/// Keeps the totals of `changes` in a space of the store and emits their rows.
///
/// `account` is what a key is routed and named by; `row` pushes the row of a key with its total.
pub(crate) fn totals<'s, K, V>(
    changes: Stream<'s, u64, Vec<(K, V)>>,
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
    state: &WorkerState,
    (space, view): (Space, View),
    account: impl Fn(&K) -> AccountKey + Copy + 'static,
    row: impl Fn(&AccountName, &K, &V, &mut Table, i8) + 'static,
) -> Tables<'s>
where
    K: ExchangeData + StateKey + Ord,
    V: ExchangeData + StateValue + Total,
{
    let kept = state.kept::<K, V>(space);
    let by_account = move |change: &(K, V)| route(account(&change.0));
    by_epoch(changes, names, view.name(), by_account, move |epoch, changes| {
        let mut kept = kept.borrow_mut();
        kept.begin(epoch);
        let mut table = Table::new(view);
        for (key, change) in consolidated(changes) {
            let (before, after) = add(&mut kept, key, &change);
            directory.with_name(account(&key), |name| {
                if before.has_lines() {
                    row(name, &key, &before, &mut table, -1);
                }
                if after.has_lines() {
                    row(name, &key, &after, &mut table, 1);
                }
            });
        }
        vec![table]
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

/// Adds a change to a key's total; returns the total before and after. A key without lines and
/// without sums is forgotten.
fn add<K: StateKey, V: StateValue + Total>(kept: &mut Kept<K, V>, key: K, change: &V) -> (V, V) {
    let before = kept.get(&key).map(Cow::into_owned).unwrap_or_default();
    let mut after = before.clone();
    after.plus_equals(change);
    if after.is_zero() {
        kept.remove(key);
    } else {
        kept.put(key, after.clone());
    }
    (before, after)
}
