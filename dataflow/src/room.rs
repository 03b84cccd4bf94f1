//! How many rows an epoch is likely to make, so that a table has room for them before they come: one that
//! grows moves all that is in it, into memory that is touched for the first time.

/// More rows than so many each are not expected, whatever came before: an epoch may be of one record.
const MOST: usize = 4;

/// How many rows have come of so many changes the last time.
#[derive(Debug)]
pub(crate) struct Expected {
    changes: usize,
    rows: usize,
}

impl Expected {
    /// Expects so many rows of each change, as long as nothing is known.
    pub(crate) fn each(rows: usize) -> Expected {
        Expected { changes: 1, rows }
    }

    /// Returns how many rows to make room for, some more than are likely: too little is moved and doubled, and
    /// room that is not used is touched all the same where its neighbours share a huge page with it.
    pub(crate) fn of(&self, changes: usize) -> usize {
        let likely = (changes * self.rows / self.changes).min(changes * MOST);
        likely + likely / 16
    }

    /// Takes down how many came.
    pub(crate) fn note(&mut self, changes: usize, rows: usize) {
        if changes > 0 {
            *self = Expected { changes, rows };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_expected_as_came_before() {
        let mut expected = Expected::each(2);
        assert_eq!(expected.of(3_200), 6_800);
        expected.note(1_000, 2_100);
        assert_eq!(expected.of(32_000), 71_400);
        expected.note(0, 0);
        assert_eq!(expected.of(32_000), 71_400);
        expected.note(1, 500);
        assert_eq!(expected.of(32_000), 136_000);
    }
}
