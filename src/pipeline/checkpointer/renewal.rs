//! What a copy has as a whole: a range of keys as they are on disk, merged with what has changed.
//!
//! In: the pairs on disk from a key on; the changes, in the order of their keys. Out: both as one
//! sequence, and the range of keys of which that has all. Of a key that has changed only the change is in it,
//! also where that removes the key, for those who build on the copy before.

use trueup_dataflow::store::{Pair, StateError};
use trueup_sinks::{Bound, CopyWriter, KeyRange, Pairs};

use super::Unwritten;

type OnDisk = Box<dyn Iterator<Item = Result<Pair, StateError>> + Send>;

/// A range that is being copied as a whole.
pub(super) struct Renewal {
    on_disk: OnDisk,
    /// The first pair that has not been copied.
    next: Option<Pair>,
    begun: bool,
    /// How many more bytes are to be copied.
    left: u64,
    bytes: u64,
    range: Option<KeyRange>,
}

impl Renewal {
    /// Copies what there is from a key on, about so many bytes of keys and values of it.
    pub(super) fn new(on_disk: OnDisk, from: Bound, bytes: u64) -> Renewal {
        let range = (bytes > 0).then_some(KeyRange { from, to: None });
        Renewal { on_disk, next: None, begun: false, left: bytes, bytes: 0, range }
    }

    /// Of a disk that is empty everything is copied.
    pub(super) fn of_nothing() -> Renewal {
        Renewal::new(Box::new(std::iter::empty()), Bound::default(), 1)
    }

    /// Copies changes, and in between what lies there on disk.
    pub(super) fn merge(
        &mut self,
        changes: &Pairs,
        copy: &mut CopyWriter<'_>,
    ) -> Result<(), Unwritten> {
        self.begin()?;
        let last = changes.iter().last().map(|(key, _)| key);
        let is_before = |pair: &Pair| last.is_some_and(|last| *pair.0 <= *last);
        if !self.next.as_ref().is_some_and(is_before) {
            return Ok(copy.append(changes)?);
        }
        for (key, value) in changes.iter() {
            self.go_on(Some(key), copy)?;
            copy.push(key, value)?;
        }
        Ok(())
    }

    /// Copies what lies before a key on disk, or all that is left.
    pub(super) fn go_on(
        &mut self,
        key: Option<&[u8]>,
        copy: &mut CopyWriter<'_>,
    ) -> Result<(), Unwritten> {
        self.begin()?;
        while let Some((next, value)) = &self.next {
            match key {
                Some(key) if **next > *key => return Ok(()),
                // The change is copied in its place.
                Some(key) if **next == *key => {}
                _ => {
                    copy.push(next, Some(value))?;
                    let bytes = (next.len() + value.len()) as u64;
                    self.bytes += bytes;
                    self.left = self.left.saturating_sub(bytes);
                }
            }
            if self.left == 0 {
                // The first key behind one is that with a zero more.
                let behind = [next.as_slice(), &[0]].concat();
                if let Some(range) = &mut self.range {
                    range.to = Some(Bound(behind));
                }
                self.next = None;
                return Ok(());
            }
            self.next = self.on_disk.next().transpose()?;
        }
        Ok(())
    }

    /// Returns the range of which everything has been copied, and how many bytes that were beside the
    /// changes.
    pub(super) fn end(self) -> (Option<KeyRange>, u64) {
        (self.range, self.bytes)
    }

