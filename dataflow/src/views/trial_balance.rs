//! `trial_balance`: debits against credits of all posted lines by currency.
//!
//! In: changes of posted sums by book. Out: the collection of books with their sums,
//! and its rows. Key: tenant, currency. State: an arrangement of one sum a key, which begins with
//! the sums that the store has kept.

use differential_dataflow::operators::CountTotal;
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::Stream;
use trueup_ledger::View;
use trueup_ledger::table::Value;

use crate::books::{Book, summed};
use crate::publish::tabulate;
use crate::store::{Space, WorkerState};
use crate::sums::Sides;
use crate::transactions::Tables;

/// Sums by tenant and currency; `since` is the epoch of what the store has kept, 0 for nothing.
pub(crate) fn books<'s>(
    changes: Stream<'s, u64, Vec<(Book, Sides)>>,
    state: &WorkerState,
    since: u64,
) -> VecCollection<'s, u64, (Book, Sides), isize> {
    let updates = summed(
        "Books",
        changes,
        state,
        (Space::Books, since),
        |book, sides| [(book, sides)],
        |epoch, change, out| out.push((change.book.clone(), epoch, change.change)),
        |epoch, sums, out| out.push((sums.book.clone(), epoch, sums.sides)),
    );
    updates.as_collection().count_total()
}

/// Builds the view.
pub(crate) fn trial_balance<'s>(books: VecCollection<'s, u64, (Book, Sides), isize>) -> Tables<'s> {
    tabulate(books, View::TrialBalance, |(book, sides), table, diff| {
        if sides.lines > 0 {
            let row = [
                Value::Text(&book.tenant),
                Value::Text(&book.currency),
                Value::Amount(sides.debits),
                Value::Amount(sides.credits),
                Value::Amount(sides.difference()),
            ];
            table.push(&row, diff);
        }
    })
}
