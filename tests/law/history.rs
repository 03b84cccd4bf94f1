//! One store has one history: of two writers one is fenced; a log or a store that was changed
//! behind the program's back stops it with a sentence that says where.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use trueup::pipeline::RunError;
use trueup_ledger::Epoch;
use trueup_sinks::record::{commit_path, sha256_hex};
use trueup_sinks::{CommitRecord, DirectoryStore, GENESIS, MemoryStore, Store};

use crate::judge::{self, Look};
use crate::records::{self, Records};
use crate::runs::{Job, memory};

#[test]
fn of_two_writers_one_is_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let records = Records::generate(1_500, 51);
    records::write_lines(&log, &records.lines);
    let expected = judge::expected(&records.lines);
    for round in 0..3 {
        let path = dir.path().join(format!("store-{round}"));
        let barrier = Barrier::new(2);
        let race = |workers: usize| {
            let store = Arc::new(DirectoryStore::open(&path).unwrap());
            barrier.wait();
            Job::new(store).read("live", &log).workers(workers).max_records(100).run()
        };
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| race(1));
            let other = scope.spawn(|| race(2));
            (one.join().unwrap(), other.join().unwrap())
        });
        let (winner, loser) = if one.is_ok() { (one, other) } else { (other, one) };
        let summary = winner.unwrap();
        match loser {
            Err(RunError::Fenced(text)) => assert!(text.contains("another"), "{text}"),
            // It came so late that everything was committed, and found nothing to add.
            Ok(late) => assert_eq!(late.epochs.min(summary.epochs), 0),
            Err(other) => panic!("round {round}: {other}"),
        }
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&path).unwrap());
        judge::check(&store, &[("live", &log)], Look::Last);
        assert_eq!(judge::digests(&store), expected, "round {round}");
    }
}

fn run(store: &Arc<dyn Store>, log: &Path) -> Result<(), RunError> {
    Job::new(Arc::clone(store)).read("live", log).max_records(250).run().map(|_| ())
}

