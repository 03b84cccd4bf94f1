//! Adds up changes of one key on their way out, as far as they come soon after one another.
//!
//! A key that every transaction changes leaves seldom, and one that hardly any does leaves as it comes:
//! whoever receives adds up the rest, since it sorts what all workers send. A table of all keys would
//! do that twice, and would not fit into a cache.

use std::hash::BuildHasher;

use differential_dataflow::difference::{IsZero, Semigroup};

use super::Batch;
use crate::hash::KeyHasher;
use crate::room::Expected;
use crate::store::{StateKey, worker_of};
use crate::sums::{CompactSides, Sides};

/// How many keys are held back at a time.
const SLOTS: usize = 1 << 11;

/// How many pieces what is for one worker leaves in, each of as many shards: few enough for the memory of
/// large ones to be of use to all threads once it is given back, and many enough for a cache to hold one.
const PIECES: usize = 16;

/// Changes of sums by key. What comes out adds up to what went in; a key may come more than once.
#[derive(Debug)]
pub(super) struct Combiner<K> {
    /// The last change of a key that has its place here.
    held: Vec<Option<(K, Sides)>>,
    /// What came out, by piece and worker.
    out: Vec<Vec<(K, CompactSides)>>,
    workers: usize,
    /// How many lines are expected, as long as nothing has been taken of them, and how many changes of each.
    lines: usize,
    expected: Expected,
}

impl<K: StateKey> Combiner<K> {
    /// Holds nothing yet of what is for any of so many workers, and expects so many changes of each line to
    /// come out.
    pub(super) fn new(workers: usize, each: usize) -> Combiner<K> {
        let out = std::iter::repeat_with(Vec::new).take(PIECES * workers).collect();
        Combiner { held: Vec::new(), out, workers, lines: 0, expected: Expected::each(each) }
    }

    /// Makes room for what so many lines are likely to change.
    pub(super) fn expect(&mut self, lines: usize) {
        self.lines = lines;
        // One may have more than others, and what grows is moved and takes twice the room.
        let each = self.expected.of(lines) / self.out.len();
        self.out.iter_mut().for_each(|changes| changes.reserve(each + each / 16));
    }

    /// Adds a change of a key.
    pub(super) fn add(&mut self, key: K, sides: Sides) {
        if self.held.is_empty() {
            self.held.resize(SLOTS, None);
        }
        let hash = usize::try_from(KeyHasher::default().hash_one(key) >> 32).unwrap_or(0);
        match &mut self.held[hash % SLOTS] {
            Some((known, sum)) if *known == key => sum.plus_equals(&sides),
            place => {
                let before = place.replace((key, sides));
                push(&mut self.out, self.workers, before);
            }
        }
    }

    /// Takes all changes since the last call, in pieces: their numbers route them to their workers, and those of
    /// one worker are in the order of its shards.
    pub(super) fn take(&mut self) -> Vec<Batch<K>> {
        for change in self.held.drain(..) {
            push(&mut self.out, self.workers, change);
        }
        let changes = self.out.iter().map(Vec::len).sum();
        // What mail changes comes behind it and is none of it.
        self.expected.note(std::mem::take(&mut self.lines), changes);
        let taken = (0..).zip(self.out.iter_mut().map(std::mem::take));
        taken.filter(|(_, changes)| !changes.is_empty()).collect()
    }
}

/// Adds a change to the piece in which its shard is.
fn push<K: StateKey>(
    out: &mut [Vec<(K, CompactSides)>],
    workers: usize,
    change: Option<(K, Sides)>,
) {
    if let Some((key, sides)) = change.filter(|(_, sides)| !sides.is_zero()) {
        let shard = key.shard();
        let piece = (usize::from(shard) * PIECES) >> u8::BITS;
        out[piece * workers + worker_of(shard, workers)].push((key, sides.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use trueup_ledger::Side;

    use super::*;
    use crate::names::AccountKey;

    proptest! {
        #[test]
        fn what_comes_out_adds_up_to_what_went_in(
            epochs in prop::collection::vec(
                prop::collection::vec((0..6_u128, 0..3_u128, 0..5_i128, any::<bool>()), 0..60),
                1..4,
            ),
        ) {
            let mut combiner = Combiner::new(3, 1);
            for lines in epochs {
                let mut wanted = BTreeMap::new();
                combiner.expect(lines.len());
                for (number, collides, units, added) in lines {
                    // Keys of one place, and of different ones, of several shards.
                    let key = AccountKey((number << 120) | (number << 32) | (collides << 80));
                    let sides = Sides::of_line(Side::Debit, units, if added { 1 } else { -1 });
                    combiner.add(key, sides);
                    wanted.entry(key).or_insert_with(Sides::default).plus_equals(&sides);
                }
                let mut sums = BTreeMap::new();
                for (number, changes) in combiner.take() {
                    for (key, sides) in changes {
                        prop_assert!(!sides.is_zero());
                        prop_assert_eq!(number % 3, u64::from(key.shard()) % 3, "to its worker");
                        prop_assert_eq!(number / 3, u64::from(key.shard() >> 4), "in order");
                        let sum = sums.entry(key).or_insert_with(Sides::default);
                        sum.plus_equals(&Sides::from(&sides));
                    }
                }
                wanted.retain(|_, sides| !sides.is_zero());
                sums.retain(|_, sides| !sides.is_zero());
                prop_assert_eq!(sums, wanted);
            }
        }
    }

    #[test]
    fn a_key_that_comes_again_and_again_leaves_once() {
        let mut combiner = Combiner::new(1, 1);
        for number in 0..1_000 {
            combiner.add(AccountKey(1 << 32), Sides::of_line(Side::Credit, number, 1));
        }
        let taken = combiner.take();
        assert_eq!(taken.iter().map(|(_, changes)| changes.len()).collect::<Vec<_>>(), [1]);
        assert!(combiner.take().is_empty());
    }

    #[test]
    fn there_is_room_for_what_came_of_the_events_before_whatever_mail_changed() {
        let mut combiner = Combiner::new(2, 0);
        let line = Sides::of_line(Side::Debit, 5, 1);
        combiner.expect(512);
        assert!(combiner.out.iter().all(|changes| changes.capacity() == 0));
        for number in 0..512 {
            combiner.add(AccountKey((number % 256) << 120 | number << 32), line);
        }
        assert_eq!(combiner.take().len(), 2 * PIECES);
        combiner.add(AccountKey(1 << 32), line);
        assert_eq!(combiner.take().len(), 1);
        combiner.expect(512);
        assert!(combiner.out.iter().all(|changes| changes.capacity() >= 16));
    }
}
