//! The planner: makes events one after the other, remembers what later events can name, and
//! delivers all of them in a slightly wrong order.

use super::Workload;
use super::draw::Draw;
use super::event::{Event, EventId, Kind, Line, Lines, Look};
use super::memory::{Age, Memory, Queue};
use super::scenarios;
use super::tally::{Hostilities, Hostility};
use super::text::{OFFSETS, When, power_of_ten};
use super::world::{CURRENCIES, CUSTOMERS, SEQUENCED, SERVICES, SUSPENSE, Sent, Tenant};

/// How long an event is held back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delay {
    /// Not at all, or by a few records: the usual shuffle of a distributed system.
    Shuffle,
    /// By up to a few hundred records.
    Near,
    /// By up to twenty thousand records, less in a short workload.
    Far,
}

/// A day and seven years, in seconds.
const DAY: u64 = 86_400;
const SEVEN_YEARS: u64 = 7 * 365 * DAY;

/// See the module.
pub(super) struct Planner {
    pub(super) draw: Draw,
    tenants: Vec<Tenant>,
    memory: Memory<Event>,
    queue: Queue,
    position: u64,
    near: u64,
    far: u64,
    clock_ms: u64,
    events: u64,
    /// Whether months are closed.
    pub(super) periods: bool,
}

impl Planner {
    /// Starts a workload. In a short one all distances are shorter, so that everything still
    /// happens.
    pub(super) fn new(workload: &Workload) -> Planner {
        let tenants = u64::from(workload.tenants.max(1));
        let capacity = usize::try_from(workload.events / 16).unwrap_or(usize::MAX);
        Planner {
            draw: Draw::new(workload.seed),
            tenants: (0..tenants).map(Tenant::new).collect(),
            memory: Memory::new(capacity.clamp(8, 4_096)),
            queue: Queue::default(),
            position: 0,
            near: (workload.events / 50).clamp(4, 400),
            far: (workload.events / 8).clamp(8, 20_000),
            clock_ms: workload.start_seconds * 1_000,
            events: 0,
            periods: workload.periods,
        }
    }

    pub(super) fn tenant(&self, number: usize) -> &Tenant {
        &self.tenants[number]
    }

    /// Returns the event of the record at `position`, of which `left` are left. Towards the end
    /// no more is planned, so that what was held back still comes.
    pub(super) fn next_event(&mut self, position: u64, left: u64) -> Event {
        self.position = position;
        let event = loop {
            let until = if self.queue.len() >= left { u64::MAX } else { position };
            match self.queue.pop(until) {
                Some(event) => break event,
                None => scenarios::plan(self),
            }
        };
        if self.queue.len() + 1 < left {
            self.plan_duplicates(&event);
        }
        event
    }

    fn plan_duplicates(&mut self, event: &Event) {
        let delay = if self.draw.chance(30_000) { Delay::Far } else { Delay::Near };
        let mut copy = *event;
        copy.planted = Hostilities::default();
        match self.draw.below(1_000) {
            0..=9 => copy.planted.add(Hostility::ExactDuplicate),
            10..=19 => {
                copy = copy.in_other_bytes(&mut self.draw);
                copy.planted.add(Hostility::SemanticDuplicate);
            }
            _ => return,
        }
        self.put(copy, delay);
    }

    /// Returns what a service has sent since it was asked last, and how far its sequence has come.
    pub(super) fn take_sent(&mut self, tenant: usize, service: usize) -> (Sent, u64) {
        let tenant = &mut self.tenants[tenant];
        let last = tenant.sequences[service];
        let next = Sent { after: last, ..Sent::default() };
        (std::mem::replace(&mut tenant.sent[service], next), last)
    }

    /// Puts an event into the stream, held back by a random part of `delay`, and takes it up in
    /// what its service says it has sent.
    pub(super) fn deliver(&mut self, event: Event, delay: Delay) {
        if event.sequence > 0 {
            self.tenants[event.tenant].sent[event.service].add(&event);
        }
        self.put(event, delay);
    }

    fn put(&mut self, event: Event, delay: Delay) {
        let by = match delay {
            Delay::Shuffle => match self.draw.below(20) {
                0..=13 => 0,
                14..=18 => self.draw.below(8),
                _ => self.draw.below(self.near),
            },
            Delay::Near => 1 + self.draw.below(self.near),
            Delay::Far => self.near + self.draw.below(self.far),
        };
        self.queue.push(self.position + by, event);
    }

    /// Remembers an opening as a target of later events.
    pub(super) fn keep(&mut self, opening: Event) {
        self.memory.keep(opening, &mut self.draw);
    }

    /// Returns an opening to come back to, with the newest revision that was planned for it
    /// before `revisions` more. A stream that is still empty gets its first post instead.
    pub(super) fn recall(&mut self, age: Age, revisions: u64) -> Option<Event> {
        let found = self.memory.recall(&mut self.draw, age, revisions);
        if found.is_none() {
            scenarios::plain(self);
        }
        found
    }

    pub(super) fn has_old(&self) -> bool {
        self.memory.has_old()
    }

    /// Draws a tenant; a few have most of the traffic.
    pub(super) fn any_tenant(&mut self) -> usize {
        let number = self.draw.skewed(self.tenants.len() as u64);
        usize::try_from(number).unwrap_or(0)
    }

    /// Returns the number of a new transaction.
    pub(super) fn new_transaction(&mut self, tenant: usize) -> u64 {
        self.tenants[tenant].transactions += 1;
        self.tenants[tenant].transactions
    }

