//! The interpreter imports exactly what was asked for.

use std::process::Command;

use trueup_testing::python::{DUCKDB, PYARROW, python_with};

#[test]
fn pinned_packages_can_be_imported() -> anyhow::Result<()> {
    let python = python_with(&[DUCKDB, PYARROW])?;
    let script = "import duckdb, pyarrow\n\
                  print(f'duckdb=={duckdb.__version__} pyarrow=={pyarrow.__version__}')";
    let output = Command::new(python).args(["-c", script]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), format!("{DUCKDB} {PYARROW}"));
    Ok(())
}
