//! Accounts as a whole, in all their currencies: what is declared of them, and in which currencies
//! there is something to which that applies.
//!
//! In: declarations that come to count and cease to. Out: the terms under which balances are. State:
//! for each account that has a balance or is declared, its declarations and the keys of its balances,
//! in the store. All of it belongs to the worker that has the balances, since these have the shard
//! of their account.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use trueup_ledger::codec::{
    CodecError, Reader, put_terms, put_text, put_timestamp, put_varint, read_terms,
};
use trueup_ledger::{Declaration, Event, Terms, Timestamp};

use crate::names::{AccountKey, AccountName, PathKey};
use crate::store::{Encode, Kept, Space, StateValue, WorkerState};

/// A declaration on its way to the worker that owns the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Declared {
    /// The tenant.
    pub tenant: Box<str>,
    /// The account.
    pub account: Box<str>,
    /// When it was recorded: the newest counts.
    pub recorded_at: Timestamp,
    /// The event; of equally new ones the smaller counts.
    pub event_id: Box<str>,
    /// What is declared.
    pub terms: Terms,
}

impl Declared {
    pub(crate) fn of(declaration: &Declaration<'_>, event: &Event<'_>) -> Declared {
        Declared {
            tenant: event.tenant.as_ref().into(),
            account: declaration.account.as_ref().into(),
            recorded_at: event.recorded_at,
            event_id: event.event_id.as_ref().into(),
            terms: declaration.terms,
        }
    }

    /// Returns the key of the account.
    pub(crate) fn path(&self) -> PathKey {
        PathKey::of(&self.tenant, &self.account)
    }
}

/// A declaration as its account keeps it. The greatest counts.
type Rank = (Timestamp, Reverse<Box<str>>, Terms);

/// What is kept of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    declarations: BTreeSet<Rank>,
    /// The keys of its balances, one a currency, in order.
    balances: Vec<AccountKey>,
}

impl Account {
    fn terms(&self) -> Terms {
        self.declarations.last().map(|(_, _, terms)| *terms).unwrap_or_default()
    }
}

/// The accounts that one worker owns.
pub(crate) struct Accounts {
    kept: Rc<RefCell<Kept<PathKey, Account>>>,
}

impl Accounts {
    pub(crate) fn new(state: &WorkerState) -> Accounts {
        Accounts { kept: state.kept(Space::Accounts) }
    }

    pub(crate) fn begin(&self, epoch: u64) {
        self.kept.borrow_mut().begin(epoch);
    }

    /// Takes the declarations that come to count (1) and cease to (-1) in an epoch. Returns the
    /// balances that are under other terms now, with these.
    pub(crate) fn declare(&self, changes: Vec<(Declared, i8)>) -> BTreeMap<AccountKey, Terms> {
        let mut by_account: BTreeMap<PathKey, Vec<(Declared, i8)>> = BTreeMap::new();
        for change in changes {
            by_account.entry(change.0.path()).or_default().push(change);
        }
        let mut declared = BTreeMap::new();
        for (path, mut changes) in by_account {
            let mut account = self.kept.borrow_mut().take(&path).unwrap_or_default();
            let before = account.terms();
            changes.sort_unstable_by_key(|(_, diff)| *diff);
            for (Declared { recorded_at, event_id, terms, .. }, diff) in changes {
                let rank = (recorded_at, Reverse(event_id), terms);
                let fits = if diff > 0 {
                    account.declarations.insert(rank)
                } else {
                    account.declarations.remove(&rank)
                };
                assert!(fits, "a declaration comes once and goes once");
            }
            let terms = account.terms();
            if terms != before {
                declared.extend(account.balances.iter().map(|key| (*key, terms)));
            }
            self.keep(path, account);
        }
        declared
    }

    /// Adds a balance to its account; returns the terms under which it is.
    pub(crate) fn open(&self, key: AccountKey, name: &AccountName) -> Terms {
        let path = PathKey::of(name.tenant(), name.account());
        let mut account = self.kept.borrow_mut().take(&path).unwrap_or_default();
        if account.balances.is_empty() {
            // Nearly every account has one currency.
            account.balances.reserve_exact(1);
        }
        let place = account.balances.binary_search(&key);
        assert!(place.is_err(), "a balance is opened once");
        account.balances.insert(place.unwrap_or_else(|place| place), key);
        let terms = account.terms();
        self.keep(path, account);
        terms
    }

    /// Takes a balance away from its account.
    pub(crate) fn close(&self, key: AccountKey, name: &AccountName) {
        let path = PathKey::of(name.tenant(), name.account());
        let mut account = self.kept.borrow_mut().take(&path).unwrap_or_default();
        let place = account.balances.binary_search(&key);
        assert!(place.is_ok(), "a balance is closed once");
        account.balances.remove(place.unwrap_or_else(|place| place));
        self.keep(path, account);
    }

    fn keep(&self, path: PathKey, account: Account) {
        let mut kept = self.kept.borrow_mut();
        if account == Account::default() {
            kept.remove(path);
        } else {
            kept.put(path, account);
        }
    }
}

impl Encode for Account {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.balances.len() as u128);
        for key in &self.balances {
            out.extend_from_slice(&key.0.to_be_bytes());
        }
        for (recorded_at, Reverse(event_id), terms) in &self.declarations {
            put_timestamp(out, *recorded_at);
            put_text(out, event_id);
            put_terms(out, *terms);
        }
    }
}

impl StateValue for Account {
    fn decode(reader: &mut Reader<'_>) -> Result<Account, CodecError> {
        let mut account = Account::default();
        for _ in 0..reader.length()? {
            let key = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
            account.balances.push(AccountKey(u128::from_be_bytes(key)));
        }
        while !reader.is_empty() {
            let recorded_at = reader.timestamp()?;
            let event_id = Reverse(reader.text()?.into());
            account.declarations.insert((recorded_at, event_id, read_terms(reader)?));
        }
        Ok(account)
    }

    fn heap_bytes(&self) -> usize {
        // An event id has some 30 bytes; counting would cost as much as there are declarations.
        self.balances.len() * size_of::<AccountKey>()
            + self.declarations.len() * (size_of::<Rank>() + 32)
    }
}
