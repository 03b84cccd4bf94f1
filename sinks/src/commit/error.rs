//! The errors of the commit log, by what to do.

use thiserror::Error;
use trueup_ledger::Epoch;

use crate::store::StoreError;

/// Why a record was not appended, by what to do.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Another writer has published this epoch. Stop: this process no longer owns the store.
    #[error("fenced: another writer has committed epoch {epoch} ({theirs}, ours was {ours})")]
    Fenced {
        /// The epoch that both wanted.
        epoch: Epoch,
        /// The hash of the record that was not appended.
        ours: String,
        /// The hash of the commit that is there.
        theirs: String,
    },
    /// The record does not follow the head of the log. A bug of the caller.
    #[error("epoch {epoch} does not follow the log: {what}")]
    OutOfOrder {
        /// The epoch of the record.
        epoch: Epoch,
        /// What does not fit.
        what: String,
    },
    /// Nothing was committed. Once the cause is gone, the same or another record can be appended.
    #[error("epoch {epoch} was not committed")]
    Failed {
        /// The epoch of the record.
        epoch: Epoch,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// It may be committed, or be later. Append the same record again, or stop and start anew.
    #[error("whether epoch {epoch} was committed is not known")]
    Unknown {
        /// The epoch of the record.
        epoch: Epoch,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// The log itself cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The record cannot be encoded. A bug.
    #[error("epoch {epoch} cannot be encoded")]
    Encode {
        /// The epoch of the record.
        epoch: Epoch,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// The first commit that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("commit {epoch} is broken: {what}")]
pub struct ChainBreak {
    /// The epoch of that commit.
    pub epoch: Epoch,
    /// What is wrong with it.
    pub what: String,
}

/// Why commits cannot be read.
#[derive(Debug, Error)]
pub enum LogError {
    /// A commit is missing, damaged or edited. Stop: restore it from a copy.
    #[error(transparent)]
    Broken(#[from] ChainBreak),
    /// The store failed; see [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why this program, so configured, must not go on with a log.
#[derive(Debug, Error)]
pub enum Incompatible {
    /// A newer program wrote the log: use that or a later one.
    #[error("commit {epoch} has format {found}, this program knows up to {known}")]
    FormatVersion {
        /// The commit.
        epoch: Epoch,
        /// Its version.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The store keeps amounts of another scale: configure that, or use another store.
    #[error("the store has amount_scale {found}, the configuration says {wanted}")]
    AmountScale {
        /// The scale of the store.
        found: u8,
        /// The scale configured.
        wanted: u8,
    },
    /// The rows published depend on another configuration: restore it, or use another store.
    #[error("the store was written with configuration {found}, this one is {wanted}")]
    Configuration {
        /// The hash in the head of the log.
        found: String,
        /// The hash of this configuration.
        wanted: String,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}
