//! What an event without a transaction says: how an account is to be read, what a processor or a
//! source service reports, or which month of the books it closes or opens again (SPEC §3, Other kinds).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Side;
use crate::{Amount, Timestamp};

/// What such an event says. Its kind says which of these it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// Of an `account`.
    Account(Declaration<'a>),
    /// Of a `statement_line`.
    Statement(StatementLine<'a>),
    /// Of a `control_total`.
    Control(ControlTotal<'a>),
    /// Of a `close_period` or `reopen_period`: the month.
    Period(Month),
}

/// Whether an account may be overdrawn.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Overdraft {
    /// What is available may be on the wrong side.
    #[default]
    Allowed,
    /// It may not: where it is, that is shown.
    Forbidden,
}

impl Overdraft {
    /// Returns the name that events use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Overdraft::Allowed => "allowed",
            Overdraft::Forbidden => "forbidden",
        }
    }
}

/// How the balances of an account are to be read. The default is that of an account that nobody
/// has declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// The side on which the account grows.
    pub normal_side: Side,
    /// Whether what is available may be on the other side.
    pub overdraft: Overdraft,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { normal_side: Side::Debit, overdraft: Overdraft::Allowed }
    }
}

/// What an `account` event declares, for all currencies of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration<'a> {
    /// The account, a `:`-separated path of at most 256 bytes.
    pub account: Cow<'a, str>,
    /// Its terms.
    pub terms: Terms,
}

/// What a processor reports of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine<'a> {
    /// The processor, whose clearing account is configured.
    pub processor: Cow<'a, str>,
    /// The ledger transaction that the line is about.
    pub reference: Cow<'a, str>,
    /// What the processor owes the tenant by it, or gets back, in units; signed.
    pub amount: Amount,
    /// The currency or unit of account.
    pub currency: Cow<'a, str>,
    /// The value date, in days since 1970-01-01.
    pub value_date: i32,
}

/// What a service says that it has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlTotal<'a> {
    /// The first sequence of the range, 1 or more.
    pub from: u64,
    /// The last, not below the first.
    pub to: u64,
    /// How many events there are in it.
    pub count: u64,
    /// The sums of their postings, by currency in order, each once.
    pub totals: Vec<ControlSum<'a>>,
}

/// The sums of postings in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSum<'a> {
    /// The currency.
    pub currency: Cow<'a, str>,
    /// The sum of debit amounts, up to 38 digits.
    pub debit: Amount,
    /// The sum of credit amounts.
    pub credit: Amount,
}

/// A month of effective dates in UTC: the number of months since January of the year 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Month(pub i32);

impl Month {
    /// Parses `YYYY-MM`.
    ///
    /// ```
    /// use trueup_ledger::Month;
    /// let october = Month::parse("2026-10").unwrap();
    /// assert_eq!(october.to_string(), "2026-10");
    /// assert_eq!(Month::parse("2026-13"), None);
    /// assert_eq!(Month::parse("26-10"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Month> {
        Timestamp::parse_date(&format!("{text}-01")).map(Month::of_date)
    }

    /// Returns the month of a date, given in days since 1970-01-01.
    ///
    /// ```
    /// use trueup_ledger::{Month, Timestamp};
    /// for date in ["1969-12-31", "1970-01-01", "2024-02-29", "0000-01-01", "9999-12-31"] {
    ///     let days = Timestamp::parse_date(date).unwrap();
    ///     assert_eq!(Month::of_date(days).to_string(), date[..7]);
    /// }
    /// ```
    #[must_use]
    pub fn of_date(days: i32) -> Month {
        // Howard Hinnant's `civil_from_days`, in 64 bits since days may be any.
        let shifted = i64::from(days) + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        // The year of this calendar begins in March: its months 10 and 11 are of the next year.
        let months = (year_of_era + era * 400) * 12 + from_march + 2;
        Month(i32::try_from(months).unwrap_or(i32::MAX))
    }

    /// Returns the month's first date and the first of the next, in days since 1970-01-01.
    #[must_use]
    pub fn dates(self) -> std::ops::Range<i32> {
        let first = |month: i32| {
            let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
            crate::timestamp::days_of(year, month, 1)
        };
        first(self.0)..first(self.0 + 1)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_date_is_in_its_month() {
        let from = Timestamp::parse_date("1899-12-01").unwrap();
        let to = Timestamp::parse_date("2101-03-01").unwrap();
        for days in from..to {
            let month = Month::of_date(days);
            assert!(month.dates().contains(&days), "{days}");
            assert!(Timestamp::display_date(days).starts_with(&month.to_string()), "{days}");
        }
    }
}
