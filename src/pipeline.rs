//! The main job: from source to commit, the one place that sees sources, dataflow and sinks.
//!
//! ```text
//!            raw batches, epoch by epoch           an epoch's tables        files, durable
//!  intake ──────────────┬─▶ worker 0 (decode, dataflow) ─▶ stager 0 ──┬──────────▶ committer
//!  (1 thread, all       └─▶ worker 1 (decode, dataflow) ─▶ stager 1 ──┘  one commit an epoch
//!   partitions)   ◀────────────────── committed through epoch n ──────────────────────┘
//! ```
//!
//! - The intake alone cuts its partitions: it knows which range of which is in which epoch. Where an
//!   epoch ends is decided for all processes together, see `cuts`.
//! - Of several processes each has all of this but the committer. What the others stage goes to that
//!   of process 0, the leader:
//!
//! ```text
//!  leader:    intake ─▶ workers ─▶ stagers ─▶ committer ◀─┐
//!               ▲ orders  ▲│ timely                       │ shares, cuts
//!               ▼         │▼                              │
//!  follower:  intake ─▶ workers ─▶ stagers ───────────────┘
//! ```
//!
//! - Every queue is bounded and the intake opens an epoch only while fewer than
//!   [`EPOCHS_IN_FLIGHT`] are uncommitted, so a slow sink slows the source and memory stays bounded.
//! - State goes to disk in checkpoints, beside the work. A run begins with the last one and reads
//!   again the ranges that were committed since; what comes out is compared with what was published
//!   and not published again.
//! - Any thread that fails ends the run with a [`RunError`]; what was committed stays exact.

mod checkpoints;
mod committer;
mod cuts;
mod follower;
mod intake;
mod leader;
mod messages;
mod party;
mod readers;
mod replay;
mod restore;
mod stager;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use trueup_ledger::{Counts, Epoch, Scale};
use trueup_sinks::{CommitError, CommitLog, Incompatible, LogError, SinkError, Store};
use trueup_sources::{Format, SourceError, Transport};

use crate::cluster::Joined;
use checkpoints::{Cadence, Checkpoints};
use party::Party;

/// How long a parked thread sleeps at most before it looks around, though nothing woke it.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a process that ends waits for the others to have heard why.
const PARTING: Duration = Duration::from_secs(2);

/// How many epochs may be read and not yet committed.
pub const EPOCHS_IN_FLIGHT: u64 = 3;

/// A configured source.
pub struct Source {
    /// The name, which commits store; renaming a source makes it another one.
    pub name: Arc<str>,
    /// Where its records are.
    pub transport: Box<dyn Transport>,
    /// What they are written in.
    pub format: Arc<dyn Format>,
    /// Whether it takes only what live sources leave of an epoch.
    pub backfill: bool,
}

/// What to run.
pub struct Options {
    /// Where epochs are committed.
    pub store: Arc<dyn Store>,
    /// The fraction digits of amounts.
    pub scale: Scale,
    /// The number of worker threads, at least 1.
    pub workers: usize,
    /// How long an epoch lasts after its first record.
    pub commit_interval: Duration,
    /// How many records end an epoch sooner.
    pub commit_max_records: u64,
    /// The sources, at least one.
    pub sources: Vec<Source>,
    /// Whether to end once everything is committed that was there at the start.
    pub until_caught_up: bool,
    /// The other processes, where there are any.
    pub cluster: Option<Joined>,
    /// Where state is kept; in memory alone where there is nothing, and in a cluster.
    pub state: Option<StateOptions>,
    /// The hash of the configuration that rows depend on.
    pub configuration_hash: String,
    /// Set from outside to end the run after the open epoch.
    pub stop: Arc<AtomicBool>,
}

/// Where state is kept, and how much memory it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// A directory for it alone, on a local disk. It may be lost: it is then derived again.
    pub directory: PathBuf,
    /// About how much memory state takes at most, in bytes.
    pub memory_limit: u64,
    /// How long after one checkpoint the next is taken at the latest.
    pub checkpoint_interval: Duration,
}

/// Why a run ended early, by what the operator should do.
#[derive(Debug, Error)]
pub enum RunError {
    /// Another process has taken over the store. Exit code 3.
    #[error("{0}; another trueup writes to this store, so this one stops")]
    Fenced(String),
    /// What was derived is not what was published. Exit code 1.
    #[error("{0}")]
    Difference(String),
    /// The configuration does not fit the store or the sources. Exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// A source or the store failed for good. Exit code 4.
    #[error("{0}")]
    Failed(String),
}

