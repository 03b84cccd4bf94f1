//! One partition of a topic: the offsets it stands at, and what it knows of those before.
//!
//! ```text
//!   offsets  …  marked ─── position ─────────── drained ──────── known_end
//!               last record  next to return     no record lies   what the broker said the end is
//!               returned                        before it        before reading was (re)started
//! ```
//! Kafka reports the end of a partition once the consumer is there, without its offset. A report
//! after a (re)start is younger than `known_end`, so everything before `known_end` was delivered.
//! For that to be true a (re)start takes a new consumer: what an old one has queued (records, and
//! reports of an older end) may still come after it was assigned anew, and would skip records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use trueup_ledger::Position;

use super::errors::{Meaning, from_kafka, meaning};
use super::{Arrivals, KafkaConfig};
use crate::batch::{BATCH_BYTES_MAX, CUT_BYTES, Frame, HOLD_BYTES_MAX, RawBatch, Shelf};
use crate::transport::{Partition, Polled, SERVER_TIMEOUT, SourceError};

/// A reader of one partition.
pub(super) struct TopicPartition {
    source_name: Arc<str>,
    topic: String,
    number: i32,
    id: String,
    allow_missing_beginning: bool,
    client: ClientConfig,
    arrivals: Arc<Arrivals>,
    consumer: Arc<BaseConsumer>,
    /// Whether the consumer has been assigned something, so that it is used up.
    used: bool,
    started: bool,
    position: u64,
    drained: u64,
    known_end: u64,
    /// The last record before the position.
    mark: Option<Mark>,
    /// Set until the marked record was read again and compared.
    unverified: bool,
    /// A record that came but lies at or past the `until` of that poll.
    held: Option<OwnedMessage>,
    /// What went wrong behind the records of the last batch.
    pending: Option<SourceError>,
    shelf: Shelf,
}

/// A record by which a partition is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    offset: u64,
    hash: String,
}

