//! Which copies make the whole state together.
//!
//! ```text
//!  keys ─▶      a ······ h ······ q ······ z
//!  epoch 31     ░░░░░░░░░░░░░░░░░░▓▓▓▓▓▓▓▓▓▓   ▓ all that there was   ░ what had changed
//!  epoch 32     ▓▓▓▓▓▓▓▓░░░░░░░░░░░░░░░░░░░░
//!  epoch 33     ░░░░░░░░▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░
//! ```
//!
//! Here 31 to 33 are whole together: every key is in a ▓ of one of them, and whatever has changed since is
//! in those behind it. So who takes them in one after the other, and begins with nothing, has all in the
//! end; not before, since a key that has not changed may be in the last ▓ alone.

use serde::{Deserialize, Serialize};

use trueup_ledger::Epoch;

use super::Manifest;

/// A key, hexadecimal in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bound(pub Vec<u8>);

impl From<Bound> for String {
    fn from(bound: Bound) -> String {
        bound.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Bound {
    type Error = String;

    fn try_from(text: String) -> Result<Bound, String> {
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let digits = digits.ok_or_else(|| format!("{text:?} is no hexadecimal key"))?;
        let byte = |pair: &[u32]| u8::try_from(pair[0] << 4 | pair[1]).unwrap_or(u8::MAX);
        Ok(Bound(digits.chunks(2).map(byte).collect()))
    }
}

/// The keys from one on, up to another one, which is not among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key; the empty one comes before all.
    pub from: Bound,
    /// The first key behind; `None` where all that follow are in the range.
    pub to: Option<Bound>,
}

impl KeyRange {
    /// Every key.
    pub const ALL: KeyRange = KeyRange { from: Bound(Vec::new()), to: None };

    /// Returns where the next one begins, which is at the first key behind the last.
    #[must_use]
    pub fn behind(self) -> Bound {
        self.to.unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// Returns what two ranges have in common.
    fn common(&self, other: &KeyRange) -> Option<KeyRange> {
        let from = self.from.clone().max(other.from.clone());
        let to = match (&self.to, &other.to) {
            (Some(one), Some(two)) => Some(one.min(two).clone()),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Some(KeyRange { from, to }).filter(|range| !range.is_empty())
    }

    /// Returns what is left of a range without another one.
    fn without(&self, other: &KeyRange) -> impl Iterator<Item = KeyRange> {
        let before = KeyRange { from: self.from.clone(), to: Some(other.from.clone()) };
        let behind = other.to.clone().map(|from| KeyRange { from, to: None });
        let parts = [Some(before), behind];
        let parts = parts.map(|part| part.and_then(|part| self.common(&part)));
        parts.into_iter().flatten()
    }
}

/// Copies that follow each other, oldest first.
#[derive(Clone, Debug)]
pub struct Chain {
    manifests: Vec<Manifest>,
    renewed: Vec<Renewed>,
}

/// What the copies of a chain lack of the keys of some shards.
#[derive(Clone, Debug)]
struct Renewed {
    shards: Vec<u8>,
    missing: Vec<KeyRange>,
}

impl Chain {
    /// Returns the copies that lead to the first one given, which are given newest first, as far as they
    /// are needed to make it whole.
    ///
    /// # Errors
    /// What comes instead of a copy.
    pub(super) fn of<E>(
        newest_first: impl Iterator<Item = Result<Manifest, E>>,
    ) -> Result<Chain, E> {
        let mut chain = Chain { manifests: Vec::new(), renewed: Vec::new() };
        for manifest in newest_first {
            let manifest = manifest?;
            for group in &manifest.groups {
                if let Some(range) = &group.whole {
                    let missing = &mut chain.renewed(&group.shards).missing;
                    *missing = missing.iter().flat_map(|gap| gap.without(range)).collect();
                }
            }
            chain.manifests.push(manifest);
            if chain.is_whole() {
                break;
            }
        }
        chain.manifests.reverse();
        Ok(chain)
    }

    /// Returns the copies that lead to an epoch, as many as make the whole state, or all that build on
    /// each other where they do not, back to that which builds on the state of `known`. `at` reads the
    /// copy of an epoch.
    ///
    /// # Errors
    /// What `at` returns.
    pub fn leading_to<E>(
        epoch: Epoch,
        known: Option<Epoch>,
        mut at: impl FnMut(Epoch) -> Result<Option<Manifest>, E>,
    ) -> Result<Chain, E> {
        let mut wanted = Some(epoch);
        Chain::of(std::iter::from_fn(|| {
            let epoch = wanted.take()?;
            let manifest = at(epoch).transpose()?;
            if let Ok(manifest) = &manifest {
                wanted = manifest.base.filter(|base| *base < epoch && Some(*base) != known);
            }
            Some(manifest)
        }))
    }

    fn renewed(&mut self, shards: &[u8]) -> &mut Renewed {
        let known = self.renewed.iter().position(|renewed| renewed.shards == shards);
        let place = known.unwrap_or_else(|| {
            let missing = vec![KeyRange::ALL];
            self.renewed.push(Renewed { shards: shards.to_vec(), missing });
            self.renewed.len() - 1
        });
        &mut self.renewed[place]
    }

    /// Returns the copies.
    #[must_use]
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// Says whether they are the whole state together, so that nothing else is needed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (0..=u8::MAX).all(|shard| {
            // Where there were other processes before, a part may be in the copies of either.
            let mut missing = vec![KeyRange::ALL];
            for renewed in self.of_shard(shard) {
                let common = |gap: &KeyRange| {
                    renewed.missing.iter().filter_map(|other| gap.common(other)).collect::<Vec<_>>()
                };
                missing = missing.iter().flat_map(common).collect();
            }
            missing.is_empty()
        })
    }

