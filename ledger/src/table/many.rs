//! A column of texts of which many are distinct: one after the other, and where each ends.

use std::ops::Range;

use super::packed::Packed;

/// How many bytes a text has, rather more than less: what is not used of it is not touched either.
const TEXT_BYTES: usize = 24;

/// The texts of a column.
#[derive(Clone, Debug, Default)]
pub struct Many {
    bytes: String,
    /// Where the text of each row ends in `bytes`.
    ends: Packed<u32, u64>,
}

impl Many {
    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len() as u64);
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.ends.reserve(rows);
        self.bytes.reserve(rows * TEXT_BYTES);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns where the text of a row begins; behind the last one, where it ends.
    fn start(&self, row: usize) -> usize {
        // Ends are places in memory, whatever they are kept as.
        let end = |row| usize::try_from(self.ends.at(row)).unwrap_or(usize::MAX);
        if row == 0 { 0 } else { end(row - 1) }
    }

    /// Returns the text of a row.
    #[must_use]
    pub fn at(&self, row: usize) -> &str {
        &self.bytes[self.start(row)..self.start(row + 1)]
    }

    /// Returns the bytes of the text of a row. A slice of a text is checked to be one; that of its bytes
    /// need not be.
    #[must_use]
    pub fn bytes_at(&self, row: usize) -> &[u8] {
        &self.bytes.as_bytes()[self.start(row)..self.start(row + 1)]
    }

    /// Keeps the rows in `ranges`, which are in order.
    pub(super) fn keep(&mut self, ranges: &[Range<usize>]) {
        let mut kept = Many::default();
        kept.ends.reserve(self.len());
        kept.bytes.reserve(self.bytes.len());
        for row in ranges.iter().cloned().flatten() {
            kept.push(self.at(row));
        }
        *self = kept;
    }
}
