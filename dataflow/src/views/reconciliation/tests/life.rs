//! Runs epochs on the workers of one start, from the state that is on disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trueup_ledger::{Epoch, Event, Rules};

use super::{SCALE, Step};
use crate::store::{Disk, Mark, Sealed, SealedChanges, Shards, StateError, WorkerState, Write};
use crate::transactions::Stateful;
use crate::{Engine, EpochOutput, Host, Hosts, Origin, Setup};

/// Far beyond what any run takes.
const STUCK: Duration = Duration::from_secs(60);

/// A part of a run between two starts: the epochs behind `from` and through `to`.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) workers: usize,
    /// Behind which epoch state goes to disk, while later ones are under way.
    pub(super) checkpoint: Option<u64>,
    pub(super) disk: Option<Disk>,
}

#[derive(Default)]
struct Shared {
    outputs: Mutex<BTreeMap<Epoch, Vec<EpochOutput>>>,
    sealed: Mutex<Vec<Sealed>>,
    panicked: AtomicBool,
}

struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::SeqCst);
        }
    }
}

fn rules() -> Rules {
    let mut rules = Rules::default();
    for (processor, account) in
        [("klarna", "assets:klarna"), ("stripe", "assets:cards"), ("adyen", "assets:cards")]
    {
        rules.clearing.insert(processor.into(), account.into());
    }
    rules
}

/// Lives a part of the epochs; returns what each changed.
pub(super) fn live(steps: &[Step], life: &Life) -> Vec<Vec<EpochOutput>> {
    let shared = Arc::new(Shared::default());
    let epochs: Vec<_> = steps.iter().map(|(time, events, _)| (*time, events.clone())).collect();
    let (on_workers, of_workers) = (Arc::clone(&shared), life.clone());
    let hosts = Hosts::start(life.workers, move |host| {
        work(host, &epochs, &of_workers, &on_workers);
    });
    hosts.unwrap().join();
    assert!(!shared.panicked.load(Ordering::SeqCst), "a worker panicked");
    let outputs = std::mem::take(&mut *shared.outputs.lock().unwrap());
    assert_eq!(outputs.len(), life.to - life.from, "every epoch is handed over");
    outputs.into_values().collect()
}

fn work(
    host: &mut Host<'_>,
    epochs: &[(i64, Vec<Event<'static>>)],
    life: &Life,
    shared: &Arc<Shared>,
) {
    let _alarm = Alarm(Arc::clone(shared));
    let (index, workers) = (host.index(), life.workers);
    let state = WorkerState::new(life.disk.clone(), index, workers);
    let (sink, on_worker, on_life) = (Arc::clone(shared), state.clone(), life.clone());
    let hand_over = move |output: EpochOutput| {
        if on_life.checkpoint == Some(output.epoch.0) {
            checkpoint(&on_worker, output.epoch, &on_life, &sink);
        }
        sink.outputs.lock().unwrap().entry(output.epoch).or_default().push(output);
    };
    let rules = Arc::new(rules());
    let setup = Setup {
        scale: SCALE,
        rules: Arc::clone(&rules),
        state: &state,
        first_epoch: Epoch(life.from as u64 + 1),
        since_time: life.from.checked_sub(1).map_or(i64::MIN, |last| epochs[last].0),
    };
    let mut engine = Engine::build(host, Stateful { scale: SCALE, rules }, &setup, hand_over);
    for (time, events) in &epochs[life.from..life.to] {
        for (ordinal, event) in events.iter().enumerate() {
            if ordinal % workers == index {
                engine.push(event, Origin { partition: 0, ordinal: ordinal as u64 });
            }
        }
        if life.checkpoint == Some(engine.epoch().0) {
            state.request_seal(engine.epoch());
        }
        engine.close(*time);
        host.step();
    }
    let waiting = Instant::now();
    let is_complete = || {
        let outputs = shared.outputs.lock().unwrap();
        outputs.len() == life.to - life.from && outputs.values().all(|all| all.len() == workers)
    };
    while !is_complete() && !shared.panicked.load(Ordering::SeqCst) {
        assert!(waiting.elapsed() < STUCK, "an epoch that was closed never completes");
        host.step_or_park(Duration::from_millis(1));
    }
}

/// Seals a worker's state; the last worker to do so takes all to disk.
fn checkpoint(state: &WorkerState, epoch: Epoch, life: &Life, shared: &Shared) {
    let mut sealed = shared.sealed.lock().unwrap();
    sealed.push(state.seal(epoch));
    if sealed.len() == life.workers {
        let mark = Mark {
            epoch,
            commit_hash: "hash".to_owned(),
            configuration: "test".to_owned(),
            shards: Shards::ALL,
        };
        let disk = life.disk.as_ref().unwrap();
        let fill = |write: Write<'_, StateError>| SealedChanges::of(&sealed).for_each(write);
        disk.ingest(&mark, fill, |(), _| Ok(())).unwrap();
    }
}
