//! Stores that lose requests and replies, fail, fill up or die at any call: what is committed stays
//! exact, and a later run goes on behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use trueup::pipeline::RunError;
use trueup_sinks::{Fault, FaultPlan, FaultyStore, MemoryStore, Store};

use crate::judge::{self, Digests, Look};
use crate::records::{self, Records};
use crate::runs::Job;

type Faulty = Arc<FaultyStore<MemoryStore>>;

struct Input {
    _dir: TempDir,
    log: PathBuf,
    expected: Digests,
}

fn input(events: u64, seed: u64) -> Input {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let records = Records::generate(events, seed);
    records::write_lines(&log, &records.lines);
    Input { _dir: dir, log, expected: judge::expected(&records.lines) }
}

fn faulty(plan: FaultPlan) -> Faulty {
    Arc::new(FaultyStore::new(MemoryStore::new(), plan))
}

fn job(store: &Faulty, log: &Path) -> Job {
    Job::new(store.clone()).read("live", log).max_records(100)
}

/// Checks the store with its faults over.
fn judged(store: &Faulty, input: &Input, what: &str) {
    store.set_plan(FaultPlan::none());
    let store: Arc<dyn Store> = store.clone();
    judge::check(&store, &[("live", &input.log)], Look::Last);
    assert_eq!(judge::digests(&store), input.expected, "{what}");
}

#[test]
fn lost_requests_and_replies_do_not_show() {
    let input = input(400, 41);
    for seed in 1..=8 {
        let plan = FaultPlan::seeded(seed, 12, 13);
        // Every other seed has requests that are carried out late, too.
        let plan = if seed % 2 == 0 { plan.with_delays(8) } else { plan };
        let store = faulty(plan);
        match job(&store, &input.log).run() {
            Ok(summary) => assert_eq!(summary.counts.read, 400, "seed {seed}"),
            Err(error) => panic!("seed {seed}: {error}"),
        }
        judged(&store, &input, &format!("seed {seed}"));
    }
}

// spec: "crashes and restarts never change it"
#[test]
fn a_store_that_dies_at_any_call_loses_nothing() {
    let input = input(200, 42);
    let store = faulty(FaultPlan::none());
    job(&store, &input.log).run().unwrap();
    let calls = store.calls();
    assert!(calls > 20, "{calls}");
    for crash in 0..calls {
        let store = faulty(FaultPlan::none().crash_after(crash));
        let died = job(&store, &input.log).run();
        // The last calls of some runs come in another number; a run that ended well is none.
        match died {
            Err(RunError::Failed(text)) => assert!(text.contains("injected"), "{crash}: {text}"),
            Err(other) => panic!("call {crash}: {other}"),
            Ok(_) => assert!(crash + 4 > calls, "call {crash} of {calls} was not needed"),
        }
        store.set_plan(FaultPlan::none());
        let again = job(&store, &input.log).run().unwrap();
        assert_eq!(again.counts.read + again.replayed.read, 200, "call {crash}");
        judged(&store, &input, &format!("call {crash}"));
    }
}

#[test]
fn a_full_disk_is_named_and_survived() {
    let input = input(300, 43);
    for place in (0..30).step_by(3) {
        let script = (0..place).map(|_| None).chain([Some(Fault::DiskFull)]);
        let store = faulty(FaultPlan::scripted(script));
        match job(&store, &input.log).run() {
            Err(RunError::Failed(text)) => {
                assert!(text.contains("the volume is full; free space"), "{place}: {text}");
            }
            Ok(_) => assert!(place > 20, "change {place} was not needed"),
            Err(other) => panic!("change {place}: {other}"),
        }
        job(&store, &input.log).run().unwrap();
        judged(&store, &input, &format!("change {place}"));
    }
}
