//! Values as they are on disk, packed into memory, which spares looking for them in the tree.
//!
//! In: each checkpoint that is on disk, all that changed in it. Out: bytes of values, or nothing, which
//! says only that the disk has to be asked. Guarantee: of a key that has not changed since a checkpoint that
//! was let go of, it has what the disk has or nothing.
//!
//! A ledger touches a day of an account a few times, weeks apart, and there are millions of these days; so
//! it is with balances and names, where there are millions of accounts. As entries of a table, with room to
//! change, days take 120 bytes each, as bytes 40. So they lie one behind the other in buckets, each the
//! place of some keys: a new one goes behind the last, and where there is no room those in front leave.
//!
//! ```text
//!  shard ─▶ part: │ bucket │ bucket │ …          grows with what it holds, while the process has room
//!                      │
//!                      └─▶ │ used │ length key value │ length key value │ … │ free │
//! ```

use std::iter;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::KeyBytes;
use crate::cache::bring;

/// How many parts there are, one for each shard: what is asked for comes shard by shard.
const PARTS: usize = 256;

const BUCKET_BYTES: usize = 512;
/// What a bucket has for entries.
const ROOM_BYTES: usize = BUCKET_BYTES - size_of::<u16>();
/// Longer entries are left to the disk: one should not drive out all others.
const ENTRY_MAX: usize = ROOM_BYTES / 4;
/// An entry begins with the length of its key and that of its value.
const LENGTHS: usize = 2;

/// Memory that the values of all workers of a process share. Clones are handles to the same.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn new(bytes: u64) -> Budget {
        Budget(Arc::new(AtomicU64::new(bytes)))
    }

    fn take(&self, bytes: u64) -> bool {
        let left = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }

    fn give(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The values of one space.
pub(super) struct Clean {
    parts: Vec<Part>,
    budget: Budget,
}

impl Clean {
    pub(super) fn new(budget: Budget) -> Clean {
        Clean { parts: (0..PARTS).map(|_| Part::default()).collect(), budget }
    }

    /// Takes the places of some keys into the processor's cache, all at once.
    pub(super) fn bring<'a>(&self, keys: impl Iterator<Item = &'a KeyBytes>) {
        bring(keys.filter_map(|key| self.part(key).bucket(key)).map(|bucket| &bucket.bytes[..]));
    }

    /// Returns the value of a key as it was put, where it is still there.
    pub(super) fn get(&self, key: &KeyBytes) -> Option<&[u8]> {
        self.part(key).bucket(key)?.get(rest(key))
    }

    /// Says what the disk has of a key now; `None` where it was removed.
    pub(super) fn put(&mut self, key: &KeyBytes, value: Option<&[u8]>) {
        let part = &mut self.parts[shard(key)];
        part.remove(key);
        let Some(value) = value else { return };
        let entry = [rest(key), value];
        if entry_bytes(entry) <= ENTRY_MAX {
            part.make_room(entry_bytes(entry), &self.budget);
            part.append(entry);
        }
    }

    fn part(&self, key: &KeyBytes) -> &Part {
        &self.parts[shard(key)]
    }
}

impl Drop for Clean {
    fn drop(&mut self) {
        self.budget.give(self.parts.iter().map(Part::bytes).sum());
    }
}

fn shard(key: &KeyBytes) -> usize {
    key.as_bytes().get(1).copied().map_or(0, usize::from)
}

/// Returns what tells a key from others of its space and shard.
fn rest(key: &KeyBytes) -> &[u8] {
    key.as_bytes().get(2..).unwrap_or_default()
}

/// The keys of one shard.
#[derive(Default)]
struct Part {
    buckets: Vec<Bucket>,
    /// Bytes of all entries.
    filled: usize,
    /// Bytes of entries that have left since it last grew: a bucket is full before all are, and the sooner
    /// the longer its entries.
    left: usize,
}

impl Part {
    fn bytes(&self) -> u64 {
        size_of_val(&*self.buckets) as u64
    }

    fn bucket(&self, key: &KeyBytes) -> Option<&Bucket> {
        self.buckets.get(self.place(rest(key)))
    }

    /// Returns which bucket a key belongs to.
    fn place(&self, key: &[u8]) -> usize {
        // Times the number of buckets: the upper 64 bits are even over them.
        let place = (u128::from(xxh3_64(key)) * self.buckets.len() as u128) >> 64;
        usize::try_from(place).unwrap_or(0)
    }

    fn remove(&mut self, key: &KeyBytes) {
        let place = self.place(rest(key));
        if let Some(bucket) = self.buckets.get_mut(place) {
            self.filled -= bucket.remove(rest(key));
        }
    }

    /// Grows by half where there is little room left or some have left, and the process has the room.
    fn make_room(&mut self, more: usize, budget: &Budget) {
        let buckets = self.buckets.len();
        if (self.filled + more) * 4 < buckets * ROOM_BYTES * 3 && self.left * 32 <= self.filled {
            return;
        }
        let added = buckets / 2 + 1;
        if !budget.take((added * BUCKET_BYTES) as u64) {
            return;
        }
        let larger = vec![Bucket::EMPTY; buckets + added];
        let old = mem::replace(&mut self.buckets, larger);
        (self.filled, self.left) = (0, 0);
        for bucket in &old {
            bucket.entries().for_each(|entry| self.append([entry.key, entry.value]));
        }
    }

    /// Adds a key that is not there.
    fn append(&mut self, entry: [&[u8]; 2]) {
        let place = self.place(entry[0]);
        if let Some(bucket) = self.buckets.get_mut(place) {
            let left = bucket.append(entry);
            self.filled = self.filled + entry_bytes(entry) - left;
            self.left += left;
        }
    }
}

