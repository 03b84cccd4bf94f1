//! Every store passes one suite, with and without faults.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use trueup_ledger::Epoch;
use trueup_sinks::commit::{ChainBreak, CommitError, CommitLog, Incompatible, LogError};
use trueup_sinks::conformance::{self, sample_record};
use trueup_sinks::record::{GENESIS, commit_path};
use trueup_sinks::{
    DirectoryStore, Fault, FaultPlan, FaultyStore, MemoryStore, Retry, Store, StoreError,
};

fn both(make: impl Fn() -> Arc<dyn Store>) {
    conformance::store(&make());
    conformance::commit_log(&make());
}

#[test]
fn directory() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name| DirectoryStore::open(dir.path().join(name)).unwrap();
    conformance::store(&(Arc::new(open("new/store")) as Arc<dyn Store>));
    conformance::commit_log(&(Arc::new(open("log")) as Arc<dyn Store>));
    let left: Vec<_> = fs::read_dir(dir.path().join("log")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the folder of commits, nothing unfinished");
}

#[test]
fn memory() {
    both(|| Arc::new(MemoryStore::new()));
}

#[test]
fn faults() {
    for seed in 0..60 {
        let plan = FaultPlan::seeded(seed, 25, 25);
        both(|| Arc::new(FaultyStore::new(MemoryStore::new(), plan.clone())));
    }
}

/// A late create is as exact; a late delete or put is not, since a second one cannot overtake it,
/// which is why nothing that a commit names is ever put or deleted.
#[test]
fn late_requests() {
    for seed in 0..60 {
        let plan = FaultPlan::seeded(seed, 10, 10).with_delays(30);
        let faulty = FaultyStore::new(MemoryStore::new(), plan);
        conformance::commit_log(&(Arc::new(faulty) as Arc<dyn Store>));
    }
}

#[test]
fn unfinished_files_are_not_seen_and_go_on_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(dir.path()).unwrap();
    store.create("commits/a", b"whole").unwrap();
    fs::write(dir.path().join(".tmp-77-0"), b"tor").unwrap();
    assert_eq!(store.list("").unwrap(), ["commits/a"]);
    let reader = DirectoryStore::open_existing(dir.path()).unwrap();
    assert_eq!(reader.list("").unwrap(), ["commits/a"]);
    assert!(dir.path().join(".tmp-77-0").exists(), "a reader removes nothing");
    // One that a living writer holds stays.
    fs::write(dir.path().join(".tmp-78-0"), b"grow").unwrap();
    let held = fs::File::open(dir.path().join(".tmp-78-0")).unwrap();
    held.lock().unwrap();
    DirectoryStore::open(dir.path()).unwrap();
    assert!(!dir.path().join(".tmp-77-0").exists());
    assert!(dir.path().join(".tmp-78-0").exists());
    assert!(DirectoryStore::open_existing(dir.path().join("no")).is_err());
}

/// A cluster's processes and every `trueup` command open one store while its writers write.
#[test]
fn opening_never_takes_a_file_that_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let written = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !written.load(Ordering::Relaxed) {
                DirectoryStore::open(dir.path()).unwrap();
            }
        });
        let create = |n| store.create(&format!("deltas/{n}"), b"whole");
        let all: Result<Vec<()>, StoreError> = (0..2_000).map(create).collect();
        written.store(true, Ordering::Relaxed);
        all.unwrap();
    });
    assert_eq!(store.list("deltas/").unwrap().len(), 2_000);
}

#[test]
fn a_definite_failure_commits_nothing_and_can_be_repeated() {
    let cases = [
        (vec![Some(Fault::DiskFull)], "free space"),
        (vec![Some(Fault::Failure)], "see the cause"),
    ];
    for (script, advice) in cases {
        let store = FaultyStore::new(MemoryStore::new(), FaultPlan::scripted(script));
        let log = CommitLog::open(&store).unwrap();
        let record = sample_record(Epoch(1), GENESIS.to_owned(), 1);
        let Err(CommitError::Failed { source, .. }) = log.append(&record) else { panic!() };
        assert!(source.to_string().contains(advice), "{source}");
        assert!(source.to_string().contains(&commit_path(Epoch(1))), "{source}");
        assert_eq!(log.head().unwrap(), None);
        log.append(&record).unwrap();
        assert_eq!(log.head().unwrap().unwrap().0, Epoch(1));
    }
}

