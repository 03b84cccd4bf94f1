//! Runs an implementation on events cut into epochs, and compares every epoch with the reference.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use timely::dataflow::Stream;
use trueup_dataflow::record::EventRecord;
use trueup_dataflow::store::{
    Disk, Mark, Sealed, SealedChanges, Shards, StateError, WorkerState, Write,
};
use trueup_dataflow::transactions::{Changes, Stateful, Surroundings, Transactions};
use trueup_dataflow::{Connection, Engine, EpochOutput, Host, Hosts, Links, Origin, Setup};
use trueup_ledger::reference::{Alerts, Reference};
use trueup_ledger::table::{Row, Rows};
use trueup_ledger::{Delayed, Epoch, Event, Rules, Scale, Timestamp, View};

use crate::twin::ReduceTwin;

/// All views at one epoch.
pub(crate) type Views = BTreeMap<View, Rows>;

/// The implementations that must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implementation {
    /// The one that runs.
    Engine,
    /// The one of differential operators.
    Twin,
}

/// An implementation under rules.
struct Ruled(Implementation, Arc<Rules>);

impl Transactions for Ruled {
    fn build<'s>(
        self,
        events: Stream<'s, u64, Vec<EventRecord>>,
        surroundings: Surroundings<'s, '_>,
    ) -> Changes<'s> {
        let (scale, Ruled(implementation, rules)) = (Scale::DEFAULT, self);
        match implementation {
            Implementation::Engine => Stateful { scale, rules }.build(events, surroundings),
            Implementation::Twin => ReduceTwin { scale, rules }.build(events, surroundings),
        }
    }
}

/// Events cut into epochs, and what rows depend on beside them.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) rules: Arc<Rules>,
    /// The epoch times, in microseconds since 1970.
    pub(crate) times: Vec<i64>,
    pub(crate) epochs: Arc<[Vec<Event<'static>>]>,
}

impl Input {
    /// Puts an epoch at each second, under rules by which everything happens within few of them.
    pub(crate) fn of(epochs: &[Vec<Event<'static>>]) -> Input {
        let rules = Rules {
            clearing: [("stripe", "cash"), ("adyen", "cash"), ("bank", "revenue")]
                .map(|(processor, account)| (processor.into(), account.into()))
                .into(),
            delayed: Some(Delayed { after: 2_000_000, since: Timestamp::from_parts(1, 0) }),
            // The days of these events are the first of 1970, as their epochs are.
            statement_mismatch_after: 3_000_000,
            alert_grace: 2_000_000,
        };
        let times = (0_i64..).take(epochs.len()).map(|second| second * 1_000_000).collect();
        Input { rules: Arc::new(rules), times, epochs: epochs.into() }
    }

    /// Puts all epochs at one instant, under rules by which it does not matter which is which.
    pub(crate) fn at_one_time(epochs: &[Vec<Event<'static>>]) -> Input {
        let Input { rules, epochs, .. } = Input::of(epochs);
        // An alert is raised later than its imbalance began, and here nothing is.
        let rules = Rules { delayed: None, ..(*rules).clone() };
        Input { rules: Arc::new(rules), times: vec![10_000_000; epochs.len()], epochs }
    }

    fn time(&self, epoch: usize) -> i64 {
        epoch.checked_sub(1).map_or(i64::MIN, |before| self.times[before])
    }
}

type Outputs = BTreeMap<Epoch, Vec<EpochOutput>>;

/// What the workers of a run share.
#[derive(Default)]
struct Shared {
    outputs: Mutex<Outputs>,
    panicked: AtomicBool,
    sealed: Mutex<Vec<Sealed>>,
    /// The checkpoint that is on disk.
    on_disk: AtomicU64,
}

/// A part of a run between two starts: the epochs `from..to`, counted from 0.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) workers: usize,
    /// After how many of all epochs state goes to disk, while later ones are under way.
    pub(crate) checkpoints: Vec<usize>,
    /// Where state is, and what is there when the life begins.
    pub(crate) disk: Option<Disk>,
}

/// Tells the other workers that this one will not finish.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::SeqCst);
        }
    }
}

/// How many partitions the events of an epoch are dealt out to.
const PARTITIONS: usize = 3;

/// After how many pushes a worker steps, as it does between two batches of a source.
const BATCH: usize = 10;

/// How long a run may go without an epoch that it was given the end of. Far beyond what any takes.
const STUCK: Duration = Duration::from_secs(60);

/// Runs `epochs` on `workers` workers; event number n is pushed by worker n modulo workers.
/// Returns what each epoch changed.
///
/// # Panics
/// Where a worker does.
pub(crate) fn changes(
    implementation: Implementation,
    input: &Input,
    workers: usize,
) -> Vec<Vec<EpochOutput>> {
    live(implementation, input, whole(input, workers))
}

fn whole(input: &Input, workers: usize) -> Life {
    Life { from: 0, to: input.epochs.len(), workers, checkpoints: Vec::new(), disk: None }
}

