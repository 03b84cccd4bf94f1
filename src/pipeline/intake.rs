//! The intake: one thread that reads the partitions of this process and hands out raw batches. It
//! says when it has enough of an epoch, or that something falls due while nothing arrives, and closes
//! the epoch when it is ordered to.
//!
//! First it reads the ranges that commits name, epoch by epoch as they were cut; then it goes on
//! live. Records of live sources come first in every epoch, backfills take what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use trueup_ledger::{Epoch, PartitionId, Position};
use trueup_sinks::{CommitRecord, InputRange, Store, quarantined_positions};
use trueup_sources::batch::BATCH_BYTES_MAX;
use trueup_sources::{Polled, RawBatch, SourceError, Transport};

use super::checkpoints::Checkpoints;
use super::clock::now_micros;
use super::cuts::{Orders, Report, State};
use super::dues::{Dues, Outlook};
use super::readers::{Reader, Readers, UNAVAILABLE_MAX, patiently};
use super::replay::{Expected, Past, beginning};
use super::seen::Seen;
use super::stager::{RangeRead, Staged};
use super::worker::{Closed, Dispatch, Work};
use super::{RunError, Shared};

/// The most records of one turn, and about how many bytes of them, so that partitions take turns.
const TURN: usize = 8192;
const TURN_BYTES: usize = 1 << 20;

/// So many records of one turn, or bytes of them, say that a partition is far behind. A batch of a local log
/// ends before the line that does not fit, so a full turn may be a large record short of the most.
const BEHIND_RECORDS: usize = TURN / 2;
const BEHIND_BYTES: usize = TURN_BYTES / 2;

/// How many commit intervals an epoch takes while all live partitions are far behind: what waits there
/// is late anyhow, and the larger an epoch is, the fewer rows are told that the next one takes back. The
/// first new one of a run takes one: until it is committed, nobody sees that the run goes on.
const BEHIND_INTERVALS: u32 = 5;

/// How many bytes of records end an epoch: large records must not fill the memory.
pub(crate) const EPOCH_BYTES_MAX: usize = 512 << 20;

/// How many live records of one pass leave a backfill without a turn.
const LIVE_BUSY: u64 = 1024;

/// How long the intake sleeps at most when there is nothing to read.
const IDLE: Duration = Duration::from_millis(20);

/// How long after it has been said that something is due it is said again: the clock that epochs go
/// by, that of another process, may have been behind.
const DUE_AGAIN: Duration = Duration::from_millis(500);

/// What reads.
pub(crate) struct Intake {
    pub(crate) workers: Dispatch,
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) closed: Sender<Staged>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) commit_interval: Duration,
    /// How many records of this process end an epoch.
    pub(crate) records_max: u64,
    pub(crate) until_caught_up: bool,
    pub(crate) orders: Arc<Orders>,
    pub(crate) report: Box<dyn Fn(Report) + Send>,
    /// Whether it has been reported that this process is to stop.
    pub(crate) stop_told: bool,
    /// Whether it has been reported that this process has read all.
    pub(crate) all_read_told: bool,
    pub(crate) checkpoints: Arc<Checkpoints>,
    /// The last epoch that was closed, and the last one with a checkpoint.
    pub(crate) last: Epoch,
    pub(crate) last_checkpoint: Epoch,
    /// The time of the last epoch that was closed.
    pub(crate) last_time: i64,
    pub(crate) dues: Arc<Dues>,
    /// When this process last closed an epoch that it had not only read again.
    pub(crate) closed_at: Option<Instant>,
    /// Whether that epoch was a tick that this process asked for.
    pub(crate) ticked: bool,
    /// Which partition is asked first.
    pub(crate) turn: usize,
}

/// What an epoch holds so far.
#[derive(Default)]
struct Got {
    records: u64,
    bytes: usize,
    /// Whether all that was read in the last pass was far behind.
    behind: bool,
}

