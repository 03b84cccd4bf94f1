//! Full volumes and syncs that fail.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trueup_testing::steps::{Action, Outcome, Plan};

use crate::scene::{Found, Kind, Scene, each, seed};

/// At how many moments the volume gets full.
const MOMENTS: usize = 24;

#[test]
fn a_volume_that_gets_full_ends_the_run_with_advice_and_harms_nothing() {
    let seed = seed();
    let scene = Scene::new(Found::Nothing, "2", seed);
    let steps: usize = scene.kinds().values().sum();
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    // The first and the last moments are those of the start and of the last checkpoint.
    let mut moments: Vec<usize> = (0..MOMENTS).map(|_| draw.random_range(1..=steps)).collect();
    moments.extend([1, 2, 3, steps - 40, steps - 20]);
    each(&moments, seed, |at, _| {
        let wreck = scene.disturb(&Plan::at(Action::Full, *at));
        let refused = wreck.steps.iter().any(|step| step.outcome == Outcome::Failed);
        let expected = if refused { 4 } else { 0 };
        if wreck.code != Some(expected) || wreck.said.contains("panicked") {
            return Err(format!("it ends with {:?}: {}", wreck.code, wreck.said));
        }
        if refused && !wreck.said.contains("the volume is full") {
            return Err(format!("it does not say that the volume is full: {}", wreck.said));
        }
        // With room again.
        scene.judge(&wreck, 0)
    });
}

#[test]
fn a_sync_that_fails_is_never_taken_for_success() {
    let seed = seed();
    let scene = Scene::new(Found::Nothing, "2", seed);
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let kinds: BTreeMap<Kind, usize> = scene.kinds();
    let syncs = kinds.into_iter().filter(|((call, _), _)| call == "sync");
    let plans: Vec<Plan> = syncs
        .map(|((call, kind), count)| {
            let at = draw.random_range(1..=count);
            Plan { action: Action::Fail, at, call, kind }
        })
        .collect();
    each(&plans, seed, |plan, _| {
        let wreck = scene.disturb(plan);
        if wreck.said.contains("panicked") {
            return Err(format!("it panicked: {}", wreck.said));
        }
        wreck.power_cut(|_| 0)?;
        match wreck.code {
            Some(4) => scene.judge(&wreck, 1),
            // Where it says that all is done, it has to be, whatever could not be synced.
            Some(0) => scene.judge_books(&wreck.store),
            code => Err(format!("it ends with {code:?}: {}", wreck.said)),
        }
    });
}
