//! What the ledger workload promises beyond that, to programs that know nothing of it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::{LedgerWorkload, Skew};
use super::{Workload, WorkloadKind, admit, each, generate};

fn ledger(events: u64, shape: LedgerWorkload) -> Workload {
    Workload { events, seed: 7, kind: WorkloadKind::Ledger(shape), ..Workload::default() }
}

fn records(workload: &Workload) -> Vec<Value> {
    let mut records = Vec::new();
    each(workload, |_, line, _| records.push(serde_json::from_slice(line).unwrap()));
    records
}

fn transaction(record: &Value) -> (String, String) {
    let text = |field: &str| record[field].as_str().unwrap().to_owned();
    (text("tenant"), text("transaction_id"))
}

fn accounts(record: &Value) -> impl Iterator<Item = &str> {
    record["postings"].as_array().unwrap().iter().map(|line| line["account"].as_str().unwrap())
}

#[test]
fn a_seed_decides_every_byte() {
    let first = generate(&ledger(3_000, LedgerWorkload::default())).0;
    assert_eq!(first, generate(&ledger(3_000, LedgerWorkload::default())).0);
    // More of it begins with the same.
    assert!(generate(&ledger(4_000, LedgerWorkload::default())).0.starts_with(&first));
    let other = Workload { seed: 8, ..ledger(3_000, LedgerWorkload::default()) };
    assert_ne!(first, generate(&other).0);
}

#[test]
fn each_revision_comes_once_in_order_and_carries_postings_that_balance() {
    let mut revisions = HashMap::new();
    let mut kinds: HashMap<String, u64> = HashMap::new();
    for record in records(&ledger(40_000, LedgerWorkload::default())) {
        admit(&record).unwrap();
        let kind = record["kind"].as_str().unwrap();
        *kinds.entry(kind.to_owned()).or_default() += 1;
        assert!(record["leg"].is_null(), "{record}");
        let revision = record["revision"].as_u64().unwrap_or(1);
        assert_eq!(revision == 1, kind != "correct", "{record}");
        let before = revisions.insert(transaction(&record), revision);
        assert_eq!(before.unwrap_or(0) + 1, revision, "{record}");
        if let Some(target) = record.get("reverses").or(record.get("refunds")) {
            let target = (transaction(&record).0, target.as_str().unwrap().to_owned());
            assert!(revisions.contains_key(&target), "{record}");
        }
        let mut sums: HashMap<&str, i64> = HashMap::new();
        let lines = record["postings"].as_array().unwrap();
        assert!((2..=4).contains(&lines.len()));
        for line in lines {
            let (whole, cents) = line["amount"].as_str().unwrap().split_once('.').unwrap();
            assert_eq!(cents.len(), 2);
            let cents: i64 = format!("{whole}{cents}").parse().unwrap();
            let signed = if line["side"] == "debit" { cents } else { -cents };
            *sums.entry(line["currency"].as_str().unwrap()).or_default() += signed;
        }
        assert!(sums.values().all(|sum| *sum == 0), "{record}");
    }
    let share = |kind: &str| kinds[kind] * 1_000 / 40_000;
    assert_eq!(kinds.len(), 4);
    assert!((955..=975).contains(&share("post")), "{kinds:?}");
    assert!((20..=30).contains(&share("correct")), "{kinds:?}");
    assert!((3..=7).contains(&share("reverse")) && (3..=7).contains(&share("refund")), "{kinds:?}");
}

#[test]
fn records_have_the_size_that_was_asked_for() {
    for record_bytes in [1_024, 4_096] {
        let shape = LedgerWorkload { record_bytes, ..LedgerWorkload::default() };
        each(&ledger(3_000, shape), |_, line, _| assert_eq!(line.len(), record_bytes));
    }
    // One that has no room for metadata has nearly none.
    let shape = LedgerWorkload { record_bytes: 10, ..LedgerWorkload::default() };
    each(&ledger(3_000, shape), |_, line, _| assert!(line.ends_with(b",\"metadata\":{}}")));
    let shape = LedgerWorkload { record_bytes: 0, ..LedgerWorkload::default() };
    let (bytes, _) = generate(&ledger(3_000, shape));
    assert!((3_000_000..3_600_000).contains(&bytes.len()), "{}", bytes.len());
}

#[test]
fn accounts_are_as_many_as_asked_for_and_may_be_hot() {
    let shape = LedgerWorkload { accounts: 5_000, ..LedgerWorkload::default() };
    let even = ledger(60_000, shape.clone());
    let mut all = HashSet::new();
    for record in records(&even) {
        all.extend(accounts(&record).map(|account| format!("{} {account}", record["tenant"])));
    }
    assert!((4_000..=5_000).contains(&all.len()), "{}", all.len());

    let hot = ledger(2_000, LedgerWorkload { skew: Skew::HotAccount, ..shape.clone() });
    for record in records(&hot) {
        assert_eq!(record["tenant"], "tenant-0000");
        assert!(accounts(&record).any(|account| account == "assets:cash:eur"), "{record}");
    }

    let hot = ledger(10_000, LedgerWorkload { skew: Skew::HotTenant, ..shape });
    let of_one = records(&hot).iter().filter(|record| record["tenant"] == "tenant-0000").count();
    assert!((8_900..=9_200).contains(&of_one), "{of_one}");
}

#[test]
fn corrections_are_of_transactions_that_came_before() {
    let mut seen: HashMap<_, u64> = HashMap::new();
    for record in records(&ledger(20_000, LedgerWorkload::default())) {
        let revision = record["revision"].as_u64().unwrap_or(1);
        seen.insert(transaction(&record), revision);
    }
    let shape = LedgerWorkload { corrections_of: Some(20_000), ..LedgerWorkload::default() };
    let mut corrected = HashSet::new();
    for record in records(&ledger(2_000, shape)) {
        let revision = record["revision"].as_u64().unwrap();
        let before = seen.insert(transaction(&record), revision);
        assert!(before.is_some_and(|before| before < revision), "{record}");
        corrected.insert(transaction(&record));
    }
    assert!(corrected.len() > 1_800, "{}", corrected.len());
}