/// What came of one epoch, told once it is committed or, before the first new one, compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether the epoch is new; false while committed ranges are read again.
    pub committed: bool,
    /// What became of its records.
    pub counts: Counts,
    /// How many rows it changed in all views.
    pub rows: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// The last commit of the store.
    pub last_epoch: Epoch,
    /// How many epochs this run committed.
    pub epochs: u64,
    /// What became of the records of those epochs.
    pub counts: Counts,
    /// What was read again to rebuild the state.
    pub replayed: Counts,
    /// Fields that no schema knows, in records of this run.
    pub unknown_fields: u64,
    /// How long the run took.
    pub elapsed: Duration,
    /// How long of it went by before the first new record was read.
    pub replay_elapsed: Duration,
}

/// What the threads of a run share: how far it is committed, and whether it has failed.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<SharedState>,
    changed: Condvar,
    failed: AtomicBool,
    done: AtomicBool,
}

#[derive(Debug)]
struct SharedState {
    committed: Epoch,
    failure: Option<RunError>,
}

impl Shared {
    fn new(since: Epoch) -> Shared {
        let state = SharedState { committed: since, failure: None };
        Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
            done: AtomicBool::new(false),
        }
    }

    /// Ends the run; the first failure is the one that is told.
    pub(crate) fn fail(&self, error: RunError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether everything is committed and there is no more. Until then every worker has to go on,
    /// since the others need its part of the dataflow.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Waits while `condition` holds of the last committed epoch and the run has not failed.
    pub(crate) fn wait_while(&self, condition: impl Fn(Epoch) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.has_failed() && condition(state.committed) {
            let waited = self.changed.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes those who wait.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    fn take_failure(&self) -> Option<RunError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    fn committed_through(&self, epoch: Epoch) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).committed = epoch;
        self.changed.notify_all();
    }

    /// Returns a guard that ends the run where its thread panics.
    pub(crate) fn guard<'a>(&'a self, what: &'a str) -> PanicGuard<'a> {
        PanicGuard { shared: self, what }
    }

    /// Waits until `epoch` may be read, that is until few enough epochs are uncommitted and there
    /// is memory for its state. Returns false where the run has failed.
    pub(crate) fn wait_for_room(&self, epoch: Epoch, checkpoints: &Checkpoints) -> bool {
        self.wait_while(|committed| {
            committed.0 + EPOCHS_IN_FLIGHT < epoch.0 || checkpoints.must_wait()
        });
        !self.has_failed()
    }
}

/// Ends the run when the thread that holds it panics: the other threads would wait for ever.
pub(crate) struct PanicGuard<'a> {
    shared: &'a Shared,
    what: &'a str,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = format!("{} stopped by a panic; start again", self.what);
            self.shared.fail(RunError::Failed(text));
        }
    }
}

/// Runs until caught up, stopped or failed. Calls `observe` after every epoch.
///
/// # Errors
/// A [`RunError`]. Whatever it is, the store holds whole epochs, each once, and a later run goes on
/// behind the last of them. In a cluster all processes end, with errors of one kind; threads of this
/// one may be left behind, so the program has to end.
pub fn run(mut options: Options, observe: impl FnMut(&Progress)) -> Result<Summary, RunError> {
    let started = Instant::now();
    let mut party = Party::new(options.cluster.take())?;
    let mut outcome = run_as(&mut party, options, observe);
    if let Ok(summary) = &mut outcome {
        summary.elapsed = started.elapsed();
    }
    party.finish(&outcome);
    outcome
}