#[test]
fn an_early_doubt_outlives_a_later_failure() {
    let script = [Some(Fault::LostRequest), Some(Fault::DiskFull)];
    let store = FaultyStore::new(MemoryStore::new(), FaultPlan::scripted(script));
    let log = CommitLog::open_with(&store, Retry::immediate(5)).unwrap();
    let record = sample_record(Epoch(1), GENESIS.to_owned(), 1);
    assert!(matches!(log.append(&record), Err(CommitError::Unknown { .. })));
    assert!(log.append(&record).is_ok());
}

#[test]
fn every_crash_point_leaves_a_whole_log() {
    for crash in 0..40 {
        let store = FaultyStore::new(MemoryStore::new(), FaultPlan::none().crash_after(crash));
        let mut told = 0;
        if let Ok(log) = CommitLog::open_with(&store, Retry::immediate(2)) {
            let mut previous = GENESIS.to_owned();
            for epoch in (1..=10).map(Epoch) {
                match log.append(&sample_record(epoch, previous, 1)) {
                    Ok(appended) => previous = appended.hash,
                    Err(_) => break,
                }
                told = epoch.0;
            }
        }
        let log = CommitLog::open(store.inner()).unwrap();
        log.verify_chain().unwrap();
        let head = log.head().unwrap().map_or(0, |(epoch, _)| epoch.0);
        assert_eq!(head, told);
    }
}

fn three_commits(dir: &std::path::Path) -> CommitLog<DirectoryStore> {
    let log = CommitLog::open(DirectoryStore::open(dir).unwrap()).unwrap();
    let mut previous = GENESIS.to_owned();
    for epoch in (1..=3).map(Epoch) {
        let mut record = sample_record(epoch, previous, 1);
        record.configuration_hash = "c1".to_owned();
        previous = log.append(&record).unwrap().hash;
    }
    log
}

#[test]
fn tampering_is_named() {
    type Edit = fn(&str) -> String;
    let rows: &[(u64, Edit, u64, &str)] = &[
        (2, |text| text.replace("\"generation\":1", "\"generation\":9"), 2, "was edited"),
        (1, |text| text.replace("\"applied\":1", "\"applied\":2"), 1, "do not account"),
        (2, |_| "{".to_owned(), 2, "no commit record"),
        (3, |text| text.replace("\"epoch\":3", "\"epoch\":4"), 3, "says it is commit 4"),
        (2, |text| text.replace("\"previous\":\"", "\"previous\":\"f"), 2, "was edited"),
        (3, |text| text.replace("version\":1", "version\":2"), 3, "format 2"),
    ];
    for (epoch, edit, expected, what) in rows {
        let dir = tempfile::tempdir().unwrap();
        let log = three_commits(dir.path());
        let path = dir.path().join(commit_path(Epoch(*epoch)));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, edit(&text)).unwrap();
        let Err(LogError::Broken(found)) = log.verify_chain() else { panic!("{what}") };
        assert_eq!(found.epoch, Epoch(*expected), "{found}");
        assert!(found.what.contains(what), "{found}");
    }
    let dir = tempfile::tempdir().unwrap();
    three_commits(dir.path());
    fs::remove_file(dir.path().join(commit_path(Epoch(2)))).unwrap();
    let again = CommitLog::open(DirectoryStore::open(dir.path()).unwrap());
    let Err(LogError::Broken(ChainBreak { epoch, .. })) = again else { panic!() };
    assert_eq!(epoch, Epoch(2));
}

#[test]
fn another_configuration_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let log = three_commits(dir.path());
    let scale = trueup_ledger::Scale::new;
    assert!(log.check_compatible(scale(9).unwrap(), "c1").is_ok());
    let other = log.check_compatible(scale(2).unwrap(), "c1");
    assert!(matches!(other, Err(Incompatible::AmountScale { found: 9, wanted: 2 })));
    let other = log.check_compatible(scale(9).unwrap(), "c2");
    assert!(matches!(other, Err(Incompatible::Configuration { .. })));
    let path = dir.path().join(commit_path(Epoch(3)));
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("version\":1", "version\":7")).unwrap();
    let newer = log.check_compatible(scale(9).unwrap(), "c1");
    assert!(matches!(newer, Err(Incompatible::FormatVersion { found: 7, .. })));
}

#[test]
fn a_store_that_cannot_be_written_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let store = DirectoryStore::open(dir.path()).unwrap();
    let error = store.create("file/below", b"").unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    assert!(DirectoryStore::open(dir.path().join("file")).is_err());
}