/// What the turns of a pass gave. Whoever is up to date does not wait for one that is not, and a live
/// source not for a backfill, which is why its turns do not count beside live ones.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    much: usize,
    little: usize,
}

impl Turns {
    fn note(&mut self, much: bool) {
        *(if much { &mut self.much } else { &mut self.little }) += 1;
    }

    fn far_behind(self) -> bool {
        self.much > 0 && self.little == 0
    }
}

/// Says whether a turn gave so much that there is likely to be far more.
fn is_much(records: usize, bytes: usize) -> bool {
    records >= BEHIND_RECORDS || bytes >= BEHIND_BYTES
}

/// That the run has failed elsewhere, or here and said so, or is stopped while a source is away.
struct Stopped;

impl Intake {
    /// Reads until caught up, stopped or failed.
    pub(crate) fn run(mut self, mut readers: Readers, past: Past) {
        let shared = Arc::clone(&self.shared);
        let _guard = shared.guard("the intake");
        let ended = self.read_all(&mut readers, past);
        // Where it failed, it has said so, and the other threads see it. Where it was stopped while
        // a source was away, what has been closed is all there is.
        if ended.is_err() && !self.shared.has_failed() {
            self.is_over(Epoch(self.last.0 + 1));
            let _ = self.send(Staged::End(self.orders.end().unwrap_or(self.last)));
        }
    }

    fn report(&self, epoch: Epoch, state: State) {
        (self.report)(Report { epoch, state });
    }

    /// Passes on that this process is to stop, and says whether the run ends before `epoch`.
    fn is_over(&mut self, epoch: Epoch) -> bool {
        if self.stop.load(Ordering::Acquire) && !self.stop_told {
            self.stop_told = true;
            self.report(epoch, State::Stopping);
        }
        self.orders.end().is_some_and(|last| epoch > last)
    }

    fn read_all(&mut self, readers: &mut Readers, past: Past) -> Result<(), Stopped> {
        if self.replay(readers, &past)? {
            self.resume(readers, &past)?;
            drop(past);
            self.checkpoints.go_live();
            if self.until_caught_up {
                for reader in &mut readers.readers {
                    reader.seen.end_asked(now_micros());
                    let end = patiently(|| reader.partition.end(), || self.gives_up());
                    reader.end = Some(self.or_fail(end)?);
                }
            }
            self.report(Epoch(self.last.0 + 1), State::Live);
            while self.live_epoch(readers, Epoch(self.last.0 + 1))? {}
        }
        self.send(Staged::End(self.orders.end().unwrap_or(self.last)))
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.orders.end().is_some()
    }

    fn gives_up(&self) -> bool {
        self.shared.has_failed() || self.stopping()
    }

    fn or_fail<T>(&self, outcome: Result<T, SourceError>) -> Result<T, Stopped> {
        outcome.map_err(|error| {
            if !(self.stopping() && matches!(error, SourceError::Unavailable { .. })) {
                self.shared.fail(RunError::from(error));
            }
            Stopped
        })
    }

    fn send(&self, staged: Staged) -> Result<(), Stopped> {
        self.closed.send(staged).map_err(|_| Stopped)
    }

