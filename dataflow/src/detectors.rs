//! The detectors that look across transactions, one file a detector: nearly each is a stateless map
//! over what a view keeps. Those of single transactions are part of a transaction's rows;
//! see `ledger/src/transaction/detectors.rs`.

pub mod control_total_mismatch;
pub mod late_into_closed_period;
pub mod overdraft;
pub mod sequence_gap;
pub mod shard_imbalance;
pub mod statement_mismatch;
pub mod trial_imbalance;

use trueup_ledger::table::Value;
use trueup_ledger::{Table, View};

use crate::due::DueRow;

/// What a detector says of one subject.
struct Finding<'a> {
    tenant: &'a str,
    detector: &'a str,
    subject: &'a str,
    currency: &'a str,
    amount: i128,
    severity: &'a str,
    detail: &'a str,
}

impl Finding<'_> {
    fn row(&self) -> [Value<'_>; 7] {
        [
            Value::Text(self.tenant),
            Value::Text(self.detector),
            Value::Text(self.subject),
            Value::Text(self.currency),
            Value::Amount(self.amount),
            Value::Text(self.severity),
            Value::Text(self.detail),
        ]
    }

    fn push(&self, table: &mut Table, diff: i8) {
        table.push(&self.row(), diff);
    }

    /// Returns the row for the view once the epoch time is later than `due`, in microseconds since
    /// 1970.
    fn due(&self, due: i64) -> DueRow {
        DueRow::new(View::Imbalances, &self.row(), due)
    }
}
