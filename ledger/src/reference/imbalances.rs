//! The detectors of SPEC §4 that speak of posts, corrections, reversals, refunds, holds and accounts.
//! Subjects, amounts, severities and details are those of `docs/spec-decisions.md`, Views 3 and 4.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::accounts::available;
use super::books::{Continuity, Sides, account_sums, rows, sides_by, text};
use super::links::Link;
use super::totals::Total;
use super::transactions::Transaction;
use super::{Books, sum};
use crate::table::{Datum, Row, Rows};
use crate::{Amount, Overdraft, Side, TransactionKey};

const CRITICAL: &str = "critical";
const WARNING: &str = "warning";

/// A row before it is one.
struct Imbalance<'a> {
    tenant: &'a str,
    detector: &'a str,
    subject: &'a str,
    currency: &'a str,
    amount: i128,
    severity: &'a str,
    detail: Value,
}

impl Imbalance<'_> {
    fn row(self) -> Row {
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
) -> Rows {
    let mut all = unequal_sides(books);
    all.extend(orphans(books));
    all.extend(conflicts(books));
    all.extend(over_reversed(books));
    all.extend(exceeded(books, "over_refunded", "refunded", |total| total.refunded));
    all.extend(exceeded(books, "over_captured", "captured", |total| total.captured));
    all.extend(already_resolved(books));
    all.extend(overdrafts(books));
    all.extend(sequence_gaps(books, services));
    rows(all)
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
                let imbalance = Imbalance {
                    tenant,
                    detector,
                    subject: &subject,
                    currency,
                    amount: sides.difference(),
                    severity: CRITICAL,
                    detail: json!({
                        "credits": plain(books, sides.credits),
                        "debits": plain(books, sides.debits),
                    }),
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
        let imbalance = Imbalance {
            tenant: transaction.tenant,
            detector: "orphan",
            subject: transaction.id,
            currency: "",
            amount: 0,
            severity: WARNING,
            detail: json!({
                "cause": cause,
                "corrections": transaction.unopened,
                "target": transaction.target().unwrap_or_default(),
            }),
        };
        all.push(imbalance.row());
    }
    all
}

fn conflicts(books: &Books<'_>) -> Vec<Row> {
    let escape = |name: &str| name.replace('%', "%25").replace('/', "%2F");
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
    for (tenant, event_id) in &books.accounts.conflicts {
        let imbalance = Imbalance {
            tenant,
            detector: "conflict",
            subject: &format!("/account/{}", escape(event_id)),
            currency: "",
            amount: 0,
            severity: WARNING,
            detail: json!({ "event_id": event_id, "kind": "account" }),
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
                "available": plain(books, available),
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
                    "excess": plain(books, excess),
                    "without_effect": plain(books, without_effect),
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
                        "gross": plain(books, total.gross),
                        taken_name: plain(books, taken(total)),
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

fn plain(books: &Books<'_>, units: i128) -> String {
    Amount(units).display(books.scale).to_string()
}
