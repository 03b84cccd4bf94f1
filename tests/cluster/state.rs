//! The state of a cluster: each process has its part on its own disk, and all of them one copy.

use std::fs;
use std::path::PathBuf;

use crate::fixture::Cluster;

impl Cluster {
    /// Where a process keeps its part.
    fn state(&self, process: usize) -> PathBuf {
        let state = self.store().join("state");
        if process == 0 { state } else { state.join(format!("process-{process}")) }
    }

    fn lose_state(&self, process: usize) {
        for part in ["tree", "ready"] {
            let path = self.state(process).join(part);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
    }

    /// Appends records and commits them; returns how many were read again.
    fn goes_on(&mut self, events: usize) -> u64 {
        self.append(events);
        let finished = self.finish();
        assert_eq!(finished.read, events as u64);
        finished.again
    }

    /// Goes on with another number of processes.
    fn rescale(&mut self, hosts: &[String], processes: usize) {
        self.hosts = hosts[..processes].to_vec();
        self.configure("trueup.toml", "books", "");
    }
}

#[test]
fn any_number_of_processes_goes_on_without_reading_again() {
    let mut cluster = Cluster::new(4, 3, 6_000, 31);
    let hosts = cluster.hosts.clone();
    for processes in [1, 4, 2, 3, 1, 2] {
        cluster.rescale(&hosts, processes);
        assert_eq!(cluster.goes_on(1_000), 0, "{processes} processes");
    }
    cluster.judge();
}

#[test]
fn a_lost_disk_is_restored_from_the_copy_of_all() {
    let mut cluster = Cluster::new(3, 2, 4_000, 32);
    cluster.goes_on(2_000);
    for lost in [0, 2] {
        cluster.lose_state(lost);
        assert_eq!(cluster.goes_on(500), 0, "process {lost}");
    }
    (0..3).for_each(|process| cluster.lose_state(process));
    assert_eq!(cluster.goes_on(500), 0);
    cluster.judge();
}

#[test]
fn what_one_process_cannot_reach_none_goes_on_from() {
    let mut cluster = Cluster::new(2, 2, 4_000, 33);
    cluster.goes_on(1_500);
    cluster.goes_on(1_500);
    // One has lost its disk, and of the newest copy a part is damaged.
    cluster.lose_state(1);
    let parts = fs::read_dir(cluster.store().join("checkpoints/parts")).unwrap();
    let newest = parts.map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(newest, bytes).unwrap();
    cluster.append(500);
    let finished = cluster.finish();
    assert!(finished.said.contains("this copy of state is passed over"), "{}", finished.said);
    assert!(finished.said.contains("not all processes can go on from there"), "{}", finished.said);
    assert!((1..3_000).contains(&finished.again), "{} were read again", finished.again);
    // Without any copy, and one disk of two, the log is enough.
    cluster.lose_state(0);
    fs::remove_dir_all(cluster.store().join("checkpoints")).unwrap();
    cluster.append(500);
    assert_eq!(cluster.finish().again, 3_500);
    assert_eq!(cluster.finish().again, 0);
    cluster.judge();
}