    /// Reads the committed ranges again, each in the epoch it was in. Returns whether it came to
    /// the end, rather than being stopped on the way.
    fn replay(&mut self, readers: &mut Readers, past: &Past) -> Result<bool, Stopped> {
        if let Some(base) = past.base() {
            for reader in &mut readers.readers {
                let range = base.inputs.iter().find(|input| input.partition_id() == reader.id);
                let Some(range) = range else { continue };
                let fingerprint = range.fingerprint.as_deref();
                let resume = || reader.partition.resume(&range.to, fingerprint);
                self.or_fail(patiently(resume, || self.gives_up()))?;
            }
        }
        for commit in past.commits() {
            if !self.shared.wait_for_room(commit.epoch, &self.checkpoints) {
                return Err(Stopped);
            }
            let mut barred = self.barred(commit)?;
            let wanted: BTreeMap<_, _> =
                commit.inputs.iter().map(|input| (input.partition_id(), input)).collect();
            for reader in &mut readers.readers {
                reader.begin_epoch();
                reader.barred = barred.remove(&reader.id).map(Arc::new);
                if let Some(input) = wanted.get(&reader.id) {
                    reader.from = input.from.clone();
                    if !self.replay_range(reader, commit.epoch, input)? {
                        return Ok(false);
                    }
                }
            }
            if self.checkpoints.wants_one() {
                self.report(commit.epoch, State::Full);
            }
            self.report(commit.epoch, State::Enough);
            let Some(ordered) = self.await_order(commit.epoch)? else { return Ok(false) };
            let closed = Closed { epoch_time_micros: commit.epoch_time_micros, ..ordered };
            self.close(readers, closed, Some(Expected::of(commit)))?;
        }
        Ok(true)
    }

    /// Returns what a committed epoch has quarantined, which stays so.
    fn barred(
        &self,
        commit: &CommitRecord,
    ) -> Result<BTreeMap<PartitionId, BTreeSet<Position>>, Stopped> {
        quarantined_positions(&*self.store, &commit.files).map_err(|error| {
            self.shared.fail(RunError::from(error));
            Stopped
        })
    }

    /// Waits for the order to close an epoch; `None` where the run is stopped before.
    fn await_order(&mut self, epoch: Epoch) -> Result<Option<Closed>, Stopped> {
        loop {
            if self.shared.has_failed() {
                return Err(Stopped);
            }
            if let Some(closed) = self.orders.closing(epoch) {
                return Ok(Some(closed));
            }
            if self.is_over(epoch) {
                return Ok(None);
            }
            self.orders.wait(epoch, IDLE);
        }
    }

    /// Reads one committed range again; returns false where the run is stopped meanwhile.
    fn replay_range(
        &mut self,
        reader: &mut Reader,
        epoch: Epoch,
        input: &InputRange,
    ) -> Result<bool, Stopped> {
        let to = &input.to;
        if reader.partition.position() == beginning() && input.from != beginning() {
            // The first run began late, since the first records of the topic were gone already.
            let resume = || reader.partition.resume(&input.from, None);
            self.or_fail(patiently(resume, || self.gives_up()))?;
        }
        let mut idle_since = None;
        while reader.partition.position() < *to {
            match self.or_fail(reader.poll(TURN, Some(to)))? {
                Polled::Batch(batch) => {
                    idle_since = None;
                    self.hand_out(reader, epoch, batch)?;
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
            if self.is_over(epoch) {
                return Ok(false);
            }
        }
        self.or_fail(reader.check_fingerprint(input, epoch))?;
        Ok(true)
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
                || self.gives_up(),
            );
            self.or_fail(resumed)?;
            reader.seen = Seen::default();
        }
        Ok(())
    }

    fn hand_out(
        &mut self,
        reader: &mut Reader,
        epoch: Epoch,
        mut batch: RawBatch,
    ) -> Result<(), Stopped> {
        batch.partition = reader.index;
        let first_ordinal = reader.read;
        reader.read += batch.len() as u64;
        self.checkpoints.read(batch.len());
        let barred = reader.barred.clone();
        let work = Work::Batch { epoch, batch, first_ordinal, barred };
        if self.workers.any(work, &self.shared) { Ok(()) } else { Err(Stopped) }
    }

