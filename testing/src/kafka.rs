//! A real single-node Apache Kafka (KRaft, no ZooKeeper) that a test starts and stops.
//!
//! ```text
//! KafkaBroker::start() ─ jars from Maven, once ─ format storage ─ java kafka.Kafka ─ Metadata ok
//!         │                                                                             │
//!         └── create_topic · delete_topic · delete_records · tool ──────────────────────┘
//! ```
//!
//! Guarantees: a started broker answers Metadata requests and lists itself; each broker has its own
//! ports and data; dropping it stops its process and deletes its data; it does not outlive the test
//! process, not even one that is killed (see [`crate::process`]).
//!
//! Needed on the machine: Java 17 or later, and for the first start Maven.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::ports::free_ports;
use crate::process::Running;
use crate::temp_dir;

mod install;
mod wire;

use install::Install;

/// How long a broker may take to start before it is an error. Alone it takes two.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long one of Kafka's command-line tools may run.
const TOOL_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a change of topics may take until the broker shows it.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a broker may take to stop by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How often a broker that found its ports taken is set up anew.
const START_ATTEMPTS: usize = 4;

/// How many lines of the server's log end an error.
const TAIL_LINES: usize = 40;

/// The server's properties apart from its ports and directory. One node replicates nothing, topics
/// exist only when a test creates them, and consumer groups form without delay.
const PROPERTIES: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("num.partitions", "2"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.num.partitions", "4"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("auto.create.topics.enable", "false"),
    // A broker that was killed cannot register again before its old session has timed out, which
    // by default takes nine seconds.
    ("broker.heartbeat.interval.ms", "500"),
    ("broker.session.timeout.ms", "3000"),
    ("log.segment.bytes", "268435456"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
];

/// Any 16 bytes in URL-safe base64; brokers of different tests never meet.
const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";

/// A running broker, which is stopped and forgotten when this value is dropped.
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// let broker = trueup_testing::kafka::KafkaBroker::start()?;
/// broker.create_topic("postings", 2)?;
/// println!("bootstrap.servers={}", broker.bootstrap());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KafkaBroker {
    // Dropped in this order: the process is gone before its directory is deleted.
    server: Option<Running>,
    install: Install,
    port: u16,
    dir: TempDir,
}

impl KafkaBroker {
    /// Starts a broker with [`KafkaBroker::start_with`] and no further properties.
    ///
    /// # Errors
    /// As [`KafkaBroker::start_with`].
    pub fn start() -> anyhow::Result<KafkaBroker> {
        KafkaBroker::start_with(&[])
    }

