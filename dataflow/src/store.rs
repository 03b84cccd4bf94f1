//! What a worker remembers between epochs, in memory as far as it is fresh and on disk as far as it
//! is not.
//!
//! ```text
//!  operators ─▶ Kept (one a space): active ─seal at epoch c─▶ sealed ─ingest─▶ Disk (one a process)
//!                     ▲ get: active, sealed, clean, disk      │
//!                     └─ release, once c is on disk ─▶ clean ─┘
//! ```
//!
//! - A [`WorkerState`] belongs to one worker's thread. Its spaces are maps from fixed-width keys to
//!   values; an operator owns the epoch order of its space.
//! - A *checkpoint* at epoch c holds of every space exactly what all epochs up to c made of it. It
//!   is asked for before any input of a later epoch ([`WorkerState::request_seal`]), so every space
//!   seals between c and what follows, however far operators are apart.
//! - [`Disk`] takes in the sealed maps of all workers together, with the commit that they belong to.
//!   What is on disk is thereby one whole epoch of all workers, or says itself that it is not.
//! - Keys begin with one of 256 shards, which decides the worker: another number of workers finds
//!   the same disk. Of several processes each has the [`Shards`] of its workers on its own disk.
//!
//! Without a disk everything stays in memory and nothing is ever sealed.

mod clean;
pub mod disk;
mod filter;
pub mod kept;
#[cfg(feature = "abomonation")]
pub mod pages;
mod sharded;
mod values;
mod worker;

pub use disk::{Disk, Ingested, Mark, Pair, Snapshot, Standing, StateError, Write};
pub use kept::Kept;
pub use worker::{Sealed, SealedChanges, WorkerState};

use std::cmp::Ordering;
use std::fmt;

use trueup_ledger::codec::{CodecError, Reader};

/// A kind of state; its number is the first byte of every key on disk and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// The state of each transaction.
    Transactions = 1,
    /// Sums by account, with the terms under which they are.
    Balances = 2,
    /// Sums by account and date.
    Days = 3,
    /// The names of accounts and books.
    Names = 4,
    /// Sums by book and hash range of transactions.
    Shards = 5,
    /// Sums by book.
    Books = 6,
    /// The sequence numbers seen of each service.
    Sequences = 7,
    /// What is declared of each account, and in which currencies it has a balance.
    Accounts = 8,
    /// Rows that are due later.
    Due = 9,
    /// What has been said of the months of each tenant.
    Periods = 10,
    /// What closed months held when they were closed, and hold now, by account.
    Closed = 11,
    /// What transactions have done to closed months.
    Late = 12,
    /// Ledger and statement by reference.
    Reconciliation = 13,
    /// What was sent of each service, in blocks of its sequence.
    Sent = 14,
    /// What was sent of each service, in blocks of blocks.
    SentSums = 15,
    /// The control totals of each service, and how far it is complete.
    Controls = 16,
    /// The imbalances that last.
    Alerts = 17,
    /// How many rows there are that keep a tenant's books from being ready.
    Quality = 18,
    /// What was sent beyond a full block.
    SentBeyond = 19,
}

/// How many bytes an encoded key has at most.
pub const KEY_BYTES_MAX: usize = 34;

/// A key as bytes: its length is the same for all keys of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBytes {
    bytes: [u8; KEY_BYTES_MAX],
    length: u8,
}

/// The order of the bytes. A checkpoint sorts millions of keys, so they are compared as integers; nearly
/// always the first decides. What is behind a key is zero, and no key begins with another one.
impl Ord for KeyBytes {
    fn cmp(&self, other: &KeyBytes) -> Ordering {
        let halves = |key: &KeyBytes| {
            let mut halves = [[0; 16]; 2];
            halves[0].copy_from_slice(&key.bytes[..16]);
            halves[1].copy_from_slice(&key.bytes[16..32]);
            halves.map(u128::from_be_bytes)
        };
        let ([first, second], [other_first, other_second]) = (halves(self), halves(other));
        first
            .cmp(&other_first)
            .then_with(|| second.cmp(&other_second))
            .then_with(|| self.bytes[32..].cmp(&other.bytes[32..]))
            .then_with(|| self.length.cmp(&other.length))
    }
}

