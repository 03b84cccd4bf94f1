//! A correction arrives seven years late: exactly the rows that it makes false are taken back, and
//! the true ones take their place, in one commit over all views.

use std::{sync::Arc, time::Duration};

use trueup::pipeline::{self, Options, Source};
use trueup_ledger::{Epoch, Scale, View};
use trueup_sinks::{CommitLog, MemoryStore, read_delta_file};
use trueup_sources::{Json, LocalLog};

fn record(id: &str, kind: &str, recorded: &str, amount: &str) -> String {
    let sum = format!(r#""amount":"{amount}","currency":"EUR""#);
    let rent = format!(r#"{{"account":"rent","side":"debit",{sum}}}"#);
    let bank = format!(r#"{{"account":"bank","side":"credit",{sum}}}"#);
    let dates = format!(r#""effective_at":"2019-01-02T00:00:00Z","recorded_at":"{recorded}""#);
    let whose = r#""tenant":"acme","source":{"service":"erp"},"transaction_id":"t1""#;
    format!(r#"{{"v":1,"event_id":"{id}",{kind},{dates},{whose},"postings":[{rent},{bank}]}}"#)
}

/// Runs the example.
pub fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (log, store) = (dir.path().join("events.jsonl"), Arc::new(MemoryStore::new()));
    let posted = record("e1", r#""kind":"post""#, "2019-01-02T00:00:00Z", "10.00");
    let late = record("e2", r#""kind":"correct","revision":2"#, "2026-01-05T00:00:00Z", "12.50");
    std::fs::write(&log, format!("{posted}\n{late}\n"))?;
    let (transport, format) = (Box::new(LocalLog::new(&log)), Arc::new(Json));
    let source = Source { name: "events".into(), transport, format, backfill: false };
    let options = Options {
        store: store.clone(),
        scale: Scale::DEFAULT,
        rules: Arc::default(),
        workers: 1,
        commit_interval: Duration::from_secs(1),
        commit_max_records: 1,
        sources: vec![source],
        until_caught_up: true,
        cluster: None,
        state: None,
        configuration_hash: String::new(),
        stop: Arc::default(),
    };
    pipeline::run(options, |_| {})?;
    let (log, view) = (CommitLog::open(store)?, View::DailyMovements);
    let mut changes = Vec::new();
    for file in log.read(Epoch(2))?.files.iter().filter(|file| file.view == view.name()) {
        for table in read_delta_file(log.store(), file, Epoch(2), view, Scale::DEFAULT)? {
            for (row, diff) in table.diffs().iter().enumerate() {
                let show = |column: usize| table.row(row)[column].display(Scale::DEFAULT);
                changes.push(format!("{diff:+} {} {} {}", show(3), show(1), show(6)));
            }
        }
    }
    changes.sort();
    let stand = ["bank -12.5", "rent 12.5"].map(|row| format!("+1 2019-01-02 {row}"));
    let gone = ["bank -10", "rent 10"].map(|row| format!("-1 2019-01-02 {row}"));
    assert_eq!(changes, [stand, gone].concat());
    println!("{changes:#?}");
    Ok(())
}