fn run_as(
    party: &mut Party,
    options: Options,
    observe: impl FnMut(&Progress),
) -> Result<Summary, RunError> {
    let log = Arc::new(CommitLog::open(Arc::clone(&options.store))?);
    let begin = match party.begin(&log)? {
        party::Begin::Run(begin) => begin,
        party::Begin::Over(summary) => return Ok(summary),
    };
    log.check_compatible(options.scale, &options.configuration_hash)?;
    // What is on disk is the state of all workers together. Of several processes none has all.
    let state = options.state.filter(|_| party.processes() == 1);
    let (disk, since) = match &state {
        Some(state) => {
            let (disk, history) = restore::open(state, &log, &options.configuration_hash)?;
            (Some((disk, history)), history.base)
        }
        None => (None, Epoch(0)),
    };
    let past = replay::past(&log, since)?;
    let checkpoints = Arc::new(Checkpoints::new(state.as_ref(), options.workers, since));
    let (head, generation) = (past.head(), past.generation() + 1);
    let Some(mut readers) = readers::open(options.sources, &past, &options.stop)? else {
        return party.stop(head);
    };
    let (partitions, formats) = (readers.partitions(), readers.formats());
    party.agree(begin, &log, &partitions)?;
    let share = readers.keep_share_of(party.process(), party.processes());
    let shared = Arc::new(Shared::new(since));
    let (work, work_received): (Vec<_>, Vec<_>) =
        (0..options.workers).map(|_| bounded(worker::QUEUE)).unzip();
    let (staged, staged_received) = bounded(options.workers * 4);
    let setup = worker::Setup {
        scale: options.scale,
        partitions: partitions.clone(),
        formats,
        shared: Arc::clone(&shared),
        disk: disk.as_ref().map(|(disk, _)| disk.clone()),
        since,
        checkpoints: Arc::clone(&checkpoints),
    };
    let stagers = stager::Setup {
        store: Arc::clone(&options.store),
        scale: options.scale,
        shared: Arc::clone(&shared),
        staged: staged.clone(),
    };
    let (sealed, sealed_received) = bounded(options.workers);
    let _guard = shared.guard("the committer");
    let (orders, report) = party.start((head, partitions.len()), &shared, &staged)?;
    let links = party.links(&shared);
    let workers = worker::start(work_received, links, &setup, &stagers, &sealed)?;
    // The workers' own senders say when they have ended.
    drop(sealed);
    let intake = intake::Intake {
        workers: worker::Dispatch::new(work, workers.threads()),
        shared: Arc::clone(&shared),
        closed: staged,
        stop: options.stop,
        commit_interval: options.commit_interval,
        records_max: share.of(options.commit_max_records),
        until_caught_up: options.until_caught_up,
        orders,
        report,
        stop_told: false,
        cadence: Cadence::new(Arc::clone(&checkpoints)),
        checkpoints: Arc::clone(&checkpoints),
        last: since,
        turn: 0,
    };
    let intake = start_intake(intake, readers, past, &shared)?;
    drop(stagers);
    let checkpointer = disk.map(|(disk, history)| checkpoints::Checkpointer {
        disk,
        log: Arc::clone(&log),
        configuration_hash: options.configuration_hash.clone(),
        workers: options.workers,
        shared: Arc::clone(&shared),
        checkpoints,
        history,
    });
    let checkpointer = checkpointer.map(|checkpointer| {
        std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || checkpointer.run(&sealed_received))
    });
    let checkpointer = checkpointer.transpose().map_err(|error| {
        let text = format!("cannot start a thread: {error}");
        shared.fail(RunError::Failed(text.clone()));
        RunError::Failed(text)
    })?;
    let committer = committer::Committer {
        log,
        scale: options.scale,
        generation,
        configuration_hash: options.configuration_hash,
        partitions,
        processes: party.processes(),
        workers: party.processes() * options.workers,
        shared: Arc::clone(&shared),
    };
    let outcome = party.publish(&committer, &staged_received, (since, head), observe);
    if let Err(error) = outcome.as_ref() {
        // The threads see the failure, drop their ends of the queues, and stop.
        shared.fail(RunError::Failed(error.to_string()));
    }
    shared.done.store(true, Ordering::Release);
    workers.threads().iter().for_each(Thread::unpark);
    drop(staged_received);
    if shared.has_failed() && party.processes() > 1 {
        workers.leave();
    } else {
        // A panic of it has been told by its guard.
        let _ = intake.join();
        workers.join();
        if let Some(checkpointer) = checkpointer {
            let _ = checkpointer.join();
        }
    }
    let summary = outcome?;
    shared.take_failure().map_or(Ok(summary), Err)
}

fn start_intake(
    intake: intake::Intake,
    readers: readers::Readers,
    past: replay::Past,
    shared: &Shared,
) -> Result<JoinHandle<()>, RunError> {
    let thread = std::thread::Builder::new().name("intake".to_owned());
    thread.spawn(move || intake.run(readers, past)).map_err(|error| {
        // The workers must not wait for what will never come.
        let text = format!("cannot start a thread: {error}");
        shared.fail(RunError::Failed(text.clone()));
        RunError::Failed(text)
    })
}

impl From<SourceError> for RunError {
    fn from(error: SourceError) -> RunError {
        let text = chain(&error);
        match error {
            SourceError::Configuration { .. } => RunError::Configuration(text),
            _ => RunError::Failed(text),
        }
    }
}

impl From<LogError> for RunError {
    fn from(error: LogError) -> RunError {
        let text = chain(&error);
        match error {
            LogError::Broken(_) => RunError::Difference(text),
            LogError::Store(_) => RunError::Failed(text),
        }
    }
}

impl From<SinkError> for RunError {
    fn from(error: SinkError) -> RunError {
        RunError::Failed(chain(&error))
    }
}

impl From<CommitError> for RunError {
    fn from(error: CommitError) -> RunError {
        match error {
            CommitError::Log(error) => error.into(),
            CommitError::Fenced { .. } => RunError::Fenced(chain(&error)),
            _ => RunError::Failed(chain(&error)),
        }
    }
}

impl From<Incompatible> for RunError {
    fn from(error: Incompatible) -> RunError {
        match error {
            Incompatible::Log(error) => error.into(),
            _ => RunError::Configuration(chain(&error)),
        }
    }
}

/// Returns an error with its causes, as one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
