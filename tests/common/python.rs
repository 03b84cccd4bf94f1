//! Other people's readers: Python with pyarrow and DuckDB, on the files that commits name.

use std::ffi::OsStr;
use std::process::Command;

use trueup_testing::python::{DUCKDB, PYARROW, python_with};

/// Runs a script, and returns what it prints.
pub fn python(script: &str, args: &[&OsStr]) -> String {
    let python = python_with(&[PYARROW, DUCKDB]).unwrap();
    let output = Command::new(python).arg("-c").arg(script).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}
