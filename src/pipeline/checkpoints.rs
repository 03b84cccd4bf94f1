//! Checkpoints: when one is due, and the thread that writes it beside the work.
//!
//! The intake asks for one as it closes an epoch; every worker seals its state at that epoch and
//! sends its part here; once the epoch is committed, the parts go to the store as a copy and to disk
//! together. State on disk is therefore never ahead of the commit log. One checkpoint is under way
//! at a time, and the intake waits for it where the memory is used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use trueup_dataflow::store::{Disk, Mark, Sealed, SealedChanges};
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, Copies, CopyWriter, Manifest, Store};

use super::{RunError, Shared, StateOptions};

/// What may be built on a small copy before the next whole one, in bytes.
const SINCE_BYTES_MIN: u64 = 64 << 20;

/// How the threads of a run agree on checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// What all workers together may gather for the next checkpoint, in bytes; 0 without a disk.
    gather_bytes: usize,
    interval: Duration,
    requested: AtomicU64,
    done: AtomicU64,
    /// What each worker has gathered for the next checkpoint, in bytes.
    active: Vec<AtomicUsize>,
}

impl Checkpoints {
    pub(crate) fn new(state: Option<&StateOptions>, workers: usize, since: Epoch) -> Checkpoints {
        Checkpoints {
            // A quarter is being gathered, a quarter being written; a quarter is the disk's cache,
            // and the rest is what tables need to grow and what sorting takes.
            gather_bytes: state
                .map_or(0, |state| usize::try_from(state.memory_limit / 4).unwrap_or(usize::MAX)),
            interval: state.map_or(Duration::MAX, |state| state.checkpoint_interval),
            requested: AtomicU64::new(since.0),
            done: AtomicU64::new(since.0),
            active: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Says how much a worker has gathered. Workers are numbered across processes.
    pub(crate) fn gathered(&self, worker: usize, bytes: usize) {
        self.active[worker % self.active.len()].store(bytes, Ordering::Relaxed);
    }

    /// Returns the last checkpoint on disk.
    pub(crate) fn done(&self) -> Epoch {
        Epoch(self.done.load(Ordering::Acquire))
    }

    fn under_way(&self) -> bool {
        self.requested.load(Ordering::Acquire) > self.done.load(Ordering::Acquire)
    }

    fn is_full(&self) -> bool {
        let bytes = self.active.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum::<usize>();
        bytes >= self.gather_bytes
    }

    /// Says whether the intake must wait before it reads more: the memory for the next checkpoint
    /// is used up, and the one before is still being written.
    pub(crate) fn must_wait(&self) -> bool {
        self.gather_bytes > 0 && self.under_way() && self.is_full()
    }
}

/// Decides when checkpoints are taken. Owned by the intake.
#[derive(Debug)]
pub(crate) struct Cadence {
    checkpoints: Arc<Checkpoints>,
    last: Instant,
}

impl Cadence {
    pub(crate) fn new(checkpoints: Arc<Checkpoints>) -> Cadence {
        Cadence { checkpoints, last: Instant::now() }
    }

    /// Says whether `epoch`, which is about to be closed, gets a checkpoint, and if so asks for it.
    /// The `last` epoch of a run gets one, so that the next run begins where this one ended.
    pub(crate) fn take(&mut self, epoch: Epoch, last: bool) -> bool {
        let checkpoints = &self.checkpoints;
        let due = last || checkpoints.is_full() || self.last.elapsed() >= checkpoints.interval;
        if checkpoints.gather_bytes == 0 || checkpoints.under_way() || !due {
            return false;
        }
        self.last = Instant::now();
        checkpoints.requested.store(epoch.0, Ordering::Release);
        true
    }

    /// Waits until no checkpoint is under way, or the run has failed.
    pub(crate) fn wait(&self, shared: &Shared) {
        shared.wait_while(|_| self.checkpoints.under_way());
    }
}

/// Writes checkpoints: a copy to the store, then to disk.
pub(crate) struct Checkpointer {
    pub(crate) disk: Disk,
    pub(crate) log: Arc<CommitLog<Arc<dyn Store>>>,
    pub(crate) configuration_hash: String,
    pub(crate) workers: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) history: History,
}

/// What copies there are of this state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    /// The epoch that the state on disk is of.
    pub(crate) base: Epoch,
    /// Whether there is a copy of it to build on.
    pub(crate) base_is_copied: bool,
    /// The size of the last whole copy, and of what has been built on it since, in bytes.
    pub(crate) whole_bytes: u64,
    pub(crate) since_bytes: u64,
}

