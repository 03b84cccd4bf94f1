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
//! Guarantee: what has been noted is never denied. The size is fixed, so that memory is bounded; with
//! fewer than six bits a key it denies less and less, and what it does not deny is asked of the disk.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_128;

use crate::hash::low_half;

const LINE_WORDS: usize = 8;
const LINE_BYTES: u64 = 64;
/// How many bits each key sets.
const BITS: u32 = 6;
/// Where in a key its shard is.
const SHARD_AT: usize = 1;

/// Where a key's bits are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// The first word of its line.
    first: usize,
    /// What says which bits of it.
    bits: u64,
}

impl Spot {
    /// Returns the word and the bit in it of each bit.
    fn bits(self) -> impl Iterator<Item = (usize, u64)> {
        (0..BITS).map(move |number| {
            let nine = (self.bits >> (number * 9)) & 0x1ff;
            (self.first + (nine >> 6) as usize, 1 << (nine & 63))
        })
    }
}

/// The filter. It may be asked while another thread notes keys; whoever learns that a key is on disk
/// by other means than the filter also sees its bits.
pub(super) struct Filter {
    words: Box<[AtomicU64]>,
    complete: AtomicBool,
}

impl Filter {
    /// Makes an empty filter of about so many bytes, whose memory is taken as it is used.
    pub(super) fn new(bytes: u64) -> Filter {
        let lines = usize::try_from(bytes / LINE_BYTES).unwrap_or(1 << 32).max(1);
        let words = bytemuck::zeroed_slice_box(lines * LINE_WORDS);
        Filter { words, complete: AtomicBool::new(false) }
    }

    /// Says that everything on disk has been noted: from now on keys are denied.
    pub(super) fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Notes a key. Says whether it may have been noted before; of one that has been, always.
    pub(super) fn note(&self, spot: Spot) -> bool {
        let mut known = true;
        for (word, bit) in spot.bits() {
            // Most bits of keys that are noted again are set; looking first spares the write.
            if self.words[word].load(Ordering::Relaxed) & bit == 0 {
                self.words[word].fetch_or(bit, Ordering::Relaxed);
                known = false;
            }
        }
        known
    }

    /// Says whether a key may have been noted; of one that has been, always.
    pub(super) fn may_hold(&self, spot: Spot) -> bool {
        let mut bits = spot.bits();
        !self.is_complete()
            || bits.all(|(word, bit)| self.words[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Takes the lines of some keys into the cache, all at once.
    pub(super) fn bring(&self, spots: impl Iterator<Item = Spot>) {
        let words = spots.map(|spot| self.words[spot.first].load(Ordering::Relaxed));
        black_box(words.fold(0, |all, word| all ^ word));
    }

    /// Returns where a key's bits are.
    pub(super) fn spot(&self, key: &[u8]) -> Spot {
        let hash = xxh3_128(key);
        let lines = (self.words.len() / LINE_WORDS) as u128;
        // The shard, even as keys are hashes, then the high half of the hash but for its last byte.
        let shard = u128::from(key.get(SHARD_AT).copied().unwrap_or(0));
        let even = (shard << 56) | (hash >> 72);
        // Times the number of lines: its upper 64 bits are even over the lines.
        let line = usize::try_from((even * lines) >> 64).unwrap_or(0);
        Spot { first: line * LINE_WORDS, bits: low_half(hash) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_never_denied_and_little_else_is_not() {
        for (bytes, keys, wrong_max) in
            [(1 << 16, 40_000_u64, 600), (1 << 16, 10_000, 20), (1, 1_000, 20_000)]
        {
            let filter = Filter::new(bytes);
            let spot = |number: u64| filter.spot(&xxh3_128(&number.to_be_bytes()).to_be_bytes());
            assert!(filter.may_hold(spot(keys)));
            filter.complete();
            filter.bring((0..keys).map(spot));
            let seem_known = (0..keys).filter(|number| filter.note(spot(*number))).count();
            assert!(bytes == 1 || seem_known < 2_000, "{seem_known} of {keys}");
            assert!((0..keys).all(|number| filter.may_hold(spot(number))));
            assert!((0..keys).all(|number| filter.note(spot(number))));
            let others = keys..keys + 20_000;
            let wrong = others.filter(|number| filter.may_hold(spot(*number))).count();
            assert!(wrong <= wrong_max, "{wrong} of 20,000 with {keys} keys in {bytes} bytes");
        }
    }
}
