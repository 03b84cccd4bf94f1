//! A hash table in parts, one for each shard.
//!
//! ```text
//!  key ─hash─▶ slots ─place─▶ chunks of entries, as they came
//! ```
//!
//! A table that grows moves all that is in it, and holds it twice meanwhile: for one of a million keys a
//! pause of a tenth of a second, and hundreds of megabytes that are touched once. And between a half and an
//! eighth of its room is empty, in all parts at the same time, since shards are even. Here only places of four
//! bytes are moved and left empty; an entry stays in its chunk.
//!
//! What an epoch changes comes in the order of its keys, and so shard by shard: one part at a time is
//! looked through, whose places a cache holds. Parts of shards that other workers own stay
//! empty and without memory.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::StateKey;
use crate::hash::KeyHasher;

/// How many parts there are.
const PARTS: usize = 256;

/// How many entries a chunk has.
const CHUNK: usize = 128;

/// A map from keys to values.
#[derive(Debug)]
pub(super) struct ShardedMap<K, V> {
    parts: Vec<Part<K, V>>,
}

/// The keys of one shard.
#[derive(Debug)]
struct Part<K, V> {
    /// The place of each entry.
    slots: HashTable<u32>,
    entries: Entries<K, V>,
}

/// Where a key is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    part: usize,
    slot: u32,
}

/// Entries by their place, in chunks that are full, all but the last. The first one grows.
#[derive(Debug)]
struct Entries<K, V> {
    chunks: Vec<Vec<(K, V)>>,
}

impl<K, V> Entries<K, V> {
    fn get(&self, slot: u32) -> &(K, V) {
        let slot = slot as usize;
        &self.chunks[slot / CHUNK][slot % CHUNK]
    }

    fn get_mut(&mut self, slot: u32) -> &mut (K, V) {
        let slot = slot as usize;
        &mut self.chunks[slot / CHUNK][slot % CHUNK]
    }

    /// Adds an entry behind all others.
    fn push(&mut self, entry: (K, V)) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(entry),
            last => {
                let mut chunk = Vec::with_capacity(if last.is_some() { CHUNK } else { 1 });
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
    }

    /// Takes the last one.
    fn pop(&mut self) -> Option<(K, V)> {
        let last = self.chunks.last_mut()?;
        let entry = last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
        entry
    }
}

impl<K, V> Part<K, V> {
    fn with_room(keys: usize) -> Part<K, V> {
        let entries = Entries { chunks: Vec::new() };
        Part { slots: HashTable::with_capacity(keys), entries }
    }
}

impl<K, V> Default for ShardedMap<K, V> {
    fn default() -> ShardedMap<K, V> {
        ShardedMap { parts: (0..PARTS).map(|_| Part::with_room(0)).collect() }
    }
}

fn hash<K: std::hash::Hash>(key: &K) -> u64 {
    KeyHasher::default().hash_one(key)
}

impl<K, V> ShardedMap<K, V> {
    /// Returns an empty map with room for half as many keys as this one has.
    pub(super) fn half_as_large(&self) -> ShardedMap<K, V> {
        let parts = self.parts.iter().map(|part| Part::with_room(part.slots.len() / 2));
        ShardedMap { parts: parts.collect() }
    }

    /// Returns the keys of a shard with their values, some at a time, in no order.
    pub(super) fn of_shard(&self, shard: u8) -> impl Iterator<Item = &[(K, V)]> {
        self.parts[usize::from(shard)].entries.chunks.iter().map(Vec::as_slice)
    }

    /// Returns all keys with their values, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let chunks = self.parts.iter().flat_map(|part| &part.entries.chunks);
        chunks.flatten().map(|(key, value)| (key, value))
    }
}

impl<K: StateKey, V> ShardedMap<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).map(|place| self.at(place))
    }

    /// Returns where a key is, for [`ShardedMap::at`] before anything else is done: a borrow that one
    /// branch returns lasts through the others, a place does not.
    pub(super) fn find(&self, key: &K) -> Option<Place> {
        let part = usize::from(key.shard());
        let Part { slots, entries } = &self.parts[part];
        let slot = *slots.find(hash(key), |slot| entries.get(*slot).0 == *key)?;
        Some(Place { part, slot })
    }

    pub(super) fn at(&self, place: Place) -> &V {
        &self.parts[place.part].entries.get(place.slot).1
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let Place { part, slot } = self.find(key)?;
        Some(&mut self.parts[part].entries.get_mut(slot).1)
    }

    /// Sets the value of a key, and returns the one it had.
    ///
    /// # Panics
    /// Where a shard has 2³² keys.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Part { slots, entries } = &mut self.parts[usize::from(key.shard())];
        let Ok(next) = u32::try_from(slots.len()) else { unreachable!("a shard is small") };
        let is_same = |slot: &u32| entries.get(*slot).0 == key;
        match slots.entry(hash(&key), is_same, |slot| hash(&entries.get(*slot).0)) {
            Entry::Occupied(known) => {
                Some(std::mem::replace(&mut entries.get_mut(*known.get()).1, value))
            }
            Entry::Vacant(vacant) => {
                vacant.insert(next);
                entries.push((key, value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let Part { slots, entries } = &mut self.parts[usize::from(key.shard())];
        let is_same = |slot: &u32| entries.get(*slot).0 == *key;
        let (slot, _) = slots.find_entry(hash(key), is_same).ok()?.remove();
        let last = entries.pop()?;
        let Ok(was_last) = u32::try_from(slots.len()) else { unreachable!("a shard is small") };
        if slot == was_last {
            return Some(last.1);
        }
        // The last one takes its place.
        if let Some(moved) = slots.find_mut(hash(&last.0), |other| *other == was_last) {
            *moved = slot;
        }
        Some(std::mem::replace(entries.get_mut(slot), last).1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use trueup_ledger::TransactionKey;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in prop::collection::vec((0..600_u128, prop::option::weighted(0.8, 0..9_u8)), 0..1_500),
            shards in 1..5_u128,
        ) {
            let mut known = BTreeMap::new();
            let mut map = ShardedMap::default();
            for (number, value) in steps {
                let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c3b) >> 8;
                let key = TransactionKey((number % shards) << 120 | bits);
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), known.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), known.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), known.get(&key));
                prop_assert_eq!(map.get_mut(&key).copied(), known.get(&key).copied());
                prop_assert_eq!(map.iter().count(), known.len());
            }
            let counted: usize = (0..=u8::MAX).flat_map(|shard| map.of_shard(shard)).map(<[_]>::len).sum();
            prop_assert_eq!(counted, known.len());
            let all: BTreeMap<_, _> = map.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(all, known);
        }
    }
}
