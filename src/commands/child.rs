//! This program in processes of its own, for the commands that play its operator.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// The processes of one run; whatever is left of them is killed at the end.
pub(super) struct Running(pub(super) Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error here says that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    /// Says whether a process has ended.
    pub(super) fn has_lost_one(&mut self) -> anyhow::Result<bool> {
        for child in &mut self.0 {
            if child.try_wait().context("looking at the run")?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until all have ended; returns how many have not within the time.
    pub(super) fn left_after(&mut self, patience: Duration) -> anyhow::Result<usize> {
        let begun = Instant::now();
        loop {
            let mut left = 0;
            for child in &mut self.0 {
                left += usize::from(child.try_wait().context("looking at the run")?.is_none());
            }
            if left == 0 || begun.elapsed() > patience {
                return Ok(left);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Returns the digests of all views of a store that are of the events alone, as one text.
///
/// # Errors
/// What `trueup digest` says.
pub(super) fn digest(program: &Path, store: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.arg("digest").arg("--store").arg(store).arg("--json");
    let output = command.output().context("starting the digest")?;
    let said = serde_json::from_slice(&output.stdout).ok();
    // The number of the last epoch differs, and may.
    let views = said.and_then(|mut said: Value| match said["views"].take() {
        Value::Object(views) if output.status.success() => Some(views),
        _ => None,
    });
    let mut views = views
        .with_context(|| format!("trueup digest: {}", String::from_utf8_lossy(&output.stderr)))?;
    // So may what depends on when something was seen: which alerts were raised, and in what state
    // months were closed. `verify` judges these.
    views.remove("alerts");
    if views.get("period_adjustments").is_some_and(|view| view["rows"] != 0) {
        for view in ["period_adjustments", "imbalances", "data_quality"] {
            views.remove(view);
        }
    }
    Ok(Value::Object(views).to_string())
}

/// Finds addresses of this machine on which nothing listens.
pub(super) fn free_addresses(count: usize) -> Vec<String> {
    let mut draw = ChaCha8Rng::seed_from_u64(RandomState::new().hash_one(count));
    let mut held = Vec::new();
    // All are held until all are found, so that they differ.
    while held.len() < count {
        // Linux gives higher ports to outgoing connections, at any time.
        let address = format!("127.0.0.1:{}", draw.random_range(15_000..32_000_u16));
        held.extend(TcpListener::bind(&address).map(|listener| (listener, address)));
    }
    held.into_iter().map(|(_, address)| address).collect()
}