/// Some entries, the oldest first but for those of buckets that were divided.
#[derive(Clone)]
#[repr(C, align(64))]
struct Bucket {
    /// Bytes of its entries.
    used: u16,
    bytes: [u8; ROOM_BYTES],
}

/// Where an entry is in its bucket.
struct Entry<'a> {
    at: Range<usize>,
    key: &'a [u8],
    value: &'a [u8],
}

impl Bucket {
    const EMPTY: Bucket = Bucket { used: 0, bytes: [0; ROOM_BYTES] };

    fn used(&self) -> usize {
        self.used.into()
    }

    /// At most [`ROOM_BYTES`].
    fn set_used(&mut self, used: usize) {
        self.used = u16::try_from(used).unwrap_or(0);
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let bytes = &self.bytes[..self.used()];
        let mut at = 0;
        iter::from_fn(move || {
            let [key, value] = *bytes.get(at..)?.first_chunk()?;
            let key_at = at + LENGTHS;
            let value_at = key_at + usize::from(key);
            let end = value_at + usize::from(value);
            let entry =
                Entry { at: at..end, key: &bytes[key_at..value_at], value: &bytes[value_at..end] };
            at = end;
            Some(entry)
        })
    }

    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// Removes a key, and returns how many bytes its entry had.
    fn remove(&mut self, key: &[u8]) -> usize {
        let found = self.entries().find(|entry| entry.key == key).map(|entry| entry.at);
        found.map_or(0, |at| self.cut(at))
    }

    /// Adds a key that is not there, and returns how many bytes left for it. The entry is no longer than
    /// [`ENTRY_MAX`].
    fn append(&mut self, [key, value]: [&[u8]; 2]) -> usize {
        let bytes = entry_bytes([key, value]);
        let mut oldest = 0..0;
        for entry in self.entries() {
            if self.used() - oldest.end + bytes <= ROOM_BYTES {
                break;
            }
            oldest.end = entry.at.end;
        }
        let left = self.cut(oldest);
        let mut at = self.used();
        for piece in [&lengths([key, value])[..], key, value] {
            self.bytes[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        self.set_used(at);
        left
    }

    /// Closes the gap where some entries were, and returns its length.
    fn cut(&mut self, at: Range<usize>) -> usize {
        let (length, used) = (at.len(), self.used());
        self.bytes.copy_within(at.end..used, at.start);
        self.set_used(used - length);
        length
    }
}

fn entry_bytes([key, value]: [&[u8]; 2]) -> usize {
    LENGTHS + key.len() + value.len()
}

/// Both are below [`ENTRY_MAX`].
fn lengths(pieces: [&[u8]; 2]) -> [u8; LENGTHS] {
    pieces.map(|piece| u8::try_from(piece.len()).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::Space;

    fn key(number: u16) -> KeyBytes {
        KeyBytes::new(Space::Days, &[&[number.to_be_bytes()[1] % 3], &number.to_be_bytes()])
    }

    proptest! {
        /// Whatever the room: what is there is what was put last.
        #[test]
        fn it_never_has_what_was_there_before(
            steps in prop::collection::vec((0..300_u16, prop::option::of((any::<u8>(), 0..200_usize))), 0..2_000),
            buckets in 0..40_u64,
        ) {
            let budget = Budget::new(buckets * BUCKET_BYTES as u64);
            let mut clean = Clean::new(budget.clone());
            let mut known = BTreeMap::new();
            for (number, value) in steps {
                let value = value.map(|(byte, length)| vec![byte; length]);
                clean.put(&key(number), value.as_deref());
                match value {
                    Some(value) => known.insert(number, value),
                    None => known.remove(&number),
                };
                let seen = clean.get(&key(number));
                prop_assert!(seen.is_none() || seen == known.get(&number).map(Vec::as_slice));
            }
            for number in 0..300 {
                let seen = clean.get(&key(number));
                prop_assert!(seen.is_none() || seen == known.get(&number).map(Vec::as_slice));
            }
            for part in &clean.parts {
                let used: usize = part.buckets.iter().map(Bucket::used).sum();
                prop_assert_eq!(part.filled, used);
            }
            let taken: u64 = clean.parts.iter().map(Part::bytes).sum();
            prop_assert_eq!(taken + budget.0.load(Ordering::Relaxed), buckets * BUCKET_BYTES as u64);
            drop(clean);
            prop_assert_eq!(budget.0.load(Ordering::Relaxed), buckets * BUCKET_BYTES as u64);
        }
    }

    /// Of entries of any length nine of ten are held in four times their room, and in half of it a third,
    /// the newest.
    #[test]
    fn it_holds_what_there_is_room_for() {
        let entries = 20_000_u16;
        for length in [24_u64, 40, 61, 103, 112] {
            let value = vec![7; usize::try_from(length).unwrap() - LENGTHS - 2];
            let all = u64::from(entries) * length;
            for (bytes, least) in [(all * 4, 90), (all / 2, 35), (all / 50, 1), (0, 0)] {
                let mut clean = Clean::new(Budget::new(bytes));
                for number in 0..entries {
                    clean.put(&key(number), Some(&value));
                }
                let is_held = |number: &u16| clean.get(&key(*number)).is_some();
                let held = (0..entries).filter(is_held).count();
                let said = format!("{held} of {length} bytes in {bytes}");
                assert!(held * 100 >= usize::from(entries) * least, "{said}");
                assert!(held as u64 * length <= bytes, "{said}");
                let newest = (0..entries).rev().filter(is_held).take(100).min();
                assert!(least < 35 || newest > Some(entries - 250), "{said}");
            }
        }
    }
}
