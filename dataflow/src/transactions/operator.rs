//! Schedules a [`Resolver`] as a timely operator in a loop of its own.
//!
//! The inner time of the loop is a number: the phase in the high bits, the round of messages
//! within it below. Feedback adds one, so that mail sent in one round is read in the next. A worker
//! with work for a later phase holds a capability at that phase's first round; the frontier then
//! passes it only when every earlier message everywhere has been read. Epochs are taken strictly
//! one after the other, although input of later ones may already wait.

use std::collections::BTreeMap;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, ConnectLoop, Enter, Feedback, Leave};
use timely::dataflow::{Scope, Stream};
use timely::order::Product;
use timely::progress::frontier::MutableAntichain;
use trueup_ledger::Table;

use super::emitter::Emitted;
use super::links::{Mail, Phase};
use super::resolver::{Resolver, Step};
use super::{Batch, Changes, Stateful, Surroundings};
use crate::books::{Book, OfRanges};
use crate::due::DueRow;
use crate::facts::FactRecord;
use crate::names::{AccountKey, AccountName, DatedKey};
use crate::periods::Closing;
use crate::record::{Accepted, ClearingLine, EventRecord, LateLine};
use crate::store::Space;
use crate::sums::Sides;

type Time = Product<u64, u32>;
type Builder<C> = OutputBuilder<Time, CapacityContainerBuilder<Vec<C>>>;

const ROUND_BITS: u32 = 24;

fn first_round(phase: Phase) -> u32 {
    (phase as u32) << ROUND_BITS
}

fn phase_of(round: u32) -> Phase {
    let number = round >> ROUND_BITS;
    let mut phases = Phase::LATER.into_iter().rev();
    phases.find(|phase| *phase as u32 <= number).unwrap_or(Phase::Invalidate)
}

/// Builds the operator.
pub(super) fn transactions<'s>(
    events: Stream<'s, u64, Vec<EventRecord>>,
    surroundings: Surroundings<'s, '_>,
    stateful: Stateful,
) -> Changes<'s> {
    let outer = events.scope();
    let Surroundings { closings, clock, state } = surroundings;
    let resolver = Resolver::new(state.kept(Space::Transactions), stateful, clock, state.workers());
    outer.iterative::<u32, _, _>(|inner| build(outer, inner, (events, closings), resolver))
}

fn build<'s, 'i>(
    outer: Scope<'s, u64>,
    inner: Scope<'i, Time>,
    (events, closings): (Stream<'s, u64, Vec<EventRecord>>, Stream<'s, u64, Vec<Closing>>),
    resolver: Resolver,
) -> Changes<'s> {
    let (handle, mail) = inner.feedback::<Vec<Mail>>(Product::new(0, 1));
    let by_event = Exchange::new(|record: &EventRecord| u64::from(record.key.shard()));
    let by_receiver = Exchange::new(|mail: &Mail| u64::from(mail.to.shard()));
    let mut builder = OperatorBuilder::new("Transactions".to_owned(), inner);
    let mut event_input = builder.new_input(events.enter(inner), by_event);
    let mut mail_input = builder.new_input(mail, by_receiver);
    let mut closing_input = builder.new_input(closings.enter(inner), Pipeline);
    let (mut mail_output, mail_out) = new_output::<Mail>(&mut builder);
    let (mut table_output, tables) = new_output::<Table>(&mut builder);
    let (mut due_output, due) = new_output::<(DueRow, i8)>(&mut builder);
    let (mut movement_output, movements) = new_output::<Batch<DatedKey>>(&mut builder);
    let (mut pending_output, pending) = new_output::<Batch<AccountKey>>(&mut builder);
    let (mut fact_output, facts) = new_output::<(FactRecord, i8)>(&mut builder);
    let (mut book_output, books) = new_output::<(Book, Sides)>(&mut builder);
    let (mut range_output, ranges) = new_output::<(Book, OfRanges)>(&mut builder);
    let (mut late_output, late) = new_output::<LateLine>(&mut builder);
    let (mut clearing_output, clearing) = new_output::<ClearingLine>(&mut builder);
    let (mut name_output, names) = new_output::<(AccountKey, AccountName)>(&mut builder);
    let (mut accepted_output, accepted) = new_output::<(u32, Accepted)>(&mut builder);
    builder.build(move |_capabilities| {
        let mut schedule = Schedule::new(resolver);
        move |frontiers: &[MutableAntichain<Time>]| {
            event_input.for_each(|capability, records| {
                let held = Held::retain(|port| capability.retain(port));
                schedule.queue(held).events.append(records);
            });
            mail_input.for_each(|capability, mail| {
                let held = Held::retain(|port| capability.retain(port));
                schedule.queue(held).mail.append(mail);
            });
            closing_input.for_each(|capability, closings| {
                schedule.close(capability.time().outer, closings);
            });
            let mut mail_out = mail_output.activate();
            let mut tables = table_output.activate();
            let mut due = due_output.activate();
            let mut movements = movement_output.activate();
            let mut pending = pending_output.activate();
            let mut facts = fact_output.activate();
            let mut books = book_output.activate();
            let mut ranges = range_output.activate();
            let mut late = late_output.activate();
            let mut clearing = clearing_output.activate();
            let mut names = name_output.activate();
            let mut accepted = accepted_output.activate();
            while let Some((held, mut outbox, mut emitted)) = schedule.step(frontiers) {
                mail_out.session(&held.0[0]).give_container(&mut outbox);
                tables.session(&held.0[1]).give_container(&mut emitted.tables);
                due.session(&held.0[2]).give_container(&mut emitted.due);
                movements.session(&held.0[3]).give_container(&mut emitted.movements);
                pending.session(&held.0[4]).give_container(&mut emitted.pending);
                facts.session(&held.0[5]).give_container(&mut emitted.facts);
                books.session(&held.0[6]).give_container(&mut emitted.books);
                ranges.session(&held.0[7]).give_container(&mut emitted.ranges);
                late.session(&held.0[8]).give_container(&mut emitted.late);
                clearing.session(&held.0[9]).give_container(&mut emitted.clearing);
                names.session(&held.0[10]).give_container(&mut emitted.names);
                accepted.session(&held.0[11]).give_container(&mut emitted.accepted);
            }
        }
    });
    mail_out.connect_loop(handle);
    Changes {
        tables: tables.leave(outer),
        due: due.leave(outer),
        movements: movements.leave(outer),
        pending: pending.leave(outer),
        facts: facts.leave(outer),
        books: books.leave(outer),
        ranges: ranges.leave(outer),
        late: late.leave(outer),
        clearing: clearing.leave(outer),
        names: names.leave(outer),
        accepted: accepted.leave(outer),
    }
}