fn failed(outcome: Result<(), RunError>, texts: &[&str]) {
    match outcome {
        Err(RunError::Failed(text) | RunError::Configuration(text)) => {
            assert!(texts.iter().all(|part| text.contains(part)), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_was_changed_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let records = Records::generate(1_000, 52);
    let fresh = || {
        records::write_lines(&log, &records.lines);
        let store: Arc<dyn Store> = memory();
        run(&store, &log).unwrap();
        store
    };
    let store = fresh();
    records::write_lines(&log, &records.lines[..600]);
    failed(run(&store, &log), &["live.jsonl", "wanted position"]);

    let store = fresh();
    let mut bytes = fs::read(&log).unwrap();
    let end = bytes.len() - 100;
    bytes[end] ^= 1;
    fs::write(&log, &bytes).unwrap();
    assert!(run(&store, &log).is_err(), "the end of what was read was changed");

    let store = fresh();
    fs::remove_file(&log).unwrap();
    failed(run(&store, &log), &["live.jsonl"]);

    // A change far back shows in what is derived, and the first epoch that differs is named.
    let store = fresh();
    let mut lines = records.lines.clone();
    let is_alone = |n: &usize| {
        let id = event_id(&records.lines[*n]);
        records.lines.iter().filter(|line| event_id(line) == id).count() == 1
    };
    let place = (300..).filter(is_alone).find(|n| changes_an_amount(&mut lines[*n])).unwrap();
    records::write_lines(&log, &lines);
    let epoch = place / 250 + 1;
    match run(&store, &log) {
        Err(RunError::Difference(text)) => {
            assert!(text.contains(&format!("epoch {epoch},")), "{text}");
            // The row is one of the record's, in one of its two versions.
            let line: serde_json::Value = serde_json::from_slice(&lines[place]).unwrap();
            let row = text.split_once("first in row (").unwrap().1;
            assert!(row.contains(line["tenant"].as_str().unwrap()), "{text}");
            assert!(row.contains("published with diffs [") && row.contains("derived with ["));
        }
        other => panic!("{other:?}"),
    }
}

/// Returns the id of a record; what shares it with another may be a content that does not count.
fn event_id(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let (_, rest) = text.split_once("\"event_id\":\"")?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}

/// Changes the first digit of the first amount of a record that counts, if this is one.
fn changes_an_amount(line: &mut [u8]) -> bool {
    let text = String::from_utf8_lossy(line).into_owned();
    let Some(at) = text.find("\"amount\":\"").map(|at| at + 10) else {
        return false;
    };
    if !text.contains("\"kind\":\"post\"") || !text.is_ascii() || !line[at].is_ascii_digit() {
        return false;
    }
    line[at] = if line[at] == b'7' { b'8' } else { b'7' };
    true
}

#[test]
fn a_missing_partition_and_another_configuration_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let records = Records::generate(600, 53);
    records::write_log(&log, &records.lines, 3);
    let store: Arc<dyn Store> = memory();
    run(&store, &log).unwrap();
    fs::rename(log.join("0001"), dir.path().join("elsewhere")).unwrap();
    failed(run(&store, &log), &["live/0001", "not there"]);
    fs::rename(dir.path().join("elsewhere"), log.join("0001")).unwrap();
    run(&store, &log).unwrap();
    // A partition that is added is read from its beginning.
    fs::create_dir(log.join("0003")).unwrap();
    let more = Records::generate(300, 54);
    records::write_lines(&log.join("0003/new.jsonl"), &more.lines);
    run(&store, &log).unwrap();
    run(&store, &log).unwrap();
    assert_eq!(judge::digests(&store), judge::expected(records.lines.iter().chain(&more.lines)));
}

/// Copies a store, with its commits changed and their chain of hashes made whole again.
fn falsified(store: &Arc<dyn Store>, change: impl Fn(&mut CommitRecord)) -> Arc<dyn Store> {
    let copy = MemoryStore::new();
    let mut previous = GENESIS.to_owned();
    for mut record in judge::commits(store) {
        change(&mut record);
        record.previous = previous;
        let bytes = record.to_bytes().unwrap();
        previous = sha256_hex(&bytes);
        copy.create(&commit_path(record.epoch), &bytes).unwrap();
    }
    for path in store.list("").unwrap() {
        if !path.starts_with("commits/") {
            copy.create(&path, &store.get(&path).unwrap()).unwrap();
        }
    }
    Arc::new(copy)
}

#[test]
fn what_was_published_is_derived_again_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    records::write_lines(&log, &Records::generate(1_000, 55).lines);
    let store: Arc<dyn Store> = memory();
    run(&store, &log).unwrap();
    let difference = |change: fn(&mut CommitRecord), texts: &[&str]| {
        let changed = falsified(&store, |record| {
            if record.epoch == Epoch(3) {
                change(record);
            }
        });
        match run(&changed, &log) {
            Err(RunError::Difference(text)) => {
                assert!(texts.iter().all(|part| text.contains(part)), "{text}");
            }
            other => panic!("{other:?}"),
        }
    };
    run(&falsified(&store, |_| {}), &log).unwrap();
    let counts = |record: &mut CommitRecord| {
        record.inputs[0].counts.applied -= 1;
        record.inputs[0].counts.quarantined += 1;
    };
    difference(counts, &["epoch 3,", "live/0", "trueup verify"]);
    let totals = |record: &mut CommitRecord| {
        record.views.get_mut("balances").unwrap().inserted += 1;
    };
    difference(totals, &["epoch 3,", "balances", "no row differs", "trueup verify"]);
    let view = |record: &mut CommitRecord| {
        record.views.remove("postings").unwrap();
    };
    difference(view, &["epoch 3,", "postings"]);
    judge::check(&store, &[("live", &log)], Look::Last);
}

#[test]
fn a_store_of_another_version_is_told_from_one_that_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    records::write_lines(&log, &Records::generate(600, 56).lines);
    let store: Arc<dyn Store> = memory();
    run(&store, &log).unwrap();
    let without = |views: &[&str]| {
        falsified(&store, |record| {
            record.views.retain(|name, _| !views.contains(&name.as_str()));
            record.files.retain(|file| !views.contains(&file.view.as_str()));
        })
    };
    let difference = |store: &Arc<dyn Store>| match run(store, &log) {
        Err(RunError::Difference(text)) => text,
        other => panic!("{other:?}"),
    };
    let text = difference(&without(&["data_quality"]));
    assert!(text.contains("without the view data_quality; make a new store"), "{text}");
    let text = difference(&without(&["trial_balance", "data_quality"]));
    assert!(text.contains("without the views data_quality, trial_balance; make"), "{text}");
    // Beside a view that the store has, the new one explains nothing.
    let changed = falsified(&without(&["data_quality"]), |record| {
        record.views.get_mut("postings").unwrap().inserted += 1;
    });
    let text = difference(&changed);
    assert!(text.contains("the log or the store was changed"), "{text}");

    let other = falsified(&store, |record| record.configuration_hash = "of old".to_owned());
    failed(run(&other, &log), &["no rule differs", "make another one from the log"]);
}
