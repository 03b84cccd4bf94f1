//! Which months of whose books are closed, as all workers see it.
//!
//! ```text
//!  close_period, reopen_period ──by tenant──▶ closings ──broadcast──▶ ClosedMonths
//! ```
//!
//! In: the contents of such events, each in the epoch in which it comes. Out: the closing in force of
//! each month that an epoch changes, to every worker. State: a tenant's contents, and since which epoch each
//! closing is in force, in the store; on every worker the months that are closed.
//!
//! What they mean is in `docs/spec-decisions.md`, Periods. The contents come here as well as to the
//! transactions, which count and judge them, so that what an epoch posts can be held against the
//! closings before it without waiting for the transactions of that epoch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Broadcast;
use trueup_ledger::codec::{CodecError, Reader, put_text, put_varint};
use trueup_ledger::key::name_hash;
use trueup_ledger::transaction::{Fold, Stored, fold};
use trueup_ledger::{Event, Fact, Kind, Month, Timestamp};

use crate::store::{Encode, Kept, KeyBytes, Space, StateKey, StateValue, WorkerState};

/// An event about a month, on its way to the worker that judges those of its tenant: contents of one
/// identity may name different months.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodRecord {
    tenant: Box<str>,
    canonical: Box<[u8]>,
}

impl PeriodRecord {
    /// Returns the record of an event, if it is of a month; `canonical` are its bytes.
    #[must_use]
    pub fn of(event: &Event<'_>, canonical: &[u8]) -> Option<PeriodRecord> {
        event.kind.is_of_period().then(|| PeriodRecord {
            tenant: event.tenant.as_ref().into(),
            canonical: canonical.into(),
        })
    }
}

/// What an epoch makes of a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// The tenant.
    pub tenant: Box<str>,
    /// The month.
    pub month: Month,
    /// Since which epoch the closing in force is; `None` where the month is open.
    pub since: Option<u64>,
}

/// The closings in force, as one operator has followed them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClosedMonths {
    months: HashMap<Box<str>, BTreeMap<Month, u64>>,
}

impl ClosedMonths {
    /// Says whether no month is closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.months.is_empty()
    }

    /// Says whether a month of a tenant is closed.
    pub(crate) fn has(&self, tenant: &str, month: Month) -> bool {
        self.months.get(tenant).is_some_and(|months| months.contains_key(&month))
    }

    pub(crate) fn apply(&mut self, closing: &Closing) {
        match closing.since {
            Some(since) => {
                let months = self.months.entry(closing.tenant.clone()).or_default();
                months.insert(closing.month, since);
            }
            None => {
                if let Some(months) = self.months.get_mut(&closing.tenant) {
                    months.remove(&closing.month);
                    if months.is_empty() {
                        self.months.remove(&closing.tenant);
                    }
                }
            }
        }
    }
}

/// Judges the events and tells every worker of the closings. Before the first epoch all that are in
/// force come once, at `since`.
pub(crate) fn closings<'s>(
    records: Stream<'s, u64, Vec<PeriodRecord>>,
    state: &WorkerState,
    since: u64,
) -> Stream<'s, u64, Vec<Closing>> {
    let kept = state.kept::<TenantKey, Periods>(Space::Periods);
    let state = state.clone();
    let by_tenant =
        Exchange::new(|record: &PeriodRecord| u64::from(TenantKey::of(&record.tenant).shard()));
    let owned = records.unary_frontier(by_tenant, "Closings", move |capability, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, Vec<PeriodRecord>)> = BTreeMap::new();
        let mut begin = Some(capability);
        move |(input, frontier), output| {
            if let Some(capability) = begin.take().filter(|_| since > 0) {
                let mut known = Vec::new();
                kept.borrow().scan(
                    |shard| state.owns(shard),
                    |_, periods: Periods| known.extend(periods.closings()),
                );
                output.session(&capability.delayed(&since)).give_container(&mut known);
            }
            input.for_each(|capability, records| {
                let entry = waiting.entry(*capability.time());
                let (_, all) = entry.or_insert_with(|| (capability.retain(0), Vec::new()));
                all.append(records);
            });
            while let Some(first) = waiting.first_entry() {
                let epoch = *first.key();
                if frontier.less_equal(&epoch) {
                    break;
                }
                let (capability, records) = first.remove();
                let mut kept = kept.borrow_mut();
                kept.begin(epoch);
                let mut changed = judge(&mut kept, epoch, records);
                output.session(&capability).give_container(&mut changed);
            }
        }
    });
    owned.broadcast()
}

/// Adds what has come in an epoch; returns the months whose closing is another one.
fn judge(
    kept: &mut Kept<TenantKey, Periods>,
    epoch: u64,
    records: Vec<PeriodRecord>,
) -> Vec<Closing> {
    let mut touched: BTreeMap<TenantKey, Periods> = BTreeMap::new();
    for PeriodRecord { tenant, canonical } in records {
        let key = TenantKey::of(&tenant);
        let periods = touched.entry(key).or_insert_with(|| {
            kept.take(&key).unwrap_or_else(|| Periods { tenant, ..Periods::default() })
        });
        periods.contents.insert(canonical);
    }
    let mut changed = Vec::new();
    for (key, mut periods) in touched {
        changed.extend(periods.judge(epoch));
        kept.put(key, periods);
    }
    changed
}

