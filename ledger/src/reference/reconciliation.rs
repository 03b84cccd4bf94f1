//! The ledger against what processors state (SPEC §4, `reconciliation`), and which differences are old
//! enough to be a `statement_mismatch`.

use std::collections::BTreeMap;

use serde_json::json;

use super::books::{rows, text};
use super::imbalances::{CRITICAL, Imbalance, escape, plain};
use super::{Books, sum};
use crate::table::{Datum, Row, Rows};
use crate::{Fact, Rules, Scale, Side, Timestamp};

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Both sides by tenant, processor, reference and currency.
pub(super) type Reconciliation<'a> = BTreeMap<(&'a str, &'a str, &'a str, &'a str), Pair>;

/// What ledger and statement say of one reference. A side that has not spoken is `None`.
#[derive(Default)]
pub(super) struct Pair {
    ledger: Option<i128>,
    statement: Option<i128>,
    /// The earliest date of either, in days since 1970.
    since: Option<i32>,
}

impl Pair {
    fn ledger_amount(&self) -> i128 {
        self.ledger.unwrap_or(0)
    }

    fn statement_amount(&self) -> i128 {
        self.statement.unwrap_or(0)
    }

    fn difference(&self) -> i128 {
        sum(self.ledger_amount(), -self.statement_amount())
    }

    fn state(&self) -> &'static str {
        match (self.ledger, self.statement) {
            (_, None) => "ledger_only",
            (None, Some(_)) => "statement_only",
            _ if self.difference() == 0 => "matched",
            _ => "differs",
        }
    }

    fn date(&mut self, date: i32) {
        self.since = Some(self.since.map_or(date, |since| since.min(date)));
    }
}

pub(super) fn reconcile<'a>(books: &'a Books<'_>, rules: &'a Rules) -> Reconciliation<'a> {
    let mut pairs = Reconciliation::new();
    // One account may be that of several processors.
    let mut processors: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (processor, account) in &rules.clearing {
        processors.entry(account).or_default().push(processor);
    }
    for (transaction, line) in books.posted_lines() {
        let posting = line.posting;
        let amount = match line.side {
            Side::Debit => posting.amount.0,
            Side::Credit => -posting.amount.0,
        };
        for processor in processors.get(posting.account.as_ref()).into_iter().flatten() {
            let key = (transaction.tenant, *processor, transaction.id, &*posting.currency);
            let pair = pairs.entry(key).or_default();
            pair.ledger = Some(sum(pair.ledger_amount(), amount));
            pair.date(line.event.effective_at.utc_date());
        }
    }
    for one in books.alone {
        if let Some(Fact::Statement(line)) = one.event.fact.as_deref() {
            let key = (&*one.event.tenant, &*line.processor, &*line.reference, &*line.currency);
            let pair = pairs.entry(key).or_default();
            pair.statement = Some(sum(pair.statement_amount(), line.amount.0));
            pair.date(line.value_date);
        }
    }
    pairs
}

pub(super) fn reconciliation(pairs: &Reconciliation<'_>) -> Rows {
    rows(pairs.iter().map(|((tenant, processor, reference, currency), pair)| {
        vec![
            text(tenant),
            text(processor),
            text(reference),
            text(currency),
            Datum::Amount(pair.ledger_amount()),
            Datum::Amount(pair.statement_amount()),
            Datum::Amount(pair.difference()),
            text(pair.state()),
        ]
    }))
}

/// What is not matched and has been open for longer than the rules allow at `now`.
pub(super) fn mismatches(
    pairs: &Reconciliation<'_>,
    rules: &Rules,
    scale: Scale,
    now: i64,
) -> Vec<Row> {
    let mut all = Vec::new();
    for ((tenant, processor, reference, currency), pair) in pairs {
        let since = pair.since.unwrap_or_default();
        let due = (i64::from(since) * DAY_MICROS).saturating_add(rules.statement_mismatch_after);
        if pair.state() == "matched" || now <= due {
            continue;
        }
        let imbalance = Imbalance {
            tenant,
            detector: "statement_mismatch",
            subject: &format!("{}/{}", escape(processor), escape(reference)),
            currency,
            amount: pair.difference(),
            severity: CRITICAL,
            detail: json!({
                "ledger_amount": plain(scale, pair.ledger_amount()),
                "since": Timestamp::display_date(since),
                "state": pair.state(),
                "statement_amount": plain(scale, pair.statement_amount()),
            }),
        };
        all.push(imbalance.row());
    }
    all
}
