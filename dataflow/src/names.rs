//! Names as keys of fixed width: what is summed travels as a key, its name travels once.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::rc::Rc;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};
use trueup_ledger::key::name_hash;

use crate::cache::{TOGETHER, bring};
use crate::store::{Kept, KeyBytes, Space, StateKey, WorkerState};

/// The key of an account of a tenant, whatever the currency: 128 bits of BLAKE3 over both names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathKey(pub u128);

impl PathKey {
    /// Returns the key of a tenant's account.
    #[must_use]
    pub fn of(tenant: &str, account: &str) -> PathKey {
        PathKey(name_hash(&[tenant, account]))
    }

    /// Returns the shard, which all [`AccountKey`]s of the account have.
    #[must_use]
    pub fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

/// The key of an account in one currency of a tenant, so that all workers agree on it without
/// talking: the shard of the account as a whole, so that one worker has it in all currencies, then
/// 120 bits of BLAKE3 over the three names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountKey(pub u128);

impl AccountKey {
    /// Returns the shard, one of 256, that decides which worker keeps what belongs to the account.
    #[must_use]
    pub fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

/// Returns 32 bits that stand for a tenant within a key: what belongs to one lies together. Others
/// may have the same, so they select and do not tell apart.
#[must_use]
pub fn tenant_bits(tenant: &str) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a part of the bits of a hash is a hash")]
    let bits = name_hash(&[tenant]) as u32;
    bits
}

/// A key of a tenant at a date or month, ordered so that within a shard everything of a tenant at a
/// time lies together. It is packed as [`Sides`](crate::sums::Sides) is.
#[repr(C, packed(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DatedKey {
    /// The bits of an [`AccountKey`] or of a transaction's key.
    pub key: u128,
    /// Days since 1970-01-01, or the number of a month.
    pub at: i32,
    /// The [`tenant_bits`].
    pub tenant: u32,
}

impl DatedKey {
    /// Returns the shard, that of the key.
    #[must_use]
    pub fn shard(self) -> u8 {
        self.key.to_be_bytes()[0]
    }

    /// Returns the account of a key that is made of one.
    #[must_use]
    pub fn account(self) -> AccountKey {
        AccountKey(self.key)
    }

    /// Returns the two keys between which, in one shard of a space, all of a tenant at some times lie,
    /// the second excluded.
    pub(crate) fn range(
        space: Space,
        shard: u8,
        tenant: u32,
        at: std::ops::Range<i32>,
    ) -> (KeyBytes, KeyBytes) {
        let bound = |at| DatedKey { key: u128::from(shard) << 120, at, tenant }.encode(space);
        (bound(at.start), bound(at.end))
    }

    /// Returns the pairs of keys between which all of some tenants at some times lie in the shards
    /// that this worker owns, for [`Kept::select`].
    pub(crate) fn ranges(
        space: Space,
        state: &WorkerState,
        times: impl Iterator<Item = (u32, std::ops::Range<i32>)>,
    ) -> Vec<(KeyBytes, KeyBytes)> {
        let shards: Vec<u8> = (0..=u8::MAX).filter(|shard| state.owns(*shard)).collect();
        let of_all = times.flat_map(|(tenant, at)| {
            shards.iter().map(move |shard| DatedKey::range(space, *shard, tenant, at.clone()))
        });
        let mut ranges: Vec<_> = of_all.collect();
        ranges.sort_unstable();
        // Two tenants may have the same bits, and one month ends where the next begins.
        ranges.dedup_by(|(next, end), (_, last)| {
            let goes_on = *next <= *last;
            if goes_on {
                *last = (*last).max(*end);
            }
            goes_on
        });
        ranges
    }
}

/// What an [`AccountKey`] stands for: the three names in one text, since a worker keeps as many of
/// them as there are accounts and looks one up for each row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AccountName {
    text: Box<str>,
    account: u32,
    currency: u32,
}

impl AccountName {
    /// Puts the names of a tenant, an account and a currency together.
    ///
    /// # Panics
    /// Where they are longer than 4 GiB.
    #[must_use]
    pub fn new(tenant: &str, account: &str, currency: &str) -> AccountName {
        let text = [tenant, account, currency].concat().into();
        let place = |length| match u32::try_from(length) {
            Ok(place) => place,
            Err(_) => unreachable!("names that were admitted are short"),
        };
        let (account, currency) = (place(tenant.len()), place(tenant.len() + account.len()));
        AccountName { text, account, currency }
    }

