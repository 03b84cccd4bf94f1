//! One worker's part of the dataflow, as its host sees it: events go in by epoch, whole epochs
//! come out.

use std::sync::Arc;

use timely::dataflow::operators::vec::input::{Handle, Input};
use trueup_ledger::{Epoch, Event, Rules, Scale, Table};

use crate::controls::gather::Gathered;
use crate::host::Host;
use crate::periods::{PeriodRecord, closings};
use crate::publish::publish;
use crate::record::{Accepted, EventRecord, Origin, SequenceRecord};
use crate::store::WorkerState;
use crate::time::EpochClock;
use crate::transactions::{Surroundings, Transactions};
use crate::wiring::{Context, all_tables};

/// One worker's share of one epoch: what it adds to and takes from the views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochOutput {
    /// The epoch.
    pub epoch: Epoch,
    /// The worker, from 0.
    pub worker: usize,
    /// Changed rows, each once; any number of tables a view.
    pub tables: Vec<Table>,
    /// What became of the events whose transactions this worker owns, by partition.
    pub accepted: Vec<(u32, Accepted)>,
}

/// What a worker's dataflow begins with.
pub struct Setup<'a> {
    /// The scale of amounts in details.
    pub scale: Scale,
    /// What rows depend on beside events.
    pub rules: Arc<Rules>,
    /// The state of all epochs before the first.
    pub state: &'a WorkerState,
    /// The first epoch.
    pub first_epoch: Epoch,
    /// The time of the epoch before it, in microseconds since 1970; `i64::MIN` where there is none.
    pub since_time: i64,
}

/// The inputs of one worker's dataflow.
///
/// Events are pushed into the open epoch; [`Engine::close`] ends it. The dataflow itself advances
/// when the worker steps.
pub struct Engine {
    events: Handle<u64, EventRecord>,
    sequences: Handle<u64, SequenceRecord>,
    periods: Handle<u64, PeriodRecord>,
    clock: EpochClock,
    /// The last event pushed, held back until the next one or the end of the epoch. Timely 0.31
    /// passes an input's flush on only while the input is not counted empty; a step in between may
    /// count it so, and the exchange behind it would then keep records of a closed epoch until the
    /// next one's arrive. An event sent directly before the end rules that out.
    last: Option<EventRecord>,
    /// What the epoch says of months, held back for the same reason.
    said: Vec<PeriodRecord>,
    gathered: Gathered,
    scratch: Vec<u8>,
}

impl Engine {
    /// Builds the dataflow of one worker; every worker of the cluster must build the same.
    ///
    /// `hand_over` gets this worker's share of every epoch from the first on, in order, those without
    /// changes too; it is called while the worker steps and may block.
    pub fn build(
        host: &mut Host<'_>,
        transactions: impl Transactions,
        setup: &Setup<'_>,
        mut hand_over: impl FnMut(EpochOutput) + 'static,
    ) -> Engine {
        let index = host.index();
        let Setup { scale, ref rules, state, first_epoch, since_time } = *setup;
        let since = first_epoch.0 - 1;
        let clock = EpochClock::new(since, since_time);
        host.worker.dataflow::<u64, _, _>(|scope| {
            let (mut events, event_stream) = scope.new_input::<EventRecord>();
            let (mut sequences, sequence_stream) = scope.new_input::<SequenceRecord>();
            let (mut periods, period_stream) = scope.new_input::<PeriodRecord>();
            let closings = closings(period_stream, state, since);
            let surroundings =
                Surroundings { closings: closings.clone(), clock: clock.clone(), state };
            let changes = transactions.build(event_stream, surroundings);
            let accepted = changes.accepted.clone();
            let context = Context { scale, rules, state, since, clock: &clock };
            let all = all_tables(scope, changes, closings, sequence_stream, &context);
            let done = clock.clone();
            publish(all, accepted, index, first_epoch, move |output| {
                // Whoever acts on the next epoch may ask for the time of this one.
                done.forget_before(output.epoch.0);
                hand_over(output);
            });
            events.advance_to(first_epoch.0);
            sequences.advance_to(first_epoch.0);
            periods.advance_to(first_epoch.0);
            Engine {
                events,
                sequences,
                periods,
                clock: clock.clone(),
                last: None,
                said: Vec::new(),
                gathered: Gathered::default(),
                scratch: Vec::new(),
            }
        })
    }

    /// Returns the open epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(*self.events.time())
    }

    /// Pushes an event into the open epoch.
    pub fn push(&mut self, event: &Event<'_>, origin: Origin) {
        let record = EventRecord::new(event, origin, &mut self.scratch);
        self.gathered.add(event, &record.canonical);
        self.said.extend(PeriodRecord::of(event, &record.canonical));
        if let Some(before) = self.last.replace(record) {
            self.events.send(before);
        }
    }

    /// Returns when a row of this worker falls due, in microseconds since 1970: it comes with the first
    /// epoch that is later, as far as epochs are complete.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        self.clock.next_due()
    }

    /// Ends the open epoch, whose epoch time is given in microseconds since 1970, and opens the next.
    /// All workers must close the same epochs at the same times, which never go back.
    pub fn close(&mut self, epoch_time: i64) {
        self.clock.close(self.epoch().0, epoch_time);
        for record in self.gathered.take() {
            self.sequences.send(record);
        }
        for period in self.said.drain(..) {
            self.periods.send(period);
        }
        if let Some(last) = self.last.take() {
            self.events.send(last);
        }
        let next = self.epoch().0 + 1;
        self.events.advance_to(next);
        self.sequences.advance_to(next);
        self.periods.advance_to(next);
    }
}
