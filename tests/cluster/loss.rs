//! What goes wrong: a process is killed or stopped, and every other one ends and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use trueup::cluster::{self, Membership};
use trueup::config::Config;
use trueup::pipeline::{RunError, Source};
use trueup_ledger::Rejection;
use trueup_sinks::{DirectoryStore, Store};
use trueup_sources::format::Decoded;
use trueup_sources::{Format, Json, LocalLog};

use crate::fixture::{Cluster, ENDS_WITHIN, PATIENCE, expect, send};
use crate::runs::Job;

#[test]
fn killed_again_and_again_they_commit_each_epoch_once() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = std::env::var("TRUEUP_SEED").map_or(seed, |seed| seed.parse().unwrap());
    println!("TRUEUP_SEED={seed}");
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::new(3, 4, 8_000, seed);
    let mut grew = 0;
    for kill in 0..6 {
        cluster.append(draw.random_range(400..900));
        let before = cluster.commits();
        let mut running = cluster.start_all(&[]);
        cluster.await_commits(before + draw.random_range(1..4), &running);
        std::thread::sleep(Duration::from_micros(draw.random_range(0..60_000)));
        let victim = kill % 3;
        running[victim].kill_9().unwrap();
        let killed = Instant::now();
        for (process, other) in running.iter_mut().enumerate().filter(|(one, _)| *one != victim) {
            let said = expect(other, 4, ENDS_WITHIN.saturating_sub(killed.elapsed()));
            let named = format!("lost process {victim} ({})", cluster.hosts[victim]);
            assert!(said.contains(&named), "process {process}: {said}");
        }
        grew += usize::from(cluster.commits() > before);
    }
    assert_eq!(grew, 6, "each run commits something before it is killed");
    cluster.append(500);
    cluster.finish();
    cluster.judge();
}

#[test]
fn a_process_that_is_stopped_but_alive_is_noticed() {
    for stopped in [0, 1] {
        let mut cluster = Cluster::new(2, 2, 1_000, 21);
        cluster.configure("trueup.toml", "books", "peer_timeout = \"3s\"");
        cluster.append(500);
        let mut running = cluster.start_all(&[]);
        cluster.await_commits(2, &running);
        send(&running[stopped], Signal::STOP);
        let begun = Instant::now();
        let said = expect(&mut running[1 - stopped], 4, Duration::from_secs(3) + ENDS_WITHIN);
        assert!(begun.elapsed() >= Duration::from_secs(1), "that was no silence: {said}");
        let named = format!("lost process {stopped}");
        assert!(said.contains(&named) && said.contains("has said nothing for 3s"), "{said}");
        // Once it goes on, it finds out and ends too.
        send(&running[stopped], Signal::CONT);
        expect(&mut running[stopped], 4, ENDS_WITHIN);
        cluster.append(500);
        cluster.finish();
        cluster.judge();
    }
}

/// Two clusters on one store, each on machines of its own. One is asleep while the other goes on.
#[test]
fn a_cluster_that_was_asleep_is_fenced() {
    let mut cluster = Cluster::new(2, 2, 3_000, 27);
    let other = Cluster::new(2, 2, 1, 27).hosts;
    let config = std::fs::read_to_string(cluster.path("trueup.toml")).unwrap();
    let elsewhere = config
        .replace(&format!("{:?}", cluster.hosts), &format!("{other:?}"))
        .replace("[state]", "[state]\ndirectory = \"elsewhere\"");
    std::fs::write(cluster.path("other.toml"), elsewhere).unwrap();
    cluster.append(500);
    let mut asleep = cluster.start_all(&[]);
    cluster.await_all(&asleep);
    asleep.iter().for_each(|process| send(process, Signal::STOP));
    cluster.append(1_000);
    let more = ["--until-caught-up"];
    let mut awake: Vec<_> =
        (0..2).map(|process| cluster.start_with("other.toml", process, &more)).collect();
    for process in &mut awake {
        expect(process, 0, PATIENCE);
    }
    asleep.iter().for_each(|process| send(process, Signal::CONT));
    for process in &mut asleep {
        let said = expect(process, 3, PATIENCE);
        assert!(said.contains("another trueup"), "{said}");
    }
    cluster.append(500);
    cluster.finish();
    cluster.judge();
}

#[test]
fn what_ends_one_process_is_told_by_all() {
    let mut cluster = Cluster::new(3, 3, 1_000, 22);
    cluster.append(500);
    let mut running = cluster.start_all(&[]);
    // The partition that process 1 reads loses its file; only what has been read can be missed.
    cluster.await_all(&running);
    let lost = cluster.path("log/0001/a.jsonl");
    std::fs::write(&lost, "").unwrap();
    for (process, running) in running.iter_mut().enumerate() {
        let said = expect(running, 4, PATIENCE);
        assert!(said.contains("0001"), "{said}");
        assert_eq!(said.contains("process 1 ("), process != 1, "{said}");
    }
}

