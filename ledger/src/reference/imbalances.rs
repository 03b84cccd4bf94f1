//! The detectors of SPEC §4 that speak of posts, corrections, reversals, refunds, holds, accounts and
//! sequences, whatever the time is. Subjects, amounts, severities and details are those of `docs/spec-decisions.md`, Views 3 and 4.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::accounts::available;
use super::books::{Continuity, Sides, account_sums, sides_by, text};
use super::links::Link;
use super::totals::Total;
use super::transactions::Transaction;
use super::{Books, sum};
use crate::table::{Datum, Row};
use crate::{Amount, Overdraft, Scale, Side, TransactionKey};

pub(super) const CRITICAL: &str = "critical";
pub(super) const WARNING: &str = "warning";

/// A row before it is one.
pub(super) struct Imbalance<'a> {
    pub(super) tenant: &'a str,
    pub(super) detector: &'a str,
    pub(super) subject: &'a str,
    pub(super) currency: &'a str,
    pub(super) amount: i128,
    pub(super) severity: &'a str,
    pub(super) detail: Value,
}

impl Imbalance<'_> {
    pub(super) fn row(self) -> Row {
        vec![
            text(self.tenant),
            text(self.detector),
            text(self.subject),
            text(self.currency),
            Datum::Amount(self.amount),
            text(self.severity),
            text(&self.detail.to_string()),
        ]
    }
}

pub(super) fn imbalances(
    books: &Books<'_>,
    services: &BTreeMap<(String, String), Continuity>,
) -> Vec<Row> {
    let mut all = unequal_sides(books);
    all.extend(orphans(books));
    all.extend(conflicts(books));
    all.extend(over_reversed(books));
    all.extend(exceeded(books, "over_refunded", "refunded", |total| total.refunded));
    all.extend(exceeded(books, "over_captured", "captured", |total| total.captured));
    all.extend(already_resolved(books));
    all.extend(overdrafts(books));
    all.extend(sequence_gaps(books, services));
    all
}

/// `unbalanced_transaction`, `shard_imbalance` and `trial_imbalance`: debits are not credits.
fn unequal_sides(books: &Books<'_>) -> Vec<Row> {
    let by_transaction = sides_by(books.all_lines(), |transaction, line| {
        (transaction.tenant, transaction.id.to_owned(), line.posting.currency.as_ref())
    });
    let by_shard = sides_by(books.all_lines(), |transaction, line| {
        let shard = TransactionKey::of(transaction.tenant, transaction.id).shard();
        (transaction.tenant, format!("{shard:03}"), line.posting.currency.as_ref())
    });
    let by_currency = sides_by(books.posted_lines(), |transaction, line| {
        let currency = line.posting.currency.as_ref();
        (transaction.tenant, currency.to_owned(), currency)
    });
    let mut all = Vec::new();
    let mut judge = |detector, sums: BTreeMap<(&str, String, &str), Sides>| {
        for ((tenant, subject, currency), sides) in sums {
            if sides.difference() != 0 {
                let mut detail = json!({
                    "credits": plain(books.scale, sides.credits),
                    "debits": plain(books.scale, sides.debits),
                });
                if detector == "unbalanced_transaction" {
                    detail["events"] = first_events(books, tenant, &subject);
                }
                let imbalance = Imbalance {
                    tenant,
                    detector,
                    subject: &subject,
                    currency,
                    amount: sides.difference(),
                    severity: CRITICAL,
                    detail,
                };
                all.push(imbalance.row());
            }
        }
    };
    judge("unbalanced_transaction", by_transaction);
    judge("shard_imbalance", by_shard);
    judge("trial_imbalance", by_currency);
    all
}

/// Returns the first events of a transaction by its name.
fn first_events(books: &Books<'_>, tenant: &str, id: &str) -> Value {
    let by_name = |other: &Transaction<'_>| (other.tenant, other.id).cmp(&(tenant, id));
    let found = books.transactions.binary_search_by(by_name);
    json!(found.map(|index| books.transactions[index].first_events()).unwrap_or_default())
}

fn orphans(books: &Books<'_>) -> Vec<Row> {
    let mut all = Vec::new();
    for (transaction, link) in books.transactions.iter().zip(&books.links) {
        let cause = match link {
            Link::Orphan(cause) => cause.name(),
            _ => "",
        };
        if cause.is_empty() && transaction.unopened.is_empty() {
            continue;
        }
        let corrections: Vec<_> =
            transaction.unopened.iter().map(|event| &event.event_id).collect();
        let imbalance = Imbalance {
            tenant: transaction.tenant,
            detector: "orphan",
            subject: transaction.id,
            currency: "",
            amount: 0,
            severity: WARNING,
            detail: json!({
                "cause": cause,
                "corrections": corrections,
                "events": transaction.first_events(),
                "target": transaction.target().unwrap_or_default(),
            }),
        };
        all.push(imbalance.row());
    }
    all
}

fn conflicts(books: &Books<'_>) -> Vec<Row> {
    let mut all = Vec::new();
    for transaction in books.transactions {
        for event_id in &transaction.conflicts {
            let imbalance = Imbalance {
                tenant: transaction.tenant,
                detector: "conflict",
                subject: &format!("{}/{}", escape(transaction.id), escape(event_id)),
                currency: "",
                amount: 0,
                severity: WARNING,
                detail: json!({
                    "event_id": event_id,
                    "transaction_id": transaction.id,
                }),
            };
            all.push(imbalance.row());
        }
    }
    for contested in books.alone.iter().filter(|one| one.is_contested) {
        let (kind, event_id) = (contested.event.kind.name(), &contested.event.event_id);
        let imbalance = Imbalance {
            tenant: &contested.event.tenant,
            detector: "conflict",
            subject: &format!("/{kind}/{}", escape(event_id)),
            currency: "",
            amount: 0,
            severity: WARNING,
            detail: json!({ "event_id": event_id, "kind": kind }),
        };
        all.push(imbalance.row());
    }
    all
}

