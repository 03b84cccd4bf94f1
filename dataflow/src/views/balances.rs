//! `balances`: sums of posted and pending lines by account and currency.
//!
//! In: changes of posted sums by account and date, and of pending sums by account. Out: rows of
//! `balances`. Key: tenant, account, currency. State: one total an account and currency.

use timely::dataflow::Stream;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::table::Value;
use trueup_ledger::transaction::checked_sum;
use trueup_ledger::{Table, View};

use crate::names::AccountKey;
use crate::store::{Space, WorkerState};
use crate::sums::{Balance, Sides};
use crate::totals::{SharedDirectory, totals};
use crate::transactions::Tables;

/// Builds the view.
pub(crate) fn balances<'s>(
    movements: Stream<'s, u64, Vec<((AccountKey, i32), Sides)>>,
    pending: Stream<'s, u64, Vec<(AccountKey, Sides)>>,
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
    state: &WorkerState,
) -> Tables<'s> {
    let posted = movements
        .map(|((account, _date), posted)| (account, Balance { posted, ..Balance::default() }));
    let pending =
        pending.map(|(account, pending)| (account, Balance { pending, ..Balance::default() }));
    totals(
        posted.concat(pending),
        names,
        directory,
        state,
        (Space::Balances, View::Balances),
        |key| *key,
        |name, _, Balance { posted, pending }, table, diff| {
            let balance = posted.difference();
            let row = [
                Value::Text(&name.tenant),
                Value::Text(&name.account),
                Value::Text(&name.currency),
                Value::Amount(posted.debits),
                Value::Amount(posted.credits),
                Value::Amount(pending.debits),
                Value::Amount(pending.credits),
                Value::Amount(balance),
                // Undeclared accounts are debit-normal.
                Value::Amount(checked_sum(balance, -pending.credits)),
            ];
            Table::push(table, &row, diff);
        },
    )
}
