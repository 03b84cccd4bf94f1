//! The views that are aggregates, one file a view. `postings` and `transaction_totals` are what
//! the transactions themselves emit; see [`crate::transactions`].

pub mod accounts;
pub mod alerts;
pub mod balances;
pub mod daily_movements;
pub mod data_quality;
pub mod period_adjustments;
pub mod reconciliation;
pub mod source_continuity;
pub mod trial_balance;
