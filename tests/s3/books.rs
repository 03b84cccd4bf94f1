//! The program on object storage: the same books as in a directory, killed, raced and cut off.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trueup_sinks::{BucketStore, Store};
use trueup_testing::process::Running;
use trueup_testing::s3::S3Server;

use crate::judge::{self, Look};
use crate::program::{self, Ended, TRUEUP, text};
use crate::proxy::Proxy;
use crate::records::{self, Records};
use crate::{BUCKET, config, server};

const PATIENCE: Duration = Duration::from_secs(90);
const URL: &str = "s3://books/acme";
const PREFIX: &str = "acme";

/// A log, the server, and the store on it that is made from the log.
struct Books {
    server: S3Server,
    dir: TempDir,
    log: PathBuf,
    records: Records,
    /// Where the program finds the server, if not where it is.
    endpoint: Option<String>,
}

impl Books {
    fn new(events: u64, seed: u64) -> Books {
        let dir = trueup_testing::temp_dir("books").unwrap();
        let log = dir.path().join("live.jsonl");
        let records = Records::generate(events, seed);
        records::write_lines(&log, &records.lines);
        Books { server: server(), dir, log, records, endpoint: None }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(TRUEUP);
        command.args(args).env_remove("RUST_LOG").envs(self.server.environment());
        // The state of a store in a bucket is kept where the program is started.
        command.current_dir(self.dir.path());
        if let Some(endpoint) = &self.endpoint {
            command.env("AWS_ENDPOINT_URL", endpoint);
        }
        command
    }

    fn ended(&self, args: &[&str]) -> Ended {
        let output = self.command(args).output().unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn trueup(&self, code: i32, args: &[&str]) -> Ended {
        let ended = self.ended(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}{}", ended.out, ended.err);
        ended
    }

    fn run<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let args = ["run", "--store", URL, "--input", text(&self.log), "--until-caught-up"];
        [args.as_slice(), more].concat()
    }

    fn start(&self, more: &[&str], name: &str) -> Running {
        Running::start_command(&self.command(&self.run(more)), self.dir.path(), name).unwrap()
    }

    fn commits(&self) -> usize {
        let commits = self.server.bucket(BUCKET).join(PREFIX).join("commits");
        std::fs::read_dir(commits).map_or(0, Iterator::count)
    }

    fn await_commits(&self, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.commits() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} commits", self.commits());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn digest(&self) -> String {
        self.trueup(0, &["digest", "--store", URL]).out
    }

    /// Returns what `trueup digest` says of a run into a directory.
    fn directory(&self) -> String {
        let store = self.dir.path().join("directory");
        let args = ["run", "--store", text(&store), "--input", text(&self.log)];
        program::trueup(0, &[args.as_slice(), &["--until-caught-up"]].concat());
        program::trueup(0, &["digest", "--store", text(&store)]).out
    }

    /// Checks the store by the reference, by the program itself, and against a directory.
    fn judge(&self) {
        let config = config(&self.server.endpoint(), PREFIX);
        let store: Arc<dyn Store> = Arc::new(BucketStore::open_existing(config).unwrap());
        let counts = judge::check(&store, &[("input", &self.log)], Look::Last);
        assert_eq!(counts.read, self.records.lines.len() as u64);
        assert_eq!(counts.duplicate, self.records.summary.duplicates());
        assert_eq!(judge::digests(&store), judge::expected(&self.records.lines));
        self.trueup(0, &["verify", "--store", URL, "--input", text(&self.log)]);
        assert_eq!(self.digest(), self.directory());
    }
}

#[test]
fn every_command_works_as_on_a_directory() {
    let books = Books::new(2_000, 91);
    let empty = books.trueup(2, &["query", "balances", "--store", URL]);
    assert!(empty.err.contains("no commits in s3://books/acme yet"), "{}", empty.err);
    let run = books.trueup(0, &books.run(&["--commit-max-records", "400", "--workers", "2"]));
    assert!(run.err.contains("caught up at epoch 5"), "{}", run.err);
    books.judge();
    let rows = books.trueup(0, &["query", "balances", "--store", URL, "--format", "csv"]).out;
    let first = rows.lines().skip(1).find(|line| !line.contains('"')).unwrap();
    let [tenant, account] = [0, 1].map(|column| first.split(',').nth(column).unwrap());
    let explain = ["explain", "--store", URL, "--tenant", tenant, "--account", account];
    assert!(books.trueup(0, &explain).out.contains("adds up"));
    // Once more: nothing new, and nothing is published again.
    books.trueup(0, &books.run(&["--commit-max-records", "400"]));
    assert_eq!(books.commits(), 5);
}

