//! How fast a log is read to its end: with more workers, more processes, larger records.

use super::Bench;
use super::figures::{Contestant, Figure, Outcome, Shown};
use super::job::{Input, Job};
use crate::commands::output::grouped;

/// How many partitions the log has, so that each of two processes reads one.
const PARTITIONS: &str = "2";

/// What each run of a load is measured by.
pub(super) const FIGURES: [Figure; 7] = [
    Figure { name: "records_per_second", title: "records/s", shown: Shown::Count },
    Figure {
        name: "cpu_ms_per_million_records",
        title: "cpu-s/million",
        shown: Shown::Thousandths,
    },
    Figure { name: "peak_resident_bytes", title: "peak MB", shown: Shown::Megabytes },
    Figure { name: "state_bytes_per_1000_records", title: "state B", shown: Shown::Thousandths },
    Figure { name: "copies_bytes_per_1000_records", title: "copies B", shown: Shown::Thousandths },
    Figure { name: "deltas_bytes_per_1000_records", title: "deltas B", shown: Shown::Thousandths },
    Figure {
        name: "commits_bytes_per_1000_records",
        title: "commits B",
        shown: Shown::Thousandths,
    },
];

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Outcome> {
    let events = bench.args.events;
    let mut jobs = Vec::new();
    let mut contestants = Vec::new();
    for bytes in &bench.args.record_bytes {
        let log = bench.folder.join(format!("log-of-{bytes}"));
        let size = bytes.to_string();
        let shape = ["--record-bytes", &size, "--partitions", PARTITIONS, "--into"];
        bench.generate(&log, events, &shape)?;
        let mut job = |name: String, workers, processes| {
            let mut job = Job::new(bench, format!("load-{}", jobs.len()), Input::Log(log.clone()));
            (job.workers, job.processes) = (workers, processes);
            jobs.push(job);
            contestants.push(Contestant::new(format!("{name}, {bytes} B")));
        };
        for workers in &bench.args.workers {
            job(counted(*workers, "worker"), *workers, 1);
        }
        for processes in bench.args.processes.iter().filter(|count| **count > 1) {
            job(format!("{processes} processes"), 1, *processes);
        }
    }
    bench.rounds("load", &mut contestants, |number, _| {
        let job = &jobs[number];
        job.clear()?;
        let run = job.to_end(events)?;
        // The size of a record is in its metadata alone, which is no part of the books.
        job.judge(events, "the load's log")?;
        Ok(run)
    })?;
    Ok(Outcome {
        scenario: "load",
        about: format!(
            "A local log of {} events in {PARTITIONS} partitions, read to its end into a new store: \
             from the start of the program to its end, everything committed and checkpointed. \
             Bytes on disk are a record.",
            grouped(events)
        ),
        figures: FIGURES.to_vec(),
        plotted: 1,
        contestants,
    })
}

pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