    /// Returns the tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.text[..self.account as usize]
    }

    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.text[self.account as usize..self.currency as usize]
    }

    /// Returns the currency.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.text[self.currency as usize..]
    }

    /// Returns how many bytes the names have.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Returns the key that stands for the name.
    #[must_use]
    pub fn key(&self) -> AccountKey {
        let (tenant, account) = (self.tenant(), self.account());
        let hash = name_hash(&[tenant, account, self.currency()]);
        if account.is_empty() {
            // A book: nothing is declared of it, so its tenant's other books may be elsewhere.
            return AccountKey(hash);
        }
        let shard = PathKey::of(tenant, account).shard();
        AccountKey((hash & (u128::MAX >> 8)) | (u128::from(shard) << 120))
    }
}

/// How many names a worker remembers to have sent.
const SENT_MAX: usize = 1 << 18;

/// Turns names into keys, and remembers which names this worker has sent on lately.
#[derive(Debug, Default)]
pub struct Interner {
    known: HashTable<Known>,
    hasher: DefaultHashBuilder,
    scratch: String,
    fresh: Vec<(AccountKey, AccountName)>,
}

/// Names that have been sent, by a hash that is nobody else's business.
#[derive(Debug)]
struct Known {
    hash: u64,
    /// As [`put_names`] writes them.
    names: Box<str>,
    key: AccountKey,
    tenant: u32,
}

impl Interner {
    /// Returns the key of an account and the bits of its tenant, and keeps its name for
    /// [`Interner::take_fresh`] the first time it is seen; of more accounts than memory should hold,
    /// some are sent again.
    pub fn account(&mut self, tenant: &str, account: &str, currency: &str) -> (AccountKey, u32) {
        let mut names = std::mem::take(&mut self.scratch);
        names.clear();
        put_names(&mut names, [tenant, account, currency]);
        let interned = self.interned(self.hasher.hash_one(&names), &names);
        self.scratch = names;
        interned
    }

    fn interned(&mut self, hash: u64, names: &str) -> (AccountKey, u32) {
        let is_it = |known: &Known| known.hash == hash && *known.names == *names;
        if let Some(known) = self.known.find(hash, is_it) {
            return (known.key, known.tenant);
        }
        if self.known.len() >= SENT_MAX {
            self.known.clear();
        }
        let [tenant, account, currency] = split_names(names);
        let name = AccountName::new(tenant, account, currency);
        let (key, tenant) = (name.key(), tenant_bits(tenant));
        let known = Known { hash, names: names.into(), key, tenant };
        self.known.insert_unique(hash, known, |known| known.hash);
        self.fresh.push((key, name));
        (key, tenant)
    }

    /// Brings what is known of the names of some hashes, [`TOGETHER`] at most.
    fn bring(&self, hashes: impl Iterator<Item = u64>) {
        let mut found = [None; TOGETHER];
        for (place, hash) in found.iter_mut().zip(hashes) {
            *place = self.known.find(hash, |known| known.hash == hash);
        }
        bring(found.iter().flatten().map(|known| known.names.as_bytes()));
    }

    /// Takes the names that were not known to be sent since the last call.
    pub fn take_fresh(&mut self) -> Vec<(AccountKey, AccountName)> {
        std::mem::take(&mut self.fresh)
    }
}

/// Appends names, a zero behind each. Neither accounts nor currencies contain control characters, so read
/// from the end this is unambiguous.
fn put_names(out: &mut String, names: [&str; 3]) {
    for name in names {
        out.push_str(name);
        out.push('\0');
    }
}

