//! The planner of the ledger workload: postings as most of them are, corrected, reversed and
//! refunded, and nothing that other programs would have to be told about.
//!
//! What a transaction says follows from the seed and its number alone, so any of them can be
//! corrected, however old, without being remembered. Only how often some were corrected is kept.
//!
//! The balance of an account is the sum of the postings of the highest revision of each
//! transaction: every reversal and refund carries its postings, and no event has a leg.

use super::draw::{Draw, Filler, scatter};
use super::event::{Event, EventId, Kind, Line, Lines, Look, Zeros};
use super::memory::{Age, Memory, Revised};
use super::tally::{Hostilities, Hostility};
use super::text::When;
use super::world::{CUSTOMERS, SEQUENCED, Tenant};
use super::{LedgerWorkload, Skew, Workload};

/// Corrections of a thousand records, and how many of these are of old transactions.
const CORRECTIONS: u64 = 25;
const OLD_OF_TEN: u64 = 2;
/// Reversals, and as many refunds, of so many transactions: half a hundredth of all records.
const REVERSALS: u64 = 5;
const TRANSACTIONS: u64 = 975;

/// How far back the target of a reversal or refund lies, and what counts as a recent transaction.
const RECENT: usize = 1 << 16;

/// Currencies with two decimals, as indices of the world's.
const TWO_DECIMALS: [usize; 3] = [0, 1, 3];

/// Accounts of the chart that are plain ASCII, without quotes or commas.
const OWN: [u64; 16] = [0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17];
/// The account that is in every event of a workload with a hot account.
const HOT: u64 = OWN[0];

const DAY: u64 = 86_400;

/// See the module.
pub(super) struct Ledger {
    shape: LedgerWorkload,
    draw: Draw,
    /// Scatters the numbers of transactions, differently for each seed.
    salt: u64,
    start_seconds: u64,
    tenants: Vec<Tenant>,
    memory: Memory<Revised>,
    /// How many transactions were opened; the last one has this number.
    opened: u64,
    records: u64,
}

/// What a transaction is, as it follows from its number.
struct Opening {
    kind: Kind,
    tenant: usize,
    target: Option<u64>,
    effective: When,
    lines: Lines,
}

impl Ledger {
    pub(super) fn new(workload: &Workload, shape: &LedgerWorkload) -> Ledger {
        let before = shape.corrections_of.unwrap_or(0);
        Ledger {
            draw: Draw::new(workload.seed),
            salt: scatter(workload.seed),
            start_seconds: workload.start_seconds,
            tenants: (0..u64::from(workload.tenants.max(1))).map(Tenant::new).collect(),
            memory: Memory::new(RECENT),
            shape: shape.clone(),
            // At least so many of the records before are openings: corrections are fewer.
            opened: before / 20 * 19,
            records: before,
        }
    }

    pub(super) fn tenant(&self, number: usize) -> &Tenant {
        &self.tenants[number]
    }

    /// Returns the next event.
    pub(super) fn next_event(&mut self) -> Event {
        self.records += 1;
        if self.shape.corrections_of.is_some() {
            return self.correction_of_any();
        }
        if self.draw.below(1_000) < CORRECTIONS {
            let old = self.draw.below(10) < OLD_OF_TEN && self.memory.has_old();
            let age = if old { Age::Old } else { Age::Recent };
            if let Some(before) = self.memory.recall(&mut self.draw, age, 1) {
                let mut correct = self.correction(before.transaction, before.revision + 1);
                let old = Hostility::OldCorrection;
                let kind = if age == Age::Old { old } else { Hostility::RecentCorrection };
                correct.planted.add(kind);
                return correct;
            }
        }
        self.opened += 1;
        let number = self.opened;
        let opening = self.opening(number);
        if opening.kind == Kind::Post {
            self.memory.keep(Revised { transaction: number, revision: 1 }, &mut self.draw);
        }
        let mut event = self.event(number, &opening);
        event.planted.add_if(Hostility::CarriedReversal, opening.kind == Kind::Reverse);
        event.planted.add_if(Hostility::PartialRefund, opening.kind == Kind::Refund);
        event
    }

    /// Returns a correction of any transaction that was opened, drawn evenly. How often it was
    /// corrected before is not known; the number of the record is a revision above all of these.
    fn correction_of_any(&mut self) -> Event {
        let behind = 2 + self.draw.below(self.opened);
        let number = self.post_before(behind);
        let mut correct = self.correction(number, self.records + 1);
        correct.planted.add(Hostility::OldCorrection);
        correct
    }

    /// What chance says of a transaction, in a revision of it.
    fn chance(&self, number: u64, revision: u64) -> Filler {
        Filler::new(scatter(number ^ self.salt) ^ scatter(revision))
    }

    fn kind(&self, number: u64) -> Kind {
        match self.chance(number, 0).below(TRANSACTIONS) {
            // There has to be something to reverse.
            _ if number <= 1 => Kind::Post,
            n if n < REVERSALS => Kind::Reverse,
            n if n < 2 * REVERSALS => Kind::Refund,
            _ => Kind::Post,
        }
    }

    /// Returns the last post before a transaction; the first transaction is one.
    fn post_before(&self, number: u64) -> u64 {
        let mut post = number.saturating_sub(1).max(1);
        while self.kind(post) != Kind::Post {
            post -= 1;
        }
        post
    }

