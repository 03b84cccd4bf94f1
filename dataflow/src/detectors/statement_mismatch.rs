//! `statement_mismatch`: a payment on which ledger and statements have not agreed for too long.
//!
//! In: payments as both sides see them. Out: rows of `imbalances`, each due when the grace after the
//! day since which the payment is open has passed. Subject: processor and reference; amount: the
//! difference. State: none.

use timely::dataflow::Stream;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::timestamp::DAY_MICROS;
use trueup_ledger::transaction::escape_subject;
use trueup_ledger::{Amount, Scale, Timestamp};

use super::Finding;
use crate::due::DueRow;
use crate::views::reconciliation::{Reconciled, Reconciliations};

/// Builds the detector. `after` is the grace, in microseconds.
pub(crate) fn statement_mismatch<'s>(
    payments: Reconciliations<'s>,
    after: i64,
    scale: Scale,
) -> Stream<'s, u64, Vec<(DueRow, i8)>> {
    payments.flat_map(move |(payment, diff)| {
        payment.is_open().then(|| (row(&payment, after, scale), diff))
    })
}

fn row(payment: &Reconciled, after: i64, scale: Scale) -> DueRow {
    let name = &payment.name;
    let subject =
        format!("{}/{}", escape_subject(&name.processor), escape_subject(&name.reference));
    let detail = format!(
        r#"{{"ledger_amount":"{}","since":"{}","state":"{}","statement_amount":"{}"}}"#,
        Amount(payment.ledger_amount).display(scale),
        Timestamp::display_date(payment.since),
        payment.state.name(),
        Amount(payment.statement_amount).display(scale),
    );
    let finding = Finding {
        tenant: &name.tenant,
        detector: "statement_mismatch",
        subject: &subject,
        currency: &name.currency,
        amount: payment.difference(),
        severity: "critical",
        detail: &detail,
    };
    finding.due(i64::from(payment.since).saturating_mul(DAY_MICROS).saturating_add(after))
}
