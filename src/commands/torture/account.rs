//! What the commits say they have read, held against the log record by record.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use trueup_ledger::{Counts, Epoch, Position};
use trueup_sources::{LocalLog, Polled, Transport};

use crate::commands::store;

/// How many records are polled at a time.
const POLL_RECORDS: usize = 4096;

/// Every record of a log, by how often it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) epochs: u64,
    /// The sum over all commits.
    pub(super) counts: Counts,
    /// The records of the log.
    pub(super) records: u64,
    /// Records that no commit has read, or that commits have read and not counted.
    pub(super) lost: u64,
    /// How often records were read or counted again.
    pub(super) doubled: u64,
}

/// What commits have read of a partition: where each range begins and where each ends, sorted.
#[derive(Debug, Default)]
struct Ranges {
    starts: Vec<Position>,
    ends: Vec<Position>,
}

impl Ranges {
    /// Returns how many ranges a place is in: as many as have begun there, less those that ended.
    fn around(&self, place: &Position) -> usize {
        let begun = self.starts.partition_point(|start| start <= place);
        begun - self.ends.partition_point(|end| end <= place)
    }
}

/// Counts for each record of the log the commits whose ranges it lies in.
///
/// # Errors
/// Where the store or the log cannot be read.
pub(super) fn account(store: &Path, log: &Path) -> anyhow::Result<Account> {
    let opened = store::open(&store::location(&store.display().to_string())?)?;
    let mut account = Account { epochs: opened.head.0, ..Account::default() };
    let mut ranges: BTreeMap<String, Ranges> = BTreeMap::new();
    for record in opened.log.iter(Epoch(1), opened.head) {
        for input in record.context("reading the commits")?.inputs {
            account.counts.add(input.counts);
            let ranges = ranges.entry(input.partition).or_default();
            ranges.starts.push(input.from);
            ranges.ends.push(input.to);
        }
    }
    for ranges in ranges.values_mut() {
        ranges.starts.sort_unstable();
        ranges.ends.sort_unstable();
    }
    let mut read = 0;
    for mut partition in LocalLog::new(log).partitions().context("opening the log")? {
        let ranges = ranges.remove(partition.id()).unwrap_or_default();
        while let Polled::Batch(batch) = partition.poll(POLL_RECORDS, None)? {
            for frame in &batch.frames {
                let times = ranges.around(&batch.position(*frame));
                account.records += 1;
                account.lost += u64::from(times == 0);
                account.doubled += times.saturating_sub(1) as u64;
                read += times as u64;
            }
        }
    }
    account.lost += read.saturating_sub(account.counts.read);
    account.doubled += account.counts.read.saturating_sub(read);
    Ok(account)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use clap::Parser;
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::commands::run;
    use crate::generate::{Workload, write_jsonl};

    /// A store of a log of 300 records in epochs of 100.
    fn books() -> (TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (store, log) = (dir.path().join("store"), dir.path().join("log.jsonl"));
        let workload = Workload { events: 300, seed: 3, ..Workload::default() };
        write_jsonl(&workload, &mut fs::File::create(&log).unwrap()).unwrap();
        let place = ["--store", store.to_str().unwrap(), "--input", log.to_str().unwrap()];
        let cut = ["--until-caught-up", "--commit-max-records", "100", "--commit-interval", "1h"];
        let line = [&["trueup", "run"], place.as_slice(), &cut].concat();
        let Command::Run(args) = Cli::parse_from(line).command else { panic!("not `run`") };
        run::run(&args).unwrap();
        (dir, store, log)
    }

    /// Moves an end of what the last commit has read, and counts that many records more or fewer.
    fn plant(store: &Path, end: &str, offset: usize, records: i64) {
        let path = store.join("commits/00000000000000000003.json");
        let mut commit: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let input = &mut commit["inputs"][0];
        input[end]["offset"] = offset.into();
        for count in ["read", "applied"] {
            let now = input["counts"][count].as_i64().unwrap();
            input["counts"][count] = (now + records).into();
        }
        fs::write(&path, serde_json::to_vec(&commit).unwrap()).unwrap();
    }

    /// Returns where each record begins, and where the last one ends.
    fn places(log: &Path) -> Vec<usize> {
        let bytes = fs::read(log).unwrap();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        std::iter::once(0).chain(ends.map(|(place, _)| place + 1)).collect()
    }

    #[test]
    fn every_record_is_read_once_until_a_bug_is_planted() {
        let (_dir, store, log) = books();
        let sound = account(&store, &log).unwrap();
        assert_eq!((sound.epochs, sound.records, sound.counts.read), (3, 300, 300));
        assert_eq!((sound.lost, sound.doubled), (0, 0));
        let places = places(&log);
        // (which end is moved, where it was, where to, how many more are counted; lost, doubled)
        let planted = [
            ("to", 300, 299, -1, (1, 0)),
            ("from", 200, 199, 1, (0, 1)),
            ("from", 200, 203, -3, (3, 0)),
            // The ranges are right, and the count is not.
            ("to", 300, 300, 1, (0, 1)),
            ("to", 300, 300, -1, (1, 0)),
            // One lost and one doubled, which the sum of the counts does not show.
            ("to", 300, 299, 0, (1, 1)),
        ];
        for (end, before, after, more, expected) in planted {
            plant(&store, end, places[after], more);
            let found = account(&store, &log).unwrap();
            assert_eq!((found.lost, found.doubled), expected, "{end} {before} to {after}, {more}");
            plant(&store, end, places[before], -more);
        }
        assert_eq!(account(&store, &log).unwrap(), sound);
    }
}
