//! Who watches the watch: steps that nobody sees, and syncs that lie.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use trueup_testing::steps::{Action, Plan};

use crate::scene::{Found, Scene};

/// A run that said it was done has lost nothing when the power is cut, before any other start.
#[test]
fn what_is_done_outlives_a_power_cut_unless_syncs_lie() {
    let scene = Scene::new(Found::Nothing, "2", 7);
    let done = |plan: &Plan| {
        let wreck = scene.disturb(plan);
        assert_eq!(wreck.code, Some(0), "{}", wreck.said);
        wreck.power_cut(|_| 0).unwrap();
        scene.judge_books(&wreck.store)
    };
    assert_eq!(done(&Plan::watch()), Ok(()));
    // What is in the files, the names of delta files, and those of commits.
    for kind in [".tmp-#-#", "deltas/*/#-#-#", "commits"] {
        let lie =
            Plan { action: Action::Lie, at: 1, call: "sync".to_owned(), kind: kind.to_owned() };
        let found = done(&lie);
        assert!(found.is_err(), "nobody sees that syncs of {kind} lie");
    }
}

/// Whatever library made it, every file there is comes from steps that were seen, byte by byte.
#[test]
fn no_step_escapes() {
    let scene = Scene::new(Found::Nothing, "2", 8);
    let wreck = scene.disturb(&Plan::watch());
    let mut expected: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for step in &wreck.steps {
        let length = expected.get(&step.path).copied().unwrap_or_default();
        match step.call.as_str() {
            "create" => drop(expected.insert(step.path.clone(), 0)),
            "write" => drop(expected.insert(step.path.clone(), length.max(step.end()))),
            "truncate" => drop(expected.insert(step.path.clone(), step.end())),
            "link" | "rename" => drop(expected.insert(step.to.clone().unwrap(), length)),
            _ => {}
        }
        if step.call == "rename" || step.call == "unlink" {
            expected.remove(&step.path);
        }
    }
    let mut found = BTreeMap::new();
    files(&wreck.store, &wreck.store, &mut found);
    assert_eq!(found, expected);
}

fn files(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            let length = fs::metadata(&path).unwrap().len();
            found.insert(path.strip_prefix(root).unwrap().to_owned(), length);
        }
    }
}
