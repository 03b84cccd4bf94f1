//! The worker threads: each decodes raw batches and runs its part of the dataflow.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError, bounded};
use serde::{Deserialize, Serialize};
use trueup_dataflow::store::{Disk, Sealed, WorkerState};
use trueup_dataflow::transactions::Stateful;
use trueup_dataflow::{Engine, EpochOutput, Host, Hosts, Links, Origin};
use trueup_ledger::{Epoch, PartitionId, Position, Rejection, Rules, Scale};
use trueup_sinks::QuarantineRecord;
use trueup_sources::{Format, Frame, RawBatch};

use super::checkpoints::Checkpoints;
use super::dues::Dues;
use super::stager::{self, ToStage};
use super::{PATIENCE, RunError, Shared};

/// How many pieces of work may wait for one worker.
pub(crate) const QUEUE: usize = 8;

/// Where the records of a partition are that a committed epoch quarantined: they stay quarantined,
/// and are not decoded again. `None` where there are none, as in every live epoch.
pub(crate) type Barred = Option<Arc<BTreeSet<Position>>>;

/// What a worker is given to do, in order.
pub(crate) enum Work {
    /// Decode and push.
    Batch {
        epoch: Epoch,
        batch: RawBatch,
        /// The number of its first record in the partition and epoch.
        first_ordinal: u64,
        /// Where the records are that its epoch quarantined, of an epoch that is committed already.
        barred: Barred,
    },
    /// The epoch is complete.
    Close(Closed),
}

/// An epoch that all workers have got their part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) epoch: Epoch,
    pub(crate) epoch_time_micros: i64,
    /// Whether the epoch is committed already, and only derived again.
    pub(crate) replay: bool,
    /// Whether its state goes to disk.
    pub(crate) checkpoint: bool,
}

/// What every worker needs.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) scale: Scale,
    pub(crate) rules: Arc<Rules>,
    pub(crate) partitions: Arc<[PartitionId]>,
    /// The format of each partition.
    pub(crate) formats: Arc<[Arc<dyn Format>]>,
    pub(crate) shared: Arc<Shared>,
    /// The state on disk, and the epoch that it is of.
    pub(crate) disk: Option<Disk>,
    pub(crate) since: Epoch,
    /// The time of that epoch; `i64::MIN` where there is none.
    pub(crate) since_time: i64,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) dues: Arc<Dues>,
}

/// The running threads.
pub(crate) struct Workers {
    threads: Vec<Thread>,
    hosts: Hosts,
    stagers: Vec<std::thread::JoinHandle<()>>,
}

impl Workers {
    pub(crate) fn threads(&self) -> Vec<Thread> {
        self.threads.clone()
    }

    pub(crate) fn join(self) {
        self.hosts.join();
        for stager in self.stagers {
            let _ = stager.join();
        }
    }

    /// Leaves the threads to themselves: those of other processes may keep them waiting.
    pub(crate) fn leave(self) {
        self.hosts.leave();
    }
}

/// The sending ends of the workers' queues.
pub(crate) struct Dispatch {
    queues: Vec<Sender<Work>>,
    threads: Vec<Thread>,
    next: usize,
}

impl Dispatch {
    pub(crate) fn new(queues: Vec<Sender<Work>>, threads: Vec<Thread>) -> Dispatch {
        Dispatch { queues, threads, next: 0 }
    }

    /// Gives work to the worker with the least to do. Returns false where the run has failed.
    pub(crate) fn any(&mut self, work: Work, shared: &Shared) -> bool {
        self.next = (self.next + 1) % self.queues.len();
        let turn = |place: &usize| (place + self.queues.len() - self.next) % self.queues.len();
        let least =
            (0..self.queues.len()).min_by_key(|place| (self.queues[*place].len(), turn(place)));
        self.send(least.unwrap_or(0), work, shared)
    }

    /// Gives each worker its own piece of work.
    pub(crate) fn all(&mut self, work: impl Fn() -> Work, shared: &Shared) -> bool {
        (0..self.queues.len()).all(|worker| self.send(worker, work(), shared))
    }

    fn send(&self, worker: usize, mut work: Work, shared: &Shared) -> bool {
        loop {
            match self.queues[worker].send_timeout(work, PATIENCE) {
                Ok(()) => {
                    self.threads[worker].unpark();
                    return true;
                }
                Err(SendTimeoutError::Timeout(unsent)) if !shared.has_failed() => work = unsent,
                Err(_) => return false,
            }
        }
    }
}

