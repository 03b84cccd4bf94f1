//! `trial_imbalance`: the trial balance of a currency does not balance.
//!
//! In: sums by tenant and currency. Out: rows of `imbalances`. Subject: the currency; amount:
//! debits − credits. State: none.

use differential_dataflow::VecCollection;
use trueup_ledger::transaction::sides_detail;
use trueup_ledger::{Scale, View};

use super::Finding;
use crate::books::Book;
use crate::publish::tabulate;
use crate::sums::Sides;
use crate::transactions::Tables;

/// Builds the detector.
pub(crate) fn trial_imbalance<'s>(
    books: VecCollection<'s, u64, (Book, Sides), isize>,
    scale: Scale,
) -> Tables<'s> {
    tabulate(books, View::Imbalances, move |(Book { tenant, currency, .. }, sides), table, diff| {
        let amount = sides.difference();
        if amount != 0 {
            let finding = Finding {
                tenant,
                detector: "trial_imbalance",
                subject: currency,
                currency,
                amount,
                severity: "critical",
                detail: &sides_detail(sides.debits, sides.credits, scale),
            };
            finding.push(table, diff);
        }
    })
}
