//! Raw records as they travel from a transport to the decoder.
//!
//! A batch holds consecutive records of one partition and one segment, in order, in one buffer:
//! one allocation a batch, not one a record. It holds about [`BATCH_BYTES_MAX`] bytes and at most
//! one record more.

use std::sync::Arc;

use trueup_ledger::Position;
use trueup_ledger::draft::RECORD_BYTES_MAX;

/// How many bytes of records make a batch full. The record that fills it is still in it.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

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

/// Consecutive records of one partition and segment, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawBatch {
    /// The partition's index in the caller's list; transports leave it 0, the caller sets it.
    pub partition: usize,
    /// The segment of all records: the file name, or empty for Kafka.
    pub segment: Arc<str>,
    /// The bytes of the records. There may be bytes between them that belong to none.
    pub bytes: Vec<u8>,
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
