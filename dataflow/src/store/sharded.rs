//! A hash table in parts, one for each shard.
//!
//! A table that grows moves all that is in it, and holds it twice meanwhile: for one of a million keys a
//! pause of a tenth of a second, and hundreds of megabytes that are touched once. A part is small, so
//! growing is too, and the room that one part leaves is where the next one grows.
//!
//! What an epoch changes comes in the order of its keys, and so shard by shard: one part at a time is
//! looked through, which a cache holds, not the whole table. Parts of shards that other workers own stay
//! empty and without memory.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::StateKey;
use crate::hash::KeyHasher;

/// How many parts there are.
const PARTS: usize = 256;

/// A map from keys to values.
#[derive(Debug)]
pub(super) struct ShardedMap<K, V> {
    parts: Vec<HashTable<(K, V)>>,
}

/// Where a key is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    part: usize,
    slot: usize,
}

impl<K, V> Default for ShardedMap<K, V> {
    fn default() -> ShardedMap<K, V> {
        ShardedMap { parts: (0..PARTS).map(|_| HashTable::new()).collect() }
    }
}

fn hash<K: std::hash::Hash>(key: &K) -> u64 {
    KeyHasher::default().hash_one(key)
}

impl<K, V> ShardedMap<K, V> {
    /// Returns an empty map with room for half as many keys as this one has.
    pub(super) fn half_as_large(&self) -> ShardedMap<K, V> {
        let parts = self.parts.iter().map(|part| HashTable::with_capacity(part.len() / 2));
        ShardedMap { parts: parts.collect() }
    }

    /// Returns the keys of a shard with their values, in no order.
    pub(super) fn of_shard(&self, shard: u8) -> impl ExactSizeIterator<Item = (&K, &V)> {
        self.parts[usize::from(shard)].iter().map(|(key, value)| (key, value))
    }

    /// Returns all keys with their values, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flatten().map(|(key, value)| (key, value))
    }
}

impl<K: StateKey, V> ShardedMap<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.at(self.find(key)?)
    }

    /// Returns where a key is, for [`ShardedMap::at`] before anything else is done: a borrow that one
    /// branch returns lasts through the others, a place does not.
    pub(super) fn find(&self, key: &K) -> Option<Place> {
        let part = usize::from(key.shard());
        let slot = self.parts[part].find_bucket_index(hash(key), |(other, _)| other == key)?;
        Some(Place { part, slot })
    }

    pub(super) fn at(&self, place: Place) -> Option<&V> {
        self.parts[place.part].get_bucket(place.slot).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let part = &mut self.parts[usize::from(key.shard())];
        let found = part.find_mut(hash(key), |(other, _)| other == key);
        found.map(|(_, value)| value)
    }

    /// Sets the value of a key, and returns the one it had.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let part = &mut self.parts[usize::from(key.shard())];
        match part.entry(hash(&key), |(other, _)| *other == key, |(key, _)| hash(key)) {
            Entry::Occupied(mut known) => Some(std::mem::replace(&mut known.get_mut().1, value)),
            Entry::Vacant(vacant) => {
                vacant.insert((key, value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let part = &mut self.parts[usize::from(key.shard())];
        let found = part.find_entry(hash(key), |(other, _)| other == key).ok()?;
        Some(found.remove().0.1)
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
        fn it_is_a_map(steps in prop::collection::vec((0..40_u128, prop::option::of(0..9_u8)), 0..400)) {
            let mut known = BTreeMap::new();
            let mut map = ShardedMap::default();
            for (number, value) in steps {
                let key = TransactionKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c3b));
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), known.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), known.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), known.get(&key));
                prop_assert_eq!(map.get_mut(&key).copied(), known.get(&key).copied());
                prop_assert_eq!(map.iter().count(), known.len());
            }
            let all: BTreeMap<_, _> = map.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(all, known);
        }
    }
}