type Slots<T> = Arc<Mutex<Vec<Option<T>>>>;

fn slots<T>(items: impl IntoIterator<Item = T>) -> Slots<T> {
    Arc::new(Mutex::new(items.into_iter().map(Some).collect()))
}

fn take<T>(slots: &Slots<T>, index: usize) -> Option<T> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    slots.get_mut(index).and_then(Option::take)
}

/// Starts the workers and their stagers, with `links` to those of other processes.
pub(crate) fn start(
    work: Vec<Receiver<Work>>,
    links: Option<Links>,
    setup: &Setup,
    stagers: &stager::Setup,
    sealed: &Sender<Sealed>,
) -> Result<Workers, RunError> {
    let count = work.len();
    let cannot = |error: &dyn std::fmt::Display| {
        RunError::Failed(format!("cannot start the worker threads: {error}"))
    };
    let mut outputs = Vec::new();
    let mut stager_threads = Vec::new();
    for worker in 0..count {
        let (sender, receiver) = bounded(1);
        outputs.push(sender);
        let stager = stagers.clone();
        let thread = std::thread::Builder::new()
            .name(format!("stager-{worker}"))
            .spawn(move || stager.run(&receiver))
            .map_err(|error| cannot(&error))?;
        stager_threads.push(thread);
    }
    let (started, threads) = bounded(count);
    let resources = slots(work.into_iter().zip(outputs));
    // Each worker's sender goes with its thread, so that the checkpoint thread sees them end.
    let sealed = slots((0..count).map(|_| sealed.clone()));
    let setup = setup.clone();
    let on_worker = move |host: &mut Host<'_>| {
        // Workers are numbered across processes, each of which has as many.
        let place = host.index() % count;
        let _ = started.send((place, std::thread::current()));
        let resources = (take(&resources, place), take(&sealed, place));
        if let (Some((work, output)), Some(sealed)) = resources {
            let part = AssertUnwindSafe(|| work_on(host, &work, output, sealed, &setup));
            if let Err(panic) = catch_unwind(part) {
                setup.shared.fail(RunError::Failed(format!(
                    "a worker stopped: {}; what was committed is exact, start again",
                    panic_text(&*panic)
                )));
            }
        }
    };
    let hosts = match links {
        Some(links) => Hosts::start_cluster(count, links, on_worker),
        None => Hosts::start(count, on_worker),
    };
    let hosts = hosts.map_err(|error| cannot(&error))?;
    let mut threads: Vec<_> = threads.iter().take(count).collect();
    threads.sort_by_key(|(index, _)| *index);
    let threads = threads.into_iter().map(|(_, thread)| thread).collect();
    Ok(Workers { threads, hosts, stagers: stager_threads })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

/// What the decoding of an epoch leaves beside events.
#[derive(Default)]
struct Aside {
    closed: Option<Closed>,
    quarantined: Vec<QuarantineRecord>,
    /// Rejected records by partition.
    rejected: BTreeMap<usize, u64>,
    unknown_fields: u64,
}

type Asides = Rc<RefCell<BTreeMap<Epoch, Aside>>>;

fn work_on(
    host: &mut Host<'_>,
    work: &Receiver<Work>,
    output: Sender<ToStage>,
    sealed: Sender<Sealed>,
    setup: &Setup,
) {
    let asides = Asides::default();
    let worker = host.index();
    let state = WorkerState::new(setup.disk.clone(), worker, host.workers());
    let (scale, rules) = (setup.scale, Arc::clone(&setup.rules));
    let transactions = Stateful { scale, rules: Arc::clone(&rules) };
    let through = Rc::new(Cell::new(setup.since));
    let hand_over = hand_over(&asides, &state, output, sealed, (&setup.shared, &through));
    let beginning = trueup_dataflow::Setup {
        scale,
        rules,
        state: &state,
        first_epoch: Epoch(setup.since.0 + 1),
        since_time: setup.since_time,
    };
    let mut engine = Engine::build(host, transactions, &beginning, hand_over);
    let mut decoder = Decoder { setup, asides: &asides };
    while !setup.shared.has_failed() && !setup.shared.is_done() {
        match work.try_recv() {
            Ok(Work::Batch { epoch, batch, first_ordinal, barred }) => {
                assert_eq!(engine.epoch(), epoch, "a batch belongs to the open epoch");
                decoder.decode(&batch, first_ordinal, barred.as_deref(), &mut engine);
                host.step();
            }
            Ok(Work::Close(closed)) => {
                let mut asides = asides.borrow_mut();
                asides.entry(closed.epoch).or_default().closed = Some(closed);
                drop(asides);
                state.release(setup.checkpoints.done());
                if closed.checkpoint {
                    state.request_seal(closed.epoch);
                }
                engine.close(closed.epoch_time_micros);
                host.step();
            }
            // Without more work the worker goes on until everything is committed: the others need
            // its part of the dataflow.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => host.step_or_park(PATIENCE),
        }
        setup.checkpoints.gathered(worker, state.gathered_bytes());
        setup.dues.tell(worker, through.get(), engine.next_due());
    }
}

