//! The views of SPEC §4 and those made of them: their names, columns and keys. Everything that stores, prints, compares
//! or sums rows works from these schemas and knows no view by name.

use ColumnType::{Amount, Date, Instant, Integer, Text};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// Units of 10^-scale.
    Amount,
    /// A 64-bit integer.
    Integer,
    /// Days since 1970-01-01, UTC.
    Date,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant,
}

/// A column of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name, as in SPEC §4.
    pub name: &'static str,
    /// The type.
    pub ty: ColumnType,
}

const fn column(name: &'static str, ty: ColumnType) -> Column {
    Column { name, ty }
}

/// A view. The order is that of [`View::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum View {
    /// The current lines of every transaction.
    Postings,
    /// Sums by account and currency.
    Balances,
    /// Sums by account, currency and effective date.
    DailyMovements,
    /// What became of each transaction, by currency.
    TransactionTotals,
    /// Debits against credits, by currency.
    TrialBalance,
    /// What is wrong.
    Imbalances,
    /// How completely each service's sequence has arrived.
    SourceContinuity,
    /// The ledger against what processors state, by reference.
    Reconciliation,
    /// The books of closed months, and what came to them since.
    PeriodAdjustments,
    /// Imbalances that have lasted.
    Alerts,
    /// How far the books of each tenant can be relied on.
    DataQuality,
}

const POSTINGS: &[Column] = &[
    column("tenant", Text),
    column("transaction_id", Text),
    column("leg", Text),
    column("line", Integer),
    column("account", Text),
    column("side", Text),
    column("amount", Amount),
    column("currency", Text),
    column("effective_at", Instant),
    column("revision", Integer),
    column("kind", Text),
    column("status", Text),
    column("event_id", Text),
];

const BALANCES: &[Column] = &[
    column("tenant", Text),
    column("account", Text),
    column("currency", Text),
    column("posted_debits", Amount),
    column("posted_credits", Amount),
    column("pending_debits", Amount),
    column("pending_credits", Amount),
    column("balance", Amount),
    column("available", Amount),
];

const DAILY_MOVEMENTS: &[Column] = &[
    column("tenant", Text),
    column("account", Text),
    column("currency", Text),
    column("effective_date", Date),
    column("debits", Amount),
    column("credits", Amount),
    column("net", Amount),
];

const TRANSACTION_TOTALS: &[Column] = &[
    column("tenant", Text),
    column("transaction_id", Text),
    column("currency", Text),
    column("kind", Text),
    column("gross", Amount),
    column("corrected", Amount),
    column("reversed", Amount),
    column("refunded", Amount),
    column("net", Amount),
    column("status", Text),
    column("revision", Integer),
];

const TRIAL_BALANCE: &[Column] = &[
    column("tenant", Text),
    column("currency", Text),
    column("debits", Amount),
    column("credits", Amount),
    column("difference", Amount),
];

const IMBALANCES: &[Column] = &[
    column("tenant", Text),
    column("detector", Text),
    column("subject", Text),
    column("currency", Text),
    column("amount", Amount),
    column("severity", Text),
    column("detail", Text),
];

const SOURCE_CONTINUITY: &[Column] = &[
    column("tenant", Text),
    column("service", Text),
    column("first_sequence", Integer),
    column("contiguous_through", Integer),
    column("max_sequence", Integer),
    column("missing", Integer),
];

const RECONCILIATION: &[Column] = &[
    column("tenant", Text),
    column("processor", Text),
    column("reference", Text),
    column("currency", Text),
    column("ledger_amount", Amount),
    column("statement_amount", Amount),
    column("difference", Amount),
    column("state", Text),
];

const PERIOD_ADJUSTMENTS: &[Column] = &[
    column("tenant", Text),
    column("period", Text),
    column("account", Text),
    column("currency", Text),
    column("closed_net", Amount),
    column("current_net", Amount),
    column("adjustment", Amount),
];

const ALERTS: &[Column] = &[
    column("tenant", Text),
    column("alert_id", Text),
    column("detector", Text),
    column("subject", Text),
    column("currency", Text),
    column("amount", Amount),
    column("severity", Text),
    column("since", Instant),
    column("events", Text),
    column("detail", Text),
    column("explain", Text),
];

const DATA_QUALITY: &[Column] = &[
    column("tenant", Text),
    column("measure", Text),
    column("subject", Text),
    column("state", Text),
    column("value", Integer),
    column("detail", Text),
];

impl View {
    /// All views: those of SPEC §4 in its order, then what is made of them.
    pub const ALL: [View; 11] = [
        View::Postings,
        View::Balances,
        View::DailyMovements,
        View::TransactionTotals,
        View::TrialBalance,
        View::Imbalances,
        View::SourceContinuity,
        View::Reconciliation,
        View::PeriodAdjustments,
        View::Alerts,
        View::DataQuality,
    ];

    /// Returns the name of the view, as folders, commits and the command line have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            View::Postings => "postings",
            View::Balances => "balances",
            View::DailyMovements => "daily_movements",
            View::TransactionTotals => "transaction_totals",
            View::TrialBalance => "trial_balance",
            View::Imbalances => "imbalances",
            View::SourceContinuity => "source_continuity",
            View::Reconciliation => "reconciliation",
            View::PeriodAdjustments => "period_adjustments",
            View::Alerts => "alerts",
            View::DataQuality => "data_quality",
        }
    }

    /// Finds a view by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<View> {
        View::ALL.into_iter().find(|view| view.name() == name)
    }

    /// Returns the columns, the key's first.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            View::Postings => POSTINGS,
            View::Balances => BALANCES,
            View::DailyMovements => DAILY_MOVEMENTS,
            View::TransactionTotals => TRANSACTION_TOTALS,
            View::TrialBalance => TRIAL_BALANCE,
            View::Imbalances => IMBALANCES,
            View::SourceContinuity => SOURCE_CONTINUITY,
            View::Reconciliation => RECONCILIATION,
            View::PeriodAdjustments => PERIOD_ADJUSTMENTS,
            View::Alerts => ALERTS,
            View::DataQuality => DATA_QUALITY,
        }
    }

    /// Returns how many leading columns are the key.
    #[must_use]
    pub const fn key_columns(self) -> usize {
        match self {
            View::Postings
            | View::DailyMovements
            | View::Imbalances
            | View::Reconciliation
            | View::PeriodAdjustments => 4,
            View::Balances | View::TransactionTotals | View::DataQuality => 3,
            View::TrialBalance | View::SourceContinuity | View::Alerts => 2,
        }
    }

    /// Returns the place of the column called `name`.
    #[must_use]
    pub fn column_index(self, name: &str) -> Option<usize> {
        self.columns().iter().position(|column| column.name == name)
    }

    /// Returns the place of the `currency` column, by which control totals are summed.
    #[must_use]
    pub fn currency_column(self) -> Option<usize> {
        self.column_index("currency")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_views() {
        for view in View::ALL {
            assert_eq!(View::by_name(view.name()), Some(view));
            assert_eq!(view.columns()[0].name, "tenant");
            assert!(view.key_columns() < view.columns().len());
        }
    }
}
