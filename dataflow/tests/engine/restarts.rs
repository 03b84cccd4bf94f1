//! State on disk: an engine that is started again, from a checkpoint behind what it had done and with
//! another number of workers, goes on as if nothing had happened.

use proptest::prelude::*;
use trueup_dataflow::EpochOutput;
use trueup_dataflow::store::{Disk, StateError};
use trueup_ledger::{Epoch, Event};

use crate::harness::{Changed, Implementation, Input, Life, judge, live};
use crate::properties::{account, event, fact, link, resolution, workload};

const CACHE_BYTES: u64 = 1 << 20;

/// One start: how many epochs it lives, where within them it takes checkpoints, on how many workers.
type Start = (usize, Vec<prop::sample::Index>, usize);

fn starts() -> impl Strategy<Value = Vec<Start>> {
    let checkpoints = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let workers = prop::sample::select(vec![1, 2, 3, 4]);
    prop::collection::vec((1_usize..6, checkpoints, workers), 1..5)
}

/// Runs the epochs in several lives, each from the last checkpoint of the one before, until all are
/// done; what is done again must change the same rows.
fn lives(epochs: &[Vec<Event<'static>>], starts: &[Start]) -> Result<(), TestCaseError> {
    let input = Input::of(epochs);
    let directory = tempfile::tempdir().unwrap();
    let mut outputs: Vec<Vec<EpochOutput>> = Vec::new();
    let mut starts = starts.iter().cycle();
    let mut barren = 0;
    while outputs.len() < epochs.len() {
        let (length, places, workers) = starts.next().unwrap();
        let disk = Disk::open(directory.path(), CACHE_BYTES).unwrap();
        let mark = disk.standing().unwrap().mark;
        let from = mark.map_or(0, |mark| usize::try_from(mark.epoch.0).unwrap());
        // Lives without a checkpoint must get further each time, or they would never end.
        barren += 1;
        let to = (from + length + barren).min(epochs.len());
        let mut checkpoints: Vec<_> =
            places.iter().map(|place| from + 1 + place.index(to - from)).collect();
        checkpoints.sort_unstable();
        checkpoints.dedup();
        let life = Life { from, to, workers: *workers, checkpoints, disk: Some(disk) };
        let lived = live(Implementation::Engine, &input, life);
        for (epoch, shares) in (from..).zip(lived) {
            if epoch < outputs.len() {
                let again = Changed::of(&shares);
                prop_assert_eq!(again, Changed::of(&outputs[epoch]), "epoch {} again", epoch);
            } else {
                outputs.push(shares);
            }
        }
    }
    let outcome = judge(Implementation::Engine, &input, outputs, &mut |_, _| Ok(()));
    outcome.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_events_over_several_lives(
        epochs in prop_oneof![
            workload(event(), 30),
            workload(link(), 30),
            workload(resolution(), 30),
            workload(account(), 30),
            workload(fact(), 40),
        ],
        starts in starts(),
    ) {
        lives(&epochs, &starts)?;
    }
}

#[test]
fn one_state_has_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let first = Disk::open(directory.path(), CACHE_BYTES).unwrap();
    assert!(first.standing().unwrap().mark.is_none());
    let second = Disk::open(directory.path(), CACHE_BYTES);
    assert!(matches!(second, Err(StateError::Busy { .. })));
    assert_eq!(Epoch(0), first.standing().unwrap().mark.map_or(Epoch(0), |mark| mark.epoch));
}
