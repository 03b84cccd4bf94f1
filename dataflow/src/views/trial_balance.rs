//! `trial_balance`: debits against credits of all posted lines by currency.
//!
//! In: changes of sums by tenant, currency and hash range. Out: the collection of (tenant,
//! currency) with their sums, and its rows. Key: tenant, currency. State: an arrangement of one
//! sum a key.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use trueup_ledger::View;
use trueup_ledger::table::Value;

use crate::publish::tabulate;
use crate::sums::Sides;
use crate::transactions::Tables;

/// A tenant's currency and its sums.
pub(crate) type Book = ((Arc<str>, Arc<str>), Sides);

/// Sums by tenant and currency.
pub(crate) fn books<'s>(
    shards: VecCollection<'s, u64, (Arc<str>, Arc<str>, u8), Sides>,
) -> VecCollection<'s, u64, Book, isize> {
    shards.map(|(tenant, currency, _shard)| (tenant, currency)).count_total()
}

/// Builds the view.
pub(crate) fn trial_balance<'s>(books: VecCollection<'s, u64, Book, isize>) -> Tables<'s> {
    tabulate(books, View::TrialBalance, |((tenant, currency), sides), table, diff| {
        if sides.lines > 0 {
            let row = [
                Value::Text(tenant),
                Value::Text(currency),
                Value::Amount(sides.debits),
                Value::Amount(sides.credits),
                Value::Amount(sides.difference()),
            ];
            table.push(&row, diff);
        }
    })
}
