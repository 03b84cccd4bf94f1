//! The one suite that every transport passes: the contract of [`crate::transport`], executed.
//!
//! A transport brings a [`Fixture`]; each scenario gets a fresh one. A scenario returns an error
//! when the source fails and panics when it breaks the contract: it is to be called from tests.

use std::error::Error;
use std::time::{Duration, Instant};

use trueup_ledger::Position;

use crate::transport::{Partition, Polled, Transport};

/// How long records that exist may take to be read.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a scenario returns: an error is one of the source or of its fixture.
pub type Outcome = Result<(), Box<dyn Error>>;

/// A source with two partitions, empty at first, that a scenario writes to.
pub trait Fixture {
    /// Appends records to partition 0 or 1 such that they are there when this returns.
    ///
    /// # Errors
    /// Any; the scenario ends with it.
    fn append(&mut self, partition: usize, records: &[String]) -> Outcome;

    /// Makes the positions of a partition leap: a new file, an aborted Kafka transaction.
    ///
    /// # Errors
    /// Any; the scenario ends with it.
    fn leap(&mut self, partition: usize) -> Outcome;

    /// Opens the source anew, as a restarted process would.
    ///
    /// # Errors
    /// Any; the scenario ends with it.
    fn open(&mut self) -> Result<Box<dyn Transport>, Box<dyn Error>>;
}

/// Runs every scenario, each on a fixture of its own.
///
/// # Errors
/// That of the first source or fixture that fails.
pub fn run<F: Fixture>(mut fixture: impl FnMut() -> Result<F, Box<dyn Error>>) -> Outcome {
    order_and_identity(&mut fixture()?)?;
    resume_anywhere(&mut fixture()?)?;
    until_is_exact(&mut fixture()?)?;
    idle_then_more(&mut fixture()?)?;
    caught_up(&mut fixture()?)
}

type Opened = (Box<dyn Transport>, Vec<Box<dyn Partition>>);
type Read = (Position, String);

fn open(fixture: &mut impl Fixture) -> Result<Opened, Box<dyn Error>> {
    let mut transport = fixture.open()?;
    let partitions = transport.partitions()?;
    assert_eq!(partitions.len(), 2, "a fixture has two partitions");
    Ok((transport, partitions))
}

fn records(prefix: &str, count: usize) -> Vec<String> {
    // Lengths differ so that offsets in bytes and counts cannot be confused.
    (0..count).map(|n| format!("{prefix}-{n}-{}", "x".repeat(n * 37 % 400))).collect()
}

/// Two files or Kafka transactions in partition 0, a few records in partition 1.
fn fill(fixture: &mut impl Fixture) -> Result<Vec<String>, Box<dyn Error>> {
    let mut written = records("a", 300);
    fixture.append(0, &written)?;
    fixture.leap(0)?;
    let more = records("b", 200);
    fixture.append(0, &more)?;
    fixture.append(1, &records("other", 3))?;
    written.extend(more);
    Ok(written)
}

/// Polls until the position is `to`, and checks each batch by the contract.
fn read_to(
    transport: &mut dyn Transport,
    partition: &mut dyn Partition,
    to: &Position,
    limit: usize,
    until: Option<&Position>,
) -> Result<Vec<Read>, Box<dyn Error>> {
    let mut read: Vec<Read> = Vec::new();
    let started = Instant::now();
    while partition.position() < *to {
        assert!(started.elapsed() < PATIENCE, "{to} is not reached, only {}", partition.position());
        let before = partition.position();
        let Polled::Batch(batch) = partition.poll(limit, until)? else {
            transport.wait(Duration::from_millis(20));
            continue;
        };
        assert!(!batch.is_empty() && batch.len() <= limit, "1 to {limit} records");
        assert_eq!(batch.to, partition.position(), "a batch ends at the position");
        for frame in &batch.frames {
            let position = batch.position(*frame);
            assert!(position >= before && position < batch.to, "{position} is in the batch");
            assert!(read.last().is_none_or(|(last, _)| *last < position), "positions ascend");
            read.push((position, String::from_utf8(batch.raw(*frame).to_vec())?));
        }
        assert!(partition.fingerprint().is_some(), "what was read has a fingerprint");
    }
    Ok(read)
}

fn read_all(fixture: &mut impl Fixture, limit: usize) -> Result<Vec<Read>, Box<dyn Error>> {
    let (mut transport, mut partitions) = open(fixture)?;
    let end = partitions[0].end()?;
    read_to(&mut *transport, &mut *partitions[0], &end, limit, None)
}