/// Reads what [`put_names`] has written.
fn split_names(names: &str) -> [&str; 3] {
    let mut parts = names.strip_suffix('\0').unwrap_or(names).rsplitn(3, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (currency, account) = (next(), next());
    [next(), account, currency]
}

/// Names whose keys are asked for, and what each is asked for: they are looked for together, since a table
/// of a hundred thousand is in no cache.
#[derive(Debug)]
pub(crate) struct Lookups<T> {
    interner: Interner,
    /// All names, as [`put_names`] writes them.
    names: String,
    /// Where each name ends, and its hash.
    asked: Vec<(usize, u64, T)>,
}

impl<T> Default for Lookups<T> {
    fn default() -> Lookups<T> {
        let (interner, names) = Default::default();
        Lookups { interner, names, asked: Vec::with_capacity(TOGETHER) }
    }
}

impl<T> Lookups<T> {
    /// Asks for the key of an account, by tenant, account and currency. Says whether there are as many now
    /// as are to be looked for together.
    pub(crate) fn ask(&mut self, names: [&str; 3], what: T) -> bool {
        let start = self.names.len();
        put_names(&mut self.names, names);
        let hash = self.interner.hasher.hash_one(&self.names[start..]);
        self.asked.push((self.names.len(), hash, what));
        self.asked.len() >= TOGETHER
    }

    /// Calls `each` with the key and the bits of the tenant of every name that was asked for, in order.
    pub(crate) fn answer(&mut self, mut each: impl FnMut((AccountKey, u32), T)) {
        self.interner.bring(self.asked.iter().map(|(_, hash, _)| *hash));
        let mut start = 0;
        for (end, hash, what) in self.asked.drain(..) {
            each(self.interner.interned(hash, &self.names[start..end]), what);
            start = end;
        }
        self.names.clear();
    }

    /// Returns what knows the names, for one that cannot wait.
    pub(crate) fn interner(&mut self) -> &mut Interner {
        &mut self.interner
    }
}

/// The names of the keys that one worker prints.
pub struct Directory {
    names: Rc<RefCell<Kept<AccountKey, AccountName>>>,
}

impl Directory {
    pub(crate) fn new(state: &WorkerState) -> Directory {
        Directory { names: state.kept(Space::Names) }
    }

    /// Records names.
    ///
    /// # Panics
    /// Where another name has the same 128-bit key: their sums would be one.
    pub fn record(&self, names: impl Iterator<Item = (AccountKey, AccountName)>) {
        let mut kept = self.names.borrow_mut();
        // A name belongs to no epoch: it may be in a checkpoint before the first sum that uses it.
        kept.let_go();
        for (key, name) in names {
            match kept.get(&key) {
                Some(known) => assert_eq!(*known, name, "two accounts share one key"),
                None => kept.put(key, name),
            }
        }
    }

    /// Calls `f` with the name of a key.
    ///
    /// # Panics
    /// Where the key has no name: names travel with or before the first sum.
    pub fn with_name<R>(&self, key: AccountKey, f: impl FnOnce(&AccountName) -> R) -> R {
        match self.names.borrow_mut().get(&key) {
            Some(name) => f(&name),
            None => unreachable!("the account key {key:?} has no name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: &str, account: &str, currency: &str) -> AccountKey {
        AccountName::new(tenant, account, currency).key()
    }

    #[test]
    fn names_asked_for_together_get_the_keys_that_they_get_alone() {
        let names: Vec<[String; 3]> = (0..300)
            .map(|number| {
                // Some come again, and a tenant may have any name.
                let tenant = ["a", "a\0b", ""][number % 3].to_owned();
                [tenant, format!("assets:{}", number % 70), ["EUR", "USD"][number % 2].to_owned()]
            })
            .collect();
        let mut alone = Interner::default();
        let mut together = Lookups::default();
        let mut answers = Vec::new();
        for (number, names) in names.iter().enumerate() {
            if together.ask(names.each_ref().map(String::as_str), number) {
                together.answer(|key, number| answers.push((number, key)));
            }
        }
        together.answer(|key, number| answers.push((number, key)));
        let one_by_one = names.iter().map(|[tenant, account, currency]| {
            let interned = alone.account(tenant, account, currency);
            assert_eq!(interned.0, key(tenant, account, currency));
            interned
        });
        assert_eq!(answers, (0..300).zip(one_by_one).collect::<Vec<_>>());
        let fresh = together.interner().take_fresh();
        assert_eq!(fresh, alone.take_fresh());
        assert_eq!(fresh.len(), 210);
    }

    #[test]
    fn an_account_has_one_shard_and_a_key_a_currency() {
        for number in 0..300 {
            let account = format!("assets:{number}");
            let (one, other) = (key("a", &account, "EUR"), key("a", &account, "USD"));
            assert_ne!(one, other);
            assert_eq!(one.shard(), other.shard());
            assert_eq!(one.shard(), PathKey::of("a", &account).shard());
        }
    }

    #[test]
    fn the_books_of_a_tenant_have_shards_of_their_own() {
        let shards = (0..300).map(|number| key("a", "", &format!("C{number}")).shard());
        assert!(shards.collect::<std::collections::BTreeSet<_>>().len() > 100);
    }
}
