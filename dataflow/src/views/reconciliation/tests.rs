//! Whole engines, on one and on two workers and over restarts from disk: what they reconcile, when
//! that is a mismatch, and how it is counted.

mod life;

use std::collections::BTreeMap;

use trueup_ledger::table::{Datum, Rows};
use trueup_ledger::{
    Amount, Event, Fact, Kind, Posting, Scale, Side, Source, StatementLine, Timestamp, View,
};

use crate::EpochOutput;
use crate::store::Disk;
use life::{Life, live};

const SCALE: Scale = Scale::DEFAULT;
const DAY: i64 = 86_400_000_000;
const CACHE_BYTES: u64 = 1 << 20;

/// An epoch: its time, its events, and what is to be seen at its end.
type Step = (i64, Vec<Event<'static>>, Vec<&'static str>);

fn event(kind: Kind, tenant: &'static str, event_id: &'static str) -> Event<'static> {
    Event {
        tenant: tenant.into(),
        transaction_id: "".into(),
        event_id: event_id.into(),
        kind,
        leg: "".into(),
        revision: 1,
        effective_at: Timestamp::from_micros(0),
        recorded_at: Timestamp::from_micros(0),
        source: Source { service: "billing".into(), sequence: None },
        target: None,
        expires_at: None,
        fact: None,
        postings: Vec::new(),
    }
}

/// A transaction's opening that moves whole units between two accounts, effective in the middle of a
/// day.
fn post(
    (tenant, transaction): (&'static str, &'static str),
    account: &'static str,
    amount: i128,
    day: i64,
) -> Event<'static> {
    let posting = |account: &'static str, side| Posting {
        account: account.into(),
        side,
        amount: Amount(amount * SCALE.one()),
        currency: "EUR".into(),
    };
    Event {
        transaction_id: transaction.into(),
        effective_at: Timestamp::from_micros(day * DAY + DAY / 2),
        postings: vec![posting(account, Side::Debit), posting("income:sales", Side::Credit)],
        ..event(Kind::Post, tenant, transaction)
    }
}

/// The same as a correction, or as another kind.
fn revised(event_id: &'static str, revision: u64, opening: Event<'static>) -> Event<'static> {
    Event { kind: Kind::Correct, event_id: event_id.into(), revision, ..opening }
}

fn stated(
    (tenant, event_id): (&'static str, &'static str),
    (processor, reference): (&'static str, &'static str),
    amount: i128,
    day: i32,
) -> Event<'static> {
    let line = StatementLine {
        processor: processor.into(),
        reference: reference.into(),
        amount: Amount(amount * SCALE.one()),
        currency: "EUR".into(),
        value_date: day,
    };
    let fact = Some(Box::new(Fact::Statement(line)));
    Event { fact, ..event(Kind::StatementLine, tenant, event_id) }
}

/// Takes the changes of an epoch in; returns the rows that are of interest, as lines.
fn seen(views: &mut BTreeMap<View, Rows>, shares: &[EpochOutput]) -> Vec<String> {
    for table in shares.iter().flat_map(|share| &share.tables) {
        views.entry(table.view()).or_default().apply(table);
    }
    let mut lines = Vec::new();
    for (view, rows) in &*views {
        assert_eq!(rows.defect(*view), None);
        for row in rows.0.keys() {
            let texts: Vec<_> = row.iter().map(text).collect();
            let line = texts.join(" ");
            let is_mismatch = texts[1] == "statement_mismatch";
            if matches!(view, View::Reconciliation | View::DataQuality)
                || (*view == View::Imbalances && is_mismatch)
            {
                lines.push(format!("{}: {line}", view.name()));
            }
        }
    }
    let (counted, expected) = (quality(views), recounted(views));
    assert_eq!(counted, expected, "data quality is what is in the views");
    lines
}

type Counts = BTreeMap<(String, String, String), i64>;

fn text(datum: &Datum) -> String {
    datum.display(SCALE)
}

fn quality(views: &BTreeMap<View, Rows>) -> Counts {
    let rows = views.get(&View::DataQuality).into_iter().flat_map(|rows| rows.0.keys());
    let rows = rows.map(|row| {
        assert_eq!((text(&row[3]), text(&row[5])), ("open".to_owned(), "{}".to_owned()));
        ((text(&row[0]), text(&row[1]), text(&row[2])), text(&row[4]).parse().unwrap())
    });
    rows.collect()
}

/// Counts the rows of the other views one by one.
fn recounted(views: &BTreeMap<View, Rows>) -> Counts {
    let mut counts = Counts::new();
    for row in views.get(&View::Imbalances).into_iter().flat_map(|rows| rows.0.keys()) {
        let key = (text(&row[0]), "open_imbalances".to_owned(), text(&row[1]));
        *counts.entry(key).or_default() += 1;
    }
    for row in views.get(&View::Reconciliation).into_iter().flat_map(|rows| rows.0.keys()) {
        if text(&row[7]) != "matched" {
            let key = (text(&row[0]), "unmatched".to_owned(), text(&row[1]));
            *counts.entry(key).or_default() += 1;
        }
    }
    counts
}