/// A format that panics in a worker, at one record.
struct Explosive {
    left: AtomicI64,
}

impl Format for Explosive {
    fn decode<'a>(&self, raw: &'a [u8]) -> Result<Decoded<'a>, Rejection> {
        assert_ne!(self.left.fetch_sub(1, Ordering::Relaxed), 0, "a bug of somebody's");
        Json.decode(raw)
    }

    fn correlation_id(&self, raw: &[u8]) -> Option<String> {
        Json.correlation_id(raw)
    }
}

/// The processes are threads of this test, since no record makes a worker of the program panic.
#[test]
fn a_panic_of_a_worker_ends_all() {
    let mut cluster = Cluster::new(3, 3, 1_000, 26);
    cluster.append(1_000);
    let config = Config::load(&cluster.path("trueup.toml")).unwrap();
    let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(cluster.store()).unwrap());
    let (config, store, cluster) = (&config, &store, &cluster);
    let run = move |process: usize| {
        let membership = Membership {
            cluster: config.cluster.clone().unwrap(),
            process,
            workers: 1,
            configuration_hash: config.agreement(),
            until_caught_up: true,
        };
        let joined = cluster::join(membership, Box::new(|| Ok(0)), &AtomicBool::new(false));
        let explodes = if process == 1 { 50 } else { -1 };
        let source = Source {
            name: "input".into(),
            transport: Box::new(LocalLog::new(cluster.path("log"))),
            format: Arc::new(Explosive { left: AtomicI64::new(explodes) }),
            backfill: false,
        };
        let mut job = Job::new(Arc::clone(store)).with(source).workers(1).max_records(90);
        job.0.cluster = joined.unwrap();
        job.run().unwrap_err()
    };
    let begun = Instant::now();
    let errors: Vec<RunError> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|process| scope.spawn(move || run(process))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(begun.elapsed() < ENDS_WITHIN, "{:?}", begun.elapsed());
    for (process, error) in errors.iter().enumerate() {
        assert!(matches!(error, RunError::Failed(_)), "{error:?}");
        let told = error.to_string();
        assert!(told.contains("a worker stopped: assertion") && told.contains("bug"), "{told}");
        assert_eq!(told.contains("process 1 ("), process != 1, "{told}");
    }
}

#[test]
fn whoever_does_not_come_is_named() {
    let cluster = Cluster::new(3, 1, 10, 23);
    let late = "peer_timeout = \"3s\"\n";
    cluster.configure("trueup.toml", "books", late);
    let path = cluster.path("trueup.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("connect_timeout = \"60s\"", "connect_timeout = \"2s\""))
        .unwrap();
    let mut running = [cluster.start(0, &[]), cluster.start(2, &[])];
    for process in &mut running {
        let said = expect(process, 4, PATIENCE);
        let named = format!("no connection to process 1 ({}) within 2s", cluster.hosts[1]);
        assert!(said.contains(&named), "{said}");
    }
}

/// The process that a supervisor has started.
fn child_of(supervisor: u32) -> Option<Pid> {
    let path = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = std::fs::read_to_string(path).unwrap();
    children.split_whitespace().next().and_then(|child| Pid::from_raw(child.parse().unwrap()))
}

#[test]
fn supervised_processes_find_each_other_again() {
    let mut cluster = Cluster::new(2, 2, 2_000, 24);
    cluster.append(500);
    let mut running = cluster.start_all(&["--supervise"]);
    for killed in [1, 0] {
        cluster.await_commits(cluster.commits() + 1, &running);
        let child = child_of(running[killed].id()).unwrap();
        kill_process(child, Signal::KILL).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while running.iter().any(|one| child_of(one.id()).is_none_or(|id| id == child)) {
            assert!(Instant::now() < deadline, "{}", running[killed].tail(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        cluster.append(500);
    }
    let commits = cluster.commits();
    cluster.append(500);
    cluster.await_commits(commits + 1, &running);
    send(&running[0], Signal::TERM);
    for process in &mut running {
        let said = expect(process, 0, PATIENCE);
        assert!(said.contains("starting it again in 1s"), "{said}");
    }
    cluster.finish();
    cluster.judge();
}

#[test]
fn what_no_new_start_cures_gets_none() {
    let cluster = Cluster::new(2, 1, 10, 25);
    let mut wrong = cluster.start(2, &["--supervise"]);
    let said = expect(&mut wrong, 2, PATIENCE);
    assert!(said.contains("has to say which") && !said.contains("again"), "{said}");
}
