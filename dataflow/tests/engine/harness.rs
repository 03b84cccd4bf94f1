//! Runs an implementation on events cut into epochs, and compares every epoch with the reference.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use timely::dataflow::Stream;
use trueup_dataflow::record::EventRecord;
use trueup_dataflow::store::MemoryStore;
use trueup_dataflow::transactions::{Changes, Stateful, Transactions};
use trueup_dataflow::{Connection, Engine, EpochOutput, Host, Hosts, Links, Origin};
use trueup_ledger::reference::Reference;
use trueup_ledger::table::{Row, Rows};
use trueup_ledger::{Epoch, Event, Scale, View};

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

impl Transactions for Implementation {
    fn build<'s>(self, events: Stream<'s, u64, Vec<EventRecord>>) -> Changes<'s> {
        let scale = Scale::DEFAULT;
        match self {
            Implementation::Engine => {
                Stateful { store: MemoryStore::default(), scale }.build(events)
            }
            Implementation::Twin => ReduceTwin { scale }.build(events),
        }
    }
}

type Outputs = BTreeMap<Epoch, Vec<EpochOutput>>;

/// What the workers of a run share.
#[derive(Default)]
struct Shared {
    outputs: Mutex<Outputs>,
    panicked: AtomicBool,
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
    epochs: &[Vec<Event<'static>>],
    workers: usize,
) -> Vec<Vec<EpochOutput>> {
    changes_of(implementation, epochs, workers, |work| {
        vec![Hosts::start(workers, move |host| work(host)).unwrap()]
    })
}

/// As [`changes`], on `processes` of one worker each that talk through sockets as those of a cluster
/// do.
pub(crate) fn changes_of_cluster(
    epochs: &[Vec<Event<'static>>],
    processes: usize,
) -> Vec<Vec<EpochOutput>> {
    let mut sockets: Vec<Vec<Option<Connection>>> =
        (0..processes).map(|_| (0..processes).map(|_| None).collect()).collect();
    for (one, other) in (0..processes).flat_map(|one| (0..one).map(move |other| (one, other))) {
        let (mine, theirs) = UnixStream::pair().unwrap();
        sockets[one][other] = Some(Connection::Unix(mine));
        sockets[other][one] = Some(Connection::Unix(theirs));
    }
    changes_of(Implementation::Engine, epochs, processes, |work| {
        let start = |(process, connections)| {
            let work = work.clone();
            let links = Links { process, connections, lost: Arc::new(|_, _| ()) };
            Hosts::start_cluster(1, links, move |host| work(host)).unwrap()
        };
        sockets.into_iter().enumerate().map(start).collect()
    })
}

type Work = Arc<dyn Fn(&mut Host<'_>) + Send + Sync>;

fn changes_of(
    implementation: Implementation,
    epochs: &[Vec<Event<'static>>],
    workers: usize,
    start: impl FnOnce(Work) -> Vec<Hosts>,
) -> Vec<Vec<EpochOutput>> {
    let shared = Arc::new(Shared::default());
    let on_workers = Arc::clone(&shared);
    let owned: Arc<[Vec<Event<'static>>]> = epochs.into();
    let hosts = start(Arc::new(move |host: &mut Host<'_>| {
        work(host, implementation, &owned, workers, &on_workers);
    }));
    hosts.into_iter().for_each(Hosts::join);
    assert!(!shared.panicked.load(Ordering::SeqCst), "a worker of {implementation:?} panicked");
    let outputs = std::mem::take(&mut *shared.outputs.lock().unwrap());
    assert_eq!(outputs.len(), epochs.len(), "every epoch is handed over");
    outputs.into_values().collect()
}

fn work(
    host: &mut Host<'_>,
    implementation: Implementation,
    epochs: &[Vec<Event<'static>>],
    workers: usize,
    shared: &Arc<Shared>,
) {
    let _alarm = Alarm(Arc::clone(shared));
    let sink = Arc::clone(shared);
    let index = host.index();
    let mut engine = Engine::build(host, implementation, Scale::DEFAULT, Epoch(1), move |output| {
        sink.outputs.lock().unwrap().entry(output.epoch).or_default().push(output);
    });
    for events in epochs {
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
        engine.close();
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
    epochs: &[Vec<Event<'static>>],
    workers: usize,
    mut check: impl FnMut(usize, &Views) -> Result<(), String>,
) -> Result<(), String> {
    let mut reference = Reference::new(Scale::DEFAULT);
    let mut views: Views = View::ALL.into_iter().map(|view| (view, Rows::default())).collect();
    let outputs = changes(implementation, epochs, workers);
    for (epoch, (events, shares)) in epochs.iter().zip(outputs).enumerate() {
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
        let expected = reference.views();
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
