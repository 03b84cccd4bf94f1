//! What was sent of each service: which sequences, whether it is what the service's control totals say,
//! and how complete that makes it.
//!
//! ```text
//!  push ─▶ Gathered ─by service─▶ ┌──────┐ ─▶ continuity of services
//!                                 │ Sent │
//!  control totals ───by service─▶ └──────┘ ─▶ control_total_mismatch, completeness
//! ```
//!
//! In: the contents with a sequence of every epoch, and the control totals that come to count and cease
//! to. Out: for each service that an epoch touches, the difference that it makes to its continuity and
//! its rows. Key: tenant, service. State: the set of its sequences, the contents in blocks of its sequence,
//! and its control totals, all in the store; see `blocks` and `claims`.
//!
//! One operator has all of it, since all is of the same key: what has arrived is put in order once.
//! Epochs are taken in order when they are complete on both sides, control totals coming through the
//! transactions.

mod blocks;
mod claims;
mod completeness;
pub(crate) mod gather;
pub(crate) mod sums;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use trueup_ledger::{Scale, Table, View};

use crate::facts::Control;
use crate::record::SequenceRecord;
use crate::store::{Kept, Space, WorkerState};
use crate::transactions::Tables;
use crate::views::source_continuity::{Continuity, RangeSet, Service, ServiceKey};
use blocks::Blocks;
use claims::{Before, Claims};
use gather::Arrived;

type Builder<C> = OutputBuilder<u64, CapacityContainerBuilder<Vec<C>>>;

/// A change of a service's continuity, as a collection has it.
type Update = ((Service, Continuity), u64, isize);

/// Keeps what was sent. Returns the continuity of services, and changes of `imbalances` and
/// `data_quality`.
pub(crate) fn sent<'s>(
    sequences: Stream<'s, u64, Vec<SequenceRecord>>,
    controls: Stream<'s, u64, Vec<(Control, i8)>>,
    state: &WorkerState,
    scale: Scale,
) -> (VecCollection<'s, u64, (Service, Continuity), isize>, Tables<'s>) {
    let services = Services::new(state, scale);
    let mut builder = OperatorBuilder::new("Sent".to_owned(), sequences.scope());
    let by_service = Exchange::new(|record: &SequenceRecord| {
        u64::from(ServiceKey::of(&record.tenant, &record.service).shard())
    });
    let mut sequence_input = builder.new_input(sequences, by_service);
    let by_service = Exchange::new(|(control, _): &(Control, i8)| {
        u64::from(ServiceKey::of(&control.tenant, &control.service).shard())
    });
    let mut control_input = builder.new_input(controls, by_service);
    let (output, continuities) = builder.new_output();
    let mut continuity_output: Builder<Update> = OutputBuilder::from(output);
    let (output, tables) = builder.new_output();
    let mut table_output: Builder<Table> = OutputBuilder::from(output);
    builder.build(move |_capabilities| {
        let mut waiting: BTreeMap<u64, Waiting> = BTreeMap::new();
        move |frontiers: &[MutableAntichain<u64>]| {
            sequence_input.for_each(|capability, records| {
                let entry = waiting.entry(*capability.time());
                let held = || Waiting::new([capability.retain(0), capability.retain(1)]);
                entry.or_insert_with(held).records.append(records);
            });
            control_input.for_each(|capability, controls| {
                let entry = waiting.entry(*capability.time());
                let held = || Waiting::new([capability.retain(0), capability.retain(1)]);
                entry.or_insert_with(held).controls.append(controls);
            });
            let mut continuities = continuity_output.activate();
            let mut tables = table_output.activate();
            while let Some(first) = waiting.first_entry() {
                let epoch = *first.key();
                if frontiers.iter().any(|frontier| frontier.less_equal(&epoch)) {
                    break;
                }
                let Waiting { held, records, controls } = first.remove();
                let mut changes = services.epoch(epoch, records, controls);
                continuities.session(&held[0]).give_container(&mut changes.continuities);
                tables.session(&held[1]).give_container(&mut changes.tables);
            }
        }
    });
    (continuities.as_collection(), tables)
}

/// What has come of an epoch that is not complete.
struct Waiting {
    held: [Capability<u64>; 2],
    records: Vec<SequenceRecord>,
    controls: Vec<(Control, i8)>,
}

impl Waiting {
    fn new(held: [Capability<u64>; 2]) -> Waiting {
        Waiting { held, records: Vec::new(), controls: Vec::new() }
    }
}

