//! `trueup run --supervise`: a process that starts the run anew where it failed.
//!
//! - Only what a new start may cure is started anew: not a run that is done, nor one that found a
//!   difference, cannot be configured so, or was fenced.
//! - The first pause is a second; each is twice the one before, up to a minute. A run that lasted
//!   ten seconds has the first pause again: what kills it then comes from outside, or comes seldom.
//! - SIGINT and SIGTERM are passed on. After one of them nothing is started any more.
//! - Where this process itself is killed, the run stops (on Linux).

use std::env;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::note;
use crate::exit::Exit;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// After what time a run counts as one that works.
const WELL: Duration = Duration::from_secs(10);

/// How often signals and the run are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The flag by which this was asked for, and the one that the run itself is started with.
const FLAG: &str = "--supervise";
const RUN_FLAG: &str = "--supervised";

/// Runs this program again and again until it needs no new start. Returns the exit code.
///
/// # Errors
/// Where the program cannot be started, or signals cannot be heard.
pub(super) fn supervise() -> anyhow::Result<u8> {
    let program = env::current_exe().context("finding this program")?;
    let replaced = |arg| if arg == FLAG { RUN_FLAG.into() } else { arg };
    let args: Vec<OsString> = env::args_os().skip(1).map(replaced).collect();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening for signals")?;
    let mut backoff = Backoff { next: PAUSE_MIN };
    loop {
        let started = Instant::now();
        let child = Command::new(&program)
            .args(&args)
            // A Ctrl-C goes to the whole group of a terminal; the run gets it from here, once.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let (status, signalled) = wait(child, &mut signals)?;
        let code = code_of(status);
        if signalled || !worth_another_start(code) {
            return Ok(code);
        }
        let pause = backoff.after(started.elapsed());
        note(&format!("the run ended with {status}; starting it again in {pause:?}"));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if signals.pending().next().is_some() {
                note("stopped before the next start");
                return Ok(Exit::Done.code());
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Lets a supervised run stop in good order where its supervisor is gone: the next one starts
/// another run.
pub(super) fn stop_with_supervisor() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .context("asking to be told of the end of the supervisor")?;
    Ok(())
}

/// Waits for a run to end, and passes signals on. Returns whether there were any.
fn wait(mut child: Child, signals: &mut Signals) -> anyhow::Result<(ExitStatus, bool)> {
    let mut signalled = false;
    loop {
        for signal in signals.pending() {
            signalled = true;
            let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
            // It may have ended this moment; it was not waited for, so the number is still its own.
            let _ = kill_process(Pid::from_child(&child), signal);
        }
        if let Some(status) = child.try_wait().context("waiting for the run")? {
            return Ok((status, signalled));
        }
        std::thread::sleep(LOOK);
    }
}

/// Returns the exit code that tells of a status, as shells do for a program that a signal ended.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failed.code())
}

fn worth_another_start(code: u8) -> bool {
    ![Exit::Done, Exit::Difference, Exit::Usage, Exit::Fenced].map(Exit::code).contains(&code)
}

/// How long to wait before the next start.
struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Returns the pause after a run that lasted so long.
    fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= WELL {
            self.next = PAUSE_MIN;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_begin_anew_after_a_run_that_was_well() {
        let mut backoff = Backoff { next: PAUSE_MIN };
        let mut pause = |lasted| backoff.after(Duration::from_secs(lasted)).as_secs();
        let pauses: Vec<_> = [1, 0, 9, 2, 0, 0, 0, 0].map(&mut pause).to_vec();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!([10, 0].map(pause), [1, 2]);
    }

    #[test]
    fn only_what_a_new_start_may_cure_gets_one() {
        for (code, again) in
            [(0, false), (1, false), (2, false), (3, false), (4, true), (101, true)]
        {
            assert_eq!(worth_another_start(code), again, "{code}");
        }
        assert!(worth_another_start(code_of(ExitStatus::from_raw(9))));
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
    }
}
