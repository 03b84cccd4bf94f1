//! The program is killed, stopped and starved of disk in the middle of its work: what it has
//! committed stays exact, and the next start goes on behind it.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[path = "common/books.rs"]
mod books;
#[path = "common/judge.rs"]
mod judge;
#[path = "common/program.rs"]
mod program;
#[path = "common/records.rs"]
mod records;

#[path = "crash/redrive.rs"]
mod redrive;
#[path = "crash/ticks.rs"]
mod ticks;

use books::{Books, PATIENCE};
use program::{TRUEUP, ended, started, text, trueup};

// spec: "crashes and restarts never change it"
// spec: "A reader of any sink sees whole epochs only, each once, in order"
#[test]
fn killed_again_and_again_it_commits_each_epoch_once() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("TRUEUP_SEED").map_or(seed, |seed| seed.parse().unwrap());
    println!("TRUEUP_SEED={seed}");
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut books = Books::new(12_000, seed);
    let workers = ["1", "2", "3"];
    let mut grew = 0;
    for kill in 0..14 {
        books.append(draw.random_range(300..900));
        let before = books.commits();
        let checkpoints = ["10ms", "100ms", "1h"][kill % 3];
        let cut = ["--commit-max-records", "20", "--commit-interval", "50ms"];
        let cut = [cut.as_slice(), &["--checkpoint-interval", checkpoints]].concat();
        let workers = ["--workers", workers[kill % 3]];
        let args = books.run(&[cut.as_slice(), &workers].concat());
        let mut running = started(&args, books.dir.path(), "killed");
        // Some die while they still read again what is committed, most while they commit.
        let epochs = draw.random_range(0..8);
        if kill % 4 != 0 {
            books.await_commits(before + epochs + 1);
        }
        thread::sleep(Duration::from_micros(draw.random_range(0..60_000)));
        let status = running.kill_9().unwrap();
        assert_eq!(status.code(), None, "it ended by itself\n{}", running.tail(20));
        grew += usize::from(books.commits() > before);
    }
    assert!(grew >= 8, "{grew} of 14 committed something before they were killed");
    books.append(1_000);
    let (new, again) = books.finish();
    assert!(new + again < books.appended as u64, "checkpoints spare reading from the start");
    let counts = books.judge();
    assert_eq!(counts.read, books.appended as u64);
    let found = trueup(0, &["digest", "--store", text(&books.store)]).out;
    assert_eq!(found, books.uninterrupted());
    let left = fs::read_dir(&books.store).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".tmp-")).collect();
    assert_eq!(left, [""; 0], "the next start removes what a kill left unfinished");
}

#[test]
fn a_signal_commits_the_open_epoch_and_ends_well() {
    let mut books = Books::new(2_000, 62);
    let cut = ["--commit-max-records", "400", "--commit-interval", "1h"];
    for (round, name) in ["interrupted", "terminated"].into_iter().enumerate() {
        books.append(700);
        let mut running = started(&books.run(&cut), books.dir.path(), name);
        books.await_commits(2 * round + 1);
        // The rest is read by then, and would wait for an hour.
        thread::sleep(Duration::from_millis(500));
        let status = if round == 0 {
            running.interrupt().unwrap();
            running.wait(PATIENCE).unwrap()
        } else {
            running.stop(PATIENCE).unwrap()
        };
        assert_eq!(status.code(), Some(0), "{}", running.tail(20));
        assert!(running.stderr().unwrap().contains("stopped at epoch"), "{}", running.tail(20));
        assert_eq!(books.commits(), 2 * round + 2);
        assert_eq!(books.judge().read, books.appended as u64);
    }
    books.append(600);
    // A run that ended well has left a checkpoint of its last epoch.
    assert_eq!(books.finish(), (600, 0));
    books.judge();
}

#[test]
fn torture_ends_with_a_certificate() {
    let dir = trueup_testing::temp_dir("torture").unwrap();
    let place = dir.path().join("place");
    let args = ["torture", "--kills", "12", "--events", "5000", "--dir", text(&place)];
    let said = trueup(0, &args);
    for part in ["12 by -9", "5,000 read", "lost      0", "doubled   0", "undisturbed run"] {
        assert!(said.out.contains(part), "{part}: {}{}", said.out, said.err);
    }
    // A certificate is worth something where there is none for books that are wrong.
    let again = ended(TRUEUP, &args);
    assert_eq!(again.code, Some(4), "{}", again.err);
    assert!(again.err.contains("must not exist yet"), "{}", again.err);
}

#[test]
fn torture_of_a_cluster_ends_with_a_certificate() {
    let dir = trueup_testing::temp_dir("torture").unwrap();
    let place = dir.path().join("place");
    let args = ["torture", "--processes", "2", "--kills", "6", "--dir", text(&place)];
    let said = trueup(0, &[args.as_slice(), &["--events", "3000"]].concat());
    let of = "6 of them of one process of several";
    for part in ["6 by -9", of, "3,000 read", "lost      0", "doubled   0", "undisturbed run"] {
        assert!(said.out.contains(part), "{part}: {}{}", said.out, said.err);
    }
}

/// Expects that a run failed for good, said these things, and left a store that can go on.
fn failed_for_good(books: &Books, args: &[&str], texts: &[&str]) {
    let ended = ended(args[0], &args[1..]);
    assert_eq!(ended.code, Some(4), "{args:?}: {}", ended.err);
    for part in texts {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    assert!(books.appended > 0);
}

#[test]
fn a_file_that_cannot_grow_ends_the_run_with_advice() {
    let mut books = Books::new(3_000, 63);
    books.append(1_000);
    books.finish();
    books.append(2_000);
    // The limit is in blocks of 512 or 1024 bytes; a delta file of 2,000 records is larger.
    let limited = r#"ulimit -f 8; exec "$@""#;
    let run = books.run(&["--until-caught-up", "--workers", "1"]);
    let args = [&["sh", "-c", limited, "sh", TRUEUP], run.as_slice()].concat();
    failed_for_good(&books, &args, &["creating", "store/deltas", "start again"]);
    assert_eq!(books.finish(), (2_000, 0));
    books.judge();
}

#[test]
fn a_store_that_cannot_be_written_ends_the_run_with_advice() {
    let mut books = Books::new(2_000, 64);
    books.append(1_000);
    let file = books.dir.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let below = file.join("store");
    let log = text(&books.log).to_owned();
    let run = ["run", "--store", text(&below), "--input", &log, "--until-caught-up"];
    let args = [&[TRUEUP], run.as_slice()].concat();
    failed_for_good(&books, &args, &["opening the store", text(&below)]);

    books.finish();
    books.append(1_000);
    for folder in ["deltas/balances", "commits"] {
        in_the_way(&books, Path::new(folder));
    }
    assert_eq!(books.finish(), (1_000, 0));
    books.judge();
}

/// Puts a file where the store has a folder, lets a run fail, and puts the folder back.
fn in_the_way(books: &Books, folder: &Path) {
    let (place, aside) = (books.store.join(folder), books.dir.path().join("aside"));
    fs::rename(&place, &aside).unwrap();
    fs::write(&place, "in the way").unwrap();
    let run = books.run(&["--until-caught-up"]);
    let args = [&[TRUEUP], run.as_slice()].concat();
    failed_for_good(books, &args, &[text(folder)]);
    fs::remove_file(&place).unwrap();
    // With `commits` out of the way the run may have begun a new one.
    fs::rename(&aside, &place).unwrap();
}