    fn opening(&self, number: u64) -> Opening {
        let mut chance = self.chance(number, 1);
        let effective = self.effective(&mut chance);
        let kind = self.kind(number);
        if kind == Kind::Post {
            let tenant = self.any_tenant(&mut chance);
            let lines = self.lines(tenant, &mut chance);
            return Opening { kind, tenant, target: None, effective, lines };
        }
        let reach = (number - 1).min(RECENT as u64);
        let target = self.post_before(number - chance.below(reach));
        let post = self.opening(target);
        let lines = match kind {
            Kind::Reverse => post.lines,
            _ => part_of(&post.lines, &mut chance),
        };
        let lines = lines.opposite();
        Opening { kind, tenant: post.tenant, target: Some(target), effective, lines }
    }

    fn correction(&mut self, number: u64, revision: u64) -> Event {
        let mut chance = self.chance(number, revision);
        let mut opening = self.opening(number);
        opening.kind = Kind::Correct;
        opening.target = None;
        if chance.below(100) < 15 {
            opening.effective = self.effective(&mut chance);
        }
        opening.lines = self.lines(opening.tenant, &mut chance);
        let mut correct = self.event(number, &opening);
        correct.revision = revision;
        correct
    }

    /// A few tenants have more of the traffic than others, or one has nearly all.
    fn any_tenant(&self, chance: &mut Filler) -> usize {
        let tenants = chance.below(self.tenants.len() as u64);
        let number = match self.shape.skew {
            Skew::HotAccount => 0,
            Skew::HotTenant if chance.below(10) < 9 => 0,
            _ => chance.below(1 + tenants),
        };
        usize::try_from(number).unwrap_or(0)
    }

    /// Returns how many accounts of customers a tenant has.
    fn customers(&self, tenant: usize) -> u64 {
        let (all, tenants) = (self.shape.accounts, self.tenants.len() as u64);
        let own = match (self.shape.skew, tenant) {
            (Skew::HotAccount, _) => all,
            // It has more accounts too, or a few accounts of it would be what is hot.
            (Skew::HotTenant, 0) => all / 10 * 9,
            (Skew::HotTenant, _) => all / 10 / tenants,
            (Skew::Even, _) => all / tenants,
        };
        own.saturating_sub(OWN.len() as u64).max(1)
    }

    fn effective(&self, chance: &mut Filler) -> When {
        let seconds = chance.below(u64::from(self.shape.days.max(1)) * DAY);
        let seconds = self.start_seconds.saturating_sub(seconds);
        When { seconds, nanos: 0, digits: 0, offset: 0 }
    }

    /// A payment between an account of the tenant and one of a customer; sometimes with a fee, or
    /// shared by two customers.
    fn lines(&self, tenant: usize, chance: &mut Filler) -> Lines {
        let currency = match chance.below(20) {
            0 => TWO_DECIMALS[chance.index(TWO_DECIMALS.len())],
            _ => TWO_DECIMALS[tenant % TWO_DECIMALS.len()],
        };
        let customers = self.customers(tenant);
        let customer = CUSTOMERS + chance.below(customers);
        let own = match self.shape.skew {
            Skew::HotAccount => HOT,
            _ => OWN[chance.index(OWN.len())],
        };
        let size = 10_u64.pow(3 + u32::try_from(chance.below(4)).unwrap_or(0));
        let amount = 100 + chance.below(size);
        let part = amount / 40;
        match chance.below(100) {
            0..=5 => Lines::of(&[
                Line::debit(own, currency, amount),
                Line::credit(customer, currency, amount - part),
                Line::credit(OWN[chance.index(OWN.len())], currency, part),
            ]),
            6..=8 => {
                let other = CUSTOMERS + chance.below(customers);
                Lines::of(&[
                    Line::debit(own, currency, amount),
                    Line::credit(customer, currency, amount - 2 * part),
                    Line::credit(other, currency, part),
                    Line::credit(OWN[chance.index(OWN.len())], currency, part),
                ])
            }
            _ => Lines::of(&[
                Line::debit(own, currency, amount),
                Line::credit(customer, currency, amount),
            ]),
        }
    }

    /// Makes an event that is recorded now, a millisecond behind the last one.
    fn event(&mut self, transaction: u64, opening: &Opening) -> Event {
        let tenant = &mut self.tenants[opening.tenant];
        let service = (self.records % SEQUENCED as u64) as usize;
        tenant.sequences[service] += 1;
        let ms = self.records % 1_000;
        let seconds = self.start_seconds + self.records / 1_000;
        Event {
            kind: opening.kind,
            tenant: opening.tenant,
            transaction,
            id: EventId::Number(self.records),
            leg: 0,
            revision: 1,
            effective: opening.effective,
            recorded: When { seconds, nanos: ms * 1_000_000, digits: 3, offset: 0 },
            service,
            sequence: tenant.sequences[service],
            target: opening.target,
            expires: None,
            said: None,
            lines: Some(opening.lines),
            look: self.look(),
            planted: Hostilities::default(),
        }
    }

    fn look(&self) -> Look {
        Look {
            order: 0,
            spaced: false,
            escaped: false,
            explicit: false,
            zeros: Zeros::AsCurrency,
            drift: false,
            large: false,
            salt: scatter(self.records ^ self.salt),
            record_bytes: self.shape.record_bytes,
        }
    }
}

/// Returns a part of a payment as two lines that balance.
fn part_of(lines: &Lines, chance: &mut Filler) -> Lines {
    let [debit, credit, ..] = lines.as_slice() else {
        return *lines;
    };
    let amount = 1 + chance.below(credit.amount);
    Lines::of(&[Line { amount, ..*debit }, Line { amount, ..*credit }])
}
