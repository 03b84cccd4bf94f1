//! The program itself: the binary that cargo built, run to its end or started to be killed.

use std::path::Path;
use std::process::Command;

use trueup_testing::process::Running;

pub const TRUEUP: &str = env!("CARGO_BIN_EXE_trueup");

/// How the program ended.
pub struct Ended {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end.
pub fn ended(program: &str, args: &[&str]) -> Ended {
    let output = Command::new(program).args(args).env_remove("RUST_LOG").output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `trueup` and expects an exit code.
pub fn trueup(code: i32, args: &[&str]) -> Ended {
    let ended = ended(TRUEUP, args);
    assert_eq!(ended.code, Some(code), "{args:?}: {}{}", ended.out, ended.err);
    ended
}

/// Starts `trueup`, to be killed or stopped.
pub fn started(args: &[&str], logs: &Path, name: &str) -> Running {
    Running::start(Path::new(TRUEUP), args, logs, name).unwrap()
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
