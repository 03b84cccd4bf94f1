//! The program on a real Kafka: killed, cut off from the broker, and told that what it has read is
//! gone. Needs Java and Maven, and fails without them: nothing is skipped.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub, dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;
use trueup_ledger::{Counts, Position};
use trueup_sinks::{DirectoryStore, Store};
use trueup_testing::kafka::KafkaBroker;
use trueup_testing::process::Running;

#[path = "common/judge.rs"]
mod judge;
#[path = "common/program.rs"]
mod program;
#[path = "common/records.rs"]
mod records;

use judge::{Lines, Look};
use program::{TRUEUP, ended, started, text, trueup};
use records::Records;

const PATIENCE: Duration = Duration::from_secs(90);
const TOPIC: &str = "ledger.events";

fn broker() -> KafkaBroker {
    // The workload has one record that is too large for trueup; Kafka has to take it.
    KafkaBroker::start_with(&[("message.max.bytes", "4194304")])
        .expect("a real Kafka is needed for this test")
}

/// A topic that grows, a configuration that names it, and the store that is made from it.
struct Books {
    dir: TempDir,
    store: PathBuf,
    config: PathBuf,
    producer: BaseProducer,
    partitions: usize,
    /// What was sent, in order; record n went to partition n modulo partitions.
    sent: Vec<Vec<u8>>,
}

impl Books {
    fn new(broker: &KafkaBroker, partitions: u16) -> Books {
        broker.create_topic(TOPIC, partitions).unwrap();
        let dir = trueup_testing::temp_dir("kafka").unwrap();
        let (store, config) = (dir.path().join("store"), dir.path().join("trueup.toml"));
        let brokers = broker.bootstrap();
        let toml = format!(
            "store = \"store\"\nworkers = 2\ncommit_interval = \"50ms\"\n\
             commit_max_records = 40\n\n[[source]]\nname = \"live\"\ntype = \"kafka\"\n\
             brokers = \"{brokers}\"\ntopic = \"{TOPIC}\"\n"
        );
        fs::write(&config, toml).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("message.max.bytes", "4194304")
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        Books { dir, store, config, producer, partitions: partitions.into(), sent: Vec::new() }
    }

