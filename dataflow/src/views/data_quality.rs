//! `data_quality`: how far the books of each tenant can be relied on, as numbers of what is open.
//!
//! In: rows of other views as they come and go, counted. Out: rows of `data_quality`, while there is
//! something to count. Key: tenant, measure, subject. State: one count a key, in the store.
//! How completely services have sent is another operator's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::codec::{CodecError, Reader, put_varint};
use trueup_ledger::key::name_hash;
use trueup_ledger::table::Value;
use trueup_ledger::{Table, View};

use crate::store::{Encode, Kept, KeyBytes, Space, StateKey, StateValue, WorkerState};
use crate::ticks::every_epoch;
use crate::transactions::Tables;
use crate::views::reconciliation::Reconciliations;

/// Changes of counts.
pub(crate) type Counts<'s> = Stream<'s, u64, Vec<(Counted, i64)>>;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Measure {
    /// Rows of `imbalances`; the subject is the detector.
    OpenImbalances,
    /// Rows of `reconciliation` that are not `matched`; the subject is the processor.
    Unmatched,
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Measure::OpenImbalances => "open_imbalances",
            Measure::Unmatched => "unmatched",
        }
    }
}

/// What names a count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Counted {
    tenant: Box<str>,
    measure: Measure,
    subject: Box<str>,
}

impl Counted {
    fn push(&self, count: i64, table: &mut Table, diff: i8) {
        let row = [
            Value::Text(&self.tenant),
            Value::Text(self.measure.name()),
            Value::Text(&self.subject),
            Value::Text("open"),
            Value::Integer(count),
            Value::Text("{}"),
        ];
        table.push(&row, diff);
    }
}

/// Counts payments that are not matched.
pub(crate) fn unmatched(payments: Reconciliations<'_>) -> Counts<'_> {
    payments.flat_map(|(payment, diff)| {
        payment.is_open().then(|| {
            let tenant = payment.name.tenant.clone();
            let subject = payment.name.processor.clone();
            (Counted { tenant, measure: Measure::Unmatched, subject }, i64::from(diff))
        })
    })
}

/// Counts the rows of `imbalances`, which are all that come in `tables`.
pub(crate) fn open_imbalances(tables: Tables<'_>) -> Counts<'_> {
    tables.flat_map(|table| count_imbalances(&table))
}

/// Adds up a table here, so that not each of its rows travels.
fn count_imbalances(table: &Table) -> Vec<(Counted, i64)> {
    assert_eq!(table.view(), View::Imbalances, "no other rows are imbalances");
    let mut counts: BTreeMap<Counted, i64> = BTreeMap::new();
    let mut values = Vec::with_capacity(table.columns().len());
    for (row, diff) in table.diffs().iter().enumerate() {
        table.read(row, &mut values);
        let [Value::Text(tenant), Value::Text(detector), ..] = *values else {
            unreachable!("a row of imbalances has another form");
        };
        let counted = Counted {
            tenant: tenant.into(),
            measure: Measure::OpenImbalances,
            subject: detector.into(),
        };
        *counts.entry(counted).or_default() += i64::from(*diff);
    }
    counts.into_iter().filter(|(_, change)| *change != 0).collect()
}

/// Builds the view. `since` is the epoch of the state that the run begins with: what comes once more
/// at it is counted there already.
pub(crate) fn data_quality<'s>(counts: Counts<'s>, state: &WorkerState, since: u64) -> Tables<'s> {
    let kept = state.kept(Space::Quality);
    let by_key = |change: &(Counted, i64)| u64::from(CountKey::of(&change.0).shard());
    every_epoch(View::DataQuality.name(), counts, by_key, since, move |epoch, changes| {
        let mut kept = kept.borrow_mut();
        kept.begin(epoch);
        let table = apply(&mut kept, changes);
        if table.is_empty() { Vec::new() } else { vec![table] }
    })
}

