//! How fast deltas are written and read; run with `--release -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use trueup_ledger::table::Value;
use trueup_ledger::{ColumnType, Epoch, Scale, Table, View};
use trueup_sinks::record::{CommitRecord, GENESIS};
use trueup_sinks::{CommitLog, DeltaWriter, MemoryStore, digest_at, snapshot_at};

fn rows(view: View, count: usize, tenants: usize) -> Table {
    let mut table = Table::new(view);
    let mut text: Vec<String> = vec![String::new(); view.columns().len()];
    for n in 0..count {
        for (place, column) in view.columns().iter().enumerate() {
            text[place] = match column.name {
                "tenant" => format!("tenant-{}", n % tenants),
                "transaction_id" => format!("tx-{:010}", n / 2),
                "event_id" => format!("ev-{:010}", n / 2),
                "account" => format!("assets:cash:{}", n * 7919 % 20_000),
                "currency" => ["EUR", "USD", "GBP"][n % 3].to_owned(),
                "side" => ["debit", "credit"][n % 2].to_owned(),
                _ => "post".to_owned(),
            };
        }
        let number = i64::try_from(n).unwrap();
        let values: Vec<_> = (view.columns().iter().zip(&text))
            .map(|(column, text)| match column.ty {
                ColumnType::Text => Value::Text(text),
                ColumnType::Amount => {
                    Value::Amount(i128::from(number * 7919 % 999_983) * 10_000_000)
                }
                ColumnType::Integer => Value::Integer(number % 2),
                ColumnType::Date => Value::Date(20_000 + i32::try_from(n % 30).unwrap()),
                ColumnType::Instant => Value::Instant(1_767_225_600_000_000 + number * 1000),
            })
            .collect();
        table.push(&values, 1);
    }
    table
}

#[test]
#[ignore = "a measurement"]
fn write_and_read() {
    let count = 500_000;
    for view in [View::TrialBalance, View::DailyMovements, View::Balances, View::Postings] {
        for tenants in [1, 20] {
            let table = rows(view, count, tenants);
            let store = MemoryStore::new();
            let log = CommitLog::open(&store).unwrap();
            let start = Instant::now();
            let totals = trueup_sinks::ViewTotals::of(&table, Scale::DEFAULT).unwrap();
            let summed = start.elapsed();
            let start = Instant::now();
            let scale = Scale::DEFAULT;
            let (files, views) = DeltaWriter::default()
                .write(&store, vec![table], (Epoch(1), 0), 20_000, scale)
                .unwrap();
            let written = start.elapsed();
            assert_eq!(views[&view], totals);
            let mut record = CommitRecord::new(Epoch(1), GENESIS.to_owned(), 0);
            record.views.insert(view.name().to_owned(), totals);
            let bytes = files[0].bytes / count as u64;
            record.files = files;
            log.append(&record).unwrap();
            let start = Instant::now();
            digest_at(&log, view, None).unwrap();
            let digested = start.elapsed();
            let start = Instant::now();
            assert_eq!(snapshot_at(&log, view, None, None).unwrap().len(), count);
            let snapshot = start.elapsed();
            let per = |time: std::time::Duration| time.as_nanos() / count as u128;
            println!(
                "{:16} {tenants:2} tenants: write {} ns/row (totals {}), {bytes} B/row, digest {} \
                 snapshot {}",
                view.name(),
                per(written),
                per(summed),
                per(digested),
                per(snapshot)
            );
        }
    }
}
