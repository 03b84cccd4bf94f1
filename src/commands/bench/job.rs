//! Runs of this program, as an operator would start them, and what is to be known of them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::Bench;
use super::figures::Run;
use crate::commands::child::{Running, free_addresses};
use crate::commands::meter;
use crate::exit;

/// How long a run that was told to stop may take to commit and to end.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// What a run reads.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// A local log or a file.
    Log(PathBuf),
    #[cfg(feature = "kafka")]
    Topic { brokers: String, topic: String },
}

/// A store, and how runs work on it.
pub(super) struct Job<'a> {
    bench: &'a Bench<'a>,
    name: String,
    input: Input,
    pub(super) workers: usize,
    pub(super) processes: usize,
    pub(super) commit_interval: Option<Duration>,
    pub(super) commit_max_records: Option<u64>,
}

/// What a run says of itself.
#[derive(Debug, Deserialize)]
struct Said {
    epochs: u64,
    cpu_ms: Option<u64>,
    peak_resident_bytes: Option<u64>,
}

impl<'a> Job<'a> {
    /// Describes a job of one process with the last of the numbers of workers.
    pub(super) fn new(bench: &'a Bench<'a>, name: impl Into<String>, input: Input) -> Job<'a> {
        Job {
            bench,
            name: name.into(),
            input,
            workers: bench.args.workers.last().copied().unwrap_or(1),
            processes: 1,
            commit_interval: bench.args.commit_interval,
            commit_max_records: None,
        }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.bench.folder.join(&self.name)
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// Removes the store, so that the next run begins anew.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        remove(&self.store())
    }

    /// Reads the input to its end, and returns what that took: from the start of the program to its
    /// end, with everything committed and the last checkpoint written.
    pub(super) fn to_end(&self, records: u64) -> anyhow::Result<Run> {
        let begun = Instant::now();
        let mut running = self.start(true)?;
        let said = running.0.iter_mut().enumerate().map(|(n, child)| self.said(n, child));
        let said: Vec<Said> = said.collect::<anyhow::Result<_>>()?;
        let wall = begun.elapsed();
        let mut run = Run::from([
            ("records", records),
            ("wall_us", micros(wall)),
            ("records_per_second", meter::per_second(records, wall)),
            ("epochs", said.iter().map(|one| one.epochs).max().unwrap_or(0)),
        ]);
        let all = |of: fn(&Said) -> Option<u64>| said.iter().map(of).sum::<Option<u64>>();
        if let Some(cpu) = all(|one| one.cpu_ms) {
            run.insert("cpu_ms", cpu);
            run.insert("cpu_ms_per_million_records", per(cpu, 1_000_000, records));
        }
        if let Some(bytes) = all(|one| one.peak_resident_bytes) {
            run.insert("peak_resident_bytes", bytes);
        }
        for (name, per_record, folder) in FOLDERS {
            let bytes = size(&self.store().join(folder))?;
            run.insert(name, bytes);
            run.insert(per_record, per(bytes, 1_000, records));
        }
        Ok(run)
    }

    /// Checks that the store has each record of the input once, and the same books as any other that
    /// was given the same name for what it read.
    pub(super) fn judge(&self, records: u64, books: &str) -> anyhow::Result<()> {
        let counts = self.bench.counts(&self.store())?;
        if (counts.read, counts.applied) != (records, records) {
            return Err(exit::difference(format!(
                "{}: of {records} records {} were read and {} applied; no time counts",
                self.name, counts.read, counts.applied
            )));
        }
        self.bench.same_books(&self.store(), books)
    }

    /// Starts the processes of a run.
    pub(super) fn start(&self, until_caught_up: bool) -> anyhow::Result<Running> {
        let config = self.bench.folder.join(format!("{}.toml", self.name));
        fs::write(&config, self.config()?).context("writing a configuration")?;
        let mut running = Running(Vec::new());
        for process in 0..self.processes {
            let words = File::create(self.words(process)).context("making a file")?;
            let mut command = Command::new(&self.bench.program);
            command.arg("run").arg("--json").arg("-c").arg(&config);
            if until_caught_up {
                command.arg("--until-caught-up");
            }
            if self.processes > 1 {
                command.arg("--process").arg(process.to_string());
            }
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words);
            let child = command.spawn();
            running.0.push(child.context("starting this program")?);
        }
        Ok(running)
    }

    /// Lets a run end by itself, after the open epoch.
    pub(super) fn stop(&self, mut running: Running) -> anyhow::Result<()> {
        for child in &running.0 {
            kill_process(Pid::from_child(child), Signal::TERM).context("stopping a run")?;
        }
        match running.left_after(STOP_PATIENCE)? {
            0 => Ok(()),
            _ => Err(exit::failed(format!("a run did not stop: {}", self.last_words(0)))),
        }
    }

    /// Waits for a process and reads what it says.
    fn said(&self, process: usize, child: &mut Child) -> anyhow::Result<Said> {
        let mut said = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut said).context("listening to a run")?;
        }
        let status = child.wait().context("waiting for a run")?;
        if !status.success() {
            let words = self.last_words(process);
            return Err(exit::failed(format!("{}: a run ended with {status}: {words}", self.name)));
        }
        serde_json::from_str(&said).with_context(|| format!("what a run said: {said}"))
    }

    fn words(&self, process: usize) -> PathBuf {
        self.bench.folder.join(format!("{}-{process}.log", self.name))
    }

    /// Returns the last of what a process said on standard error.
    pub(super) fn last_words(&self, process: usize) -> String {
        let words = fs::read(self.words(process)).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let mut last: Vec<_> = words.lines().rev().take(3).collect();
        last.reverse();
        last.join("; ")
    }

    fn config(&self) -> anyhow::Result<String> {
        // What JSON quotes, TOML reads.
        let quoted = |text: &str| serde_json::to_string(text).context("a text that is none");
        let path = |path: &Path| serde_json::to_string(path).context("a path that is no text");
        let mut config = format!("store = {}\nworkers = {}\n", path(&self.store())?, self.workers);
        if let Some(interval) = self.commit_interval {
            config += &format!("commit_interval = \"{}ms\"\n", interval.as_millis());
        }
        if let Some(records) = self.commit_max_records {
            config += &format!("commit_max_records = {records}\n");
        }
        if let Some(limit) = &self.bench.args.memory_limit {
            config += &format!("\n[state]\nmemory_limit = {}\n", quoted(limit)?);
        }
        config += "\n[[source]]\nname = \"input\"\n";
        config += &match &self.input {
            Input::Log(log) => format!("type = \"local_log\"\npath = {}\n", path(log)?),
            #[cfg(feature = "kafka")]
            Input::Topic { brokers, topic } => format!(
                "type = \"kafka\"\nbrokers = {}\ntopic = {}\n",
                quoted(brokers)?,
                quoted(topic)?
            ),
        };
        if self.processes > 1 {
            let hosts = free_addresses(self.processes);
            config += &format!("\n[cluster]\nid = \"bench\"\nhosts = {hosts:?}\n");
        }
        Ok(config)
    }
}

/// The parts of a store: the name of their size, of their size a record in thousandths, the folder.
const FOLDERS: [(&str, &str, &str); 4] = [
    ("state_bytes", "state_bytes_per_1000_records", "state"),
    ("copies_bytes", "copies_bytes_per_1000_records", "checkpoints"),
    ("deltas_bytes", "deltas_bytes_per_1000_records", "deltas"),
    ("commits_bytes", "commits_bytes_per_1000_records", "commits"),
];

/// The unit of a file's blocks, whatever those of its file system are (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// Returns how much `amount` is for `unit` things where it is for `count`.
pub(super) fn per(amount: u64, unit: u64, count: u64) -> u64 {
    let share = u128::from(amount) * u128::from(unit) / u128::from(count.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Removes a file or directory that may not be there.
pub(super) fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Returns how many bytes the files below a directory take on disk; 0 where there is none. What is
/// reserved in a file and not written yet takes nothing.
fn size(path: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).context("looking at a store"),
    };
    for entry in entries {
        let entry = entry.context("looking at a store")?;
        let about = entry.metadata().context("looking at a store")?;
        bytes += if about.is_dir() { size(&entry.path())? } else { about.blocks() * BLOCK_BYTES };
    }
    Ok(bytes)
}