fn texts(read: &[Read]) -> Vec<&str> {
    read.iter().map(|(_, text)| text.as_str()).collect()
}

fn order_and_identity(fixture: &mut impl Fixture) -> Outcome {
    let written = fill(fixture)?;
    let read = read_all(fixture, 1000)?;
    assert_eq!(texts(&read), written, "every record once, in order");
    assert_eq!(read_all(fixture, 7)?, read, "the same positions whatever the limit");

    let (mut transport, mut partitions) = open(fixture)?;
    assert_ne!(partitions[0].id(), partitions[1].id());
    let end = partitions[1].end()?;
    let other = read_to(&mut *transport, &mut *partitions[1], &end, 1000, None)?;
    assert_eq!(texts(&other), records("other", 3), "partitions are apart");
    Ok(())
}

fn resume_anywhere(fixture: &mut impl Fixture) -> Outcome {
    fill(fixture)?;
    let all = read_all(fixture, 1000)?;
    let (mut transport, mut partitions) = open(fixture)?;
    let end = partitions[0].end()?;
    let mut stops = vec![(Position::default(), None)];
    while partitions[0].position() < end {
        if let Polled::Idle = partitions[0].poll(61, None)? {
            transport.wait(Duration::from_millis(20));
        }
        stops.push((partitions[0].position(), partitions[0].fingerprint()));
    }
    // One reader for all stops, back and forth: a resume forgets where it was.
    let (mut transport, mut partitions) = open(fixture)?;
    stops.reverse();
    for (from, fingerprint) in &stops {
        let partition = &mut *partitions[0];
        partition.resume(from, fingerprint.as_deref())?;
        assert_eq!(partition.position(), *from);
        assert_eq!(partition.fingerprint(), *fingerprint, "the fingerprint at {from} stays");
        let rest = read_to(&mut *transport, partition, &end, 1000, None)?;
        let expected: Vec<Read> = all.iter().filter(|(at, _)| at >= from).cloned().collect();
        assert_eq!(rest, expected, "the rest behind {from}");
    }
    Ok(())
}

fn until_is_exact(fixture: &mut impl Fixture) -> Outcome {
    fill(fixture)?;
    let all = read_all(fixture, 1000)?;
    let (mut transport, mut partitions) = open(fixture)?;
    for cut in [1, 17, 299, 300, 301, 499] {
        let until = all[cut].0.clone();
        let partition = &mut *partitions[0];
        partition.resume(&Position::default(), None)?;
        let read = read_to(&mut *transport, partition, &until, 40, Some(&until))?;
        assert_eq!(read, all[..cut], "exactly what lies before {until}");
        assert_eq!(partition.position(), until);
        assert_eq!(partition.poll(40, Some(&until))?, Polled::Idle, "nothing at {until}");
        let end = partition.end()?;
        let rest = read_to(&mut *transport, partition, &end, 1000, None)?;
        assert_eq!(rest, all[cut..], "and then the rest");
    }
    Ok(())
}

fn idle_then_more(fixture: &mut impl Fixture) -> Outcome {
    let (mut transport, mut partitions) = open(fixture)?;
    let partition = &mut *partitions[0];
    assert_eq!(partition.poll(10, None)?, Polled::Idle, "empty");
    assert_eq!(partition.fingerprint(), None);
    for round in ["a", "b", "c"] {
        let written = records(round, 25);
        fixture.append(0, &written)?;
        let end = partition.end()?;
        let read = read_to(&mut *transport, partition, &end, 10, None)?;
        assert_eq!(texts(&read), written, "what was appended since");
        assert_eq!(partition.poll(10, None)?, Polled::Idle, "no more");
        if round == "b" {
            fixture.leap(0)?;
        }
    }
    Ok(())
}

fn caught_up(fixture: &mut impl Fixture) -> Outcome {
    let (mut transport, mut partitions) = open(fixture)?;
    let partition = &mut *partitions[0];
    let empty = partition.end()?;
    assert!(partition.position() >= empty, "an empty partition is caught up");
    fixture.append(0, &records("a", 50))?;
    let end = partition.end()?;
    fixture.append(0, &records("late", 5))?;
    let read = read_to(&mut *transport, partition, &end, 1000, Some(&end))?;
    assert_eq!(texts(&read), records("a", 50), "what existed when the end was asked");
    fixture.leap(0)?;
    let end = partition.end()?;
    let read = read_to(&mut *transport, partition, &end, 1000, None)?;
    assert_eq!(texts(&read), records("late", 5), "over a leap at the very end");
    Ok(())
}
