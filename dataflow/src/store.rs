//! What a worker remembers between epochs, in memory as far as it is fresh and on disk as far as it
//! is not.
//!
//! ```text
//!  operators ─▶ Kept (one a space): active ─seal at epoch c─▶ sealed ─ingest─▶ Disk (one a process)
//!                     ▲ get: active, sealed, disk             │
//!                     └──────── release, once c is on disk ───┘
//! ```
//!
//! - A [`WorkerState`] belongs to one worker's thread. Its spaces are maps from fixed-width keys to
//!   values; an operator owns the epoch order of its space.
//! - A *checkpoint* at epoch c holds of every space exactly what all epochs up to c made of it. It
//!   is asked for before any input of a later epoch ([`WorkerState::request_seal`]), so every space
//!   seals between c and what follows, however far operators are apart.
//! - [`Disk`] takes the sealed maps of all workers in one atomic step, with the commit that they
//!   belong to. What is on disk is thereby always one whole epoch of all workers.
//! - Keys begin with one of 256 shards, which decides the worker: another number of workers finds
//!   the same disk.
//!
//! Without a disk everything stays in memory and nothing is ever sealed.

pub mod disk;
pub mod kept;
#[cfg(feature = "abomonation")]
pub mod pages;
mod values;
mod worker;

pub use disk::{Disk, Ingested, Mark, Snapshot, StateError, Write};
pub use kept::Kept;
pub use worker::{Sealed, SealedChanges, WorkerState};

use trueup_ledger::codec::{CodecError, Reader};

/// A kind of state; its number is the first byte of every key on disk and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// The state of each transaction.
    Transactions = 1,
    /// Sums by account.
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
}

/// How many bytes an encoded key has at most.
pub const KEY_BYTES_MAX: usize = 24;

/// A key as bytes: its length is the same for all keys of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyBytes {
    bytes: [u8; KEY_BYTES_MAX],
    length: u8,
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

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// A key of a space. The first byte after the space is its shard.
pub trait StateKey: Copy + Eq + std::hash::Hash + Send + Sync + 'static {
    /// Encodes the key; equal keys are equal bytes.
    fn encode(&self, space: Space) -> KeyBytes;

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
}