impl Checkpointer {
    /// Works until all workers are gone or the run has failed.
    pub(crate) fn run(mut self, sealed: &Receiver<Sealed>) {
        let shared = Arc::clone(&self.shared);
        let _guard = shared.guard("the checkpoint thread");
        let mut parts: Vec<Sealed> = Vec::new();
        // What was written last is dropped here and not by the workers: that may take a while.
        let mut written = Vec::new();
        while !self.shared.has_failed() {
            match sealed.recv_timeout(super::PATIENCE) {
                Ok(part) => parts.push(part),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if parts.len() == self.workers {
                if let Err(error) = self.write(&parts) {
                    self.shared.fail(error);
                    return;
                }
                written.clear();
                written.append(&mut parts);
            }
        }
    }

    fn write(&mut self, parts: &[Sealed]) -> Result<(), RunError> {
        let epoch = parts[0].epoch();
        assert!(parts.iter().all(|part| part.epoch() == epoch), "one checkpoint at a time");
        self.shared.wait_while(|committed| committed < epoch);
        if self.shared.has_failed() {
            return Ok(());
        }
        let begun = Instant::now();
        let (_, commit_hash) = self.log.read_with_hash(epoch)?;
        let configuration = self.configuration_hash.clone();
        let mark = Mark { epoch, commit_hash, configuration };
        let changes = SealedChanges::of(parts);
        // The copy comes first: the next one builds on what is on disk, so that must be copied.
        let whole = self.history.base == Epoch(0);
        if whole || self.history.base_is_copied {
            let base = (!whole).then_some(self.history.base);
            let mut copy = CopyWriter::new(&**self.log.store(), epoch);
            changes.for_each(|key, value| copy.push(key, value))?;
            let bytes = self.copied(copy, base, &mark)?.bytes();
            if whole {
                self.history.whole_bytes = bytes;
            } else {
                self.history.since_bytes += bytes;
            }
            self.history.base_is_copied = true;
        }
        let ingested = self.disk.ingest(&mark, |write| changes.for_each::<RunError>(write))?;
        self.history.base = epoch;
        tracing::debug!(
            %epoch,
            changes = ingested.changes,
            bytes = ingested.bytes,
            milliseconds = begun.elapsed().as_millis(),
            "a checkpoint is on disk"
        );
        self.checkpoints.done.store(epoch.0, Ordering::Release);
        self.shared.notify();
        let outweighed = self.history.since_bytes > self.history.most_since();
        // The end of a run does not wait for that: the next run can do it.
        if (outweighed || !self.history.base_is_copied) && !self.shared.is_done() {
            self.copy_whole(&mark)?;
        }
        Ok(())
    }

    /// Copies the whole state, so that a restore need not read its whole history, and deletes what
    /// that makes superfluous. The work goes on meanwhile, until the memory is used up.
    fn copy_whole(&mut self, mark: &Mark) -> Result<(), RunError> {
        let snapshot = self.disk.snapshot();
        let mut copy = CopyWriter::new(&**self.log.store(), mark.epoch);
        snapshot.for_each(|key, value| Ok::<_, RunError>(copy.push(key, Some(value))?))?;
        let bytes = self.copied(copy, None, mark)?.bytes();
        self.history.whole_bytes = bytes;
        self.history.since_bytes = 0;
        self.history.base_is_copied = true;
        tracing::debug!(epoch = %mark.epoch, bytes, "the whole state is copied");
        Ok(Copies::tidy(&**self.log.store())?)
    }

    fn copied(
        &self,
        copy: CopyWriter<'_>,
        base: Option<Epoch>,
        mark: &Mark,
    ) -> Result<Manifest, RunError> {
        Ok(copy.finish(base, mark.commit_hash.clone(), mark.configuration.clone())?)
    }
}

impl History {
    /// How much may be built on a whole copy before the next: as much as it has itself, so that all
    /// copies together cost about twice what changes.
    fn most_since(&self) -> u64 {
        self.whole_bytes.max(SINCE_BYTES_MIN)
    }
}
