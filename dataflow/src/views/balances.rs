//! `balances`: sums of posted and pending lines by account and currency.
//!
//! In: changes of posted sums by account and date, and of pending sums by account; declarations of
//! accounts. Out: rows of `balances`, and those of the detector that judges them. Key: tenant,
//! account, currency. State: one holding an account and currency, and the accounts as a whole.

use std::cell::RefCell;
use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::table::Value;
use trueup_ledger::{Scale, Table, Terms, View};

use crate::accounts::{Accounts, Declared};
use crate::detectors::overdraft::overdraft;
use crate::names::{AccountKey, AccountName, DatedKey};
use crate::store::{Kept, Space, WorkerState};
use crate::sums::{Balance, Holding, Sides, Total};
use crate::totals::{SharedDirectory, by_epoch, consolidated, route};
use crate::transactions::Tables;

/// What changes balances.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Change {
    /// The sums of one account and currency.
    Sum(AccountKey, Balance),
    /// A declaration comes to count or ceases to: it changes how those of an account are read.
    Declared(Box<Declared>, i8),
}

/// Builds the view.
pub(crate) fn balances<'s>(
    movements: Stream<'s, u64, Vec<(DatedKey, Sides)>>,
    pending: Stream<'s, u64, Vec<(AccountKey, Sides)>>,
    declarations: Stream<'s, u64, Vec<(Declared, i8)>>,
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
    (state, scale): (&WorkerState, Scale),
) -> Tables<'s> {
    let posted = movements
        .map(|(key, posted)| Change::Sum(key.account(), Balance { posted, ..Balance::default() }));
    let pending = pending
        .map(|(account, pending)| Change::Sum(account, Balance { pending, ..Balance::default() }));
    let declarations =
        declarations.map(|(declared, diff)| Change::Declared(Box::new(declared), diff));
    let mut balances = Balances {
        holdings: state.kept(Space::Balances),
        accounts: Accounts::new(state),
        directory,
        scale,
    };
    let by_account = |change: &Change| match change {
        Change::Sum(key, _) => route(*key),
        Change::Declared(declared, _) => u64::from(declared.path().shard()),
    };
    by_epoch(
        posted.concat(pending).concat(declarations),
        names,
        View::Balances.name(),
        by_account,
        move |epoch, changes| balances.change(epoch, changes),
    )
}

/// The balances that one worker owns.
struct Balances {
    holdings: Rc<RefCell<Kept<AccountKey, Holding>>>,
    accounts: Accounts,
    directory: SharedDirectory,
    scale: Scale,
}

impl Balances {
    /// Applies the changes of one epoch; returns the rows that they change.
    fn change(&mut self, epoch: u64, changes: Vec<Change>) -> Vec<Table> {
        self.accounts.begin(epoch);
        self.holdings.borrow_mut().begin(epoch);
        let mut sums = Vec::with_capacity(changes.len());
        let mut declarations = Vec::new();
        for change in changes {
            match change {
                Change::Sum(key, sum) => sums.push((key, sum)),
                Change::Declared(declared, diff) => declarations.push((*declared, diff)),
            }
        }
        let mut sums = consolidated(sums);
        let declared = self.accounts.declare(declarations);
        let of_sums = sums.len();
        for key in declared.keys() {
            if sums[..of_sums].binary_search_by_key(key, |(key, _)| *key).is_err() {
                sums.push((*key, Balance::default()));
            }
        }
        let mut tables = [Table::new(View::Balances), Table::new(View::Imbalances)];
        tables[0].reserve(2 * sums.len());
        for (key, sum) in sums {
            let terms = declared.get(&key).copied();
            let directory = Rc::clone(&self.directory);
            directory.with_name(key, |name| {
                let (before, after) = self.apply(key, name, &sum, terms);
                // Lines of nothing change how many there are, and no row.
                let shown =
                    |holding: &Holding| holding.balance.has_lines().then(|| amounts(holding));
                let same = shown(&before) == shown(&after);
                for (holding, diff) in [(before, -1), (after, 1)] {
                    if holding.balance.has_lines() {
                        if !same {
                            push(name, &holding, &mut tables[0], diff);
                        }
                        overdraft(name, &holding, self.scale, &mut tables[1], diff);
                    }
                }
            });
        }
        tables.into()
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