/// What is called with this worker's share of each epoch that is complete, which it sets.
fn hand_over(
    asides: &Asides,
    state: &WorkerState,
    output: Sender<ToStage>,
    sealed: Sender<Sealed>,
    (shared, through): (&Arc<Shared>, &Rc<Cell<Epoch>>),
) -> impl FnMut(EpochOutput) + 'static {
    let (asides, state, shared) = (Rc::clone(asides), state.clone(), Arc::clone(shared));
    let through = Rc::clone(through);
    move |epoch| {
        through.set(epoch.epoch);
        let aside = asides.borrow_mut().remove(&epoch.epoch).unwrap_or_default();
        let Some(closed) = aside.closed else {
            unreachable!("epoch {} is complete before it was closed", epoch.epoch);
        };
        if closed.checkpoint {
            // There is room: one checkpoint is under way at a time. Where nobody receives, the run
            // has ended otherwise.
            let _ = sealed.send(state.seal(closed.epoch));
        }
        let mut piece = ToStage {
            closed,
            output: epoch,
            quarantined: aside.quarantined,
            rejected: aside.rejected,
            unknown_fields: aside.unknown_fields,
        };
        // A slow store stops the worker here, and through the queues the source.
        while !shared.has_failed() {
            match output.send_timeout(piece, PATIENCE) {
                Ok(()) => return,
                Err(SendTimeoutError::Timeout(unsent)) => piece = unsent,
                Err(SendTimeoutError::Disconnected(_)) => {
                    shared.fail(RunError::Failed("a stager stopped, start again".to_owned()));
                    return;
                }
            }
        }
    }
}

struct Decoder<'a> {
    setup: &'a Setup,
    asides: &'a Asides,
}

impl Decoder<'_> {
    fn decode(
        &mut self,
        batch: &RawBatch,
        first_ordinal: u64,
        barred: Option<&BTreeSet<Position>>,
        engine: &mut Engine,
    ) {
        let mut asides = self.asides.borrow_mut();
        let aside = asides.entry(engine.epoch()).or_default();
        let format = &self.setup.formats[batch.partition];
        let partition = u32::try_from(batch.partition).unwrap_or(u32::MAX);
        for (frame, ordinal) in batch.frames.iter().zip(first_ordinal..) {
            if barred.is_some_and(|barred| barred.contains(&batch.position(*frame))) {
                *aside.rejected.entry(batch.partition).or_default() += 1;
                continue;
            }
            let raw = batch.raw(*frame);
            let event = format.decode(raw).and_then(|decoded| {
                aside.unknown_fields += u64::from(decoded.unknown_fields);
                decoded.draft.admit(self.setup.scale)
            });
            match event {
                Ok(event) => engine.push(&event, Origin { partition, ordinal }),
                Err(rejection) => {
                    *aside.rejected.entry(batch.partition).or_default() += 1;
                    let record = self.quarantine(batch, *frame, raw, rejection, &**format);
                    aside.quarantined.push(record);
                }
            }
        }
    }

    fn quarantine(
        &self,
        batch: &RawBatch,
        frame: Frame,
        raw: &[u8],
        rejection: Rejection,
        format: &dyn Format,
    ) -> QuarantineRecord {
        let partition = &self.setup.partitions[batch.partition];
        let correlation_id = format.correlation_id(raw);
        tracing::debug!(
            %partition,
            position = %batch.position(frame),
            reason = rejection.reason.code(),
            detail = rejection.detail,
            correlation_id,
            "a record is quarantined"
        );
        QuarantineRecord {
            reason: rejection.reason,
            detail: rejection.detail,
            source: partition.source.to_string(),
            partition: partition.partition.to_string(),
            segment: batch.segment.to_string(),
            offset: frame.offset,
            raw: raw.to_vec(),
            correlation_id,
        }
    }
}
