//! A cluster on this machine: one log, one store, one configuration file.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, DirectoryStore, Store};
use trueup_testing::process::Running;

use crate::judge::{self, Look};
use crate::program::{started, text, trueup};
use crate::records::{self, Records};

/// Far longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// After a loss every process has to end within five seconds; a busy machine gets some more.
pub const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// What a run did that came to its end.
pub struct Finished {
    /// New records, and those that were read again.
    pub read: u64,
    pub again: u64,
    /// What all processes said.
    pub said: String,
}

pub struct Cluster {
    pub dir: TempDir,
    pub hosts: Vec<String>,
    pub records: Records,
    appended: usize,
    partitions: usize,
}

impl Cluster {
    /// Prepares `processes` processes and a log of `partitions` partitions, with nothing in it.
    pub fn new(processes: usize, partitions: usize, events: u64, seed: u64) -> Cluster {
        let dir = trueup_testing::temp_dir("cluster").unwrap();
        // All at once, so that each is another one.
        let ports: Vec<_> =
            (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let hosts = ports.iter().map(|port| port.local_addr().unwrap().to_string()).collect();
        let records = Records::generate(events, seed);
        let mut cluster = Cluster { dir, hosts, records, appended: 0, partitions };
        cluster.configure("trueup.toml", "books", "");
        cluster.append(0);
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a configuration with more keys of `[cluster]`.
    pub fn configure(&self, file: &str, id: &str, more: &str) {
        let limits = match more.contains("peer_timeout") {
            true => "connect_timeout = \"60s\"",
            false => "peer_timeout = \"30s\"\nconnect_timeout = \"60s\"",
        };
        let config = format!(
            "store = \"store\"\nworkers = 1\ncommit_interval = \"50ms\"\n\
             commit_max_records = 150\n\n\
             [state]\ncheckpoint_interval = \"10ms\"\n\n\
             [cluster]\nid = \"{id}\"\nhosts = {:?}\n{limits}\n{more}\n\n\
             [[source]]\nname = \"input\"\ntype = \"local_log\"\npath = \"log\"\n",
            self.hosts
        );
        fs::write(self.path(file), config).unwrap();
    }

    /// Appends records to the log, dealt out to its partitions.
    pub fn append(&mut self, count: usize) {
        let end = self.records.lines.len().min(self.appended + count);
        for partition in 0..self.partitions {
            let folder = self.path("log").join(format!("{partition:04}"));
            fs::create_dir_all(&folder).unwrap();
            let own = (self.appended..end).filter(|line| line % self.partitions == partition);
            let lines = own.map(|line| &self.records.lines[line]);
            records::append_lines(&folder.join("a.jsonl"), lines);
        }
        self.appended = end;
    }

    pub fn start_with(&self, file: &str, process: usize, more: &[&str]) -> Running {
        let (config, number) = (self.path(file), process.to_string());
        let args = ["run", "-c", text(&config), "--process", &number];
        started(&[&args, more].concat(), self.dir.path(), &format!("process-{process}"))
    }

    pub fn start(&self, process: usize, more: &[&str]) -> Running {
        self.start_with("trueup.toml", process, more)
    }

    pub fn start_all(&self, more: &[&str]) -> Vec<Running> {
        (0..self.hosts.len()).map(|process| self.start(process, more)).collect()
    }

    /// Runs all processes until everything is committed.
    pub fn finish(&self) -> Finished {
        let mut running = self.start_all(&["--until-caught-up", "--json"]);
        let said: Vec<_> = running.iter_mut().map(|process| expect(process, 0, PATIENCE)).collect();
        let summary = running[0].stdout().unwrap();
        // The file has the summaries of all runs.
        let summaries = serde_json::Deserializer::from_str(&summary).into_iter();
        let summary: serde_json::Value = summaries.last().unwrap().unwrap();
        let read = |field: &str| summary[field]["read"].as_u64().unwrap();
        Finished { read: read("counts"), again: read("replayed"), said: said.concat() }
    }

    pub fn commits(&self) -> usize {
        fs::read_dir(self.store().join("commits")).map_or(0, Iterator::count)
    }

    pub fn await_commits(&self, wanted: usize, running: &[Running]) {
        let deadline = Instant::now() + PATIENCE;
        while self.commits() < wanted {
            let said = || running.iter().map(|process| process.tail(20)).collect::<String>();
            assert!(Instant::now() < deadline, "{} of {wanted}\n{}", self.commits(), said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything that was appended is committed.
    pub fn await_all(&self, running: &[Running]) {
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(self.store()).unwrap());
        let log = CommitLog::open(store).unwrap();
        let read = || {
            let Some((head, _)) = log.head().unwrap() else { return 0 };
            let commits = log.iter(Epoch(1), head).map(Result::unwrap);
            let inputs = commits.flat_map(|commit| commit.inputs);
            inputs.map(|input| input.counts.read).sum::<u64>()
        };
        let deadline = Instant::now() + PATIENCE;
        while read() < self.appended as u64 {
            let said = || running.iter().map(|process| process.tail(20)).collect::<String>();
            assert!(Instant::now() < deadline, "{} of {}\n{}", read(), self.appended, said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks the books: by the reference, by the program, and against a run of one process.
    pub fn judge(&self) {
        let (store, log) = (self.store(), self.path("log"));
        let opened: Arc<dyn Store> = Arc::new(DirectoryStore::open(&store).unwrap());
        let counts = judge::check(&opened, &[("input", &log)], Look::Last);
        assert_eq!(counts.read, self.appended as u64);
        assert_eq!(judge::digests(&opened), judge::expected(&self.records.lines[..self.appended]));
        let place = ["--store", text(&store), "--input", text(&log)];
        trueup(0, &[&["verify"], place.as_slice()].concat());
        let alone = self.path("alone");
        let place = ["--store", text(&alone), "--input", text(&log)];
        trueup(0, &[&["run"], place.as_slice(), &["--until-caught-up"]].concat());
        let digest = |store| trueup(0, &["digest", "--store", text(store)]).out;
        assert_eq!(digest(&store), digest(&alone));
        fs::remove_dir_all(alone).unwrap();
    }
}

/// Waits for a program to end with a code, and returns what it said.
pub fn expect(running: &mut Running, code: i32, patience: Duration) -> String {
    let status = running.wait(patience).unwrap();
    let said = running.stderr().unwrap();
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Sends a signal to a program.
pub fn send(running: &Running, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}