/// Adds an output; returns its buffer and its stream.
fn new_output<'i, C: Clone + 'static>(
    builder: &mut OperatorBuilder<'i, Time>,
) -> (Builder<C>, Stream<'i, Time, Vec<C>>) {
    let (output, stream) = builder.new_output();
    (OutputBuilder::from(output), stream)
}

/// A capability for each output, all at one time.
#[derive(Clone)]
struct Held(Vec<Capability<Time>>);

impl Held {
    fn retain(capability: impl Fn(usize) -> Capability<Time>) -> Held {
        Held((0..12).map(capability).collect())
    }

    fn time(&self) -> Time {
        *self.0[0].time()
    }

    fn at(&self, round: u32) -> Held {
        let time = Product::new(self.time().outer, round);
        Held(self.0.iter().map(|capability| capability.delayed(&time)).collect())
    }
}

/// What waits for one time.
struct Waiting {
    held: Held,
    events: Vec<EventRecord>,
    mail: Vec<Mail>,
    /// Whether a phase of this worker begins at this time.
    begins: bool,
}

/// What waits, by epoch and round, and the resolver that will do it.
struct Schedule {
    resolver: Resolver,
    waiting: BTreeMap<(u64, u32), Waiting>,
    /// Closings of epochs that are not done.
    closings: BTreeMap<u64, Vec<Closing>>,
    /// How many events the last epoch had: about as many are likely to come.
    expected: usize,
}

impl Schedule {
    fn new(resolver: Resolver) -> Schedule {
        Schedule { resolver, waiting: BTreeMap::new(), closings: BTreeMap::new(), expected: 0 }
    }

    fn close(&mut self, epoch: u64, closings: &mut Vec<Closing>) {
        self.closings.entry(epoch).or_default().append(closings);
    }

    fn queue(&mut self, held: Held) -> &mut Waiting {
        let time = held.time();
        self.waiting.entry((time.outer, time.inner)).or_insert_with(|| {
            // Events come in the first round alone.
            let mut events = Vec::new();
            if time.inner == 0 {
                events = self.resolver.room();
                // Some more: one too many would take twice the room.
                events.reserve(self.expected + self.expected / 16);
            }
            Waiting { held, events, mail: Vec::new(), begins: false }
        })
    }

    /// Does the next step whose time is complete, if there is one.
    fn step(&mut self, frontiers: &[MutableAntichain<Time>]) -> Option<(Held, Vec<Mail>, Emitted)> {
        let (&(epoch, round), _) = self.waiting.first_key_value()?;
        let more_may_come = frontiers.iter().any(|frontier| {
            let frontier = frontier.frontier();
            frontier
                .iter()
                .any(|time| time.outer < epoch || (time.outer == epoch && time.inner <= round))
        });
        if more_may_come {
            return None;
        }
        let (_, waiting) = self.waiting.pop_first()?;
        // All closings before the epoch are there, since its own are; they are of what it changes.
        let own_and_later = self.closings.split_off(&epoch);
        for closing in std::mem::replace(&mut self.closings, own_and_later).values().flatten() {
            self.resolver.emitter().close(closing);
        }
        Some(self.perform(waiting, round))
    }

    fn perform(&mut self, waiting: Waiting, round: u32) -> (Held, Vec<Mail>, Emitted) {
        let phase = phase_of(round);
        let Waiting { held, events, mail, begins } = waiting;
        let epoch = held.time().outer;
        if round == 0 {
            self.expected = events.len();
        }
        let step = Step { events, mail, begins: begins.then_some(phase) };
        let outbox = self.resolver.step(epoch, step);
        for later in Phase::LATER.into_iter().filter(|later| *later > phase) {
            let time = (epoch, first_round(later));
            if self.resolver.wants(later) {
                self.queue(held.at(time.1)).begins = true;
            } else {
                self.waiting.remove(&time);
            }
        }
        // An operator may send at a time only while it holds it, so rows leave with this step.
        (held, outbox, self.resolver.emitter().take())
    }
}