    /// Returns the epoch of its first copy, where it is the whole state.
    pub(super) fn begins_whole(&self) -> Option<Epoch> {
        self.manifests.first().filter(|_| self.is_whole()).map(|first| first.epoch)
    }

    fn of_shard(&self, shard: u8) -> impl Iterator<Item = &Renewed> {
        self.renewed.iter().filter(move |renewed| renewed.shards.binary_search(&shard).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoints::Group;

    fn range(from: &[u8], to: Option<&[u8]>) -> KeyRange {
        KeyRange { from: Bound(from.to_vec()), to: to.map(|to| Bound(to.to_vec())) }
    }

    fn manifest(
        epoch: u64,
        groups: &[(std::ops::RangeInclusive<u8>, Option<KeyRange>)],
    ) -> Manifest {
        let groups = groups.iter().map(|(shards, whole)| Group {
            shards: shards.clone().collect(),
            whole: whole.clone(),
            ..Group::default()
        });
        let commit = (Epoch(epoch), String::new());
        Manifest::new(commit, String::new(), (None, true), groups.collect())
    }

    fn chain_of<'a>(newest_first: impl IntoIterator<Item = &'a Manifest>) -> Chain {
        let copies = newest_first.into_iter().map(|copy| Ok::<_, ()>(copy.clone()));
        Chain::of(copies).unwrap()
    }

    #[test]
    fn a_bound_is_read_as_it_is_written() {
        for key in [&[][..], &[0], &[0x0a, 0xff, 0x10]] {
            let bound = Bound(key.to_vec());
            let json = serde_json::to_string(&bound).unwrap();
            assert_eq!(serde_json::from_str::<Bound>(&json).unwrap(), bound, "{json}");
        }
        for wrong in ["\"0\"", "\"0g\"", "\"é\"", "1"] {
            assert!(serde_json::from_str::<Bound>(wrong).is_err(), "{wrong}");
        }
    }

    /// As in the picture above.
    #[test]
    fn copies_that_have_each_key_once_as_a_whole_are_whole() {
        let all = 0..=u8::MAX;
        let third = manifest(31, &[(all.clone(), Some(range(b"q", None)))]);
        let first = manifest(32, &[(all.clone(), Some(range(b"", Some(b"h"))))]);
        let second = manifest(33, &[(all.clone(), Some(range(b"h", Some(b"q"))))]);
        let older = manifest(30, &[(all, Some(KeyRange::ALL))]);
        let chain = chain_of([&second, &first, &third, &older]);
        assert!(chain.is_whole());
        let epochs: Vec<u64> = chain.manifests().iter().map(|copy| copy.epoch.0).collect();
        assert_eq!(epochs, [31, 32, 33], "what is older is not needed");
        assert!(!chain_of([&second, &first]).is_whole());
    }

    #[test]
    fn other_processes_go_on_from_what_there_is() {
        // Two processes had half each; the first of four has begun anew.
        let two = [(0..=127, Some(KeyRange::ALL)), (128..=u8::MAX, Some(range(b"", Some(b"m"))))];
        let two = manifest(1, &two);
        let rest = manifest(2, &[(0..=127, None), (128..=u8::MAX, Some(range(b"m", None)))]);
        let four = [(0..=63, Some(range(b"", Some(b"b")))), (64..=127, None), (128..=191, None)];
        let four = manifest(3, &four);
        let chain = chain_of([&four, &rest, &two]);
        assert!(chain.is_whole());
        assert!(!chain_of([&four, &rest]).is_whole());
    }

    proptest! {
        /// Against a table of single keys.
        #[test]
        fn a_chain_is_whole_where_each_key_is(
            ranges in prop::collection::vec(prop::option::of((0..9_u8, 0..12_u8)), 1..9),
        ) {
            let copies = ranges.iter().zip(0..).map(|(whole, epoch)| {
                let whole = whole.map(|(from, to)| {
                    let from = Bound(if from == 0 { Vec::new() } else { vec![from] });
                    KeyRange { from, to: Some(Bound(vec![to])).filter(|_| to < 9) }
                });
                manifest(epoch, &[(0..=u8::MAX, whole.filter(|range| !range.is_empty()))])
            });
            let copies: Vec<Manifest> = copies.collect();
            let has = |copy: &Manifest, key: u8| copy.groups[0].whole.as_ref().is_some_and(|range| {
                *range.from.0 <= [key][..] && range.to.as_ref().is_none_or(|to| [key][..] < *to.0)
            });
            // What has the key of a zero has the empty one too.
            let are_whole =
                |copies: &[Manifest]| (0..12).all(|key| copies.iter().any(|copy| has(copy, key)));
            let chain = chain_of(copies.iter().rev());
            prop_assert_eq!(chain.is_whole(), are_whole(&copies));
            let needed = chain.manifests().len();
            let newest = &copies[copies.len() - needed..];
            prop_assert!(!are_whole(&newest[1..]), "no more than are needed");
        }
    }
}
