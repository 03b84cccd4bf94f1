//! Runs of this program in processes of their own, to be killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::commands::child::{self, Running, free_addresses};
use crate::exit;

/// How long a run may go without what is expected of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the processes that are left may take to end, and how long they are given where they may
/// not have met.
const LEFT_MAX: Duration = Duration::from_secs(20);
const UNMET_MAX: Duration = Duration::from_millis(500);

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// It was killed after it had committed.
    WhileCommitting,
    /// It was killed before it had.
    Before,
    /// It had ended by itself, with an error.
    Told,
}

/// How a run works that is to be killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Of several processes one is killed.
    pub(super) processes: usize,
    /// In each process.
    pub(super) workers: usize,
    pub(super) commit_max_records: u32,
    pub(super) checkpoint_interval: &'static str,
}

/// A store that is made from a log by runs that end badly.
pub(super) struct Victim {
    program: PathBuf,
    store: PathBuf,
    log: PathBuf,
    folder: PathBuf,
}

impl Victim {
    pub(super) fn new(store: &Path, log: &Path, folder: &Path) -> anyhow::Result<Victim> {
        Ok(Victim {
            program: std::env::current_exe().context("finding this program")?,
            store: store.to_owned(),
            log: log.to_owned(),
            folder: folder.to_owned(),
        })
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// What a process of the last run wrote on standard error.
    fn words(&self, process: usize) -> PathBuf {
        self.folder.join(format!("last-run-{process}.log"))
    }

    fn start(&self, manner: Manner) -> anyhow::Result<Running> {
        let config = self.folder.join("trueup.toml");
        fs::write(&config, self.config(manner)?).context("writing a configuration")?;
        let mut running = Running(Vec::new());
        for process in 0..manner.processes {
            let mut command = Command::new(&self.program);
            command.arg("run").arg("-c").arg(&config);
            if manner.processes > 1 {
                command.arg("--process").arg(process.to_string());
            }
            running.0.push(self.spawned(&mut command, process)?);
        }
        Ok(running)
    }

    fn spawned(&self, command: &mut Command, process: usize) -> anyhow::Result<Child> {
        let words = File::create(self.words(process)).context("making a file")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
        command.spawn().with_context(|| format!("starting {}", self.program.display()))
    }

    fn config(&self, manner: Manner) -> anyhow::Result<String> {
        // What JSON quotes, TOML reads.
        let quoted = |path: &Path| serde_json::to_string(path).context("a path that is no text");
        let mut config = format!(
            "store = {}\nworkers = {}\ncommit_interval = \"50ms\"\ncommit_max_records = {}\n\n\
             [state]\nmemory_limit = \"64MiB\"\ncheckpoint_interval = \"{}\"\n\n\
             [[source]]\nname = \"input\"\ntype = \"local_log\"\npath = {}\n",
            quoted(&self.store)?,
            manner.workers,
            manner.commit_max_records,
            manner.checkpoint_interval,
            quoted(&self.log)?,
        );
        if manner.processes > 1 {
            let hosts = free_addresses(manner.processes);
            config += &format!("\n[cluster]\nid = \"torture\"\nhosts = {hosts:?}\n");
        }
        Ok(config)
    }

    fn commits(&self) -> usize {
        fs::read_dir(self.store.join("commits")).map_or(0, Iterator::count)
    }

    /// Starts a run, waits for some commits of it, then `moment`, and kills process number `whom`.
    /// Those that are left have to end by themselves.
    pub(super) fn killed(
        &self,
        manner: Manner,
        commits: u32,
        moment: Duration,
        whom: usize,
    ) -> anyhow::Result<Death> {
        let before = self.commits();
        let wanted = before + commits as usize;
        let mut running = self.start(manner)?;
        let started = Instant::now();
        // Where all is read there is nothing to commit: it is killed while it waits.
        let idle = Duration::from_millis(500) * u32::try_from(manner.processes).unwrap_or(1);
        while self.commits() < wanted && started.elapsed() < idle && !running.has_lost_one()? {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(moment);
        if running.has_lost_one()? {
            // What was drawn to be killed may be what has ended; the others follow it.
            running.left_after(LEFT_MAX)?;
            return Ok(Death::Told);
        }
        running.0[whom].kill().context("killing the run")?;
        let committed = self.commits() > before;
        // Before that they may not have met, and those that are left wait for who was killed.
        let left = running.left_after(if committed { LEFT_MAX } else { UNMET_MAX })?;
        if left > 0 && committed {
            let text = format!(
                "{left} of {} processes went on for {LEFT_MAX:?} after one was killed",
                manner.processes
            );
            return Err(exit::difference(text));
        }
        Ok(if committed { Death::WhileCommitting } else { Death::Before })
    }

    /// Runs one process to the end; returns the exit code.
    pub(super) fn ended(&self) -> anyhow::Result<i32> {
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--store").arg(&self.store).arg("--input").arg(&self.log);
        let child = self.spawned(command.arg("--until-caught-up"), 0)?;
        let mut running = Running(vec![child]);
        let mut commits = self.commits();
        let mut progress = Instant::now();
        loop {
            if let Some(status) = running.0[0].try_wait().context("looking at the run")? {
                return Ok(status.code().unwrap_or(-1));
            }
            let now = self.commits();
            if now > commits {
                (commits, progress) = (now, Instant::now());
            }
            if progress.elapsed() > PATIENCE {
                anyhow::bail!("a run made no progress for {PATIENCE:?}: {}", self.last_words());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the end of what the processes of the last run said.
    pub(super) fn last_words(&self) -> String {
        let mut last = Vec::new();
        for process in 0.. {
            let Ok(words) = fs::read(self.words(process)) else { break };
            let words = String::from_utf8_lossy(&words).into_owned();
            let lines: Vec<_> = words.lines().rev().take(3).map(str::to_owned).collect();
            last.extend(lines.into_iter().rev());
        }
        last.join("; ")
    }

    /// Removes the state on disk, or damages a file of it; says whether there was anything.
    pub(super) fn damage_state(&self, draw: &mut ChaCha8Rng) -> anyhow::Result<bool> {
        let state = self.store.join("state");
        let mut files = Vec::new();
        files_of(&state, &mut files).context("looking at the state")?;
        if files.is_empty() {
            return Ok(false);
        }
        let file = &files[draw.random_range(0..files.len())];
        let removed = match draw.random_range(0..4_u32) {
            0 => Some(fs::remove_dir_all(&state)),
            1 => Some(fs::remove_file(file)),
            _ => None,
        };
        if let Some(removed) = removed {
            removed.context("removing the state")?;
            return Ok(true);
        }
        let mut bytes = fs::read(file).context("reading the state")?;
        match draw.random_range(0..3_u32) {
            _ if bytes.is_empty() => bytes.push(1),
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes.fill(0),
            _ => {
                let place = draw.random_range(0..bytes.len());
                bytes[place] ^= 0x20;
            }
        }
        fs::write(file, bytes).context("damaging the state")?;
        Ok(true)
    }

    pub(super) fn digest(&self) -> anyhow::Result<String> {
        child::digest(&self.program, &self.store)
    }

    /// Runs `trueup verify`; returns what it says where something is wrong.
    pub(super) fn verify(&self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.arg("verify").arg("--store").arg(&self.store).arg("--input").arg(&self.log);
        match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("trueup verify cannot be started: {error}")),
        }
    }
}

fn files_of(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_of(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
