//! `daily_movements`: sums of posted lines by account, currency and effective date.
//!
//! In: changes of posted sums by account and date. Out: rows of `daily_movements`; the sums of
//! whole months, to those who close them. Key: tenant, account, currency, date. State: one total a
//! key. The operator that owns it is that of [`super::accounts`].

use std::cell::RefCell;
use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use trueup_ledger::table::Value;
use trueup_ledger::{Month, Table};

use crate::names::{AccountName, DatedKey};
use crate::store::{Kept, KeyBytes, Space, WorkerState};
use crate::sums::{CompactSides, Sides, Total};
use crate::totals::consolidate;

/// The days that one worker owns.
pub(super) struct Days {
    kept: Rc<RefCell<Kept<DatedKey, CompactSides>>>,
}

impl Days {
    pub(super) fn new(state: &WorkerState) -> Days {
        Days { kept: state.kept(Space::Days) }
    }

    pub(super) fn begin(&mut self, epoch: u64) {
        self.kept.borrow_mut().begin(epoch);
    }

    /// Returns what there is of the days that some changes are of, in their order.
    pub(super) fn before(&self, changes: &[(DatedKey, CompactSides)]) -> Vec<Sides> {
        let days = self.kept.borrow_mut().get_all(changes.iter().map(|(day, _)| *day));
        days.iter().map(|day| day.as_ref().map(Sides::from).unwrap_or_default()).collect()
    }

    /// Adds to a day of an account, of which there is `before`. Pushes the rows that this changes.
    pub(super) fn post(
        &mut self,
        name: &AccountName,
        (key, before): (DatedKey, Sides),
        change: &Sides,
        rows: &mut Table,
    ) {
        let mut kept = self.kept.borrow_mut();
        let mut after = before;
        after.plus_equals(change);
        if after.is_zero() {
            kept.remove(key);
        } else {
            kept.put(key, after.into());
        }
        // Lines of nothing change how many there are, and no row.
        let same = (before.debits, before.credits) == (after.debits, after.credits);
        if same && before.has_lines() && after.has_lines() {
            return;
        }
        for (sides, diff) in [(before, -1), (after, 1)] {
            if sides.has_lines() {
                push(name, key, sides, rows, diff);
            }
        }
    }

    /// Returns the sums of the months that lie in `ranges` of days, by account and month. What is
    /// not the whole of a month there is not told apart.
    pub(super) fn months(&self, ranges: Vec<(KeyBytes, KeyBytes)>) -> Vec<(DatedKey, Sides)> {
        let days = self.kept.borrow().select(ranges);
        let mut months =
            days.iter().map(|(key, sides)| (month_of(*key), Sides::from(sides))).collect();
        consolidate(&mut months);
        months
    }
}

/// Returns the key of the month in which a day is.
pub(super) fn month_of(day: DatedKey) -> DatedKey {
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
