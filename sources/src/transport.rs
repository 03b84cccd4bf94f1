//! The contract of a transport: partitions that are read in order from stable positions.
//!
//! Every implementation passes [`crate::conformance`]. What it promises:
//!
//! - **Order.** The records of a partition come in one order, the same in every run.
//! - **Positions** never change meaning: a record has the position it had when it was first read.
//!   Positions ascend but need not be dense (bytes; Kafka's transaction markers).
//! - **Idempotence.** [`Partition::resume`] at a position that [`Partition::position`] or
//!   [`RawBatch::to`] once had gives exactly the records behind it, however often. Nothing is
//!   acknowledged and nothing is stored: the commit log alone remembers positions.
//! - **Exact replay.** With `until`, a range that was read once ends where it ended then.
//! - **Blocking.** `poll` and `position` return promptly; `partitions`, `resume` and `end` may ask a
//!   server, for [`SERVER_TIMEOUT`] at most; only [`Transport::wait`] parks.
//! - **Crash.** There is no state to lose. A reader may be dropped at any point.
//! - **Truth.** What was read is checked for change on resume and while reading. After an error
//!   other than [`SourceError::Unavailable`] a partition must be resumed before it is polled again.

use std::time::Duration;

use trueup_ledger::Position;

use crate::batch::RawBatch;

/// How long a call that asks a server may take before it is [`SourceError::Unavailable`].
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where records come from: a set of partitions that stays the same while it is open.
pub trait Transport: Send {
    /// Returns the name for logs and errors: a path, or brokers and topic.
    fn name(&self) -> &str;

    /// Opens every partition, at its beginning, in an order that is the same in every process.
    /// Partitions that are created later are found by the next call, in practice by a restart.
    ///
    /// # Errors
    /// As each variant of [`SourceError`] says.
    fn partitions(&mut self) -> Result<Vec<Box<dyn Partition>>, SourceError>;

    /// Parks until there may be more to read, or until `timeout`; may return early at any time.
    fn wait(&mut self, timeout: Duration);
}

/// One partition, and how far it has been read.
pub trait Partition: Send {
    /// Returns the partition's name within the source.
    fn id(&self) -> &str;

    /// Goes to `from`: the next record is the first one behind it. `Position::default()` is the
    /// beginning. With the `fingerprint` that this partition had at `from`, what lies before is
    /// checked to be unchanged, at the latest before the first record is returned.
    ///
    /// # Errors
    /// [`SourceError::Changed`] when `from` no longer is what it was, and the others as they say.
    fn resume(&mut self, from: &Position, fingerprint: Option<&str>) -> Result<(), SourceError>;

    /// Returns the next records, at least one and at most `limit`, none at or past `until`.
    ///
    /// `until` must be a position that this partition once had. Once everything before it has
    /// been returned, [`Partition::position`] equals it and `poll` is idle.
    ///
    /// # Errors
    /// [`SourceError::Changed`] when what was read, or what lies before `until`, is gone or
    /// different; the others as they say.
    fn poll(&mut self, limit: usize, until: Option<&Position>) -> Result<Polled, SourceError>;

    /// Returns the position behind the last record returned, or that of [`Partition::resume`]. It
    /// may move on without a record where it is certain that none lies between.
    fn position(&self) -> Position;

    /// Returns a mark of what lies before [`Partition::position`], for [`Partition::resume`];
    /// `None` where nothing does. It belongs to the position at the time of the call, so both are
    /// taken together, before the next `poll`.
    fn fingerprint(&self) -> Option<String>;

    /// Returns the end as it is now: polling until `position() >= end` returns every record that
    /// exists when this is called. In Kafka a record of an open transaction does not exist yet.
    /// To be asked now and then, not at every poll: what was fetched ahead may be fetched again.
    ///
    /// # Errors
    /// As each variant of [`SourceError`] says.
    fn end(&mut self) -> Result<Position, SourceError>;
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Records, never an empty batch.
    Batch(RawBatch),
    /// Nothing now. More may come, unless `until` is reached.
    Idle,
}

/// Why a source cannot be read, by what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Stop and tell the operator: the records that were read, or are to be read next, are gone or
    /// are others. Going on would make the books depend on when they were read.
    #[error(
        "{source_name}, partition {partition}: {detail} (wanted position {wanted}{})",
        oldest.as_ref().map(|o| format!(", oldest there is {o}")).unwrap_or_default()
    )]
    Changed {
        /// The transport's name.
        source_name: String,
        /// The partition's name within it.
        partition: String,
        /// The position that cannot be read from any more.
        wanted: Position,
        /// The oldest position there is now, where known.
        oldest: Option<Position>,
        /// What happened, naming the file where there is one.
        detail: String,
    },
    /// Try again after a while: the server does not answer, and nothing was lost.
    #[error("{source_name} is unavailable: {detail}")]
    Unavailable {
        /// The transport's name.
        source_name: String,
        /// What was tried and what came back.
        detail: String,
    },
    /// Stop: reading failed in a way that trying again does not cure.
    #[error("{source_name} cannot be read: {detail}")]
    Failed {
        /// The transport's name.
        source_name: String,
        /// What was tried.
        detail: String,
        /// The cause, where the operating system or a library gave one.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Stop and let the operator correct the configuration: no such path or topic, a bad option.
    #[error("{source_name} is not configured right: {detail}")]
    Configuration {
        /// The transport's name.
        source_name: String,
        /// What is wrong.
        detail: String,
    },
}
