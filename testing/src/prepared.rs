//! Directories that are filled once, by whichever test process comes first, and then only read.
//!
//! Guarantee: [`prepare`] returns only when the directory was filled completely from the same
//! recipe. A process that dies while it fills the directory leaves no completion marker, so the
//! next one starts afresh.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;

use anyhow::Context;

/// Written last, with the recipe inside, so that a changed recipe also refills the directory.
const MARKER: &str = "trueup-complete";

/// Fills `dir` with `fill` unless an earlier call did so with the same `recipe`.
///
/// Other processes that ask for the same directory wait meanwhile: the lock is the operating
/// system's, so it is given up even when its holder is killed.
pub(crate) fn prepare(
    dir: &Path,
    recipe: &str,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let mut lock_path = OsString::from(dir);
    lock_path.push(".lock");
    let lock = File::create(&lock_path)
        .with_context(|| format!("cannot create the lock {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;

    let marker = dir.join(MARKER);
    if fs::read_to_string(&marker).is_ok_and(|filled_from| filled_from == recipe) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fill(dir)?;
    fs::write(&marker, recipe).with_context(|| format!("cannot write {}", marker.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_once_and_again_after_a_failure_or_a_new_recipe() -> anyhow::Result<()> {
        let parent = tempfile::tempdir()?;
        let dir = parent.path().join("cache");
        let fill = |recipe: &str, works: bool| {
            let mut filled = false;
            let outcome = prepare(&dir, recipe, |dir| {
                filled = true;
                assert_eq!(fs::read_dir(dir)?.count(), 0, "a refill starts from nothing");
                fs::write(dir.join("part"), recipe)?;
                anyhow::ensure!(works, "interrupted");
                Ok(())
            });
            (filled, outcome.is_ok())
        };
        assert_eq!(fill("v1", false), (true, false));
        assert_eq!(fill("v1", true), (true, true));
        assert_eq!(fill("v1", true), (false, true));
        assert_eq!(fill("v2", true), (true, true));
        Ok(())
    }
}
