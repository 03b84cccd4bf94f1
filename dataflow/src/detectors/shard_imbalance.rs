//! `shard_imbalance`: debits against credits over each of 256 hash ranges of transactions, to
//! find in which part of the books a trial imbalance is.
//!
//! In: changes of sums by book and hash range, posted and pending. Out: rows of `imbalances`.
//! Subject: the range, three digits; amount: debits − credits. State: one sum a key, in the store.

use timely::dataflow::Stream;
use trueup_ledger::transaction::sides_detail;
use trueup_ledger::{Scale, Table, View};

use super::Finding;
use crate::books::{Book, OfRanges, summed};
use crate::store::{Space, WorkerState};
use crate::sums::Sides;
use crate::transactions::Tables;

/// Builds the detector.
pub(crate) fn shard_imbalance<'s>(
    changes: Stream<'s, u64, Vec<(Book, OfRanges)>>,
    state: &WorkerState,
    scale: Scale,
) -> Tables<'s> {
    summed(
        "ShardImbalance",
        changes,
        state,
        (Space::Shards, 0),
        |book, ranges| ranges.into_iter().map(move |(range, sides)| ((book, range), sides)),
        move |_, change, out| {
            let mut table = Table::new(View::Imbalances);
            for (sides, diff) in [(change.before, -1), (change.after, 1)] {
                push(change.book, change.key.1, sides, scale, &mut table, diff);
            }
            if !table.is_empty() {
                out.push(table);
            }
        },
        |_, _, _| {},
    )
}

fn push(book: &Book, shard: u8, sides: Sides, scale: Scale, table: &mut Table, diff: i8) {
    let amount = sides.difference();
    if amount != 0 {
        let finding = Finding {
            tenant: &book.tenant,
            detector: "shard_imbalance",
            subject: &format!("{shard:03}"),
            currency: &book.currency,
            amount,
            severity: "critical",
            detail: &sides_detail(sides.debits, sides.credits, scale),
        };
        finding.push(table, diff);
    }
}
