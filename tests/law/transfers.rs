//! Money that only moves: while balanced transfers arrive out of order, no epoch ever shows a total
//! but zero, nobody is alerted, and one record that never comes is one alert.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trueup_ledger::{Datum, Epoch, Rules, View};
use trueup_sinks::{CommitLog, Store, read_delta_file, rows_at};

use crate::runs::{Job, memory};

/// The service that sends, and how many accounts the money is on.
const ACCOUNTS: u64 = 500;

/// Writes one transfer.
fn transfer(out: &mut String, number: u64, draw: &mut ChaCha8Rng) {
    let (from, to) = (draw.random_range(0..ACCOUNTS), draw.random_range(0..ACCOUNTS));
    let (whole, cents) = (draw.random_range(0..10_000_u32), draw.random_range(0..100_u32));
    let second = number % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let at = format!("2026-03-01T{hour:02}:{minute:02}:{second:02}Z");
    let line = |account: u64, side: &str| {
        format!(
            r#"{{"account":"wallet:{account}","side":"{side}","amount":"{whole}.{cents:02}","currency":"EUR"}}"#
        )
    };
    writeln!(
        out,
        r#"{{"v":1,"event_id":"e","tenant":"acme","kind":"post","transaction_id":"t{number}","effective_at":"{at}","recorded_at":"{at}","source":{{"service":"wallets","sequence":{number}}},"postings":[{},{}]}}"#,
        line(from, "credit"),
        line(to, "debit"),
    )
    .unwrap();
}

/// Writes the transfers 1 to `count` in random order, without the one that is lost.
fn write_shuffled(path: &Path, count: u64, lost: u64, seed: u64) {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut numbers: Vec<u64> = (1..=count).filter(|number| *number != lost).collect();
    numbers.shuffle(&mut draw);
    let mut out = BufWriter::new(File::create(path).unwrap());
    let mut line = String::new();
    for number in numbers {
        line.clear();
        transfer(&mut line, number, &mut draw);
        out.write_all(line.as_bytes()).unwrap();
    }
    out.flush().unwrap();
}

/// Returns the rows that an epoch changes in a view, with their diffs.
fn changes(log: &CommitLog<Arc<dyn Store>>, epoch: Epoch, view: View) -> Vec<(Vec<Datum>, i8)> {
    let commit = log.read(epoch).unwrap();
    let mut changes = Vec::new();
    let scale = trueup_ledger::Scale::DEFAULT;
    for file in commit.files.iter().filter(|file| file.view == view.name()) {
        for table in read_delta_file(&**log.store(), file, epoch, view, scale).unwrap() {
            changes.extend(
                table.diffs().iter().enumerate().map(|(row, diff)| (table.row(row), *diff)),
            );
        }
    }
    changes
}

/// Follows the commits while they are made: what every epoch shows is in balance.
fn poll(store: &Arc<dyn Store>, done: &AtomicBool) -> Epoch {
    let log = CommitLog::open(Arc::clone(store)).unwrap();
    let mut seen = Epoch(0);
    let mut total = 0_i128;
    loop {
        // Asked before the head is, so that nothing that was committed before is missed.
        let is_last = done.load(Ordering::Acquire);
        let head = log.head().unwrap().map_or(Epoch(0), |(epoch, _)| epoch);
        while seen < head {
            seen = Epoch(seen.0 + 1);
            for (row, diff) in changes(&log, seen, View::Balances) {
                let Datum::Amount(balance) = row[7] else { panic!("{row:?}") };
                total += balance * i128::from(diff);
            }
            assert_eq!(total, 0, "the sum of all balances at epoch {seen}");
            for (row, diff) in changes(&log, seen, View::TrialBalance) {
                assert_eq!(row[4], Datum::Amount(0), "epoch {seen}, diff {diff}");
            }
            assert_eq!(changes(&log, seen, View::Alerts), [], "a false alert in epoch {seen}");
        }
        if is_last {
            return seen;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn texts(row: &[Datum], columns: &[usize]) -> Vec<String> {
    columns.iter().map(|column| row[*column].display(trueup_ledger::Scale::DEFAULT)).collect()
}

/// Runs so many transfers of which one is lost. The grace is longer than they take to arrive.
fn transfers(count: u64, records: u64, grace: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("transfers.jsonl");
    let lost = count / 3;
    write_shuffled(&path, count, lost, 11);
    let store: Arc<dyn Store> = memory();
    let rules = Arc::new(Rules {
        alert_grace: i64::try_from(grace.as_micros()).unwrap(),
        ..Rules::default()
    });
    let job = || {
        let mut job = Job::new(Arc::clone(&store)).read("live", &path).max_records(records);
        job.0.rules = Arc::clone(&rules);
        job
    };
    let done = Arc::new(AtomicBool::new(false));
    let poller = {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        thread::spawn(move || poll(&store, &done))
    };
    let summary = job().run().unwrap();
    done.store(true, Ordering::Release);
    assert_eq!(poller.join().unwrap(), summary.last_epoch);
    assert_eq!(summary.counts.applied, count - 1);
    assert!(summary.elapsed < grace, "{:?}: the grace must be longer", summary.elapsed);
    // Nothing arrives any more. The time goes by, and the hole is the one thing to be told of.
    thread::sleep(grace.saturating_sub(summary.elapsed));
    thread::sleep(Duration::from_millis(20));
    let (following, stop) = job().follow(Duration::from_millis(20));
    let (told, ticks) = std::sync::mpsc::channel();
    let run = thread::spawn(move || {
        following.observed(|progress| {
            if progress.committed {
                told.send(progress.epoch).unwrap();
            }
        })
    });
    ticks.recv_timeout(Duration::from_secs(60)).expect("the clock ticks");
    stop.store(true, Ordering::Release);
    run.join().unwrap().unwrap();
    let log = CommitLog::open(Arc::clone(&store)).unwrap();
    let alerts = rows_at(&log, View::Alerts, None, None).unwrap();
    let alerts: Vec<_> = alerts.0.keys().map(|row| texts(row, &[2, 3, 5, 6])).collect();
    assert_eq!(alerts, [["sequence_gap", "wallets", "1", "warning"]]);
    let imbalances = rows_at(&log, View::Imbalances, None, None).unwrap();
    let imbalances: Vec<_> = imbalances.0.keys().map(|row| texts(row, &[1, 2, 6])).collect();
    let detail = format!(r#"{{"contiguous_through":"{}","max_sequence":"{count}"}}"#, lost - 1);
    assert_eq!(imbalances, [["sequence_gap", "wallets", detail.as_str()]]);
}

#[test]
fn shuffled_transfers_are_zero_in_every_epoch_and_a_hole_is_one_alert() {
    transfers(40_000, 2_000, Duration::from_secs(25));
}

#[test]
#[ignore = "a measurement"]
fn a_million_shuffled_transfers() {
    transfers(1_000_000, 20_000, Duration::from_secs(100));
}
