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
//! - Where nothing arrives and something falls due, an epoch without records is committed: a tick.
//! - State goes to disk in checkpoints, beside the work. A run begins with the last one and reads
//!   again the ranges that were committed since; what comes out is compared with what was published
//!   and not published again.
//! - Any thread that fails ends the run with a [`RunError`]; what was committed stays exact.

mod checkpointer;
mod checkpoints;
mod clock;
mod committer;
mod cuts;
mod dues;
mod error;
mod follower;
mod intake;
mod leader;
mod messages;
mod party;
mod readers;
mod replay;
mod restore;
mod seen;
mod shared;
mod stager;
mod worker;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use serde::{Deserialize, Serialize};
use trueup_dataflow::store::{Disk, Shards};
use trueup_ledger::{Counts, Epoch, PartitionId, Rules, Scale};
use trueup_sinks::{CommitLog, Store};
use trueup_sources::{Format, Transport};

use crate::cluster::Joined;
use crate::rules;
use checkpointer::{Checkpointer, History, Tidying};
pub(crate) use checkpointer::{OWED_OF_NEW, WHOLE_BYTES_MIN};
use checkpoints::Checkpoints;
pub(crate) use checkpoints::{GATHERED_BYTES_A_WORKER, LIMIT_BYTES_A_RECORD, RECORDS_A_WORKER};
use committer::Committer;
use dues::Dues;
pub use error::RunError;
pub(crate) use intake::EPOCH_BYTES_MAX;
use party::{Extent, Party, Settled, Start};
use readers::{Portion, Readers};
use replay::Past;
use restore::Ground;
use shared::Shared;
use stager::Staged;

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
    /// What else rows depend on.
    pub rules: Arc<Rules>,
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
    /// Where state is kept; in memory alone where there is nothing.
    pub state: Option<StateOptions>,
    /// The hash of the configuration that rows depend on: scale and rules.
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

impl StateOptions {
    /// Returns where a process of several keeps its part. The first uses the directory as a run of
    /// one process does, so that what is there is of use to both.
    fn of_process(mut self, process: usize) -> StateOptions {
        if process > 0 {
            self.directory.push(format!("process-{process}"));
        }
        self
    }
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
    mut options: Options,
    observe: impl FnMut(&Progress),
) -> Result<Summary, RunError> {
    let ready = match get_ready(party, &mut options)? {
        ControlFlow::Continue(ready) => ready,
        ControlFlow::Break(summary) => return Ok(summary),
    };
    let extent = (ready.since(), ready.past.head());
    let shared = Arc::new(Shared::new(ready.since()));
    let _guard = shared.guard("the committer");
    let (committer, staged, threads) = start(party, ready, options, &shared)?;
    let outcome = party.publish(&committer, &staged, extent, observe);
    if let Err(error) = outcome.as_ref() {
        // The threads see the failure, drop their ends of the queues, and stop.
        shared.fail(RunError::Failed(error.to_string()));
    }
    drop(staged);
    threads.end(&shared, party.processes() > 1);
    let summary = outcome?;
    shared.take_failure().map_or(Ok(summary), Err)
}

/// What a run goes on from, once all processes agree on it.
struct Ready {
    log: Arc<CommitLog<Arc<dyn Store>>>,
    /// Those whose state this process keeps.
    shards: Shards,
    disk: Option<Disk>,
    history: History,
    checkpoints: Arc<Checkpoints>,
    past: Past,
    readers: Readers,
    /// All partitions, and the format of each.
    partitions: Arc<[PartitionId]>,
    formats: Arc<[Arc<dyn Format>]>,
    /// How many of the partitions this process reads.
    share: Portion,
}

impl Ready {
    /// Returns the epoch that the state is of.
    fn since(&self) -> Epoch {
        self.history.base
    }
}

/// Brings the state to where all processes go on from, and opens the sources. There is nothing to
/// run where it is stopped before.
fn get_ready(
    party: &mut Party,
    options: &mut Options,
) -> Result<ControlFlow<Summary, Ready>, RunError> {
    let log = Arc::new(CommitLog::open(Arc::clone(&options.store))?);
    let state = options.state.take().map(|state| state.of_process(party.process()));
    let shards = Shards::of_process(party.process(), party.processes(), options.workers);
    let survey = || {
        log.check_compatible(options.scale, &options.configuration_hash)
            .map_err(|error| error::incompatible(error, &log, &options.rules))?;
        Ground::survey(state.as_ref(), shards, &log, &options.configuration_hash)
    };
    let Start { disk, history, partitions: theirs } = match party.settle(&log, survey)? {
        Settled::On(start) => start,
        Settled::Over(summary) => return Ok(ControlFlow::Break(summary)),
    };
    let past = replay::past(&log, history.base)?;
    let checkpoints = Checkpoints::new(state.as_ref(), options.workers, history.base);
    let sources = std::mem::take(&mut options.sources);
    let Some(mut readers) = readers::open(sources, &past, &options.stop)? else {
        return party.stop(past.head()).map(ControlFlow::Break);
    };
    let (partitions, formats) = (readers.partitions(), readers.formats());
    party.agree(theirs.as_deref(), &partitions)?;
    let share = readers.keep_share_of(party.process(), party.processes());
    let checkpoints = Arc::new(checkpoints);
    Ok(ControlFlow::Continue(Ready {
        log,
        shards,
        disk,
        history,
        checkpoints,
        past,
        readers,
        partitions,
        formats,
        share,
    }))
}

