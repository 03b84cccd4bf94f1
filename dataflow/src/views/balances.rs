//! `balances`: sums of posted and pending lines by account and currency.
//!
//! In: changes of sums by account and date. Out: rows of `balances`. Key: tenant, account,
//! currency. State: one total an account and currency.

use timely::dataflow::Stream;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::table::Value;
use trueup_ledger::{Table, View};

use crate::names::AccountKey;
use crate::store::{Space, WorkerState};
use crate::sums::Sides;
use crate::totals::{SharedDirectory, totals};
use crate::transactions::Tables;

/// Builds the view.
pub(crate) fn balances<'s>(
    movements: Stream<'s, u64, Vec<((AccountKey, i32), Sides)>>,
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
    state: &WorkerState,
) -> Tables<'s> {
    let by_account = movements.map(|((account, _date), sides)| (account, sides));
    totals(
        by_account,
        names,
        directory,
        state,
        (Space::Balances, View::Balances),
        |key| *key,
        |name, _, sides, table, diff| {
            let balance = sides.difference();
            let row = [
                Value::Text(&name.tenant),
                Value::Text(&name.account),
                Value::Text(&name.currency),
                Value::Amount(sides.debits),
                Value::Amount(sides.credits),
                // Nothing is pending before there are holds, and undeclared accounts are debit-normal.
                Value::Amount(0),
                Value::Amount(0),
                Value::Amount(balance),
                Value::Amount(balance),
            ];
            Table::push(table, &row, diff);
        },
    )
}
