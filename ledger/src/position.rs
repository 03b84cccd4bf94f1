//! Where records are (partitions and positions), and which cut of them a commit holds (epochs).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The number of a commit: 1, 2, 3… without gaps. Zero is the empty store.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A partition of a source, by the names that configuration and transport give them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The source's name in the configuration.
    pub source: Arc<str>,
    /// The partition's name within the source: a folder of a local log, a number of Kafka.
    pub partition: Arc<str>,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.partition)
    }
}

/// The place of a record in its partition, or the place behind the last one read.
///
/// `segment` is the file of a local log, and empty for Kafka and re-drives; `offset` is a byte
/// offset, a Kafka offset, or the number of a re-drive. Positions of one partition are ordered by segment
/// name, then offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The file name within the partition, or empty.
    pub segment: Arc<str>,
    /// The offset within the segment.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segment.is_empty() {
            write!(f, "{}", self.offset)
        } else {
            write!(f, "{}@{}", self.segment, self.offset)
        }
    }
}

/// What became of the records of a range: `read = applied + duplicate + quarantined`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Records accepted into the set of events, conflicts and orphans among them.
    pub applied: u64,
    /// Records whose event was already in the set.
    pub duplicate: u64,
    /// Records rejected, with reason and raw bytes.
    pub quarantined: u64,
}

impl Counts {
    /// Adds another count, field by field.
    pub fn add(&mut self, other: Counts) {
        self.read += other.read;
        self.applied += other.applied;
        self.duplicate += other.duplicate;
        self.quarantined += other.quarantined;
    }

    /// Says whether every record read ended as exactly one of the three.
    #[must_use]
    pub fn balances(self) -> bool {
        self.read == self.applied + self.duplicate + self.quarantined
    }
}
