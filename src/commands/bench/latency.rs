//! How long after its moment a record is committed, at fixed rates.
//!
//! Coordinated omission is avoided: record n is due n / rate after the start, whatever happened
//! before. A writer that comes late appends all that is due at once and goes on by the schedule, and
//! the latency of a record runs from when it was due, not from when it was written, until the commit
//! that has it is durable.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Bench;
use super::figures::{Contestant, Figure, Outcome, Run, Shown, percentile};
use super::job::{Input, Job, micros, remove};
use super::watch::{Seen, Watch};
use crate::commands::meter;
use crate::commands::output::grouped;
use crate::exit;

const FIGURES: [Figure; 7] = [
    Figure { name: "p99_us", title: "p99 ms", shown: Shown::Thousandths },
    Figure { name: "p50_us", title: "p50 ms", shown: Shown::Thousandths },
    Figure { name: "p95_us", title: "p95 ms", shown: Shown::Thousandths },
    Figure { name: "max_us", title: "max ms", shown: Shown::Thousandths },
    Figure { name: "records_per_second", title: "records/s", shown: Shown::Count },
    Figure { name: "kept_up", title: "kept up", shown: Shown::YesNo },
    Figure { name: "writer_late_us_max", title: "writer late ms", shown: Shown::Thousandths },
];

/// What is committed before the clock starts, so that the start of the program is not measured.
const PRIMER: u64 = 1_000;

/// How much longer the end may wait in any case, in microseconds: epochs are of unlike length.
const GROWTH_MIN_US: u64 = 50_000;

/// How often the writer looks what is due.
const TICK: Duration = Duration::from_millis(1);

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Outcome> {
    let rates = &bench.args.rates;
    let most = PRIMER + rates.iter().max().copied().unwrap_or(0) * bench.args.seconds;
    let path = bench.folder.join("feed.jsonl");
    let bytes = bench.record_bytes().to_string();
    bench.generate(&path, most, &["--record-bytes", &bytes, "--out"])?;
    let feed = Feed::open(&path, most)?;
    let mut contestants: Vec<_> =
        rates.iter().map(|rate| Contestant::new(format!("{}/s", grouped(*rate)))).collect();
    bench.rounds("latency", &mut contestants, |number, contestant| {
        once(bench, &feed, rates[number], &contestant.name)
    })?;
    let interval = bench
        .args
        .commit_interval
        .map_or("its default".to_owned(), |interval| format!("{} ms", interval.as_millis()));
    Ok(Outcome {
        scenario: "latency",
        about: format!(
            "Events of {bytes} B are appended to a file at a fixed rate for {} s while a run follows, \
             with a commit_interval of {interval}: from when a record was due to be appended until \
             the commit that has it is durable, over all records.",
            bench.args.seconds
        ),
        figures: FIGURES.to_vec(),
        plotted: 4,
        contestants,
    })
}

/// Measures one rate once, in a new store.
fn once(bench: &Bench<'_>, feed: &Feed, rate: u64, name: &str) -> anyhow::Result<Run> {
    let log = bench.folder.join("latency.jsonl");
    let records = PRIMER + rate * bench.args.seconds;
    remove(&log)?;
    let mut file = File::create(&log).context("making a log")?;
    feed.copy(0, PRIMER, &mut file)?;
    let job = Job::new(bench, "latency", Input::Log(log.clone()));
    job.clear()?;
    let mut watch = Watch::of(&job.store())?;
    let mut running = job.start(false)?;
    watch.until(PRIMER, &mut running)?;
    let begun = Instant::now();
    let (late, seen) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(feed, rate, records, begun, file));
        let seen = watch.until(records, &mut running);
        let late = writer.join().map_err(|_| exit::failed("the writer of the log panicked"))?;
        anyhow::Ok((late?, seen?))
    })?;
    job.stop(running)?;
    let books = format!("the log of {name}");
    job.judge(records, &books)?;
    let mut run = figures(&seen, rate, begun);
    run.insert("writer_late_us_max", micros(late));
    // Read in one go, the log has to give the same books.
    let at_once = Job::new(bench, "latency-at-once", Input::Log(log));
    at_once.clear()?;
    at_once.to_end(records)?;
    at_once.judge(records, &books)?;
    Ok(run)
}

