//! Set semantics: whatever the order, the cuts, the partitions and the workers, every view is what
//! the reference has, and every record is accounted for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use trueup_sinks::Store;

use crate::judge::{self, Look};
use crate::records::{self, Records};
use crate::runs::{Job, memory};

// spec: "Every view is a function of the *set* of accepted events."
// spec: "Each input record ends as exactly one of: *applied* (accepted into the set, though it be a
// conflict or an orphan), *duplicate*, *quarantined*"
// spec: "`read = applied + duplicate + quarantined` holds per source partition in every commit."
// spec: "A reader of any sink sees whole epochs only, each once, in order"
// spec: "Summing `diff` per row over all epochs ≤ E gives the view at E, exactly, every row at 0 or
// 1 and every key at most once."
#[test]
fn every_epoch_is_what_the_reference_has() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::generate(6_000, 21);
    let log = dir.path().join("log");
    records::write_log(&log, &records.lines, 3);
    let store: Arc<dyn Store> = memory();
    let summary = Job::new(Arc::clone(&store)).read("live", &log).max_records(500).run().unwrap();
    let counts = judge::check(&store, &[("live", &log)], Look::EveryEpoch);
    assert_eq!(counts, summary.counts);
    assert_eq!(summary.epochs, 12);
    assert_eq!(counts.read, 6_000);
    assert_eq!(counts.quarantined, records.summary.poison_records());
    assert_eq!(counts.duplicate, records.summary.duplicates());
}

/// One way to bring the same set of events.
struct Way {
    name: &'static str,
    live: fn(&Records, &Path),
    backfill: Option<fn(&Records, &Path)>,
    workers: usize,
    max_records: u64,
}

fn as_is(records: &Records, path: &Path) {
    records::write_lines(path, &records.lines);
}

const WAYS: &[Way] = &[
    Way { name: "as is", live: as_is, backfill: None, workers: 1, max_records: 1_000 },
    Way { name: "small epochs", live: as_is, backfill: None, workers: 2, max_records: 97 },
    Way { name: "one epoch", live: as_is, backfill: None, workers: 4, max_records: 1_000_000 },
    Way {
        name: "shuffled",
        live: |records, path| records::write_lines(path, &records.shuffled(5)),
        backfill: None,
        workers: 2,
        max_records: 1_000,
    },
    Way {
        name: "backwards",
        live: |records, path| records::write_lines(path, records.lines.iter().rev()),
        backfill: None,
        workers: 2,
        max_records: 700,
    },
    Way {
        name: "every line doubled",
        live: |records, path| records::write_lines(path, &records.doubled(6)),
        backfill: None,
        workers: 4,
        max_records: 1_000,
    },
    Way {
        name: "three partitions",
        live: |records, path| records::write_log(path, &records.shuffled(7), 3),
        backfill: None,
        workers: 4,
        max_records: 1_000,
    },
    Way {
        name: "a backfill that overlaps",
        live: |records, path| records::write_lines(path, &records.lines[2_000..]),
        backfill: Some(|records, path| records::write_log(path, &records.lines[..4_000], 2)),
        workers: 2,
        max_records: 300,
    },
];

fn bring(way: &Way, records: &Records, dir: &TempDir) -> (Arc<dyn Store>, Vec<PathBuf>) {
    let live = dir.path().join("live.jsonl");
    (way.live)(records, &live);
    let store: Arc<dyn Store> = memory();
    let mut job = Job::new(Arc::clone(&store)).read("live", &live);
    let mut paths = vec![live];
    if let Some(write) = way.backfill {
        let path = dir.path().join("history");
        write(records, &path);
        job = job.backfill("history", &path);
        paths.push(path);
    }
    job.workers(way.workers).max_records(way.max_records).run().unwrap();
    (store, paths)
}

// spec: "Arrival order, batch cuts, … redelivery, a backfill running beside live traffic"
// spec: "Same set, same digest."
#[test]
fn the_same_set_has_the_same_digests_however_it_comes() {
    let records = Records::generate(6_000, 22);
    let expected = judge::expected(&records.lines);
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let (store, paths) = bring(way, &records, &dir);
        assert_eq!(judge::digests(&store), expected, "{}", way.name);
        let names = ["live", "history"].into_iter();
        let sources: Vec<_> = names.zip(paths.iter().map(PathBuf::as_path)).collect();
        let counts = judge::check(&store, &sources, Look::Last);
        let (poison, duplicates) = (records.summary.poison_records(), records.summary.duplicates());
        if counts.read == 6_000 {
            assert_eq!(
                (counts.quarantined, counts.duplicate),
                (poison, duplicates),
                "{}",
                way.name
            );
        }
        // What comes twice is applied once.
        assert_eq!(counts.applied, 6_000 - poison - duplicates, "{}", way.name);
    }
}
