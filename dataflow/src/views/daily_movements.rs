//! `daily_movements`: sums of posted lines by account, currency and effective date.
//!
//! In: changes of posted sums by account and date. Out: rows of `daily_movements`. Key: tenant,
//! account, currency, date. State: one total a key.

use timely::dataflow::Stream;
use trueup_ledger::View;
use trueup_ledger::table::Value;

use crate::names::DatedKey;
use crate::store::{Space, WorkerState};
use crate::sums::Sides;
use crate::totals::{SharedDirectory, totals};
use crate::transactions::Tables;

/// Builds the view.
pub(crate) fn daily_movements<'s>(
    movements: Stream<'s, u64, Vec<(DatedKey, Sides)>>,
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
    state: &WorkerState,
) -> Tables<'s> {
    totals(
        movements,
        names,
        directory,
        state,
        (Space::Days, View::DailyMovements),
        |key| key.account(),
        |name, key, sides: &Sides, table, diff| {
            let row = [
                Value::Text(&name.tenant),
                Value::Text(&name.account),
                Value::Text(&name.currency),
                Value::Date(key.at),
                Value::Amount(sides.debits),
                Value::Amount(sides.credits),
                Value::Amount(sides.difference()),
            ];
            table.push(&row, diff);
        },
    )
}
