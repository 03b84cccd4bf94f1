//! What a correction of an old transaction takes, after few transactions and after many.
//!
//! A run follows the log of a store that has them, and corrections of any of them, drawn evenly, are
//! appended: one at a time, for the latency of one, and a thousand in one write, for what each takes
//! where it does not wait alone.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;

use super::Bench;
use super::figures::{Contestant, Figure, Outcome, Run, Shown, spread};
use super::job::{Input, Job, micros};
use super::latency::Feed;
use super::watch::Watch;
use crate::commands::output::grouped;

const FIGURES: [Figure; 4] = [
    Figure { name: "one_us", title: "one, ms", shown: Shown::Thousandths },
    Figure { name: "one_us_max", title: "one at most, ms", shown: Shown::Thousandths },
    Figure { name: "of_many_ns", title: "of many, us each", shown: Shown::Thousandths },
    Figure { name: "many_us", title: "many, ms", shown: Shown::Thousandths },
];

/// How many corrections are made alone in each round; the first only wakes the run.
const ALONE: u64 = 21;
/// How many are made at once.
const MANY: u64 = 1_000;

/// The epochs of the runs that are measured, unless asked otherwise: a correction shall not wait.
const COMMIT_INTERVAL: std::time::Duration = std::time::Duration::from_millis(10);

struct History<'a> {
    events: u64,
    job: Job<'a>,
    log: PathBuf,
    corrections: Feed,
    appended: u64,
}

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Outcome> {
    let mut histories = Vec::new();
    let mut contestants = Vec::new();
    for events in &bench.args.corrections_after {
        let name = format!("after {}", grouped(*events));
        bench.bar.set_message(format!("corrections: making the store, {name}"));
        histories.push(History::new(bench, *events)?);
        contestants.push(Contestant::new(name));
    }
    bench.rounds("corrections", &mut contestants, |number, _| histories[number].round())?;
    for history in &histories {
        history.judge(bench)?;
    }
    let interval = bench.args.commit_interval.unwrap_or(COMMIT_INTERVAL).as_millis();
    Ok(Outcome {
        scenario: "corrections",
        about: format!(
            "Corrections of transactions drawn evenly from all that a store has, appended while a run \
             follows with a commit_interval of {interval} ms: {} one by one, and {} in one write, \
             from the append until the commit is durable.",
            ALONE - 1,
            grouped(MANY)
        ),
        figures: FIGURES.to_vec(),
        plotted: 1,
        contestants,
    })
}

impl<'a> History<'a> {
    fn new(bench: &'a Bench<'a>, events: u64) -> anyhow::Result<History<'a>> {
        let log = bench.folder.join(format!("history-{events}.jsonl"));
        let late = bench.folder.join(format!("corrections-{events}.jsonl"));
        let bytes = bench.record_bytes().to_string();
        bench.generate(&log, events, &["--record-bytes", &bytes, "--out"])?;
        let corrections = (ALONE + MANY) * u64::from(bench.args.runs);
        let of = events.to_string();
        let args = ["--record-bytes", &bytes, "--corrections-of", &of, "--out"];
        bench.generate(&late, corrections, &args)?;
        let name = format!("history-{events}");
        let mut job = Job::new(bench, name, Input::Log(log.clone()));
        job.to_end(events)?;
        job.commit_interval = Some(bench.args.commit_interval.unwrap_or(COMMIT_INTERVAL));
        let corrections = Feed::open(&late, corrections)?;
        Ok(History { events, job, log, corrections, appended: 0 })
    }

    fn round(&mut self) -> anyhow::Result<Run> {
        let mut watch = Watch::of(&self.job.store())?;
        let mut running = self.job.start(false)?;
        let mut log = OpenOptions::new().append(true).open(&self.log).context("opening a log")?;
        let mut append = |count: u64| -> anyhow::Result<u64> {
            let begun = Instant::now();
            self.corrections.copy(self.appended, self.appended + count, &mut log)?;
            self.appended += count;
            let seen = watch.until(self.events + self.appended, &mut running)?;
            let at = seen.last().map_or_else(Instant::now, |seen| seen.at);
            Ok(micros(at.duration_since(begun)))
        };
        append(1)?;
        let alone = (1..ALONE).map(|_| append(1)).collect::<anyhow::Result<Vec<u64>>>()?;
        let many = append(MANY)?;
        self.job.stop(running)?;
        let mut run = Run::from([("many_us", many), ("of_many_ns", many * 1_000 / MANY)]);
        if let Some(spread) = spread(alone.into_iter()) {
            run.extend([("one_us", spread.median), ("one_us_max", spread.max)]);
        }
        Ok(run)
    }

    /// Checks that the store has the books of one that reads the whole log in one go.
    fn judge(&self, bench: &Bench<'_>) -> anyhow::Result<()> {
        let (records, books) = (self.events + self.appended, self.log.display().to_string());
        bench.bar.set_message("corrections: judging the books");
        self.job.judge(records, &books)?;
        let at_once = Job::new(bench, "history-at-once", Input::Log(self.log.clone()));
        at_once.clear()?;
        at_once.to_end(records)?;
        at_once.judge(records, &books)?;
        at_once.clear()
    }
}
