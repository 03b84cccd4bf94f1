//! Runs the engine on events cut into epochs, and compares every epoch with the reference.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trueup_dataflow::store::MemoryStore;
use trueup_dataflow::transactions::Stateful;
use trueup_dataflow::{Engine, EpochOutput, Hosts, Origin};
use trueup_ledger::reference::Reference;
use trueup_ledger::table::Rows;
use trueup_ledger::{Epoch, Event, Scale, View};

/// All views at one epoch.
pub type Views = BTreeMap<View, Rows>;

/// Runs `epochs` on `workers` workers; event number n is pushed by worker n modulo workers.
/// Returns what each epoch changed.
pub fn changes(epochs: &[Vec<Event<'static>>], workers: usize) -> Vec<Vec<EpochOutput>> {
    let outputs: Arc<Mutex<BTreeMap<Epoch, Vec<EpochOutput>>>> = Arc::default();
    let collected = Arc::clone(&outputs);
    let epochs: Arc<[Vec<Event<'static>>]> = epochs.into();
    let count = epochs.len();
    let hosts = Hosts::start(workers, move |host| {
        let collected = Arc::clone(&collected);
        let index = host.index();
        let transactions = Stateful { store: MemoryStore::default(), scale: Scale::DEFAULT };
        let sink = Arc::clone(&collected);
        let mut engine =
            Engine::build(host, transactions, Scale::DEFAULT, Epoch(1), move |output| {
                sink.lock().unwrap().entry(output.epoch).or_default().push(output);
            });
        for events in epochs.iter() {
            for (ordinal, event) in events.iter().enumerate() {
                if ordinal % workers == index {
                    let origin = Origin { partition: 0, ordinal: ordinal as u64 };
                    engine.push(event, origin);
                }
            }
            engine.close();
            host.step();
        }
        let complete = |outputs: &BTreeMap<Epoch, Vec<EpochOutput>>| {
            outputs.len() == count && outputs.values().all(|shares| shares.len() == workers)
        };
        while !complete(&collected.lock().unwrap()) {
            host.step_or_park(Duration::from_millis(1));
        }
    });
    hosts.unwrap().join();
    let outputs = std::mem::take(&mut *outputs.lock().unwrap());
    outputs.into_values().collect()
}

/// Runs the engine, and after every epoch gives the views and the reference's to `check`.
pub fn against_reference(
    epochs: &[Vec<Event<'static>>],
    workers: usize,
    mut check: impl FnMut(usize, &Views) -> Result<(), String>,
) -> Result<(), String> {
    let mut reference = Reference::new(Scale::DEFAULT);
    let mut views: Views = View::ALL.into_iter().map(|view| (view, Rows::default())).collect();
    let outputs = changes(epochs, workers);
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
                    let rows: Vec<_> = a.keys().filter(|row| !b.contains_key(*row)).cloned().collect();
                    format!("{rows:#?}")
                };
                return Err(format!(
                    "epoch {epoch}, {}: only the engine has {}, only the reference has {}",
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
