//! Runs that do not end by themselves: what is appended is committed, a stop is clean, and a slow
//! store slows the source.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use trueup::pipeline::{EPOCHS_IN_FLIGHT, Source, Summary};
use trueup_ledger::{Epoch, Position};
use trueup_sinks::{CommitRecord, MemoryStore, Store, StoreError};
use trueup_sources::{Json, LocalLog, Partition, Polled, SourceError, Transport};

use crate::judge::{self, Look};
use crate::records::{self, Records};
use crate::runs::{Job, memory};

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `wanted` records are committed in all.
fn await_committed(progress: &mpsc::Receiver<u64>, committed: &mut u64, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    while *committed < wanted {
        let left = deadline.saturating_duration_since(Instant::now());
        *committed += progress.recv_timeout(left).expect("it is committed in time");
    }
    assert_eq!(*committed, wanted, "no more is committed than was appended");
}

#[test]
fn what_is_appended_is_committed_and_a_stop_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    let records = Records::generate(2_000, 31);
    let (half, last) = records.lines[1_999].split_at(100);
    records::write_lines(&log, &records.lines[..500]);
    let store: Arc<dyn Store> = memory();
    let (job, stop) =
        Job::new(Arc::clone(&store)).read("live", &log).follow(Duration::from_millis(20));
    let (told, progress) = mpsc::channel();
    let run: thread::JoinHandle<Summary> =
        thread::spawn(move || job.observed(|epoch| told.send(epoch.counts.read).unwrap()).unwrap());
    let mut committed = 0;
    await_committed(&progress, &mut committed, 500);
    for (from, to) in [(500, 501), (501, 1_200), (1_200, 1_999)] {
        records::append_lines(&log, &records.lines[from..to]);
        await_committed(&progress, &mut committed, to as u64);
    }
    // A line without its newline is no record yet.
    let append = |bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    };
    append(half);
    assert!(progress.recv_timeout(Duration::from_millis(200)).is_err());
    append(last);
    append(b"\n");
    await_committed(&progress, &mut committed, 2_000);
    stop.store(true, Ordering::Release);
    let summary = run.join().unwrap();
    assert_eq!(summary.counts.read, 2_000);
    let counts = judge::check(&store, &[("live", &log)], Look::Last);
    assert_eq!(counts, summary.counts);
}

#[test]
fn a_stop_commits_the_open_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    records::write_lines(&log, &Records::generate(700, 32).lines);
    let store: Arc<dyn Store> = memory();
    let reads = Arc::new(AtomicU64::new(0));
    let (job, stop) =
        Job::new(Arc::clone(&store)).max_records(400).follow(Duration::from_secs(3600));
    let job = job.with(counted("live", &log, &reads));
    let run = thread::spawn(move || job.run().unwrap());
    let started = Instant::now();
    while reads.load(Ordering::Acquire) < 700 {
        assert!(started.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    stop.store(true, Ordering::Release);
    let summary = run.join().unwrap();
    // One epoch was full; the other had no other reason to end than the stop.
    assert_eq!((summary.epochs, summary.counts.read), (2, 700));
    judge::check(&store, &[("live", &log)], Look::EveryEpoch);
}

/// A local log that counts the records that were read from it.
struct Counted {
    inner: LocalLog,
    reads: Arc<AtomicU64>,
}

fn counted(name: &str, path: &Path, reads: &Arc<AtomicU64>) -> Source {
    let transport = Counted { inner: LocalLog::new(path), reads: Arc::clone(reads) };
    Source {
        name: name.into(),
        transport: Box::new(transport),
        format: Arc::new(Json),
        backfill: false,
    }
}

impl Transport for Counted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn partitions(&mut self) -> Result<Vec<Box<dyn Partition>>, SourceError> {
        let wrap = |inner| -> Box<dyn Partition> {
            Box::new(CountedPartition { inner, reads: Arc::clone(&self.reads) })
        };
        Ok(self.inner.partitions()?.into_iter().map(wrap).collect())
    }

    fn wait(&mut self, timeout: Duration) {
        self.inner.wait(timeout);
    }
}

struct CountedPartition {
    inner: Box<dyn Partition>,
    reads: Arc<AtomicU64>,
}

impl Partition for CountedPartition {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn resume(&mut self, from: &Position, fingerprint: Option<&str>) -> Result<(), SourceError> {
        self.inner.resume(from, fingerprint)
    }

    fn poll(&mut self, limit: usize, until: Option<&Position>) -> Result<Polled, SourceError> {
        let polled = self.inner.poll(limit, until)?;
        if let Polled::Batch(batch) = &polled {
            self.reads.fetch_add(batch.len() as u64, Ordering::AcqRel);
        }
        Ok(polled)
    }

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn fingerprint(&self) -> Option<String> {
        self.inner.fingerprint()
    }

    fn end(&mut self) -> Result<Position, SourceError> {
        self.inner.end()
    }
}

/// A store that is slow to commit, and notes how many records were read and not yet committed.
struct Slow {
    inner: MemoryStore,
    reads: Arc<AtomicU64>,
    committed: AtomicU64,
    lag_max: AtomicU64,
}

impl Store for Slow {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if path.starts_with("commits/") {
            thread::sleep(Duration::from_millis(60));
            let lag = self.reads.load(Ordering::Acquire) - self.committed.load(Ordering::Acquire);
            self.lag_max.fetch_max(lag, Ordering::AcqRel);
            let record: CommitRecord = serde_json::from_slice(bytes).unwrap();
            self.committed.fetch_add(record.counts().read, Ordering::AcqRel);
        }
        self.inner.create(path, bytes)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.put(path, bytes)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.inner.get(path)
    }

    fn exists(&self, path: &str) -> Result<bool, StoreError> {
        self.inner.exists(path)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix)
    }

    fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.inner.delete(path)
    }
}

#[test]
fn a_slow_store_slows_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("live.jsonl");
    records::write_lines(&log, &Records::generate(2_000, 33).lines);
    let reads = Arc::new(AtomicU64::new(0));
    let slow = Arc::new(Slow {
        inner: MemoryStore::new(),
        reads: Arc::clone(&reads),
        committed: AtomicU64::new(0),
        lag_max: AtomicU64::new(0),
    });
    let job = Job::new(slow.clone()).with(counted("live", &log, &reads)).max_records(100);
    let summary = job.run().unwrap();
    assert_eq!(summary.last_epoch, Epoch(20));
    let lag = slow.lag_max.load(Ordering::Acquire);
    assert_eq!(lag, EPOCHS_IN_FLIGHT * 100, "read ahead as far as is allowed, and no further");
}
