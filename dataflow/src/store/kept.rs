//! One space of a worker's state.
//!
//! In: puts and removals, epoch by epoch. State: `active`, what changed since the last seal;
//! `sealed`, what the checkpoint under way holds; `clean`, some of what is on disk; and the disk. A
//! value is looked for in that order. Without a disk `active` holds everything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use trueup_ledger::codec::Reader;

use super::clean::Clean;
use super::disk::Disk;
use super::sharded::ShardedMap;
use super::worker::Clock;
use super::{Encode, KeyBytes, Space, StateKey, StateValue};
use crate::cache::TOGETHER;
use crate::hash::KeyHasher;

/// What an entry costs beside its value: its place, at the usual load of a table.
const ENTRY_BYTES: usize = 12;

/// How many values that were read may be kept.
const READ_MAX: usize = 1 << 17;

/// A changed value; `None` where it was removed.
type Changes<K, V> = ShardedMap<K, Option<V>>;

/// A map from keys to values whose older part is on disk.
pub struct Kept<K, V> {
    space: Space,
    clock: Rc<Clock>,
    disk: Option<Disk>,
    active: Changes<K, V>,
    active_bytes: usize,
    sealed: Option<Arc<Changes<K, V>>>,
    /// The checkpoint that was sealed last.
    sealed_at: u64,
    /// Values as they are on disk that were put last, where each is asked for again some time.
    clean: Option<Clean>,
    /// Values as they are on disk that were read last, ready to be used, where the same ones are asked for
    /// far more often than they are put.
    read: Option<HashMap<K, V, KeyHasher>>,
}

impl<K: StateKey, V: StateValue> Kept<K, V> {
    pub(super) fn new(space: Space, clock: Rc<Clock>, disk: Option<Disk>) -> Kept<K, V> {
        // Most transactions are never asked for again, accounts only when they are opened or declared, and of
        // all else there is little.
        let kept = matches!(space, Space::Balances | Space::Days | Space::Names);
        let clean = disk.as_ref().filter(|_| kept).map(|disk| Clean::new(disk.budget()));
        let read = (space == Space::Names && disk.is_some()).then(HashMap::default);
        Kept {
            space,
            clock,
            disk,
            active: Changes::default(),
            active_bytes: 0,
            sealed: None,
            sealed_at: 0,
            clean,
            read,
        }
    }

    /// Says that what follows belongs to `epoch`. Epochs come in order.
    pub fn begin(&mut self, epoch: u64) {
        self.let_go();
        let wanted = self.clock.seal_at();
        if self.sealed_at < wanted && wanted < epoch {
            self.seal(wanted);
        }
    }

    /// Lets go of the last checkpoint once it is on disk. A space whose puts do not come in the
    /// order of epochs calls this instead of [`Kept::begin`]; its part of a checkpoint then holds
    /// at least what belongs to it.
    pub fn let_go(&mut self) {
        if self.clock.released() < self.sealed_at {
            return;
        }
        if let (Some(sealed), Some(clean)) = (self.sealed.take(), &mut self.clean) {
            let mut bytes = Vec::new();
            for (key, change) in sealed.iter() {
                bytes.clear();
                if let Some(value) = change {
                    value.encode(&mut bytes);
                }
                clean.put(&key.encode(self.space), change.as_ref().map(|_| bytes.as_slice()));
            }
        }
    }

