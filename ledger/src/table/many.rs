//! A column of texts of which many are distinct: one after the other, and where each ends.

use std::ops::{Range, Sub};

use super::packed::Packed;
use crate::codec::{put_bytes, put_front, put_varint};

/// How many bytes a text has, rather more than less: what is not used of it is not touched either, and too
/// little is moved when there is no more room.
const TEXT_BYTES: usize = 40;

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

    /// Appends the canonical bytes of the text of a row.
    #[inline]
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        let (start, end) = (self.start(row), self.start(row + 1));
        let bytes = self.bytes.as_bytes();
        // Most texts are short and have others behind them, so that more may be copied than they have.
        match bytes[start..].first_chunk::<32>() {
            Some(front) if end - start <= front.len() => {
                put_varint(out, (end - start) as u128);
                put_front(out, front, end - start);
            }
            _ => put_bytes(out, &bytes[start..end]),
        }
    }

    /// Keeps the rows in `ranges`, which are in order.
    pub(super) fn keep(&mut self, ranges: &[Range<usize>]) {
        let mut bytes = std::mem::take(&mut self.bytes).into_bytes();
        let (mut kept, mut rows) = (0, 0);
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            // Both are ends of rows behind those that have been moved.
            let texts = self.start(range.start)..self.start(range.end);
            match &mut self.ends {
                Packed::Narrow(ends) => {
                    // What is narrow fits, and so does the difference.
                    let by = u32::try_from(texts.start - kept).unwrap_or(u32::MAX);
                    move_down(ends, range, rows, by);
                }
                Packed::Wide(ends) => move_down(ends, range, rows, (texts.start - kept) as u64),
            }
            rows += range.len();
            bytes.copy_within(texts.clone(), kept);
            kept += texts.len();
        }
        bytes.truncate(kept);
        self.ends.truncate(rows);
        let Ok(whole) = String::from_utf8(bytes) else { unreachable!("whole texts are a text") };
        self.bytes = whole;
    }
}

/// Moves the ends of the rows in `range` to the place `to` in front of them, each less by so much.
fn move_down<T: Copy + Sub<Output = T>>(ends: &mut [T], range: &Range<usize>, to: usize, by: T) {
    for (place, row) in (to..).zip(range.clone()) {
        ends[place] = ends[row] - by;
    }
}
