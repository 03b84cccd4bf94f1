//! The contract of a transport, on re-drives; and what a run is told where files are not theirs.

use std::error::Error;

use trueup_ledger::Epoch;
use trueup_sinks::{MemoryStore, Outcome, Redrives, Request};
use trueup_sources::conformance::{self, Fixture};

use super::*;

/// Long enough that a scenario would fail that had to wait for it.
const INTERVAL: Duration = Duration::from_secs(600);

/// Appends records to the re-drives of a store, each at a place of its own.
fn append(store: &Arc<dyn Store>, records: &[String]) {
    let mut redrives = Redrives::open(store).unwrap();
    for record in records {
        let position = redrives.audits().count().to_string();
        let request = Request {
            who: "ada",
            when: "2026-11-01T00:00:00Z",
            why: "a test",
            source: "live",
            partition: "0",
            position: &position,
            epoch: Epoch(1),
            reason: "bad_syntax",
            quarantined: b"?",
            replacement: Some(record.as_bytes()),
        };
        assert!(matches!(redrives.append(&request).unwrap(), Outcome::Written(_)));
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// The suite wants two partitions, so these are the re-drives of two stores.
struct Stores([Arc<dyn Store>; 2]);

/// Both as one transport.
struct Both([Redriven; 2]);

/// The second partition, under another name.
struct Second(Box<dyn Partition>);

impl Fixture for Stores {
    fn append(&mut self, partition: usize, records: &[String]) -> conformance::Outcome {
        append(&self.0[partition], records);
        Ok(())
    }

    fn leap(&mut self, _partition: usize) -> conformance::Outcome {
        // Numbers have no gaps, so there is nothing to leap over.
        Ok(())
    }

    fn open(&mut self) -> Result<Box<dyn Transport>, Box<dyn Error>> {
        Ok(Box::new(Both(self.0.clone().map(|store| Redriven::new(store, INTERVAL)))))
    }
}

impl Transport for Both {
    fn name(&self) -> &str {
        self.0[0].name()
    }

    fn partitions(&mut self) -> Result<Vec<Box<dyn Partition>>, SourceError> {
        let [first, second] = &mut self.0;
        let mut partitions = first.partitions()?;
        for partition in second.partitions()? {
            partitions.push(Box::new(Second(partition)));
        }
        Ok(partitions)
    }

    fn wait(&mut self, timeout: Duration) {
        self.0[0].wait(timeout);
    }
}

impl Partition for Second {
    fn id(&self) -> &str {
        "1"
    }

    fn resume(&mut self, from: &Position, fingerprint: Option<&str>) -> Result<(), SourceError> {
        self.0.resume(from, fingerprint)
    }

    fn poll(&mut self, limit: usize, until: Option<&Position>) -> Result<Polled, SourceError> {
        self.0.poll(limit, until)
    }

    fn position(&self) -> Position {
        self.0.position()
    }

    fn fingerprint(&self) -> Option<String> {
        self.0.fingerprint()
    }

    fn end(&mut self) -> Result<Position, SourceError> {
        self.0.end()
    }
}

#[test]
fn conforms() {
    conformance::run(|| Ok(Stores([memory(), memory()]))).unwrap();
}

fn opened(store: &Arc<dyn Store>, interval: Duration) -> Box<dyn Partition> {
    let partitions = Redriven::new(Arc::clone(store), interval).partitions().unwrap();
    partitions.into_iter().next().unwrap()
}

fn read(partition: &mut dyn Partition) -> usize {
    match partition.poll(10, None).unwrap() {
        Polled::Batch(batch) => batch.len(),
        Polled::Idle => 0,
    }
}

#[test]
fn the_next_number_is_looked_for_now_and_then() {
    let store = memory();
    let mut eager = opened(&store, Duration::ZERO);
    let mut lazy = opened(&store, INTERVAL);
    assert_eq!((read(&mut *eager), read(&mut *lazy)), (0, 0));
    append(&store, &["a".to_owned(), "b".to_owned()]);
    assert_eq!((read(&mut *eager), read(&mut *lazy)), (2, 0));
    // Whoever asks for the end knows more than the last look.
    assert_eq!(lazy.end().unwrap(), place(3));
    assert_eq!(read(&mut *lazy), 2);
}

#[test]
fn files_that_are_gone_or_others_stop_the_run() {
    let store = memory();
    append(&store, &["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let mut partition = opened(&store, Duration::ZERO);
    assert_eq!(read(&mut *partition), 3);
    let (at, mark) = (partition.position(), partition.fingerprint());
    let changed = |outcome: Result<(), SourceError>, text: &str| match outcome {
        Err(error @ SourceError::Changed { .. }) => {
            assert!(error.to_string().contains(text), "{error}");
        }
        other => panic!("{other:?}"),
    };
    opened(&store, INTERVAL).resume(&at, mark.as_deref()).unwrap();
    changed(opened(&store, INTERVAL).resume(&at, Some("another")), "3.json is not what it was");
    changed(opened(&store, INTERVAL).resume(&place(5), None), "4.json is gone");

    let path = redrive_path(2);
    let text = String::from_utf8(store.get(&path).unwrap()).unwrap();
    store.put(&path, text.replace("a test", "b test").as_bytes()).unwrap();
    let poll = |until: Option<&Position>| {
        let mut partition = opened(&store, Duration::ZERO);
        partition.poll(10, until).map(|_| ())
    };
    changed(poll(None), "3.json: it does not hold the hash");
    store.delete(&path).unwrap();
    changed(poll(Some(&at)), "2.json is gone");
    changed(opened(&store, INTERVAL).end().map(|_| ()), "2.json: it is missing");
}
