//! The steps by which a program makes something durable or visible in a directory: watched, and one
//! of them made its last, refused, or belied. And the power cut: what was not synced is lost.
//!
//! ```text
//! Shim::build() ─ `cc`, once ─ a library that is loaded into the program (`testing/shim/steps.c`)
//! Trial::new(under) ─ command(program, plan) ─ the program runs ─ steps() ─ power_cut()
//! ```
//!
//! A step is a system call that succeeds in changing what is below the directory, or in syncing it;
//! whoever makes the call, so no library escapes. Steps of several threads are taken one after the
//! other, so that "after the 17th step" is one state of the disk.
//!
//! Needed on the machine: Linux with `/proc`, a C compiler called `cc`, and the kernel's headers.

mod power;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::prepared::prepare;
use crate::target_dir;

pub use power::Lost;

const SOURCE: &str = include_str!("../shim/steps.c");

/// The library that is loaded into programs.
#[derive(Clone, Debug)]
pub struct Shim {
    library: PathBuf,
}

impl Shim {
    /// Compiles the library, if no test on this machine did before.
    ///
    /// # Errors
    /// Where there is no C compiler (the error says what to install).
    pub fn build() -> anyhow::Result<Shim> {
        let dir = target_dir().join("trueup-steps");
        prepare(&dir, SOURCE, |dir| {
            let source = dir.join("steps.c");
            fs::write(&source, SOURCE)?;
            let output = Command::new("cc")
                .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o"])
                .arg(dir.join("steps.so"))
                .arg(&source)
                .output()
                .context("a C compiler is needed: install gcc and libc6-dev, so that `cc` works")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`cc` ended with {}\n{said}", output.status);
            Ok(())
        })?;
        Ok(Shim { library: dir.join("steps.so") })
    }
}

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: all steps are taken.
    Watch,
    /// The program is killed by SIGKILL before it.
    KillBefore,
    /// The program is killed after it.
    KillAfter,
    /// The program is killed after the first half of a write; after any other step as a whole.
    KillTorn,
    /// From this step on the volume is full; a write is still taken by half.
    Full,
    /// This step and all that follow fail with EIO.
    Fail,
    /// This sync and all that follow say that it is done, and do nothing.
    Lie,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Action::Watch => "watch",
            Action::KillBefore => "before",
            Action::KillAfter => "after",
            Action::KillTorn => "torn",
            Action::Full => "full",
            Action::Fail => "fail",
            Action::Lie => "lie",
        }
    }
}

/// Which step is chosen, and what happens there.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What happens.
    pub action: Action,
    /// At which of the steps that match, from 1.
    pub at: usize,
    /// The call that matches, or `*`.
    pub call: String,
    /// The pattern of fnmatch(3) that the kind of file matches, see [`Step::kind`].
    pub kind: String,
}

impl Plan {
    /// Lets everything happen.
    #[must_use]
    pub fn watch() -> Plan {
        Plan::at(Action::Watch, 0)
    }

    /// Acts at a step, counted over all.
    #[must_use]
    pub fn at(action: Action, at: usize) -> Plan {
        Plan { action, at, call: "*".to_owned(), kind: "*".to_owned() }
    }
}

/// A step that a program took or was about to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// create, write, sync, rename, link, unlink, mkdir, rmdir or truncate.
    pub call: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The path below the directory; `.` is the directory itself.
    pub path: PathBuf,
    /// Where a rename or link leads.
    pub to: Option<PathBuf>,
    /// Where a write began.
    offset: u64,
    /// How long a write is, or the file after a truncation.
    bytes: u64,
    /// Under which name what it removed is kept.
    grave: Option<String>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Done,
    /// The system refused it, or the shim did.
    Failed,
    /// The shim said it was done, and did nothing.
    Lied,
    /// The program was killed before it, and it was not taken.
    KilledBefore,
    /// It was taken as far as the journal says, and then the program was killed.
    Killed,
}

