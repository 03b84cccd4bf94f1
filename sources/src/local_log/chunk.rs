//! Reading lines of a file in large pieces.
//!
//! Memory is bounded by [`HOLD_BYTES_MAX`] and one piece, however long a line is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::batch::{BATCH_BYTES_MAX, CUT_BYTES, Frame, HOLD_BYTES_MAX, Shelf};

/// Below this, a smaller read saves nothing.
const READ_BYTES_MIN: usize = 64 << 10;
/// What one record is taken to need when the caller wants only a few.
const RECORD_BYTES_GUESS: usize = 2 << 10;

/// Complete lines, as they were in the file.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The bytes that were asked for as a prefix, then the lines.
    pub(super) bytes: Vec<u8>,
    /// The file offset of the first of these bytes.
    start: u64,
    /// The lines; empty if there is no complete one.
    pub(super) frames: Vec<Frame>,
    /// The file offset behind the last line.
    pub(super) to: u64,
}

/// Reads up to `limit` complete lines from `from` on, none of them past `end`, and before them the
/// `prefix` bytes that come before `from`, which the caller compares with what they were.
pub(super) fn read_lines(
    file: &mut File,
    from: u64,
    end: u64,
    prefix: usize,
    limit: usize,
    shelf: &Shelf,
) -> io::Result<Lines> {
    let size = limit.saturating_mul(RECORD_BYTES_GUESS).clamp(READ_BYTES_MIN, BATCH_BYTES_MAX);
    let start = from.saturating_sub(prefix as u64);
    let mut bytes = shelf.take(prefix + size);
    extend(file, &mut bytes, start, end, prefix + size)?;
    let mut lines = Lines { start, to: from, ..Lines::default() };
    let first = prefix.min(bytes.len());
    let mut at = first;
    for newline in memchr::memchr_iter(b'\n', &bytes[first..]).take(limit) {
        let newline = first + newline;
        lines.push(at, newline - at, newline + 1 - at);
        at = newline + 1;
    }
    if lines.frames.is_empty() {
        long_line(file, &mut bytes, start, end, at, &mut lines)?;
    } else {
        bytes.truncate(at);
    }
    lines.bytes = bytes;
    Ok(lines)
}

/// Reads on until the line that begins at `at` is complete, or there is no more.
fn long_line(
    file: &mut File,
    bytes: &mut Vec<u8>,
    start: u64,
    end: u64,
    at: usize,
    lines: &mut Lines,
) -> io::Result<()> {
    while bytes.len() - at < HOLD_BYTES_MAX {
        let known = bytes.len();
        extend(file, bytes, start, end, BATCH_BYTES_MAX)?;
        if bytes.len() == known {
            return Ok(());
        }
        if let Some(newline) = memchr::memchr(b'\n', &bytes[known..]) {
            let len = known + newline - at;
            bytes.truncate(at + len);
            lines.push(at, len, len + 1);
            return Ok(());
        }
    }
    // Longer than what is held: only its length still matters.
    let mut scanned = start + bytes.len() as u64;
    bytes.truncate(at + CUT_BYTES);
    let mut piece = Vec::with_capacity(BATCH_BYTES_MAX);
    loop {
        piece.clear();
        extend(file, &mut piece, scanned, end, BATCH_BYTES_MAX)?;
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(newline) = memchr::memchr(b'\n', &piece) {
            lines.push(at, CUT_BYTES, 0);
            lines.to = scanned + newline as u64 + 1;
            return Ok(());
        }
        scanned += piece.len() as u64;
    }
}

impl Lines {
    /// Returns the last `len` bytes before [`Lines::to`], fewer where the file has fewer; none where they
    /// are not all at hand.
    pub(super) fn last_bytes(&self, len: usize) -> Option<&[u8]> {
        let ends = self.start + self.bytes.len() as u64 == self.to;
        let first = self.bytes.len().checked_sub(len).or((self.start == 0).then_some(0))?;
        ends.then(|| &self.bytes[first..])
    }

    /// Adds the line at `start` of the bytes, and moves on by `advance` bytes of the file.
    fn push(&mut self, start: usize, len: usize, advance: usize) {
        self.frames.push(Frame { offset: self.to, start: narrow(start), len: narrow(len) });
        self.to += advance as u64;
    }
}

/// Appends up to `more` bytes of the file, whose byte `start` is the first of `bytes`.
fn extend(
    file: &mut File,
    bytes: &mut Vec<u8>,
    start: u64,
    end: u64,
    more: usize,
) -> io::Result<()> {
    let from = start + bytes.len() as u64;
    let more = (more as u64).min(end.saturating_sub(from));
    if more > 0 {
        file.seek(SeekFrom::Start(from))?;
        file.take(more).read_to_end(bytes)?;
    }
    Ok(())
}

/// Returns the last `len` bytes before `offset`, fewer where there are fewer.
pub(super) fn bytes_before(file: &mut File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let start = offset.saturating_sub(len as u64);
    let mut bytes = Vec::new();
    extend(file, &mut bytes, start, offset, len)?;
    Ok(bytes)
}

/// Returns the offset behind the last line feed of the first `len` bytes, 0 if there is none.
pub(super) fn behind_last_line(file: &mut File, len: u64) -> io::Result<u64> {
    let mut end = len;
    while end > 0 {
        let bytes = bytes_before(file, end, READ_BYTES_MIN)?;
        if bytes.is_empty() {
            break;
        }
        let start = end.saturating_sub(READ_BYTES_MIN as u64);
        if let Some(newline) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Places in a batch are far below 2^32 by the bounds above.
fn narrow(place: usize) -> u32 {
    debug_assert!(u32::try_from(place).is_ok(), "a batch is bounded");
    u32::try_from(place).unwrap_or(u32::MAX)
}