    fn begin(&mut self) -> Result<(), Unwritten> {
        if !self.begun && self.range.is_some() {
            self.next = self.on_disk.next().transpose()?;
        }
        self.begun = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use trueup_ledger::Epoch;
    use trueup_sinks::{Chain, Copies, Group, Manifest, MemoryStore, SinkError, read_copy};

    use super::*;

    type State = BTreeMap<Vec<u8>, Vec<u8>>;
    type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn apply(state: &mut State, changes: &Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => drop(state.insert(key.clone(), value.clone())),
                None => drop(state.remove(key)),
            }
        }
    }

    /// Writes a copy of a state and its changes; returns what it wrote.
    fn write(store: &MemoryStore, epoch: u64, changes: &Changes, mut renewal: Renewal) -> Group {
        let mut copy = CopyWriter::new(store, Epoch(epoch));
        let all: Vec<_> = changes.iter().collect();
        for piece in all.chunks(3) {
            let mut pairs = Pairs::default();
            piece.iter().for_each(|(key, value)| pairs.push(key, value.as_deref()));
            renewal.merge(&pairs, &mut copy).ok().unwrap();
        }
        renewal.go_on(None, &mut copy).ok().unwrap();
        let (whole, _) = renewal.end();
        let shards = (0..=u8::MAX).collect();
        Group { shards, whole, parts: copy.finish().unwrap(), ..Group::default() }
    }

    fn renewal(state: &State, from: &Bound, bytes: u64) -> Renewal {
        let pairs = state.range(from.0.clone()..);
        let on_disk: Vec<Result<Pair, StateError>> =
            pairs.map(|(key, value)| Ok((key.clone(), value.clone()))).collect();
        Renewal::new(Box::new(on_disk.into_iter()), from.clone(), bytes)
    }

    fn manifest(epoch: u64, base: Option<Epoch>, group: Group) -> Manifest {
        let commit = (Epoch(epoch), String::new());
        Manifest::new(commit, "meaning".to_owned(), (base, true), vec![group])
    }

    /// Returns what a copy has, and which keys of it as a whole.
    fn copied(
        state: &State,
        changes: &Changes,
        from: u8,
        bytes: u64,
    ) -> (Changes, Option<KeyRange>) {
        let store = MemoryStore::new();
        let group = write(&store, 1, changes, renewal(state, &Bound(vec![from]), bytes));
        let (whole, manifest) = (group.whole.clone(), manifest(1, None, group));
        let mut found = Vec::new();
        read_copy(&store, &manifest, |key, value| {
            found.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok::<_, SinkError>(())
        })
        .unwrap();
        assert!(found.is_sorted_by(|(one, _), (next, _)| one < next), "each key once, in order");
        (found.into_iter().collect(), whole)
    }

    /// Returns the state that the copies up to an epoch make, for who has nothing.
    fn restored(store: &MemoryStore, chain: &Chain) -> State {
        let mut state = State::new();
        for manifest in chain.manifests() {
            read_copy(store, manifest, |key, value| {
                let change = (key.to_vec(), value.map(<[u8]>::to_vec));
                apply(&mut state, &Changes::from([change]));
                Ok::<_, SinkError>(())
            })
            .unwrap();
        }
        state
    }

    fn has(range: &KeyRange, key: &[u8]) -> bool {
        *range.from.0 <= *key && range.to.as_ref().is_none_or(|to| *key < *to.0)
    }

    #[test]
    fn a_range_ends_behind_as_many_bytes_as_are_wanted() {
        let state: State = (1..=5).map(|key| (vec![key], vec![0; 9])).collect();
        let changes = Changes::from([(vec![2], None), (vec![9], Some(vec![7]))]);
        let rows: [(u8, u64, &[u8], Option<&[u8]>); 5] = [
            (0, 1, &[1, 2, 9], Some(&[1, 0])),
            (0, 20, &[1, 2, 3, 9], Some(&[3, 0])),
            (2, 11, &[2, 3, 4, 9], Some(&[4, 0])),
            (4, 99, &[2, 4, 5, 9], None),
            (6, 1, &[2, 9], None),
        ];
        for (from, bytes, keys, to) in rows {
            let (found, whole) = copied(&state, &changes, from, bytes);
            let first: Vec<u8> = found.keys().map(|key| key[0]).collect();
            assert_eq!(first, keys, "from {from}, {bytes} bytes");
            let to = to.map(|to| Bound(to.to_vec()));
            assert_eq!(whole, Some(KeyRange { from: Bound(vec![from]), to }));
        }
        let (found, whole) = copied(&state, &changes, 0, 0);
        assert_eq!((found, whole), (changes, None));
    }

    proptest! {
        #[test]
        fn what_is_copied_is_what_is_there_then(
            state in prop::collection::btree_map(0..40_u8, 0..9_u8, 0..30),
            changes in prop::collection::btree_map(0..40_u8, prop::option::of(0..9_u8), 0..20),
            from in 0..41_u8,
            bytes in 0..90_u64,
        ) {
            let value = |length: u8| vec![length; usize::from(length)];
            let state: State = state.into_iter().map(|(key, length)| (vec![key], value(length))).collect();
            let changes = changes.into_iter().map(|(key, length)| (vec![key], length.map(value)));
            let changes: Changes = changes.collect();
            let (found, whole) = copied(&state, &changes, from, bytes);
            // Who builds on the state before comes to the state after.
            let mut after = state.clone();
            apply(&mut after, &changes);
            let mut built = state;
            apply(&mut built, &found);
            prop_assert_eq!(&built, &after);
            // Who begins with nothing finds all in the range, and nothing else there.
            let Some(range) = whole else { return Ok(()) };
            let mut begun = State::new();
            apply(&mut begun, &found);
            begun.retain(|key, _| has(&range, key));
            after.retain(|key, _| has(&range, key));
            prop_assert_eq!(begun, after);
        }

        /// Whatever is changed and removed, and however little each copy has as a whole.
        #[test]
        fn the_copies_that_are_left_make_every_state_of_theirs(
            steps in prop::collection::vec((
                prop::collection::btree_map((0..3_u8, 0..6_u8), prop::option::of(0..9_u8), 0..6),
                0..40_u64,
            ), 1..24),
        ) {
            let store = MemoryStore::new();
            let (mut state, mut states) = (State::new(), BTreeMap::new());
            let (mut from, mut base) = (Bound::default(), None);
            for ((changes, bytes), epoch) in steps.into_iter().zip(1..) {
                let value = |length: u8| vec![length; usize::from(length)];
                let change = |((space, shard), length): ((u8, u8), Option<u8>)| {
                    (vec![space, shard], length.map(value))
                };
                let changes: Changes = changes.into_iter().map(change).collect();
                let renewal = match base {
                    None => Renewal::of_nothing(),
                    Some(_) => renewal(&state, &from, bytes),
                };
                let group = write(&store, epoch, &changes, renewal);
                from = group.whole.clone().map_or(from, KeyRange::behind);
                manifest(epoch, base, group).write(&store).unwrap();
                base = Some(Epoch(epoch));
                apply(&mut state, &changes);
                states.insert(Epoch(epoch), state.clone());
                prop_assert!(Copies::tidy(&store, "meaning", Epoch(epoch)).unwrap());
                let copies = Copies::list(&store).unwrap();
                let chain = |epoch| copies.chain(&store, epoch, None, |_| true).unwrap();
                prop_assert!(chain(Epoch(epoch)).is_whole());
                for epoch in copies.epochs() {
                    let chain = chain(epoch);
                    if chain.is_whole() {
                        prop_assert_eq!(&restored(&store, &chain), &states[&epoch], "{}", epoch);
                    }
                }
            }
        }
    }
}
