//! How the speed goes over a long load: by tenths of the records, and with keys that are hot or many.

use std::fs;
use std::time::SystemTime;

use anyhow::Context;
use trueup_ledger::Epoch;

use super::Bench;
use super::figures::{Contestant, Figure, Outcome, Shown};
use super::job::{Input, Job, per};
use super::load;
use crate::commands::output::grouped;
use crate::commands::{meter, store};

/// Into how many parts the history is cut.
const TENTHS: u64 = 10;

const LAST_OF_FIRST: Figure =
    Figure { name: "last_of_first_thousandths", title: "last/first", shown: Shown::Thousandths };

pub(super) fn run(bench: &Bench<'_>) -> anyhow::Result<Outcome> {
    let events = bench.args.events;
    let bytes = bench.record_bytes().to_string();
    let many = bench.args.many_accounts.to_string();
    let shapes: [(&str, &[&str]); 4] = [
        ("even", &[]),
        ("hot account", &["--hot-account"]),
        ("hot tenant", &["--hot-tenant"]),
        ("many accounts", &["--accounts", &many]),
    ];
    let mut jobs = Vec::new();
    let mut contestants = Vec::new();
    for (name, shape) in shapes {
        let log = bench.folder.join(format!("{}.jsonl", name.replace(' ', "-")));
        bench.generate(&log, events, &[shape, &["--record-bytes", &bytes, "--out"]].concat())?;
        jobs.push(Job::new(bench, name.replace(' ', "-"), Input::Log(log)));
        contestants.push(Contestant::new(name));
    }
    bench.rounds("scale", &mut contestants, |number, contestant| {
        let job = &jobs[number];
        job.clear()?;
        let mut run = job.to_end(events)?;
        job.judge(events, &contestant.name)?;
        let tenths = tenths(job, events)?;
        if let (Some(first), Some(last)) = (tenths.first(), tenths.last()) {
            run.insert(LAST_OF_FIRST.name, per(*last, 1_000, *first));
        }
        contestant.tenths.push(tenths);
        Ok(run)
    })?;
    let mut figures = load::FIGURES.to_vec();
    figures.insert(1, LAST_OF_FIRST);
    Ok(Outcome {
        scenario: "scale",
        about: format!(
            "{} events of {bytes} B from a file, read to its end into a new store; one account in \
             every event, one tenant with 90 % of them, {} accounts. The plot is of the records a \
             second in each tenth of the records.",
            grouped(events),
            grouped(bench.args.many_accounts)
        ),
        figures,
        plotted: 1,
        contestants,
    })
}

/// Returns the records a second of each tenth of the records, by when the commits were written. A
/// history of fewer commits has fewer parts.
fn tenths(job: &Job<'_>, events: u64) -> anyhow::Result<Vec<u64>> {
    let opened = store::open(&store::location(&job.store().display().to_string())?)?;
    let folder = job.store().join("commits");
    let written = |epoch: Epoch| -> anyhow::Result<SystemTime> {
        let about = fs::metadata(folder.join(format!("{:020}.json", epoch.0)));
        about.and_then(|about| about.modified()).context("looking at a commit")
    };
    let mut tenths = Vec::new();
    let mut begun: Option<(SystemTime, u64)> = None;
    let mut read = 0;
    for record in opened.log.iter(Epoch(1), opened.head) {
        let record = record.context("reading the commits")?;
        let at = written(record.epoch)?;
        read += record.counts().read;
        // The first commit begins the clock: what was before it is the start of the program.
        let (since, after) = *begun.get_or_insert((at, read));
        if read > after && read * TENTHS / events > after * TENTHS / events {
            let took = at.duration_since(since).unwrap_or_default();
            tenths.push(meter::per_second(read - after, took));
            begun = Some((at, read));
        }
    }
    Ok(tenths)
}
