//! The law, applied to a store: what it says is compared with the reference, which is fed with the
//! records that the commits say they read. Records are found in the files by this module alone,
//! without the product's reader.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use trueup_ledger::reference::{Alerts, Reference};
use trueup_ledger::table::Rows;
use trueup_ledger::{Counts, Digest, Epoch, Position, Rules, Scale, View};
use trueup_sinks::{CommitLog, CommitRecord, InputRange, Store, digest_at, read_delta_file};
use trueup_sources::{Format, Json};

pub type Digests = BTreeMap<View, Digest>;

/// Returns the digest of every view at the last commit, from the files.
pub fn digests(store: &Arc<dyn Store>) -> Digests {
    let log = CommitLog::open(Arc::clone(store)).unwrap();
    View::ALL.into_iter().map(|view| (view, digest_at(&log, view, None).unwrap())).collect()
}

/// Returns the digests that the reference has for a set of records that all arrive now.
pub fn expected<'a>(lines: impl IntoIterator<Item = &'a Vec<u8>>) -> Digests {
    let mut reference = Reference::new(Scale::DEFAULT);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    reference.begin_epoch(i64::try_from(now.as_micros()).unwrap());
    for line in lines {
        admit(&mut reference, line);
    }
    reference.digests()
}

/// Returns all commits, after a check of the chain.
pub fn commits(store: &Arc<dyn Store>) -> Vec<CommitRecord> {
    let log = CommitLog::open(Arc::clone(store)).unwrap();
    log.verify_chain().unwrap();
    let head = log.head().unwrap().map_or(Epoch(0), |(epoch, _)| epoch);
    log.iter(Epoch(1), head).map(Result::unwrap).collect()
}

/// Puts a record into the set, and says what became of it.
fn admit(reference: &mut Reference, line: &[u8]) -> Counts {
    let event = Json.decode(line).and_then(|decoded| decoded.draft.admit(Scale::DEFAULT));
    let mut counts = Counts { read: 1, ..Counts::default() };
    match event.map(|event| reference.insert(event)) {
        Ok(true) => counts.applied = 1,
        Ok(false) => counts.duplicate = 1,
        Err(_) => counts.quarantined = 1,
    }
    counts
}

/// A source's records by partition, each at its position.
pub type Lines = BTreeMap<String, Vec<(Position, Vec<u8>)>>;

/// Reads a local log.
pub fn lines_of(path: &Path) -> Lines {
    let children = |path: &Path| {
        let mut found: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    if path.is_file() {
        return Lines::from([("0".to_owned(), lines_in(&[path.to_owned()]))]);
    }
    children(path).iter().map(|folder| (name(folder), lines_in(&children(folder)))).collect()
}

fn lines_in(files: &[PathBuf]) -> Vec<(Position, Vec<u8>)> {
    let mut lines = Vec::new();
    for file in files {
        let segment: Arc<str> = file.file_name().unwrap().to_str().unwrap().into();
        let mut offset = 0;
        for line in fs::read(file).unwrap().split_inclusive(|byte| *byte == b'\n') {
            let position = Position { segment: Arc::clone(&segment), offset };
            offset += line.len() as u64;
            lines.push((position, line[..line.len() - 1].to_vec()));
        }
    }
    lines
}

/// What is compared when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    EveryEpoch,
    Last,
}

/// As [`check_lines`], on local logs.
pub fn check(store: &Arc<dyn Store>, sources: &[(&str, &Path)], look: Look) -> Counts {
    let logs = sources.iter().map(|(name, path)| (*name, lines_of(path)));
    check_lines(store, &logs.collect(), look)
}

/// Checks a store against what it was made from, by source name: every commit follows the one
/// before, its ranges go on where the last ones ended, each record of them is accounted for, and
/// the sums of the deltas are what the reference has. Returns the counts of all commits.
pub fn check_lines(store: &Arc<dyn Store>, logs: &BTreeMap<&str, Lines>, look: Look) -> Counts {
    let commits = commits(store);
    let mut reference = Reference::new(Scale::DEFAULT);
    let mut alerts = Alerts::new(&Rules::default());
    let mut views: BTreeMap<View, Rows> =
        View::ALL.into_iter().map(|view| (view, Rows::default())).collect();
    let mut ends = BTreeMap::new();
    let mut all = Counts::default();
    for (record, number) in commits.iter().zip(1_u64..) {
        assert_eq!(record.epoch, Epoch(number));
        reference.begin_epoch(record.epoch_time_micros);
        let mut found = Counts::default();
        for input in &record.inputs {
            let end = ends.insert(input.partition_id(), input.to.clone());
            assert_eq!(input.from, end.unwrap_or_default(), "epoch {number}");
            let lines = &logs[input.source.as_str()][&input.partition];
            let counts = take(&mut reference, lines, input);
            let (said, partition) = (input.counts, input.partition_id());
            assert_eq!(said.read, counts.read, "epoch {number} {partition}");
            assert_eq!(said.quarantined, counts.quarantined, "epoch {number} {partition}");
            assert!(said.balances(), "epoch {number} {partition}: {said:?}");
            found.add(counts);
        }
        // Which of two equal records is the duplicate is a question of their order, and the order
        // of partitions in an epoch is the engine's; so this is compared over all of them.
        assert_eq!(record.counts(), found, "epoch {number}");
        all.add(found);
        apply(store, record, &mut views);
        alerts.step(record.epoch, record.epoch_time_micros, &views[&View::Imbalances]);
        if look == Look::EveryEpoch || number == commits.len() as u64 {
            let mut wanted = reference.views();
            wanted.insert(View::Alerts, alerts.rows());
            compare(&views, &wanted, record.epoch);
        }
    }
    all
}

fn take(reference: &mut Reference, lines: &[(Position, Vec<u8>)], input: &InputRange) -> Counts {
    let from = lines.partition_point(|(position, _)| *position < input.from);
    let to = lines.partition_point(|(position, _)| *position < input.to);
    let mut counts = Counts::default();
    for (_, line) in &lines[from..to] {
        counts.add(admit(reference, line));
    }
    counts
}

fn apply(store: &Arc<dyn Store>, record: &CommitRecord, views: &mut BTreeMap<View, Rows>) {
    for (view, rows) in views {
        for file in record.files.iter().filter(|file| file.view == view.name()) {
            let tables = read_delta_file(&**store, file, record.epoch, *view, Scale::DEFAULT);
            tables.unwrap().iter().for_each(|table| rows.apply(table));
        }
    }
}

fn compare(found: &BTreeMap<View, Rows>, wanted: &BTreeMap<View, Rows>, epoch: Epoch) {
    for (view, rows) in found {
        assert_eq!(rows.defect(*view), None, "epoch {epoch}");
        let wanted = &wanted[view];
        let extra = rows.0.keys().find(|row| !wanted.0.contains_key(*row));
        let missing = wanted.0.keys().find(|row| !rows.0.contains_key(*row));
        assert_eq!((extra, missing), (None, None), "epoch {epoch}: {view:?} (extra, missing)");
    }
}