impl PartialOrd for KeyBytes {
    fn partial_cmp(&self, other: &KeyBytes) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl KeyBytes {
    /// Returns a key of `space`: its number, then `parts`.
    ///
    /// # Panics
    /// Where they are longer than [`KEY_BYTES_MAX`].
    #[must_use]
    pub fn new(space: Space, parts: &[&[u8]]) -> KeyBytes {
        let mut key = KeyBytes { bytes: [0; KEY_BYTES_MAX], length: 1 };
        key.bytes[0] = space as u8;
        for part in parts {
            let start = usize::from(key.length);
            key.bytes[start..start + part.len()].copy_from_slice(part);
            key.length += u8::try_from(part.len()).unwrap_or(u8::MAX);
        }
        key
    }

    /// Returns the first bytes behind space and shard, as many as an integer has: what is less here comes
    /// before, and what is equal may be in any order.
    fn in_shard(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.bytes[2..10]);
        u64::from_be_bytes(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// A set of hash ranges, those whose state a process keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shards([u64; 4]);

impl Shards {
    /// All of them.
    pub const ALL: Shards = Shards([u64::MAX; 4]);
    /// None of them.
    pub const NONE: Shards = Shards([0; 4]);

    /// Returns those of a process of several that have as many workers each.
    #[must_use]
    pub fn of_process(process: usize, processes: usize, workers_each: usize) -> Shards {
        let mut shards = Shards([0; 4]);
        for shard in 0..=u8::MAX {
            if worker_of(shard, processes * workers_each) / workers_each == process {
                shards.0[usize::from(shard / 64)] |= 1 << (shard % 64);
            }
        }
        shards
    }

    /// Returns their numbers, in order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |shard| self.has(*shard))
    }

    /// Says whether all of `others` are among these.
    #[must_use]
    pub fn cover(&self, others: &Shards) -> bool {
        self.0.iter().zip(&others.0).all(|(own, other)| own & other == *other)
    }

    /// Says whether a key of a space, as [`KeyBytes`] has it, belongs to one of these.
    #[must_use]
    pub fn hold(&self, key: &[u8]) -> bool {
        key.get(1).is_some_and(|shard| self.has(*shard))
    }

    fn has(&self, shard: u8) -> bool {
        self.0[usize::from(shard / 64)] >> (shard % 64) & 1 == 1
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shards({:016x?})", self.0)
    }
}

/// Returns the worker to whom a shard belongs, of so many workers of all processes. It is the one
/// that timely's exchange of the shard's number gives.
pub(crate) fn worker_of(shard: u8, workers: usize) -> usize {
    usize::from(shard) % workers
}

/// A key of a space. The first byte after the space is its shard.
pub trait StateKey: Copy + Eq + std::hash::Hash + Send + Sync + 'static {
    /// Encodes the key; equal keys are equal bytes.
    fn encode(&self, space: Space) -> KeyBytes;

    /// Returns the shard.
    fn shard(&self) -> u8 {
        // Which space it is does not matter: its number is before the shard.
        self.encode(Space::Transactions).bytes[1]
    }

    /// Decodes what follows the number of the space.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are no key.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError>;
}

/// A value of a space.
pub trait StateValue: Clone + Encode + 'static {
    /// Decodes a value.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are no value: they are damaged, since only values are put.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// Returns about how many bytes the value has on the heap.
    fn heap_bytes(&self) -> usize;
}

/// The writing half of [`StateValue`], for values of unlike types.
pub trait Encode: Send + Sync {
    /// Appends the value's bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns what of the value lies elsewhere in memory, to be brought before it is encoded.
    fn apart(&self) -> &[u8] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_of_one_process() {
        for (processes, workers) in [(1, 1), (2, 1), (3, 2), (5, 4)] {
            let all = (0..processes).map(|one| Shards::of_process(one, processes, workers));
            let all: Vec<_> = all.collect();
            for shard in 0..=u8::MAX {
                let holders = all.iter().filter(|shards| shards.hold(&[1, shard, 9])).count();
                assert_eq!(holders, 1, "{shard} of {processes} processes");
            }
            assert!(all.iter().all(|shards| Shards::ALL.cover(shards)));
            assert_eq!(all[0].cover(&Shards::ALL), processes == 1);
        }
        assert!(!Shards::ALL.hold(&[0]), "the mark is of no shard");
        // Twice as many processes: each of the first half keeps a part of what it had.
        let (before, after) = (Shards::of_process(1, 2, 1), Shards::of_process(1, 4, 1));
        assert!(before.cover(&after) && !after.cover(&before));
    }
}
