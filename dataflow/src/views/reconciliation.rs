//! `reconciliation`: the ledger against what processors state, by reference.
//!
//! ```text
//!  transactions ─ lines on clearing accounts ─┐               ┌─▶ rows
//!                                             ├─▶ payments ───┼─▶ statement_mismatch
//!  facts ─ statement lines ───────────────────┘               └─▶ data_quality
//! ```
//!
//! In: changes of posted lines on clearing accounts and of statement lines that count. Out: the
//! collection of payments as both sides see them, and its rows. Key: tenant, processor, reference,
//! currency. State: one payment a key, in the store.

mod payment;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Capability, Concat};
use trueup_ledger::table::Value;
use trueup_ledger::transaction::checked_sum;
use trueup_ledger::{Table, View};

use crate::facts::Statement;
use crate::record::ClearingLine;
use crate::store::{Kept, Space, WorkerState};
use crate::transactions::Tables;
use payment::{Payment, PaymentKey};

/// Payments as they come to be (1) and cease to (-1).
pub(crate) type Reconciliations<'s> = Stream<'s, u64, Vec<(Reconciled, i8)>>;

/// What names a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) tenant: Box<str>,
    pub(crate) processor: Box<str>,
    /// The ledger's transaction.
    pub(crate) reference: Box<str>,
    pub(crate) currency: Box<str>,
}

/// How ledger and statements agree on a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Matched,
    LedgerOnly,
    StatementOnly,
    Differs,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Matched => "matched",
            State::LedgerOnly => "ledger_only",
            State::StatementOnly => "statement_only",
            State::Differs => "differs",
        }
    }
}

/// A payment as the view shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reconciled {
    /// Shared with what is kept.
    pub(crate) name: Arc<Reference>,
    /// Posted debits − credits on the clearing account, in units.
    pub(crate) ledger_amount: i128,
    /// The sum of all statement lines, in units.
    pub(crate) statement_amount: i128,
    pub(crate) state: State,
    /// The earliest date that either side gives, in days since 1970-01-01.
    pub(crate) since: i32,
}

impl Reconciled {
    /// Returns by how much the ledger has more than the statements.
    pub(crate) fn difference(&self) -> i128 {
        checked_sum(self.ledger_amount, -self.statement_amount)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Matched
    }

    fn push(&self, table: &mut Table, diff: i8) {
        let row = [
            Value::Text(&self.name.tenant),
            Value::Text(&self.name.processor),
            Value::Text(&self.name.reference),
            Value::Text(&self.name.currency),
            Value::Amount(self.ledger_amount),
            Value::Amount(self.statement_amount),
            Value::Amount(self.difference()),
            Value::Text(self.state.name()),
        ];
        table.push(&row, diff);
    }
}

/// Who says something of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Party {
    Ledger,
    Processor,
}

/// One line that comes (1) or goes (-1), of the ledger or of a statement.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Change {
    name: Reference,
    party: Party,
    /// The effective or the value date, in days since 1970-01-01.
    date: i32,
    /// By how much the sum of the party changes.
    units: i128,
    lines: i8,
}

impl Change {
    fn of_ledger(line: ClearingLine) -> Change {
        let ClearingLine { tenant, processor, reference, currency, date, net, lines } = line;
        let name = Reference { tenant, processor, reference, currency };
        Change { name, party: Party::Ledger, date, units: net, lines }
    }

    fn of_processor((statement, diff): (Statement, i8)) -> Change {
        let Statement { tenant, processor, reference, currency, units, value_date } = statement;
        Change {
            name: Reference { tenant, processor, reference, currency },
            party: Party::Processor,
            date: value_date,
            units: units * i128::from(diff),
            lines: diff,
        }
    }
}

/// Keeps what both sides say of each payment.
pub(crate) fn reconciliations<'s>(
    clearing: Stream<'s, u64, Vec<ClearingLine>>,
    statements: Stream<'s, u64, Vec<(Statement, i8)>>,
    state: &WorkerState,
) -> Reconciliations<'s> {
    let kept = state.kept(Space::Reconciliation);
    let changes = clearing.map(Change::of_ledger).concat(statements.map(Change::of_processor));
    let by_payment =
        Exchange::new(|change: &Change| u64::from(PaymentKey::of(&change.name).shard()));
    changes.unary_frontier(by_payment, "Reconciliations", move |_, _| {
        let mut waiting: BTreeMap<u64, (Capability<u64>, Vec<Change>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, changes| {
                let entry = waiting.entry(*capability.time());
                entry.or_insert_with(|| (capability.retain(0), Vec::new())).1.append(changes);
            });
            while let Some(first) = waiting.first_entry() {
                let epoch = *first.key();
                if frontier.less_equal(&epoch) {
                    break;
                }
                let (capability, changes) = first.remove();
                let mut kept = kept.borrow_mut();
                kept.begin(epoch);
                let mut changed = apply(&mut kept, changes);
                output.session(&capability).give_container(&mut changed);
            }
        }
    })
}

/// Applies the changes of one epoch; returns the payments that are others now, before and after.
fn apply(kept: &mut Kept<PaymentKey, Payment>, changes: Vec<Change>) -> Vec<(Reconciled, i8)> {
    let mut touched: BTreeMap<PaymentKey, Vec<Change>> = BTreeMap::new();
    for change in changes {
        touched.entry(PaymentKey::of(&change.name)).or_default().push(change);
    }
    let mut changed = Vec::new();
    for (key, changes) in touched {
        let known = kept.take(&key);
        let before = known.as_ref().and_then(Payment::reconciled);
        let payment = Payment::changed(known, changes);
        let after = payment.as_ref().and_then(Payment::reconciled);
        match payment {
            Some(payment) => kept.put(key, payment),
            None => kept.remove(key),
        }
        if before != after {
            changed.extend(before.map(|before| (before, -1)));
            changed.extend(after.map(|after| (after, 1)));
        }
    }
    changed
}

/// Builds the view.
pub(crate) fn reconciliation(payments: Reconciliations<'_>) -> Tables<'_> {
    payments.unary(Pipeline, View::Reconciliation.name(), |_, _| {
        |input, output| {
            input.for_each(|capability, payments| {
                let mut table = Table::new(View::Reconciliation);
                for (payment, diff) in payments.drain(..) {
                    payment.push(&mut table, diff);
                }
                output.session(&capability).give(table);
            });
        }
    })
}

#[cfg(test)]
mod tests;