/// An account that may not be overdrawn and is: what is available is on the wrong side.
fn overdrafts(books: &Books<'_>) -> Vec<Row> {
    let mut all = Vec::new();
    for ((tenant, account, currency), (posted, pending)) in account_sums(books) {
        let terms = books.accounts.terms(tenant, account);
        let available = available(terms, posted, pending);
        // Data is debit-positive: what a credit-normal account has is below zero.
        let shortfall = match terms.normal_side {
            Side::Debit => -available,
            Side::Credit => available,
        };
        if terms.overdraft == Overdraft::Allowed || shortfall <= 0 {
            continue;
        }
        let imbalance = Imbalance {
            tenant,
            detector: "overdraft",
            subject: account,
            currency,
            amount: shortfall,
            severity: CRITICAL,
            detail: json!({
                "available": plain(books.scale, available),
                "normal_side": terms.normal_side.name(),
            }),
        };
        all.push(imbalance.row());
    }
    all
}

/// A transaction of which more was reversed than there is, or a reversal that came too late.
fn over_reversed(books: &Books<'_>) -> Vec<Row> {
    let mut all = Vec::new();
    for (index, transaction) in books.transactions.iter().enumerate() {
        // By currency: the excess, and the target's gross where this one is without effect.
        let mut parts: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
        for total in &books.totals[index] {
            let excess = sum(total.reversed, -total.gross);
            if excess > 0 {
                parts.entry(total.currency).or_default().0 = excess;
            }
        }
        if let Link::WithoutEffect(target) = books.links[index] {
            let grosses = books.totals[target].iter().filter(|total| total.gross != 0);
            let mut is_any = false;
            for total in grosses {
                parts.entry(total.currency).or_default().1 = total.gross;
                is_any = true;
            }
            if !is_any {
                parts.entry("").or_default();
            }
        }
        for (currency, (excess, without_effect)) in parts {
            let imbalance = Imbalance {
                tenant: transaction.tenant,
                detector: "over_reversed",
                subject: transaction.id,
                currency,
                amount: sum(excess, without_effect),
                severity: CRITICAL,
                detail: json!({
                    "events": transaction.first_events(),
                    "excess": plain(books.scale, excess),
                    "without_effect": plain(books.scale, without_effect),
                }),
            };
            all.push(imbalance.row());
        }
    }
    all
}

/// `over_refunded` and `over_captured`: more was taken of a transaction than it amounts to.
fn exceeded(
    books: &Books<'_>,
    detector: &str,
    taken_name: &str,
    taken: impl Fn(&Total<'_>) -> i128,
) -> Vec<Row> {
    let mut all = Vec::new();
    for (transaction, totals) in books.transactions.iter().zip(&books.totals) {
        for total in totals {
            let excess = sum(taken(total), -total.gross);
            if excess > 0 {
                let imbalance = Imbalance {
                    tenant: transaction.tenant,
                    detector,
                    subject: transaction.id,
                    currency: total.currency,
                    amount: excess,
                    severity: CRITICAL,
                    detail: json!({
                        "events": transaction.first_events(),
                        "gross": plain(books.scale, total.gross),
                        taken_name: plain(books.scale, taken(total)),
                    }),
                };
                all.push(imbalance.row());
            }
        }
    }
    all
}

/// A capture or release that was recorded after the one that resolved its hold.
fn already_resolved(books: &Books<'_>) -> Vec<Row> {
    let row = |(transaction, link): (&Transaction<'_>, &Link)| {
        let Link::Late { hold, resolver } = *link else {
            return None;
        };
        let imbalance = Imbalance {
            tenant: transaction.tenant,
            detector: "hold_already_resolved",
            subject: transaction.id,
            currency: "",
            amount: 0,
            severity: WARNING,
            detail: json!({
                "events": transaction.first_events(),
                "hold": books.transactions[hold].id,
                "resolved_by": books.transactions[resolver].id,
            }),
        };
        Some(imbalance.row())
    };
    books.transactions.iter().zip(&books.links).filter_map(row).collect()
}

fn sequence_gaps(books: &Books<'_>, services: &BTreeMap<(String, String), Continuity>) -> Vec<Row> {
    let gap = |((tenant, service), continuity): (&(String, String), &Continuity)| {
        let imbalance = Imbalance {
            tenant,
            detector: "sequence_gap",
            subject: service,
            currency: "",
            // A whole number: 63 bits times 10^18 are well within 38 digits.
            amount: i128::from(continuity.missing) * books.scale.one(),
            severity: WARNING,
            detail: json!({
                "contiguous_through": continuity.contiguous_through.to_string(),
                "max_sequence": continuity.max.to_string(),
            }),
        };
        (continuity.missing > 0).then(|| imbalance.row())
    };
    services.iter().filter_map(gap).collect()
}

/// Formats an amount as details have it.
pub(super) fn plain(scale: Scale, units: i128) -> String {
    Amount(units).display(scale).to_string()
}

/// Writes a name that stands beside others in a subject.
pub(super) fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