    /// Reads one epoch and closes it when ordered to. Returns whether another one is to come.
    fn live_epoch(&mut self, readers: &mut Readers, epoch: Epoch) -> Result<bool, Stopped> {
        if !self.shared.wait_for_room(epoch, &self.checkpoints) {
            return Err(Stopped);
        }
        readers.readers.iter_mut().for_each(Reader::begin_epoch);
        let mut first_record: Option<Instant> = None;
        let mut got = Got::default();
        let (mut told, mut told_due) = (None, None);
        let mut told_full = false;
        loop {
            if self.shared.has_failed() {
                return Err(Stopped);
            }
            if self.is_over(epoch) {
                return Ok(false);
            }
            if let Some(closed) = self.orders.closing(epoch) {
                self.close(readers, closed, None)?;
                self.closed_at = Some(Instant::now());
                self.ticked = got.records == 0 && told_due.is_some();
                return Ok(true);
            }
            if !told_full && self.checkpoints.wants_one() {
                told_full = true;
                self.report(epoch, State::Full);
            }
            if told == Some(State::Enough) {
                self.orders.wait(epoch, IDLE);
                continue;
            }
            let before = got.records;
            self.pass(readers, epoch, &mut got)?;
            if !self.all_read_told && self.has_all(readers) {
                self.all_read_told = true;
                self.report(epoch, State::AllRead);
            }
            if before == 0 && got.records > 0 {
                first_record = Some(Instant::now());
                self.report(epoch, State::Filled);
            }
            let age = first_record.map(|first| first.elapsed());
            let is_first = self.closed_at.is_none();
            let intervals = if got.behind && !is_first { BEHIND_INTERVALS } else { 1 };
            let time = self.commit_interval.saturating_mul(intervals);
            if got.records >= self.records_max
                || got.bytes >= EPOCH_BYTES_MAX
                || age.is_some_and(|age| age >= time)
            {
                // What is full and the last is both; others may still have more.
                let last = told.is_none() && self.has_all(readers);
                let state = if last { State::CaughtUp } else { State::Enough };
                self.report(epoch, state);
                told = Some(state);
            } else if got.records == before {
                let has_all = self.has_all(readers);
                let settled = got.records > 0 || self.tell_due(epoch, has_all, &mut told_due);
                if told.is_none() && settled && has_all {
                    self.report(epoch, State::CaughtUp);
                    told = Some(State::CaughtUp);
                    continue;
                }
                let left = age.map_or(IDLE, |age| self.commit_interval.saturating_sub(age));
                wait(&mut readers.transports, left.min(IDLE));
            }
        }
    }

    /// Reports what has fallen due since the last epoch, of an open one without records; `told` is
    /// when that was last done. Returns whether it is known what there is.
    ///
    /// Ticks are no more frequent than other epochs. A run that has all does not wait for its one
    /// look before the end.
    fn tell_due(&self, epoch: Epoch, has_all: bool, told: &mut Option<Instant>) -> bool {
        let at = match self.dues.behind(self.last) {
            Outlook::Unknown => return false,
            Outlook::Nothing => return true,
            Outlook::At(at) => at,
        };
        // Whatever the last epoch was later than, it has shown.
        let is_due = self.last_time <= at && at < now_micros();
        let in_time = match has_all {
            true => !self.ticked,
            false => self.closed_at.is_none_or(|closed| closed.elapsed() >= self.commit_interval),
        };
        if is_due && in_time && told.is_none_or(|told| told.elapsed() >= DUE_AGAIN) {
            *told = Some(Instant::now());
            self.report(epoch, State::Due(at));
        }
        true
    }

    /// Whether a run that ends when caught up has nothing more to read.
    fn has_all(&self, readers: &Readers) -> bool {
        self.until_caught_up && readers.readers.iter().all(Reader::caught_up)
    }

