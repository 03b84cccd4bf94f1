//! All states in memory: the store of runs that fit it, and of tests.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use trueup_ledger::TransactionKey;

use super::TransactionStore;
use crate::hash::KeyHasher;

/// A hash table from key to state.
#[derive(Debug, Default)]
pub struct MemoryStore {
    states: HashMap<TransactionKey, Box<[u8]>, KeyHasher>,
}

impl TransactionStore for MemoryStore {
    fn get(&mut self, key: TransactionKey) -> Option<&[u8]> {
        self.states.get(&key).map(|state| &**state)
    }

    fn put(&mut self, key: TransactionKey, state: Box<[u8]>) {
        self.states.insert(key, state);
    }

    fn put_new(&mut self, key: TransactionKey, state: Box<[u8]>) -> Result<(), Box<[u8]>> {
        match self.states.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(state);
                Ok(())
            }
            Entry::Occupied(_) => Err(state),
        }
    }

    fn len(&self) -> usize {
        self.states.len()
    }
}
