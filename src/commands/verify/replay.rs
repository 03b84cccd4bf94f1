//! The log, read again through the same transports and formats, epoch by epoch as the commits cut
//! it, and fed to the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use trueup_ledger::reference::Reference;
use trueup_ledger::{Counts, PartitionId, Position, Rules, Scale};
use trueup_sinks::redrive::redrive_path;
use trueup_sinks::{InputRange, REDRIVE, Store, quarantined_positions};
use trueup_sources::transport::SERVER_TIMEOUT;
use trueup_sources::{Format, Partition, Polled, Transport};

use super::in_epoch;
use super::published::Cut;
use crate::exit;

/// How many records are polled at a time.
const POLL_RECORDS: usize = 4096;
/// How long to wait for a server at a time.
const WAIT: Duration = Duration::from_millis(100);

/// The sources that the commits name, and what their records are judged by.
pub(super) struct Log {
    pub(super) store: Arc<dyn Store>,
    pub(super) sources: Vec<LogSource>,
    pub(super) scale: Scale,
    pub(super) rules: Rules,
}

/// One of them.
pub(super) struct LogSource {
    pub(super) name: String,
    pub(super) transport: Box<dyn Transport>,
    pub(super) format: Arc<dyn Format>,
}

/// A partition that is being read, and which source it is of.
struct Reader {
    partition: Box<dyn Partition>,
    source: usize,
    /// Whether it has been put where the first epoch that read it began.
    begun: bool,
}

/// Why a replay ended early, and at which of the cuts.
pub(super) struct Stopped {
    pub(super) place: usize,
    pub(super) error: anyhow::Error,
}

impl Log {
    /// Reads the ranges of `cuts` from the first on, and returns the set of events in them. With
    /// `compare`, what became of the records is compared with what the commits say.
    pub(super) fn replay(
        &mut self,
        cuts: &[Cut],
        compare: bool,
        bar: &ProgressBar,
    ) -> Result<Reference, Stopped> {
        let mut readers = self.open().map_err(|error| Stopped { place: 0, error })?;
        let (scale, rules) = (self.scale, self.rules.clone());
        let reference = Reference::with_rules(scale, rules);
        let mut set = Set { reference, scale, barred: BTreeSet::new() };
        for (place, cut) in cuts.iter().enumerate() {
            set.reference.begin_epoch(cut.epoch_time);
            let fed = self.feed(&mut readers, cut, &mut set, bar);
            fed.and_then(|found| if compare { check_counts(cut, &found) } else { Ok(()) })
                .map_err(in_epoch(cut.epoch, "bad"))
                .map_err(|error| Stopped { place, error })?;
        }
        Ok(set.reference)
    }

