//! The watch over a program's steps, and the power cut, on a few calls of Python.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use trueup_testing::steps::{Action, Plan, Shim, Step, Trial};

/// Writes `one`, syncs it, writes `two` behind it, links and removes, and syncs a folder at the
/// end.
const PROGRAM: &str = r#"
import os, sys
os.chdir(sys.argv[1])
os.mkdir("folder")
file = os.open("folder/a-1", os.O_CREAT | os.O_WRONLY)
os.write(file, b"one")
os.fsync(file)
os.write(file, b"two")
os.link("folder/a-1", "b-2")
os.unlink("folder/a-1")
os.rename("b-2", "old")
folder = os.open(".", os.O_RDONLY)
os.fsync(folder)
print("the end")
"#;

struct Run {
    trial: Trial,
    under: PathBuf,
    said: String,
    killed: bool,
    dir: TempDir,
}

impl Run {
    fn steps(&self) -> Vec<Step> {
        self.trial.steps().unwrap()
    }

    fn content(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.under.join(name)).ok()
    }
}

/// Runs the program; where `old` is there already, it has the content `before`.
fn run(plan: &Plan) -> Run {
    let dir = trueup_testing::temp_dir("steps-").unwrap();
    let under = dir.path().join("under");
    fs::create_dir(&under).unwrap();
    fs::write(under.join("old"), "before").unwrap();
    let trial = Trial::new(&Shim::build().unwrap(), &under).unwrap();
    let args = ["-c", PROGRAM, under.to_str().unwrap()];
    let output = trial.command(&python(), &args, plan).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Run { trial, under, said, killed: output.status.code().is_none(), dir }
}

/// The interpreter itself: what is called `python3` may be a script that starts it.
fn python() -> PathBuf {
    let tell = ["-c", "import sys; print(sys.executable)"];
    let output = Command::new("python3").args(tell).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn plan(action: Action, call: &str, kind: &str) -> Plan {
    Plan { action, at: 1, call: call.to_owned(), kind: kind.to_owned() }
}

#[test]
fn every_step_is_told_in_order() {
    let run = run(&Plan::watch());
    assert!(run.said.contains("the end"), "{}", run.said);
    let told: Vec<String> =
        run.steps().iter().map(|step| format!("{} {}", step.call, step.kind())).collect();
    let expected = [
        "mkdir folder",
        "create folder/a-#",
        "write folder/a-#",
        "sync folder/a-#",
        "write folder/a-#",
        "link b-#",
        "unlink folder/a-#",
        "rename old",
        "sync .",
    ];
    assert_eq!(told, expected);
    assert!(run.dir.path().is_dir());
}

#[test]
fn the_chosen_step_is_the_last() {
    let before = run(&plan(Action::KillBefore, "link", "b-#"));
    assert!(before.killed && before.content("b-2").is_none(), "{}", before.said);
    let after = run(&plan(Action::KillAfter, "link", "b-#"));
    assert!(after.killed && after.content("folder/a-1").is_some(), "{}", after.said);
    assert_eq!(after.content("b-2").as_deref(), Some("onetwo"));
    let torn = run(&Plan { at: 2, ..plan(Action::KillTorn, "write", "*") });
    assert!(torn.killed, "{}", torn.said);
    assert_eq!(torn.content("folder/a-1").as_deref(), Some("onet"));
    let by_number = run(&Plan::at(Action::KillAfter, 2));
    assert_eq!(by_number.steps().len(), 2);
    assert_eq!(by_number.content("folder/a-1").as_deref(), Some(""));
}

#[test]
fn the_system_refuses_as_it_is_told() {
    for (action, call, says) in [
        (Action::Full, "*", "No space left on device"),
        (Action::Full, "write", "No space left on device"),
        (Action::Fail, "sync", "Input/output error"),
    ] {
        let run = run(&plan(action, call, "*"));
        assert!(run.said.contains(says) && !run.killed, "{action:?}: {}", run.said);
    }
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
    // The folder above was synced after everything; its content was after the first write.
    let done = run(&Plan::watch());
    done.trial.power_cut(|_| 0).unwrap();
    assert_eq!(done.content("old").as_deref(), Some("one"));
    // The removal was not synced, nor was the creation before it.
    assert_eq!(done.content("folder/a-1"), None);

    let lies = run(&plan(Action::Lie, "sync", "."));
    let lost = lies.trial.power_cut(|_| 0).unwrap();
    assert_eq!((lost.files, lost.entries), (1, 5), "{lost:?}");
    assert_eq!(lies.content("old").as_deref(), Some("before"));
    assert!(!lies.under.join("folder").exists() && !lies.under.join("b-2").exists());

    // Of the folder's two changes the first is kept, and of the others none.
    let some = run(&plan(Action::KillAfter, "unlink", "*"));
    some.trial.power_cut(|most| most.min(1)).unwrap();
    assert_eq!(some.content("folder/a-1").as_deref(), Some("onetwo"));
    assert_eq!(some.content("b-2"), None);
    assert_eq!(some.content("old").as_deref(), Some("before"));

    let all = run(&plan(Action::KillAfter, "rename", "*"));
    all.trial.power_cut(|most| most).unwrap();
    assert_eq!(all.content("old").as_deref(), Some("onetwo"));
}
