//! The source of re-driven records: the files `redrive/<N>.json` of the store, read as a log of one
//! partition. This is where a place for files (`sinks`) becomes a transport (`sources`).
//!
//! ```text
//!  store/redrive/                      source `redrive`, partition `0`
//!  ├── 00000000000000000001.json ────▶ the record at position 1
//!  └── 00000000000000000002.json ────▶ the record at position 2
//! ```
//!
//! A position is the number of a file, in an empty segment as with Kafka: a file is one record, so
//! with a segment a file every batch would hold one record, and every offset would be 0. The
//! fingerprint is the hash of the last file before the position; since each file holds the hash of
//! the one before, it stands for all of them.
//!
//! What is checked: every file that is read follows the one before it; on resume the last one read
//! is what it was; where the end is asked for, no number is missing.
//!
//! A poll asks the store, which is the place that commits wait for too. It reads for a fifth of a
//! second at most, and once there is nothing more it looks no sooner than after the interval of
//! [`Redriven::new`].

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use trueup_ledger::Position;
use trueup_sinks::redrive::{PREVIOUS_MISMATCH, count_redrives, read_redrive, redrive_path};
use trueup_sinks::{CommitLog, GENESIS, REDRIVE, Redrive, Retry, SinkError, Store};
use trueup_sources::batch::BATCH_BYTES_MAX;
use trueup_sources::{Format, Frame, Json, Partition, Polled, RawBatch, SourceError, Transport};

use crate::config::StoreLocation;

/// The only partition.
const PARTITION: &str = "0";

/// How long one poll reads on, so that the other partitions have their turns.
const TURN_MAX: Duration = Duration::from_millis(200);

/// How long [`Transport::wait`] sleeps at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Returns how often a run looks for the next re-drive.
#[must_use]
pub fn interval(store: &StoreLocation) -> Duration {
    match store {
        StoreLocation::Directory(_) => Duration::from_secs(1),
        // Each look is a request that is paid for.
        StoreLocation::Bucket(_) => Duration::from_secs(10),
    }
}

/// Says whether a run reads this source: the store has a re-drive, or a commit has read one.
///
/// # Errors
/// [`SinkError`] where the files cannot be listed, or one is missing.
pub fn is_read(store: &Arc<dyn Store>) -> Result<bool, SinkError> {
    Ok(count_redrives(&**store, Retry::default())? > 0 || last_commit_names_it(store))
}

/// Says whether the last commit has read this source. Where commits cannot be read it says no: the
/// run reads them as well, and tells what is wrong with them.
#[must_use]
pub fn last_commit_names_it(store: &Arc<dyn Store>) -> bool {
    let last = || {
        let log = CommitLog::open(Arc::clone(store)).ok()?;
        let (head, _) = log.head().ok()??;
        log.read(head).ok()
    };
    last().is_some_and(|commit| commit.inputs.iter().any(|input| input.source == REDRIVE))
}

/// Returns what re-driven records are written in: what the sources of today are, all of them.
#[must_use]
pub fn format() -> Arc<dyn Format> {
    Arc::new(Json)
}

/// The re-drives of a store, as a source.
pub struct Redriven {
    name: String,
    store: Arc<dyn Store>,
    interval: Duration,
}

impl Redriven {
    /// Names the source; nothing is read before it is polled or resumed. Once there is nothing
    /// more, the next number is looked for at most every `interval`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, interval: Duration) -> Redriven {
        Redriven { name: "the re-drives of the store".to_owned(), store, interval }
    }
}

impl Transport for Redriven {
    fn name(&self) -> &str {
        &self.name
    }

    fn partitions(&mut self) -> Result<Vec<Box<dyn Partition>>, SourceError> {
        Ok(vec![Box::new(Files {
            source_name: self.name.clone(),
            store: Arc::clone(&self.store),
            interval: self.interval,
            offset: 0,
            hash: GENESIS.to_owned(),
            known: 0,
            missed: None,
        })])
    }

    fn wait(&mut self, timeout: Duration) {
        thread::sleep(timeout.min(LOOK_INTERVAL));
    }
}

/// A reader of the files.
struct Files {
    source_name: String,
    store: Arc<dyn Store>,
    interval: Duration,
    /// The number of the next file; 0 at the beginning, before file 1.
    offset: u64,
    /// The hash of the file before.
    hash: String,
    /// How many files there are, as far as it is known.
    known: u64,
    /// When the next file was looked for last, and was not there.
    missed: Option<Instant>,
}

impl Files {
    fn changed(&self, wanted: u64, detail: String) -> SourceError {
        SourceError::Changed {
            source_name: self.source_name.clone(),
            partition: PARTITION.to_owned(),
            wanted: place(wanted),
            oldest: None,
            detail,
        }
    }

