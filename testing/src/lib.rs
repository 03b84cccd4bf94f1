//! Servers, processes and interpreters that trueup's tests start and stop themselves.
//!
//! - [`kafka`]: a real single-node Apache Kafka, from its Maven jars, on loopback.
//! - [`process`]: a program under test that can be killed, timed and read.
//! - [`python`]: a Python interpreter with pinned packages, to read our files with other people's
//!   code.
//! - [`s3`]: a real S3 server, versitygw, on a directory and on loopback.
//! - [`steps`]: the steps by which a program makes something durable, watched and disturbed, and the
//!   power cut.
//!
//! Everything that must be downloaded is kept under [`target_dir`], is downloaded once, and is safe
//! to ask for from several test binaries at the same time. What is missing on the machine is an
//! error that says how to install it; nothing is ever skipped silently.
//!
//! Absent: librdkafka. A test that produces or consumes records brings its own client.

pub mod kafka;
pub mod process;
pub mod python;
pub mod s3;
pub mod steps;

mod ports;
mod prepared;

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The directory that cargo builds into: `CARGO_TARGET_DIR`, else `target` in the workspace.
///
/// A relative `CARGO_TARGET_DIR` is read from the workspace root, because tests run in the
/// directory of their package and not in the one cargo was started in.
pub fn target_dir() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = manifest.parent().unwrap_or(manifest);
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => workspace.join(dir),
        _ => workspace.join("target"),
    }
}

/// Makes an empty directory under [`target_dir`] that is deleted when the value is dropped.
///
/// It is on the disk that the build is on, where `/tmp` may be a small one in memory.
///
/// # Errors
/// When the target directory cannot be written.
pub fn temp_dir(prefix: &str) -> anyhow::Result<tempfile::TempDir> {
    let parent = target_dir().join("tmp");
    std::fs::create_dir_all(&parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(&parent)
        .with_context(|| format!("cannot create a directory in {}", parent.display()))
}

/// Copies a directory with all that is in it.
///
/// # Errors
/// What the file system says.
pub fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
