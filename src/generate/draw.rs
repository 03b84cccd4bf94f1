//! Chance, in integers only: a ChaCha8 stream for decisions, and a cheap hash for filler.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The stream that decides everything.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// Starts the stream of a seed.
    pub(super) fn new(seed: u64) -> Draw {
        Draw(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Draws any number.
    pub(super) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws a number below `bound`, 0 where it is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        part_of(self.any(), bound)
    }

    /// Draws an index of a list of `len` elements.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Says yes so many times in a hundred thousand.
    pub(super) fn chance(&mut self, per_100k: u64) -> bool {
        self.below(100_000) < per_100k
    }

    /// Draws a number below `bound` (at least 1) with odds of about 1 / (n + 1): all powers of
    /// two are equally likely, and so are all numbers of one power.
    pub(super) fn skewed(&mut self, bound: u64) -> u64 {
        let bound = bound.max(1);
        let power = self.below(u64::from(bound.ilog2()) + 1);
        let n = (1 << power) - 1 + self.below(1 << power);
        if n < bound { n } else { n - bound }
    }
}

/// Maps any number to one below `bound`.
fn part_of(any: u64, bound: u64) -> u64 {
    // The high half of the product; its bias is far below what anyone could notice here.
    let product = u128::from(any) * u128::from(bound);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// Scatters a number over 64 bits, each to another (the finaliser of SplitMix64).
pub(super) fn scatter(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Chance that follows from one salt, so that the same can be said twice, byte by byte.
pub(super) struct Filler(u64);

impl Filler {
    /// Starts the filler of a salt.
    pub(super) fn new(salt: u64) -> Filler {
        Filler(salt)
    }

    /// Returns the next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        scatter(self.0)
    }

    /// Returns the next number below `bound`, 0 where it is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        part_of(self.next(), bound)
    }

    /// Returns the next index of a list of `len` elements.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }
}