/// Compares what is seen after every epoch: on one and on two workers, and over a restart behind each
/// epoch by another number of workers, that does what followed the checkpoint again.
fn check(steps: &[Step]) {
    let all = steps.len();
    let judge = |outputs: Vec<Vec<EpochOutput>>, run: &str| {
        assert_eq!(outputs.len(), all);
        let mut views = BTreeMap::new();
        for (number, (shares, (_, _, expected))) in outputs.iter().zip(steps).enumerate() {
            let mut seen = seen(&mut views, shares);
            seen.sort_unstable();
            let mut expected = expected.clone();
            expected.sort_unstable();
            assert_eq!(seen, expected, "{run}, epoch {}", number + 1);
        }
    };
    for workers in [1, 2] {
        let life = Life { from: 0, to: all, workers, checkpoint: None, disk: None };
        judge(live(steps, &life), &format!("{workers} workers"));
        for restart in 1..all {
            let directory = tempfile::tempdir().unwrap();
            let disk = || Some(Disk::open(directory.path(), CACHE_BYTES).unwrap());
            let to = (restart + 1).min(all);
            let checkpoint = Some(restart as u64);
            let before = Life { from: 0, to, workers, checkpoint, disk: disk() };
            let mut outputs = live(steps, &before);
            outputs.truncate(restart);
            drop(before);
            let workers = 3 - workers;
            let after = Life { from: restart, to: all, workers, checkpoint: None, disk: disk() };
            outputs.extend(live(steps, &after));
            judge(outputs, &format!("restarted behind {restart} on {workers} workers"));
        }
    }
}

/// What an unbalanced transaction is counted as, from the first epoch until it is cured. A trial
/// balance comes out once more after a restart, and must not be counted again.
const SHARD: &str = "data_quality: acme open_imbalances shard_imbalance open 1 {}";
const TRIAL: &str = "data_quality: acme open_imbalances trial_imbalance open 1 {}";
const UNBALANCED: &str = "data_quality: acme open_imbalances unbalanced_transaction open 1 {}";
const MISMATCH: &str = "data_quality: acme open_imbalances statement_mismatch open 1 {}";
const UNMATCHED: &str = "data_quality: acme unmatched klarna open 1 {}";
const OTHER: &str = "data_quality: other unmatched klarna open 1 {}";
const OTHER_OPEN: &str = "reconciliation: other klarna t1 EUR 30 0 30 ledger_only";
const OTHER_LATE: &str = "imbalances: other statement_mismatch klarna/t1 EUR 30 critical \
    {\"ledger_amount\":\"30\",\"since\":\"1970-01-11\",\"state\":\"ledger_only\",\
    \"statement_amount\":\"0\"}";
const OTHER_MISMATCH: &str = "data_quality: other open_imbalances statement_mismatch open 1 {}";
const DIFFERS: &str = "reconciliation: acme klarna t1 EUR 100 105 -5 differs";
const MATCHED: &str = "reconciliation: acme klarna t1 EUR 105 105 0 matched";

