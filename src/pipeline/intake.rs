//! The intake: one thread that reads all partitions, cuts epochs and hands out raw batches.
//!
//! First it reads the ranges that commits name, epoch by epoch as they were cut; then it goes on
//! live. Records of live sources come first in every epoch, backfills take what is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Sender;
use trueup_ledger::{Epoch, PartitionId, Position};
use trueup_sinks::InputRange;
use trueup_sources::{Format, Partition, Polled, RawBatch, SourceError, Transport};

use super::replay::{Expected, Past, beginning};
use super::stager::{RangeRead, Staged};
use super::worker::{Closed, Dispatch, Work};
use super::{RunError, Shared, Source};

/// The most records of one poll, so that partitions take turns.
const TURN: usize = 8192;

/// How long the intake sleeps at most when there is nothing to read.
const IDLE: Duration = Duration::from_millis(20);

/// How long a source may be unavailable before the run ends.
const UNAVAILABLE_MAX: Duration = Duration::from_secs(120);

/// All partitions of all sources, in the order of their names.
pub(crate) struct Readers {
    transports: Vec<Box<dyn Transport>>,
    readers: Vec<Reader>,
}

struct Reader {
    id: PartitionId,
    /// What the transport calls itself, for errors.
    transport: Arc<str>,
    partition: Box<dyn Partition>,
    format: Arc<dyn Format>,
    backfill: bool,
    /// Where the run ends, if it ends when caught up.
    end: Option<Position>,
    /// Where the open epoch began.
    from: Position,
    /// Records of the open epoch.
    read: u64,
}

/// Opens all partitions and checks that each one that a commit names is there.
pub(crate) fn open(sources: Vec<Source>, past: &Past) -> Result<Readers, RunError> {
    let mut transports = Vec::new();
    let mut readers: Vec<Reader> = Vec::new();
    for mut source in sources {
        let transport: Arc<str> = source.transport.name().into();
        for partition in patiently(|| source.transport.partitions(), || false)? {
            readers.push(Reader {
                id: PartitionId {
                    source: Arc::clone(&source.name),
                    partition: partition.id().into(),
                },
                transport: Arc::clone(&transport),
                partition,
                format: Arc::clone(&source.format),
                backfill: source.backfill,
                end: None,
                from: beginning(),
                read: 0,
            });
        }
        transports.push(source.transport);
    }
    readers.sort_by(|a, b| a.id.cmp(&b.id));
    for partition in past.partitions() {
        if !readers.iter().any(|reader| reader.id == partition) {
            return Err(RunError::Configuration(format!(
                "the store has read from {partition}, which is not there now; configure the \
                 source {:?} as it was, with all its partitions",
                partition.source
            )));
        }
    }
    Ok(Readers { transports, readers })
}

/// Repeats a call while its source is unavailable, for a while, unless `give_up` says so.
fn patiently<T>(
    mut call: impl FnMut() -> Result<T, SourceError>,
    give_up: impl Fn() -> bool,
) -> Result<T, SourceError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        match call() {
            Err(error @ SourceError::Unavailable { .. })
                if started.elapsed() < UNAVAILABLE_MAX && !give_up() =>
            {
                tracing::warn!(%error, "trying again in {pause:?}");
                std::thread::sleep(pause);
                // Longer pauses would let a client queue up more reports than are ever taken.
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            outcome => return outcome,
        }
    }
}

impl Readers {
    pub(crate) fn partitions(&self) -> Arc<[PartitionId]> {
        self.readers.iter().map(|reader| reader.id.clone()).collect()
    }

    pub(crate) fn formats(&self) -> Arc<[Arc<dyn Format>]> {
        self.readers.iter().map(|reader| Arc::clone(&reader.format)).collect()
    }
}

/// What cuts epochs.
pub(crate) struct Intake {
    pub(crate) workers: Dispatch,
    pub(crate) shared: Arc<Shared>,
    pub(crate) closed: Sender<Staged>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) commit_interval: Duration,
    pub(crate) commit_max_records: u64,
    pub(crate) until_caught_up: bool,
    /// The last epoch that was closed.
    pub(crate) last: Epoch,
}

/// That the run has failed elsewhere, or here and said so.
struct Stopped;

impl Intake {
    /// Reads until caught up, stopped or failed.
    pub(crate) fn run(mut self, mut readers: Readers, past: Past) {
        // Where it fails, it has said so, and the other threads see it.
        let _ = self.read_all(&mut readers, past);
    }

