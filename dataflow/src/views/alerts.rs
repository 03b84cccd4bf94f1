//! `alerts`: imbalances that have lasted for longer than the grace time.
//!
//! In: the rows of `imbalances`, whichever detector's, as they come and go. Out: rows of `alerts`: one is
//! put in when the alert is raised and taken out when it is resolved, and does not change in between.
//! Key: tenant, alert id. State: each imbalance that is there, since when, and the alert that was
//! raised of it, in the store; in memory the instants at which alerts are to be raised.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::codec::{CodecError, Reader, put_varint};
use trueup_ledger::explain::{alert_id, explain, first_events};
use trueup_ledger::key::name_hash;
use trueup_ledger::table::{Value, decode_row, encode_row};
use trueup_ledger::{Epoch, Rules, Table, View};

use crate::store::{Encode, Kept, KeyBytes, Space, StateKey, StateValue, WorkerState};
use crate::ticks::every_epoch;
use crate::time::{EpochClock, Timer};
use crate::transactions::Tables;

/// Builds the view. `since` is the epoch of the state.
pub(crate) fn alerts<'s>(
    imbalances: Tables<'s>,
    clock: &EpochClock,
    rules: &Arc<Rules>,
    state: &WorkerState,
    since: u64,
) -> Tables<'s> {
    let changes: Stream<'s, u64, Vec<Change>> = imbalances.flat_map(|table| Change::all_of(&table));
    let mut alerts = Alerts {
        kept: state.kept(Space::Alerts),
        timer: clock.timer(),
        clock: clock.clone(),
        grace: rules.alert_grace,
    };
    alerts.restore(state);
    let by_key = |change: &Change| u64::from(change.key.shard());
    every_epoch("Alerts", changes, by_key, since, move |epoch, changes| {
        alerts.epoch(epoch, changes)
    })
}

/// A row of `imbalances` that comes (1) or goes (-1).
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change {
    key: ImbalanceKey,
    row: Box<[u8]>,
    diff: i8,
}

impl Change {
    fn all_of(table: &Table) -> Vec<Change> {
        if table.view() != View::Imbalances {
            return Vec::new();
        }
        let mut values = Vec::new();
        let rows = table.diffs().iter().enumerate().map(|(row, diff)| {
            table.read(row, &mut values);
            let mut bytes = Vec::new();
            encode_row(&values, &mut bytes);
            Change { key: ImbalanceKey::of(&values), row: bytes.into(), diff: *diff }
        });
        rows.collect()
    }
}

struct Alerts {
    kept: Rc<RefCell<Kept<ImbalanceKey, Lasting>>>,
    timer: Timer<ImbalanceKey>,
    clock: EpochClock,
    /// In microseconds.
    grace: i64,
}

impl Alerts {
    fn restore(&mut self, state: &WorkerState) {
        let kept = self.kept.borrow();
        kept.scan(
            |shard| state.owns(shard),
            |key, lasting: Lasting| {
                if lasting.raised.is_none() {
                    self.timer.set(lasting.time.saturating_add(self.grace), key);
                }
            },
        );
    }

    fn epoch(&mut self, epoch: u64, changes: Vec<Change>) -> Vec<Table> {
        let time = self.clock.at(epoch);
        let mut kept = self.kept.borrow_mut();
        kept.begin(epoch);
        let mut table = Table::new(View::Alerts);
        for (key, row) in net(changes) {
            let known = kept.take(&key);
            match (known, row) {
                (Some(lasting), Some(row)) => kept.put(key, Lasting { row, ..lasting }),
                (None, Some(row)) => {
                    self.timer.set(time.saturating_add(self.grace), key);
                    kept.put(key, Lasting { epoch, time, row, raised: None });
                }
                (Some(lasting), None) => {
                    match &lasting.raised {
                        Some(raised) => push(View::Alerts, raised, &mut table, -1),
                        None => {
                            let waited =
                                self.timer.cancel(lasting.time.saturating_add(self.grace), key);
                            assert!(waited, "what is not raised waits");
                        }
                    }
                    kept.remove(key);
                }
                (None, None) => unreachable!("an imbalance goes that never came"),
            }
        }
        for key in self.timer.take_due(time) {
            let Some(mut lasting) = kept.take(&key) else {
                unreachable!("what waits to be raised is there");
            };
            let raised = lasting.alert();
            push(View::Alerts, &raised, &mut table, 1);
            lasting.raised = Some(raised);
            kept.put(key, lasting);
        }
        vec![table]
    }
}

