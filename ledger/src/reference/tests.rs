//! Size and depth; the meaning is in `tests/cases/*.txt`, which `ledger/tests/cases.rs` runs.

use super::*;
use crate::Timestamp;
use crate::event::{Kind, Posting, Side, Source};
use crate::table::Datum;

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
