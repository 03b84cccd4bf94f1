//! Case tables: events and the rows that the specification says they make, in a compact text
//! format that people write by hand and any runner of events into views can be held against.
//!
//! ```text
//! # A comment. Blank lines and indentation mean nothing.
//! case a reversal takes its target back
//! spec: A reversal of a reversal restores
//! post    t1 e1 @2026-01-05 cash:100:EUR sales:-100:EUR
//! reverse r1 e2 of=t1
//! expect balances(account, balance)
//!   cash  | 0
//!   sales | 0
//! reverse r2 e3 of=r1
//! expect-some balances(account, balance) currency=EUR
//!   cash  | 100
//! expect-none imbalances detector=orphan
//! ```
//!
//! - `case NAME` begins a case; `spec:` and `decision:` quote what it holds, from
//!   `docs/specification.md` or `docs/spec-decisions.md`, with `…` for words that are left out.
//!   `ledger/tests/coverage.rs` looks the quotations up.
//! - An event is `KIND TRANSACTION EVENT_ID`, then, in any order, `@EFFECTIVE` (a date or an
//!   instant, 2026-01-01 by default), postings `ACCOUNT:AMOUNT:CURRENCY` (positive debits,
//!   negative credits), and the options `tenant=` (acme), `leg=`, `rev=` (1, or 2 for a `correct`),
//!   `rec=` (an instant, or seconds after 2026-01-01; by default the number of the event in its
//!   case, from 1), `svc=` (billing), `seq=`, `exp=` (a date or an instant, 2026-02-01 by default),
//!   and `of=`, the target.
//! - `account ACCOUNT EVENT_ID debit|credit allowed|forbidden` declares an account; it may have the
//!   options `@EFFECTIVE`, `tenant=`, `rec=`, `svc=` and `seq=`.
//! - `statement_line PROCESSOR:REFERENCE EVENT_ID AMOUNT:CURRENCY`, with the option `val=`, the value
//!   date (2026-01-01 by default); `control_total FROM-TO EVENT_ID count=N`, then
//!   `CURRENCY:DEBIT:CREDIT` for each currency; `close_period MONTH EVENT_ID` and `reopen_period`. They
//!   have the options of an `account`.
//! - `at INSTANT` gives the epoch time of the step whose events follow, or of one without events. The
//!   first step is at 2026-01-02, each later one a second after the one before it, where nothing is said.
//! - `rules`, before the first event, changes what is configured: `clearing.PROCESSOR=ACCOUNT`, and
//!   `delayed_event.after=`, `statement_mismatch.after=`, `alert_grace=` in seconds,
//!   `delayed_event.since=` a date or an instant.
//! - `expect VIEW(COLUMN, …) COLUMN=VALUE …` names all rows of the view that have those values;
//!   `expect-some` names some of them, `expect-none` says there are none. Without a list of
//!   columns the rows have all of them; a value `*` is any value.
//! - Events after expectations begin a new step: those before it have been applied and stay.
//!
//! The file reads no files: it turns text into [`Case`]s and compares rows with expectations.

mod check;
mod parse;

use std::collections::BTreeMap;

use crate::table::{Datum, Rows};
use crate::{Event, Rules, View};

pub use parse::parse;

/// A named sequence of steps, and the sentences of the specification that it holds.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name, unique in its file.
    pub name: String,
    /// Literal quotations of the specification.
    pub spec: Vec<String>,
    /// The rules that it is of.
    pub rules: Rules,
    /// Whether it depends on the epochs in which its events arrive, and not on their set alone.
    pub is_historic: bool,
    /// Literal quotations of `docs/spec-decisions.md`.
    pub decisions: Vec<String>,
    /// What happens, in order. The events of earlier steps stay in the set.
    pub steps: Vec<Step>,
}

/// Events that arrive together, and what the views hold after them.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The events; their order must not matter.
    pub events: Vec<Event<'static>>,
    /// The epoch time, in microseconds since 1970.
    pub at: i64,
    /// What must be true once they are applied.
    pub expectations: Vec<Expectation>,
}

