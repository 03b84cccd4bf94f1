//! Every hand-written case, each step an epoch.

use std::path::Path;

use trueup_ledger::Event;
use trueup_ledger::cases::{Case, parse};

use crate::harness::against_reference;

fn all_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| parse(&text).unwrap()).collect()
}

fn check(case: &Case, workers: usize, change: impl Fn(&[Event<'static>]) -> Vec<Event<'static>>) {
    let epochs: Vec<_> = case.steps.iter().map(|step| change(&step.events)).collect();
    let outcome =
        against_reference(&epochs, workers, |epoch, views| case.steps[epoch].check(views));
    if let Err(error) = outcome {
        panic!("{} on {workers} workers: {error}", case.name);
    }
}

#[test]
fn cases_hold_in_the_engine() {
    let cases = all_cases();
    assert!(cases.len() > 60, "the case files are there");
    for case in &cases {
        check(case, 1, <[_]>::to_vec);
        check(case, 2, |events| events.iter().rev().cloned().collect());
        check(case, 4, |events| events.iter().chain(events).cloned().collect());
    }
}

/// Each event an epoch of its own: only the last epoch of a step is checked against the case, every
/// one against the reference.
#[test]
fn cases_hold_event_by_event() {
    for case in &all_cases() {
        let mut epochs = Vec::new();
        let mut ends = Vec::new();
        for step in &case.steps {
            epochs.extend(step.events.iter().map(|event| vec![event.clone()]));
            ends.push(epochs.len());
        }
        let outcome = against_reference(&epochs, 2, |epoch, views| {
            match ends.iter().position(|end| *end == epoch + 1) {
                Some(step) => case.steps[step].check(views),
                None => Ok(()),
            }
        });
        if let Err(error) = outcome {
            panic!("{}: {error}", case.name);
        }
    }
}
