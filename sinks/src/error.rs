//! Why deltas cannot be written or read, by what the caller should do.

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use thiserror::Error;
use trueup_ledger::{Epoch, View};

use crate::commit::LogError;
use crate::store::StoreError;

/// What went wrong between tables and files.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The store failed; see [`StoreError`] for what to do.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The commit log cannot be read; see [`LogError`].
    #[error(transparent)]
    Log(#[from] LogError),
    /// A sum does not fit `DECIMAL(38, S)`. Stop: it is neither wrapped nor rounded.
    #[error("{}: column {column} of row {row} has more than 38 digits: {units}", view.name())]
    AmountTooWide {
        /// The view.
        view: View,
        /// The column.
        column: &'static str,
        /// The row, for a person.
        row: String,
        /// The value in units of 10^-scale.
        units: i128,
    },
    /// A control total is no decimal of the store's scale. Stop.
    #[error("the total of {column} cannot be summed: {text:?}")]
    BadTotal {
        /// The column.
        column: String,
        /// The total.
        text: String,
    },
    /// A file is not what the commit says, or not as this program writes it. Stop: restore the
    /// file from a copy.
    #[error("{path}: {what}")]
    Damaged {
        /// The path within the store.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The epoch asked for is not committed (yet).
    #[error("epoch {wanted} is not committed; the last one is {head}")]
    NotCommitted {
        /// The epoch asked for.
        wanted: Epoch,
        /// The last epoch committed.
        head: Epoch,
    },
    /// Rows cannot be laid out as Arrow arrays. Stop: this is a limit or a bug.
    #[error("{path}: rows cannot be encoded")]
    Arrow {
        /// The path within the store.
        path: String,
        /// The cause.
        #[source]
        source: ArrowError,
    },
    /// A Parquet file cannot be encoded or decoded. Stop.
    #[error("{path}: not encoded or decoded as Parquet")]
    Parquet {
        /// The path within the store.
        path: String,
        /// The cause.
        #[source]
        source: ParquetError,
    },
}

impl SinkError {
    pub(crate) fn damaged(path: &str, what: impl Into<String>) -> SinkError {
        SinkError::Damaged { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn arrow(path: &str) -> impl Fn(ArrowError) -> SinkError {
        move |source| SinkError::Arrow { path: path.to_owned(), source }
    }

    pub(crate) fn parquet(path: &str) -> impl Fn(ParquetError) -> SinkError {
        move |source| SinkError::Parquet { path: path.to_owned(), source }
    }
}