/// How listed rows relate to those of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// They are all rows of the view that pass the filter.
    All,
    /// They are among them.
    Some,
}

/// What must be true of one view.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The line of the text, for messages.
    pub line: usize,
    /// The view.
    pub view: View,
    /// Whether the rows are all that there are.
    pub extent: Extent,
    /// Only rows with these values are looked at.
    pub filter: Pattern,
    /// The rows.
    pub rows: Vec<Pattern>,
}

/// Values by the index of their column; a column that is not named may have any value.
pub type Pattern = Vec<(usize, Datum)>;

impl Step {
    /// Compares the views with all expectations of the step.
    ///
    /// # Errors
    /// The first difference, as a text for people.
    pub fn check(&self, views: &BTreeMap<View, Rows>) -> Result<(), String> {
        for expectation in &self.expectations {
            check::check(expectation, views)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Alerts, Reference};
    use crate::{Epoch, Scale};

    const ONE: &str = "
        case one
        spec: A quotation
        post t1 e1 @2026-01-05 cash:100:EUR sales:-100:EUR
        expect trial_balance
          acme | EUR | 100 | 100 | 0
    ";

    fn outcome(text: &str) -> Result<(), String> {
        for case in parse(text)? {
            let mut alerts = Alerts::new(&case.rules);
            let mut reference = Reference::with_rules(Scale::DEFAULT, case.rules);
            for (step, epoch) in case.steps.iter().zip(1..) {
                reference.begin_epoch(step.at);
                for event in &step.events {
                    reference.insert(event.clone());
                }
                let mut views = reference.views();
                alerts.step(Epoch(epoch), step.at, &views[&View::Imbalances]);
                views.insert(View::Alerts, alerts.rows());
                step.check(&views)?;
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_true_passes_and_what_is_not_fails() {
        assert_eq!(outcome(ONE), Ok(()));
        let rows = [
            ("expect balances(account, balance)\n cash|100\n sales|-100", true),
            ("expect balances(account, balance)\n cash|100", false),
            ("expect balances(account, balance)\n cash|100\n sales|-100\n x|1", false),
            ("expect balances(account, balance)\n cash|100\n cash|100", false),
            ("expect balances(account, balance)\n *|100\n *|-100", true),
            ("expect balances(account, balance) account=cash\n cash|100", true),
            ("expect-some balances(account, balance)\n cash|100", true),
            ("expect-some balances(account, balance)\n cash|99", false),
            ("expect-none balances account=x", true),
            ("expect-none balances account=cash", false),
            ("expect daily_movements(account, effective_date)\n cash|2026-01-05\n sales|*", true),
            ("expect postings(effective_at) account=cash\n 2026-01-05T00:00:00Z", true),
            ("expect imbalances", true),
        ];
        for (expectation, holds) in rows {
            let result = outcome(&format!("{ONE}\n{expectation}\n"));
            assert_eq!(result.is_ok(), holds, "{expectation}: {result:?}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let rows = [
            ("post t1 e1", "line 1: an event before any `case`"),
            ("case a\npost t1", "line 2: an event needs a transaction and an event id"),
            ("case a\npost t1 e1 cash:1", "line 2: \"cash:1\" is no ACCOUNT:AMOUNT:CURRENCY"),
            ("case a\npost t1 e1 x=1", "line 2: unknown option \"x\""),
            ("case a\npost t1 e1 cash:1:eur", "line 2: bad_currency: "),
            ("case a\nexpect nothing", "line 2: no view \"nothing\""),
            ("case a\nexpect balances(debits)", "line 2: balances has no column \"debits\""),
            ("case a\nexpect trial_balance\n a | b", "line 3: 2 values for 5 columns"),
            ("case a\na | b", "line 2: a row without `expect`"),
            ("case a\nwhat", "line 2: \"what\" begins no line"),
        ];
        for (text, message) in rows {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