    /// Reads the ranges of one epoch, and returns what became of the records of each.
    fn feed(
        &mut self,
        readers: &mut BTreeMap<PartitionId, Reader>,
        cut: &Cut,
        set: &mut Set,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<Counts>> {
        let mut found = Vec::with_capacity(cut.inputs.len());
        // What an epoch quarantined stays quarantined, though this program would accept it.
        let mut barred = quarantined_positions(&*self.store, &cut.quarantine)?;
        for input in &cut.inputs {
            let id = input.partition_id();
            let Some(reader) = readers.get_mut(&id) else {
                return Err(exit::usage(format!(
                    "it read the partition {id}, which is not there; is this the log that the \
                     store was made from?"
                )));
            };
            if !reader.begun {
                reader.partition.resume(&input.from, None)?;
                reader.begun = true;
            }
            set.barred = barred.remove(&id).unwrap_or_default();
            let counts = self.read(reader, input, set)?;
            bar.inc(counts.read);
            check_redrives(reader, input)?;
            found.push(counts);
        }
        Ok(found)
    }

    fn open(&mut self) -> anyhow::Result<BTreeMap<PartitionId, Reader>> {
        let mut readers = BTreeMap::new();
        for (source, of) in self.sources.iter_mut().enumerate() {
            let partitions = of.transport.partitions();
            let partitions = partitions.with_context(|| format!("opening source {}", of.name))?;
            for partition in partitions {
                let id = PartitionId {
                    source: of.name.as_str().into(),
                    partition: partition.id().into(),
                };
                let reader = Reader { partition, source, begun: false };
                readers.insert(id, reader);
            }
        }
        Ok(readers)
    }

    fn read(
        &mut self,
        reader: &mut Reader,
        input: &InputRange,
        set: &mut Set,
    ) -> anyhow::Result<Counts> {
        let skipped = self.read_until(reader, &input.from, None)?;
        if skipped.read > 0 {
            return Err(exit::difference(format!(
                "{} records of {} before {} are in no epoch",
                skipped.read,
                input.partition_id(),
                input.from
            )));
        }
        self.read_until(reader, &input.to, Some(set))
    }

    fn read_until(
        &mut self,
        reader: &mut Reader,
        until: &Position,
        mut set: Option<&mut Set>,
    ) -> anyhow::Result<Counts> {
        let source = &mut self.sources[reader.source];
        let mut counts = Counts::default();
        let mut last = Instant::now();
        while reader.partition.position() < *until {
            match reader.partition.poll(POLL_RECORDS, Some(until))? {
                Polled::Batch(batch) => {
                    for frame in &batch.frames {
                        counts.read += 1;
                        if let Some(set) = &mut set {
                            let (at, raw) = (batch.position(*frame), batch.raw(*frame));
                            set.add(source.format.as_ref(), &at, raw, &mut counts);
                        }
                    }
                    last = Instant::now();
                }
                Polled::Idle if reader.partition.position() >= *until => {}
                Polled::Idle if last.elapsed() > SERVER_TIMEOUT => {
                    return Err(exit::failed(format!(
                        "{}: nothing came from {} on for {} s; try again",
                        source.transport.name(),
                        reader.partition.position(),
                        SERVER_TIMEOUT.as_secs()
                    )));
                }
                Polled::Idle => source.transport.wait(WAIT),
            }
        }
        Ok(counts)
    }
}

/// The set of events so far.
struct Set {
    reference: Reference,
    scale: Scale,
    /// What of the range that is being read is quarantined, whatever it decodes to.
    barred: BTreeSet<Position>,
}

impl Set {
    fn add(&mut self, format: &dyn Format, at: &Position, raw: &[u8], counts: &mut Counts) {
        if self.barred.contains(at) {
            counts.quarantined += 1;
            return;
        }
        let event = format.decode(raw).and_then(|decoded| decoded.draft.admit(self.scale));
        let count = match event.map(|event| self.reference.insert(event)) {
            Ok(true) => &mut counts.applied,
            Ok(false) => &mut counts.duplicate,
            Err(_) => &mut counts.quarantined,
        };
        *count += 1;
    }
}

/// Compares the last re-drive that an epoch read with the hash that its commit keeps, which stands
/// for all before it. The commit is the only witness of one that no other follows.
fn check_redrives(reader: &Reader, input: &InputRange) -> anyhow::Result<()> {
    let found = reader.partition.fingerprint();
    if input.source != REDRIVE || found == input.fingerprint {
        return Ok(());
    }
    let path = redrive_path(input.to.offset.saturating_sub(1));
    Err(exit::difference(format!(
        "{path} or one before it is not what this epoch read; restore `redrive/` from a copy"
    )))
}

/// Compares what became of an epoch's records. Which of two equal events of one epoch counts as
/// the duplicate depends on which came first, so those two counts are compared over all
/// partitions; the others for each.
fn check_counts(cut: &Cut, found: &[Counts]) -> anyhow::Result<()> {
    let (mut all_said, mut all_found) = (Counts::default(), Counts::default());
    for (input, found) in cut.inputs.iter().zip(found) {
        let said = input.counts;
        if (said.read, said.quarantined) != (found.read, found.quarantined) {
            let what = format!(
                "of {} it counts {} read and {} quarantined, the log has {} and {}",
                input.partition_id(),
                said.read,
                said.quarantined,
                found.read,
                found.quarantined
            );
            return Err(exit::difference(what));
        }
        all_said.add(said);
        all_found.add(*found);
    }
    if all_said == all_found {
        return Ok(());
    }
    let what = format!(
        "it counts {} applied and {} duplicate, the log has {} and {}",
        all_said.applied, all_said.duplicate, all_found.applied, all_found.duplicate
    );
    Err(exit::difference(what))
}
