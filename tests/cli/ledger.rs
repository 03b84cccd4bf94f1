//! The ledger workload: what anybody computes of it with a few lines of code is what we publish.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use serde_json::Value;

use super::{done, fails};

/// The balances in cents by tenant, account and currency: each transaction's highest revision counts.
fn balances(log: &str) -> BTreeMap<[String; 3], i64> {
    let mut current: HashMap<String, (u64, Value)> = HashMap::new();
    for line in log.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let revision = record["revision"].as_u64().unwrap_or(1);
        let transaction = format!("{} {}", record["tenant"], record["transaction_id"]);
        match current.get(&transaction) {
            Some((newest, _)) if *newest > revision => {}
            _ => drop(current.insert(transaction, (revision, record))),
        }
    }
    let mut sums = BTreeMap::new();
    for (_, record) in current.into_values() {
        for line in record["postings"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let key = [&record["tenant"], &line["account"], &line["currency"]].map(text);
            let cents: i64 = text(&line["amount"]).replace('.', "").parse().unwrap();
            let signed = if line["side"] == "debit" { cents } else { -cents };
            *sums.entry(key).or_default() += signed;
        }
    }
    sums
}

#[test]
fn a_ledger_workload_has_the_balances_that_anybody_computes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (log, late, store) = (path("events.jsonl"), path("late.jsonl"), path("store"));
    let generate = ["generate", "--workload", "ledger", "--tenants", "3", "--accounts", "300"];
    done(&[generate.as_slice(), &["--events", "4000", "--out", &log]].concat());
    let corrections = ["--events", "500", "--corrections-of", "4000", "--out", &late];
    let said = done(&[generate.as_slice(), &corrections].concat()).err;
    assert!(said.contains(": 500 corrections; of these 0 duplicates"), "{said}");
    let records = [&log, &late].map(|file| fs::read_to_string(file).unwrap()).concat();
    fs::write(&log, &records).unwrap();

    done(&["run", "--store", &store, "--input", &log, "--until-caught-up"]);
    let published = done(&["query", "balances", "--store", &store, "--format", "json"]).out;
    let published: Value = serde_json::from_str(&published).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cents = |amount: &str| {
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        format!("{whole}{fraction:0<2}").parse::<i64>().unwrap()
    };
    let published: BTreeMap<[String; 3], i64> = published
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let key = [&row["tenant"], &row["account"], &row["currency"]].map(text);
            (key, cents(&text(&row["balance"])))
        })
        .collect();
    assert_eq!(published, balances(&records));
}

#[test]
fn options_of_one_workload_are_refused_for_the_other() {
    let said = fails(2, &["generate", "--hot-tenant", "--events", "1"]).err;
    assert!(said.contains("are for --workload ledger"), "{said}");
    let said = fails(2, &["generate", "--workload", "ledger", "--periods", "--events", "1"]).err;
    assert!(said.contains("are for --workload hostile"), "{said}");
}