    /// Returns the value of a key.
    ///
    /// # Panics
    /// Where the disk cannot be read: the books cannot go on without it.
    pub fn get(&mut self, key: &K) -> Option<Cow<'_, V>> {
        if let Some(place) = self.active.find(key) {
            return self.active.at(place).as_ref().map(Cow::Borrowed);
        }
        self.older(key)
    }

    /// Returns the value of a key that is not active.
    fn older(&mut self, key: &K) -> Option<Cow<'_, V>> {
        let Kept { space, disk, sealed, clean, read, .. } = self;
        let disk = disk.as_ref()?;
        if let Some(change) = sealed.as_ref().and_then(|sealed| sealed.get(key)) {
            return change.as_ref().map(Cow::Borrowed);
        }
        // What is read often and put once would not come back after a restart, or once it has left.
        let comes_back = read.is_some();
        let mut find = || {
            let encoded = key.encode(*space);
            if let Some(bytes) = clean.as_ref().and_then(|clean| clean.get(&encoded)) {
                return Some(decode(*space, bytes));
            }
            let bytes = disk.get(&encoded)?;
            if let Some(clean) = clean.as_mut().filter(|_| comes_back) {
                clean.put(&encoded, Some(&bytes));
            }
            Some(decode(*space, &bytes))
        };
        let Some(read) = read else { return find().map(Cow::Owned) };
        if read.len() >= READ_MAX {
            read.clear();
        }
        match read.entry(*key) {
            Entry::Occupied(known) => Some(Cow::Borrowed(known.into_mut())),
            Entry::Vacant(vacant) => Some(Cow::Borrowed(vacant.insert(find()?))),
        }
    }

    /// Returns the values of keys, in the order in which they are given. The disk is read in the order of
    /// its own keys, so that those that lie in one block there are found while it is at hand.
    ///
    /// # Panics
    /// As [`Kept::get`].
    pub fn get_all(&mut self, keys: impl ExactSizeIterator<Item = K>) -> Vec<Option<V>> {
        let mut values: Vec<Option<V>> = Vec::with_capacity(keys.len());
        let mut unchanged: Vec<(KeyBytes, usize)> = Vec::new();
        for (place, key) in keys.enumerate() {
            let sealed = || self.sealed.as_ref().and_then(|sealed| sealed.get(&key));
            let known = self.active.get(&key).or_else(sealed);
            values.push(known.and_then(Option::clone));
            if known.is_none() && self.disk.is_some() {
                unchanged.push((key.encode(self.space), place));
            }
        }
        let Some(disk) = &self.disk else { return values };
        let mut on_disk = match &self.clean {
            Some(clean) => {
                let mut others = Vec::new();
                for keys in unchanged.chunks(TOGETHER) {
                    clean.bring(keys.iter().map(|(key, _)| key));
                    for (key, place) in keys {
                        match clean.get(key) {
                            Some(bytes) => values[*place] = Some(decode(self.space, bytes)),
                            None => others.push((*key, *place)),
                        }
                    }
                }
                others
            }
            None => unchanged,
        };
        disk.retain_held(&mut on_disk);
        on_disk.sort_unstable();
        for (key, place) in on_disk {
            values[place] = disk.read(&key).map(|bytes| decode(self.space, &bytes));
        }
        values
    }

    /// Makes ready to be asked for some keys soon, few enough for a cache to hold what that takes.
    pub fn bring(&self, keys: impl Iterator<Item = K>) {
        if let Some(disk) = &self.disk {
            disk.bring(keys.map(|key| key.encode(self.space)));
        }
    }

    /// Says whether a key has a value.
    ///
    /// # Panics
    /// As [`Kept::get`].
    pub fn contains(&mut self, key: &K) -> bool {
        match self.active.get(key) {
            Some(change) => change.is_some(),
            None => self.older(key).is_some(),
        }
    }

    /// Takes a value out, to be changed and put back.
    ///
    /// # Panics
    /// As [`Kept::get`].
    pub fn take(&mut self, key: &K) -> Option<V> {
        match self.active.get_mut(key) {
            Some(change) => {
                let value = change.take();
                self.active_bytes -= value.as_ref().map_or(0, V::heap_bytes);
                value
            }
            None => self.older(key).map(Cow::into_owned),
        }
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: K, value: V) {
        self.change(key, Some(value));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: K) {
        if self.disk.is_some() {
            self.change(key, None);
        } else if let Some(old) = self.active.remove(&key) {
            self.active_bytes -= weight::<K, V>(old.as_ref());
        }
    }

    fn change(&mut self, key: K, value: Option<V>) {
        self.active_bytes += weight::<K, V>(value.as_ref());
        if let Some(old) = self.active.insert(key, value) {
            self.active_bytes -= weight::<K, V>(old.as_ref());
        }
    }

    fn seal(&mut self, epoch: u64) {
        assert!(self.sealed.is_none(), "the checkpoint before is on disk");
        self.sealed_at = epoch;
        if let Some(read) = &mut self.read {
            read.clear();
        }
        // About as much changes until the next one, and growing to that would move it all again.
        let active = self.active.half_as_large();
        self.sealed = Some(Arc::new(std::mem::replace(&mut self.active, active)));
        self.active_bytes = 0;
    }

    /// Calls `each` with every pair on disk whose shard is `wanted`. Nothing may have changed yet.
    ///
    /// # Panics
    /// As [`Kept::get`].
    pub fn scan(&self, wanted: impl Fn(u8) -> bool, mut each: impl FnMut(K, V)) {
        let Some(disk) = &self.disk else { return };
        disk.scan(self.space, wanted, |key, value| match K::decode(key) {
            Ok(key) => each(key, decode(self.space, value)),
            Err(_) => unreachable!("{:?}: a stored key cannot be read back", self.space),
        });
    }
}