    fn read_all(&mut self, readers: &mut Readers, past: Past) -> Result<(), Stopped> {
        let head = past.head();
        self.replay(readers, &past)?;
        self.resume(readers, &past)?;
        drop(past);
        if self.until_caught_up {
            for reader in &mut readers.readers {
                let end = patiently(|| reader.partition.end(), || self.shared.has_failed());
                reader.end = Some(self.or_fail(end)?);
            }
        }
        self.last = head;
        while self.live_epoch(readers, Epoch(self.last.0 + 1))? {}
        self.send(Staged::End(self.last))
    }

    fn or_fail<T>(&self, outcome: Result<T, SourceError>) -> Result<T, Stopped> {
        outcome.map_err(|error| {
            self.shared.fail(RunError::from(error));
            Stopped
        })
    }

    fn send(&self, staged: Staged) -> Result<(), Stopped> {
        self.closed.send(staged).map_err(|_| Stopped)
    }

    /// Reads the committed ranges again, each in the epoch it was in.
    fn replay(&mut self, readers: &mut Readers, past: &Past) -> Result<(), Stopped> {
        for commit in past.commits() {
            if !self.shared.wait_for_room(commit.epoch) {
                return Err(Stopped);
            }
            let wanted: BTreeMap<_, _> =
                commit.inputs.iter().map(|input| (input.partition_id(), input)).collect();
            for (index, reader) in readers.readers.iter_mut().enumerate() {
                reader.begin_epoch();
                if let Some(input) = wanted.get(&reader.id) {
                    reader.from = input.from.clone();
                    self.replay_range(index, reader, commit.epoch, input)?;
                }
            }
            let closed = Closed {
                epoch: commit.epoch,
                epoch_time_micros: commit.epoch_time_micros,
                replay: true,
            };
            self.close(readers, closed, Some(Expected::of(commit)))?;
        }
        Ok(())
    }

