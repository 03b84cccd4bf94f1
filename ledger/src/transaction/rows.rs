//! The rows that one transaction has in `postings`, `transaction_totals` and `imbalances`.

use super::{Meaning, Total, detectors};
use crate::amount::Scale;
use crate::event::Kind;
use crate::table::Value;
use crate::view::View;

/// The status of a line that is not posted, and of a hold that is not resolved.
pub const PENDING: &str = "pending";

/// Receives a row of a view.
pub trait RowSink {
    /// Takes one row; `values` are those of the view's columns, in order. A row that is `due` is in
    /// the view once the epoch time is later than that, in microseconds since 1970.
    fn row(&mut self, view: View, values: &[Value<'_>], due: Option<i64>);
}

impl<F: FnMut(View, &[Value<'_>], Option<i64>)> RowSink for F {
    fn row(&mut self, view: View, values: &[Value<'_>], due: Option<i64>) {
        self(view, values, due);
    }
}

/// Sequences and revisions are admitted up to 63 bits, and no transaction has as many lines.
fn integer<T: TryInto<i64>>(value: T) -> Value<'static> {
    Value::Integer(value.try_into().unwrap_or(i64::MAX))
}

/// Quotes a text as JSON.
#[must_use]
pub fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Meaning<'_, '_> {
    /// Gives every row of the transaction to `sink`, each once.
    pub fn rows(&self, scale: Scale, sink: &mut impl RowSink) {
        if !self.is_ended() {
            self.postings(sink);
        }
        self.totals(sink);
        for detector in detectors::ALL {
            (detector.detect)(self, scale, &mut |finding| {
                let values = [
                    Value::Text(self.fold.tenant),
                    Value::Text(detector.name),
                    Value::Text(finding.subject),
                    Value::Text(finding.currency),
                    Value::Amount(finding.amount),
                    Value::Text(detector.severity),
                    Value::Text(&finding.detail),
                ];
                sink.row(View::Imbalances, &values, finding.due);
            });
        }
    }

    fn postings(&self, sink: &mut impl RowSink) {
        let Some(kind) = self.kind() else { return };
        let status = if kind == Kind::Hold { PENDING } else { "posted" };
        self.fold.lines(self.standing, |line| {
            let values = [
                Value::Text(self.fold.tenant),
                Value::Text(self.fold.transaction_id),
                Value::Text(line.leg),
                integer(line.line),
                Value::Text(line.account),
                Value::Text(line.side.name()),
                Value::Amount(line.amount.0),
                Value::Text(line.currency),
                Value::Instant(line.effective_at.micros()),
                integer(line.revision),
                Value::Text(kind.name()),
                Value::Text(status),
                Value::Text(line.event_id),
            ];
            sink.row(View::Postings, &values, None);
        });
    }

    fn totals(&self, sink: &mut impl RowSink) {
        let Some(kind) = self.kind() else { return };
        let revision = self.fold.legs.iter().map(|leg| leg.current.revision).max().unwrap_or(1);
        for total in &self.totals {
            let values = [
                Value::Text(self.fold.tenant),
                Value::Text(self.fold.transaction_id),
                Value::Text(total.currency),
                Value::Text(kind.name()),
                Value::Amount(total.gross),
                Value::Amount(total.corrected),
                Value::Amount(total.reversed),
                Value::Amount(total.refunded),
                Value::Amount(total.net),
                Value::Text(self.status(total)),
                integer(revision),
            ];
            sink.row(View::TransactionTotals, &values, None);
        }
    }

    /// The first status of SPEC §4 that fits.
    fn status(&self, total: &Total<'_>) -> &'static str {
        if self.is_orphan() {
            "orphan"
        } else if total.gross == 0 && total.corrected != 0 {
            "voided"
        } else if self.kind() == Some(Kind::Hold) {
            match self.inflows.resolved_by {
                None => PENDING,
                Some(Kind::Release) => "released",
                Some(_) => "captured",
            }
        } else if total.reversed > 0 {
            if total.net == 0 { "reversed" } else { "partially_reversed" }
        } else if total.refunded > 0 {
            if total.net == 0 { "refunded" } else { "partially_refunded" }
        } else {
            "open"
        }
    }
}