/// Appends each record when it is due; returns by how much the latest one was late.
fn write(
    feed: &Feed,
    rate: u64,
    records: u64,
    begun: Instant,
    mut log: File,
) -> anyhow::Result<Duration> {
    let mut written = PRIMER;
    let mut late = Duration::ZERO;
    while written < records {
        let passed = u128::from(micros(begun.elapsed()));
        let due = u64::try_from(passed * u128::from(rate) / 1_000_000).unwrap_or(u64::MAX);
        let due = (PRIMER + due).min(records);
        if due > written {
            feed.copy(written, due, &mut log)?;
            late = late.max(begun.elapsed().saturating_sub(schedule(written, rate)));
            written = due;
        }
        thread::sleep(TICK);
    }
    Ok(late)
}

/// When a record is due, after the start.
fn schedule(record: u64, rate: u64) -> Duration {
    let micros = u128::from(record - PRIMER) * 1_000_000 / u128::from(rate);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Derives the figures from when each commit was seen and which records it reaches to.
fn figures(seen: &[Seen], rate: u64, begun: Instant) -> Run {
    let mut latencies = Vec::new();
    let mut record = PRIMER;
    for commit in seen {
        let at = commit.at.saturating_duration_since(begun);
        let until = commit.read.max(record);
        latencies.extend((record..until).map(|n| micros(at.saturating_sub(schedule(n, rate)))));
        record = until;
    }
    let took = seen.last().map_or(Duration::ZERO, |last| last.at - begun);
    let quarter = latencies.len() / 4;
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        percentile(&part, 500)
    };
    // It keeps up where the wait does not grow from the second quarter to the last by more than a
    // fiftieth of the time between, which is half of the run.
    let (early, end) =
        (median(&latencies[quarter..quarter * 2]), median(&latencies[latencies.len() - quarter..]));
    let between = micros(schedule(record, rate)) / 2;
    let kept_up = end <= early + between / 50 + GROWTH_MIN_US;
    let count = latencies.len() as u64;
    latencies.sort_unstable();
    Run::from([
        ("records", count),
        ("records_per_second", meter::per_second(count, took)),
        ("p50_us", percentile(&latencies, 500)),
        ("p95_us", percentile(&latencies, 950)),
        ("p99_us", percentile(&latencies, 990)),
        ("max_us", latencies.last().copied().unwrap_or(0)),
        ("kept_up", u64::from(kept_up)),
    ])
}

/// A file of records and where each ends.
pub(super) struct Feed {
    file: File,
    ends: Vec<u64>,
}

impl Feed {
    pub(super) fn open(path: &Path, records: u64) -> anyhow::Result<Feed> {
        let bytes = fs::metadata(path).context("looking at the events")?.len();
        let file = File::open(path).context("opening the events")?;
        let mut ends = Vec::with_capacity(usize::try_from(records).unwrap_or(0));
        let mut chunk = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            let length = file.read_at(&mut chunk, at).context("reading the events")?;
            let ended = memchr::memchr_iter(b'\n', &chunk[..length]);
            ends.extend(ended.map(|place| at + place as u64 + 1));
            at += length as u64;
        }
        Ok(Feed { file, ends })
    }

    /// Writes the records `from..to`, in one write.
    pub(super) fn copy(&self, from: u64, to: u64, log: &mut File) -> anyhow::Result<()> {
        let end = |record: u64| match usize::try_from(record) {
            Ok(0) | Err(_) => Some(0),
            Ok(record) => self.ends.get(record - 1).copied(),
        };
        let (Some(start), Some(end)) = (end(from), end(to)) else {
            return Err(exit::failed("the generator wrote too few events"));
        };
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, start).context("reading the events")?;
        log.write_all(&bytes).context("appending to the log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_runs_from_when_a_record_was_due() {
        let begun = Instant::now();
        let seen = |ms, read| Seen { at: begun + Duration::from_millis(ms), read };
        // 1,000 a second: record n behind the primer is due after n ms. The first commit stalls for
        // a second, and all that was due meanwhile has waited for it, however late it was written.
        let commits = [seen(1_000, PRIMER + 1_000), seen(2_000, PRIMER + 2_000)];
        let run = figures(&commits, 1_000, begun);
        assert_eq!(run["records"], 2_000);
        assert_eq!(run["max_us"], 1_000_000);
        assert_eq!(run["p50_us"], 500_000);
        assert_eq!(run["p99_us"], 990_000);
        assert_eq!((run["records_per_second"], run["kept_up"]), (1_000, 1));
        // At half the speed that is wanted, each waits longer than the one before.
        let commits: Vec<Seen> = (1..=8).map(|n| seen(n * 1_000, PRIMER + n * 500)).collect();
        assert_eq!(figures(&commits, 1_000, begun)["kept_up"], 0);
    }
}
