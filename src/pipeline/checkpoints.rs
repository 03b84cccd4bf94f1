//! Checkpoints: when one is due.
//!
//! The leader asks for one as it ends an epoch; every worker of every process seals its state at
//! that epoch and sends its part to the process' `Checkpointer`. One checkpoint is under way at a
//! time, and the intake waits for it where the memory is used up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trueup_ledger::Epoch;

use super::StateOptions;

/// How much of the memory limit a record may use, so that the epochs on their way take about as much
/// again. A record of two postings to accounts of their own takes 3.6 KB in all three epochs on their way.
pub(crate) const LIMIT_BYTES_A_RECORD: u64 = 8 << 10;

/// How the threads of a run agree on checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// What all workers together may gather for the next checkpoint, in bytes; 0 without a disk.
    gather_bytes: usize,
    /// The most records of an epoch.
    records_max: u64,
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
            // and the rest is what tables need to grow, and the buffers of a checkpoint.
            gather_bytes: state
                .map_or(0, |state| usize::try_from(state.memory_limit / 4).unwrap_or(usize::MAX)),
            records_max: state
                .map_or(u64::MAX, |state| (state.memory_limit / LIMIT_BYTES_A_RECORD).max(1)),
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

    /// Returns how many records an epoch may have at most, where memory is limited.
    pub(crate) fn records_max(&self) -> u64 {
        self.records_max
    }

    /// Returns the last checkpoint on disk.
    pub(crate) fn done(&self) -> Epoch {
        Epoch(self.done.load(Ordering::Acquire))
    }

    /// Says that a checkpoint is on disk.
    pub(crate) fn finish(&self, epoch: Epoch) {
        self.done.store(epoch.0, Ordering::Release);
    }

    /// Says that this process has closed an epoch that gets a checkpoint, or is about to.
    pub(crate) fn request(&self, epoch: Epoch) {
        self.requested.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// Says whether this process has gathered so much that a checkpoint is wanted.
    pub(crate) fn wants_one(&self) -> bool {
        self.gather_bytes > 0 && self.is_full() && !self.under_way()
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

/// Decides when checkpoints are taken, for all processes.
#[derive(Debug)]
pub(crate) struct Cadence {
    checkpoints: Arc<Checkpoints>,
    last: Instant,
}

impl Cadence {
    pub(crate) fn new(checkpoints: Arc<Checkpoints>) -> Cadence {
        Cadence { checkpoints, last: Instant::now() }
    }

    /// Says whether `epoch`, which is about to be closed, gets a checkpoint. `full` says that a
    /// process has used up its memory for that. The `last` epoch of a run gets one whatever is under
    /// way, so that the next run begins where this one ended.
    pub(crate) fn take(&mut self, epoch: Epoch, full: bool, last: bool) -> bool {
        let checkpoints = &self.checkpoints;
        let due = full || checkpoints.is_full() || self.last.elapsed() >= checkpoints.interval;
        let wanted = last || (due && !checkpoints.under_way());
        if checkpoints.gather_bytes == 0 || !wanted {
            return false;
        }
        self.last = Instant::now();
        checkpoints.request(epoch);
        true
    }
}
