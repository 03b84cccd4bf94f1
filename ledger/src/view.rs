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

macro_rules! views {
    ($(
        $(#[$doc:meta])*
        $view:ident = $name:literal {
            key: $($key:ident: $key_ty:ident),+;
            $($column:ident: $ty:ident,)+
        }
    )*) => {
        /// A view. The order is that of [`View::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum View { $($(#[$doc])* $view,)* }

        impl View {
            /// All views: those of SPEC §4 in its order, then what is made of them.
            pub const ALL: [View; [$($name),*].len()] = [$(View::$view,)*];

            /// Returns the name of the view, as folders, commits and the command line have it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(View::$view => $name,)* }
            }

            /// Returns the columns, the key's first.
            #[must_use]
            pub fn columns(self) -> &'static [Column] {
                match self {
                    $(View::$view => const {
                        &[
                            $(column(stringify!($key), $key_ty),)+
                            $(column(stringify!($column), $ty),)+
                        ]
                    },)*
                }
            }

            /// Returns how many leading columns are the key.
            #[must_use]
            pub const fn key_columns(self) -> usize {
                match self { $(View::$view => [$(stringify!($key)),+].len(),)* }
            }
        }
    };
}

// The numbers of views are written to the state on disk: a new one comes last.
views! {
    /// The current lines of every transaction.
    Postings = "postings" {
        key: tenant: Text, transaction_id: Text, leg: Text, line: Integer;
        account: Text, side: Text, amount: Amount, currency: Text, effective_at: Instant,
        revision: Integer, kind: Text, status: Text, event_id: Text,
    }
    /// Sums by account and currency.
    Balances = "balances" {
        key: tenant: Text, account: Text, currency: Text;
        posted_debits: Amount, posted_credits: Amount, pending_debits: Amount,
        pending_credits: Amount, balance: Amount, available: Amount,
    }
    /// Sums by account, currency and effective date.
    DailyMovements = "daily_movements" {
        key: tenant: Text, account: Text, currency: Text, effective_date: Date;
        debits: Amount, credits: Amount, net: Amount,
    }
    /// What became of each transaction, by currency.
    TransactionTotals = "transaction_totals" {
        key: tenant: Text, transaction_id: Text, currency: Text;
        kind: Text, gross: Amount, corrected: Amount, reversed: Amount, refunded: Amount,
        net: Amount, status: Text, revision: Integer,
    }
    /// Debits against credits, by currency.
    TrialBalance = "trial_balance" {
        key: tenant: Text, currency: Text;
        debits: Amount, credits: Amount, difference: Amount,
    }
    /// What is wrong.
    Imbalances = "imbalances" {
        key: tenant: Text, detector: Text, subject: Text, currency: Text;
        amount: Amount, severity: Text, detail: Text,
    }
    /// How completely each service's sequence has arrived.
    SourceContinuity = "source_continuity" {
        key: tenant: Text, service: Text;
        first_sequence: Integer, contiguous_through: Integer, max_sequence: Integer,
        missing: Integer,
    }
    /// The ledger against what processors state, by reference.
    Reconciliation = "reconciliation" {
        key: tenant: Text, processor: Text, reference: Text, currency: Text;
        ledger_amount: Amount, statement_amount: Amount, difference: Amount, state: Text,
    }
    /// The books of closed months, and what came to them since.
    PeriodAdjustments = "period_adjustments" {
        key: tenant: Text, period: Text, account: Text, currency: Text;
        closed_net: Amount, current_net: Amount, adjustment: Amount,
    }
    /// Imbalances that have lasted.
    Alerts = "alerts" {
        key: tenant: Text, alert_id: Text;
        detector: Text, subject: Text, currency: Text, amount: Amount, severity: Text,
        since: Instant, events: Text, detail: Text, explain: Text,
    }
    /// How far the books of each tenant can be relied on.
    DataQuality = "data_quality" {
        key: tenant: Text, measure: Text, subject: Text;
        state: Text, value: Integer, detail: Text,
    }
}

impl View {
    /// Finds a view by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<View> {
        View::ALL.into_iter().find(|view| view.name() == name)
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
