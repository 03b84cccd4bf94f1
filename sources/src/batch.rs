//! Raw records as they travel from a transport to the decoder.
//!
//! A batch holds consecutive records of one partition and one segment, in order, in one buffer:
//! one allocation a batch, not one a record. It holds about [`BATCH_BYTES_MAX`] bytes and at most
//! one record more.

use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use trueup_ledger::Position;
use trueup_ledger::draft::RECORD_BYTES_MAX;

/// How many bytes of records make a batch full. The record that fills it is still in it. A batch stays
/// in the cache of the processor that decodes it.
pub const BATCH_BYTES_MAX: usize = 1 << 18;

/// The largest record that a transport hands on whole. Of a larger one only the first
/// [`CUT_BYTES`] are in the batch: enough to be rejected as too large, and memory stays bounded.
pub const HOLD_BYTES_MAX: usize = 64 << 20;

/// What is left of a record larger than [`HOLD_BYTES_MAX`]: one byte more than a record may have.
pub const CUT_BYTES: usize = RECORD_BYTES_MAX + 1;

/// Where a record is: its position in the partition, and its bytes in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The record's offset in the segment: of its first byte in a file, of the record in Kafka.
    pub offset: u64,
    /// Where its bytes begin in [`RawBatch::bytes`].
    pub start: u32,
    /// How many bytes it has, without the line feed of a file.
    pub len: u32,
}

/// The bytes of a batch. The memory of one that came from a shelf goes back there.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    shelf: Option<Shelf>,
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        Buffer { bytes, shelf: None }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        Buffer::from(self.bytes.clone())
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Buffer {}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelf.take() {
            shelf.put(std::mem::take(&mut self.bytes));
        }
    }
}

/// Memory of batches that nobody reads any more. What is read next takes it: memory that is taken anew
/// has to be cleared first, and is in no cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(Arc<Mutex<Vec<Vec<u8>>>>);

impl Shelf {
    /// How many pieces of memory lie there at most: about as many as batches that wait for workers.
    const PIECES: usize = 32;

    /// Returns that of the process. However many partitions there are, what they have read waits for the same
    /// workers; each with memory of its own would keep as much as all.
    pub(crate) fn of_process() -> Shelf {
        static SHELF: LazyLock<Shelf> = LazyLock::new(Shelf::default);
        SHELF.clone()
    }

    /// Returns empty memory for so many bytes.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut piece = self.pieces().pop().unwrap_or_default();
        piece.reserve(bytes);
        piece
    }

    /// Takes memory back, unless it is that of a long record or there is enough.
    pub(crate) fn put(&self, mut piece: Vec<u8>) {
        let mut pieces = self.pieces();
        if pieces.len() < Shelf::PIECES && piece.capacity() <= 2 * BATCH_BYTES_MAX {
            piece.clear();
            pieces.push(piece);
        }
    }

    /// Makes memory that [`Shelf::take`] gave the bytes of a batch.
    pub(crate) fn lend(&self, bytes: Vec<u8>) -> Buffer {
        Buffer { bytes, shelf: Some(self.clone()) }
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        // Whoever panicked while he held it has not left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Consecutive records of one partition and segment, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBatch {
    /// The partition's index in the caller's list; transports leave it 0, the caller sets it.
    pub partition: usize,
    /// The segment of all records: the file name, or empty for Kafka.
    pub segment: Arc<str>,
    /// The bytes of the records. There may be bytes between them that belong to none.
    pub bytes: Buffer,
    /// The records, by ascending offset.
    pub frames: Vec<Frame>,
    /// The position behind the last record, from which the next batch continues.
    pub to: Position,
}

impl RawBatch {
    /// Returns how many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Says whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the bytes of one record; empty for a frame that is not of this batch.
    #[must_use]
    pub fn raw(&self, frame: Frame) -> &[u8] {
        let start = frame.start as usize;
        self.bytes.get(start..start + frame.len as usize).unwrap_or_default()
    }

    /// Returns the records in order, each with its offset in the segment.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.frames.iter().map(|f| (f.offset, self.raw(*f)))
    }

    /// Returns the position of a record.
    #[must_use]
    pub fn position(&self, frame: Frame) -> Position {
        Position { segment: Arc::clone(&self.segment), offset: frame.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_batch_is_used_again() {
        let shelf = Shelf::default();
        let mut bytes = shelf.take(1000);
        bytes.extend_from_slice(b"a record");
        let (place, buffer) = (bytes.as_ptr(), shelf.lend(bytes));
        let copy = buffer.clone();
        assert_eq!((&*copy, &copy), (b"a record".as_slice(), &buffer));
        drop(buffer);
        drop(copy);
        assert_eq!(shelf.pieces().len(), 1, "a copy has memory of its own");
        let again = shelf.take(10);
        assert_eq!((again.as_ptr(), again.len(), again.capacity() >= 1000), (place, 0, true));
    }

    #[test]
    fn memory_that_lies_there_is_bounded() {
        let shelf = Shelf::default();
        drop(shelf.lend(Vec::with_capacity(HOLD_BYTES_MAX)));
        assert_eq!(shelf.pieces().len(), 0, "that of a long record");
        let lent: Vec<Buffer> = (0..100).map(|_| shelf.lend(shelf.take(10))).collect();
        drop(lent);
        assert_eq!(shelf.pieces().len(), Shelf::PIECES);
    }
}
