//! Keys of fixed width that stand for names, the same on every worker, process and run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The key of a ledger transaction: 128 bits of BLAKE3 over (tenant, transaction_id), or of an
/// event that stands alone.
///
/// A cryptographic hash, since names come from outside and two transactions that share a key
/// would share their books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransactionKey(pub u128);

impl TransactionKey {
    /// Returns the key of a tenant's transaction.
    #[must_use]
    pub fn of(tenant: &str, transaction_id: &str) -> TransactionKey {
        TransactionKey(name_hash(&[tenant, transaction_id]))
    }

    /// Returns the key of a tenant's event of a kind that has no transaction. The names are three,
    /// so that no transaction has the same key.
    #[must_use]
    pub fn of_event(tenant: &str, kind: &str, event_id: &str) -> TransactionKey {
        TransactionKey(name_hash(&[tenant, kind, event_id]))
    }

    /// Returns the hash range of the transaction, one of 256, as `shard_imbalance` counts them.
    #[must_use]
    pub fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl fmt::Display for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// How many bytes of names are put together to be hashed in one piece, which spares the hasher's own
/// buffering: nearly all that come together.
const TOGETHER_BYTES_MAX: usize = 256;

/// Returns 128 bits of BLAKE3 over `parts`, each preceded by its length, so that no two different
/// lists of names are hashed as the same bytes.
#[must_use]
pub fn name_hash(parts: &[&str]) -> u128 {
    let mut together = [0; TOGETHER_BYTES_MAX];
    let mut rest = together.as_mut_slice();
    for part in parts {
        let length = (part.len() as u64).to_le_bytes();
        let Some((place, behind)) = rest.split_at_mut_checked(length.len() + part.len()) else {
            return long_name_hash(parts);
        };
        place[..length.len()].copy_from_slice(&length);
        place[length.len()..].copy_from_slice(part.as_bytes());
        rest = behind;
    }
    let length = TOGETHER_BYTES_MAX - rest.len();
    first_128_bits(&blake3::hash(&together[..length]))
}

fn long_name_hash(parts: &[&str]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    first_128_bits(&hasher.finalize())
}

/// Returns the first 16 bytes of a hash as an integer.
#[must_use]
pub(crate) fn first_128_bits(hash: &blake3::Hash) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_run_together() {
        assert_ne!(name_hash(&["ab", "c"]), name_hash(&["a", "bc"]));
        assert_ne!(name_hash(&["ab"]), name_hash(&["ab", ""]));
    }

    #[test]
    fn long_names_are_hashed_as_short_ones() {
        for length in [0, 1, 100, 239, 240, 241, 500] {
            let text = "x".repeat(length);
            assert_eq!(name_hash(&[&text]), long_name_hash(&[&text]), "{length}");
            assert_eq!(name_hash(&["a", &text, ""]), long_name_hash(&["a", &text, ""]), "{length}");
        }
    }

    #[test]
    fn keys_never_change() {
        let key = TransactionKey::of("acme", "t1");
        assert_eq!(key.to_string(), TransactionKey::of("acme", "t1").to_string());
        assert_eq!(u32::from(key.shard()), u32::try_from(key.0 >> 120).unwrap());
    }
}
