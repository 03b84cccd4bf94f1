//! Kills at durable steps, and power cuts there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trueup_testing::steps::{Action, Plan};

use crate::scene::{Found, Kind, Scene, Wreck, each, kind, seed};

/// One death, or two, and what else goes wrong.
#[derive(Clone, Debug)]
struct Death {
    plan: Plan,
    power: Power,
    /// At which step the run after it is killed as well.
    again: Option<usize>,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Stays,
    LosesSome,
    LosesAll,
}

/// How many steps more are drawn than each kind has once.
const MORE: usize = 10;

/// How often a step is tried to be met that some runs do not have.
const TRIES: usize = 5;

fn actions(call: &str) -> &'static [Action] {
    match call {
        "write" => &[Action::KillBefore, Action::KillTorn, Action::KillAfter],
        _ => &[Action::KillBefore, Action::KillAfter],
    }
}

/// Draws a step of each kind, and some more.
fn sample(kinds: &BTreeMap<Kind, usize>, draw: &mut ChaCha8Rng) -> Vec<Death> {
    let all: usize = kinds.values().sum();
    let mut deaths = Vec::new();
    let mut push = |(call, kind): &Kind, at: usize, draw: &mut ChaCha8Rng| {
        let action = *actions(call).choose(draw).unwrap();
        deaths.push(Death {
            plan: Plan { action, at, call: call.clone(), kind: kind.clone() },
            power: *[Power::Stays, Power::LosesSome, Power::LosesAll].choose(draw).unwrap(),
            again: draw.random_ratio(1, 4).then(|| draw.random_range(1..=all / 2)),
        });
    };
    for (kind, count) in kinds {
        push(kind, draw.random_range(1..=*count), draw);
    }
    for _ in 0..MORE {
        let mut place = draw.random_range(0..all);
        for (kind, count) in kinds {
            if place < *count {
                push(kind, place + 1, draw);
                break;
            }
            place -= count;
        }
    }
    deaths
}

/// Lets a run die, and judges what is left; says whether it died.
fn die(scene: &Scene, death: &Death, draw: &mut ChaCha8Rng) -> Result<bool, String> {
    let mut wreck = scene.disturb(&death.plan);
    let wanted = (death.plan.call.clone(), death.plan.kind.clone());
    let Some(step) = wreck.killed_at() else {
        if wreck.code != Some(0) {
            return Err(format!("it ended by itself with {:?}: {}", wreck.code, wreck.said));
        }
        let had = wreck.steps.iter().filter(|step| wanted.0 == "*" || kind(step) == wanted).count();
        if had >= death.plan.at {
            return Err(format!("it went on past the step, which it met {had} times"));
        }
        return Ok(false);
    };
    let met = wanted.0 == "*" || kind(step) == wanted;
    assert!(met, "{death:?} was killed at {step:?}");
    cut(&wreck, death.power, draw)?;
    if let Some(at) = death.again {
        scene.disturb_again(&mut wreck, &Plan::at(Action::KillAfter, at));
        cut(&wreck, death.power, draw)?;
    }
    scene.judge(&wreck, usize::from(death.power != Power::Stays)).map(|()| true)
}

fn cut(wreck: &Wreck, power: Power, draw: &mut ChaCha8Rng) -> Result<(), String> {
    match power {
        Power::Stays => Ok(()),
        Power::LosesSome => wreck.power_cut(|most| draw.random_range(0..=most)),
        Power::LosesAll => wreck.power_cut(|_| 0),
    }
}

/// Kills at a sample of steps that has every kind of step. Where threads take turns otherwise than
/// in the runs that were counted, as on a machine that is busy meanwhile, runs can be without a
/// kind, say without the files that merging in the tree deletes: it may then be missed, which
/// [`die`] has seen to be so, if nearly all kinds were met.
fn quick(found: Found, workers: &'static str) {
    let (seed, started) = (seed(), Instant::now());
    let scene = Scene::new(found, workers, seed);
    let kinds = scene.kinds();
    let deaths = sample(&kinds, &mut ChaCha8Rng::seed_from_u64(seed));
    let missed = Mutex::new(Vec::new());
    each(&deaths, seed, |death, draw| {
        let mut death = death.clone();
        for _ in 0..TRIES {
            if die(&scene, &death, draw)? {
                return Ok(());
            }
            // This run had fewer of them.
            death.plan.at = 1;
        }
        missed.lock().unwrap().push(death.plan);
        Ok(())
    });
    let steps: usize = kinds.values().sum();
    let missed = missed.into_inner().unwrap();
    println!(
        "{} of {steps} steps, of {} kinds, in {:?}; never met: {missed:?}",
        deaths.len(),
        kinds.len(),
        started.elapsed()
    );
    assert!(missed.len() * 20 <= kinds.len(), "never met: {missed:?}");
}

#[test]
fn killed_at_any_kind_of_step_the_books_are_right() {
    quick(Found::Nothing, "1");
}

#[test]
fn killed_at_any_kind_of_step_of_two_workers_the_books_are_right() {
    quick(Found::Nothing, "2");
}

#[test]
fn killed_at_any_kind_of_step_of_a_restore_the_books_are_right() {
    quick(Found::CopiesAlone, "2");
}

#[test]
fn killed_at_any_kind_of_step_of_catching_up_with_transactions_the_books_are_right() {
    quick(Found::TransactionsAhead, "1");
}

#[test]
fn killed_at_any_kind_of_step_of_a_new_copy_the_books_are_right() {
    quick(Found::NoNewestCopy, "1");
}

/// Kills after every step, within every write, and with the power cut after every step: with all
/// lost that may be, and with some of it. Before a step is after the one before it.
#[test]
#[ignore = "the whole sweep, about an hour"]
fn killed_at_every_step_the_books_are_right() {
    let seed = seed();
    for (found, workers) in [
        (Found::Nothing, "2"),
        (Found::CopiesAlone, "2"),
        (Found::NoNewestCopy, "2"),
        (Found::TransactionsAhead, "2"),
        (Found::Nothing, "1"),
        (Found::CopiesAlone, "1"),
    ] {
        let started = Instant::now();
        let scene = Scene::new(found, workers, seed);
        let steps = scene.disturb(&Plan::watch()).steps;
        let mut deaths = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let mut push = |action, power| {
                deaths.push(Death { plan: Plan::at(action, index + 1), power, again: None });
            };
            push(Action::KillAfter, Power::Stays);
            push(Action::KillAfter, Power::LosesAll);
            push(Action::KillAfter, Power::LosesSome);
            if step.call == "write" {
                push(Action::KillTorn, Power::Stays);
            }
        }
        let met = AtomicUsize::new(0);
        each(&deaths, seed, |death, draw| {
            met.fetch_add(usize::from(die(&scene, death, draw)?), Ordering::Relaxed);
            Ok(())
        });
        let (count, met, time) = (deaths.len(), met.into_inner(), started.elapsed());
        println!("{found:?}, {workers} workers: {} steps, {met} deaths in {time:?}", steps.len());
        assert!(met * 10 > count * 9, "{met} of {count} runs died where they were to");
    }
}