    /// Lets every live partition have a turn, then every backfill, unless the live ones are busy.
    fn pass(&mut self, readers: &mut Readers, epoch: Epoch, got: &mut Got) -> Result<(), Stopped> {
        // Whoever begins changes, so that no partition takes the whole of every epoch.
        self.turn = self.turn.wrapping_add(1);
        let count = readers.readers.len();
        let before = got.records;
        let backfills_only = readers.readers.iter().all(|reader| reader.backfill);
        let mut turns = Turns::default();
        readers.readers.iter_mut().for_each(|reader| reader.seen.begin_pass());
        for backfill in [false, true] {
            if backfill && got.records - before >= LIVE_BUSY {
                break;
            }
            for place in 0..count {
                let index = (place + self.turn) % count;
                let reader = &mut readers.readers[index];
                let left = self.records_max.saturating_sub(got.records);
                if reader.backfill != backfill || left == 0 || reader.caught_up() {
                    continue;
                }
                let limit = usize::try_from(left).unwrap_or(TURN).min(TURN);
                let (records, bytes) = self.turn(reader, epoch, limit)?;
                got.records += records as u64;
                got.bytes += bytes;
                if backfills_only || !backfill {
                    turns.note(is_much(records, bytes));
                }
            }
        }
        got.behind = turns.far_behind();
        Ok(())
    }

    /// Lets a partition have a turn: batches as long as they are full. Returns how many records, and bytes of
    /// them, came.
    fn turn(
        &mut self,
        reader: &mut Reader,
        epoch: Epoch,
        limit: usize,
    ) -> Result<(usize, usize), Stopped> {
        let (mut records, mut bytes) = (0, 0);
        while records < limit && bytes < TURN_BYTES && !reader.caught_up() {
            let until = reader.end.clone();
            let polled = reader.poll(limit - records, until.as_ref());
            let Polled::Batch(batch) = self.or_fail(polled)? else { break };
            let is_full = batch.bytes.len() >= BATCH_BYTES_MAX / 2;
            records += batch.len();
            bytes += batch.bytes.len();
            self.hand_out(reader, epoch, batch)?;
            if !is_full {
                break;
            }
        }
        Ok((records, bytes))
    }

    fn close(
        &mut self,
        readers: &mut Readers,
        closed: Closed,
        expected: Option<Expected>,
    ) -> Result<(), Stopped> {
        if closed.checkpoint {
            // One is under way at a time, and another process may be ahead with the one before.
            let before = self.last_checkpoint;
            self.shared.wait_while(|_| self.checkpoints.done() < before);
            if self.shared.has_failed() {
                return Err(Stopped);
            }
            self.checkpoints.close(closed.epoch);
            self.last_checkpoint = closed.epoch;
        }
        self.last = closed.epoch;
        self.last_time = closed.epoch_time_micros;
        let ranges = readers.readers.iter_mut().map(|reader| RangeRead {
            partition: reader.index,
            from: reader.from.clone(),
            to: reader.partition.position(),
            read: reader.read,
            fingerprint: reader.partition.fingerprint(),
            caught_up: reader.has_all_of(closed.epoch_time_micros),
        });
        let ranges = ranges.collect();
        self.send(Staged::Cut(closed, ranges, expected))?;
        if self.workers.all(|| Work::Close(closed), &self.shared) { Ok(()) } else { Err(Stopped) }
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

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD_BYTES: usize = 4 << 10;

    #[test]
    fn a_turn_that_is_full_but_for_a_record_is_much() {
        let cases = [
            (TURN, 100, true),
            (TURN_BYTES / RECORD_BYTES, TURN_BYTES - RECORD_BYTES, true),
            (25, 25 * RECORD_BYTES, false),
            (0, 0, false),
        ];
        for (records, bytes, expected) in cases {
            assert_eq!(is_much(records, bytes), expected, "{records} of {bytes} bytes");
        }
    }

    #[test]
    fn only_where_all_that_is_read_is_far_behind_may_an_epoch_take_longer() {
        let cases: &[(&[bool], bool)] = &[
            (&[], false),
            (&[true], true),
            (&[true, true], true),
            (&[true, false], false),
            (&[false], false),
        ];
        for (given, expected) in cases {
            let mut turns = Turns::default();
            given.iter().for_each(|much| turns.note(*much));
            assert_eq!(turns.far_behind(), *expected, "{given:?}");
        }
    }
}
