//! What works: several processes, one set of books.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use trueup_ledger::Timestamp;

use crate::fixture::{Cluster, PATIENCE, expect, send};
use crate::program::{text, trueup};

/// Returns which workers have staged files, by the names that files get.
fn writers(store: &Path) -> BTreeSet<String> {
    let mut writers = BTreeSet::new();
    for date in std::fs::read_dir(store.join("deltas/postings")).unwrap() {
        for file in std::fs::read_dir(date.unwrap().path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let worker = name.trim_end_matches(".parquet").split('-').nth(1).unwrap().to_owned();
            writers.insert(worker);
        }
    }
    writers
}

// spec: "worker and process counts"
#[test]
fn processes_make_the_books_of_one() {
    for (processes, partitions) in [(2, 5), (3, 2)] {
        let mut cluster = Cluster::new(processes, partitions, 3_000, 11);
        cluster.append(2_000);
        cluster.finish();
        assert!(cluster.commits() >= 8, "{}", cluster.commits());
        assert_eq!(writers(&cluster.store()).len(), processes, "each process writes its share");
        cluster.append(1_000);
        let second = cluster.finish();
        assert_eq!((second.read, second.again), (1_000, 0), "it goes on behind the first");
        cluster.judge();
    }
}

/// What falls due on a worker of one process makes one commit of all, on an idle log.
#[test]
fn what_falls_due_anywhere_ticks_the_whole_cluster() {
    let cluster = Cluster::new(2, 2, 1, 16);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let expires = i64::try_from(now.as_micros()).unwrap() + 5_000_000;
    let expires = Timestamp::display_micros(expires);
    // As many as it takes for both processes to have some.
    let hold = |n: usize| {
        format!(
            r#"{{"v":1,"event_id":"e","tenant":"acme","kind":"hold","transaction_id":"t{n}","effective_at":"2026-03-01T09:00:00Z","recorded_at":"2026-03-01T09:00:00Z","expires_at":"{expires}","source":{{"service":"cards"}},"postings":[{{"account":"cash","side":"debit","amount":"10","currency":"EUR"}},{{"account":"cards","side":"credit","amount":"10","currency":"EUR"}}]}}"#
        ) + "\n"
    };
    let holds: String = (0..8).map(hold).collect();
    std::fs::write(cluster.path("log/0000/a.jsonl"), holds).unwrap();
    let mut running = cluster.start_all(&[]);
    cluster.await_commits(2, &running);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(cluster.commits(), 2, "one tick, though both processes asked for it");
    let store = cluster.store();
    let stuck = ["query", "imbalances", "--where", "detector=stuck_hold", "--format", "csv"];
    let stuck = trueup(0, &[stuck.as_slice(), &["--store", text(&store)]].concat()).out;
    assert_eq!(stuck.lines().count(), 1 + 8, "{stuck}");
    send(&running[1], Signal::TERM);
    for process in &mut running {
        expect(process, 0, PATIENCE);
    }
    // Caught up they end, with nothing to add.
    cluster.finish();
    assert_eq!(cluster.commits(), 2);
    trueup(0, &["verify", "--store", text(&store), "--input", text(&cluster.path("log"))]);
}

#[test]
fn a_signal_to_one_process_ends_all_in_good_order() {
    for stopped in [0, 1] {
        let mut cluster = Cluster::new(2, 4, 2_000, 13);
        let mut running = cluster.start_all(&[]);
        cluster.append(1_000);
        cluster.await_commits(3, &running);
        send(&running[stopped], Signal::TERM);
        for process in &mut running {
            let said = expect(process, 0, PATIENCE);
            assert!(said.contains(" at epoch "), "{said}");
        }
        // Whoever is stopped before the others are there ends too.
        let mut alone = cluster.start(stopped, &[]);
        std::thread::sleep(Duration::from_millis(300));
        send(&alone, Signal::TERM);
        expect(&mut alone, 0, PATIENCE);
        cluster.append(1_000);
        cluster.finish();
        cluster.judge();
    }
}

#[test]
fn which_process_it_is_has_to_be_said_and_to_be_one() {
    let cluster = Cluster::new(2, 1, 10, 14);
    let config = cluster.path("trueup.toml");
    let rows: &[(&[&str], &str)] = &[
        (&[], "which of the 2 processes of cluster.hosts this is, 0 to 1"),
        (&["--process", "2"], "which of the 2 processes of cluster.hosts this is, 0 to 1"),
        (&["--process", "ledger-x"], "write a number"),
    ];
    for (more, expected) in rows {
        let ended = trueup(2, &[&["run", "-c", text(&config)], *more].concat());
        assert!(ended.err.contains(expected), "{}", ended.err);
    }
    let (store, log) = (cluster.store(), cluster.path("log"));
    let alone = ["run", "--store", text(&store), "--input", text(&log), "--process", "0"];
    let ended = trueup(2, &alone);
    assert!(ended.err.contains("has no [cluster]"), "{}", ended.err);
}
