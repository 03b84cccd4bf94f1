//! Checkpoints: when one is due, and the thread that writes it beside the work.
//!
//! The intake asks for one as it closes an epoch; every worker seals its state at that epoch and
//! sends its part here; once the epoch is committed, the parts go to disk together. State on disk is
//! therefore never ahead of the commit log. One checkpoint is under way at a time, and the intake
//! waits for it where the memory is used up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use trueup_dataflow::store::{Disk, Mark, Sealed, StateError};
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, Store};

use super::{RunError, Shared, StateOptions};

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

    /// Says how much a worker has gathered.
    pub(crate) fn gathered(&self, worker: usize, bytes: usize) {
        self.active[worker].store(bytes, Ordering::Relaxed);
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

/// Writes checkpoints to disk.
pub(crate) struct Checkpointer {
    pub(crate) disk: Disk,
    pub(crate) log: Arc<CommitLog<Arc<dyn Store>>>,
    pub(crate) configuration_hash: String,
    pub(crate) workers: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) checkpoints: Arc<Checkpoints>,
}

impl Checkpointer {
    /// Works until all workers are gone or the run has failed.
    pub(crate) fn run(&self, sealed: &Receiver<Sealed>) {
        let _guard = self.shared.guard("the checkpoint thread");
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

    fn write(&self, parts: &[Sealed]) -> Result<(), RunError> {
        let epoch = parts[0].epoch();
        assert!(parts.iter().all(|part| part.epoch() == epoch), "one checkpoint at a time");
        self.shared.wait_while(|committed| committed < epoch);
        if self.shared.has_failed() {
            return Ok(());
        }
        let begun = Instant::now();
        let (_, commit_hash) = self.log.read_with_hash(epoch)?;
        let configuration = self.configuration_hash.clone();
        let ingested = self.disk.ingest(parts, &Mark { epoch, commit_hash, configuration })?;
        tracing::debug!(
            %epoch,
            changes = ingested.changes,
            bytes = ingested.bytes,
            milliseconds = begun.elapsed().as_millis(),
            "a checkpoint is on disk"
        );
        self.checkpoints.done.store(epoch.0, Ordering::Release);
        self.shared.notify();
        Ok(())
    }
}

/// Opens the state on disk and returns the epoch up to which it holds everything. A state that
/// cannot be used is removed, and derived again from the log.
pub(crate) fn open(
    options: &StateOptions,
    log: &CommitLog<Arc<dyn Store>>,
    configuration_hash: &str,
) -> Result<(Disk, Epoch), RunError> {
    let path = &options.directory;
    let usable = || {
        let disk = Disk::open(path, options.memory_limit / 4)?;
        let mark = disk.mark()?;
        Ok::<_, StateError>((disk, mark))
    };
    let why = match usable() {
        Ok((disk, None)) => return Ok((disk, Epoch(0))),
        Ok((disk, Some(mark))) => match unfit(&mark, log, configuration_hash)? {
            None => return Ok((disk, mark.epoch)),
            Some(why) => why,
        },
        Err(error @ StateError::Damaged { .. }) => error.to_string(),
        Err(error) => return Err(error.into()),
    };
    tracing::warn!(
        directory = %path.display(),
        why,
        "the state on disk cannot be used; it is removed and derived again from the log"
    );
    remove(path)?;
    let disk = Disk::open(path, options.memory_limit / 4)?;
    Ok((disk, Epoch(0)))
}

/// Says why a state does not belong to a log.
fn unfit(
    mark: &Mark,
    log: &CommitLog<Arc<dyn Store>>,
    configuration_hash: &str,
) -> Result<Option<String>, RunError> {
    if mark.configuration != configuration_hash {
        return Ok(Some("it is of another configuration".to_owned()));
    }
    if log.head()?.is_none_or(|(head, _)| head < mark.epoch) {
        return Ok(Some(format!("it is of epoch {}, which is not committed", mark.epoch)));
    }
    let (_, hash) = log.read_with_hash(mark.epoch)?;
    let other = hash != mark.commit_hash;
    Ok(other.then(|| format!("it is of another commit {} than the store has", mark.epoch)))
}

fn remove(path: &Path) -> Result<(), RunError> {
    std::fs::remove_dir_all(path).map_err(|error| {
        RunError::Failed(format!("the state {} cannot be removed: {error}", path.display()))
    })
}

impl From<StateError> for RunError {
    fn from(error: StateError) -> RunError {
        let text = super::chain(&error);
        match error {
            StateError::Busy { .. } => RunError::Fenced(text),
            _ => RunError::Failed(text),
        }
    }
}
