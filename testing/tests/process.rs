//! Programs are read, timed and killed, outlive the thread that started them, and die with the
//! test process.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use trueup_testing::process::Running;
use trueup_testing::temp_dir;

const SOON: Duration = Duration::from_secs(20);

/// Set in the process that `a_program_dies_with_a_killed_test_process` starts and kills.
const VICTIM: &str = "TRUEUP_TESTING_VICTIM";

/// Whether the process runs. It is no question of its command line, which is empty too for the
/// moment in which the kernel puts one program in the place of another.
fn is_alive(process: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    // The state follows the name in parentheses; one that is dead but not yet reaped is a `Z`.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until `process` is the program `name` itself, no longer what ties it to its parent.
fn wait_until_it_is(process: &str, name: &str) {
    let deadline = Instant::now() + SOON;
    let command_line = || fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    while !command_line().starts_with(name.as_bytes()) {
        assert!(Instant::now() < deadline, "process {process} did not become {name}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn output_and_status_are_read() -> anyhow::Result<()> {
    let dir = temp_dir("process-")?;
    let script = "echo out; echo err >&2; exit 3";
    let mut program = Running::start(Path::new("sh"), &["-c", script], dir.path(), "sh")?;
    assert_eq!(program.wait(SOON)?.code(), Some(3));
    assert_eq!(program.stdout()?, "out\n");
    assert_eq!(program.stderr()?, "err\n");
    assert!(program.wait_for_output("err", SOON).is_ok());
    assert!(program.wait_for_output("absent", SOON).is_err());
    assert!(Running::start(Path::new("/absent/program"), &[], dir.path(), "absent").is_err());
    Ok(())
}

#[test]
fn a_program_is_stopped_or_killed() -> anyhow::Result<()> {
    let dir = temp_dir("process-")?;
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let args = ["-c", script];
    let mut program = Running::start(Path::new("sh"), &args, dir.path(), "stopped")?;
    program.wait_for_output("ready", SOON)?;
    assert!(program.wait(Duration::from_millis(50)).is_err(), "it still runs");
    assert_eq!(program.stop(SOON)?.code(), Some(7));

    let mut program = Running::start(Path::new("sh"), &args, dir.path(), "killed")?;
    program.wait_for_output("ready", SOON)?;
    assert_eq!(program.kill_9()?.code(), None);
    assert!(!program.is_running()?);
    Ok(())
}

#[test]
fn a_program_outlives_the_thread_that_started_it() -> anyhow::Result<()> {
    let dir = temp_dir("process-")?;
    let logs = dir.path().to_owned();
    let start = move || Running::start(Path::new("sleep"), &["600"], &logs, "sleep");
    let Ok(started) = thread::spawn(start).join() else { anyhow::bail!("the thread failed") };
    let mut program = started?;
    thread::sleep(Duration::from_millis(200));
    assert!(program.is_running()?);
    Ok(())
}

#[test]
fn a_program_dies_with_a_killed_test_process() -> anyhow::Result<()> {
    let dir = temp_dir("process-")?;
    if env::var_os(VICTIM).is_some() {
        let program = Running::start(Path::new("sleep"), &["600"], dir.path(), "sleep")?;
        println!("started {} in {}.", program.id(), dir.path().display());
        thread::sleep(Duration::from_secs(600));
        return Ok(());
    }
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", "a_program_dies_with_a_killed_test_process", "--nocapture"])
        .env(VICTIM, "1");
    let mut victim = Running::start_command(&command, dir.path(), "victim")?;
    let said = victim.wait_for_output(".\n", SOON)?;
    let mut words = said.split("started ").nth(1).unwrap_or_default().split([' ', '\n']);
    let process = words.next().unwrap_or_default().to_owned();
    // A parent that dies before its child has asked to die with it would leave it alive.
    wait_until_it_is(&process, "sleep");
    assert!(is_alive(&process), "{said}");
    victim.kill_9()?;
    let deadline = Instant::now() + SOON;
    while is_alive(&process) {
        assert!(Instant::now() < deadline, "process {process} outlived the one that started it");
        thread::sleep(Duration::from_millis(10));
    }
    // Nobody else deletes the directory of a killed process.
    let left = said.split(" in ").nth(1).and_then(|rest| rest.split(".\n").next());
    fs::remove_dir_all(left.unwrap_or_default())?;
    Ok(())
}
