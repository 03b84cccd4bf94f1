//! Where committed epochs go: the store, the commit log, delta Parquet files and their reader.
//!
//! ```text
//! tables of an epoch ─▶ deltas ──┐                    ┌─▶ reader: a view's rows at an epoch
//! rejected records ──▶ quarantine┴▶ files ─▶ commit log ─▶ (followers: Delta Lake, alerts…)
//! ```
//!
//! Invariants:
//! - Only this crate knows Arrow and Parquet.
//! - A file is published when a commit record names it, and not before. What lies in the store
//!   and is named by no commit does not exist for any reader.
//! - Files and commits are only ever created, never replaced: a second writer cannot damage what
//!   a first one published, and a file left by a crash cannot stand in for another.
//! - Commits are numbered 1, 2, 3… without gaps, each holds the SHA-256 of the one before, and
//!   of two that want one number at most one gets it. The other is told, and stops.
//! - An unknown outcome (a lost reply, a time-out) is resolved by reading, never by assuming.
//! - A quarantined record is re-driven once at most: its re-drive is a numbered file as well.
//! - Equal tables make equal bytes: nothing in a file depends on clocks or on chance.
//!
//! Absent: what rows mean, positions of sources beyond carrying them, and any thread but the one
//! that looks after the connections to object storage.

pub mod checkpoints;
mod chunks;
pub mod commit;
pub mod conformance;
pub mod deltas;
pub mod directory;
mod distinct;
pub mod error;
pub mod fault;
pub mod memory;
pub mod object;
pub mod quarantine;
pub mod reader;
pub mod record;
pub mod redrive;
mod schema;
pub mod snapshot;
pub mod store;
pub mod totals;

pub use checkpoints::{
    Bound, Chain, Copies, CopyWriter, Group, KeyRange, Manifest, Pairs, Part, Weight, read_copy,
};
pub use commit::{Appended, ChainBreak, CommitError, CommitLog, Incompatible, LogError};
pub use deltas::DeltaWriter;
pub use directory::DirectoryStore;
pub use error::SinkError;
pub use fault::{Fault, FaultPlan, FaultyStore};
pub use memory::MemoryStore;
#[cfg(feature = "s3")]
pub use object::BucketStore;
pub use object::{BucketConfig, Credentials};
pub use quarantine::{
    QuarantineRecord, Quarantined, quarantined_positions, scan_quarantine_file, write_quarantine,
};
pub use reader::{digest_at, read_delta_file, rows_at, scan_delta_file, snapshot_at};
pub use record::{CommitRecord, FileEntry, GENESIS, InputRange, QUARANTINE};
pub use redrive::{Audit, Outcome, REDRIVE, Redrive, Redrives, Request};
pub use snapshot::{RowFilter, Snapshot};
pub use store::{Creation, Retry, Store, StoreError, create_exact};
pub use totals::{CurrencyTotals, ViewTotals};
