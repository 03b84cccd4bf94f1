//! The epoch clock on an idle log: what falls due is shown without any new event, once, and the
//! same when it is derived again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use trueup_ledger::table::Rows;
use trueup_ledger::{Epoch, Row, Scale, Timestamp, View};
use trueup_sinks::{CommitLog, CommitRecord, Store, rows_at};

use crate::judge;
use crate::runs::{Job, memory};

const PATIENCE: Duration = Duration::from_secs(30);

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// Returns a hold of 10 EUR that ends at an instant.
fn hold(transaction: &str, expires: i64) -> String {
    let expires = Timestamp::display_micros(expires);
    format!(
        r#"{{"v":1,"event_id":"e","tenant":"acme","kind":"hold","transaction_id":"{transaction}","effective_at":"2026-03-01T09:00:00Z","recorded_at":"2026-03-01T09:00:00Z","expires_at":"{expires}","source":{{"service":"cards"}},"postings":[{{"account":"cash","side":"debit","amount":"10","currency":"EUR"}},{{"account":"cards","side":"credit","amount":"10","currency":"EUR"}}]}}"#
    ) + "\n"
}

/// Returns the subjects of the holds that are shown as stuck.
fn stuck(store: &Arc<dyn Store>) -> Vec<String> {
    let log = CommitLog::open(Arc::clone(store)).unwrap();
    let rows: Rows = rows_at(&log, View::Imbalances, None, None).unwrap();
    let text = |row: &Row, column: usize| row[column].display(Scale::DEFAULT);
    let stuck = rows.0.keys().filter(|row| text(row, 1) == "stuck_hold");
    stuck.map(|row| text(row, 2)).collect()
}

/// Checks that a commit has no records, and follows the one before in place and time.
fn assert_tick(before: &CommitRecord, tick: &CommitRecord) {
    assert_eq!(tick.counts().read, 0);
    assert_eq!(tick.inputs.len(), before.inputs.len());
    for (input, before) in tick.inputs.iter().zip(&before.inputs) {
        assert_eq!((&input.from, &input.to), (&before.to, &before.to));
    }
    assert!(tick.epoch_time_micros > before.epoch_time_micros);
}

/// Derives everything again from the beginning; what was published is compared on the way.
fn again(store: &Arc<dyn Store>, log: &Path) {
    let summary = Job::new(Arc::clone(store)).read("live", log).run().unwrap();
    assert_eq!(summary.epochs, 0, "nothing is published anew");
}

#[test]
fn a_hold_that_expires_on_an_idle_log_makes_one_tick() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let store: Arc<dyn Store> = memory();
    let expires = now_micros() + 2_000_000;
    fs::write(&log, hold("t1", expires) + &hold("t2", expires)).unwrap();
    let (job, stop) =
        Job::new(Arc::clone(&store)).read("live", &log).follow(Duration::from_millis(20));
    let run = thread::spawn(move || job.run().unwrap());
    let begun = Instant::now();
    while stuck(&store).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "it is shown within seconds");
        thread::sleep(Duration::from_millis(20));
    }
    // Two holds that end at one instant are shown by one tick, and no other follows.
    thread::sleep(Duration::from_millis(1_200));
    stop.store(true, Ordering::Release);
    assert_eq!(run.join().unwrap().epochs, 2);
    assert_eq!(stuck(&store), ["t1", "t2"]);
    let commits = judge::commits(&store);
    assert_tick(&commits[0], &commits[1]);
    assert!(commits[0].epoch_time_micros <= expires && expires < commits[1].epoch_time_micros);
    again(&store, &log);
    assert_eq!(judge::commits(&store), commits);
}

#[test]
fn ticks_are_no_more_frequent_than_other_epochs() {
    const INTERVAL: Duration = Duration::from_millis(1_000);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let store: Arc<dyn Store> = memory();
    // One hold ends every 40 ms for three seconds.
    let ends = now_micros() + 1_500_000;
    let holds = (0..75).map(|hold_of| hold(&format!("t{hold_of:02}"), ends + hold_of * 40_000));
    fs::write(&log, holds.collect::<String>()).unwrap();
    let (job, stop) = Job::new(Arc::clone(&store)).read("live", &log).follow(INTERVAL);
    let run = thread::spawn(move || job.run().unwrap());
    let begun = Instant::now();
    while stuck(&store).len() < 75 {
        assert!(begun.elapsed() < PATIENCE, "all are shown in time");
        thread::sleep(Duration::from_millis(20));
    }
    stop.store(true, Ordering::Release);
    run.join().unwrap();
    let times: Vec<_> =
        judge::commits(&store).iter().map(|commit| commit.epoch_time_micros).collect();
    // The first has the records. An epoch is timed by the conductor just before it is closed.
    assert!((3..=6).contains(&times.len()), "{times:?}");
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > 800_000, "{times:?}");
    }
    again(&store, &log);
}

#[test]
fn what_is_due_is_shown_before_a_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let store: Arc<dyn Store> = memory();
    let run = || Job::new(Arc::clone(&store)).read("live", &log).run().unwrap().epochs;
    let expires = now_micros() + 1_500_000;
    fs::write(&log, hold("t1", expires)).unwrap();
    assert_eq!(run(), 1);
    assert!(stuck(&store).is_empty(), "the run ends without waiting for what is not due");
    thread::sleep(Duration::from_micros(u64::try_from(expires + 1 - now_micros()).unwrap_or(0)));
    // Nothing has arrived, and the first run is long over.
    assert_eq!(run(), 1);
    assert_eq!(stuck(&store), ["t1"]);
    let commits = judge::commits(&store);
    assert_tick(&commits[0], &commits[1]);
    assert_eq!(run(), 0);
    // What is due when it arrives needs no tick.
    fs::write(&log, hold("t1", expires) + &hold("t2", expires)).unwrap();
    assert_eq!(run(), 1);
    assert_eq!(stuck(&store), ["t1", "t2"]);
    again(&store, &log);
}

#[test]
fn the_epoch_time_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let store: Arc<dyn Store> = memory();
    fs::write(&log, hold("t1", i64::from(i32::MAX) * 1_000_000)).unwrap();
    again_from_the_future(&store, &log);
    fs::write(&log, hold("t1", i64::from(i32::MAX) * 1_000_000) + &hold("t2", now_micros()))
        .unwrap();
    Job::new(Arc::clone(&store)).read("live", &log).run().unwrap();
    let commits = judge::commits(&store);
    assert_eq!(commits.len(), 2);
    assert_eq!(commits[1].epoch_time_micros, commits[0].epoch_time_micros);
    again(&store, &log);
}

/// Publishes the first epoch as a machine whose clock is ten years ahead would have.
fn again_from_the_future(store: &Arc<dyn Store>, log: &Path) {
    let other = memory();
    Job::new(Arc::clone(&other) as Arc<dyn Store>).read("live", log).run().unwrap();
    let others: Arc<dyn Store> = other;
    let record = judge::commits(&others).remove(0);
    for file in &record.files {
        store.put(&file.path, &others.get(&file.path).unwrap()).unwrap();
    }
    let time = record.epoch_time_micros + 3650 * 86_400_000_000;
    let moved = CommitRecord {
        epoch_time_micros: time,
        epoch_time: Timestamp::display_micros(time),
        ..record
    };
    let commits = CommitLog::open(Arc::clone(store)).unwrap();
    assert_eq!(commits.append(&moved).unwrap().epoch, Epoch(1));
}
