//! The commit record: the one file that says what an epoch was (SPEC §5).
//!
//! Its bytes are one line of JSON with the fields in the order of this file, so equal records have
//! equal bytes. Fields that a later program adds are ignored by this one; a change of meaning
//! raises [`FORMAT_VERSION`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use trueup_ledger::{Counts, Epoch, PartitionId, Position, Timestamp};

use crate::totals::ViewTotals;

/// The version of commit records that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// What the first commit has in place of the hash of the one before.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The `view` of a [`FileEntry`] of quarantined records.
pub const QUARANTINE: &str = "quarantine";

/// What one partition gave to an epoch: the records of [from, to).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRange {
    /// The source's name in the configuration.
    pub source: String,
    /// The partition's name within the source.
    pub partition: String,
    /// The position of the first record.
    pub from: Position,
    /// The position behind the last record.
    pub to: Position,
    /// What became of the records.
    pub counts: Counts,
    /// What the transport says about the bytes just before `to`, to know them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whether every record that the partition had when the day of the epoch time began, UTC, is in
    /// this epoch or an earlier one, and it had no more when it was asked last. It tells how far the
    /// run was, not what the rows are: nothing is compared with it. Absent is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub caught_up: bool,
}

/// What is left out of the bytes, as in those of programs that did not know the field.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl InputRange {
    /// Returns the partition that the range is of.
    #[must_use]
    pub fn partition_id(&self) -> PartitionId {
        PartitionId {
            source: self.source.as_str().into(),
            partition: self.partition.as_str().into(),
        }
    }
}

/// A file of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The path within the store.
    pub path: String,
    /// The name of the view, or [`QUARANTINE`].
    pub view: String,
    /// How many rows it holds.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in lower-case hex.
    pub sha256: String,
}

/// One epoch, committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// The version of this format; [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The number of the commit.
    pub epoch: Epoch,
    /// Which cluster start wrote it.
    pub generation: u64,
    /// The epoch time, RFC 3339 in UTC, to the microsecond.
    pub epoch_time: String,
    /// The epoch time in microseconds since 1970-01-01T00:00:00Z.
    pub epoch_time_micros: i64,
    /// The input, by source and partition.
    pub inputs: Vec<InputRange>,
    /// The files, by path.
    pub files: Vec<FileEntry>,
    /// The control totals of each view that changed, by its name.
    pub views: BTreeMap<String, ViewTotals>,
    /// Amounts are in units of 10^-`amount_scale`.
    pub amount_scale: u8,
    /// The hash of the configuration that the rows depend on.
    pub configuration_hash: String,
    /// The part of it beside `amount_scale`, as its program writes it; nothing where it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The program that wrote it.
    pub program_version: String,
    /// The SHA-256 of the bytes of the commit before, in hex; [`GENESIS`] in the first.
    pub previous: String,
}

impl CommitRecord {
    /// Returns a record without input and files, to be filled in.
    #[must_use]
    pub fn new(epoch: Epoch, previous: String, epoch_time_micros: i64) -> CommitRecord {
        CommitRecord {
            format_version: FORMAT_VERSION,
            epoch,
            generation: 1,
            epoch_time: Timestamp::display_micros(epoch_time_micros),
            epoch_time_micros,
            inputs: Vec::new(),
            files: Vec::new(),
            views: BTreeMap::new(),
            amount_scale: trueup_ledger::Scale::DEFAULT.digits(),
            configuration_hash: String::new(),
            rules: None,
            program_version: String::new(),
            previous,
        }
    }

    /// Returns the bytes of the commit file.
    ///
    /// # Errors
    /// None is known; that of the encoder is passed on rather than assumed away.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns the sum of the counts of all inputs.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for input in &self.inputs {
            sum.add(input.counts);
        }
        sum
    }
}

/// Returns the path of a commit within the store.
#[must_use]
pub fn commit_path(epoch: Epoch) -> String {
    format!("{COMMITS}{:020}.json", epoch.0)
}

/// Where commits are.
pub(crate) const COMMITS: &str = "commits/";

/// Returns the epoch that a path under [`COMMITS`] is the commit of.
pub(crate) fn epoch_of_path(path: &str) -> Option<Epoch> {
    let number = path.strip_prefix(COMMITS)?.strip_suffix(".json")?;
    let epoch = Epoch(number.parse().ok()?);
    (commit_path(epoch) == path).then_some(epoch)
}

/// Returns the SHA-256 of some bytes in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_in_the_bytes() {
        let input = |caught_up| InputRange {
            source: "live".to_owned(),
            partition: "0".to_owned(),
            from: Position::default(),
            to: Position::default(),
            counts: Counts::default(),
            fingerprint: None,
            caught_up,
        };
        let written = |caught_up| serde_json::to_string(&input(caught_up)).unwrap();
        assert!(!written(false).contains("caught_up"));
        assert!(written(true).ends_with(",\"caught_up\":true}"));
        for caught_up in [false, true] {
            let read: InputRange = serde_json::from_str(&written(caught_up)).unwrap();
            assert_eq!(read, input(caught_up));
        }
    }
}