    fn replay_range(
        &mut self,
        index: usize,
        reader: &mut Reader,
        epoch: Epoch,
        input: &InputRange,
    ) -> Result<(), Stopped> {
        let to = &input.to;
        if reader.partition.position() == beginning() && input.from != beginning() {
            // The first run began late, since the first records of the topic were gone already.
            let resume = || reader.partition.resume(&input.from, None);
            self.or_fail(patiently(resume, || self.shared.has_failed()))?;
        }
        let mut idle_since = None;
        while reader.partition.position() < *to {
            match self.poll(reader, TURN, Some(to))? {
                Polled::Batch(batch) => {
                    idle_since = None;
                    self.hand_out(index, reader, epoch, batch)?;
                }
                Polled::Idle => {
                    // A server may be slow; records that were committed must come in the end.
                    let since = *idle_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > UNAVAILABLE_MAX {
                        self.shared.fail(RunError::Failed(format!(
                            "{}: records up to {to} were committed, but nothing comes after {}",
                            reader.id,
                            reader.partition.position()
                        )));
                        return Err(Stopped);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            if self.shared.has_failed() {
                return Err(Stopped);
            }
        }
        self.or_fail(reader.check_fingerprint(input, epoch))
    }

    /// Goes to where the last commit ended, which also checks that what was read is unchanged.
    fn resume(&mut self, readers: &mut Readers, past: &Past) -> Result<(), Stopped> {
        for reader in &mut readers.readers {
            let (from, fingerprint) = match past.last_range(&reader.id) {
                Some(range) => (range.to.clone(), range.fingerprint.clone()),
                None => (beginning(), None),
            };
            let resumed = patiently(
                || reader.partition.resume(&from, fingerprint.as_deref()),
                || self.shared.has_failed(),
            );
            self.or_fail(resumed)?;
        }
        Ok(())
    }

    fn poll(
        &self,
        reader: &mut Reader,
        limit: usize,
        until: Option<&Position>,
    ) -> Result<Polled, Stopped> {
        let stopping = || self.stop.load(Ordering::Acquire);
        let polled = patiently(
            || reader.partition.poll(limit, until),
            || self.shared.has_failed() || stopping(),
        );
        match polled {
            // Whoever stops a run whose source is away wants no error for it.
            Err(SourceError::Unavailable { .. }) if stopping() => Ok(Polled::Idle),
            polled => self.or_fail(polled),
        }
    }

    fn hand_out(
        &mut self,
        index: usize,
        reader: &mut Reader,
        epoch: Epoch,
        mut batch: RawBatch,
    ) -> Result<(), Stopped> {
        batch.partition = index;
        let first_ordinal = reader.read;
        reader.read += batch.len() as u64;
        let work = Work::Batch { epoch, batch, first_ordinal };
        if self.workers.any(work, &self.shared) { Ok(()) } else { Err(Stopped) }
    }

    /// Reads one epoch and closes it if it has records. Returns whether another one is to come.
    fn live_epoch(&mut self, readers: &mut Readers, epoch: Epoch) -> Result<bool, Stopped> {
        if !self.shared.wait_for_room(epoch) {
            return Err(Stopped);
        }
        readers.readers.iter_mut().for_each(Reader::begin_epoch);
        let mut first_record: Option<Instant> = None;
        let mut total = 0;
        let more = loop {
            if self.shared.has_failed() {
                return Err(Stopped);
            }
            if self.stop.load(Ordering::Acquire) {
                break false;
            }
            let got = self.pass(readers, epoch, total)?;
            total += got;
            if got > 0 {
                first_record.get_or_insert_with(Instant::now);
            }
            let age = first_record.map(|first| first.elapsed());
            if total >= self.commit_max_records
                || age.is_some_and(|age| age >= self.commit_interval)
            {
                break true;
            }
            if got == 0 {
                if self.until_caught_up && readers.readers.iter().all(Reader::caught_up) {
                    break false;
                }
                let left = age.map_or(IDLE, |age| self.commit_interval.saturating_sub(age));
                wait(&mut readers.transports, left.min(IDLE));
            }
        };
        if total > 0 {
            let closed = Closed { epoch, epoch_time_micros: now_micros(), replay: false };
            self.close(readers, closed, None)?;
            self.last = epoch;
        }
        Ok(more)
    }

    /// Lets every partition have a turn, backfills only where no live source had anything.
    fn pass(&mut self, readers: &mut Readers, epoch: Epoch, total: u64) -> Result<u64, Stopped> {
        let mut got = 0;
        for backfill in [false, true] {
            for (index, reader) in readers.readers.iter_mut().enumerate() {
                let left = self.commit_max_records.saturating_sub(total + got);
                if reader.backfill != backfill || left == 0 || reader.caught_up() {
                    continue;
                }
                let limit = usize::try_from(left).unwrap_or(TURN).min(TURN);
                let until = reader.end.clone();
                if let Polled::Batch(batch) = self.poll(reader, limit, until.as_ref())? {
                    got += batch.len() as u64;
                    self.hand_out(index, reader, epoch, batch)?;
                }
            }
            if got > 0 {
                break;
            }
        }
        Ok(got)
    }

    fn close(
        &mut self,
        readers: &mut Readers,
        closed: Closed,
        expected: Option<Expected>,
    ) -> Result<(), Stopped> {
        let ranges = readers.readers.iter_mut().map(|reader| RangeRead {
            from: reader.from.clone(),
            to: reader.partition.position(),
            read: reader.read,
            fingerprint: reader.partition.fingerprint(),
        });
        let ranges = ranges.collect();
        self.send(Staged::Cut(closed, ranges, expected))?;
        if self.workers.all(|| Work::Close(closed), &self.shared) { Ok(()) } else { Err(Stopped) }
    }
}

impl Reader {
    fn begin_epoch(&mut self) {
        self.from = self.partition.position();
        self.read = 0;
    }

    /// Checks that what lies before the end of a committed range is what lay there when it was
    /// committed; a topic that was created anew is told here, before its records are compared.
    fn check_fingerprint(&self, input: &InputRange, epoch: Epoch) -> Result<(), SourceError> {
        match (&input.fingerprint, self.partition.fingerprint()) {
            (Some(wanted), Some(found)) if *wanted != found => {}
            _ => return Ok(()),
        }
        Err(SourceError::Changed {
            source_name: self.transport.to_string(),
            partition: self.id.partition.to_string(),
            wanted: input.to.clone(),
            oldest: None,
            detail: format!(
                "the records before this position are not those that epoch {epoch} read; was it \
                 created anew?"
            ),
        })
    }

    /// Whether the run needs nothing more of this partition.
    fn caught_up(&self) -> bool {
        self.end.as_ref().is_some_and(|end| self.partition.position() >= *end)
    }
}

/// Parks until there may be more to read.
fn wait(transports: &mut [Box<dyn Transport>], timeout: Duration) {
    match transports {
        [only] => only.wait(timeout),
        // Whoever has news first cannot be known, so all are asked again soon.
        _ => std::thread::sleep(timeout.min(Duration::from_millis(5))),
    }
}

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