#[test]
fn a_file_configures_it_and_check_says_what_is_wrong() {
    let books = Books::new(300, 92);
    let path = books.dir.path().join("trueup.toml");
    let configure = |store: &str, options: &str| {
        let toml = format!(
            "store = \"{store}\"\n[store_options]\n{options}\n[[source]]\nname = \"input\"\n\
             type = \"local_log\"\npath = \"live.jsonl\"\n"
        );
        std::fs::write(&path, toml).unwrap();
    };
    // Here the file knows where, and the environment only who.
    let with_keys = |code: i32, args: &[&str], key: &str| {
        let mut command = books.command(args);
        command.env_remove("AWS_ENDPOINT_URL").env_remove("AWS_REGION");
        let output = command.env("AWS_SECRET_ACCESS_KEY", key).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    let good = format!("endpoint = \"{}\"\nregion = \"us-east-1\"", books.server.endpoint());
    configure(URL, &good);
    let check = ["check", "-c", text(&path)];
    assert!(with_keys(0, &check, S3Server::SECRET).contains("store: s3://books/acme\n"));
    let run = ["run", "-c", text(&path), "--until-caught-up"];
    with_keys(0, &run, S3Server::SECRET);
    with_keys(0, &["verify", "-c", text(&path)], S3Server::SECRET);

    let said = with_keys(2, &check, "wrong");
    assert!(said.contains("does not accept the credentials"), "{said}");
    assert!(!said.contains("wrong"), "{said}");
    assert!(with_keys(4, &run, "wrong").contains("does not accept the credentials"));
    configure("s3://absent/acme", &good);
    let said = with_keys(2, &check, S3Server::SECRET);
    assert!(said.contains("store: ") && said.contains("there is no such bucket"), "{said}");
    assert!(with_keys(4, &run, S3Server::SECRET).contains("there is no such bucket"));
    configure(URL, "endpoint = \"http://127.0.0.1:1\"");
    let said = with_keys(2, &check, S3Server::SECRET);
    assert!(said.contains("the storage does not answer"), "{said}");
    configure(URL, "endpoint = \"http://192.0.2.1\"");
    let said = with_keys(2, &check, S3Server::SECRET);
    assert!(said.contains("line 3: store_options.endpoint"), "{said}");
}

#[test]
fn of_two_that_race_one_history_is_left() {
    for seed in 0..3 {
        let books = Books::new(3_000, 93 + seed);
        let cut = ["--commit-max-records", "60", "--workers", "1"];
        // Two machines: each has a state of its own.
        let mut racers = ["one", "two"]
            .map(|name| books.start(&[cut.as_slice(), &["--state", name]].concat(), name));
        let codes = racers.each_mut().map(|racer| racer.wait(PATIENCE).unwrap().code());
        println!("seed {seed}: {codes:?}");
        for (code, racer) in codes.iter().zip(&racers) {
            assert!(matches!(code, Some(0 | 3)), "{code:?}\n{}", racer.tail(20));
            if *code == Some(3) {
                assert!(racer.stderr().unwrap().contains("another"), "{}", racer.tail(20));
            }
        }
        assert!(codes.contains(&Some(0)), "{codes:?}");
        assert_eq!(books.commits(), 50);
        books.judge();
    }
}

#[test]
fn killed_again_and_again_it_has_the_same_digest() {
    let books = Books::new(4_000, 97);
    let cut = ["--commit-max-records", "50", "--workers", "2"];
    for kill in 0..5 {
        let before = books.commits();
        let mut running = books.start(&cut, "killed");
        books.await_commits(before + 2 + kill);
        thread::sleep(Duration::from_millis(7 * kill as u64));
        let status = running.kill_9().unwrap();
        assert_eq!(status.code(), None, "it ended by itself\n{}", running.tail(20));
    }
    assert!(books.commits() < 80);
    books.trueup(0, &books.run(&cut));
    books.judge();
}

#[test]
fn a_machine_without_its_disk_goes_on_from_the_copies() {
    let mut books = Books::new(3_000, 101);
    let all = books.records.lines.split_off(2_000);
    records::write_lines(&books.log, &books.records.lines);
    books.trueup(0, &books.run(&["--commit-max-records", "400"]));
    std::fs::remove_dir_all(books.dir.path().join("trueup-state")).unwrap();
    records::append_lines(&books.log, &all);
    books.records.lines.extend(all);
    let run = books.trueup(0, &books.run(&["--json", "--workers", "3"]));
    let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let read = |field: &str| summary[field]["read"].as_u64().unwrap();
    assert_eq!((read("counts"), read("replayed")), (1_000, 0), "{}", run.err);
    books.judge();
}

#[test]
fn lost_replies_change_nothing() {
    let mut books = Books::new(1_500, 98);
    let proxy = Proxy::start(books.server.port());
    proxy.lose_every(7);
    books.endpoint = Some(proxy.endpoint());
    books.trueup(0, &books.run(&["--commit-max-records", "100", "--workers", "2"]));
    assert!(proxy.changes() > 70, "{} changes", proxy.changes());
    books.judge();
}

#[test]
fn storage_that_goes_away_ends_the_run_and_the_next_goes_on() {
    let mut books = Books::new(4_000, 99);
    let mut running = books.start(&["--commit-max-records", "20"], "cut");
    books.await_commits(3);
    books.server.kill().unwrap();
    let status = running.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(4), "{}", running.tail(20));
    let said = running.stderr().unwrap();
    assert!(said.contains("start again"), "{said}");
    books.server.restart().unwrap();
    books.trueup(0, &books.run(&[]));
    books.judge();
}
