//! The transaction operator: owns every transaction's state and turns events into exact changes.
//!
//! ```text
//!  events ──exchange by shard──▶ ┌──────────────┐ ──▶ rows of postings, totals, imbalances, some due later
//!  closings ───────────────────▶ │ transactions │ ──▶ sums by account, by book and its ranges
//!          ┌──exchange by shard─▶│  (resolver)  │ ──▶ facts, lines in closed months and on clearing accounts
//!          │                     └──────┬───────┘ ──▶ names of accounts; applied and duplicate, by partition
//!          └────── mail, a round later ◀┘
//! ```
//!
//! In: canonical events, each at its epoch. Out: for each epoch, what `f(S ∪ events) - f(S)` is for
//! every transaction touched, already consolidated. An event without transaction is one by itself. State: the store, and within an epoch the
//! linked transactions that it touches. See `links` for how they agree.

mod books;
mod combiner;
mod emitter;
mod links;
mod operator;
mod resolver;
mod rows;
mod standing;
mod state;

use std::sync::Arc;

use timely::dataflow::Stream;
use trueup_ledger::{Rules, Scale, Table};

use crate::books::{Book, OfRanges};
use crate::due::DueRow;
use crate::facts::FactRecord;
use crate::names::{AccountKey, AccountName, DatedKey};
use crate::periods::Closing;
use crate::record::{Accepted, ClearingLine, EventRecord, LateLine};
use crate::store::WorkerState;
use crate::sums::{CompactSides, Sides};
use crate::time::EpochClock;

/// Rows that changed, several to a table.
pub type Tables<'s> = Stream<'s, u64, Vec<Table>>;

/// Changes of sums of keys of some shards of one worker, behind a number that routes them there and is higher
/// the higher these shards are: as they are in one piece, nobody moves each of them, and whoever puts them in
/// order has few at a time.
pub type Batch<K> = (u64, Vec<(K, CompactSides)>);

/// What the transactions change, at the epochs they change it in.
pub struct Changes<'s> {
    /// Changes of `postings`, `transaction_totals` and the detectors of single transactions.
    pub tables: Tables<'s>,
    /// Rows that come to hold (1) and cease to (-1), and are in their views once they are due.
    pub due: Stream<'s, u64, Vec<(DueRow, i8)>>,
    /// Changes of posted sums by account, currency and date.
    pub movements: Stream<'s, u64, Vec<Batch<DatedKey>>>,
    /// Changes of pending sums by account and currency.
    pub pending: Stream<'s, u64, Vec<Batch<AccountKey>>>,
    /// Facts that come to count (1) and cease to (-1).
    pub facts: Stream<'s, u64, Vec<(FactRecord, i8)>>,
    /// Changes of posted sums by tenant and currency.
    pub books: Stream<'s, u64, Vec<(Book, Sides)>>,
    /// Changes of sums by the same and hash range of transactions, posted and pending together.
    pub ranges: Stream<'s, u64, Vec<(Book, OfRanges)>>,
    /// Changes of posted lines in months that were closed before the epoch.
    pub late: Stream<'s, u64, Vec<LateLine>>,
    /// Changes of posted lines on clearing accounts.
    pub clearing: Stream<'s, u64, Vec<ClearingLine>>,
    /// The name of each account key that this worker uses for the first time.
    pub names: Stream<'s, u64, Vec<(AccountKey, AccountName)>>,
    /// What became of the events, by partition.
    pub accepted: Stream<'s, u64, Vec<(u32, Accepted)>>,
}

/// What the transactions are told beside the events.
pub struct Surroundings<'s, 'a> {
    /// The closings of months, to every worker.
    pub closings: Stream<'s, u64, Vec<Closing>>,
    /// The epoch times.
    pub clock: EpochClock,
    /// The state that is there already.
    pub state: &'a WorkerState,
}

/// An implementation of the meaning of events (SPEC §3) as a dataflow.
///
/// Whatever the implementation, the changes of an epoch depend on nothing but the set of events
/// up to it and the set before it, the times of epochs, and the closings before it.
pub trait Transactions {
    /// Builds the dataflow behind `events`.
    fn build<'s>(
        self,
        events: Stream<'s, u64, Vec<EventRecord>>,
        surroundings: Surroundings<'s, '_>,
    ) -> Changes<'s>;
}

/// The implementation that runs: a stateful operator over the store.
#[derive(Clone, Debug)]
pub struct Stateful {
    /// The scale of amounts in details.
    pub scale: Scale,
    /// What rows depend on beside events.
    pub rules: Arc<Rules>,
}

impl Transactions for Stateful {
    fn build<'s>(
        self,
        events: Stream<'s, u64, Vec<EventRecord>>,
        surroundings: Surroundings<'s, '_>,
    ) -> Changes<'s> {
        operator::transactions(events, surroundings, self)
    }
}
