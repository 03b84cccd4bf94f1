//! A program under test: started with its output in files, killed, timed and read.
//!
//! Guarantees: dropping a [`Running`] kills the program and reaps it. Where util-linux's `setpriv`
//! is installed (every Debian, Ubuntu, Fedora), the program also dies when the test process itself
//! is killed with SIGKILL, because the kernel then sends it SIGKILL too.
//!
//! The kernel ties a child to the *thread* that started it, and a test's thread ends with the test,
//! so one thread that never ends starts all programs. A program may thus be kept in a `static` and
//! be shared by several tests.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};

/// How often a waiting call looks again.
const POLL: Duration = Duration::from_millis(10);

/// A started program, which is killed when this value is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `program` with `args`; its output goes to `<name>.out` and `<name>.err` in `logs`.
    ///
    /// # Errors
    /// When the program does not exist or the files cannot be opened.
    pub fn start(
        program: &Path,
        args: &[&str],
        logs: &Path,
        name: &str,
    ) -> anyhow::Result<Running> {
        let mut command = Command::new(program);
        command.args(args);
        Running::start_command(&command, logs, name)
    }

    /// Starts `command`, of which the program, arguments, directory and changed environment
    /// variables are used. Standard input is empty; output is appended to what the files hold.
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_command(command: &Command, logs: &Path, name: &str) -> anyhow::Result<Running> {
        let program = Path::new(command.get_program());
        // Through `setpriv` a missing program would only show as exit status 127.
        if program.components().count() > 1 && !program.exists() {
            bail!("cannot start {name}: there is no program {}", program.display());
        }
        let stdout = logs.join(format!("{name}.out"));
        let stderr = logs.join(format!("{name}.err"));
        let mut tied = tied_to_this_process(command);
        tied.stdin(Stdio::null()).stdout(appending(&stdout)?).stderr(appending(&stderr)?);
        let child = start_on_lasting_thread(tied)
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Running { name: name.to_owned(), child, stdout, stderr })
    }

    /// The process id, valid until the program was waited for.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program has not ended yet.
    ///
    /// # Errors
    /// When the operating system does not know the process.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        let ended = self.child.try_wait().with_context(|| format!("cannot poll {}", self.name))?;
        Ok(ended.is_none())
    }

    /// Waits until the program ends by itself.
    ///
    /// # Errors
    /// When it still runs after `timeout`; the error ends with its last output, and the program is
    /// left running.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        match self.wait_quietly(timeout)? {
            Some(status) => Ok(status),
            None => bail!("{} still runs after {timeout:?}\n{}", self.name, self.tail(40)),
        }
    }

    /// Waits until standard output or standard error contains `text`, and returns all of both.
    ///
    /// # Errors
    /// When the program ends or `timeout` passes first; the error ends with its last output.
    pub fn wait_for_output(&mut self, text: &str, timeout: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            // The order matters: what an ended program wrote is all there to read.
            let running = self.is_running()?;
            let output = self.stdout()? + &self.stderr()?;
            if output.contains(text) {
                return Ok(output);
            }
            if !running {
                bail!("{} ended without writing {text:?}\n{}", self.name, self.tail(40));
            }
            if Instant::now() >= deadline {
                bail!("{} did not write {text:?} in {timeout:?}\n{}", self.name, self.tail(40));
            }
            thread::sleep(POLL);
        }
    }

    /// Kills the program with SIGKILL, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    /// When the operating system refuses. A program that has already ended is no error.
    pub fn kill_9(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Asks the program to stop with SIGTERM, and kills it if it still runs after `patience`.
    ///
    /// The status tells the two apart: one that was killed has no exit code.
    ///
    /// # Errors
    /// As [`Running::kill_9`].
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        // Polling first matters: the id of a program that was waited for may be another's by now.
        if self.is_running()? {
            rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)
                .with_context(|| format!("cannot send SIGTERM to {}", self.name))?;
        }
        match self.wait_quietly(patience)? {
            Some(status) => Ok(status),
            None => self.kill_9(),
        }
    }

    /// Sends SIGINT, as Ctrl-C does, and does not wait.
    ///
    /// # Errors
    /// When the operating system refuses. A program that has already ended is no error.
    pub fn interrupt(&mut self) -> anyhow::Result<()> {
        if self.is_running()? {
            rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT)
                .with_context(|| format!("cannot send SIGINT to {}", self.name))?;
        }
        Ok(())
    }

    /// Everything the program has written to standard output so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stdout(&self) -> anyhow::Result<String> {
        read(&self.stdout)
    }

    /// Everything the program has written to standard error so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn stderr(&self) -> anyhow::Result<String> {
        read(&self.stderr)
    }

    /// The last `lines` lines of both outputs, to be put at the end of an error.
    pub fn tail(&self, lines: usize) -> String {
        let mut text = String::new();
        for path in [&self.stdout, &self.stderr] {
            let written = read(path).unwrap_or_default();
            let skipped = written.lines().count().saturating_sub(lines);
            for line in written.lines().skip(skipped) {
                text.push_str("  | ");
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    fn wait_quietly(&mut self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            let ended =
                self.child.try_wait().with_context(|| format!("cannot poll {}", self.name))?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a program that is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn appending(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // A running program may have written half a character.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Wraps `command` so that the kernel kills it with this process; `setpriv` keeps the process id.
fn tied_to_this_process(command: &Command) -> Command {
    let mut tied = if setpriv_works() {
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        tied
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(name, value),
            None => tied.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    tied
}

/// Whether `setpriv` is there and is util-linux's; busybox has one that lacks the option.
fn setpriv_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

fn start_on_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        // Without the thread the receiver is dropped, and each order then fails below.
        let _ = thread::Builder::new().name("starter".to_owned()).spawn(move || {
            for Order { mut command, answer } in orders {
                // The caller waits for this answer, so that sending it cannot fail.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts programs is gone");
    let (answer, started) = mpsc::channel();
    starter.send(Order { command, answer }).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}
