//! `trueup bench`: measures this program from outside, as an operator would run it.
//!
//! Every run is a process of its own on files that `trueup generate --workload ledger` made. The
//! contestants of a scenario take turns, round by round, so that what the machine does beside hits
//! all alike, and are compared within rounds. No time counts before the books are judged: each record
//! of the input applied once, and equal digests wherever the same records were read.
//!
//! ```text
//! scenario ─▶ job (runs, sizes) ─▶ figures ─▶ report (table, JSON) and plot (SVG)
//!        └──▶ watch (when commits come)
//! ```

mod corrections;
mod figures;
mod job;
#[cfg(feature = "kafka")]
mod kafka;
mod latency;
mod load;
mod machine;
mod plot;
mod report;
mod restart;
mod scale;
mod watch;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use indicatif::ProgressBar;
use trueup_ledger::{Counts, Epoch};

use super::{child, meter, output, store};
use crate::cli::{BenchArgs, Scenario};
use crate::exit;
use figures::{Contestant, Outcome, Run};
use machine::Machine;

/// Measures, and prints what came of it.
///
/// # Errors
/// Bad usage; books that differ; a run that fails; what the disk says.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let scenarios = scenarios(args)?;
    let folder = Folder::new(args.dir.as_deref())?;
    let machine = Machine::describe(&folder.path);
    if let Some(doubt) = machine.doubt() {
        output::note(&doubt);
    }
    let bench = Bench {
        args,
        program: std::env::current_exe().context("finding this program")?,
        folder: folder.path.clone(),
        bar: meter::line(),
        books: RefCell::default(),
    };
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let outcome = match scenario {
            Scenario::Load => load::run(&bench),
            Scenario::Kafka => from_kafka(&bench),
            Scenario::Latency => latency::run(&bench),
            Scenario::Corrections => corrections::run(&bench),
            Scenario::Restart => restart::run(&bench),
            Scenario::Scale => scale::run(&bench),
        }?;
        if !args.json {
            bench.bar.suspend(|| report::print(&outcome))?;
        }
        outcomes.push(outcome);
    }
    bench.bar.finish_and_clear();
    let json = report::json(&machine, args.seed, &outcomes)?;
    if let Some(out) = &args.out {
        report::write(out, &json, &outcomes)?;
    }
    if args.json {
        return output::line(&json);
    }
    output::line(&machine.to_string())
}

/// Returns what to measure, each once.
fn scenarios(args: &BenchArgs) -> anyhow::Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    let usual = args.scenarios.is_empty().then_some(BenchArgs::USUAL.as_slice());
    for scenario in usual.unwrap_or(&args.scenarios) {
        if !scenarios.contains(scenario) {
            scenarios.push(*scenario);
        }
    }
    match (&args.kafka, scenarios.contains(&Scenario::Kafka)) {
        (None, true) => Err(exit::usage("kafka needs --kafka HOST:PORT, a broker to use")),
        (Some(_), false) => Err(exit::usage("--kafka is for the scenario kafka; name it")),
        _ => Ok(scenarios),
    }
}

#[cfg(feature = "kafka")]
fn from_kafka(bench: &Bench<'_>) -> anyhow::Result<Outcome> {
    let brokers = bench.args.kafka.as_deref().unwrap_or_default();
    kafka::run(bench, brokers)
}

#[cfg(not(feature = "kafka"))]
fn from_kafka(_: &Bench<'_>) -> anyhow::Result<Outcome> {
    Err(exit::usage("this trueup was built without Kafka; build it with `--features kafka`"))
}

/// Where the stores and logs are; a temporary one goes away with it.
struct Folder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn new(wanted: Option<&Path>) -> anyhow::Result<Folder> {
        if let Some(path) = wanted {
            fs::create_dir(path)
                .with_context(|| format!("making {}, which must not exist yet", path.display()))
                .map_err(|error| exit::usage(exit::describe(&error)))?;
            return Ok(Folder { path: path.to_owned(), _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("trueup-bench-").tempdir();
        let temporary = temporary.context("making a temporary directory")?;
        Ok(Folder { path: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

/// What all scenarios share.
struct Bench<'a> {
    args: &'a BenchArgs,
    program: PathBuf,
    folder: PathBuf,
    bar: ProgressBar,
    /// The digests of what was read, by a name of it.
    books: RefCell<BTreeMap<String, String>>,
}

impl Bench<'_> {
    /// Generates a ledger workload, with these arguments beside, into a place that has its own name.
    fn generate(&self, place: &Path, events: u64, args: &[&str]) -> anyhow::Result<()> {
        self.bar.set_message(format!("generating {} events", output::grouped(events)));
        let mut command = Command::new(&self.program);
        command.args(["generate", "--workload", "ledger", "--events"]).arg(events.to_string());
        command.arg("--seed").arg(self.args.seed.to_string()).args(args).arg(place);
        let output = command.stdin(Stdio::null()).output().context("starting the generator")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(exit::failed(format!("trueup generate: {words}")));
        }
        Ok(())
    }

    /// The size of records where sizes are not compared.
    fn record_bytes(&self) -> u32 {
        self.args.record_bytes.first().copied().unwrap_or(1_024)
    }

    /// Adds up what the commits of a store say.
    fn counts(&self, store: &Path) -> anyhow::Result<Counts> {
        let opened = store::open(&store::location(&store.display().to_string())?)?;
        let mut counts = Counts::default();
        for record in opened.log.iter(Epoch(1), opened.head) {
            counts.add(record.context("reading the commits")?.counts());
        }
        Ok(counts)
    }

    /// Checks that a store has the books of all stores before it for which `of` was the same.
    fn same_books(&self, store: &Path, of: &str) -> anyhow::Result<()> {
        let digest = child::digest(&self.program, store)?;
        let mut books = self.books.borrow_mut();
        let first = books.entry(of.to_owned()).or_insert_with(|| digest.clone());
        if *first == digest {
            return Ok(());
        }
        Err(exit::difference(format!(
            "two runs over {of} have other books; no time counts. The last one: {digest}"
        )))
    }

    /// Lets the contestants take turns: each runs once in each round.
    fn rounds(
        &self,
        what: &str,
        contestants: &mut [Contestant],
        mut once: impl FnMut(usize, &mut Contestant) -> anyhow::Result<Run>,
    ) -> anyhow::Result<()> {
        for round in 1..=self.args.runs {
            for (number, contestant) in contestants.iter_mut().enumerate() {
                let (runs, name) = (self.args.runs, &contestant.name);
                self.bar.set_message(format!("{what}: {name}, round {round} of {runs}"));
                let run = once(number, contestant)?;
                contestant.runs.push(run);
            }
        }
        Ok(())
    }
}
