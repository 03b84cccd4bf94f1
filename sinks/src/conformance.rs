//! The suites that every [`Store`], and the commit log on it, must pass.
//!
//! They panic where a promise is broken, as tests do. Outcomes that a store does not know are
//! resolved as the rest of this crate does, so stores with injected faults pass too.

use std::sync::Arc;
use std::thread;

use trueup_ledger::{Counts, Epoch, Position};

use crate::commit::{Appended, CommitError, CommitLog};
use crate::record::{CommitRecord, GENESIS, InputRange, commit_path};
use crate::store::{Creation, Retry, Store, StoreError, create_exact};

/// Enough attempts that chance does not use them up.
const PATIENT: Retry = Retry { attempts: 1000, first_pause: std::time::Duration::ZERO };

/// Runs a call until its outcome is known, and takes it to be good.
fn must<T>(call: impl FnMut() -> Result<T, StoreError>) -> T {
    match PATIENT.ask(call) {
        Ok(value) => value,
        Err(error) => unreachable!("the store broke its contract: {error}"),
    }
}

fn create(store: &dyn Store, path: &str, bytes: &[u8]) -> Creation {
    must(|| create_exact(store, path, bytes, PATIENT))
}

/// Checks the contract of [`Store`] on an empty store.
pub fn store(store: &Arc<dyn Store>) {
    files_are_written_and_read(&**store);
    odd_paths_are_refused(&**store);
    one_creator_wins(store);
}

fn files_are_written_and_read(store: &dyn Store) {
    let large = vec![7_u8; 1 << 20];
    assert_eq!(create(store, "a/b/1", b"one"), Creation::Ours);
    assert_eq!(create(store, "a/b/1", b"one"), Creation::Ours);
    assert_eq!(create(store, "a/b/1", b"two"), Creation::Taken(b"one".to_vec()));
    assert_eq!(create(store, "a/b/10", &large), Creation::Ours);
    assert_eq!(create(store, "a/b/2", b""), Creation::Ours);
    must(|| store.put("a/c", b"first"));
    must(|| store.put("a/c", b"second"));
    assert_eq!(must(|| store.get("a/c")), b"second");
    assert_eq!(must(|| store.confirm("a/b/10")), large);
    assert!(must(|| store.get("a/b/2")).is_empty());
    assert_eq!(must(|| store.list("")), ["a/b/1", "a/b/10", "a/b/2", "a/c"]);
    assert_eq!(must(|| store.list("a/b/1")), ["a/b/1", "a/b/10"]);
    assert!(must(|| store.list("nowhere/at/all")).is_empty());
    for missing in ["a", "a/b", "a/b/3", "a/b/1/x", "z"] {
        assert!(!must(|| store.exists(missing)), "{missing}");
        let got = PATIENT.ask(|| store.get(missing));
        assert!(matches!(got, Err(StoreError::NotFound { .. })), "{missing}: {got:?}");
    }
    for path in ["a/b/1", "a/b/10", "a/b/2", "a/c", "a/c"] {
        must(|| store.delete(path));
        assert!(!must(|| store.exists(path)), "{path}");
    }
    assert!(must(|| store.list("")).is_empty());
}

fn odd_paths_are_refused(store: &dyn Store) {
    for path in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\0b", "a/.tmp-1", ".tmp-x/a"] {
        let created = PATIENT.ask(|| store.create(path, b""));
        assert!(matches!(created, Err(StoreError::Failed { .. })), "{path:?}: {created:?}");
    }
}

fn one_creator_wins(store: &Arc<dyn Store>) {
    for round in 0..20 {
        let path = format!("race/{round}");
        let writers: Vec<_> = (0..3_u8)
            .map(|writer| {
                let (store, path) = (Arc::clone(store), path.clone());
                thread::spawn(move || create(&*store, &path, &[writer; 1000]))
            })
            .collect();
        let outcomes: Vec<_> = writers.into_iter().flat_map(thread::JoinHandle::join).collect();
        let winners = outcomes.iter().filter(|outcome| **outcome == Creation::Ours).count();
        assert_eq!((outcomes.len(), winners), (3, 1), "round {round}");
        let bytes = must(|| store.get(&path));
        for outcome in outcomes {
            assert!(outcome == Creation::Ours || outcome == Creation::Taken(bytes.clone()));
        }
        must(|| store.delete(&path));
    }
}