impl<K: StateKey + Ord, V: StateValue> Kept<K, V> {
    /// Returns every pair whose key is between the two keys of one of `ranges`, the second excluded.
    /// Ranges do not overlap. What is in memory is gone through once, so many are asked for together.
    ///
    /// # Panics
    /// As [`Kept::get`].
    pub fn select(&self, mut ranges: Vec<(KeyBytes, KeyBytes)>) -> BTreeMap<K, V> {
        ranges.sort_unstable();
        let mut found = BTreeMap::new();
        if let Some(disk) = &self.disk {
            for (from, to) in &ranges {
                disk.scan_range(from, to, |key, value| match K::decode(key) {
                    Ok(key) => drop(found.insert(key, decode(self.space, value))),
                    Err(_) => unreachable!("{:?}: a stored key cannot be read back", self.space),
                });
            }
        }
        let sealed = self.sealed.iter().flat_map(|sealed| sealed.iter());
        for (key, change) in sealed.chain(self.active.iter()) {
            let encoded = key.encode(self.space);
            let behind = ranges.partition_point(|(from, _)| *from <= encoded);
            if behind == 0 || ranges[behind - 1].1 <= encoded {
                continue;
            }
            match change {
                Some(value) => drop(found.insert(*key, value.clone())),
                None => drop(found.remove(key)),
            }
        }
        found
    }
}

fn weight<K, V: StateValue>(value: Option<&V>) -> usize {
    size_of::<K>() + size_of::<Option<V>>() + ENTRY_BYTES + value.map_or(0, V::heap_bytes)
}

fn decode<V: StateValue>(space: Space, bytes: &[u8]) -> V {
    match V::decode(&mut Reader::new(bytes)) {
        Ok(value) => value,
        Err(_) => unreachable!("{space:?}: a stored value cannot be read back"),
    }
}

/// What a [`WorkerState`](super::WorkerState) needs of its spaces, whatever they hold.
pub(super) trait Sealing {
    /// Ends a checkpoint for this space, if it has not gone past it yet, and returns its part.
    fn seal_at(&mut self, epoch: u64) -> Box<dyn SealedSpace>;

    /// Returns about how many bytes have changed since the last seal.
    fn gathered_bytes(&self) -> usize;
}

impl<K: StateKey, V: StateValue> Sealing for Kept<K, V> {
    fn seal_at(&mut self, epoch: u64) -> Box<dyn SealedSpace> {
        if self.sealed_at < epoch {
            self.let_go();
            self.seal(epoch);
        }
        assert_eq!(self.sealed_at, epoch, "one checkpoint at a time");
        Box::new(SealedMap { space: self.space, changes: self.sealed.clone().unwrap_or_default() })
    }

    fn gathered_bytes(&self) -> usize {
        self.active_bytes
    }
}

/// The sealed part of a space, for the thread that writes it.
pub(super) trait SealedSpace: Send + Sync {
    /// Returns which space it is.
    fn space(&self) -> Space;

