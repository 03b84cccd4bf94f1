//! One worker's transactions: takes events and mail, keeps states in the store, and gathers what
//! changes. Knows nothing of timely; [`super::operator`] schedules it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use trueup_ledger::codec::kind;
use trueup_ledger::transaction::{Inflows, Standing, fold};
use trueup_ledger::{Event, Kind, Rules, Scale, TransactionKey, View, table::Value};

use super::Stateful;
use super::emitter::Emitter;
use super::links::{Mail, Phase, Touched};
use super::rows::{EncodedRows, emit_difference};
use super::standing::{inflows, standing, with_fold};
use super::state::{State, stored};
use crate::cache::{TOGETHER, bring};
use crate::facts::FactRecord;
use crate::hash::KeyHasher;
use crate::record::EventRecord;
use crate::store::Kept;
use crate::time::EpochClock;

/// The states of one worker's transactions.
pub(crate) type States = Rc<RefCell<Kept<TransactionKey, Box<[u8]>>>>;

/// The transactions that one worker owns.
pub(crate) struct Resolver {
    store: States,
    scale: Scale,
    rules: Arc<Rules>,
    clock: EpochClock,
    emitter: Emitter,
    touched: HashMap<TransactionKey, InEpoch, KeyHasher>,
    /// What the events of an epoch took that is done.
    room: Vec<EventRecord>,
}

/// What there is to do at one time.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// All events of the epoch; at its first time.
    pub(crate) events: Vec<EventRecord>,
    /// All mail of one round.
    pub(crate) mail: Vec<Mail>,
    /// The phase that begins.
    pub(crate) begins: Option<Phase>,
}

/// A linked transaction within the epoch, with the rows it had before.
#[derive(Debug)]
struct InEpoch {
    touched: Touched,
    rows_before: EncodedRows,
}

impl Resolver {
    pub(crate) fn new(
        store: States,
        Stateful { scale, rules }: Stateful,
        clock: EpochClock,
        workers: usize,
    ) -> Resolver {
        let emitter = Emitter::new(&rules, workers);
        let (touched, room) = Default::default();
        Resolver { store, scale, rules, clock, emitter, touched, room }
    }

    pub(crate) fn emitter(&mut self) -> &mut Emitter {
        &mut self.emitter
    }

    /// Returns room for the events of an epoch, of about as many as the last one had.
    pub(crate) fn room(&mut self) -> Vec<EventRecord> {
        std::mem::take(&mut self.room)
    }

    /// Does one step of an epoch and returns what is to be sent. Steps come in order; the first of
    /// an epoch may be mail, since others may have all its events.
    pub(crate) fn step(&mut self, epoch: u64, step: Step) -> Vec<Mail> {
        self.store.borrow_mut().begin(epoch);
        let mut outbox = Vec::new();
        if !step.events.is_empty() {
            let mut events = step.events;
            self.events(self.clock.at(epoch), &mut events, &mut outbox);
            self.room = events;
        }
        self.mail(step.mail, &mut outbox);
        if let Some(phase) = step.begins {
            self.begin(phase, &mut outbox);
        }
        outbox
    }

    /// Takes all events of an epoch, and leaves their room.
    fn events(&mut self, time: i64, records: &mut Vec<EventRecord>, outbox: &mut Vec<Mail>) {
        assert!(self.touched.is_empty(), "the epoch before has emitted");
        self.emitter.expect(records.len());
        // Equal records are judged in the order of their origin, so that a re-run counts the same
        // ones as duplicates.
        records.sort_unstable_by_key(|record| (record.key, record.origin));
        let mut records = records.drain(..);
        let mut brought = 0;
        loop {
            if brought == 0 {
                brought = self.bring(records.as_slice());
            }
            let Some(first) = records.next() else { return };
            let key = first.key;
            let same = records.as_slice().iter().take_while(|next| next.key == key).count();
            brought = brought.saturating_sub(1 + same);
            if same == 0 {
                if let Some(first) = self.first_and_only(time, first) {
                    self.several(time, key, vec![first], outbox);
                }
                continue;
            }
            let group = std::iter::once(first).chain(records.by_ref().take(same)).collect();
            self.several(time, key, group, outbox);
        }
    }

    /// Takes into the cache what the next records are, and what says whether their transactions are
    /// known: in the order of their keys they lie anywhere. Returns how many records that are.
    fn bring(&self, records: &[EventRecord]) -> usize {
        let records = &records[..records.len().min(TOGETHER)];
        bring(records.iter().map(|record| &*record.canonical));
        self.store.borrow().bring(records.iter().map(|record| record.key));
        records.len()
    }

