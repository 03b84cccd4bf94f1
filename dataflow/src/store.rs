//! Where transactions' states live between epochs.
//!
//! Invariant: a state is opaque bytes here, so that a store on disk needs to know nothing of
//! events.

pub mod memory;

use trueup_ledger::TransactionKey;

pub use memory::MemoryStore;

/// The states of one worker's transactions.
///
/// A store is owned by one worker and called from its thread only. What is put is what is got
/// until it is put again; nothing is ever dropped by the store of its own accord. A store that
/// cannot keep this promise must abort the process rather than answer `None`.
pub trait TransactionStore {
    /// Returns the state of a transaction, or `None` where it was never put.
    fn get(&mut self, key: TransactionKey) -> Option<&[u8]>;

    /// Replaces the state of a transaction.
    fn put(&mut self, key: TransactionKey, state: Box<[u8]>);

    /// Puts a first state without looking for an old one, or gives it back where there is one.
    fn put_new(&mut self, key: TransactionKey, state: Box<[u8]>) -> Result<(), Box<[u8]>>;

    /// Returns how many transactions have a state.
    fn len(&self) -> usize;

    /// Says whether no transaction has a state.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
