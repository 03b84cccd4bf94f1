//! Every hand-written case, each step an epoch.

use std::path::Path;
use std::sync::Arc;

use trueup_ledger::Event;
use trueup_ledger::cases::{Case, parse};

use crate::harness::{Implementation, Input, against_reference};

fn all_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    texts.flat_map(|text| parse(&text).unwrap()).collect()
}

fn check(
    implementation: Implementation,
    case: &Case,
    workers: usize,
    change: impl Fn(&[Event<'static>]) -> Vec<Event<'static>>,
) {
    let steps = case.steps.iter().map(|step| (step.at, change(&step.events)));
    let (times, epochs): (_, Vec<_>) = steps.unzip();
    let input = Input { rules: Arc::new(case.rules.clone()), times, epochs: epochs.into() };
    let outcome = against_reference(implementation, &input, workers, |epoch, views| {
        case.steps[epoch].check(views)
    });
    if let Err(error) = outcome {
        panic!("{} on {workers} workers: {error}", case.name);
    }
}

fn step_by_step(implementation: Implementation, many: usize) {
    let cases = all_cases();
    assert!(cases.len() > 60, "the case files are there");
    for case in &cases {
        check(implementation, case, 1, <[_]>::to_vec);
        check(implementation, case, 2, |events| events.iter().rev().cloned().collect());
        check(implementation, case, many, |events| events.iter().chain(events).cloned().collect());
    }
}

/// Each event an epoch of its own: only the last epoch of a step is checked against the case, and that
/// only where the case is of sets alone; every one against the reference.
fn event_by_event(implementation: Implementation) {
    for case in &all_cases() {
        let mut epochs = Vec::new();
        let mut times = Vec::new();
        let mut ends = Vec::new();
        for step in &case.steps {
            epochs.extend(step.events.iter().map(|event| vec![event.clone()]));
            // One in which nothing but time goes by is an epoch too.
            epochs.extend(step.events.is_empty().then(Vec::new));
            times.resize(epochs.len(), step.at);
            ends.push(epochs.len());
        }
        let input = Input { rules: Arc::new(case.rules.clone()), times, epochs: epochs.into() };
        let outcome = against_reference(implementation, &input, 2, |epoch, views| {
            match ends.iter().position(|end| *end == epoch + 1) {
                Some(step) if !case.is_historic => case.steps[step].check(views),
                _ => Ok(()),
            }
        });
        if let Err(error) = outcome {
            panic!("{}: {error}", case.name);
        }
    }
}

#[test]
fn cases_hold_in_the_engine() {
    step_by_step(Implementation::Engine, 4);
}

#[test]
fn cases_hold_in_the_twin() {
    step_by_step(Implementation::Twin, 2);
}

#[test]
fn cases_hold_in_the_engine_event_by_event() {
    event_by_event(Implementation::Engine);
}

#[test]
fn cases_hold_in_the_twin_event_by_event() {
    event_by_event(Implementation::Twin);
}

/// A chain as long as a hostile tenant may build it: the engine's cost must grow with its length
/// and not with the square of it, or one tenant holds up all others.
#[test]
fn a_chain_of_thousands_of_reversals_in_one_epoch() {
    use std::fmt::Write as _;

    let mut text = "case chain\nspec: chains of any depth\n".to_owned();
    text.push_str("post t0 e0 cash:5:EUR sales:-5:EUR\n");
    for link in 1..=3000 {
        writeln!(text, "reverse t{link} e{link} of=t{}", link - 1).unwrap();
    }
    text.push_str("expect balances(account, balance)\n  cash | 5\n  sales | -5\n");
    check(Implementation::Engine, &parse(&text).unwrap()[0], 2, <[_]>::to_vec);
}

/// As many that resolve one hold, and what takes each of them back: one answer each, not one for
/// each of the others.
#[test]
fn a_hold_that_thousands_resolve_in_one_epoch() {
    use std::fmt::Write as _;

    let mut text = "case resolved\nspec: Further ones are hold_already_resolved\n".to_owned();
    text.push_str("hold h e0 cash:5:EUR sales:-5:EUR\n");
    for place in 1..=3000 {
        let carried = if place % 3 == 0 { "cash:1:EUR sales:-1:EUR" } else { "" };
        writeln!(text, "capture c{place} e{place} rec={place} of=h {carried}").unwrap();
        writeln!(text, "reverse r{place} e{place} of=c{place}").unwrap();
    }
    text.push_str("expect transaction_totals(transaction_id, gross, status) transaction_id=h\n");
    text.push_str("  h | 5 | captured\n");
    text.push_str("expect balances(account, posted_debits, balance)\n  cash | 1005 | 0\n");
    text.push_str("  sales | 1005 | 0\n");
    check(Implementation::Engine, &parse(&text).unwrap()[0], 2, <[_]>::to_vec);
}
