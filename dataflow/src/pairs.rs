//! Things that are named by a pair of names: few of them, and mostly the one that was asked for before.

use std::hash::BuildHasher;
use std::ops::{Index, IndexMut};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

/// What is found by two names.
pub(crate) trait Named {
    /// Returns the names, which never change.
    fn names(&self) -> (&str, &str);
}

/// All that were met, each at a place that stays its own.
#[derive(Debug)]
pub(crate) struct ByNames<T> {
    items: Vec<T>,
    places: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// The place of the one before.
    last: usize,
}

impl<T> Default for ByNames<T> {
    fn default() -> ByNames<T> {
        ByNames {
            items: Vec::new(),
            places: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            last: 0,
        }
    }
}

impl<T: Named> ByNames<T> {
    /// Returns the place of what has these names, which is made `new` where it is the first.
    pub(crate) fn place(&mut self, names: (&str, &str), new: impl FnOnce() -> T) -> usize {
        if self.items.get(self.last).is_some_and(|last| last.names() == names) {
            return self.last;
        }
        let (items, hasher) = (&mut self.items, &self.hasher);
        let is_it = |place: &usize| items[*place].names() == names;
        let rehash = |place: &usize| hasher.hash_one(items[*place].names());
        self.last = match self.places.entry(hasher.hash_one(names), is_it, rehash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let place = *vacant.insert(items.len()).get();
                items.push(new());
                place
            }
        };
        self.last
    }

    /// Returns all, in the order of their names.
    pub(crate) fn into_sorted(self) -> Vec<T> {
        let mut items = self.items;
        items.sort_by(|one, other| one.names().cmp(&other.names()));
        items
    }
}

impl<T> Index<usize> for ByNames<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        &self.items[place]
    }
}

impl<T> IndexMut<usize> for ByNames<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.items[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Named for (&str, &str) {
        fn names(&self) -> (&str, &str) {
            *self
        }
    }

    #[test]
    fn each_pair_keeps_its_place() {
        let mut known = ByNames::default();
        let asked = [("b", "x"), ("b", "x"), ("a", "x"), ("bx", ""), ("b", "x"), ("a", "y")];
        let places = asked.map(|names| known.place(names, || names));
        assert_eq!(places, [0, 0, 1, 2, 0, 3]);
        assert!(asked.iter().zip(places).all(|(names, place)| known[place] == *names));
        assert_eq!(known.into_sorted(), [("a", "x"), ("a", "y"), ("b", "x"), ("bx", "")]);
    }
}