    fn gone(&self, number: u64) -> SourceError {
        self.changed(number, format!("the file {} is gone", redrive_path(number)))
    }

    fn error(&self, number: u64, error: SinkError) -> SourceError {
        match error {
            SinkError::Damaged { .. } => self.changed(number, error.to_string()),
            SinkError::Store(error) if error.is_unknown() => SourceError::Unavailable {
                source_name: self.source_name.clone(),
                detail: error.to_string(),
            },
            error => SourceError::Failed {
                source_name: self.source_name.clone(),
                detail: error.to_string(),
                cause: Some(Box::new(error)),
            },
        }
    }

    /// Asks for a file once; whoever polls asks again where the store does not answer.
    fn read(&self, number: u64) -> Result<Option<Redrive>, SourceError> {
        let read = read_redrive(&*self.store, number, Retry::immediate(1));
        read.map_err(|error| self.error(number, error))
    }

    /// Says whether a file can be there, as far as it is known.
    fn may_be_there(&self, number: u64) -> bool {
        number <= self.known || self.missed.is_none_or(|at| at.elapsed() >= self.interval)
    }

    fn fill(&mut self, limit: usize, end: Option<u64>) -> Result<RawBatch, SourceError> {
        let (mut batch, mut hash) = (RawBatch::default(), self.hash.clone());
        let mut bytes = Vec::new();
        let mut number = self.offset.max(1);
        let started = Instant::now();
        while batch.len() < limit
            && end.is_none_or(|end| number < end)
            && bytes.len() < BATCH_BYTES_MAX
            && (batch.is_empty() || started.elapsed() < TURN_MAX)
        {
            let Some(redrive) = self.read(number)? else {
                if end.is_some() || number <= self.known {
                    return Err(self.gone(number));
                }
                self.missed = Some(Instant::now());
                break;
            };
            if redrive.previous != hash {
                let detail = format!("{}: {PREVIOUS_MISMATCH}", redrive_path(number));
                return Err(self.changed(number, detail));
            }
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let (start, len) = (length(&bytes), length(&redrive.raw));
            batch.frames.push(Frame { offset: number, start, len });
            bytes.extend_from_slice(&redrive.raw);
            hash = redrive.hash;
            number += 1;
        }
        batch.bytes = bytes.into();
        if !batch.is_empty() {
            (self.offset, self.hash, self.missed) = (number, hash, None);
            batch.to = place(number);
        }
        Ok(batch)
    }
}

impl Partition for Files {
    fn id(&self) -> &str {
        PARTITION
    }

    fn resume(&mut self, from: &Position, fingerprint: Option<&str>) -> Result<(), SourceError> {
        let offset = from.offset;
        (self.offset, self.hash, self.missed) = (offset, GENESIS.to_owned(), None);
        if offset > 1 {
            let before = offset - 1;
            let last = self.read(before)?.ok_or_else(|| self.gone(before))?;
            if fingerprint.is_some_and(|wanted| wanted != last.hash) {
                let detail = format!("the file {} is not what it was", redrive_path(before));
                return Err(self.changed(offset, detail));
            }
            self.hash = last.hash;
        }
        Ok(())
    }

    fn poll(&mut self, limit: usize, until: Option<&Position>) -> Result<Polled, SourceError> {
        let end = until.map(|until| until.offset);
        if let Some(end) = end
            && self.offset < end
            && end <= 1
        {
            // No file has the number 0.
            self.offset = end;
        }
        let done = end.is_some_and(|end| self.offset >= end);
        if limit == 0 || done || (end.is_none() && !self.may_be_there(self.offset.max(1))) {
            return Ok(Polled::Idle);
        }
        let batch = self.fill(limit, end)?;
        Ok(if batch.is_empty() { Polled::Idle } else { Polled::Batch(batch) })
    }

    fn position(&self) -> Position {
        place(self.offset)
    }

    fn fingerprint(&self) -> Option<String> {
        (self.offset > 1).then(|| self.hash.clone())
    }

    fn end(&mut self) -> Result<Position, SourceError> {
        let counted = count_redrives(&*self.store, Retry::immediate(1));
        let count = counted.map_err(|error| self.error(self.offset, error))?;
        if count + 1 < self.offset {
            return Err(self.gone(count + 1));
        }
        self.known = count;
        Ok(if count == 0 { self.position() } else { place(count + 1) })
    }
}

fn place(number: u64) -> Position {
    Position { offset: number, ..Position::default() }
}

#[cfg(test)]
mod tests;
