//! State on disk and its copies in the store: taken to other numbers of workers, lost, damaged,
//! swapped and fought over. Whatever happens to it, the books are those of the log.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "common/books.rs"]
mod books;
#[path = "common/judge.rs"]
mod judge;
#[path = "common/program.rs"]
mod program;
#[path = "common/records.rs"]
mod records;

use books::{Books, PATIENCE};
use program::{TRUEUP, ended, started, text};
use trueup_testing::copy_tree;

/// A checkpoint with nearly every epoch.
const OFTEN: [&str; 2] = ["--checkpoint-interval", "10ms"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

impl Books {
    fn state(&self) -> PathBuf {
        self.store.join("state")
    }

    fn run_more(&mut self, events: usize, flags: &[&str]) -> (u64, u64) {
        self.append(events);
        self.finish_with(&[OFTEN.as_slice(), flags].concat())
    }
}

#[test]
fn any_number_of_workers_goes_on_without_reading_again() {
    let mut books = Books::new(5_000, 71);
    for workers in ["1", "4", "2", "3", "1"] {
        assert_eq!(books.run_more(900, &["--workers", workers]), (900, 0), "{workers} workers");
    }
    books.judge();
}

#[test]
fn little_memory_is_enough() {
    let mut books = Books::new(6_000, 72);
    for _ in 0..3 {
        assert_eq!(books.run_more(2_000, &["--memory-limit", "64MiB"]), (2_000, 0));
    }
    books.judge();
}

#[test]
fn a_lost_disk_is_restored_from_copies() {
    let mut books = Books::new(4_000, 73);
    books.run_more(3_000, &[]);
    fs::remove_dir_all(books.state()).unwrap();
    assert_eq!(books.run_more(500, &[]), (500, 0), "nothing is read again");
    // Restored on another number of workers, into another place.
    let elsewhere = books.dir.path().join("elsewhere");
    let flags = ["--workers", "3", "--state", text(&elsewhere)];
    assert_eq!(books.run_more(500, &flags), (500, 0));
    books.judge();
}

/// The tree of everything but transactions is put back to what it was, as if a kill had come between
/// the two taking in a checkpoint.
#[test]
fn transactions_ahead_of_the_rest_are_caught_up_with_from_copies_alone() {
    let mut books = Books::new(8_000, 80);
    let rest = books.state().join("tree/keyspaces/2");
    let kept = books.dir.path().join("kept");
    let tear = |books: &mut Books, flags: &[&str]| {
        copy_tree(&rest, &kept).unwrap();
        books.append(1_000);
        books.finish_with(flags);
        fs::remove_dir_all(&rest).unwrap();
        fs::rename(&kept, &rest).unwrap();
    };
    // Runs on with more; says how much was read again, and how many copies were taken in before.
    let go_on = |books: &mut Books| {
        books.append(500);
        let run = ended(TRUEUP, &books.run(&["--until-caught-up", "--json", "--workers", "3"]));
        assert_eq!(run.code, Some(0), "{}", run.err);
        let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(summary["counts"]["read"], 500);
        let told = run.err.lines().find(|line| line.contains("is restored from copies"));
        let copies = told.and_then(|line| line.split("copies=").nth(1)?.parse::<usize>().ok());
        (summary["replayed"]["read"].as_u64().unwrap(), copies)
    };
    books.run_more(2_000, &[]);
    tear(&mut books, &[]);
    assert_eq!(go_on(&mut books), (0, Some(1)));
    // Several checkpoints apart, as no kill leaves them, they are of no use to each other.
    tear(&mut books, &OFTEN);
    let (again, copies) = go_on(&mut books);
    assert_eq!((again, copies.is_some()), (0, true));
    // Without the copy that leads there, the state is made of those before it.
    tear(&mut books, &[]);
    fs::remove_file(manifest_files(&books.store).last().unwrap()).unwrap();
    let (again, copies) = go_on(&mut books);
    assert_eq!((again, copies.is_some()), (1_000, true));
    // Without any copy it is nothing.
    tear(&mut books, &[]);
    for copy in manifest_files(&books.store) {
        fs::remove_file(copy).unwrap();
    }
    assert_eq!(go_on(&mut books), (7_500, None));
    books.judge();
}

#[test]
fn a_damaged_copy_is_told_and_the_one_before_it_used() {
    let mut books = Books::new(4_000, 74);
    books.run_more(2_000, &[]);
    books.run_more(1_000, &[]);
    fs::remove_dir_all(books.state()).unwrap();
    let parts = files(&books.store.join("checkpoints/parts"));
    assert!(parts.len() >= 2, "{parts:?}");
    let newest = parts.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(newest, bytes).unwrap();
    books.append(500);
    let run = ended(TRUEUP, &books.run(&["--until-caught-up", "--json"]));
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("passed over"), "{}", run.err);
    let summary: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let again = summary["replayed"]["read"].as_u64().unwrap();
    assert!((1..3_000).contains(&again), "{again} were read again: some, not all");
    // Without any copy the log is enough.
    fs::remove_dir_all(books.state()).unwrap();
    fs::remove_dir_all(books.store.join("checkpoints")).unwrap();
    assert_eq!(books.finish(), (0, 3_500));
    books.judge();
}