    /// The fast path: a transaction seen for the first time, by one event that names no target and is
    /// not late. Gives the record back where it is not that.
    fn first_and_only(&mut self, time: i64, record: EventRecord) -> Option<EventRecord> {
        let EventRecord { key, origin, canonical } = record;
        let event = stored(&canonical, None);
        if event.event.kind.is_link() || self.delay(&event.event, time).is_some() {
            drop(event);
            return Some(EventRecord { key, origin, canonical });
        }
        let events = [event];
        let Some(fold) = fold(&events) else { unreachable!("one event folds to something") };
        // Rows are made before the state is stored, from the bytes that are about to be moved;
        // whether the transaction is new is asked first, by a look that does not copy.
        let mut store = self.store.borrow_mut();
        if store.contains(&key) {
            drop(events);
            return Some(EventRecord { key, origin, canonical });
        }
        let emitter = &mut self.emitter;
        fold.meaning(&Standing::Clear, &Inflows::default()).rows(
            self.scale,
            &mut |view: View, values: &[Value<'_>], due: Option<i64>| {
                emitter.change(view, values, due, 1, key);
            },
        );
        emitter.fact(None, FactRecord::of(&fold));
        drop(events);
        self.emitter.accept(origin.partition, true);
        store.put(key, canonical);
        None
    }

    /// Any other case: several events, a known transaction, a link.
    fn several(
        &mut self,
        time: i64,
        key: TransactionKey,
        records: Vec<EventRecord>,
        outbox: &mut Vec<Mail>,
    ) {
        let mut state = self.state(key);
        let linked_before = !state.links.is_empty();
        let kind_before = kind_of(&state);
        let rows_before = rows_of(&state, self.scale);
        let fact_before = fact(&state);
        if !self.insert(time, &mut state, records) {
            return;
        }
        if linked_before || links_now(&state) {
            let mut touched = Touched::new(key, state);
            touched.events_changed(kind_before, outbox);
            self.touched.insert(key, InEpoch { touched, rows_before });
        } else {
            let rows = rows_of(&state, self.scale);
            emit_difference(&rows_before, &rows, key, &mut self.emitter);
            self.emitter.fact(fact_before, fact(&state));
            self.store.borrow_mut().put(key, state.encode());
        }
    }

    fn state(&self, key: TransactionKey) -> State {
        let mut store = self.store.borrow_mut();
        store.get(&key).map(|state| State::decode(&state)).unwrap_or_default()
    }

    /// Adds events to a state and counts them; says whether any was new.
    fn insert(&mut self, time: i64, state: &mut State, records: Vec<EventRecord>) -> bool {
        let mut any = false;
        for record in records {
            let delay = self.delay(&stored(&record.canonical, None).event, time);
            let new = state.insert(record.canonical, delay);
            self.emitter.accept(record.origin.partition, new);
            any |= new;
        }
        any
    }

    /// Returns by how many microseconds an event is late that arrives at `time`, where it is.
    fn delay(&self, event: &Event<'_>, time: i64) -> Option<i64> {
        self.rules.delayed.as_ref()?.delay(event.recorded_at, time)
    }

    fn mail(&mut self, mail: Vec<Mail>, outbox: &mut Vec<Mail>) {
        for Mail { to, from, message } in mail {
            self.touch(to);
            let Some(in_epoch) = self.touched.get_mut(&to) else {
                unreachable!("a touched transaction is in the epoch");
            };
            in_epoch.touched.receive(from, message, outbox);
        }
    }

    fn touch(&mut self, key: TransactionKey) {
        if let Entry::Vacant(vacant) = self.touched.entry(key) {
            let state = {
                let mut store = self.store.borrow_mut();
                store.get(&key).map(|state| State::decode(&state)).unwrap_or_default()
            };
            let rows_before = rows_of(&state, self.scale);
            vacant.insert(InEpoch { touched: Touched::new(key, state), rows_before });
        }
    }

    fn begin(&mut self, phase: Phase, outbox: &mut Vec<Mail>) {
        if phase == Phase::Emit {
            self.emit();
            return;
        }
        for in_epoch in self.touched.values_mut() {
            in_epoch.touched.begin(phase, outbox);
        }
    }

