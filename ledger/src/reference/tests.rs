//! Size and depth; the meaning is in `tests/cases/*.txt`, which `ledger/tests/cases.rs` runs.

use std::collections::BTreeSet;

use super::*;
use crate::event::{Kind, Posting, Side, Source};
use crate::table::Datum;
use crate::{Fact, Month, Timestamp};

fn event(id: usize, target: Option<usize>) -> Event<'static> {
    let posting = |account: &'static str, side| Posting {
        account: account.into(),
        side,
        amount: Amount(100),
        currency: "EUR".into(),
    };
    let at = Timestamp::from_parts(0, 0).unwrap();
    Event {
        tenant: "acme".into(),
        transaction_id: format!("t{id:07}").into(),
        event_id: "e".into(),
        kind: if target.is_some() { Kind::Reverse } else { Kind::Post },
        leg: "".into(),
        revision: 1,
        effective_at: at,
        recorded_at: at,
        source: Source { service: "billing".into(), sequence: u64::try_from(id + 1).ok() },
        target: target.map(|target| format!("t{target:07}").into()),
        expires_at: None,
        fact: None,
        postings: match target {
            Some(_) => Vec::new(),
            None => vec![posting("cash", Side::Debit), posting("sales", Side::Credit)],
        },
    }
}

// spec: "chains of any depth, arriving in any order"
#[test]
fn a_chain_of_100_000_reversals_is_walked_not_recursed() {
    let last = 100_000;
    // Towards smaller and towards greater names, so that walks begin at either end.
    for is_rising in [false, true] {
        let mut reference = Reference::new(Scale::DEFAULT);
        let name = |n: usize| if is_rising { n } else { last - n };
        assert!(reference.insert(event(name(0), None)));
        for n in 1..=last {
            assert!(reference.insert(event(name(n), Some(name(n - 1)))));
        }
        assert!(!reference.insert(event(name(1), Some(name(0)))));
        let views = reference.views();
        assert_eq!(views[&View::Postings].0.len(), 2 * (last + 1));
        assert!(views[&View::Imbalances].0.is_empty());
        let balances: Vec<_> = views[&View::Balances].0.keys().map(|row| row[7].clone()).collect();
        // 50,001 of the 100,001 stand as posted, 50,000 are opposites.
        assert_eq!(balances, [Datum::Amount(100), Datum::Amount(-100)]);
    }
}

// spec: "Transactions that reverse each other in a circle (or themselves) derive nothing"
#[test]
fn a_circle_of_100_000_reversals_is_found() {
    let size = 100_000;
    let mut reference = Reference::default();
    for n in 0..size {
        reference.insert(event(n, Some((n + 1) % size)));
    }
    let views = reference.views();
    assert_eq!(views[&View::Imbalances].0.len(), size);
    assert!(views[&View::Postings].0.is_empty());
}

/// An event of month `period`, by its number since January of the year 0.
fn period(kind: Kind, period: i32, second: i64) -> Event<'static> {
    let at = Timestamp::from_parts(second, 0).unwrap();
    Event {
        transaction_id: "".into(),
        event_id: format!("{}{period}", kind.name()).into(),
        kind,
        recorded_at: at,
        source: Source { service: "books".into(), sequence: None },
        fact: Some(Box::new(Fact::Period(Month(period)))),
        postings: Vec::new(),
        ..event(0, None)
    }
}

/// For every account: the movements of open months, what was closed and what came since are its
/// balance, whatever was closed when.
#[test]
fn closed_books_and_adjustments_add_up_to_the_balance() {
    let mut reference = Reference::default();
    let january = Month::of_date(0).0;
    for epoch in 0..24_i32 {
        reference.begin_epoch(i64::from(epoch));
        // In each epoch ten transactions of each of six months, every third a reversal.
        for n in 0..60 {
            let id = usize::try_from(epoch).unwrap() * 60 + n;
            let target = (n % 3 == 2).then(|| id - 1);
            let day = Month(january + i32::try_from(n % 6).unwrap()).dates().start;
            let effective_at = Timestamp::from_parts(i64::from(day) * 86_400, 0).unwrap();
            reference.insert(Event { effective_at, ..event(id, target) });
        }
        match epoch {
            3..=6 => reference.insert(period(Kind::ClosePeriod, january + epoch - 3, 10)),
            10 => reference.insert(period(Kind::ReopenPeriod, january, 20)),
            // Late, and before the closing in force: it freezes again.
            15 => reference.insert(period(Kind::ReopenPeriod, january + 1, 5)),
            _ => true,
        };
        let views = reference.views();
        let amount = |row: &[Datum], column: usize| match row[column] {
            Datum::Amount(units) => units,
            _ => unreachable!("column {column} is no amount"),
        };
        let mut closed: BTreeSet<&Datum> = BTreeSet::new();
        let mut sums: BTreeMap<&Datum, i128> = BTreeMap::new();
        for row in views[&View::PeriodAdjustments].0.keys() {
            closed.insert(&row[1]);
            *sums.entry(&row[2]).or_default() += amount(row, 4) + amount(row, 6);
        }
        for row in views[&View::DailyMovements].0.keys() {
            let Datum::Date(date) = row[3] else { unreachable!("no date") };
            if !closed.contains(&Datum::Text(Month::of_date(date).to_string().into())) {
                *sums.entry(&row[1]).or_default() += amount(row, 6);
            }
        }
        let balances = views[&View::Balances].0.keys().map(|row| (&row[1], amount(row, 7)));
        assert_eq!(sums, balances.collect(), "after epoch {epoch}");
        let expected = match epoch {
            0..3 => 0,
            3..=6 => epoch - 2,
            7..10 => 4,
            _ => 3,
        };
        assert_eq!(closed.len(), usize::try_from(expected).unwrap(), "after epoch {epoch}");
        let late = views[&View::Imbalances].0.keys();
        let late = late.filter(|row| row[1] == Datum::Text("late_into_closed_period".into()));
        assert_eq!(late.count() > 0, epoch > 3, "after epoch {epoch}");
    }
}

/// Run with `--release -- --ignored` for the time a million events take.
#[test]
#[ignore = "a measurement"]
fn a_million_events() {
    let mut reference = Reference::default();
    for n in 0..1_000_000 {
        reference.insert(event(n, (n % 10 == 9).then(|| n - 1)));
    }
    let start = std::time::Instant::now();
    let digests = reference.digests();
    println!("{:?} {:?}", start.elapsed(), digests[&View::Postings]);
}
