//! Order-independent digests of views: equal sets of rows have equal digests, whatever order,
//! epoch or worker they came in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The sum modulo 2^128 of the hashes of rows, each times its diff: the digest of a view at an
/// epoch is the sum of the digests of its deltas up to it.
///
/// It finds error and damage, not forgery: against that stand the SHA-256 of each file and the
/// chain of commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl Digest {
    /// Adds a row's hash `diff` times.
    pub fn add_row(&mut self, hash: u128, diff: i8) {
        let signed = hash.wrapping_mul(i128::from(diff).cast_unsigned());
        self.0 = self.0.wrapping_add(signed);
    }

    /// Adds the digest of another delta of the same view.
    pub fn add(&mut self, other: Digest) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Digest, Self::Err> {
        u128::from_str_radix(text, 16).map(Digest)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