/// What an epoch has of a service.
#[derive(Default)]
struct Heard {
    records: Vec<SequenceRecord>,
    /// The control totals that come to count (1) or cease to (-1).
    controls: BTreeMap<Control, i8>,
}

/// The difference that an epoch makes.
struct Changes {
    continuities: Vec<Update>,
    tables: Vec<Table>,
}

/// The services that a worker owns.
struct Services {
    numbers: Rc<RefCell<Kept<ServiceKey, RangeSet>>>,
    blocks: Blocks,
    claims: Rc<RefCell<Kept<ServiceKey, Claims>>>,
    scale: Scale,
}

impl Services {
    fn new(state: &WorkerState, scale: Scale) -> Services {
        Services {
            numbers: state.kept(Space::Sequences),
            blocks: Blocks::new(state),
            claims: state.kept(Space::Controls),
            scale,
        }
    }

    fn epoch(
        &self,
        epoch: u64,
        records: Vec<SequenceRecord>,
        controls: Vec<(Control, i8)>,
    ) -> Changes {
        self.numbers.borrow_mut().begin(epoch);
        self.blocks.begin(epoch);
        self.claims.borrow_mut().begin(epoch);
        let mut services: BTreeMap<Service, Heard> = BTreeMap::new();
        for mut record in records {
            let service = (std::mem::take(&mut record.tenant), std::mem::take(&mut record.service));
            services.entry(service).or_default().records.push(record);
        }
        for (control, diff) in controls {
            let service = (control.tenant.clone(), control.service.clone());
            *services.entry(service).or_default().controls.entry(control).or_default() += diff;
        }
        let mut continuities = Vec::new();
        let mut imbalances = Table::new(View::Imbalances);
        let mut quality = Table::new(View::DataQuality);
        for (service, heard) in services {
            self.hear(&service, heard, &mut imbalances, &mut quality, |continuity, diff| {
                continuities.push(((service.clone(), continuity), epoch, diff));
            });
        }
        Changes { continuities, tables: vec![imbalances, quality] }
    }

    fn hear(
        &self,
        service: &Service,
        heard: Heard,
        imbalances: &mut Table,
        quality: &mut Table,
        mut tell: impl FnMut(Continuity, isize),
    ) {
        let key = ServiceKey::of(&service.0, &service.1);
        let mut arrived = Arrived::of(heard.records);
        let (before, after) = self.number(key, &arrived);
        if before != after {
            before.into_iter().for_each(|continuity| tell(continuity, -1));
            after.into_iter().for_each(|continuity| tell(continuity, 1));
        }
        let mut claims = self.claims.borrow_mut().take(&key).unwrap_or_default();
        let was = before.map(|continuity| claims.completeness(continuity));
        let mut touched = Before::new();
        self.blocks.add(key, &mut arrived, &mut claims.present);
        claims.add(&arrived, &mut touched);
        for (control, diff) in heard.controls.into_iter().filter(|(_, diff)| *diff != 0) {
            let sum = |present: &RangeSet, range| self.blocks.sum(key, present, range);
            claims.say(control, diff, sum, &mut touched);
        }
        let first = after.map_or(0, |continuity| continuity.first);
        for (range, before, after) in claims.judge(first, touched) {
            let ends = (range.from, range.to);
            for (found, other, diff) in [(&before, &after, -1), (&after, &before, 1)] {
                let only = found.iter().filter(|one| other.binary_search(one).is_err());
                only.for_each(|one| one.push(service, ends, self.scale, imbalances, diff));
            }
        }
        let is = after.map(|continuity| claims.completeness(continuity));
        if was != is {
            was.into_iter().for_each(|row| row.push(service, quality, -1));
            is.into_iter().for_each(|row| row.push(service, quality, 1));
        }
        let mut kept = self.claims.borrow_mut();
        if claims.is_empty() {
            kept.remove(key);
        } else {
            kept.put(key, claims);
        }
    }

    /// Adds the sequences of what has arrived; returns the continuity before and after.
    fn number(
        &self,
        key: ServiceKey,
        arrived: &Arrived,
    ) -> (Option<Continuity>, Option<Continuity>) {
        let mut kept = self.numbers.borrow_mut();
        if arrived.sent.is_empty() {
            let continuity = kept.get(&key).and_then(|numbers| numbers.continuity());
            return (continuity, continuity);
        }
        let mut numbers = kept.take(&key).unwrap_or_default();
        let before = numbers.continuity();
        arrived.ranges().for_each(|(first, last)| numbers.insert(first, last));
        let after = numbers.continuity();
        kept.put(key, numbers);
        (before, after)
    }
}

#[cfg(test)]
mod tests;
