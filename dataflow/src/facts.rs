//! What counts of the events without transaction, on its way to the view that it changes.
//!
//! Whichever content of such an event counts comes from the transactions, where each identity is one
//! of its own; what several events say together is judged where they meet.

use serde::{Deserialize, Serialize};
use trueup_ledger::transaction::Fold;
use trueup_ledger::{ControlTotal, Event, Fact, StatementLine, Timestamp};

use crate::accounts::Declared;

/// What an event says that counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FactRecord {
    /// How an account is to be read.
    Account(Declared),
    /// What a processor states.
    Statement(Statement),
    /// What a service has sent.
    Control(Control),
}

impl FactRecord {
    /// Returns what the contents of one event say together. What they say of months goes another
    /// way; see [`crate::periods`].
    #[must_use]
    pub fn of(fold: &Fold<'_, '_>) -> Option<FactRecord> {
        let (fact, event) = fold.fact()?;
        match fact {
            Fact::Account(declaration) => {
                Some(FactRecord::Account(Declared::of(declaration, event)))
            }
            Fact::Statement(line) => Some(FactRecord::Statement(Statement::of(line, event))),
            Fact::Control(control) => Some(FactRecord::Control(Control::of(control, event))),
            Fact::Period(_) => None,
        }
    }
}

/// A statement line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Statement {
    /// The tenant.
    pub tenant: Box<str>,
    /// The processor.
    pub processor: Box<str>,
    /// The ledger transaction.
    pub reference: Box<str>,
    /// The currency.
    pub currency: Box<str>,
    /// The amount in units, signed.
    pub units: i128,
    /// The value date, in days since 1970-01-01.
    pub value_date: i32,
}

impl Statement {
    fn of(line: &StatementLine<'_>, event: &Event<'_>) -> Statement {
        Statement {
            tenant: event.tenant.as_ref().into(),
            processor: line.processor.as_ref().into(),
            reference: line.reference.as_ref().into(),
            currency: line.currency.as_ref().into(),
            units: line.amount.0,
            value_date: line.value_date,
        }
    }
}

/// A control total.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Control {
    /// The tenant.
    pub tenant: Box<str>,
    /// The service.
    pub service: Box<str>,
    /// The first sequence, 1 or more.
    pub from: u64,
    /// The last sequence, not below the first.
    pub to: u64,
    /// When it was recorded: of several for one range the newest counts.
    pub recorded_at: Timestamp,
    /// The event; of equally new ones the smaller counts.
    pub event_id: Box<str>,
    /// How many events there are in the range.
    pub count: u64,
    /// Currency, debits and credits in units, by currency; none with two zeros.
    pub totals: Vec<(Box<str>, i128, i128)>,
}

impl Control {
    fn of(control: &ControlTotal<'_>, event: &Event<'_>) -> Control {
        let totals = control.totals.iter();
        Control {
            tenant: event.tenant.as_ref().into(),
            service: event.source.service.as_ref().into(),
            from: control.from,
            to: control.to,
            recorded_at: event.recorded_at,
            event_id: event.event_id.as_ref().into(),
            count: control.count,
            totals: totals
                .map(|sum| (sum.currency.as_ref().into(), sum.debit.0, sum.credit.0))
                .collect(),
        }
    }
}
