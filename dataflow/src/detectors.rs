//! The detectors that look across transactions, one file a detector: each is a stateless map over
//! what a view keeps. Those of single transactions are part of a transaction's rows;
//! see `ledger/src/transaction/rows.rs`.

pub mod control_total_mismatch;
pub mod overdraft;
pub mod sequence_gap;
pub mod shard_imbalance;
pub mod trial_imbalance;

use trueup_ledger::Table;
use trueup_ledger::table::Value;

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
    fn push(&self, table: &mut Table, diff: i8) {
        let row = [
            Value::Text(self.tenant),
            Value::Text(self.detector),
            Value::Text(self.subject),
            Value::Text(self.currency),
            Value::Amount(self.amount),
            Value::Text(self.severity),
            Value::Text(self.detail),
        ];
        table.push(&row, diff);
    }
}