fn offset_of(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

fn at(offset: u64) -> Position {
    Position { segment: Arc::default(), offset }
}

/// Returns how much of a value is kept; of one too large for any record, too much still.
fn kept(value: &[u8]) -> &[u8] {
    if value.len() > HOLD_BYTES_MAX { &value[..CUT_BYTES] } else { value }
}

fn hash_of(time: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&time.to_le_bytes());
    for part in [key, value.map(kept)] {
        // A missing part is not an empty one.
        let len = part.map_or(u64::MAX, |part| part.len() as u64);
        hasher.update(&len.to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize().to_hex().to_string()
}

/// A batch that is being filled. Only its last record is hashed, once, when it is complete.
#[derive(Default)]
struct Filling {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    last_time: i64,
    last_key: Option<Vec<u8>>,
    last_is_null: bool,
}

impl Filling {
    fn is_full(&self, limit: usize) -> bool {
        self.frames.len() >= limit || self.bytes.len() >= BATCH_BYTES_MAX
    }

    fn push(&mut self, message: &impl Message) {
        let value = kept(message.payload().unwrap_or_default());
        // A batch ends behind one record of 64 MiB at most, far below 2^32.
        let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        self.frames.push(Frame {
            offset: offset_of(message.offset()),
            start: narrow(self.bytes.len()),
            len: narrow(value.len()),
        });
        self.bytes.extend_from_slice(value);
        self.last_time = message.timestamp().to_millis().unwrap_or(-1);
        self.last_is_null = message.payload().is_none();
        match (message.key(), &mut self.last_key) {
            (Some(key), Some(last)) => {
                last.clear();
                last.extend_from_slice(key);
            }
            (key, last) => *last = key.map(<[u8]>::to_vec),
        }
    }

    fn mark(&self) -> Option<Mark> {
        let last = self.frames.last()?;
        let value = &self.bytes[last.start as usize..];
        let value = (!self.last_is_null).then_some(value);
        let hash = hash_of(self.last_time, self.last_key.as_deref(), value);
        Some(Mark { offset: last.offset, hash })
    }
}

impl Mark {
    fn parse(text: &str) -> Option<Mark> {
        let (offset, hash) = text.split_once(':')?;
        Some(Mark { offset: offset.parse().ok()?, hash: hash.to_owned() })
    }
}

/// Makes a consumer that says when something has arrived.
fn connect(
    source_name: &Arc<str>,
    client: &ClientConfig,
    arrivals: &Arc<Arrivals>,
) -> Result<Arc<BaseConsumer>, SourceError> {
    let mut consumer: BaseConsumer =
        client.create().map_err(|error| SourceError::Configuration {
            source_name: source_name.to_string(),
            detail: error.to_string(),
        })?;
    let arrivals = Arc::clone(arrivals);
    consumer.set_nonempty_callback(move || arrivals.notify());
    Ok(Arc::new(consumer))
}

impl TopicPartition {
    pub(super) fn open(
        source_name: Arc<str>,
        config: &KafkaConfig,
        client: &ClientConfig,
        number: i32,
        arrivals: Arc<Arrivals>,
    ) -> Result<TopicPartition, SourceError> {
        let consumer = connect(&source_name, client, &arrivals)?;
        Ok(TopicPartition {
            source_name,
            topic: config.topic.clone(),
            number,
            id: number.to_string(),
            allow_missing_beginning: config.allow_missing_beginning,
            client: client.clone(),
            arrivals,
            consumer,
            used: false,
            started: false,
            position: 0,
            drained: 0,
            known_end: 0,
            mark: None,
            unverified: false,
            held: None,
            pending: None,
            shelf: Shelf::of_process(),
        })
    }

    fn changed(&self, wanted: u64, oldest: Option<u64>, detail: &str) -> SourceError {
        SourceError::Changed {
            source_name: self.source_name.to_string(),
            partition: self.id.clone(),
            wanted: at(wanted),
            oldest: oldest.map(at),
            detail: detail.to_owned(),
        }
    }

    /// Asks for the oldest offset, and for the one behind the last committed record.
    fn bounds(&self) -> Result<(u64, u64), SourceError> {
        let bounds = self.consumer.fetch_watermarks(&self.topic, self.number, SERVER_TIMEOUT);
        let (low, high) = bounds.map_err(|error| match meaning(&error) {
            Meaning::TopicGone => self.changed(self.position, None, "the topic is gone"),
            _ => from_kafka(&self.source_name, "asking for the partition's offsets", &error),
        })?;
        Ok((offset_of(low), offset_of(high)))
    }

    /// Starts fetching at `offset`, forgetting what was fetched.
    fn assign(&mut self, offset: u64) -> Result<(), SourceError> {
        self.held = None;
        self.pending = None;
        let failed = |error| from_kafka(&self.source_name, "assigning the partition", &error);
        let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, self.number, offset).map_err(failed)?;
        if std::mem::replace(&mut self.used, true) {
            self.consumer = connect(&self.source_name, &self.client, &self.arrivals)?;
        }
        self.consumer.assign(&list).map_err(failed)?;
        self.started = true;
        Ok(())
    }

    fn start(&mut self, from: u64, mark: Option<Mark>) -> Result<(), SourceError> {
        self.started = false;
        self.position = from;
        self.mark = mark;
        let (low, high) = self.bounds()?;
        if from < low {
            if from > 0 || !self.allow_missing_beginning {
                let detail = "the records from there on have been deleted (retention)";
                return Err(self.changed(from, Some(low), detail));
            }
            tracing::warn!(
                topic = self.topic,
                partition = self.number,
                oldest = low,
                "the first records are gone; reading begins at the oldest"
            );
            self.position = low;
        }
        if from > high {
            let detail = format!("the partition ends at {high}: it was truncated or created anew");
            return Err(self.changed(from, Some(low), &detail));
        }
        self.known_end = high;
        self.drained = self.position;
        let verify_at = self.mark.as_ref().map(|mark| mark.offset).filter(|o| *o >= low);
        self.unverified = verify_at.is_some();
        if self.mark.is_some() && !self.unverified {
            tracing::warn!(
                topic = self.topic,
                partition = self.number,
                position = self.position,
                "the last record read has been deleted since: it cannot be compared"
            );
        }
        self.assign(verify_at.unwrap_or(self.position))
    }

    /// Goes on from the same place so that the next report of the end is younger than `end`.
    fn restart(&mut self, end: u64) -> Result<(), SourceError> {
        self.known_end = end;
        let marked = self.mark.as_ref().filter(|_| self.unverified).map(|mark| mark.offset);
        self.assign(marked.unwrap_or(self.position))
    }

    fn recreated(&self) -> SourceError {
        let oldest = self.bounds().ok().map(|(low, _)| low);
        let offset = self.mark.as_ref().map_or(0, |mark| mark.offset);
        let detail = format!(
            "the record at offset {offset} is not the one that was read: the topic was created anew"
        );
        self.changed(self.position, oldest, &detail)
    }

    /// Checks the first record after a resume, which is the last one that was read before.
    fn verify(&mut self, message: &BorrowedMessage<'_>) -> Result<(), SourceError> {
        let time = message.timestamp().to_millis().unwrap_or(-1);
        let hash = hash_of(time, message.key(), message.payload());
        let found = Mark { offset: offset_of(message.offset()), hash };
        if self.mark.as_ref() != Some(&found) {
            return Err(self.recreated());
        }
        self.unverified = false;
        Ok(())
    }

    fn explain(&self, error: &KafkaError) -> Option<SourceError> {
        let oldest = || self.bounds().ok().map(|(low, _)| low);
        match meaning(error) {
            Meaning::Irrelevant => None,
            Meaning::OffsetGone => {
                let detail = format!("the wanted offset is gone: {error}");
                Some(self.changed(self.position, oldest(), &detail))
            }
            Meaning::TopicGone => {
                let detail = format!("the topic is gone: {error}");
                Some(self.changed(self.position, None, &detail))
            }
            _ => Some(from_kafka(&self.source_name, "reading", error)),
        }
    }

    /// Moves records before `until` from librdkafka's queue to the batch.
    fn drain(&mut self, batch: &mut Filling, limit: usize, until: u64) -> Result<(), SourceError> {
        // Messages borrow the consumer, which therefore must not be borrowed from `self`.
        let consumer = Arc::clone(&self.consumer);
        // librdkafka queues one error for each attempt while the broker was away. Only what comes
        // last says how things are now.
        let mut unavailable = None;
        while !batch.is_full(limit) {
            let message = match consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) if self.unverified => {
                    return Err(self.recreated());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    unavailable = None;
                    self.drained = self.drained.max(self.known_end);
                    continue;
                }
                Some(Err(error)) => match self.explain(&error) {
                    Some(error @ SourceError::Unavailable { .. }) => {
                        unavailable = Some(error);
                        continue;
                    }
                    Some(error) => return Err(error),
                    None => continue,
                },
            };
            unavailable = None;
            let offset = offset_of(message.offset());
            if self.unverified {
                self.verify(&message)?;
            } else if offset >= until {
                self.drained = self.drained.max(offset);
                self.held = Some(message.detach());
                break;
            } else if offset >= self.position {
                batch.push(&message);
                self.position = offset + 1;
            }
        }
        unavailable.map_or(Ok(()), Err)
    }

    /// Makes sure that `until` exists, and that reaching it will be noticed.
    fn expect(&mut self, until: u64) -> Result<(), SourceError> {
        if until <= self.known_end.max(self.drained) {
            return Ok(());
        }
        let (low, high) = self.bounds()?;
        if until > high {
            let detail = format!("the partition ends at {high}: it was truncated or created anew");
            return Err(self.changed(until, Some(low), &detail));
        }
        self.restart(high)
    }
}

