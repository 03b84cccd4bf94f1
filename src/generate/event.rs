//! An event as the planner sees it: small, copied freely, and written only when it is delivered.

use super::draw::Draw;
use super::tally::{Hostilities, RecordKind};
use super::text::{OFFSETS, When};
use super::world::CURRENCIES;

/// The kinds of event that are generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Post,
    Correct,
    Reverse,
    Refund,
    Hold,
    Capture,
    Release,
    Account,
    StatementLine,
    ControlTotal,
    ClosePeriod,
    ReopenPeriod,
}

impl Kind {
    /// Says whether an event of this kind is part of a ledger transaction.
    pub(super) fn has_transaction(self) -> bool {
        use Kind::{Account, ClosePeriod, ControlTotal, ReopenPeriod, StatementLine};
        !matches!(self, Account | StatementLine | ControlTotal | ClosePeriod | ReopenPeriod)
    }
}

impl From<Kind> for RecordKind {
    fn from(kind: Kind) -> RecordKind {
        match kind {
            Kind::Post => RecordKind::Post,
            Kind::Correct => RecordKind::Correct,
            Kind::Reverse => RecordKind::Reverse,
            Kind::Refund => RecordKind::Refund,
            Kind::Hold => RecordKind::Hold,
            Kind::Capture => RecordKind::Capture,
            Kind::Release => RecordKind::Release,
            Kind::Account => RecordKind::Account,
            Kind::StatementLine => RecordKind::StatementLine,
            Kind::ControlTotal => RecordKind::ControlTotal,
            Kind::ClosePeriod => RecordKind::ClosePeriod,
            Kind::ReopenPeriod => RecordKind::ReopenPeriod,
        }
    }
}

/// One posting: numbers that [`super::world`] turns into names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) account: u64,
    pub(super) currency: usize,
    pub(super) credit: bool,
    /// In the smallest unit of the currency.
    pub(super) amount: u64,
}

impl Line {
    pub(super) fn debit(account: u64, currency: usize, amount: u64) -> Line {
        Line { account, currency, credit: false, amount }
    }

    pub(super) fn credit(account: u64, currency: usize, amount: u64) -> Line {
        Line { account, currency, credit: true, amount }
    }
}

/// Up to four postings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    items: [Line; 4],
    len: usize,
}

impl Lines {
    /// Keeps the first four lines.
    pub(super) fn of(lines: &[Line]) -> Lines {
        let mut kept = Lines::default();
        for (item, line) in kept.items.iter_mut().zip(lines) {
            *item = *line;
            kept.len += 1;
        }
        kept
    }

    pub(super) fn as_slice(&self) -> &[Line] {
        &self.items[..self.len]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Line] {
        &mut self.items[..self.len]
    }

    /// Returns the exact opposite.
    pub(super) fn opposite(mut self) -> Lines {
        for line in self.as_mut_slice() {
            line.credit = !line.credit;
        }
        self
    }
}

/// What an event without transaction says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    Account(Account),
    Statement(Statement),
    Control(Control),
    /// Year and month.
    Period(u64, u64),
}

/// What a processor states of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    /// An index of the processors.
    pub(super) processor: usize,
    pub(super) reference: u64,
    pub(super) currency: usize,
    pub(super) negative: bool,
    /// In the smallest unit of the currency.
    pub(super) amount: u64,
    /// The value date, in days since 1970-01-01.
    pub(super) date: u64,
}

/// What a service has sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) count: u64,
    /// Debits and credits by currency, in its smallest unit.
    pub(super) sums: [(u64, u64); CURRENCIES.len()],
}

/// What is declared of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// The account.
    pub(super) number: u64,
    /// Whether its normal side is the credit side.
    pub(super) credit: bool,
    /// Whether it may not be overdrawn.
    pub(super) forbidden: bool,
}

/// How an event is written, which never changes what it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// An index of the field orders.
    pub(super) order: usize,
    /// Blanks behind `,` and `:`.
    pub(super) spaced: bool,
    /// Unicode as `\u` escapes.
    pub(super) escaped: bool,
    /// Defaults (`leg`, `revision`) are written out.
    pub(super) explicit: bool,
    /// What to do with the zeros at the end of amounts.
    pub(super) zeros: Zeros,
    /// Fields that the schema does not know.
    pub(super) drift: bool,
    /// About 4 KB of metadata.
    pub(super) large: bool,
    /// Metadata and correlation id follow from it.
    pub(super) salt: u64,
    /// How many bytes the record has, if it has not more anyway; 0: as it comes. Only for the first
    /// field order, in which metadata come last.
    pub(super) record_bytes: usize,
}

/// How the zeros at the end of a fraction are written: `1.50`, `1.5` or `1.500`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zeros {
    AsCurrency,
    Trimmed,
    OneMore,
}

/// How many field orders the renderer knows; the first is the usual one.
pub(super) const ORDERS: usize = 4;

impl Look {
    pub(super) fn draw(draw: &mut Draw) -> Look {
        let unusual = draw.chance(12_000);
        Look {
            order: if unusual { draw.index(ORDERS) } else { 0 },
            spaced: draw.chance(5_000),
            escaped: draw.chance(6_000),
            explicit: draw.chance(15_000),
            zeros: match draw.below(20) {
                0..=2 => Zeros::Trimmed,
                3 => Zeros::OneMore,
                _ => Zeros::AsCurrency,
            },
            drift: draw.chance(2_000),
            large: draw.chance(2_500),
            salt: draw.any(),
            record_bytes: 0,
        }
    }

    /// Returns a look of which everything that can differ does.
    fn changed(mut self, draw: &mut Draw) -> Look {
        self.order = (self.order + 1 + draw.index(ORDERS - 1)) % ORDERS;
        self.escaped = !self.escaped;
        self.explicit = !self.explicit;
        self.zeros = match self.zeros {
            Zeros::AsCurrency => Zeros::Trimmed,
            Zeros::Trimmed => Zeros::OneMore,
            Zeros::OneMore => Zeros::AsCurrency,
        };
        self.salt = draw.any();
        self
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) tenant: usize,
    /// Of no meaning for an event without one.
    pub(super) transaction: u64,
    pub(super) id: EventId,
    /// 0 is no leg.
    pub(super) leg: usize,
    pub(super) revision: u64,
    pub(super) effective: When,
    pub(super) recorded: When,
    pub(super) service: usize,
    /// 0 is none.
    pub(super) sequence: u64,
    /// The transaction that a reversal, refund, capture or release names.
    pub(super) target: Option<u64>,
    /// When a hold ends.
    pub(super) expires: Option<When>,
    /// What an event without transaction says.
    pub(super) said: Option<Said>,
    /// None: the event says nothing about postings.
    pub(super) lines: Option<Lines>,
    pub(super) look: Look,
    pub(super) planted: Hostilities,
}

/// An event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventId {
    /// Unique in the workload.
    Number(u64),
    /// `created`, which many transactions use.
    Common,
}

impl Event {
    /// Returns the same event in other bytes.
    pub(super) fn in_other_bytes(mut self, draw: &mut Draw) -> Event {
        self.look = self.look.changed(draw);
        let expires = self.expires.as_mut();
        for when in [&mut self.effective, &mut self.recorded].into_iter().chain(expires) {
            when.offset = (when.offset + 1) % OFFSETS.len();
            when.digits = if when.digits < 9 { when.digits + 1 } else { 9 };
        }
        self
    }
}