/// The manifests of the copies that there are, by epoch.
fn manifest_files(store: &Path) -> Vec<PathBuf> {
    let files = files(&store.join("checkpoints")).into_iter();
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

fn manifests(store: &Path) -> Vec<serde_json::Value> {
    let read = |path: &PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    manifest_files(store).iter().map(read).collect()
}

#[test]
fn copies_are_pieces_that_go_on_where_the_last_one_ended() {
    let mut books = Books::new(16_000, 79);
    books.run_more(12_000, &[]);
    // So little is new in each that none could come to the end of the keys by itself.
    for _ in 0..4 {
        books.run_more(100, &[]);
    }
    let before = manifests(&books.store);
    let ends = |copy: &serde_json::Value| !copy["groups"][0]["whole"]["to"].is_null();
    assert!(before.iter().filter(|copy| ends(copy)).count() >= 4, "no copy is a piece");
    for pair in before.windows(2) {
        assert_eq!(pair[1]["base"], pair[0]["epoch"]);
        let [last, next] = [&pair[0]["groups"][0], &pair[1]["groups"][0]];
        assert_eq!(next["whole"]["from"], last["next"], "{next}");
        assert_eq!(next["next"], next["whole"]["to"].as_str().unwrap_or_default());
    }
    fs::remove_dir_all(books.state()).unwrap();
    assert_eq!(books.run_more(100, &["--workers", "3"]), (100, 0), "the pieces are enough");
    // The state that is left is enough to copy all of it again.
    fs::remove_dir_all(books.store.join("checkpoints")).unwrap();
    books.run_more(100, &[]);
    let after = manifests(&books.store);
    assert_eq!(after[0]["is_whole"], true, "{}", after[0]);
    fs::remove_dir_all(books.state()).unwrap();
    assert_eq!(books.run_more(100, &[]), (100, 0));
    books.judge();
}

/// What becomes of a file; it is gone where this says no.
type Damage = fn(&mut Vec<u8>) -> bool;

#[test]
fn damage_to_any_file_of_the_state_never_becomes_damage_to_the_books() {
    let mut books = Books::new(3_000, 75);
    books.run_more(2_000, &[]);
    let sound = books.dir.path().join("sound");
    copy_tree(&books.store, &sound).unwrap();
    books.append(1_000);
    let expected = books.uninterrupted();
    let damages: [(&str, Damage); 4] = [
        ("torn", |bytes| {
            bytes.truncate(bytes.len() / 2);
            true
        }),
        ("zeroed", |bytes| {
            bytes.fill(0);
            true
        }),
        ("flipped", |bytes| {
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 0x10;
            }
            true
        }),
        ("gone", |_| false),
    ];
    // The last file of every kind: a folder, and a name without its digits.
    let mut kinds: BTreeMap<String, PathBuf> = BTreeMap::new();
    let state = sound.join("state");
    for file in files(&state) {
        let name = file.strip_prefix(&state).unwrap().display().to_string();
        kinds.insert(name.replace(|c: char| c.is_ascii_digit(), ""), PathBuf::from(name));
    }
    assert!(kinds.len() >= 4, "{kinds:?}");
    for (damage, apply) in damages {
        for name in kinds.values() {
            fs::remove_dir_all(&books.store).unwrap();
            copy_tree(&sound, &books.store).unwrap();
            let path = books.state().join(name);
            let mut bytes = fs::read(&path).unwrap();
            if apply(&mut bytes) {
                fs::write(&path, bytes).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            let args = books.run(&["--until-caught-up"]);
            let first = ended(TRUEUP, &args);
            if first.code != Some(0) {
                // Damage that shows only while reading ends the run, and the next one is well.
                assert_eq!(first.code, Some(4), "{damage} {}: {}", name.display(), first.err);
                let second = ended(TRUEUP, &args);
                assert_eq!(second.code, Some(0), "{damage} {}: {}", name.display(), second.err);
            }
            let digest = ended(TRUEUP, &["digest", "--store", text(&books.store)]);
            assert_eq!(digest.out, expected, "{damage} {}", name.display());
        }
    }
}

#[test]
fn state_of_another_history_is_not_used() {
    let mut books = Books::new(3_000, 76);
    let mut others = Books::new(3_000, 77);
    books.run_more(1_000, &[]);
    others.run_more(1_500, &[]);
    for folder in ["state", "checkpoints"] {
        fs::remove_dir_all(books.store.join(folder)).unwrap();
        copy_tree(&others.store.join(folder), &books.store.join(folder)).unwrap();
    }
    books.append(500);
    let run = ended(TRUEUP, &books.run(&["--until-caught-up"]));
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("cannot be used"), "{}", run.err);
    books.judge();
}

#[test]
fn one_state_has_one_process() {
    let mut books = Books::new(1_000, 78);
    books.append(500);
    let mut first = started(&books.run(&[]), books.dir.path(), "first");
    books.await_commits(1);
    let second = ended(TRUEUP, &books.run(&["--until-caught-up"]));
    assert_eq!(second.code, Some(3), "{}", second.err);
    assert!(second.err.contains("another trueup runs on this state"), "{}", second.err);
    assert_eq!(first.stop(PATIENCE).unwrap().code(), Some(0));
    books.judge();
}
