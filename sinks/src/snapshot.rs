//! A view's rows summed over deltas, in little room: rows stay in their canonical bytes until
//! somebody looks at them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use trueup_ledger::table::{Rows, decode_row, encode_row, row_hash};
use trueup_ledger::{Digest, Table, Value, View};

/// Says which rows count: called with a table and the place of a row in it.
pub type RowFilter<'a> = &'a dyn Fn(&Table, usize) -> bool;

/// The rows of a view with the sum of their diffs. A sum of zero is no row.
#[derive(Clone, Debug)]
pub struct Snapshot {
    view: View,
    rows: HashMap<Box<[u8]>, i64>,
}

impl Snapshot {
    /// Returns a snapshot without rows.
    #[must_use]
    pub fn new(view: View) -> Snapshot {
        Snapshot { view, rows: HashMap::new() }
    }

    /// Returns the view.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// Returns how many rows do not sum to zero.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Says whether all rows sum to zero.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds the changes of a table of the same view, those that `filter` wants.
    pub fn apply(&mut self, table: &Table, filter: Option<RowFilter<'_>>) {
        let mut canonical = Vec::new();
        let mut values = Vec::new();
        for (row, diff) in table.diffs().iter().enumerate() {
            if filter.is_some_and(|wants| !wants(table, row)) {
                continue;
            }
            canonical.clear();
            table.read(row, &mut values);
            encode_row(&values, &mut canonical);
            match self.rows.entry(canonical.as_slice().into()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(i64::from(*diff));
                }
                Entry::Occupied(mut occupied) => {
                    *occupied.get_mut() += i64::from(*diff);
                    if *occupied.get() == 0 {
                        occupied.remove();
                    }
                }
            }
        }
    }

    /// Calls `each` with every row and its sum, in no order.
    pub fn for_each(&self, mut each: impl FnMut(&[Value<'_>], i64)) {
        for (canonical, sum) in &self.rows {
            let mut values = Vec::new();
            // Only rows that `apply` encoded are in the map.
            if decode_row(self.view, canonical, &mut values).is_ok() {
                each(&values, *sum);
            }
        }
    }

    /// Returns the digest of the rows.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for (canonical, sum) in &self.rows {
            let times = i128::from(*sum).cast_unsigned();
            digest.add(Digest(row_hash(canonical).wrapping_mul(times)));
        }
        digest
    }

    /// Returns the rows in the order of their keys, decoded; about ten times the room.
    #[must_use]
    pub fn into_rows(self) -> Rows {
        let mut rows = Rows::default();
        for (canonical, sum) in self.rows {
            let mut values = Vec::new();
            if decode_row(self.view, &canonical, &mut values).is_ok() {
                rows.add(values.iter().map(|value| value.to_datum()).collect(), sum);
            }
        }
        rows
    }
}
