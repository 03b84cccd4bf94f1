//! The partitions that a run reads, and how it bears with sources that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trueup_ledger::{Epoch, PartitionId, Position};
use trueup_sinks::InputRange;
use trueup_sources::{Format, Partition, Polled, SourceError, Transport};

use super::clock::now_micros;
use super::replay::{Past, beginning};
use super::seen::Seen;
use super::worker::Barred;
use super::{RunError, Source};

/// How long a source may be unavailable before the run ends.
pub(crate) const UNAVAILABLE_MAX: Duration = Duration::from_secs(120);

/// How long a source that does not answer is left alone.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How often it is said that a source does not answer.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// The partitions that a process reads, in the order of their names.
pub(crate) struct Readers {
    pub(crate) transports: Vec<Box<dyn Transport>>,
    pub(crate) readers: Vec<Reader>,
}

/// One partition, and what of it is in the open epoch.
pub(crate) struct Reader {
    pub(crate) id: PartitionId,
    /// Its place in the sorted list of all partitions of all sources.
    pub(crate) index: usize,
    /// What the transport calls itself, for errors.
    transport: Arc<str>,
    pub(crate) partition: Box<dyn Partition>,
    pub(crate) format: Arc<dyn Format>,
    pub(crate) backfill: bool,
    /// Where the run ends, if it ends when caught up.
    pub(crate) end: Option<Position>,
    /// Where the open epoch began.
    pub(crate) from: Position,
    /// Records of the open epoch.
    pub(crate) read: u64,
    /// What of the open epoch is quarantined already, where it is committed.
    pub(crate) barred: Barred,
    /// Whether it has been read to its end.
    pub(crate) seen: Seen,
    /// Since when the source does not answer, and when it is asked again.
    pub(crate) away: Option<Away>,
}

/// How many of all partitions a process reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    own: u64,
    all: u64,
}

impl Portion {
    /// Returns the process' part of a number of records, at least 1.
    pub(crate) fn of(self, records: u64) -> u64 {
        let part = u128::from(records) * u128::from(self.own) / u128::from(self.all.max(1));
        u64::try_from(part).unwrap_or(records).max(1)
    }
}

/// A source that does not answer.
#[derive(Clone, Copy)]
pub(crate) struct Away {
    since: Instant,
    ask_again: Instant,
    /// When it was last said.
    told: Instant,
}

/// Opens all partitions and checks that each one that a commit names is there. Returns `None` where
/// the run is stopped while a source is away.
pub(crate) fn open(
    sources: Vec<Source>,
    past: &Past,
    stop: &AtomicBool,
) -> Result<Option<Readers>, RunError> {
    let mut transports = Vec::new();
    let mut readers: Vec<Reader> = Vec::new();
    for mut source in sources {
        let transport: Arc<str> = source.transport.name().into();
        let stopping = || stop.load(Ordering::Acquire);
        let partitions = match patiently(|| source.transport.partitions(), stopping) {
            Err(SourceError::Unavailable { .. }) if stopping() => return Ok(None),
            partitions => partitions?,
        };
        for partition in partitions {
            readers.push(Reader {
                id: PartitionId {
                    source: Arc::clone(&source.name),
                    partition: partition.id().into(),
                },
                index: 0,
                transport: Arc::clone(&transport),
                partition,
                format: Arc::clone(&source.format),
                backfill: source.backfill,
                end: None,
                from: beginning(),
                read: 0,
                barred: None,
                seen: Seen::default(),
                away: None,
            });
        }
        transports.push(source.transport);
    }
    readers.sort_by(|a, b| a.id.cmp(&b.id));
    for (index, reader) in readers.iter_mut().enumerate() {
        reader.index = index;
    }
    for partition in past.partitions() {
        if !readers.iter().any(|reader| reader.id == partition) {
            return Err(RunError::Configuration(format!(
                "the store has read from {partition}, which is not there now; configure the \
                 source {:?} as it was, with all its partitions",
                partition.source
            )));
        }
    }
    Ok(Some(Readers { transports, readers }))
}

/// Repeats a call while its source is unavailable, for a while, unless `give_up` says so.
pub(crate) fn patiently<T>(
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

    /// Keeps the partitions of one process of several, and returns how many of all they are. The
    /// others' are closed.
    pub(crate) fn keep_share_of(&mut self, process: usize, processes: usize) -> Portion {
        let all = self.readers.len();
        self.readers.retain(|reader| reader.index % processes == process);
        Portion { own: self.readers.len() as u64, all: all as u64 }
    }

    pub(crate) fn formats(&self) -> Arc<[Arc<dyn Format>]> {
        self.readers.iter().map(|reader| Arc::clone(&reader.format)).collect()
    }
}

impl Reader {
    pub(crate) fn begin_epoch(&mut self) {
        self.from = self.partition.position();
        self.read = 0;
        self.barred = None;
    }

    /// Polls, and counts a source that does not answer as one that has nothing now: the others go
    /// on, and what was read is committed in time. An error once it has been away for too long.
    pub(crate) fn poll(
        &mut self,
        limit: usize,
        until: Option<&Position>,
    ) -> Result<Polled, SourceError> {
        let now = Instant::now();
        if self.away.is_some_and(|away| now < away.ask_again) {
            return Ok(Polled::Idle);
        }
        let polled = self.partition.poll(limit, until);
        match &polled {
            Ok(Polled::Batch(_)) => self.seen.given(),
            Ok(Polled::Idle) => self.seen.nothing(now, now_micros()),
            Err(_) => self.seen.away(),
        }
        match polled {
            Err(error @ SourceError::Unavailable { .. }) => {
                let since = self.away.map_or(now, |away| away.since);
                if since.elapsed() >= UNAVAILABLE_MAX {
                    return Err(error);
                }
                let mut told = self.away.map_or(now, |away| away.told);
                if self.away.is_none() || told.elapsed() >= TELL_AGAIN {
                    let for_good = UNAVAILABLE_MAX.saturating_sub(since.elapsed());
                    tracing::warn!(%error, partition = %self.id, "trying on for {for_good:.0?}");
                    told = now;
                }
                self.away = Some(Away { since, ask_again: now + ASK_AGAIN, told });
                Ok(Polled::Idle)
            }
            polled => {
                self.away = None;
                polled
            }
        }
    }

    /// Checks that what lies before the end of a committed range is what lay there when it was
    /// committed; a topic that was created anew is told here, before its records are compared.
    pub(crate) fn check_fingerprint(
        &self,
        input: &InputRange,
        epoch: Epoch,
    ) -> Result<(), SourceError> {
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

    /// Whether all of the partition has been read, as an epoch with this time may say it.
    pub(crate) fn has_all_of(&self, epoch_time: i64) -> bool {
        let at_end = self.end.is_some().then(|| self.caught_up());
        self.seen.caught_up(at_end, epoch_time)
    }

    /// Whether the run needs nothing more of this partition.
    pub(crate) fn caught_up(&self) -> bool {
        self.end.as_ref().is_some_and(|end| self.partition.position() >= *end)
    }
}
