//! `balances`: sums of posted and pending lines by account and currency.
//!
//! In: changes of sums by account; declarations of accounts. Out: rows of `balances`, and those of
//! the detector that judges them. Key: tenant, account, currency. State: one holding an account and
//! currency, and the accounts as a whole. The operator that owns it is that of [`super::accounts`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use trueup_ledger::table::Value;
use trueup_ledger::{Scale, Table, Terms};

use crate::accounts::{Accounts, Declared};
use crate::detectors::overdraft::overdraft;
use crate::names::{AccountKey, AccountName};
use crate::store::{Kept, Space, WorkerState};
use crate::sums::{Balance, Holding, Total};

/// The balances that one worker owns.
pub(super) struct Balances {
    holdings: Rc<RefCell<Kept<AccountKey, Holding>>>,
    accounts: Accounts,
    scale: Scale,
}

impl Balances {
    pub(super) fn new(state: &WorkerState, scale: Scale) -> Balances {
        let (holdings, accounts) = (state.kept(Space::Balances), Accounts::new(state));
        Balances { holdings, accounts, scale }
    }

    /// Begins an epoch with its declarations. Returns the balances that are under other terms now, with
    /// these: each of them is to be posted, if only with a sum of nothing.
    pub(super) fn begin(
        &mut self,
        epoch: u64,
        declarations: Vec<(Declared, i8)>,
    ) -> BTreeMap<AccountKey, Terms> {
        self.accounts.begin(epoch);
        self.holdings.borrow_mut().begin(epoch);
        self.accounts.declare(declarations)
    }

    /// Adds to a balance, and puts it under other `terms`, if there are. Pushes the rows that this
    /// changes, and those of the detector.
    pub(super) fn post(
        &mut self,
        (key, name): (AccountKey, &AccountName),
        sum: &Balance,
        terms: Option<Terms>,
        rows: &mut Table,
        imbalances: &mut Table,
    ) {
        let (before, after) = self.apply(key, name, sum, terms);
        // Lines of nothing change how many there are, and no row.
        let shown = |holding: &Holding| holding.balance.has_lines().then(|| amounts(holding));
        let same = shown(&before) == shown(&after);
        for (holding, diff) in [(before, -1), (after, 1)] {
            if holding.balance.has_lines() {
                if !same {
                    push(name, &holding, rows, diff);
                }
                overdraft(name, &holding, self.scale, imbalances, diff);
            }
        }
    }

    /// Adds to a holding and puts it under other `terms`, if there are; returns it before and after.
    /// One without lines and without sums is forgotten.
    fn apply(
        &mut self,
        key: AccountKey,
        name: &AccountName,
        sum: &Balance,
        terms: Option<Terms>,
    ) -> (Holding, Holding) {
        let mut holdings = self.holdings.borrow_mut();
        let known = holdings.get(&key).map(|holding| *holding);
        let before = known.unwrap_or_default();
        let mut after = before;
        if known.is_none() {
            after.terms = self.accounts.open(key, name);
        }
        after.terms = terms.unwrap_or(after.terms);
        after.balance.plus_equals(sum);
        if after.balance.is_zero() {
            self.accounts.close(key, name);
            holdings.remove(key);
        } else {
            holdings.put(key, after);
        }
        (before, after)
    }
}

/// Returns the amounts of a row.
fn amounts(holding: &Holding) -> [i128; 6] {
    let Balance { posted, pending } = holding.balance;
    let (balance, available) = (posted.difference(), holding.available());
    [posted.debits, posted.credits, pending.debits, pending.credits, balance, available]
}

fn push(name: &AccountName, holding: &Holding, table: &mut Table, diff: i8) {
    let mut row = [Value::Text(""); 9];
    row[..3].copy_from_slice(&[name.tenant(), name.account(), name.currency()].map(Value::Text));
    row[3..].copy_from_slice(&amounts(holding).map(Value::Amount));
    table.push(&row, diff);
}