/// As [`changes`], on `processes` of one worker each that talk through sockets as those of a cluster
/// do.
pub(crate) fn changes_of_cluster(input: &Input, processes: usize) -> Vec<Vec<EpochOutput>> {
    let mut sockets: Vec<Vec<Option<Connection>>> =
        (0..processes).map(|_| (0..processes).map(|_| None).collect()).collect();
    for (one, other) in (0..processes).flat_map(|one| (0..one).map(move |other| (one, other))) {
        let (mine, theirs) = UnixStream::pair().unwrap();
        sockets[one][other] = Some(Connection::Unix(mine));
        sockets[other][one] = Some(Connection::Unix(theirs));
    }
    live_on(Implementation::Engine, input, whole(input, processes), |work| {
        let start = |(process, connections)| {
            let work = work.clone();
            let links = Links { process, connections, lost: Arc::new(|_, _| ()) };
            Hosts::start_cluster(1, links, move |host| work(host)).unwrap()
        };
        sockets.into_iter().enumerate().map(start).collect()
    })
}

/// Runs a part of an input, from the state that is on disk.
///
/// # Panics
/// Where a worker does.
pub(crate) fn live(
    implementation: Implementation,
    input: &Input,
    life: Life,
) -> Vec<Vec<EpochOutput>> {
    let workers = life.workers;
    live_on(implementation, input, life, |work| {
        vec![Hosts::start(workers, move |host| work(host)).unwrap()]
    })
}

type Work = Arc<dyn Fn(&mut Host<'_>) + Send + Sync>;

fn live_on(
    implementation: Implementation,
    input: &Input,
    life: Life,
    start: impl FnOnce(Work) -> Vec<Hosts>,
) -> Vec<Vec<EpochOutput>> {
    let shared = Arc::new(Shared::default());
    shared.on_disk.store(life.from as u64, Ordering::SeqCst);
    let on_workers = Arc::clone(&shared);
    let owned = input.clone();
    let expected = life.to - life.from;
    let hosts = start(Arc::new(move |host: &mut Host<'_>| {
        work(host, implementation, &owned, &life, &on_workers);
    }));
    hosts.into_iter().for_each(Hosts::join);
    assert!(!shared.panicked.load(Ordering::SeqCst), "a worker of {implementation:?} panicked");
    let outputs = std::mem::take(&mut *shared.outputs.lock().unwrap());
    assert_eq!(outputs.len(), expected, "every epoch is handed over");
    outputs.into_values().collect()
}

fn work(
    host: &mut Host<'_>,
    implementation: Implementation,
    input: &Input,
    life: &Life,
    shared: &Arc<Shared>,
) {
    let _alarm = Alarm(Arc::clone(shared));
    let sink = Arc::clone(shared);
    let (index, workers) = (host.index(), life.workers);
    let state = WorkerState::new(life.disk.clone(), index, workers);
    let (on_worker, on_life) = (state.clone(), life.clone());
    let first = Epoch(life.from as u64 + 1);
    let hand_over = move |output: EpochOutput| {
        if on_life.checkpoints.contains(&usize::try_from(output.epoch.0).unwrap()) {
            checkpoint(&on_worker, output.epoch, &on_life, &sink);
        }
        sink.outputs.lock().unwrap().entry(output.epoch).or_default().push(output);
    };
    let setup = Setup {
        scale: Scale::DEFAULT,
        rules: Arc::clone(&input.rules),
        state: &state,
        first_epoch: first,
        since_time: input.time(life.from),
    };
    let transactions = Ruled(implementation, Arc::clone(&input.rules));
    let mut engine = Engine::build(host, transactions, &setup, hand_over);
    let epochs = &input.epochs[life.from..life.to];
    let times = &input.times[life.from..life.to];
    for (events, time) in epochs.iter().zip(times) {
        for (ordinal, event) in events.iter().enumerate() {
            if ordinal % workers == index {
                let partition = u32::try_from(ordinal % PARTITIONS).unwrap();
                engine.push(event, Origin { partition, ordinal: (ordinal / PARTITIONS) as u64 });
            }
            if (ordinal + 1) % (BATCH * workers) == 0 {
                host.step();
            }
        }
        host.step();
        let epoch = engine.epoch();
        if life.checkpoints.contains(&usize::try_from(epoch.0).unwrap()) {
            // The one before must be on disk, as a host makes sure.
            let before = life.checkpoints.iter().rev().find(|at| (**at as u64) < epoch.0);
            let before = before.map_or(0, |at| *at as u64);
            while shared.on_disk.load(Ordering::SeqCst) < before
                && !shared.panicked.load(Ordering::SeqCst)
            {
                host.step_or_park(Duration::from_millis(1));
            }
            state.release(Epoch(shared.on_disk.load(Ordering::SeqCst)));
            state.request_seal(epoch);
        }
        engine.close(*time);
        host.step();
    }
    let complete = |outputs: &Outputs| {
        outputs.len() == epochs.len() && outputs.values().all(|shares| shares.len() == workers)
    };
    let waiting = Instant::now();
    while !complete(&shared.outputs.lock().unwrap()) && !shared.panicked.load(Ordering::SeqCst) {
        assert!(waiting.elapsed() < STUCK, "an epoch that was closed never completes");
        host.step_or_park(Duration::from_millis(1));
    }
}