    /// Appends all changes of a shard, in no order.
    fn changes<'a>(&'a self, shard: u8, out: &mut Vec<(KeyBytes, Option<&'a dyn Encode>)>);

    /// Says whether nobody else holds it.
    fn is_let_go(&self) -> bool;
}

struct SealedMap<K, V> {
    space: Space,
    changes: Arc<Changes<K, V>>,
}

impl<K: StateKey, V: StateValue> SealedSpace for SealedMap<K, V> {
    fn space(&self) -> Space {
        self.space
    }

    fn changes<'a>(&'a self, shard: u8, out: &mut Vec<(KeyBytes, Option<&'a dyn Encode>)>) {
        for entries in self.changes.of_shard(shard) {
            out.extend(entries.iter().map(|(key, value)| {
                (key.encode(self.space), value.as_ref().map(|value| value as &dyn Encode))
            }));
        }
    }

    fn is_let_go(&self) -> bool {
        Arc::strong_count(&self.changes) == 1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::RefCell;

    use proptest::prelude::*;
    use trueup_ledger::Epoch;

    use super::*;
    use crate::names::DatedKey;
    use crate::store::{Mark, SealedChanges, Shards, StateError, WorkerState, Write};
    use crate::sums::Sides;

    fn key(number: u16) -> DatedKey {
        let wide = u128::from(number);
        // The order of the keys is another one on disk, where tenant and date come first.
        let (at, tenant) = (i32::from(number % 7), u32::from(number % 5));
        DatedKey { key: (wide % 3) << 120 | wide, at, tenant }
    }

    fn sum(number: u16, lines: i64) -> Sides {
        Sides { debits: i128::from(number), credits: 0, lines }
    }

    /// Takes what is sealed at an epoch to disk and lets go of it.
    fn checkpoint(state: &WorkerState, disk: &Disk, epoch: u64) {
        let sealed = [state.seal(Epoch(epoch))];
        let mark = Mark {
            epoch: Epoch(epoch),
            commit_hash: String::new(),
            configuration: String::new(),
            shards: Shards::ALL,
        };
        let fill = |write: Write<'_, StateError>| SealedChanges::of(&sealed).for_each(write);
        disk.ingest(&mark, fill, |(), _| Ok(())).unwrap();
        state.release(Epoch(epoch));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Lives of a space: what changes in each epoch, and whether a checkpoint is asked for before it
        /// and whether it is on disk at its end.
        #[test]
        fn it_is_a_map_over_any_checkpoints(
            epochs in prop::collection::vec(
                (prop::collection::vec((0..60_u16, prop::option::of(0..9_i64)), 0..40), any::<bool>(), any::<bool>()),
                1..20,
            ),
            memory in prop::sample::select(vec![0_u64, 8_192, 1 << 20]),
            space in prop::sample::select(vec![Space::Transactions, Space::Days, Space::Names]),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let disk = Disk::open(directory.path(), memory).unwrap();
            let state = WorkerState::new(Some(disk.clone()), 0, 1);
            let kept: Rc<RefCell<Kept<DatedKey, Sides>>> = state.kept(space);
            let mut known = BTreeMap::new();
            let mut under_way = None;
            for (epoch, (changes, asks, ends)) in (1_u64..).zip(epochs) {
                kept.borrow_mut().begin(epoch);
                for (number, lines) in changes {
                    match lines {
                        Some(lines) => kept.borrow_mut().put(key(number), sum(number, lines)),
                        None => kept.borrow_mut().remove(key(number)),
                    }
                    match lines {
                        Some(lines) => known.insert(number, sum(number, lines)),
                        None => known.remove(&number),
                    };
                }
                if asks && under_way.is_none() {
                    state.request_seal(Epoch(epoch));
                    under_way = Some(epoch);
                } else if ends && let Some(at) = under_way.take() {
                    checkpoint(&state, &disk, at);
                }
                let mut kept = kept.borrow_mut();
                let values = kept.get_all((0..60).map(key));
                for (number, value) in (0..60).zip(values) {
                    prop_assert_eq!(value.as_ref(), known.get(&number));
                    let one = kept.get(&key(number)).map(Cow::into_owned);
                    prop_assert_eq!(one.as_ref(), known.get(&number));
                }
            }
        }
    }

    /// What came to disk stays in memory, of some spaces: it is there still when the disk has something else.
    #[test]
    fn what_was_put_is_not_read_from_disk() {
        let cases = [
            (Space::Days, true),
            (Space::Balances, true),
            (Space::Names, true),
            (Space::Transactions, false),
        ];
        for (space, stays) in cases {
            let directory = tempfile::tempdir().unwrap();
            let disk = Disk::open(directory.path(), 1 << 20).unwrap();
            let open = || {
                let state = WorkerState::new(Some(disk.clone()), 0, 1);
                let kept: Rc<RefCell<Kept<DatedKey, Sides>>> = state.kept(space);
                (state, kept)
            };
            let put = |(state, kept): &(WorkerState, Rc<RefCell<Kept<_, _>>>), epoch, lines| {
                kept.borrow_mut().begin(epoch);
                (0..30).for_each(|number| kept.borrow_mut().put(key(number), sum(number, lines)));
                state.request_seal(Epoch(epoch));
                checkpoint(state, &disk, epoch);
                kept.borrow_mut().let_go();
            };
            let (one, other) = (open(), open());
            put(&one, 1, 7);
            put(&other, 2, 8);
            let lines = if stays { 7 } else { 8 };
            let expected = || (0..30).map(|number| Some(sum(number, lines)));
            assert!(one.1.borrow_mut().get_all((0..30).map(key)).into_iter().eq(expected()));
            for (number, expected) in (0..30).zip(expected()) {
                assert_eq!(one.1.borrow_mut().take(&key(number)), expected, "{space:?}");
            }
        }
    }

    /// A name is put once; read after a restart, it stays in memory even when `read` is cleared.
    #[test]
    fn what_is_read_often_comes_back_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path(), 1 << 20).unwrap();
        let life = || {
            let state = WorkerState::new(Some(disk.clone()), 0, 1);
            let names: Rc<RefCell<Kept<DatedKey, Sides>>> = state.kept(Space::Names);
            (state, names)
        };
        let (state, names) = life();
        names.borrow_mut().put(key(1), sum(1, 7));
        state.request_seal(Epoch(1));
        checkpoint(&state, &disk, 1);
        let (_, names) = life();
        assert!(names.borrow_mut().contains(&key(1)));
        let names = names.borrow();
        let clean = names.clean.as_ref().unwrap();
        assert!(clean.get(&key(1).encode(Space::Names)).is_some());
    }

