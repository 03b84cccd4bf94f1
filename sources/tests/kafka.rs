//! Kafka: the suite of all transports against a real broker, and what only Kafka can do wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use trueup_ledger::Position;
use trueup_sources::conformance::{self, Fixture, Outcome};
use trueup_sources::{Kafka, KafkaConfig, Partition, Polled, RawBatch, SourceError, Transport};
use trueup_testing::kafka::KafkaBroker;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A topic whose every append is a Kafka transaction, so that markers lie between the records.
struct Topic<'b> {
    broker: &'b KafkaBroker,
    name: String,
    producer: BaseProducer,
    /// Asks where the committed records end.
    reader: BaseConsumer,
    /// Where they must end, by partition.
    ends: [i64; 2],
}

impl<'b> Topic<'b> {
    fn create(broker: &'b KafkaBroker, name: &str) -> Result<Topic<'b>, Box<dyn Error>> {
        broker.create_topic(name, 2)?;
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("transactional.id", name)
            .create()?;
        producer.init_transactions(TIMEOUT)?;
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("isolation.level", "read_committed")
            .create()?;
        Ok(Topic { broker, name: name.to_owned(), producer, reader, ends: [0; 2] })
    }

    /// Waits until the marker of a Kafka transaction is written: its end is reported before that,
    /// and until then its records do not exist for whoever reads committed ones.
    fn settle(&mut self, partition: usize, records: usize) -> Outcome {
        let marker = 1;
        self.ends[partition] += i64::try_from(records)? + marker;
        let started = Instant::now();
        let number = i32::try_from(partition)?;
        while self.reader.fetch_watermarks(&self.name, number, TIMEOUT)?.1 < self.ends[partition] {
            assert!(started.elapsed() < TIMEOUT, "the marker is not written");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn send(&self, partition: usize, records: &[String]) -> Outcome {
        self.producer.begin_transaction()?;
        for record in records {
            let partition = i32::try_from(partition)?;
            let record =
                BaseRecord::<str, str>::to(&self.name).partition(partition).payload(record);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(self.producer.flush(TIMEOUT)?)
    }
}

impl Fixture for Topic<'_> {
    fn append(&mut self, partition: usize, records: &[String]) -> Outcome {
        self.send(partition, records)?;
        self.producer.commit_transaction(TIMEOUT)?;
        self.settle(partition, records.len())
    }

    fn leap(&mut self, partition: usize) -> Outcome {
        self.send(partition, &["aborted".to_owned()])?;
        self.producer.abort_transaction(TIMEOUT)?;
        self.settle(partition, 1)
    }

    fn open(&mut self) -> Result<Box<dyn Transport>, Box<dyn Error>> {
        Ok(Box::new(source(&self.broker.bootstrap(), &self.name)?))
    }
}

fn source(brokers: &str, topic: &str) -> Result<Kafka, SourceError> {
    Kafka::new(KafkaConfig::new(brokers, topic))
}

fn first(broker: &KafkaBroker, topic: &str) -> Box<dyn Partition> {
    let mut kafka = source(&broker.bootstrap(), topic).unwrap();
    kafka.partitions().unwrap().remove(0)
}

fn plain_send(broker: &KafkaBroker, topic: &str, values: &[Option<&str>]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    for value in values {
        let mut record = BaseRecord::<str, str>::to(topic).partition(0).key("key");
        record.payload = *value;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
}

/// Polls until something other than idleness comes.
fn poll(partition: &mut dyn Partition) -> Result<RawBatch, SourceError> {
    let started = Instant::now();
    while started.elapsed() < TIMEOUT {
        match partition.poll(100, None)? {
            Polled::Batch(batch) => return Ok(batch),
            Polled::Idle => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("nothing came");
}

fn read(partition: &mut dyn Partition, count: usize) -> Vec<RawBatch> {
    let mut batches = Vec::new();
    while batches.iter().map(RawBatch::len).sum::<usize>() < count {
        batches.push(poll(partition).unwrap());
    }
    batches
}

fn at(offset: u64) -> Position {
    Position { segment: "".into(), offset }
}

fn changed(result: Result<impl Sized, SourceError>, texts: &[&str]) {
    match result.err() {
        Some(error @ SourceError::Changed { .. }) => {
            let error = error.to_string();
            assert!(texts.iter().all(|text| error.contains(text)), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn conforms() {
    let broker = KafkaBroker::start().unwrap();
    let mut topics = 0;
    conformance::run(|| {
        topics += 1;
        Topic::create(&broker, &format!("suite-{topics}"))
    })
    .unwrap();
}

#[test]
fn what_is_gone_or_other_stops_with_its_name() {
    let broker = KafkaBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    plain_send(&broker, "events", &[Some("a"), None, Some("c"), Some("d")]);
    let mut partition = first(&broker, "events");
    let batches = read(&mut *partition, 4);
    let raw: Vec<_> = batches.iter().flat_map(RawBatch::records).collect();
    assert_eq!(raw, [(0, &b"a"[..]), (1, b""), (2, b"c"), (3, b"d")], "a tombstone is a record");
    let mark = partition.fingerprint();
    assert_eq!(partition.position(), at(4));

    // Retention passed the wanted offset, but not the end.
    broker.delete_records("events", 0, 3).unwrap();
    let named = ["topic events", "partition 0", "wanted position 2", "oldest there is 3"];
    changed(partition.resume(&at(2), None), &named);
    changed(partition.resume(&Position::default(), None), &["wanted position 0", "is 3"]);
    changed(partition.resume(&at(9), None), &["ends at 4", "wanted position 9"]);
    partition.resume(&at(4), mark.as_deref()).unwrap();
    plain_send(&broker, "events", &[Some("e")]);
    assert_eq!(poll(&mut *partition).unwrap().records().collect::<Vec<_>>(), [(4, &b"e"[..])]);

    let mut config = KafkaConfig::new(broker.bootstrap(), "events");
    config.allow_missing_beginning = true;
    let mut from_oldest = Kafka::new(config).unwrap().partitions().unwrap().remove(0);
    assert_eq!(poll(&mut *from_oldest).unwrap().frames[0].offset, 3);

    // A topic of the same name, with enough other records.
    drop((partition, from_oldest));
    broker.delete_topic("events").unwrap();
    broker.create_topic("events", 1).unwrap();
    plain_send(&broker, "events", &[Some("a"), None, Some("c"), Some("d"), Some("e")]);
    let mut partition = first(&broker, "events");
    partition.resume(&at(4), mark.as_deref()).unwrap();
    changed(poll(&mut *partition), &["created anew", "wanted position 4", "oldest there is 0"]);
}

#[test]
fn errors_say_what_to_do() {
    let mut broker = KafkaBroker::start().unwrap();
    let absent = source(&broker.bootstrap(), "absent").unwrap().partitions().err();
    assert!(matches!(absent, Some(SourceError::Configuration { .. })), "{absent:?}");
    let mut config = KafkaConfig::new(broker.bootstrap(), "events");
    config.properties.insert("auto.offset.reset".to_owned(), "earliest".to_owned());
    assert!(matches!(Kafka::new(config), Err(SourceError::Configuration { .. })));

    broker.create_topic("events", 1).unwrap();
    plain_send(&broker, "events", &[Some("a")]);
    let mut partition = first(&broker, "events");
    read(&mut *partition, 1);
    broker.kill().unwrap();
    let started = Instant::now();
    let error = loop {
        match partition.poll(9, None) {
            Err(error) => break error,
            Ok(_) => assert!(started.elapsed() < TIMEOUT, "the broker is not missed"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error:?}");
    broker.restart().unwrap();
    plain_send(&broker, "events", &[Some("b")]);
    let again = loop {
        match poll(&mut *partition) {
            Ok(batch) => break batch,
            Err(SourceError::Unavailable { .. }) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(again.records().collect::<Vec<_>>(), [(1, &b"b"[..])]);
}