/// Returns a record that differs from those of other writers.
#[must_use]
pub fn sample_record(epoch: Epoch, previous: String, writer: u64) -> CommitRecord {
    let mut record = CommitRecord::new(epoch, previous, 1_767_225_600_000_000);
    record.generation = writer;
    let at = |offset| Position { segment: "events.jsonl".into(), offset };
    record.inputs.push(InputRange {
        source: "live".to_owned(),
        partition: "0".to_owned(),
        from: at(epoch.0 * 100),
        to: at(epoch.0 * 100 + 100),
        counts: Counts { read: 3, applied: 1, duplicate: 1, quarantined: 1 },
        fingerprint: Some("f".to_owned()),
        caught_up: false,
    });
    record
}

/// Appends until the outcome is known.
fn append(log: &CommitLog<Arc<dyn Store>>, record: &CommitRecord) -> Result<Appended, CommitError> {
    loop {
        match log.append(record) {
            Err(CommitError::Unknown { .. }) => {}
            outcome => return outcome,
        }
    }
}

fn open(store: &Arc<dyn Store>) -> CommitLog<Arc<dyn Store>> {
    match CommitLog::open_with(Arc::clone(store), PATIENT) {
        Ok(log) => log,
        Err(error) => unreachable!("the log does not open: {error}"),
    }
}

/// Checks the commit log on an empty store.
pub fn commit_log(store: &Arc<dyn Store>) {
    commits_form_a_chain(store);
    racing_logs_make_one_history(store);
}

fn commits_form_a_chain(store: &Arc<dyn Store>) {
    let log = open(store);
    assert_eq!(log.head().ok(), Some(None));
    let mut previous = GENESIS.to_owned();
    for epoch in (1..=12).map(Epoch) {
        let ahead = sample_record(Epoch(epoch.0 + 1), previous.clone(), 1);
        assert!(matches!(append(&log, &ahead), Err(CommitError::OutOfOrder { .. })));
        let unchained = sample_record(epoch, "0f".repeat(32), 1);
        assert!(matches!(append(&log, &unchained), Err(CommitError::OutOfOrder { .. })));
        let record = sample_record(epoch, previous, 1);
        let first = append(&log, &record).ok();
        assert_eq!(append(&log, &record).ok(), first, "a second append changes nothing");
        assert_eq!(append(&open(store), &record).ok(), first, "nor does one after a restart");
        let rival = sample_record(epoch, record.previous.clone(), 2);
        assert!(matches!(append(&log, &rival), Err(CommitError::Fenced { .. })));
        assert_eq!(log.read(epoch).ok(), Some(record));
        previous = first.map(|appended| appended.hash).unwrap_or_default();
    }
    assert_eq!(log.head().ok(), Some(Some((Epoch(12), previous))));
    let epochs: Vec<_> =
        log.iter(Epoch(3), Epoch(5)).flatten().map(|record| record.epoch.0).collect();
    assert_eq!(epochs, [3, 4, 5]);
    assert!(log.verify_chain().is_ok());
}

/// Two writers, each of which believes it owns the store.
fn racing_logs_make_one_history(store: &Arc<dyn Store>) {
    let before = open(store).head().ok().flatten().map_or(0, |(epoch, _)| epoch.0);
    let writers: Vec<_> = (1..=2_u64)
        .map(|writer| {
            let store = Arc::clone(store);
            thread::spawn(move || {
                let log = open(&store);
                let mut written = Vec::new();
                loop {
                    let (head, hash) = log.head().ok().flatten().unwrap_or_default();
                    if head.0 >= before + 20 {
                        return written;
                    }
                    match append(&log, &sample_record(Epoch(head.0 + 1), hash, writer)) {
                        Ok(appended) => written.push((writer, appended.epoch)),
                        Err(CommitError::Fenced { .. }) => {}
                        Err(error) => unreachable!("neither committed nor fenced: {error}"),
                    }
                }
            })
        })
        .collect();
    let mut written: Vec<_> =
        writers.into_iter().flat_map(thread::JoinHandle::join).flatten().collect();
    written.sort_unstable_by_key(|(_, epoch)| *epoch);
    let log = open(store);
    assert!(log.verify_chain().is_ok());
    let (head, _) = log.head().ok().flatten().unwrap_or_default();
    let epochs: Vec<_> = written.iter().map(|(_, epoch)| epoch.0).collect();
    let expected: Vec<_> = (before + 1..=head.0).collect();
    assert_eq!(epochs, expected, "each epoch has exactly one writer that was told so");
    for (writer, epoch) in written {
        assert_eq!(log.read(epoch).ok().map(|record| record.generation), Some(writer));
    }
    assert!(!must(|| store.exists(&commit_path(Epoch(head.0 + 1)))));
}
