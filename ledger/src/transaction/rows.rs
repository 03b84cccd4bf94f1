//! The rows that one transaction has in `postings`, `transaction_totals` and `imbalances`.

use std::collections::BTreeMap;

use super::{ByCurrency, Meaning, Standing, Total};
use crate::amount::{Amount, Scale};
use crate::event::{Event, Kind};
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

/// Quotes a list of texts as JSON.
fn json_texts(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| json_text(text)).collect();
    format!("[{}]", quoted.join(","))
}

/// Writes a name within a composite subject, whose parts `/` divides.
#[must_use]
pub fn escape_subject(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

impl Meaning<'_, '_> {
    /// Gives every row of the transaction to `sink`, each once.
    pub fn rows(&self, scale: Scale, sink: &mut impl RowSink) {
        if !self.is_ended() {
            self.postings(sink);
            self.unbalanced(scale, sink);
        }
        self.totals(sink);
        if !self.fold.orphan_corrections.is_empty() || self.is_orphan() {
            self.orphan(sink);
        }
        for event_id in &self.fold.conflicts {
            self.conflict(event_id, sink);
        }
        if let Standing::WithoutEffect(_) = self.standing {
            self.over_reversed(scale, sink);
        } else if !self.inflows.reversed.is_empty() {
            self.over_reversed(scale, sink);
        }
        if !self.inflows.refunded.is_empty() {
            let refunded = ("refunded", &self.inflows.refunded);
            self.exceeded("over_refunded", refunded, scale, sink);
        }
        if !self.inflows.captured.is_empty() {
            let captured = ("captured", &self.inflows.captured);
            self.exceeded("over_captured", captured, scale, sink);
        }
        if let Standing::Late(resolver) = self.standing {
            self.already_resolved(resolver, sink);
        }
        if self.kind() == Some(Kind::Hold) && !self.is_ended() && !self.is_orphan() {
            self.stuck(sink);
        }
        for (event, delay) in &self.fold.delayed {
            self.delayed(event, *delay, sink);
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

    fn imbalance(
        &self,
        sink: &mut impl RowSink,
        (detector, severity): (&str, &str),
        subject: &str,
        (currency, amount): (&str, i128),
        detail: &str,
    ) {
        self.timed_imbalance(sink, (detector, severity), subject, (currency, amount), detail, None);
    }

    fn timed_imbalance(
        &self,
        sink: &mut impl RowSink,
        (detector, severity): (&str, &str),
        subject: &str,
        (currency, amount): (&str, i128),
        detail: &str,
        due: Option<i64>,
    ) {
        let values = [
            Value::Text(self.fold.tenant),
            Value::Text(detector),
            Value::Text(subject),
            Value::Text(currency),
            Value::Amount(amount),
            Value::Text(severity),
            Value::Text(detail),
        ];
        sink.row(View::Imbalances, &values, due);
    }

    /// The member of a detail that names the first events.
    fn events(&self) -> String {
        format!(r#""events":{}"#, json_texts(&self.fold.first_events()))
    }

    fn unbalanced(&self, scale: Scale, sink: &mut impl RowSink) {
        for total in &self.totals {
            let difference = total.sides.debits - total.sides.credits;
            if difference != 0 {
                let sides = sides_members(total.sides.debits, total.sides.credits, scale);
                let detail = format!("{{{sides},{}}}", self.events());
                let subject = self.fold.transaction_id;
                let money = (total.currency, difference);
                self.imbalance(
                    sink,
                    ("unbalanced_transaction", "critical"),
                    subject,
                    money,
                    &detail,
                );
            }
        }
    }

    fn orphan(&self, sink: &mut impl RowSink) {
        let cause = match self.standing {
            Standing::Orphan(cause) => cause.name(),
            _ => "",
        };
        let target = self.fold.link().and_then(|opening| opening.target.as_deref());
        let detail = format!(
            r#"{{"cause":{},"corrections":{},{},"target":{}}}"#,
            json_text(cause),
            json_texts(&self.fold.orphan_corrections),
            self.events(),
            json_text(target.unwrap_or_default()),
        );
        let subject = self.fold.transaction_id;
        self.imbalance(sink, ("orphan", "warning"), subject, ("", 0), &detail);
    }

    fn conflict(&self, event_id: &str, sink: &mut impl RowSink) {
        let subject = self.event_subject(event_id);
        let (whose, name) = match self.alone() {
            Some(kind) => ("kind", kind.name()),
            None => ("transaction_id", self.fold.transaction_id),
        };
        let detail =
            format!(r#"{{"event_id":{},"{whose}":{}}}"#, json_text(event_id), json_text(name));
        self.imbalance(sink, ("conflict", "warning"), &subject, ("", 0), &detail);
    }

    /// Returns the kind of an event without transaction.
    fn alone(&self) -> Option<Kind> {
        self.kind().filter(|kind| !kind.has_transaction())
    }

    /// Returns what an event is called as a subject.
    fn event_subject(&self, event_id: &str) -> String {
        let whose = match self.alone() {
            // No transaction's name is empty, so nothing else begins with the dividing line.
            Some(kind) => format!("/{}", kind.name()),
            None => escape_subject(self.fold.transaction_id),
        };
        format!("{whose}/{}", escape_subject(event_id))
    }

    /// An unresolved hold is stuck from its expiry on.
    fn stuck(&self, sink: &mut impl RowSink) {
        let Some(expires_at) = self.fold.opening.and_then(|opening| opening.expires_at) else {
            return;
        };
        let detail = format!(r#"{{{},"expires_at":"{expires_at}"}}"#, self.events());
        for total in self.totals.iter().filter(|total| total.gross != 0) {
            let (subject, money) = (self.fold.transaction_id, (total.currency, total.gross));
            let due = Some(expires_at.micros());
            let what = ("stuck_hold", "warning");
            self.timed_imbalance(sink, what, subject, money, &detail, due);
        }
    }

    /// An event in effect arrived late.
    fn delayed(&self, event: &Event<'_>, delay: i64, sink: &mut impl RowSink) {
        let detail = format!(
            r#"{{"delay_seconds":"{}","event_id":{},"recorded_at":"{}"}}"#,
            delay / 1_000_000,
            json_text(&event.event_id),
            event.recorded_at,
        );
        let subject = self.event_subject(&event.event_id);
        self.imbalance(sink, ("delayed_event", "warning"), &subject, ("", 0), &detail);
    }

    /// One row a currency, though the transaction may be both reversed too far and itself a
    /// reversal without effect: the amounts add up, the detail tells them apart.
    fn over_reversed(&self, scale: Scale, sink: &mut impl RowSink) {
        let none = Vec::new();
        let without_effect = match self.standing {
            Standing::WithoutEffect(gross) => gross,
            _ => &none,
        };
        let mut parts: BTreeMap<&str, (i128, i128)> =
            without_effect.iter().map(|(currency, gross)| (&**currency, (0, *gross))).collect();
        for (currency, reversed) in &self.inflows.reversed {
            let excess = reversed - self.gross_of(currency);
            if excess > 0 {
                parts.entry(currency).or_default().0 = excess;
            }
        }
        if matches!(self.standing, Standing::WithoutEffect(gross) if gross.is_empty()) {
            parts.insert("", (0, 0));
        }
        for (currency, (excess, lost)) in parts {
            let detail = format!(
                r#"{{{},"excess":"{}","without_effect":"{}"}}"#,
                self.events(),
                Amount(excess).display(scale),
                Amount(lost).display(scale),
            );
            let subject = self.fold.transaction_id;
            let money = (currency, super::checked_sum(excess, lost));
            self.imbalance(sink, ("over_reversed", "critical"), subject, money, &detail);
        }
    }

    /// More was taken of the transaction than it amounts to.
    fn exceeded(
        &self,
        detector: &str,
        (taken_name, taken): (&str, &ByCurrency),
        scale: Scale,
        sink: &mut impl RowSink,
    ) {
        for (currency, taken) in taken {
            let gross = self.gross_of(currency);
            if *taken > gross {
                let member =
                    |name, units| format!(r#""{name}":"{}""#, Amount(units).display(scale));
                let mut members =
                    [member("gross", gross), member(taken_name, *taken), self.events()];
                members.sort_unstable();
                let subject = self.fold.transaction_id;
                let money = (&**currency, taken - gross);
                let detail = format!("{{{}}}", members.join(","));
                self.imbalance(sink, (detector, "critical"), subject, money, &detail);
            }
        }
    }

    /// The transaction came after its hold was resolved.
    fn already_resolved(&self, resolver: &str, sink: &mut impl RowSink) {
        let hold = self.fold.link().and_then(|opening| opening.target.as_deref());
        let detail = format!(
            r#"{{{},"hold":{},"resolved_by":{}}}"#,
            self.events(),
            json_text(hold.unwrap_or_default()),
            json_text(resolver),
        );
        let subject = self.fold.transaction_id;
        self.imbalance(sink, ("hold_already_resolved", "warning"), subject, ("", 0), &detail);
    }

    fn gross_of(&self, currency: &str) -> i128 {
        self.total(currency).map_or(0, |total| total.gross)
    }
}

/// The detail of a difference between debits and credits.
#[must_use]
pub fn sides_detail(debits: i128, credits: i128, scale: Scale) -> String {
    format!("{{{}}}", sides_members(debits, credits, scale))
}

fn sides_members(debits: i128, credits: i128, scale: Scale) -> String {
    format!(
        r#""credits":"{}","debits":"{}""#,
        Amount(credits).display(scale),
        Amount(debits).display(scale),
    )
}
