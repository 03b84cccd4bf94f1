//! Tells of most keys that are not on disk that they are not, by one look into memory: a Bloom filter
//! whose bits of a key are all in one cache line.
//!
//! Nearly every transaction, and many a day of an account, is asked for once before it is there. The
//! tree has filters of its own, but reaching them costs ten times as much.
//!
//! Keys come in the order of their shards, those that a checkpoint notes and those that an epoch asks
//! for, so each shard has a stretch of the filter of its own. A line of it is in no cache as a rule; so
//! whoever has many keys first looks at the lines of some together, which memory answers at once, and not
//! each when the one before has come.
//!
//! It begins with a ninth of its memory, since memory that is used for the first time has to be cleared, and
//! grows once, when there are some keys a line. Where a key's line is, in parts of the whole, is the same in
//! both: what a small line has noted, each of the eight that take its place may have.
//!
//! Guarantee: what has been noted is never denied. The size is bounded, so that memory is; with
//! fewer than six bits a key it denies less and less, and what it does not deny is asked of the disk.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use xxhash_rust::xxh3::xxh3_128;

use crate::hash::low_half;

const LINE_WORDS: usize = 8;
const LINE_BYTES: u64 = 64;
/// How many bits each key sets.
const BITS: u32 = 6;
/// Where in a key its shard is.
const SHARD_AT: usize = 1;
/// How many times as many lines it has once it has grown.
const GROWTH: usize = 8;
/// How many keys a line has then: a quarter of what one is made for, since each of the lines that take its place
/// has the bits of all of them, of which one of eight is its own.
const GROWN_AT: u64 = 12;

/// What says where a key's bits are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Which line, in parts of 2⁶⁴ of all.
    part: u64,
    /// What says which bits of it.
    bits: u64,
}

impl Spot {
    /// Returns the place and the bit in it of each bit, in the words of its line.
    fn bits(self) -> impl Iterator<Item = (usize, u64)> {
        (0..BITS).map(move |number| {
            let nine = (self.bits >> (number * 9)) & 0x1ff;
            ((nine >> 6) as usize, 1 << (nine & 63))
        })
    }
}

/// Lines of words.
type Lines = Box<[[AtomicU64; LINE_WORDS]]>;

fn line(lines: &Lines, spot: Spot) -> &[AtomicU64; LINE_WORDS] {
    // The upper 64 bits are even over the lines.
    let number = (u128::from(spot.part) * lines.len() as u128) >> 64;
    &lines[usize::try_from(number).unwrap_or(0)]
}

/// The filter. It may be asked while other threads note keys; whoever learns that a key is on disk
/// by other means than the filter also sees its bits.
pub(super) struct Filter {
    small: Lines,
    large: OnceLock<Lines>,
    /// How many keys were noted that had not been before; of whoever notes.
    noted: Mutex<u64>,
    /// Whether there is anything to be asked for.
    begun: AtomicBool,
    complete: AtomicBool,
}

impl Filter {
    /// Makes an empty filter that grows to so many bytes, whose memory is taken as it is used.
    pub(super) fn new(bytes: u64) -> Filter {
        let lines = usize::try_from(bytes / LINE_BYTES).unwrap_or(1 << 32);
        Filter {
            small: bytemuck::zeroed_slice_box((lines / (1 + GROWTH)).max(1)),
            large: OnceLock::new(),
            noted: Mutex::default(),
            begun: AtomicBool::new(false),
            complete: AtomicBool::new(false),
        }
    }

