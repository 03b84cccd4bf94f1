//! Names as keys of fixed width: what is summed travels as a key, its name travels once.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde::{Deserialize, Serialize};
use trueup_ledger::key::name_hash;

use crate::hash::KeyHasher;

/// The key of an account in one currency of a tenant: 128 bits of BLAKE3 over the three names, so
/// that all workers agree on it without talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountKey(pub u128);

/// What an [`AccountKey`] stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountName {
    /// The tenant.
    pub tenant: Box<str>,
    /// The account.
    pub account: Box<str>,
    /// The currency.
    pub currency: Box<str>,
}

impl AccountName {
    /// Returns the key that stands for the name.
    #[must_use]
    pub fn key(&self) -> AccountKey {
        AccountKey(name_hash(&[&self.tenant, &self.account, &self.currency]))
    }
}

/// Turns names into keys, and remembers which names this worker has sent on already.
#[derive(Debug, Default)]
pub struct Interner {
    keys: HashMap<Box<[u8]>, AccountKey>,
    scratch: Vec<u8>,
    fresh: Vec<AccountName>,
}

impl Interner {
    /// Returns the key of an account, and keeps its name for [`Interner::take_fresh`] the first
    /// time it is seen.
    pub fn account(&mut self, tenant: &str, account: &str, currency: &str) -> AccountKey {
        self.scratch.clear();
        for name in [tenant, account, currency] {
            self.scratch.extend_from_slice(&(name.len() as u64).to_le_bytes());
            self.scratch.extend_from_slice(name.as_bytes());
        }
        if let Some(key) = self.keys.get(self.scratch.as_slice()) {
            return *key;
        }
        let name = AccountName {
            tenant: tenant.into(),
            account: account.into(),
            currency: currency.into(),
        };
        let key = name.key();
        self.keys.insert(self.scratch.as_slice().into(), key);
        self.fresh.push(name);
        key
    }

    /// Takes the names that were seen for the first time since the last call.
    pub fn take_fresh(&mut self) -> Vec<AccountName> {
        std::mem::take(&mut self.fresh)
    }
}

/// The names of the keys that one worker prints.
#[derive(Debug, Default)]
pub struct Directory {
    names: HashMap<AccountKey, AccountName, KeyHasher>,
}

impl Directory {
    /// Records a name.
    ///
    /// # Panics
    /// Where another name has the same 128-bit key: their sums would be one.
    pub fn record(&mut self, name: AccountName) {
        match self.names.entry(name.key()) {
            Entry::Vacant(vacant) => {
                vacant.insert(name);
            }
            Entry::Occupied(known) => {
                assert_eq!(*known.get(), name, "two accounts share one key");
            }
        }
    }

    /// Returns the name of a key.
    ///
    /// # Panics
    /// Where the key has no name: names travel with or before the first sum.
    #[must_use]
    pub fn name(&self, key: AccountKey) -> &AccountName {
        match self.names.get(&key) {
            Some(name) => name,
            None => unreachable!("the account key {key:?} has no name"),
        }
    }
}
