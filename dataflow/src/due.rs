//! Rows that are due at an instant: in their view once the epoch time is later.
//!
//! In: rows with the instant behind which they are in the view, as they come to hold (1) and cease to
//! (-1). Out: tables. State: the rows that wait, in the store, and their keys by instant in memory.
//! A row whose instant has passed is not kept: whether one that is taken back has been shown follows
//! from its instant and the time of the epoch before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use trueup_ledger::codec::{CodecError, Reader, content_hash, put_varint};
use trueup_ledger::table::{Value, decode_row, encode_row};
use trueup_ledger::{Table, View};

use crate::store::{Encode, Kept, KeyBytes, Space, StateKey, StateValue, WorkerState};
use crate::ticks::every_epoch;
use crate::time::{EpochClock, Timer};
use crate::transactions::Tables;

/// A row that is due at an instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DueRow {
    /// The instant, in microseconds since 1970.
    due: i64,
    /// The view's number.
    view: u8,
    /// The canonical bytes.
    row: Box<[u8]>,
}

impl DueRow {
    /// Encodes a row.
    #[must_use]
    pub fn new(view: View, values: &[Value<'_>], due: i64) -> DueRow {
        let mut row = Vec::new();
        encode_row(values, &mut row);
        DueRow { due, view: view as u8, row: row.into() }
    }

    fn key(&self) -> RowKey {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        RowKey(content_hash(&bytes))
    }

    fn push(&self, tables: &mut BTreeMap<View, Table>, diff: i8) {
        let view = View::ALL[usize::from(self.view)];
        let mut values = Vec::new();
        match decode_row(view, &self.row, &mut values) {
            Ok(()) => tables.entry(view).or_insert_with(|| Table::new(view)).push(&values, diff),
            Err(error) => unreachable!("a row that waits cannot be read back: {error}"),
        }
    }
}

/// Lets rows into their views when they are due.
pub(crate) fn when_due<'s>(
    rows: Stream<'s, u64, Vec<(DueRow, i8)>>,
    clock: &EpochClock,
    state: &WorkerState,
    since: u64,
) -> Tables<'s> {
    let by_row = |change: &(DueRow, i8)| u64::from(change.0.key().shard());
    let mut waiting =
        Waiting { kept: state.kept(Space::Due), timer: clock.timer(), clock: clock.clone() };
    waiting.restore(state);
    every_epoch("WhenDue", rows, by_row, since, move |epoch, changes| waiting.epoch(epoch, changes))
}

struct Waiting {
    kept: Rc<RefCell<Kept<RowKey, DueRow>>>,
    timer: Timer<RowKey>,
    clock: EpochClock,
}

impl Waiting {
    fn restore(&mut self, state: &WorkerState) {
        let kept = self.kept.borrow();
        kept.scan(|shard| state.owns(shard), |key, row: DueRow| self.timer.set(row.due, key));
    }

    fn epoch(&mut self, epoch: u64, changes: Vec<(DueRow, i8)>) -> Vec<Table> {
        let (before, time) = (self.clock.at(epoch - 1), self.clock.at(epoch));
        let mut kept = self.kept.borrow_mut();
        kept.begin(epoch);
        let mut net: BTreeMap<DueRow, i8> = BTreeMap::new();
        for (row, diff) in changes {
            *net.entry(row).or_default() += diff;
        }
        let mut tables = BTreeMap::new();
        for (row, diff) in net {
            match diff {
                0 => {}
                1 if row.due < time => row.push(&mut tables, 1),
                1 => {
                    let key = row.key();
                    self.timer.set(row.due, key);
                    kept.put(key, row);
                }
                -1 if row.due < before => row.push(&mut tables, -1),
                -1 => {
                    let key = row.key();
                    let waited = self.timer.cancel(row.due, key);
                    assert!(waited, "a row that is not shown waits");
                    kept.remove(key);
                }
                other => unreachable!("a row changes by {other} in one epoch"),
            }
        }
        for key in self.timer.take_due(time) {
            match kept.take(&key) {
                Some(row) => row.push(&mut tables, 1),
                None => unreachable!("a row that waits is kept"),
            }
            kept.remove(key);
        }
        tables.into_values().collect()
    }
}

/// The key of a row that waits: 128 bits of BLAKE3 over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowKey(u128);

impl RowKey {
    fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl StateKey for RowKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<RowKey, CodecError> {
        Ok(RowKey(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?)))
    }
}

impl Encode for DueRow {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.due.to_le_bytes());
        out.push(self.view);
        put_varint(out, self.row.len() as u128);
        out.extend_from_slice(&self.row);
    }
}

impl StateValue for DueRow {
    fn decode(reader: &mut Reader<'_>) -> Result<DueRow, CodecError> {
        let due = i64::from_le_bytes(reader.bytes(8)?.try_into().map_err(|_| CodecError)?);
        let view = reader.byte()?;
        let length = reader.length()?;
        Ok(DueRow { due, view, row: reader.bytes(length)?.into() })
    }

    fn heap_bytes(&self) -> usize {
        // The key is in memory twice, the second time by its instant.
        self.row.len() + 2 * size_of::<(i64, RowKey)>()
    }
}
