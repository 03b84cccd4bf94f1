//! What one worker's transactions change in books within an epoch.
//!
//! In: lines; transactions come in the order of their keys, so those of a hash range mostly together.
//! Out: what changes in each book, in all and by range. State: the books that were met, since there are
//! few of them.

use differential_dataflow::difference::{IsZero, Semigroup};

use crate::books::{Book, OfRanges};
use crate::pairs::{ByNames, Named};
use crate::sums::Sides;

/// What an epoch changes, by book.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// By tenant and currency: all lines of a transaction are of one tenant, and most of one currency.
    known: ByNames<OfBook>,
    /// The places of those that the epoch changes.
    changed: Vec<usize>,
}

/// What changes in one book.
#[derive(Debug)]
struct OfBook {
    book: Book,
    posted: Sides,
    ranges: OfRanges,
    /// How many ranges came together at most: about as many are likely to come again.
    expected: usize,
}

impl OfBook {
    fn new(tenant: &str, currency: &str) -> OfBook {
        let (posted, ranges) = Default::default();
        OfBook { book: Book::new(tenant, currency), posted, ranges, expected: 0 }
    }
}

impl Named for OfBook {
    fn names(&self) -> (&str, &str) {
        (&self.book.tenant, &self.book.currency)
    }
}

impl Books {
    /// Adds a line of a transaction in a hash range.
    pub(super) fn add(
        &mut self,
        (tenant, currency): (&str, &str),
        range: u8,
        sides: &Sides,
        is_pending: bool,
    ) {
        let place = self.known.place((tenant, currency), || OfBook::new(tenant, currency));
        let OfBook { posted, ranges, expected, .. } = &mut self.known[place];
        if ranges.is_empty() {
            self.changed.push(place);
            ranges.reserve(*expected);
        }
        match ranges.last_mut() {
            Some((last, sum)) if *last == range => sum.plus_equals(sides),
            _ => ranges.push((range, *sides)),
        }
        if !is_pending {
            posted.plus_equals(sides);
        }
    }

    /// Takes what has changed since the last call: posted sums of books, and all sums of ranges.
    pub(super) fn take(&mut self) -> (Vec<(Book, Sides)>, Vec<(Book, OfRanges)>) {
        let (mut of_books, mut of_ranges) = (Vec::new(), Vec::new());
        for place in self.changed.drain(..) {
            let OfBook { book, posted, ranges, expected } = &mut self.known[place];
            let posted = std::mem::take(posted);
            if !posted.is_zero() {
                of_books.push((book.clone(), posted));
            }
            let mut ranges = std::mem::take(ranges);
            // What mail changes comes behind that, and is little.
            *expected = (*expected).max(ranges.len());
            ranges.retain(|(_, sides)| !sides.is_zero());
            if !ranges.is_empty() {
                of_ranges.push((book.clone(), ranges));
            }
        }
        (of_books, of_ranges)
    }
}

#[cfg(test)]
mod tests {
    use trueup_ledger::Side;

    use super::*;

    fn line(units: i128, diff: i8) -> Sides {
        Sides::of_line(Side::Debit, units, diff)
    }

    #[test]
    fn a_book_comes_with_what_changes_in_its_ranges() {
        let mut books = Books::default();
        books.add(("a", "EUR"), 1, &line(5, 1), false);
        books.add(("a", "EUR"), 1, &line(6, 1), true);
        books.add(("b", "EUR"), 1, &line(7, 1), true);
        books.add(("a", "EUR"), 2, &line(8, 1), false);
        let (of_books, of_ranges) = books.take();
        let (a, b) = (Book::new("a", "EUR"), Book::new("b", "EUR"));
        let posted = Sides { debits: 13, credits: 0, lines: 2 };
        assert_eq!(of_books, [(a.clone(), posted)]);
        let both = Sides { debits: 11, credits: 0, lines: 2 };
        let ranges_of_a = vec![(1, both), (2, line(8, 1))];
        assert_eq!(of_ranges, [(a, ranges_of_a), (b.clone(), vec![(1, line(7, 1))])]);
        // The next epoch has nothing of it, and what is taken back within one is no change.
        books.add(("b", "EUR"), 3, &line(1, 1), false);
        books.add(("b", "EUR"), 3, &line(1, -1), false);
        assert_eq!(books.take(), (Vec::new(), Vec::new()));
        books.add(("b", "EUR"), 3, &line(1, 1), false);
        assert_eq!(books.take(), (vec![(b.clone(), line(1, 1))], vec![(b, vec![(3, line(1, 1))])]));
    }
}