    /// Says that everything on disk has been noted: from now on keys are denied.
    pub(super) fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Begins to note keys. One thread does at a time: when the filter grows, nothing else may be noted.
    pub(super) fn noting(&self) -> Noting<'_> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        self.begun.store(true, Ordering::Release);
        Noting { filter: self, noted }
    }

    /// Says whether a key may have been noted; of one that has been, always.
    pub(super) fn may_hold(&self, spot: Spot) -> bool {
        if !self.is_complete() {
            return true;
        }
        // Of a first load there is nothing on disk for long.
        if !self.begun.load(Ordering::Acquire) {
            return false;
        }
        let line = line(self.lines(), spot);
        spot.bits().all(|(word, bit)| line[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Takes the lines of some keys into the cache, all at once.
    pub(super) fn bring(&self, spots: impl Iterator<Item = Spot>) {
        if !self.begun.load(Ordering::Acquire) {
            return;
        }
        let lines = self.lines();
        let words = spots.map(|spot| line(lines, spot)[0].load(Ordering::Relaxed));
        black_box(words.fold(0, |all, word| all ^ word));
    }

    /// Returns where a key's bits are.
    pub(super) fn spot(&self, key: &[u8]) -> Spot {
        let hash = xxh3_128(key);
        // The shard, even as keys are hashes, then the high half of the hash but for its last byte.
        let shard = u64::from(key.get(SHARD_AT).copied().unwrap_or(0));
        Spot { part: (shard << 56) | (low_half(hash >> 64) >> 8), bits: low_half(hash) }
    }

    fn lines(&self) -> &Lines {
        self.large.get().unwrap_or(&self.small)
    }
}

/// Whoever notes keys.
pub(super) struct Noting<'f> {
    filter: &'f Filter,
    noted: MutexGuard<'f, u64>,
}

impl Noting<'_> {
    /// Notes a key. Says whether it may have been noted before; of one that has been, always.
    pub(super) fn note(&mut self, spot: Spot) -> bool {
        let line = line(self.filter.lines(), spot);
        let mut known = true;
        for (word, bit) in spot.bits() {
            // Most bits of keys that are noted again are set; looking first spares the write.
            if line[word].load(Ordering::Relaxed) & bit == 0 {
                line[word].fetch_or(bit, Ordering::Relaxed);
                known = false;
            }
        }
        if !known {
            *self.noted += 1;
            if *self.noted == self.filter.small.len() as u64 * GROWN_AT {
                self.grow();
            }
        }
        known
    }

    fn grow(&self) {
        let Filter { small, large, .. } = self.filter;
        large.get_or_init(|| {
            let large: Lines = bytemuck::zeroed_slice_box(small.len() * GROWTH);
            for (lines, small) in large.chunks(GROWTH).zip(small) {
                for (word, noted) in lines.iter().flatten().zip(small.iter().cycle()) {
                    word.store(noted.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
            large
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_never_denied_and_little_else_is_not() {
        for (bytes, keys, wrong_max) in [
            (1 << 16, 40_000_u64, 600),
            (1 << 16, 10_000, 20),
            (1 << 16, 1_355, 20),
            (1 << 16, 1_356, 20),
            (1 << 20, 200_000, 20),
            (1, 1_000, 20_000),
        ] {
            let filter = Filter::new(bytes);
            let spot = |number: u64| filter.spot(&xxh3_128(&number.to_be_bytes()).to_be_bytes());
            assert!(filter.may_hold(spot(keys)));
            filter.complete();
            assert!(!filter.may_hold(spot(keys)), "nothing has been noted");
            filter.bring((0..keys).map(spot));
            let seem_known = (0..keys).filter(|number| filter.noting().note(spot(*number))).count();
            assert!(bytes == 1 || seem_known < 2_000, "{seem_known} of {keys}");
            assert_eq!(filter.large.get().is_some(), keys >= bytes / 64 / 9 * GROWN_AT);
            assert!((0..keys).all(|number| filter.may_hold(spot(number))));
            assert!((0..keys).all(|number| filter.noting().note(spot(number))));
            let others = keys..keys + 20_000;
            let wrong = others.filter(|number| filter.may_hold(spot(*number))).count();
            assert!(wrong <= wrong_max, "{wrong} of 20,000 with {keys} keys in {bytes} bytes");
        }
    }

    /// Whoever has heard that a key is noted sees its bits, also while the filter grows.
    #[test]
    fn what_others_note_meanwhile_is_not_denied() {
        const KEYS: u64 = 4_000;
        let filter = &Filter::new(1 << 16);
        filter.complete();
        let spot = |number: u64| filter.spot(&xxh3_128(&number.to_be_bytes()).to_be_bytes());
        let noted = [AtomicU64::new(0), AtomicU64::new(0)];
        std::thread::scope(|scope| {
            for (noter, noted) in noted.iter().enumerate() {
                scope.spawn(move || {
                    for number in 0..KEYS {
                        filter.noting().note(spot(number * 2 + noter as u64));
                        noted.store(number + 1, Ordering::Release);
                    }
                });
            }
            while noted.iter().any(|noted| noted.load(Ordering::Acquire) < KEYS) {
                for (noter, noted) in noted.iter().enumerate() {
                    let all = noted.load(Ordering::Acquire);
                    // The last ones, as they come, and some of all.
                    for number in (0..all).rev().take(8).chain((0..all).step_by(97)) {
                        assert!(filter.may_hold(spot(number * 2 + noter as u64)));
                    }
                }
            }
        });
        assert!(filter.large.get().is_some());
        assert!((0..2 * KEYS).all(|number| filter.may_hold(spot(number))));
    }
}
