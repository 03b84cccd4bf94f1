//! A Python interpreter with pinned packages, to check what trueup writes with independent readers.
//!
//! The virtual environment is made once per set of packages, under [`target_dir`].

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::prepared::prepare;
use crate::target_dir;

/// DuckDB, as `pip` names it.
pub const DUCKDB: &str = "duckdb==2.0.0";

/// Arrow and Parquet for Python, as `pip` names it.
pub const PYARROW: &str = "pyarrow==26.0.1";

/// Returns a Python whose `import` finds `packages`, such as `&[DUCKDB, PYARROW]`.
///
/// The first call for a set of packages downloads them, which takes up to a minute.
///
/// # Errors
/// When `python3` (3.10 or later, with its `venv` module) is missing, or PyPI cannot be reached; the
/// error says what to install.
pub fn python_with(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    packages.dedup();
    let recipe = packages.join(" ");
    let name: String = recipe
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    let dir = target_dir().join(format!("trueup-python-{name}"));
    prepare(&dir, &recipe, |dir| install(dir, &packages))?;
    let python = interpreter(&dir);
    // The environment links to the machine's Python, which may have been upgraded away since.
    if !python.exists() {
        bail!("{} no longer leads to a Python; delete {}", python.display(), dir.display());
    }
    Ok(python)
}

fn interpreter(dir: &Path) -> PathBuf {
    dir.join("bin").join("python")
}

fn install(dir: &Path, packages: &[&str]) -> anyhow::Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(dir)).context(
        "a Python with its `venv` module is needed: install Python 3.10 or later \
         (Debian, Ubuntu: `apt-get install python3 python3-venv`)",
    )?;
    if packages.is_empty() {
        return Ok(());
    }
    // Only wheels: a package that had to be compiled would need a toolchain and take very long.
    run(Command::new(interpreter(dir))
        .args(["-m", "pip", "install", "-q", "--disable-pip-version-check"])
        .args(["--only-binary", ":all:"])
        .args(packages))
    .with_context(|| format!("cannot install {} from PyPI", packages.join(", ")))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