    #[test]
    fn many_values_are_read_as_one_is_wherever_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path(), 1 << 20).unwrap();
        let state = WorkerState::new(Some(disk.clone()), 0, 1);
        let days: Rc<RefCell<Kept<DatedKey, Sides>>> = state.kept(Space::Days);
        // On disk, in the checkpoint under way, and active: each time some are new, changed and removed.
        for epoch in 1_u16..=3 {
            days.borrow_mut().begin(epoch.into());
            for number in (0..300).filter(|number| number % (epoch + 1) == 0) {
                match number % 10 {
                    0 => days.borrow_mut().remove(key(number)),
                    _ => days.borrow_mut().put(key(number), sum(number, epoch.into())),
                }
            }
            if epoch == 3 {
                continue;
            }
            state.request_seal(Epoch(epoch.into()));
            if epoch == 1 {
                checkpoint(&state, &disk, 1);
            }
        }
        let keys: Vec<DatedKey> = (0..400).rev().map(key).collect();
        let mut days = days.borrow_mut();
        let values = days.get_all(keys.iter().copied());
        let one_by_one: Vec<_> =
            keys.iter().map(|key| days.get(key).map(Cow::into_owned)).collect();
        assert_eq!(values, one_by_one);
        let lines: Vec<i64> = values.into_iter().flatten().map(|sides| sides.lines).collect();
        for epoch in 1..=3 {
            assert!(lines.contains(&epoch), "none is read from where epoch {epoch} put it");
        }
    }
}
