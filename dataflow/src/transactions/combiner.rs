//! Adds up changes of one key on their way out, as far as they come soon after one another.
//!
//! A key that every transaction changes leaves seldom, and one that hardly any does leaves as it comes:
//! whoever receives adds up the rest, since it sorts what all workers send. A table of all keys would
//! do that twice, and would not fit into a cache.

use std::hash::{BuildHasher, Hash};

use differential_dataflow::difference::{IsZero, Semigroup};

use crate::hash::KeyHasher;
use crate::sums::Sides;

/// How many keys are held back at a time.
const SLOTS: usize = 1 << 11;

/// Changes of sums by key. What comes out adds up to what went in; a key may come more than once.
#[derive(Debug)]
pub(super) struct Combiner<K> {
    /// The last change of a key that has its place here.
    held: Vec<Option<(K, Sides)>>,
    out: Vec<(K, Sides)>,
    /// How many came out the last time: about as many are likely to come again.
    expected: usize,
}

impl<K> Default for Combiner<K> {
    fn default() -> Combiner<K> {
        Combiner { held: Vec::new(), out: Vec::new(), expected: 0 }
    }
}

impl<K: Copy + Eq + Hash> Combiner<K> {
    /// Adds a change of a key.
    pub(super) fn add(&mut self, key: K, sides: Sides) {
        if self.held.is_empty() {
            self.held.resize(SLOTS, None);
            self.out.reserve(self.expected);
        }
        let hash = usize::try_from(KeyHasher::default().hash_one(key) >> 32).unwrap_or(0);
        match &mut self.held[hash % SLOTS] {
            Some((known, sum)) if *known == key => sum.plus_equals(&sides),
            place => self.out.extend(place.replace((key, sides)).filter(is_change)),
        }
    }

    /// Takes all changes since the last call.
    pub(super) fn take(&mut self) -> Vec<(K, Sides)> {
        self.out.extend(self.held.drain(..).flatten().filter(is_change));
        self.expected = self.out.len();
        std::mem::take(&mut self.out)
    }

    /// Takes back the room of what [`Combiner::take`] gave, if whom it was sent to has left it: memory that
    /// is used again needs no zeroing.
    pub(super) fn take_back(&mut self, mut sent: Vec<(K, Sides)>) {
        sent.clear();
        if self.out.capacity() == 0 {
            self.out = sent;
        }
    }
}

fn is_change<K>((_, sides): &(K, Sides)) -> bool {
    !sides.is_zero()
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
            let mut combiner = Combiner::default();
            for lines in epochs {
                let mut wanted = BTreeMap::new();
                for (number, collides, units, added) in lines {
                    // Keys of one place, and of different ones.
                    let key = AccountKey((number << 32) | (collides << 80));
                    let sides = Sides::of_line(Side::Debit, units, if added { 1 } else { -1 });
                    combiner.add(key, sides);
                    wanted.entry(key).or_insert_with(Sides::default).plus_equals(&sides);
                }
                let mut sums = BTreeMap::new();
                for (key, sides) in combiner.take() {
                    prop_assert!(!sides.is_zero());
                    sums.entry(key).or_insert_with(Sides::default).plus_equals(&sides);
                }
                wanted.retain(|_, sides| !sides.is_zero());
                sums.retain(|_, sides| !sides.is_zero());
                prop_assert_eq!(sums, wanted);
            }
        }
    }

    #[test]
    fn a_key_that_comes_again_and_again_leaves_once() {
        let mut combiner = Combiner::default();
        for number in 0..1_000 {
            combiner.add(AccountKey(1 << 32), Sides::of_line(Side::Credit, number, 1));
        }
        assert_eq!(combiner.take().len(), 1);
        assert!(combiner.take().is_empty());
    }
}
