//! A store in memory, for tests: it keeps every promise of [`Store`] but durability.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::{Store, StoreError, check_path};

/// Files in memory. Share one among threads behind an `Arc`.
#[derive(Debug, Default)]
pub struct MemoryStore {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // Each change is one call of the map, so a panic elsewhere leaves it whole.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        use std::collections::btree_map::Entry;
        check_path("creating", path)?;
        match self.files().entry(path.to_owned()) {
            Entry::Occupied(_) => Err(StoreError::AlreadyExists { path: path.to_owned() }),
            Entry::Vacant(vacant) => {
                vacant.insert(bytes.to_vec());
                Ok(())
            }
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_path("writing", path)?;
        self.files().insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        check_path("reading", path)?;
        let missing = || StoreError::NotFound { path: path.to_owned() };
        self.files().get(path).cloned().ok_or_else(missing)
    }

    fn exists(&self, path: &str) -> Result<bool, StoreError> {
        check_path("looking for", path)?;
        Ok(self.files().contains_key(path))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let files = self.files();
        let from = files.range(prefix.to_owned()..).map(|(path, _)| path);
        Ok(from.take_while(|path| path.starts_with(prefix)).cloned().collect())
    }

    fn delete(&self, path: &str) -> Result<(), StoreError> {
        check_path("deleting", path)?;
        self.files().remove(path);
        Ok(())
    }
}
