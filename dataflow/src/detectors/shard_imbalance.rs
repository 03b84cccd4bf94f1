//! `shard_imbalance`: debits against credits over each of 256 hash ranges of transactions, to
//! find in which part of the books a trial imbalance is.
//!
//! In: changes of sums by tenant, currency and hash range. Out: rows of `imbalances`. Subject: the
//! range, three digits; amount: debits − credits. State: an arrangement of one sum a key.

use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::operators::CountTotal;
use trueup_ledger::transaction::sides_detail;
use trueup_ledger::{Scale, View};

use super::Finding;
use crate::publish::tabulate;
use crate::sums::Sides;
use crate::transactions::Tables;

/// Builds the detector.
pub(crate) fn shard_imbalance<'s>(
    shards: VecCollection<'s, u64, (Arc<str>, Arc<str>, u8), Sides>,
    scale: Scale,
) -> Tables<'s> {
    let sums = shards.count_total();
    tabulate(sums, View::Imbalances, move |((tenant, currency, shard), sides), table, diff| {
        let amount = sides.difference();
        if amount != 0 {
            let finding = Finding {
                tenant,
                detector: "shard_imbalance",
                subject: &format!("{shard:03}"),
                currency,
                amount,
                severity: "critical",
                detail: &sides_detail(sides.debits, sides.credits, scale),
            };
            finding.push(table, diff);
        }
    })
}