    fn send(&mut self, lines: &[Vec<u8>]) {
        for line in lines {
            let partition = i32::try_from(self.sent.len() % self.partitions).unwrap();
            let record = BaseRecord::<str, [u8]>::to(TOPIC).partition(partition).payload(line);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
            self.sent.push(line.clone());
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn commits(&self) -> usize {
        fs::read_dir(self.store.join("commits")).map_or(0, Iterator::count)
    }

    /// Waits for so many commits.
    fn await_commits(&self, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.commits() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} commits", self.commits());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until everything that was sent is committed.
    fn await_all(&self, running: &Running) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let store = self.opened();
            let read: u64 = judge::commits(&store).iter().map(|record| record.counts().read).sum();
            if read == self.sent.len() as u64 {
                return;
            }
            let (all, said) = (self.sent.len(), running.tail(40));
            assert!(
                Instant::now() < deadline,
                "{read} of {all} are committed
{said}"
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn run(&self) -> [&str; 3] {
        ["run", "-c", text(&self.config)]
    }

    fn opened(&self) -> Arc<dyn Store> {
        Arc::new(DirectoryStore::open(&self.store).unwrap())
    }

    /// Runs until everything is committed, and returns what was read anew and what again.
    fn finish(&self) -> (u64, u64) {
        let args = [self.run().as_slice(), &["--until-caught-up", "--json"]].concat();
        let summary: serde_json::Value = serde_json::from_str(&trueup(0, &args).out).unwrap();
        let read = |field: &str| summary[field]["read"].as_u64().unwrap();
        (read("counts"), read("replayed"))
    }

    /// Checks the store against what was sent, by the reference and by the program itself.
    fn judge(&self) -> Counts {
        let mut lines = Lines::new();
        for (n, line) in self.sent.iter().enumerate() {
            let offset = (n / self.partitions) as u64;
            let position = Position { segment: "".into(), offset };
            let partition = (n % self.partitions).to_string();
            lines.entry(partition).or_default().push((position, line.clone()));
        }
        let store = self.opened();
        let counts = judge::check_lines(&store, &BTreeMap::from([("live", lines)]), Look::Last);
        assert_eq!(counts.read, self.sent.len() as u64);
        assert_eq!(judge::digests(&store), judge::expected(&self.sent));
        trueup(0, &["verify", "-c", text(&self.config)]);
        counts
    }

    /// Returns what `trueup digest` says of a run over the same records in a local log.
    fn local_log(&self) -> String {
        let (log, store) = (self.dir.path().join("log"), self.dir.path().join("local"));
        records::write_log(&log, &self.sent, 3);
        let args = ["run", "--store", text(&store), "--input", text(&log), "--until-caught-up"];
        trueup(0, &args);
        trueup(0, &["digest", "--store", text(&store)]).out
    }

    /// Removes the state, and all copies of it.
    fn lose_state(&self) {
        for folder in ["state", "checkpoints"] {
            fs::remove_dir_all(self.store.join(folder)).unwrap();
        }
    }

    /// Expects a run to end with `code` after saying all of `texts`.
    fn fails(&self, code: i32, texts: &[&str]) {
        let args = [self.run().as_slice(), &["--until-caught-up"]].concat();
        let ended = ended(TRUEUP, &args);
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        for part in texts {
            assert!(ended.err.contains(part), "{part}: {}", ended.err);
        }
    }
}

#[test]
fn killed_ten_times_it_has_the_digests_of_a_local_log() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("TRUEUP_SEED").map_or(seed, |seed| seed.parse().unwrap());
    println!("TRUEUP_SEED={seed}");
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let broker = broker();
    let mut books = Books::new(&broker, 2);
    let records = Records::generate(5_000, seed);
    let mut chunks = records.lines.chunks(450);
    for kill in 0..10 {
        books.send(chunks.next().unwrap());
        let before = books.commits();
        let mut running = started(&books.run(), books.dir.path(), "killed");
        // Some die while they still read again what is committed, most while they commit.
        if kill % 4 != 3 {
            books.await_commits(before + 1 + draw.random_range(0..5));
        }
        thread::sleep(Duration::from_micros(draw.random_range(0..100_000)));
        let status = running.kill_9().unwrap();
        assert_eq!(status.code(), None, "it ended by itself\n{}", running.tail(20));
    }
    chunks.for_each(|chunk| books.send(chunk));
    let (new, again) = books.finish();
    assert!(new + again <= 5_000, "{new} and {again}");
    let counts = books.judge();
    assert_eq!(counts.quarantined, records.summary.poison_records());
    assert_eq!(counts.duplicate, records.summary.duplicates());
    let found = trueup(0, &["digest", "--store", text(&books.store)]).out;
    assert_eq!(found, books.local_log());
}

#[test]
fn a_broker_that_dies_and_comes_back_is_survived() {
    let mut broker = broker();
    let mut books = Books::new(&broker, 2);
    let records = Records::generate(900, 82);
    books.send(&records.lines[..300]);
    let mut running = started(&books.run(), books.dir.path(), "survivor");
    books.await_commits(2);
    broker.kill().unwrap();
    thread::sleep(Duration::from_secs(2));
    assert!(running.is_running().unwrap(), "{}", running.tail(20));
    broker.restart().unwrap();
    books.send(&records.lines[300..600]);
    books.await_all(&running);
    broker.restart().unwrap();
    books.send(&records.lines[600..]);
    books.await_all(&running);
    let status = running.stop(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(0), "{}", running.tail(20));
    // How much is read again depends on when the last checkpoint was.
    assert_eq!(books.finish().0, 0);
    books.judge();
}

#[test]
fn what_is_gone_or_other_stops_the_run_with_its_name() {
    let broker = broker();
    let mut books = Books::new(&broker, 1);
    let records = Records::generate(600, 83);
    books.send(&records.lines[..200]);
    assert_eq!(books.finish(), (200, 0));
    books.judge();

    // Retention took records that were read. The state is kept, so they are needed only without it.
    broker.delete_records(TOPIC, 0, 20).unwrap();
    assert_eq!(books.finish(), (0, 0));
    books.lose_state();
    books.fails(4, &[TOPIC, "partition 0", "wanted position 0", "oldest there is 20"]);

    // A run that may begin late keeps the beginning it had, and misses what is gone later.
    let config = fs::read_to_string(&books.config).unwrap() + "start = \"oldest\"\n";
    books.store = books.dir.path().join("late");
    fs::write(&books.config, config.replace("\"store\"", "\"late\"")).unwrap();
    assert_eq!(books.finish(), (180, 0));
    assert_eq!(books.finish(), (0, 0));
    books.lose_state();
    assert_eq!(books.finish(), (0, 180));
    broker.delete_records(TOPIC, 0, 50).unwrap();
    books.fails(4, &[TOPIC, "partition 0", "oldest there is 50"]);

    // Another topic of the same name, with more and with fewer records than were read.
    for count in [400, 100] {
        broker.delete_topic(TOPIC).unwrap();
        broker.create_topic(TOPIC, 1).unwrap();
        books.send(&records.lines[200..200 + count]);
        books.fails(4, &[TOPIC, "partition 0", "wanted position"]);
    }
    broker.delete_topic(TOPIC).unwrap();
    books.fails(2, &[TOPIC, "no such topic"]);
}