    /// Says whether this worker has something to do when a phase begins, as far as is known now.
    pub(crate) fn wants(&self, phase: Phase) -> bool {
        let mut touched = self.touched.values().map(|in_epoch| &in_epoch.touched);
        match phase {
            Phase::Invalidate => false,
            Phase::Answer => touched.any(Touched::has_to_tell),
            Phase::Count | Phase::Trim | Phase::Circle => touched.any(Touched::is_unsettled),
            Phase::Expect | Phase::Nets => touched.any(Touched::has_target),
            Phase::Emit => !self.touched.is_empty(),
        }
    }

    fn emit(&mut self) {
        for (key, InEpoch { touched, rows_before }) in self.touched.drain() {
            let rows = rows_of(&touched.state, self.scale);
            emit_difference(&rows_before, &rows, key, &mut self.emitter);
            self.store.borrow_mut().put(key, touched.state.encode());
        }
    }
}

fn kind_of(state: &State) -> Option<Kind> {
    with_fold(state, |fold| fold?.opening.map(|opening| opening.kind))
}

/// Returns what a state says that is no transaction's.
fn fact(state: &State) -> Option<FactRecord> {
    let kind = state.events.first().and_then(|first| kind(first).ok())?;
    if kind.has_transaction() {
        return None;
    }
    with_fold(state, |fold| fold.and_then(FactRecord::of))
}

fn links_now(state: &State) -> bool {
    with_fold(state, |fold| fold.is_some_and(|fold| fold.link().is_some()))
}

fn rows_of(state: &State, scale: Scale) -> EncodedRows {
    let mut rows = EncodedRows::default();
    with_fold(state, |fold| {
        if let Some(fold) = fold {
            let standing = standing(fold, &state.links);
            fold.meaning(&standing, &inflows(&state.links)).rows(scale, &mut rows);
        }
    });
    rows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use trueup_ledger::{Epoch, Source, Timestamp};

    use super::super::links::Message;
    use super::*;
    use crate::record::Origin;
    use crate::store::{Disk, SealedChanges, Space, WorkerState};

    fn reversal() -> EventRecord {
        let event = Event {
            tenant: "a".into(),
            transaction_id: "t1".into(),
            event_id: "e".into(),
            kind: Kind::Reverse,
            leg: "".into(),
            revision: 1,
            effective_at: Timestamp::from_parts(0, 0).unwrap(),
            recorded_at: Timestamp::from_parts(0, 0).unwrap(),
            source: Source { service: "s".into(), sequence: None },
            target: Some("t2".into()),
            expires_at: None,
            fact: None,
            postings: Vec::new(),
        };
        EventRecord::new(&event, Origin { partition: 0, ordinal: 0 }, &mut Vec::new())
    }

    fn values(state: &WorkerState, epoch: Epoch) -> Vec<Option<Vec<u8>>> {
        let parts = [state.seal(epoch)];
        let mut values = Vec::new();
        let outcome = SealedChanges::of(&parts).for_each(|_, value| {
            values.push(value.map(<[u8]>::to_vec));
            Ok::<_, ()>(())
        });
        outcome.unwrap();
        values
    }

    /// An epoch may reach a worker by mail alone; its changes must not slip into the checkpoint of
    /// the epoch before, which the worker has not sealed yet.
    #[test]
    fn mail_of_the_next_epoch_stays_out_of_a_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let state = WorkerState::new(Some(Disk::open(directory.path(), 1 << 20).unwrap()), 0, 1);
        let clock = EpochClock::new(1, 0);
        let stateful = Stateful { scale: Scale::DEFAULT, rules: Arc::default() };
        let mut resolver = Resolver::new(state.kept(Space::Transactions), stateful, clock, 1);
        let record = reversal();
        let (key, other) = (record.key, TransactionKey::of("a", "t2"));
        let emit = || Step { begins: Some(Phase::Emit), ..Step::default() };
        state.request_seal(Epoch(1));
        resolver.step(1, Step { events: vec![record], ..Step::default() });
        resolver.step(1, emit());
        let stored = resolver.store.borrow_mut().get(&key).unwrap().to_vec();
        let mail = Mail { to: key, from: other, message: Message::Invalidate };
        resolver.step(2, Step { mail: vec![mail], ..Step::default() });
        resolver.touched.get_mut(&key).unwrap().touched.state.links.circle = true;
        resolver.step(2, emit());
        assert_eq!(values(&state, Epoch(1)), [Some(stored)]);
        state.release(Epoch(1));
        assert_eq!(values(&state, Epoch(2)).len(), 1, "what the mail changed comes with epoch 2");
    }
}
