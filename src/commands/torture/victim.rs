//! A run of this program in a process of its own, to be killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// How long a run may go without what is expected of it.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// What the last run wrote on standard error.
    words: PathBuf,
}

impl Victim {
    pub(super) fn new(store: &Path, log: &Path, folder: &Path) -> anyhow::Result<Victim> {
        Ok(Victim {
            program: std::env::current_exe().context("finding this program")?,
            store: store.to_owned(),
            log: log.to_owned(),
            words: folder.join("last-run.log"),
        })
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    fn start(&self, flags: &[String]) -> anyhow::Result<Child> {
        let words = File::create(&self.words).context("making a file")?;
        Command::new(&self.program)
            .arg("run")
            .arg("--store")
            .arg(&self.store)
            .arg("--input")
            .arg(&self.log)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))
    }

    fn commits(&self) -> usize {
        fs::read_dir(self.store.join("commits")).map_or(0, Iterator::count)
    }

    /// Starts a run, waits for some commits of it, then `moment`, and kills it.
    pub(super) fn killed(
        &self,
        flags: &[String],
        commits: u32,
        moment: Duration,
    ) -> anyhow::Result<Death> {
        let before = self.commits();
        let wanted = before + commits as usize;
        let mut child = self.start(flags)?;
        let started = Instant::now();
        // Where all is read there is nothing to commit: it is killed while it waits.
        let enough = || self.commits() >= wanted || started.elapsed() > Duration::from_millis(500);
        while !enough() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(moment);
        let by_itself = child.try_wait().context("looking at the run")?.is_some();
        // An error here says that it is gone already.
        let _ = child.kill();
        child.wait().context("waiting for the run")?;
        Ok(match () {
            () if by_itself => Death::Told,
            () if self.commits() > before => Death::WhileCommitting,
            () => Death::Before,
        })
    }

    /// Runs to the end; returns the exit code.
    pub(super) fn ended(&self, flags: &[String]) -> anyhow::Result<i32> {
        let mut child = self.start(flags)?;
        let mut commits = self.commits();
        let mut progress = Instant::now();
        loop {
            if let Some(status) = child.try_wait().context("looking at the run")? {
                return Ok(status.code().unwrap_or(-1));
            }
            let now = self.commits();
            if now > commits {
                (commits, progress) = (now, Instant::now());
            }
            if progress.elapsed() > PATIENCE {
                let _ = child.kill();
                child.wait().context("waiting for the run")?;
                anyhow::bail!("a run made no progress for {PATIENCE:?}: {}", self.last_words());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the end of what the last run said.
    pub(super) fn last_words(&self) -> String {
        let words = fs::read(&self.words).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let lines: Vec<_> = words.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("; ")
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