#[test]
fn a_payment_is_matched_differs_and_is_matched_again() {
    let t1 = |amount| post(("acme", "t1"), "assets:klarna", amount, 10);
    let other = post(("other", "t1"), "assets:klarna", 30, 10);
    let balanced = post(("acme", "u1"), "assets:cash", 1, 10);
    let mut unbalanced = balanced.clone();
    unbalanced.postings.pop();
    let always = |more: &[&'static str]| [&[SHARD, TRIAL, UNBALANCED], more].concat();
    check(&[
        (
            10 * DAY + 1,
            vec![t1(100), other, unbalanced],
            always(&[
                "reconciliation: acme klarna t1 EUR 100 0 100 ledger_only",
                UNMATCHED,
                OTHER_OPEN,
                OTHER,
            ]),
        ),
        (
            11 * DAY,
            vec![stated(("acme", "s1"), ("klarna", "t1"), 100, 11)],
            always(&["reconciliation: acme klarna t1 EUR 100 100 0 matched", OTHER_OPEN, OTHER]),
        ),
        (
            12 * DAY,
            vec![stated(("acme", "s2"), ("klarna", "t1"), 5, 12)],
            always(&[DIFFERS, UNMATCHED, OTHER_OPEN, OTHER]),
        ),
        // Due at this instant, and so not yet.
        (13 * DAY, vec![], always(&[DIFFERS, UNMATCHED, OTHER_OPEN, OTHER])),
        (
            13 * DAY + 1,
            vec![],
            always(&[
                DIFFERS,
                UNMATCHED,
                "imbalances: acme statement_mismatch klarna/t1 EUR -5 critical \
                 {\"ledger_amount\":\"100\",\"since\":\"1970-01-11\",\"state\":\"differs\",\
                 \"statement_amount\":\"105\"}",
                MISMATCH,
                OTHER_OPEN,
                OTHER,
                OTHER_LATE,
                OTHER_MISMATCH,
            ]),
        ),
        (
            14 * DAY,
            vec![revised("c1", 2, t1(105))],
            always(&[MATCHED, OTHER_OPEN, OTHER, OTHER_LATE, OTHER_MISMATCH]),
        ),
        (
            15 * DAY,
            vec![stated(("other", "s1"), ("klarna", "t1"), 30, 10)],
            always(&[MATCHED, "reconciliation: other klarna t1 EUR 30 30 0 matched"]),
        ),
        (
            16 * DAY,
            vec![revised("u2", 2, balanced)],
            vec![MATCHED, "reconciliation: other klarna t1 EUR 30 30 0 matched"],
        ),
    ]);
}

#[test]
fn what_only_a_statement_says_is_open_since_its_earliest_date() {
    const ONLY: &str = "reconciliation: acme klarna t9/x EUR 0 -7 7 statement_only";
    const LATE: &str = "imbalances: acme statement_mismatch klarna/t9%2Fx EUR 7 critical \
        {\"ledger_amount\":\"0\",\"since\":\"1970-01-16\",\"state\":\"statement_only\",\
        \"statement_amount\":\"-7\"}";
    const CONFLICT: &str = "data_quality: acme open_imbalances conflict open 1 {}";
    let first = stated(("acme", "s1"), ("klarna", "t9/x"), -7, 15);
    // Another content of one event, which is less senior at first and then more.
    let loses = Event { recorded_at: Timestamp::from_micros(1), ..first.clone() };
    let mut wins = stated(("acme", "s1"), ("klarna", "t9/x"), -8, 3);
    wins.recorded_at = Timestamp::from_micros(-1);
    check(&[
        (15 * DAY + 5, vec![first], vec![ONLY, UNMATCHED]),
        (18 * DAY + 1, vec![], vec![ONLY, UNMATCHED, LATE, MISMATCH]),
        (18 * DAY + 2, vec![loses], vec![ONLY, UNMATCHED, LATE, MISMATCH, CONFLICT]),
        (
            18 * DAY + 3,
            vec![wins],
            vec![
                "reconciliation: acme klarna t9/x EUR 0 -8 8 statement_only",
                UNMATCHED,
                // Its date is long past, so it is shown in the epoch in which it comes to count.
                "imbalances: acme statement_mismatch klarna/t9%2Fx EUR 8 critical \
                 {\"ledger_amount\":\"0\",\"since\":\"1970-01-04\",\"state\":\"statement_only\",\
                 \"statement_amount\":\"-8\"}",
                MISMATCH,
                CONFLICT,
            ],
        ),
    ]);
}

#[test]
fn a_line_is_shown_under_each_processor_of_its_account() {
    let p1 = post(("acme", "p1"), "assets:cards", 10, 1);
    let mut empty = post(("acme", "z1"), "assets:cards", 0, 1);
    empty.postings.truncate(1);
    let void = Event { postings: Vec::new(), ..empty.clone() };
    let held = Event {
        kind: Kind::Hold,
        expires_at: Some(Timestamp::from_micros(300 * DAY)),
        ..post(("acme", "h1"), "assets:cards", 4, 1)
    };
    let captured = Event {
        transaction_id: "k1".into(),
        event_id: "k1".into(),
        kind: Kind::Capture,
        target: Some("h1".into()),
        expires_at: None,
        postings: Vec::new(),
        ..held.clone()
    };
    const ADYEN: &str = "reconciliation: acme adyen p1 EUR 10 0 10 ledger_only";
    const STRIPE: &str = "reconciliation: acme stripe p1 EUR 10 10 0 matched";
    const PAYPAL: &str = "reconciliation: acme paypal p1 EUR 0 10 -10 statement_only";
    const OF_PAYPAL: &str = "data_quality: acme unmatched paypal open 1 {}";
    check(&[
        (
            DAY,
            vec![p1, empty.clone(), held],
            vec![
                ADYEN,
                "reconciliation: acme adyen z1 EUR 0 0 0 ledger_only",
                "reconciliation: acme stripe p1 EUR 10 0 10 ledger_only",
                "reconciliation: acme stripe z1 EUR 0 0 0 ledger_only",
                "data_quality: acme unmatched adyen open 2 {}",
                "data_quality: acme unmatched stripe open 2 {}",
            ],
        ),
        (
            DAY,
            vec![
                stated(("acme", "s1"), ("stripe", "p1"), 10, 1),
                stated(("acme", "s2"), ("paypal", "p1"), 10, 1),
                revised("z2", 2, void),
            ],
            vec![ADYEN, STRIPE, PAYPAL, "data_quality: acme unmatched adyen open 1 {}", OF_PAYPAL],
        ),
        (
            DAY,
            vec![captured, stated(("acme", "s3"), ("stripe", "k1"), 4, 2)],
            vec![
                ADYEN,
                STRIPE,
                PAYPAL,
                "reconciliation: acme adyen k1 EUR 4 0 4 ledger_only",
                "reconciliation: acme stripe k1 EUR 4 4 0 matched",
                "data_quality: acme unmatched adyen open 2 {}",
                OF_PAYPAL,
            ],
        ),
    ]);
}