/// Starts all threads but this one, which is to do the committer's work with what they stage.
fn start(
    party: &mut Party,
    ready: Ready,
    options: Options,
    shared: &Arc<Shared>,
) -> Result<(Committer, Receiver<Staged>, Threads), RunError> {
    let (since, head) = (ready.since(), ready.past.head());
    let Ready { log, shards, disk, history, checkpoints, past, readers, share, .. } = ready;
    let partitions = ready.partitions;
    let (work, work_received): (Vec<_>, Vec<_>) =
        (0..options.workers).map(|_| bounded(worker::QUEUE)).unzip();
    let (staged, staged_received) = bounded(options.workers * 4);
    let (sealed, sealed_received) = bounded(options.workers);
    let dues = Arc::new(Dues::new(options.workers));
    let store = Arc::clone(&options.store);
    let setup = worker::Setup {
        scale: options.scale,
        rules: Arc::clone(&options.rules),
        formats: ready.formats,
        partitions: Arc::clone(&partitions),
        shared: Arc::clone(shared),
        disk: disk.clone(),
        since,
        since_time: past.since_time(),
        checkpoints: Arc::clone(&checkpoints),
        dues: Arc::clone(&dues),
    };
    let stagers = stager::Setup {
        store: options.store,
        scale: options.scale,
        shared: Arc::clone(shared),
        staged: staged.clone(),
    };
    let extent = Extent {
        since,
        head,
        head_time: past.head_time(),
        partitions: partitions.len(),
        checkpoints: Arc::clone(&checkpoints),
    };
    let (orders, report, others) = party.start(&extent, shared, &staged)?;
    let workers = worker::start(work_received, party.links(shared), &setup, &stagers, &sealed)?;
    let committer = Committer {
        log: Arc::clone(&log),
        scale: options.scale,
        generation: past.generation() + 1,
        configuration_hash: options.configuration_hash.clone(),
        rules: rules::text(&options.rules),
        partitions,
        processes: party.processes(),
        workers: party.processes() * options.workers,
        shared: Arc::clone(shared),
    };
    let intake = intake::Intake {
        workers: worker::Dispatch::new(work, workers.threads()),
        shared: Arc::clone(shared),
        store,
        closed: staged,
        stop: options.stop,
        commit_interval: options.commit_interval,
        records_max: share.of(options.commit_max_records).min(checkpoints.records_max()),
        until_caught_up: options.until_caught_up,
        orders,
        report,
        stop_told: false,
        all_read_told: false,
        checkpoints: Arc::clone(&checkpoints),
        last: since,
        last_checkpoint: since,
        last_time: past.since_time(),
        dues,
        closed_at: None,
        ticked: false,
        turn: 0,
    };
    let intake = thread("intake", shared, move || intake.run(readers, past))?;
    let checkpointer = disk.map(|disk| Checkpointer {
        disk,
        shards,
        log,
        configuration_hash: options.configuration_hash,
        workers: options.workers,
        shared: Arc::clone(shared),
        checkpoints,
        tidying: Tidying::new(history.copies),
        history,
        others,
    });
    let write =
        |one: Checkpointer| thread("checkpoints", shared, move || one.run(&sealed_received));
    let checkpointer = checkpointer.map(write).transpose()?;
    // The senders of `sealed` that are left are the workers', and say when they have ended.
    Ok((committer, staged_received, Threads { workers, intake, checkpointer }))
}

/// The threads of a run that are to be ended.
struct Threads {
    workers: worker::Workers,
    intake: JoinHandle<()>,
    checkpointer: Option<JoinHandle<()>>,
}

impl Threads {
    /// Lets all threads see that there is no more, and waits for them. A panic of one has been told
    /// by its guard.
    fn end(self, shared: &Shared, in_cluster: bool) {
        shared.set_done();
        self.workers.threads().iter().for_each(Thread::unpark);
        if shared.has_failed() && in_cluster {
            // The others may never answer; the program ends without them.
            self.workers.leave();
            return;
        }
        let _ = self.intake.join();
        self.workers.join();
        if let Some(checkpointer) = self.checkpointer {
            let _ = checkpointer.join();
        }
    }
}

/// Starts a thread of the run.
fn thread(
    name: &str,
    shared: &Shared,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, RunError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
        // The other threads must not wait for what will never come.
        let text = format!("cannot start a thread: {error}");
        shared.fail(RunError::Failed(text.clone()));
        RunError::Failed(text)
    })
}