impl Step {
    /// Returns the path that matters with words that have digits, and temporary names, as `#`:
    /// equal for what is the same in every run.
    #[must_use]
    pub fn kind(&self) -> String {
        let path = self.to.as_ref().unwrap_or(&self.path).display().to_string();
        let mut kind = String::new();
        let mut rest = path.as_str();
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let word = &rest[..end];
            if word.len() > 3 && word.starts_with("tmp") {
                kind.push_str("tmp#");
            } else if word.contains(|c: char| c.is_ascii_digit()) {
                kind.push('#');
            } else {
                kind.push_str(word);
            }
            rest = &rest[end..];
            if end == 0 {
                kind.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        kind
    }

    /// Returns where a write ended in its file, or a truncated file ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }

    /// Whether it changed or synced anything.
    #[must_use]
    pub fn happened(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Killed)
    }

    fn parse(line: &str) -> anyhow::Result<Step> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [call, outcome, path, to, offset, bytes, grave] = fields[..] else {
            bail!("a line of the journal has {} fields: {line}", fields.len());
        };
        let given = |field: &str| (field != "-").then(|| field.to_owned());
        Ok(Step {
            call: call.to_owned(),
            outcome: match outcome {
                "done" => Outcome::Done,
                "failed" | "refused" => Outcome::Failed,
                "lied" => Outcome::Lied,
                "before" => Outcome::KilledBefore,
                "after" | "torn" => Outcome::Killed,
                other => bail!("an outcome of the journal is {other}"),
            },
            path: PathBuf::from(path),
            to: given(to).map(PathBuf::from),
            offset: offset.parse()?,
            bytes: bytes.parse()?,
            grave: given(grave),
        })
    }
}

/// One watched run of a program.
#[derive(Debug)]
pub struct Trial {
    shim: Shim,
    under: PathBuf,
    /// The journal, and what was removed. On the file system of `under`, so that it can be linked.
    dir: TempDir,
}

impl Trial {
    /// Prepares to watch what happens below `under`, an absolute path that need not exist.
    ///
    /// # Errors
    /// Where no directory can be made beside `under`.
    pub fn new(shim: &Shim, under: &Path) -> anyhow::Result<Trial> {
        let beside = under.parent().context("the root cannot be watched")?;
        let dir = tempfile::Builder::new().prefix("steps-").tempdir_in(beside)?;
        fs::create_dir(dir.path().join("graves"))?;
        Ok(Trial { shim: shim.clone(), under: under.to_owned(), dir })
    }

    /// Returns the command that runs a program so that it is watched. One a trial; the program must
    /// not start others.
    #[must_use]
    pub fn command(&self, program: &Path, args: &[&str], plan: &Plan) -> Command {
        let folder = self.dir.path();
        let settings: [(&str, OsString); 8] = [
            ("LD_PRELOAD", self.shim.library.clone().into()),
            ("STEPS_UNDER", self.under.clone().into()),
            ("STEPS_JOURNAL", self.journal().into()),
            ("STEPS_GRAVES", folder.join("graves").into()),
            ("STEPS_ACTION", plan.action.name().into()),
            ("STEPS_AT", plan.at.to_string().into()),
            ("STEPS_CALL", plan.call.clone().into()),
            ("STEPS_KIND", plan.kind.clone().into()),
        ];
        // By `env`, since whoever starts the command may put a program before it, and a watch that
        // began in that one would go on in ours as a filter without a handler.
        let mut command = Command::new("env");
        for (name, value) in settings {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            command.arg(setting);
        }
        command.arg(program).args(args);
        command
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// Returns the steps of the program in their order, once it has ended.
    ///
    /// # Errors
    /// Where the journal cannot be read: the program was not watched.
    pub fn steps(&self) -> anyhow::Result<Vec<Step>> {
        let text = fs::read_to_string(self.journal()).context("the program was not watched")?;
        text.lines().map(Step::parse).collect()
    }

    /// Cuts the power: of what the program wrote and did not sync, loses as much as `keep` says.
    ///
    /// `keep` is asked with a number of things in a row (changes of one folder's entries, pieces
    /// written to one file), and says how many of the first of them are kept.
    ///
    /// # Errors
    /// Where the program did something that this cannot undo.
    pub fn power_cut(&self, keep: impl FnMut(usize) -> usize) -> anyhow::Result<Lost> {
        power::cut(&self.under, &self.dir.path().join("graves"), &self.steps()?, keep)
    }
}
