//! How fast a Kafka topic is read to its end.
//!
//! The topic is made, filled and deleted here. The broker is somebody else's; where it is on this
//! machine it takes its share of the processors, which the outcome says.

use std::fs::File;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::pin::pin;
use std::process;
use std::sync::Arc;
use std::task::{Context as Turn, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use trueup_sources::local_log::append::by_target_transaction;

use super::Bench;
use super::figures::{Contestant, Outcome};
use super::job::{Input, Job};
use super::load::{FIGURES, counted};
use crate::commands::output::grouped;

const PARTITIONS: i32 = 2;

/// How long the broker may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(bench: &Bench<'_>, brokers: &str) -> anyhow::Result<Outcome> {
    let events = bench.args.events;
    let mut topics = Vec::new();
    let mut jobs = Vec::new();
    let mut contestants = Vec::new();
    for bytes in &bench.args.record_bytes {
        let file = bench.folder.join(format!("topic-of-{bytes}.jsonl"));
        bench.generate(&file, events, &["--record-bytes", &bytes.to_string(), "--out"])?;
        let topic = Topic::make(brokers, format!("trueup-bench-{}-{bytes}", process::id()))?;
        bench.bar.set_message("filling a topic");
        topic.fill(&file)?;
        let input = Input::Topic { brokers: brokers.to_owned(), topic: topic.name.clone() };
        topics.push(topic);
        for workers in &bench.args.workers {
            let mut job = Job::new(bench, format!("kafka-{}", jobs.len()), input.clone());
            job.workers = *workers;
            jobs.push(job);
            let name = format!("{}, {bytes} B", counted(*workers, "worker"));
            contestants.push(Contestant::new(name));
        }
    }
    bench.rounds("kafka", &mut contestants, |number, _| {
        let job = &jobs[number];
        job.clear()?;
        let run = job.to_end(events)?;
        job.judge(events, "the topic")?;
        Ok(run)
    })?;
    let place = if is_here(brokers) { "the same machine" } else { "another machine" };
    Ok(Outcome {
        scenario: "kafka",
        about: format!(
            "A topic of {} events in {PARTITIONS} partitions, the broker on {place}, read to its end \
             into a new store: from the start of the program to its end, everything committed and \
             checkpointed. Bytes on disk are a record.",
            grouped(events)
        ),
        figures: FIGURES.to_vec(),
        plotted: 1,
        contestants,
    })
}

/// Says whether a broker's address is one of this machine: one that can be bound.
fn is_here(brokers: &str) -> bool {
    let addresses = brokers.split(',').filter_map(|broker| broker.to_socket_addrs().ok()).flatten();
    addresses.into_iter().any(|mut address| {
        address.set_port(0);
        std::net::TcpListener::bind(address).is_ok()
    })
}

/// A topic that goes away with this.
struct Topic {
    name: String,
    admin: AdminClient<DefaultClientContext>,
    producer: BaseProducer,
}

impl Topic {
    fn make(brokers: &str, name: String) -> anyhow::Result<Topic> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "20");
        config.set("compression.type", "none").set("queue.buffering.max.kbytes", "262144");
        let admin: AdminClient<_> = config.create().context("connecting to the broker")?;
        let producer = config.create().context("connecting to the broker")?;
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let options = options.request_timeout(Some(PATIENCE));
        let made = wait(admin.create_topics([&topic], &options)).context("making a topic")?;
        for result in made {
            let failed = |(topic, code)| anyhow::anyhow!("making the topic {topic}: {code}");
            result.map_err(failed)?;
        }
        Ok(Topic { name, admin, producer })
    }

    /// Sends each line, the lines of a transaction to one partition.
    fn fill(&self, file: &Path) -> anyhow::Result<()> {
        let file = File::open(file).context("opening the events")?;
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).context("reading the events")? > 0 {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let partition = by_target_transaction(&line, PARTITIONS as usize);
            let partition = i32::try_from(partition).unwrap_or(0);
            let record = BaseRecord::<(), [u8]>::to(&self.name);
            self.send(record.partition(partition).payload(line.as_slice()))?;
            line.clear();
        }
        self.producer.flush(PATIENCE).context("filling a topic")
    }

    /// Sends a record, and waits where the queue is full.
    fn send(&self, mut record: BaseRecord<'_, (), [u8]>) -> anyhow::Result<()> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    self.producer.poll(Duration::from_millis(100));
                }
                Err((error, _)) => return Err(error).context("filling a topic"),
            }
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        if let Err(error) = wait(self.admin.delete_topics(&[&self.name], &options)) {
            tracing::warn!(topic = self.name, %error, "the topic is left behind");
        }
    }
}

/// Waits for what the client does on a thread of its own.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Turn::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
