//! Kafka topics, read without a consumer group (SPEC §6).
//!
//! Each partition has a consumer of its own with a bounded queue, assigned by hand to explicit
//! offsets. Positions are offsets; only committed records are seen. Nothing is ever reset to where
//! there happens to be data: what cannot be read from the wanted offset on stops the run.
//!
//! The offsets of Kafka's transaction markers and aborted records hold no record. A partition moves
//! its position over them once Kafka reports the end of the partition.
//!
//! A fingerprint is the last record before the position: its offset, and the hash of its key,
//! value and time. So a topic that was deleted and created anew is told apart from the one that was
//! read, though the same offsets exist in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::transport::{Partition, SERVER_TIMEOUT, SourceError, Transport};
use errors::from_kafka;
use partition::TopicPartition;

mod errors;
mod partition;

/// How long [`Transport::wait`] parks at most before the partitions are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What this transport decides, since exactness depends on it.
const FIXED: &[(&str, &str)] = &[
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("allow.auto.create.topics", "false"),
    // librdkafka assigns only with a group's name; it joins no group and commits nothing.
    ("group.id", "trueup"),
];

/// What suits this reader better than librdkafka's own choice; properties may say otherwise. An
/// idle broker answers sooner, so an end is known sooner, and a full queue refills at once.
const PREFERRED: &[(&str, &str)] =
    &[("fetch.wait.max.ms", "100"), ("fetch.queue.backoff.ms", "10")];

/// What to read.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `bootstrap.servers`: `host:port`, separated by commas.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// Further properties of librdkafka, such as those for TLS and SASL.
    pub properties: BTreeMap<String, String>,
    /// How much is fetched ahead of the reader, in KiB for each partition.
    pub queue_kib: u32,
    /// Reads a partition that was never read from its oldest record on, although its first records
    /// have been deleted already. Otherwise that is an error.
    pub allow_missing_beginning: bool,
}

impl KafkaConfig {
    /// Names a topic, all else as usual.
    #[must_use]
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>) -> KafkaConfig {
        KafkaConfig {
            brokers: brokers.into(),
            topic: topic.into(),
            properties: BTreeMap::new(),
            queue_kib: 16 << 10,
            allow_missing_beginning: false,
        }
    }
}

/// A Kafka topic.
pub struct Kafka {
    name: Arc<str>,
    config: KafkaConfig,
    client: ClientConfig,
    arrivals: Arc<Arrivals>,
}

impl Kafka {
    /// Names the topic; no broker is asked before [`Transport::partitions`].
    ///
    /// # Errors
    /// [`SourceError::Configuration`] for a property that this transport decides itself.
    pub fn new(config: KafkaConfig) -> Result<Kafka, SourceError> {
        let name: Arc<str> = format!("kafka topic {} at {}", config.topic, config.brokers).into();
        let mut client = ClientConfig::new();
        for (key, value) in PREFERRED {
            client.set(*key, *value);
        }
        for (key, value) in &config.properties {
            if key == "bootstrap.servers" || FIXED.iter().any(|(fixed, _)| fixed == key) {
                return Err(SourceError::Configuration {
                    source_name: name.to_string(),
                    detail: format!("the property `{key}` is not free to choose"),
                });
            }
            client.set(key, value);
        }
        client.set("bootstrap.servers", &config.brokers);
        client.set("queued.max.messages.kbytes", config.queue_kib.to_string());
        for (key, value) in FIXED {
            client.set(*key, *value);
        }
        Ok(Kafka { name, config, client, arrivals: Arc::default() })
    }

    fn partition_count(&self) -> Result<i32, SourceError> {
        let configuration = |detail: String| SourceError::Configuration {
            source_name: self.name.to_string(),
            detail,
        };
        let consumer: BaseConsumer =
            self.client.create().map_err(|error| configuration(error.to_string()))?;
        let metadata = consumer
            .fetch_metadata(Some(&self.config.topic), SERVER_TIMEOUT)
            .map_err(|error| from_kafka(&self.name, "asking for the topic's partitions", &error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.config.topic);
        let count = topic.map_or(0, |topic| topic.partitions().len());
        if count == 0 {
            return Err(configuration("there is no such topic".to_owned()));
        }
        i32::try_from(count).map_err(|error| configuration(error.to_string()))
    }
}

impl Transport for Kafka {
    fn name(&self) -> &str {
        &self.name
    }

    fn partitions(&mut self) -> Result<Vec<Box<dyn Partition>>, SourceError> {
        // Kafka numbers the partitions of a topic from 0 without gaps.
        (0..self.partition_count()?)
            .map(|number| {
                let arrivals = Arc::clone(&self.arrivals);
                let name = Arc::clone(&self.name);
                TopicPartition::open(name, &self.config, &self.client, number, arrivals)
                    .map(|partition| Box::new(partition) as Box<dyn Partition>)
            })
            .collect()
    }

    fn wait(&mut self, timeout: Duration) {
        self.arrivals.wait(timeout.min(LOOK_INTERVAL));
    }
}

/// Says that some partition's queue got something, across threads.
#[derive(Default)]
struct Arrivals {
    arrived: Mutex<bool>,
    changed: Condvar,
}

impl Arrivals {
    fn notify(&self) {
        *self.arrived.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self, timeout: Duration) {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(arrived, timeout, |arrived| !*arrived);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
