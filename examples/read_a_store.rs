//! From a log to committed files and back: the pipeline reads a generated log, and a view is summed
//! from the Parquet files that its commits name.

use std::sync::Arc;
use std::time::Duration;

use trueup::generate::{Workload, write_jsonl};
use trueup::pipeline::{self, Options, Source};
use trueup_ledger::table::Rows;
use trueup_ledger::{Datum, Epoch, Scale, View};
use trueup_sinks::{CommitLog, DirectoryStore, read_delta_file, rows_at};
use trueup_sources::{Json, LocalLog};

/// Runs the example.
pub fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let events = dir.path().join("events.jsonl");
    let workload = Workload { events: 1_000, tenants: 3, ..Workload::default() };
    let written = write_jsonl(&workload, std::fs::File::create(&events)?)?;
    let store = Arc::new(DirectoryStore::open(dir.path().join("books"))?);
    let source = Source {
        name: "events".into(),
        transport: Box::new(LocalLog::new(&events)),
        format: Arc::new(Json),
        backfill: false,
    };
    let summary = pipeline::run(
        Options {
            store: store.clone(),
            scale: Scale::DEFAULT,
            rules: Arc::default(),
            workers: 2,
            commit_interval: Duration::from_secs(1),
            commit_max_records: 300,
            sources: vec![source],
            until_caught_up: true,
            cluster: None,
            state: None,
            configuration_hash: String::new(),
            stop: Arc::default(),
        },
        |epoch| println!("epoch {}: {:?}", epoch.epoch, epoch.counts),
    )?;
    assert_eq!(summary.counts.read, 1_000);
    assert_eq!(summary.counts.quarantined, written.poison_records());
    let log = CommitLog::open(store)?;
    let mut sums = Rows::default();
    for commit in log.iter(Epoch(1), summary.last_epoch) {
        let commit = commit?;
        for file in commit.files.iter().filter(|file| file.view == View::TrialBalance.name()) {
            let (view, scale) = (View::TrialBalance, Scale::DEFAULT);
            let tables = read_delta_file(log.store(), file, commit.epoch, view, scale)?;
            tables.iter().for_each(|table| sums.apply(table));
        }
    }
    assert_eq!(sums, rows_at(&log, View::TrialBalance, None, None)?);
    let show = |row: &Vec<Datum>| row.iter().map(|v| v.display(Scale::DEFAULT)).collect::<Vec<_>>();
    sums.0.keys().for_each(|row| println!("{}", show(row).join("  ")));
    Ok(())
}
