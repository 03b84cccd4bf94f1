//! A hasher for keys that are hashes already.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`TakesBits`].
pub(crate) type KeyHasher = BuildHasherDefault<TakesBits>;

/// Takes 64 of the bits of a key that is itself a cryptographic hash; other integers hashed beside
/// it are mixed in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TakesBits(u64);

impl Hasher for TakesBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // The multiplier of Fibonacci hashing spreads small integers over all bits.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_i32(&mut self, value: i32) {
        self.write_u64(u64::from(value.cast_unsigned()));
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = self.0.rotate_left(5) ^ low_half(value);
    }
}

/// Returns the low half of a hash.
#[expect(clippy::cast_possible_truncation, reason = "half of the bits of a hash is a hash")]
pub(crate) fn low_half(hash: u128) -> u64 {
    hash as u64
}