/// What names a closing: the event id of the newest reopening, if there has been one.
type Named = Option<Box<str>>;

/// What is kept of a tenant of which such an event has come.
#[derive(Clone, Debug, Default)]
struct Periods {
    tenant: Box<str>,
    /// The canonical bytes of the distinct contents.
    contents: BTreeSet<Box<[u8]>>,
    /// The closings in force, and since which epoch each is.
    in_force: BTreeMap<Month, (Named, u64)>,
}

impl Periods {
    fn closing(&self, month: Month) -> Closing {
        let since = self.in_force.get(&month).map(|(_, since)| *since);
        Closing { tenant: self.tenant.clone(), month, since }
    }

    fn closings(&self) -> Vec<Closing> {
        self.in_force.keys().map(|month| self.closing(*month)).collect()
    }

    /// Judges all contents anew; returns what is another closing than before `epoch`.
    fn judge(&mut self, epoch: u64) -> Vec<Closing> {
        let before = std::mem::take(&mut self.in_force);
        for (month, named) in self.closed() {
            let since = match before.get(&month) {
                Some((known, since)) if *known == named => *since,
                _ => epoch,
            };
            self.in_force.insert(month, (named, since));
        }
        let months: BTreeSet<&Month> = before.keys().chain(self.in_force.keys()).collect();
        let changed =
            months.into_iter().filter(|month| before.get(month) != self.in_force.get(month));
        changed.map(|month| self.closing(*month)).collect()
    }

    /// Returns the months that are closed, with what names their closings.
    fn closed(&self) -> Vec<(Month, Named)> {
        let mut identities: BTreeMap<(Kind, &str), Vec<Stored<'_>>> = BTreeMap::new();
        let all: Vec<_> = self.contents.iter().map(|canonical| stored(canonical)).collect();
        for one in &all {
            let identity = (one.event.kind, &*one.event.event_id);
            identities.entry(identity).or_default().push(one.clone());
        }
        let mut months: BTreeMap<Month, BTreeMap<Newness<'_>, Kind>> = BTreeMap::new();
        for ((kind, event_id), contents) in identities {
            let counts = fold(&contents);
            let Some((Fact::Period(month), event)) = counts.as_ref().and_then(Fold::fact) else {
                unreachable!("an event about a month says which");
            };
            let newness = (event.recorded_at, Reverse(event_id), kind);
            months.entry(*month).or_default().insert(newness, kind);
        }
        let closed = months.into_iter().filter_map(|(month, events)| {
            let (_, newest) = events.last_key_value()?;
            let mut reopenings =
                events.iter().rev().filter(|(_, kind)| **kind == Kind::ReopenPeriod);
            let named = reopenings.next().map(|((_, Reverse(event_id), _), _)| (*event_id).into());
            (*newest == Kind::ClosePeriod).then_some((month, named))
        });
        closed.collect()
    }
}

/// The order of events about a month: of equally new ones the smaller event id is the newer, and of a
/// close and a reopening that are equal in both the reopening, whose kind comes later.
type Newness<'a> = (Timestamp, Reverse<&'a str>, Kind);

fn stored(canonical: &[u8]) -> Stored<'_> {
    match Event::decode(canonical) {
        Ok(event) => Stored { event, canonical, delay: None },
        Err(error) => unreachable!("a stored event cannot be read back: {error}"),
    }
}

/// The key of a tenant: 128 bits of BLAKE3 over its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct TenantKey(u128);

impl TenantKey {
    fn of(tenant: &str) -> TenantKey {
        TenantKey(name_hash(&[tenant]))
    }

    fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl StateKey for TenantKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<TenantKey, CodecError> {
        Ok(TenantKey(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?)))
    }
}

impl Encode for Periods {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.tenant);
        put_varint(out, self.in_force.len() as u128);
        for (month, (named, since)) in &self.in_force {
            out.extend_from_slice(&month.0.to_le_bytes());
            put_varint(out, u128::from(*since));
            // No event id is empty.
            put_text(out, named.as_deref().unwrap_or_default());
        }
        for content in &self.contents {
            put_varint(out, content.len() as u128);
            out.extend_from_slice(content);
        }
    }
}

impl StateValue for Periods {
    fn decode(reader: &mut Reader<'_>) -> Result<Periods, CodecError> {
        let mut periods = Periods { tenant: reader.text()?.into(), ..Periods::default() };
        for _ in 0..reader.length()? {
            let month = reader.bytes(4)?.try_into().map_err(|_| CodecError)?;
            let since = reader.varint_u64()?;
            let named = Some(reader.text()?).filter(|id| !id.is_empty()).map(Into::into);
            periods.in_force.insert(Month(i32::from_le_bytes(month)), (named, since));
        }
        while !reader.is_empty() {
            let length = reader.length()?;
            periods.contents.insert(reader.bytes(length)?.into());
        }
        Ok(periods)
    }

    fn heap_bytes(&self) -> usize {
        // Asked at every change of a tenant's periods, which are few.
        let contents = self.contents.iter().map(|content| content.len() + 32);
        contents.sum::<usize>() + self.in_force.len() * 64
    }
}
