//! A log that grows, the store that the program makes of it, and their judge.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trueup_ledger::Counts;
use trueup_sinks::{DirectoryStore, Store};

use crate::judge::{self, Look};
use crate::program::{text, trueup};
use crate::records::{self, Records};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A log that grows, and the store that is made from it.
pub struct Books {
    pub dir: TempDir,
    pub log: PathBuf,
    pub store: PathBuf,
    pub records: Records,
    pub appended: usize,
}

impl Books {
    pub fn new(events: u64, seed: u64) -> Books {
        let dir = trueup_testing::temp_dir("crash").unwrap();
        let path = |name: &str| dir.path().join(name);
        let (log, store) = (path("live.jsonl"), path("store"));
        let records = Records::generate(events, seed);
        Books { dir, log, store, records, appended: 0 }
    }

    pub fn append(&mut self, count: usize) {
        let end = self.records.lines.len().min(self.appended + count);
        records::append_lines(&self.log, &self.records.lines[self.appended..end]);
        self.appended = end;
    }

    pub fn commits(&self) -> usize {
        fs::read_dir(self.store.join("commits")).map_or(0, Iterator::count)
    }

    pub fn await_commits(&self, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.commits() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} commits", self.commits());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn run<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let args = ["run", "--store", text(&self.store), "--input", text(&self.log)];
        [args.as_slice(), more].concat()
    }

    /// Runs until everything is committed, and returns what was read anew and what again.
    pub fn finish(&self) -> (u64, u64) {
        self.finish_with(&[])
    }

    /// Does the same with more flags.
    pub fn finish_with(&self, flags: &[&str]) -> (u64, u64) {
        let more = ["--until-caught-up", "--commit-max-records", "100", "--json"];
        let args = self.run(&[more.as_slice(), flags].concat());
        let summary: serde_json::Value = serde_json::from_str(&trueup(0, &args).out).unwrap();
        let read = |field: &str| summary[field]["read"].as_u64().unwrap();
        (read("counts"), read("replayed"))
    }

    /// Checks everything that can be checked, by the reference and by the program itself.
    pub fn judge(&self) -> Counts {
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&self.store).unwrap());
        let counts = judge::check(&store, &[("input", &self.log)], Look::Last);
        let lines = &self.records.lines[..self.appended];
        assert_eq!(judge::digests(&store), judge::expected(lines));
        trueup(0, &["verify", "--store", text(&self.store), "--input", text(&self.log)]);
        counts
    }

    /// Returns what `trueup digest` says of an uninterrupted run over the same log.
    pub fn uninterrupted(&self) -> String {
        let store = self.dir.path().join("uninterrupted");
        let args = ["run", "--store", text(&store), "--input", text(&self.log)];
        trueup(0, &[args.as_slice(), &["--until-caught-up"]].concat());
        trueup(0, &["digest", "--store", text(&store)]).out
    }
}
