//! What travels between workers on the way in.

use serde::{Deserialize, Serialize};
use trueup_ledger::{Event, Month, TransactionKey};

use crate::names::AccountKey;

/// Where a record came from, in an order that a re-run repeats: it decides which of two equal
/// records of one epoch counts as applied and which as the duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The partition's place in the sorted list of all partitions.
    pub partition: u32,
    /// The number of the record within its partition and epoch.
    pub ordinal: u64,
}

/// An accepted event on its way to the worker that owns its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The transaction.
    pub key: TransactionKey,
    /// Where the record came from.
    pub origin: Origin,
    /// The event's canonical bytes.
    pub canonical: Box<[u8]>,
}

impl EventRecord {
    /// Encodes an event, with `scratch` as working space.
    #[must_use]
    pub fn new(event: &Event<'_>, origin: Origin, scratch: &mut Vec<u8>) -> EventRecord {
        scratch.clear();
        event.encode(scratch);
        EventRecord { key: event.transaction(), origin, canonical: scratch.as_slice().into() }
    }
}

/// The contents that an epoch of a worker has of one service of one tenant, those with a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRecord {
    /// The tenant.
    pub tenant: Box<str>,
    /// The service.
    pub service: Box<str>,
    /// The currencies of the contents, each once.
    pub currencies: Vec<Box<str>>,
    /// A row for each content and currency, in no order; copies of a content may be among them.
    pub sent: Vec<Sent>,
}

/// What a content carries in one currency; one that has no postings has one row, without a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sent {
    /// The place in the service's sequence.
    pub sequence: u64,
    /// 64 bits of XXH3 over the canonical bytes, to tell the contents of one sequence apart.
    pub hash: u64,
    /// The place among the currencies of the record.
    pub currency: Option<usize>,
    /// The sum of debit amounts, in units.
    pub debit: i128,
    /// The sum of credit amounts.
    pub credit: i128,
}

/// How many events of a partition were new to the set, and how many were in it already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// New to the set.
    pub applied: u64,
    /// In the set before.
    pub duplicate: u64,
}

/// A change of a transaction's posted lines in a month that was closed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateLine {
    /// The tenant.
    pub tenant: Box<str>,
    /// The month.
    pub month: Month,
    /// The transaction.
    pub transaction: TransactionKey,
    /// Its name.
    pub transaction_id: Box<str>,
    /// The account and currency of the line.
    pub account: AccountKey,
    /// The currency.
    pub currency: Box<str>,
    /// By how much debits − credits change, in units.
    pub net: i128,
}

/// A change of a transaction's posted lines on the clearing account of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearingLine {
    /// The tenant.
    pub tenant: Box<str>,
    /// The processor.
    pub processor: Box<str>,
    /// The transaction, as a statement names it.
    pub reference: Box<str>,
    /// The currency.
    pub currency: Box<str>,
    /// The effective date, in days since 1970-01-01.
    pub date: i32,
    /// By how much debits − credits change, in units.
    pub net: i128,
    /// Whether there is one line more (1) or less (-1).
    pub lines: i8,
}