impl Partition for TopicPartition {
    fn id(&self) -> &str {
        &self.id
    }

    fn resume(&mut self, from: &Position, fingerprint: Option<&str>) -> Result<(), SourceError> {
        let mark = fingerprint.map(|text| {
            Mark::parse(text).ok_or_else(|| {
                let detail = format!("{text:?} is no fingerprint of a Kafka partition");
                self.changed(from.offset, None, &detail)
            })
        });
        self.start(from.offset, mark.transpose()?)
    }

    fn poll(&mut self, limit: usize, until: Option<&Position>) -> Result<Polled, SourceError> {
        if !self.started {
            self.start(self.position, self.mark.clone())?;
        }
        let until = until.map_or(u64::MAX, |until| until.offset);
        if limit == 0 || self.position >= until {
            return Ok(Polled::Idle);
        }
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        if until < u64::MAX {
            self.expect(until)?;
        }
        let mut batch = Filling { bytes: self.shelf.take(0), ..Filling::default() };
        match self.held.take() {
            Some(held) if offset_of(held.offset()) >= until => self.held = Some(held),
            held => {
                if let Some(held) = held {
                    batch.push(&held);
                    self.position = offset_of(held.offset()) + 1;
                }
                let drained = self.drain(&mut batch, limit, until);
                if batch.frames.is_empty() {
                    drained?;
                } else {
                    self.pending = drained.err();
                }
            }
        }
        let Some(mark) = batch.mark() else {
            self.shelf.put(batch.bytes);
            self.position = self.position.max(self.drained.min(until));
            return Ok(Polled::Idle);
        };
        self.mark = Some(mark);
        Ok(Polled::Batch(RawBatch {
            partition: 0,
            segment: Arc::default(),
            bytes: self.shelf.lend(batch.bytes),
            frames: batch.frames,
            to: self.position(),
        }))
    }

    fn position(&self) -> Position {
        at(self.position)
    }

    fn fingerprint(&self) -> Option<String> {
        self.mark.as_ref().map(|mark| format!("{}:{}", mark.offset, mark.hash))
    }

    fn end(&mut self) -> Result<Position, SourceError> {
        if !self.started {
            self.start(self.position, self.mark.clone())?;
        }
        let (_, high) = self.bounds()?;
        if high > self.position.max(self.drained).max(self.known_end) {
            self.restart(high)?;
        }
        Ok(at(high))
    }
}