/// Seals a worker's state; the last worker to do so takes all to disk.
fn checkpoint(state: &WorkerState, epoch: Epoch, life: &Life, shared: &Shared) {
    let mut sealed = shared.sealed.lock().unwrap();
    sealed.push(state.seal(epoch));
    if sealed.len() < life.workers {
        return;
    }
    let mark = Mark {
        epoch,
        commit_hash: "hash".to_owned(),
        configuration: "test".to_owned(),
        shards: Shards::ALL,
    };
    let disk = life.disk.as_ref().unwrap();
    let fill = |write: Write<'_, StateError>| SealedChanges::of(&sealed).for_each(write);
    disk.ingest(&mark, fill, |(), _| Ok(())).unwrap();
    sealed.clear();
    shared.on_disk.store(epoch.0, Ordering::SeqCst);
}

/// What all workers together changed in one epoch: rows by view, with the sum of their diffs, and
/// applied and duplicate by partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    rows: BTreeMap<(View, Row), Vec<i8>>,
    accepted: BTreeMap<u32, (u64, u64)>,
}

impl Changed {
    /// Puts the shares of an epoch together. Diffs of one row are kept apart: a row that comes and
    /// goes in one epoch is a difference too.
    pub(crate) fn of(shares: &[EpochOutput]) -> Changed {
        let mut changed = Changed::default();
        for share in shares {
            for table in &share.tables {
                for (row, diff) in table.diffs().iter().enumerate() {
                    let diffs = changed.rows.entry((table.view(), table.row(row))).or_default();
                    diffs.push(*diff);
                    diffs.sort_unstable();
                }
            }
            for (partition, accepted) in &share.accepted {
                let sum = changed.accepted.entry(*partition).or_default();
                *sum = (sum.0 + accepted.applied, sum.1 + accepted.duplicate);
            }
        }
        changed
    }
}

/// Runs an implementation, compares the views with the reference's after every epoch, and gives
/// them to `check`.
pub(crate) fn against_reference(
    implementation: Implementation,
    input: &Input,
    workers: usize,
    mut check: impl FnMut(usize, &Views) -> Result<(), String>,
) -> Result<(), String> {
    let outputs = changes(implementation, input, workers);
    judge(implementation, input, outputs, &mut check)
}

/// Compares the views with the reference's after every epoch.
pub(crate) fn judge(
    implementation: Implementation,
    input: &Input,
    outputs: Vec<Vec<EpochOutput>>,
    check: &mut impl FnMut(usize, &Views) -> Result<(), String>,
) -> Result<(), String> {
    let rules = input.rules.as_ref().clone();
    let mut alerts = Alerts::new(&rules);
    let mut reference = Reference::with_rules(Scale::DEFAULT, rules);
    let mut views: Views = View::ALL.into_iter().map(|view| (view, Rows::default())).collect();
    for (epoch, (events, shares)) in input.epochs.iter().zip(outputs).enumerate() {
        let time = input.times[epoch];
        reference.begin_epoch(time);
        let mut applied = 0;
        for event in events {
            applied += u64::from(reference.insert(event.clone()));
        }
        let accepted: (u64, u64) = shares
            .iter()
            .flat_map(|share| &share.accepted)
            .fold((0, 0), |sum, (_, counts)| (sum.0 + counts.applied, sum.1 + counts.duplicate));
        if accepted != (applied, events.len() as u64 - applied) {
            return Err(format!("epoch {epoch}: accepted {accepted:?}, reference {applied}"));
        }
        for share in &shares {
            for table in &share.tables {
                views.entry(table.view()).or_default().apply(table);
            }
        }
        let mut expected = reference.views();
        alerts.step(Epoch(epoch as u64 + 1), time, &expected[&View::Imbalances]);
        expected.insert(View::Alerts, alerts.rows());
        for view in View::ALL {
            if let Some(defect) = views[&view].defect(view) {
                return Err(format!("epoch {epoch}: {defect}"));
            }
            if views[&view] != expected[&view] {
                let (ours, theirs) = (&views[&view].0, &expected[&view].0);
                let only = |a: &BTreeMap<_, _>, b: &BTreeMap<_, _>| {
                    let rows: Vec<_> =
                        a.keys().filter(|row| !b.contains_key(*row)).cloned().collect();
                    format!("{rows:#?}")
                };
                return Err(format!(
                    "epoch {epoch}, {}: only {implementation:?} has {}, only the reference has {}",
                    view.name(),
                    only(ours, theirs),
                    only(theirs, ours)
                ));
            }
        }
        check(epoch, &views)?;
    }
    Ok(())
}
