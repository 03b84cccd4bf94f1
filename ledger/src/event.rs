//! Events that have been accepted: every value is parsed and valid by SPEC §2.
//!
//! An [`Event`] is made by [`crate::draft::EventDraft::admit`] from a decoded record, or by
//! [`Event::decode`](crate::codec) from its canonical bytes; both borrow where they can.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::fact::Fact;
use crate::{Amount, Timestamp, TransactionKey};

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Opens a leg with postings.
    Post,
    /// Replaces a leg's postings and effective date with a higher revision.
    Correct,
    /// Takes back its target, with postings of its own or the exact opposite of the target's.
    Reverse,
    /// Gives back a part or all of its target, always with postings of its own.
    Refund,
    /// Opens a leg with postings that are pending until a capture or release resolves them.
    Hold,
    /// Posts what its target holds, with postings of its own or the target's.
    Capture,
    /// Lets go of what its target holds; has no postings of its own.
    Release,
    /// Declares an account. Belongs to no transaction, as all that follow.
    Account,
    /// Reports what a processor says of a payment.
    StatementLine,
    /// Reports what a service has sent.
    ControlTotal,
    /// Closes a month of the books.
    ClosePeriod,
    /// Opens a closed month again.
    ReopenPeriod,
}

impl Kind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Kind; 12] = [
        Kind::Post,
        Kind::Correct,
        Kind::Reverse,
        Kind::Refund,
        Kind::Hold,
        Kind::Capture,
        Kind::Release,
        Kind::Account,
        Kind::StatementLine,
        Kind::ControlTotal,
        Kind::ClosePeriod,
        Kind::ReopenPeriod,
    ];

    /// Finds a kind by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the name that events and views use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Post => "post",
            Kind::Correct => "correct",
            Kind::Reverse => "reverse",
            Kind::Refund => "refund",
            Kind::Hold => "hold",
            Kind::Capture => "capture",
            Kind::Release => "release",
            Kind::Account => "account",
            Kind::StatementLine => "statement_line",
            Kind::ControlTotal => "control_total",
            Kind::ClosePeriod => "close_period",
            Kind::ReopenPeriod => "reopen_period",
        }
    }

    /// Says whether an event of this kind is part of a ledger transaction. One that is not stands
    /// alone: its identity is (tenant, kind, event id).
    #[must_use]
    pub fn has_transaction(self) -> bool {
        self < Kind::Account
    }

    /// Says whether an event of this kind closes a month or opens it again.
    #[must_use]
    pub fn is_of_period(self) -> bool {
        matches!(self, Kind::ClosePeriod | Kind::ReopenPeriod)
    }

    /// Says whether an event of this kind opens a leg, or says what has no legs.
    #[must_use]
    pub fn is_opening(self) -> bool {
        self != Kind::Correct
    }

    /// Says whether a transaction of this kind names a target.
    #[must_use]
    pub fn is_link(self) -> bool {
        matches!(self, Kind::Reverse | Kind::Refund | Kind::Capture | Kind::Release)
    }

    /// Says whether a transaction of this kind resolves the hold that it names.
    #[must_use]
    pub fn resolves(self) -> bool {
        matches!(self, Kind::Capture | Kind::Release)
    }

    /// Says whether a transaction of this kind may name one of kind `target` (SPEC §3, Links).
    #[must_use]
    pub fn may_link_to(self, target: Kind) -> bool {
        match self {
            Kind::Reverse => {
                matches!(target, Kind::Post | Kind::Reverse | Kind::Refund | Kind::Capture)
            }
            Kind::Refund => matches!(target, Kind::Post | Kind::Capture),
            Kind::Capture | Kind::Release => target == Kind::Hold,
            _ => false,
        }
    }
}

/// The side of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Adds to the debit-positive balance.
    Debit,
    /// Takes from the debit-positive balance.
    Credit,
}

impl Side {
    /// Returns the name that events and views use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Side::Debit => "debit",
            Side::Credit => "credit",
        }
    }

    /// Returns the other side.
    #[must_use]
    pub fn opposite(self) -> Side {
        match self {
            Side::Debit => Side::Credit,
            Side::Credit => Side::Debit,
        }
    }
}

/// One line of an event: an amount on one side of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting<'a> {
    /// The account, a `:`-separated path of at most 256 bytes.
    pub account: Cow<'a, str>,
    /// The side.
    pub side: Side,
    /// The amount, never negative.
    pub amount: Amount,
    /// The currency or unit of account.
    pub currency: Cow<'a, str>,
}

/// The outbox that an event came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The name of the service.
    pub service: Cow<'a, str>,
    /// The place in the service's sequence 1, 2, 3… of this tenant.
    pub sequence: Option<u64>,
}

/// An accepted event: everything that makes its content (SPEC §3, Identity), so neither metadata
/// nor correlation id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The isolation boundary.
    pub tenant: Cow<'a, str>,
    /// The ledger transaction; empty for kinds without one.
    pub transaction_id: Cow<'a, str>,
    /// The idempotency key, unique in its transaction, or else among the tenant's events of a kind.
    pub event_id: Cow<'a, str>,
    /// What the event does.
    pub kind: Kind,
    /// The leg, empty by default.
    pub leg: Cow<'a, str>,
    /// 1 for an opening, 2 or more for a correction.
    pub revision: u64,
    /// When it counts in the books.
    pub effective_at: Timestamp,
    /// When the source service committed it.
    pub recorded_at: Timestamp,
    /// Where it came from.
    pub source: Source<'a>,
    /// The transaction that a reversal, refund, capture or release names.
    pub target: Option<Cow<'a, str>>,
    /// When a hold should have been resolved; `None` for every other kind.
    pub expires_at: Option<Timestamp>,
    /// What an event without transaction says; `None` for one that has a transaction.
    pub fact: Option<Box<Fact<'a>>>,
    /// The lines; empty voids the leg, or derives them where an opening `reverse` or `capture` has
    /// none.
    pub postings: Vec<Posting<'a>>,
}

impl Event<'_> {
    /// Returns the key of the event's transaction. An event without one has a key of its own, by
    /// its identity.
    #[must_use]
    pub fn transaction(&self) -> TransactionKey {
        if self.kind.has_transaction() {
            TransactionKey::of(&self.tenant, &self.transaction_id)
        } else {
            TransactionKey::of_event(&self.tenant, self.kind.name(), &self.event_id)
        }
    }

    /// Says whether the event leaves its lines to be derived from its target.
    #[must_use]
    pub fn derives(&self) -> bool {
        matches!(self.kind, Kind::Reverse | Kind::Capture) && self.postings.is_empty()
    }

    /// Returns the order in which rival events are judged: the smaller counts (SPEC §3).
    #[must_use]
    pub fn seniority(&self) -> (Timestamp, &str) {
        (self.recorded_at, &self.event_id)
    }
}