/// Applies the changes of one epoch. A row that came and went in it leaves no trace.
fn apply(kept: &mut Kept<CountKey, Open>, changes: Vec<(Counted, i64)>) -> Table {
    let mut net: BTreeMap<Counted, i64> = BTreeMap::new();
    for (counted, change) in changes {
        *net.entry(counted).or_default() += change;
    }
    let mut table = Table::new(View::DataQuality);
    for (counted, change) in net.into_iter().filter(|(_, change)| *change != 0) {
        let key = CountKey::of(&counted);
        let before = kept.get(&key).map_or(0, |open| open.0);
        let Some(after) = before.checked_add_signed(change) else {
            unreachable!("{counted:?}: {before} rows cannot change by {change}");
        };
        if before > 0 {
            counted.push(integer(before), &mut table, -1);
        }
        if after > 0 {
            counted.push(integer(after), &mut table, 1);
            kept.put(key, Open(after));
        } else {
            kept.remove(key);
        }
    }
    table
}

/// No view has as many rows.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open(u64);

impl Encode for Open {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.0));
    }
}

impl StateValue for Open {
    fn decode(reader: &mut Reader<'_>) -> Result<Open, CodecError> {
        reader.varint_u64().map(Open)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The key of a count: 128 bits of BLAKE3 over its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CountKey(u128);

impl CountKey {
    fn of(counted: &Counted) -> CountKey {
        let Counted { tenant, measure, subject } = counted;
        CountKey(name_hash(&[tenant, measure.name(), subject]))
    }

    fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl StateKey for CountKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<CountKey, CodecError> {
        Ok(CountKey(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(tenant: &str, measure: Measure, subject: &str) -> Counted {
        Counted { tenant: tenant.into(), measure, subject: subject.into() }
    }

    fn imbalances(rows: &[(&str, &str, i8)]) -> Table {
        let mut table = Table::new(View::Imbalances);
        for (tenant, detector, diff) in rows {
            let row = [
                Value::Text(tenant),
                Value::Text(detector),
                Value::Text("s"),
                Value::Text(""),
                Value::Amount(0),
                Value::Text("warning"),
                Value::Text("{}"),
            ];
            table.push(&row, *diff);
        }
        table
    }

    #[test]
    fn imbalances_are_counted_by_tenant_and_detector() {
        let table = imbalances(&[
            ("a", "orphan", 1),
            ("b", "orphan", -1),
            ("a", "orphan", 1),
            ("a", "conflict", 1),
            ("a", "conflict", -1),
        ]);
        let of = |tenant, subject| counted(tenant, Measure::OpenImbalances, subject);
        assert_eq!(count_imbalances(&table), [(of("a", "orphan"), 2), (of("b", "orphan"), -1)]);
    }

    #[test]
    fn a_count_has_a_row_while_it_is_not_zero() {
        let state = WorkerState::new(None, 0, 1);
        let kept = state.kept::<CountKey, Open>(Space::Quality);
        let (one, other) = (
            counted("a", Measure::Unmatched, "stripe"),
            counted("a", Measure::OpenImbalances, "stripe"),
        );
        // Changes of the one, and the values that go and come.
        let epochs: &[(&[i64], &[(i64, i8)])] = &[
            (&[1, 1], &[(2, 1)]),
            (&[-1, 1], &[]),
            (&[-1, -1, 1, 4], &[(2, -1), (5, 1)]),
            (&[-5], &[(5, -1)]),
            (&[1], &[(1, 1)]),
        ];
        apply(&mut kept.borrow_mut(), vec![(other.clone(), 7)]);
        for (number, (changes, expected)) in epochs.iter().enumerate() {
            let changes = changes.iter().map(|change| (one.clone(), *change)).collect();
            let table = apply(&mut kept.borrow_mut(), changes);
            let mut rows = Table::new(View::DataQuality);
            expected.iter().for_each(|(value, diff)| one.push(*value, &mut rows, *diff));
            assert_eq!(table, rows, "epoch {number}");
        }
        assert_eq!(kept.borrow_mut().get(&CountKey::of(&other)).map(|open| open.0), Some(7));
    }
}