    pub(super) fn new_id(&mut self) -> EventId {
        self.events += 1;
        EventId::Number(self.events)
    }

    /// Returns the moment at which the next event is recorded, in a random form.
    pub(super) fn now(&mut self) -> When {
        self.clock_ms += self.draw.below(2_000);
        // Clocks of services differ by up to three seconds.
        let ms = self.clock_ms + self.draw.below(6_000) - 3_000;
        let digits = match self.draw.below(10) {
            0..=3 => 3,
            4..=6 => 6,
            _ => self.draw.index(10),
        };
        let nanos = ms % 1_000 * 1_000_000 + self.draw.below(1_000_000);
        let kept = power_of_ten(9 - digits);
        let offset = self.draw.index(OFFSETS.len());
        When { seconds: ms / 1_000, nanos: nanos / kept * kept, digits, offset }
    }

    /// Moves an instant into the past by up to `seconds`.
    pub(super) fn before(&mut self, when: When, seconds: u64) -> When {
        let offset = self.draw.index(OFFSETS.len());
        let seconds = when.seconds.saturating_sub(self.draw.below(seconds));
        When { seconds, offset, ..when }
    }

    /// Makes an event that a service records now, without postings and target.
    pub(super) fn event(&mut self, kind: Kind, tenant: usize, transaction: u64) -> Event {
        let recorded = self.now();
        let mut planted = Hostilities::default();
        let effective = match self.draw.below(100) {
            0..=2 => {
                planted.add(Hostility::OldDate);
                self.before(recorded, SEVEN_YEARS)
            }
            3..=19 => self.before(recorded, 3 * DAY),
            20..=21 => When { seconds: recorded.seconds + DAY, ..recorded },
            _ => self.before(recorded, 600),
        };
        let service = self.draw.index(SERVICES.len());
        let mut event = Event {
            kind,
            tenant,
            transaction,
            id: self.new_id(),
            leg: 0,
            revision: 1,
            effective,
            recorded,
            service,
            sequence: 0,
            target: None,
            expires: None,
            said: None,
            lines: None,
            look: Look::draw(&mut self.draw),
            planted,
        };
        self.number(&mut event);
        event
    }

    /// Gives an event its place in the sequence of its service, and now and then leaves a gap in
    /// front of it, which another event may close much later.
    fn number(&mut self, event: &mut Event) {
        if event.service >= SEQUENCED {
            return;
        }
        let gap = self.draw.chance(300);
        let last = &mut self.tenants[event.tenant].sequences[event.service];
        let skipped = *last + 1;
        *last += 1 + u64::from(gap);
        event.sequence = *last;
        if !gap {
            return;
        }
        event.planted.add(Hostility::SequenceGap);
        if self.draw.chance(60_000) {
            let mut cure = *event;
            cure.kind = Kind::Post;
            cure.transaction = self.new_transaction(event.tenant);
            cure.id = self.new_id();
            cure.sequence = skipped;
            cure.lines = Some(self.lines(event.tenant));
            cure.planted = Hostilities::default();
            cure.planted.add(Hostility::GapCured);
            self.deliver(cure, Delay::Far);
        }
    }

    /// Draws an account of a customer; a few have most of the traffic.
    pub(super) fn customer(&mut self, tenant: usize) -> u64 {
        CUSTOMERS + self.draw.skewed(self.tenants[tenant].customers)
    }

    /// Draws an account that is not a customer's.
    pub(super) fn own_account(&mut self) -> u64 {
        self.draw.below(SUSPENSE)
    }

    /// Draws a currency, mostly the tenant's own.
    pub(super) fn currency(&mut self, tenant: usize) -> usize {
        match self.draw.below(10) {
            0..=7 => self.tenants[tenant].currency,
            _ => self.draw.index(CURRENCIES.len()),
        }
    }

    /// Draws an amount: mostly a few units to some thousands, seldom nothing or a fortune.
    pub(super) fn amount(&mut self, currency: usize) -> u64 {
        let decimals = CURRENCIES[currency].decimals;
        let size = match self.draw.below(200) {
            0 => return 0,
            1 => 10,
            n => 1 + usize::try_from(n % 4).unwrap_or(0),
        };
        1 + self.draw.below(power_of_ten(decimals + size))
    }

    /// Draws balanced postings: a payment, one with a fee, or an exchange of two currencies.
    pub(super) fn lines(&mut self, tenant: usize) -> Lines {
        let currency = self.currency(tenant);
        let amount = self.amount(currency);
        let (customer, own) = (self.customer(tenant), self.own_account());
        match self.draw.below(100) {
            0..=67 => Lines::of(&[
                Line::debit(own, currency, amount),
                Line::credit(customer, currency, amount),
            ]),
            68..=87 => {
                let fee = amount / 40;
                Lines::of(&[
                    Line::debit(customer, currency, amount),
                    Line::credit(own, currency, amount - fee),
                    Line::credit(self.own_account(), currency, fee),
                ])
            }
            _ => {
                let bought = (currency + 1) % CURRENCIES.len();
                let price = self.amount(bought);
                let exchange = self.own_account();
                Lines::of(&[
                    Line::debit(own, currency, amount),
                    Line::credit(exchange, currency, amount),
                    Line::debit(exchange, bought, price),
                    Line::credit(customer, bought, price),
                ])
            }
        }
    }
}
