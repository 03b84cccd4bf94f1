//! How soon a run commits again that was killed in the middle.

use std::time::Instant;

use super::Bench;
use super::figures::{Contestant, Figure, Outcome, Run, Shown};
use super::job::{Input, Job, micros};
use super::watch::Watch;
use crate::commands::output::grouped;

const FIGURES: [Figure; 3] = [
    Figure { name: "restart_us", title: "restart ms", shown: Shown::Thousandths },
    Figure { name: "committed_records", title: "after records", shown: Shown::Count },
    Figure { name: "derived_records", title: "derived again", shown: Shown::Count },
];

/// The least number of epochs of the whole log, so that it can be killed between commits.
const EPOCHS_MIN: u64 = 50;

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Outcome> {
    let events = bench.args.events;
    let log = bench.folder.join("restart.jsonl");
    let bytes = bench.record_bytes().to_string();
    bench.generate(&log, events, &["--record-bytes", &bytes, "--out"])?;
    let mut job = Job::new(bench, "restart", Input::Log(log));
    job.commit_max_records = Some((events / EPOCHS_MIN).clamp(1, 100_000));
    let mut contestants = [Contestant::new("kill -9")];
    // One store, killed again and again, each time further on.
    let kills = u64::from(bench.args.runs);
    let mut watch = Watch::of(&job.store())?;
    let mut running = job.start(false)?;
    let mut kill = 0;
    bench.rounds("restart", &mut contestants, |_, _| {
        kill += 1;
        let part = |of: u64| events * of / (kills + 2);
        watch.until_far_behind_copy((part(kill), part(kill + 1)), &mut running)?;
        for child in &mut running.0 {
            child.kill()?;
            child.wait()?;
        }
        // It may have committed a last time before it died.
        watch.begin_again(&job.store())?;
        let (committed, derived) = (watch.read(), watch.behind_copy()?);
        let begun = Instant::now();
        running = job.start(false)?;
        let seen = watch.until(committed + 1, &mut running)?;
        let at = seen.first().map_or_else(Instant::now, |seen| seen.at);
        Ok(Run::from([
            ("restart_us", micros(at.duration_since(begun))),
            ("committed_records", committed),
            ("derived_records", derived),
        ]))
    })?;
    watch.until(events, &mut running)?;
    job.stop(running)?;
    job.judge(events, "the log of restarts")?;
    let undisturbed = Job::new(bench, "restart-undisturbed", job.input().clone());
    undisturbed.to_end(events)?;
    undisturbed.judge(events, "the log of restarts")?;
    Ok(Outcome {
        scenario: "restart",
        about: format!(
            "A run over {} events is killed by -9 {kills} times, further on each time, as soon as about as much \
             as ever lies behind the last copy of its state: from the start of the program to its first new \
             commit. State on disk is kept, the page cache is warm.",
            grouped(events)
        ),
        figures: FIGURES.to_vec(),
        plotted: 1,
        contestants: contestants.into(),
    })
}
