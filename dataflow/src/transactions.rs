//! The transaction operator: owns every transaction's state and turns events into exact changes.
//!
//! ```text
//!  events ──exchange by shard──▶ ┌──────────────┐ ──▶ rows of postings, totals, imbalances
//!                                │ transactions │ ──▶ sums by account, by shard, posted or not
//!          ┌──exchange by shard─▶│  (resolver)  │ ──▶ declarations, names of accounts
//!          │                     └──────┬───────┘ ──▶ applied and duplicate, by partition
//!          └────── mail, a round later ◀┘
//! ```
//!
//! In: canonical events, each at its epoch. Out: for each epoch, what `f(S ∪ events) - f(S)` is for
//! every transaction touched, already consolidated. An event without transaction is one by itself. State: the store, and within an epoch the
//! linked transactions that it touches. See `links` for how they agree.

mod emitter;
mod links;
mod operator;
mod resolver;
mod standing;
mod state;

use timely::dataflow::Stream;
use trueup_ledger::{Scale, Table};

use crate::accounts::Declared;
use crate::books::Book;
use crate::names::{AccountKey, AccountName};
use crate::record::{Accepted, EventRecord};
use crate::store::WorkerState;
use crate::sums::Sides;

/// Rows that changed, several to a table.
pub type Tables<'s> = Stream<'s, u64, Vec<Table>>;

/// What the transactions change, at the epochs they change it in.
pub struct Changes<'s> {
    /// Changes of `postings`, `transaction_totals` and the detectors of single transactions.
    pub tables: Tables<'s>,
    /// Changes of posted sums by account, currency and date.
    pub movements: Stream<'s, u64, Vec<((AccountKey, i32), Sides)>>,
    /// Changes of pending sums by account and currency.
    pub pending: Stream<'s, u64, Vec<(AccountKey, Sides)>>,
    /// Declarations of accounts that come to count (1) and cease to (-1).
    pub declarations: Stream<'s, u64, Vec<(Declared, i8)>>,
    /// Changes of posted sums by tenant, currency and hash range of transactions.
    pub shards: Stream<'s, u64, Vec<((Book, u8), Sides)>>,
    /// Changes of pending sums by the same.
    pub pending_shards: Stream<'s, u64, Vec<((Book, u8), Sides)>>,
    /// The name of each account key that this worker uses for the first time.
    pub names: Stream<'s, u64, Vec<AccountName>>,
    /// What became of the events, by partition.
    pub accepted: Stream<'s, u64, Vec<(u32, Accepted)>>,
}

/// An implementation of the meaning of events (SPEC §3) as a dataflow.
///
/// Whatever the implementation, the changes of an epoch depend on nothing but the set of events
/// up to it and the set before it.
pub trait Transactions {
    /// Builds the dataflow behind `events`, with the state that is there already.
    fn build<'s>(
        self,
        events: Stream<'s, u64, Vec<EventRecord>>,
        state: &WorkerState,
    ) -> Changes<'s>;
}

/// The implementation that runs: a stateful operator over the store.
#[derive(Clone, Copy, Debug)]
pub struct Stateful {
    /// The scale of amounts in details.
    pub scale: Scale,
}

impl Transactions for Stateful {
    fn build<'s>(
        self,
        events: Stream<'s, u64, Vec<EventRecord>>,
        state: &WorkerState,
    ) -> Changes<'s> {
        operator::transactions(events, state, self.scale)
    }
}