/// Returns, of each key that an epoch changes, the row that is there after it.
fn net(changes: Vec<Change>) -> BTreeMap<ImbalanceKey, Option<Box<[u8]>>> {
    let mut sums: BTreeMap<(ImbalanceKey, Box<[u8]>), i64> = BTreeMap::new();
    for Change { key, row, diff } in changes {
        *sums.entry((key, row)).or_default() += i64::from(diff);
    }
    let mut net = BTreeMap::new();
    for ((key, row), sum) in sums {
        match sum {
            0 => {}
            1 => {
                let before = net.insert(key, Some(row));
                assert!(!matches!(before, Some(Some(_))), "a key has one row at most");
            }
            -1 => drop(net.entry(key).or_insert(None)),
            other => unreachable!("a row of imbalances changes by {other} in one epoch"),
        }
    }
    net
}

/// An imbalance that is there.
#[derive(Clone, Debug)]
struct Lasting {
    /// Since when it is: the epoch and its time.
    epoch: u64,
    time: i64,
    /// The canonical bytes of its row.
    row: Box<[u8]>,
    /// Those of the alert, where it has been raised.
    raised: Option<Box<[u8]>>,
}

impl Lasting {
    /// Returns the canonical bytes of the alert.
    fn alert(&self) -> Box<[u8]> {
        let mut values = Vec::new();
        let decoded = decode_row(View::Imbalances, &self.row, &mut values);
        let (
            Ok(()),
            [
                Value::Text(tenant),
                Value::Text(detector),
                Value::Text(subject),
                Value::Text(currency),
                amount,
                severity,
                Value::Text(detail),
            ],
        ) = (decoded, values.as_slice())
        else {
            unreachable!("a row of imbalances cannot be read back");
        };
        let alert = [
            Value::Text(tenant),
            Value::Text(&alert_id(tenant, detector, subject, currency, Epoch(self.epoch))),
            Value::Text(detector),
            Value::Text(subject),
            Value::Text(currency),
            *amount,
            *severity,
            Value::Instant(self.time),
            Value::Text(&first_events(detail)),
            Value::Text(detail),
            Value::Text(&explain(tenant, detector, subject, currency)),
        ];
        let mut bytes = Vec::new();
        encode_row(&alert, &mut bytes);
        bytes.into()
    }
}

fn push(view: View, row: &[u8], table: &mut Table, diff: i8) {
    let mut values = Vec::new();
    match decode_row(view, row, &mut values) {
        Ok(()) => table.push(&values, diff),
        Err(error) => unreachable!("a row of {} cannot be read back: {error}", view.name()),
    }
}

/// The key of an imbalance: 128 bits of BLAKE3 over the columns of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct ImbalanceKey(u128);

impl ImbalanceKey {
    fn of(values: &[Value<'_>]) -> ImbalanceKey {
        let key = values.iter().take(View::Imbalances.key_columns()).map(|value| match value {
            Value::Text(text) => *text,
            other => unreachable!("{other:?} is no key of an imbalance"),
        });
        ImbalanceKey(name_hash(&key.collect::<Vec<_>>()))
    }

    fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl StateKey for ImbalanceKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<ImbalanceKey, CodecError> {
        Ok(ImbalanceKey(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?)))
    }
}

impl Encode for Lasting {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.epoch));
        out.extend_from_slice(&self.time.to_le_bytes());
        put_varint(out, self.row.len() as u128);
        out.extend_from_slice(&self.row);
        out.extend_from_slice(self.raised.as_deref().unwrap_or_default());
    }
}

impl StateValue for Lasting {
    fn decode(reader: &mut Reader<'_>) -> Result<Lasting, CodecError> {
        let epoch = reader.varint_u64()?;
        let time = i64::from_le_bytes(reader.bytes(8)?.try_into().map_err(|_| CodecError)?);
        let length = reader.length()?;
        let row = reader.bytes(length)?.into();
        let raised = Some(reader.rest()).filter(|raised| !raised.is_empty());
        Ok(Lasting { epoch, time, row, raised: raised.map(Into::into) })
    }

    fn heap_bytes(&self) -> usize {
        self.row.len() + self.raised.as_ref().map_or(0, |raised| raised.len())
    }
}
