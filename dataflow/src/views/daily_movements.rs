//! `daily_movements`: sums of posted lines by account, currency and effective date.
//!
//! In: changes of posted sums by account and date. Out: rows of `daily_movements`; the sums of
//! whole months, to those who close them. Key: tenant, account, currency, date. State: one total a
//! key. The operator that owns it is that of [`crate::views::period_adjustments`], since a month
//! that is closed is the sum of its days at the end of an epoch.

use std::cell::RefCell;
use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use trueup_ledger::table::Value;
use trueup_ledger::{Month, Table, View};

use crate::names::{AccountName, DatedKey};
use crate::store::{Kept, KeyBytes, Space, WorkerState};
use crate::sums::{Sides, Total};
use crate::totals::{SharedDirectory, consolidated};

/// The days that one worker owns.
pub(crate) struct Days {
    kept: Rc<RefCell<Kept<DatedKey, Sides>>>,
    directory: SharedDirectory,
}

impl Days {
    pub(crate) fn new(state: &WorkerState, directory: SharedDirectory) -> Days {
        Days { kept: state.kept(Space::Days), directory }
    }

    /// Adds the changes of an epoch; returns the rows that they change. `each` is called with every
    /// day that changes and by how much.
    pub(crate) fn post(
        &mut self,
        epoch: u64,
        changes: Vec<(DatedKey, Sides)>,
        mut each: impl FnMut(&AccountName, DatedKey, &Sides),
    ) -> Table {
        let mut kept = self.kept.borrow_mut();
        kept.begin(epoch);
        let mut table = Table::new(View::DailyMovements);
        let changes = consolidated(changes);
        table.reserve(changes.len());
        for (key, change) in changes {
            let before = kept.get(&key).map(|sides| *sides).unwrap_or_default();
            let mut after = before;
            after.plus_equals(&change);
            if after.is_zero() {
                kept.remove(key);
            } else {
                kept.put(key, after);
            }
            self.directory.with_name(key.account(), |name| {
                // Lines of nothing change how many there are, and no row.
                let same = (before.debits, before.credits) == (after.debits, after.credits);
                if !(same && before.has_lines() && after.has_lines()) {
                    for (sides, diff) in [(before, -1), (after, 1)] {
                        if sides.has_lines() {
                            push(name, key, sides, &mut table, diff);
                        }
                    }
                }
                each(name, key, &change);
            });
        }
        table
    }

    /// Returns the sums of the months that lie in `ranges` of days, by account and month. What is
    /// not the whole of a month there is not told apart.
    pub(crate) fn months(&self, ranges: Vec<(KeyBytes, KeyBytes)>) -> Vec<(DatedKey, Sides)> {
        let days = self.kept.borrow().select(ranges);
        consolidated(days.into_iter().map(|(key, sides)| (month_of(key), sides)).collect())
    }
}

/// Returns the key of the month in which a day is.
pub(crate) fn month_of(day: DatedKey) -> DatedKey {
    DatedKey { at: Month::of_date(day.at).0, ..day }
}

fn push(name: &AccountName, key: DatedKey, sides: Sides, table: &mut Table, diff: i8) {
    let row = [
        Value::Text(name.tenant()),
        Value::Text(name.account()),
        Value::Text(name.currency()),
        Value::Date(key.at),
        Value::Amount(sides.debits),
        Value::Amount(sides.credits),
        Value::Amount(sides.difference()),
    ];
    table.push(&row, diff);
}
