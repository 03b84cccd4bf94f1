//! Runs every case of `tests/cases/*.txt` against the reference: as written, with the events of
//! each step in reverse, with each event doubled, and, for the last step, all events of the case
//! in reverse at once. The order never matters.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use trueup_ledger::cases::{Case, parse};
use trueup_ledger::reference::{Alerts, Reference};
use trueup_ledger::{Epoch, Event, Scale, View};

fn files() -> Vec<(String, Vec<Case>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let cases = parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            files.push((name, cases));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    files
}

/// Applies each step's events as `arrange` gives them, and checks after each step.
fn run(
    case: &Case,
    arrange: impl Fn(&[Event<'static>]) -> Vec<Event<'static>>,
) -> Result<(), String> {
    let mut reference = Reference::with_rules(Scale::DEFAULT, case.rules.clone());
    let mut alerts = Alerts::new(&case.rules);
    for (step, epoch) in case.steps.iter().zip(1..) {
        reference.begin_epoch(step.at);
        for event in arrange(&step.events) {
            reference.insert(event);
        }
        let mut views = reference.views();
        alerts.step(Epoch(epoch), step.at, &views[&View::Imbalances]);
        views.insert(View::Alerts, alerts.rows());
        for view in View::ALL {
            if let Some(defect) = views[&view].defect(view) {
                return Err(defect);
            }
        }
        step.check(&views)?;
    }
    Ok(())
}

fn run_all_in_reverse(case: &Case) -> Result<(), String> {
    if case.is_historic {
        return Ok(());
    }
    let mut reference = Reference::with_rules(Scale::DEFAULT, case.rules.clone());
    reference.begin_epoch(case.steps.last().map_or(0, |step| step.at));
    for event in case.steps.iter().flat_map(|step| &step.events).rev() {
        reference.insert(event.clone());
    }
    let last = case.steps.last().ok_or("a case without steps")?;
    last.check(&reference.views())
}

#[test]
fn every_case_holds_in_every_order() {
    let mut count = 0;
    let mut failures = String::new();
    for (file, cases) in files() {
        for case in &cases {
            let forward = |events: &[Event<'static>]| events.to_vec();
            let reverse = |events: &[Event<'static>]| events.iter().rev().cloned().collect();
            let double = |events: &[Event<'static>]| {
                events.iter().flat_map(|event| [event.clone(), event.clone()]).collect()
            };
            let results = [
                ("as written", run(case, forward)),
                ("in reverse", run(case, reverse)),
                ("doubled", run(case, double)),
                ("all in reverse", run_all_in_reverse(case)),
            ];
            for (order, result) in results {
                if let Err(error) = result {
                    failures.push_str(&format!("{file}, {}, {order}: {error}\n", case.name));
                    break;
                }
            }
            count += 1;
        }
    }
    assert!(failures.is_empty(), "{failures}");
    println!("{count} cases hold");
    assert!(count >= 60, "only {count} cases");
}

#[test]
fn cases_have_names_quotations_and_expectations() {
    for (file, cases) in files() {
        let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len(), "{file}: a name is given twice");
        for case in &cases {
            let has_quotation = !case.spec.is_empty() || !case.decisions.is_empty();
            assert!(has_quotation, "{file}, {}: no quotation", case.name);
            let expects = |step: &trueup_ledger::cases::Step| !step.expectations.is_empty();
            assert!(
                !case.steps.is_empty() && case.steps.iter().all(expects),
                "{file}, {}: a step without expectation",
                case.name
            );
        }
    }
}
