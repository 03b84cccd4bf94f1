//! A run of this program in processes of its own, to be killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::manner::Manner;
use crate::exit::{self, Exit};

/// How long a run may go without what is expected of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a run may commit nothing before it is killed although more was wanted.
const IDLE: Duration = Duration::from_millis(500);

/// The same where processes have to meet first, and to read the log again from its beginning.
const IDLE_OF_A_CLUSTER: Duration = Duration::from_secs(3);

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

/// A store that is made from a log by runs that end badly.
pub(super) struct Victim {
    program: PathBuf,
    store: PathBuf,
    log: PathBuf,
    /// Where the last run has its configuration, and what it wrote on standard error.
    folder: PathBuf,
    processes: usize,
}

/// The processes of a run. They do not outlive this.
struct Run(Vec<Child>);

impl Drop for Run {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Errors here say that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Run {
    /// Returns the exit codes of those that have ended.
    fn codes(&mut self) -> anyhow::Result<Vec<Option<i32>>> {
        let look = |child: &mut Child| {
            let ended = child.try_wait().context("looking at the run")?;
            Ok(ended.map(|status| status.code().unwrap_or(-1)))
        };
        self.0.iter_mut().map(look).collect()
    }
}

impl Victim {
    pub(super) fn new(
        store: &Path,
        log: &Path,
        folder: &Path,
        processes: usize,
    ) -> anyhow::Result<Victim> {
        Ok(Victim {
            program: std::env::current_exe().context("finding this program")?,
            store: store.to_owned(),
            log: log.to_owned(),
            folder: folder.to_owned(),
            processes,
        })
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    fn words(&self, process: usize) -> PathBuf {
        self.folder.join(format!("last-run-{process}.log"))
    }

    fn start(&self, manner: &Manner) -> anyhow::Result<Run> {
        let file = self.folder.join("last-run.toml");
        if self.processes > 1 {
            let text = manner.file(&self.store, &self.log, self.processes)?;
            fs::write(&file, text).context("writing a configuration")?;
        }
        let mut run = Run(Vec::new());
        for process in 0..self.processes {
            let words = File::create(self.words(process)).context("making a file")?;
            let mut command = Command::new(&self.program);
            command.arg("run");
            if self.processes > 1 {
                command.arg("-c").arg(&file).args(["--process", &process.to_string()]);
            } else {
                command.arg("--store").arg(&self.store).arg("--input").arg(&self.log);
                command.args(manner.flags());
            }
            let child = command
                .args(manner.ending())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(words)
                .spawn()
                .with_context(|| format!("starting {}", self.program.display()))?;
            run.0.push(child);
        }
        Ok(run)
    }

    fn commits(&self) -> usize {
        fs::read_dir(self.store.join("commits")).map_or(0, Iterator::count)
    }

    /// Starts a run, waits for some commits of it, then a moment, and kills a process of it.
    pub(super) fn killed(
        &self,
        manner: &Manner,
        commits: u32,
        draw: &mut ChaCha8Rng,
    ) -> anyhow::Result<Death> {
        let moment = Duration::from_micros(draw.random_range(0..40_000));
        let chosen = draw.random_range(0..self.processes);
        let before = self.commits();
        let wanted = before + commits as usize;
        let mut run = self.start(manner)?;
        // Where all is read there is nothing to commit: it is killed while it waits.
        let idle = if self.processes > 1 { IDLE_OF_A_CLUSTER } else { IDLE };
        let (mut seen, mut progress) = (before, Instant::now());
        while seen < wanted && progress.elapsed() < idle {
            thread::sleep(Duration::from_millis(1));
            let now = self.commits();
            if now > seen {
                (seen, progress) = (now, Instant::now());
            }
        }
        thread::sleep(moment);
        let by_itself = run.codes()?.iter().any(Option::is_some);
        // An error here says that it is gone already.
        let _ = run.0[chosen].kill();
        run.0[chosen].wait().context("waiting for the run")?;
        let committed = self.commits() > before;
        if committed && !by_itself {
            self.bereaved(&mut run, chosen)?;
        }
        Ok(match () {
            () if by_itself => Death::Told,
            () if committed => Death::WhileCommitting,
            () => Death::Before,
        })
    }

    /// Expects of those that lost a process that they end, and say so: after a commit they have
    /// met. Before, they may wait for it as long as they were told to, and are killed instead.
    fn bereaved(&self, run: &mut Run, lost: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let failed = i32::from(Exit::Failed.code());
        loop {
            let mut codes = run.codes()?;
            codes.remove(lost);
            if codes.iter().all(|code| *code == Some(failed)) {
                return Ok(());
            }
            let other = codes.iter().flatten().any(|code| *code != failed);
            if other || Instant::now() > deadline {
                return Err(exit::difference(format!(
                    "process {lost} was killed, the others ended with {codes:?}: {}",
                    self.last_words()
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs to the end; returns the highest exit code.
    pub(super) fn ended(&self, manner: &Manner) -> anyhow::Result<i32> {
        let mut run = self.start(manner)?;
        let mut commits = self.commits();
        let mut progress = Instant::now();
        loop {
            let codes = run.codes()?;
            if let Some(codes) = codes.into_iter().collect::<Option<Vec<_>>>() {
                return Ok(codes.into_iter().max_by_key(|code| code.unsigned_abs()).unwrap_or(-1));
            }
            let now = self.commits();
            if now > commits {
                (commits, progress) = (now, Instant::now());
            }
            if progress.elapsed() > PATIENCE {
                drop(run);
                anyhow::bail!("a run made no progress for {PATIENCE:?}: {}", self.last_words());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the end of what the last run said.
    pub(super) fn last_words(&self) -> String {
        let mut said = Vec::new();
        for process in 0..self.processes {
            let words = fs::read(self.words(process)).unwrap_or_default();
            let words = String::from_utf8_lossy(&words);
            let lines: Vec<_> = words.lines().rev().take(3).collect();
            said.extend(lines.into_iter().rev().map(str::to_owned));
        }
        said.join("; ")
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
        let mut command = Command::new(&self.program);
        command.arg("digest").arg("--store").arg(&self.store).arg("--json");
        let output = command.output().context("starting the digest")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The number of the last epoch differs, and may.
        let views = text.split_once("\"views\"").map(|(_, views)| views.to_owned());
        views
            .filter(|_| output.status.success())
            .with_context(|| format!("trueup digest: {}", String::from_utf8_lossy(&output.stderr)))
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