    /// Starts a broker and waits until it is ready; `extra` server properties win over the usual.
    ///
    /// # Errors
    /// When Java or Maven is missing (the error says what to install), or when the broker is not
    /// ready in 90 seconds (the error ends with the tail of the server's log).
    pub fn start_with(extra: &[(&str, &str)]) -> anyhow::Result<KafkaBroker> {
        for attempt in 1.. {
            let mut broker = KafkaBroker::format(Install::find()?, extra)?;
            match broker.launch() {
                Ok(()) => return Ok(broker),
                // Another program took a port between our look and Kafka's start. The ports are
                // in the formatted storage too, so all is set up anew.
                Err(_) if attempt < START_ATTEMPTS && broker.found_port_taken() => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no attempt was made to start Kafka")
    }

    /// The value for a client's `bootstrap.servers`, the same after a restart.
    pub fn bootstrap(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The process id of the broker, if it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.server.as_ref().map(Running::id)
    }

    /// Creates a topic and waits until each of its partitions can be written and read.
    ///
    /// # Errors
    /// When the topic exists already, or the broker is down or refuses.
    pub fn create_topic(&self, topic: &str, partitions: u16) -> anyhow::Result<()> {
        self.create_topic_with(topic, partitions, &[])
    }

    /// Creates a topic as [`KafkaBroker::create_topic`] does, with topic `configs` such as
    /// `("cleanup.policy", "compact")`.
    ///
    /// # Errors
    /// As [`KafkaBroker::create_topic`].
    pub fn create_topic_with(
        &self,
        topic: &str,
        partitions: u16,
        configs: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        wire::create_topic(self.port, topic, i32::from(partitions), configs)
            .with_context(|| format!("cannot create the topic {topic}"))?;
        let expected = Some(usize::from(partitions));
        self.wait_for_topic(topic, "was created", |found| found.partitions == expected)
    }

    /// Deletes a topic with its records and waits until the broker no longer knows it.
    ///
    /// # Errors
    /// When there is no such topic, or the broker is down or refuses.
    pub fn delete_topic(&self, topic: &str) -> anyhow::Result<()> {
        wire::delete_topic(self.port, topic)
            .with_context(|| format!("cannot delete the topic {topic}"))?;
        self.wait_for_topic(topic, "was deleted", |found| !found.topic_exists)
    }

    /// Returns the number of partitions of a topic, or `None` if there is no such topic or one of
    /// its partitions cannot be used yet.
    ///
    /// # Errors
    /// When the broker is down.
    pub fn partitions(&self, topic: &str) -> anyhow::Result<Option<usize>> {
        let found = wire::metadata(self.port, Some(topic))
            .with_context(|| format!("cannot ask Kafka about the topic {topic}"))?;
        Ok(found.partitions)
    }

    /// Deletes the records of a partition before `before_offset`, as retention would.
    ///
    /// # Errors
    /// When there is no such partition, when `before_offset` is past its end, or when the broker is
    /// down.
    pub fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before_offset: i64,
    ) -> anyhow::Result<()> {
        let first = wire::delete_records(self.port, topic, partition, before_offset)
            .with_context(|| format!("cannot delete records of {topic}[{partition}]"))?;
        ensure!(
            first >= before_offset,
            "{topic}[{partition}] still begins at {first}, before {before_offset}"
        );
        Ok(())
    }

    /// Runs one of Kafka's command-line tools, given by its Java class, against this broker, and
    /// returns its standard output. It takes half a second or more. `--bootstrap-server` is passed.
    ///
    /// # Errors
    /// When the tool fails or runs for 90 seconds; the error ends with its output.
    pub fn tool(&self, class: &str, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.install.run(class, &[]);
        command.args(["--bootstrap-server", &self.bootstrap()]).args(args);
        self.run_to_end(&command, class)
    }

    /// Kills the broker with SIGKILL, as a crash would; [`KafkaBroker::restart`] brings it back.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill_9()?;
        }
        Ok(())
    }

    /// Stops the broker in order (with SIGTERM, and SIGKILL after five seconds).
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.stop(STOP_PATIENCE)?;
        }
        Ok(())
    }

    /// Starts the broker again with the same data and address, after stopping it if it runs.
    ///
    /// # Errors
    /// As [`KafkaBroker::start_with`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Chooses ports and writes the properties and the empty storage of a new broker.
    fn format(install: Install, extra: &[(&str, &str)]) -> anyhow::Result<KafkaBroker> {
        let dir = temp_dir("kafka-")?;
        let [port, controller] = free_ports()?;
        let host = Ipv4Addr::LOCALHOST;
        let listeners = format!("PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}");
        let own = [
            ("controller.quorum.bootstrap.servers", format!("{host}:{controller}")),
            ("advertised.listeners", listeners.clone()),
            ("listeners", listeners),
            ("log.dirs", dir.path().join("data").display().to_string()),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let mut text = String::new();
        // Of a name that is given twice, Java takes the last.
        for (name, value) in PROPERTIES.iter().copied().chain(own).chain(extra.iter().copied()) {
            writeln!(text, "{name}={value}")?;
        }
        let properties = dir.path().join("server.properties");
        fs::write(&properties, text)
            .with_context(|| format!("cannot write {}", properties.display()))?;

        let broker = KafkaBroker { server: None, install, port, dir };
        let mut command = broker.install.run("kafka.tools.StorageTool", &[]);
        command.args(["format", "--standalone", "-t", CLUSTER_ID, "-c"]).arg(&properties);
        broker.run_to_end(&command, "format")?;
        Ok(broker)
    }

    /// Starts the server and waits until it lists itself as a broker.
    fn launch(&mut self) -> anyhow::Result<()> {
        let options = ["-Dorg.slf4j.simpleLogger.log.kafka.server=info"];
        let mut command = self.install.run("kafka.Kafka", &options);
        command.arg(self.dir.path().join("server.properties"));
        let server =
            self.server.insert(Running::start_command(&command, self.dir.path(), "server")?);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let problem = match wire::metadata(self.port, None) {
                Ok(found) if found.brokers > 0 => return Ok(()),
                Ok(_) => "it is still fenced".to_owned(),
                Err(error) => error.to_string(),
            };
            if !server.is_running()? {
                bail!("Kafka ended while it started\n{}", server.tail(TAIL_LINES));
            }
            if Instant::now() >= deadline {
                let log = server.tail(TAIL_LINES);
                bail!("Kafka was not ready in {START_TIMEOUT:?}: {problem}\n{log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn found_port_taken(&self) -> bool {
        let log = self.server.as_ref().and_then(|server| server.stderr().ok());
        log.is_some_and(|log| log.contains("Address already in use"))
    }

    /// Runs `command`, which must succeed, and returns its standard output.
    fn run_to_end(&self, command: &Command, name: &str) -> anyhow::Result<String> {
        // Two calls of one tool must not share their files.
        let logs = tempfile::tempdir_in(self.dir.path())
            .with_context(|| format!("cannot write in {}", self.dir.path().display()))?;
        let mut running = Running::start_command(command, logs.path(), name)?;
        let status = running.wait(TOOL_TIMEOUT)?;
        ensure!(status.success(), "{name} ended with {status}\n{}", running.tail(TAIL_LINES));
        running.stdout()
    }

    fn wait_for_topic(
        &self,
        topic: &str,
        what: &str,
        done: impl Fn(&wire::Metadata) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + TOPIC_TIMEOUT;
        loop {
            let found = wire::metadata(self.port, Some(topic))
                .with_context(|| format!("cannot ask Kafka about the topic {topic}"))?;
            if done(&found) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{topic} {what}, but after {TOPIC_TIMEOUT:?} Kafka still says {found:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        // If it cannot be stopped in order, dropping `Running` still kills it.
        let _ = self.stop();
    }
}
