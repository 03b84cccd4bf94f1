//! `trueup demo`: what trueup is for, within a minute, on a machine that has nothing else.
//!
//! Generates a hostile workload into a local log, runs the pipeline on it, and while it runs lets
//! three things happen: a leg arrives without its other side (an imbalance appears), the other
//! side arrives (it is cured), and an invoice of seven years ago is corrected (the exact rows that
//! become false are retracted, the true ones emitted).

mod scene;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use trueup_ledger::{Counts, Epoch};
use trueup_sources::local_log::append::{append, by_target_transaction};

use super::{meter, output, run as run_command};
use crate::cli::DemoArgs;
use crate::config::{Config, Flags, RuleFlags};
use crate::exit;
use crate::generate::{Workload, write_jsonl};
use crate::pipeline::{self, Progress, RunError};

/// How long one step of the demo may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The partitions of the demo's log.
const PARTITIONS: usize = 2;

/// Plays the demo.
///
/// # Errors
/// A directory that cannot be used, and what [`pipeline::run`] says.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let folder = folder(args.dir.as_deref())?;
    let (log, books) = (folder.join("log"), folder.join("books"));
    say("trueup keeps the books true while they change.\n")?;
    generate(&log, args.events)?;
    let mut stage = Stage::open(&log, &books)?;
    stage.first_load(args.events)?;
    scene::imbalance(&mut stage)?;
    scene::correction(&mut stage)?;
    stage.close()?;
    scene::farewell(&log, &books)
}

/// Prints a paragraph.
fn say(text: &str) -> anyhow::Result<()> {
    output::line(text)
}

/// Returns an empty directory that outlives the demo, so that its files can be looked at.
fn folder(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(folder) = wanted else {
        let temporary = tempfile::Builder::new().prefix("trueup-demo-").tempdir();
        return Ok(temporary.context("making a temporary directory")?.keep());
    };
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    if entries.next().is_some() {
        let shown = folder.display();
        return Err(exit::usage(format!("{shown} is not empty; name a new directory with --dir")));
    }
    Ok(folder.to_owned())
}

fn generate(log: &Path, events: u64) -> anyhow::Result<()> {
    let workload = Workload { events, seed: 7, ..Workload::default() };
    let mut spool = tempfile::tempfile().context("making a temporary file")?;
    let summary = {
        let mut out = BufWriter::with_capacity(1 << 20, &mut spool);
        let summary = write_jsonl(&workload, &mut out).context("generating events")?;
        out.flush().context("generating events")?;
        summary
    };
    std::io::Seek::rewind(&mut spool).context("reading the generated events")?;
    let input = std::io::BufReader::with_capacity(1 << 20, spool);
    append(log, PARTITIONS, input, by_target_transaction).context("filling the log")?;
    let grouped = output::grouped;
    say(&format!(
        "1. A log of {} events in {PARTITIONS} partitions, as bad as real ones: {} corrections, {} \
         reversals,\n   {} refunds, {} holds, {} duplicates and {} broken records among them.\n   {}",
        grouped(summary.records),
        grouped(summary.corrections),
        grouped(summary.reversals),
        grouped(summary.refunds),
        grouped(summary.holds),
        grouped(summary.duplicates()),
        grouped(summary.poison_records()),
        log.display(),
    ))
}

/// A running pipeline, and what it has told so far.
pub(super) struct Stage {
    pub(super) log: PathBuf,
    pub(super) books: PathBuf,
    stop: Arc<AtomicBool>,
    told: Receiver<Progress>,
    pipeline: std::thread::JoinHandle<Result<pipeline::Summary, RunError>>,
    counts: Counts,
    last: Epoch,
}

impl Stage {
    fn open(log: &Path, books: &Path) -> anyhow::Result<Stage> {
        let config = Config::from_flags(Flags {
            store: books.display().to_string(),
            input: log.to_owned(),
            workers: None,
            amount_scale: None,
            commit_interval: Some(Duration::from_millis(250)),
            commit_max_records: Some(20_000),
            state: None,
            memory_limit: None,
            checkpoint_interval: None,
            rules: RuleFlags::default(),
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let options = run_command::options(&config, false, Arc::clone(&stop))?;
        let (tell, told) = bounded(1024);
        let pipeline = std::thread::Builder::new()
            .name("demo-pipeline".to_owned())
            .spawn(move || {
                pipeline::run(options, |progress| {
                    // A demo that has ended no longer listens.
                    let _ = tell.send(progress.clone());
                })
            })
            .context("starting a thread")?;
        Ok(Stage {
            log: log.to_owned(),
            books: books.to_owned(),
            stop,
            told,
            pipeline,
            counts: Counts::default(),
            last: Epoch(0),
        })
    }

    fn first_load(&mut self, events: u64) -> anyhow::Result<()> {
        let bar = meter::bar(events, "   committing");
        let started = Instant::now();
        self.wait_for(events, |counts| bar.set_position(counts.read))?;
        bar.finish_and_clear();
        let Counts { read, applied, duplicate, quarantined } = self.counts;
        let grouped = output::grouped;
        say(&format!(
            "\n2. The worker threads have them committed in {} epochs, {} ({} events/s):\n   \
             {} read = {} applied + {} duplicate + {} quarantined. Nothing is dropped.",
            self.last,
            meter::seconds(started.elapsed()),
            grouped(meter::per_second(read, started.elapsed())),
            grouped(read),
            grouped(applied),
            grouped(duplicate),
            grouped(quarantined),
        ))
    }

    /// Waits until `records` have been committed in all.
    fn wait_for(&mut self, records: u64, mut see: impl FnMut(Counts)) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.counts.read < records {
            match self.told.recv_timeout(Duration::from_millis(200)) {
                Ok(progress) => {
                    self.counts.add(progress.counts);
                    self.last = progress.epoch;
                    see(self.counts);
                }
                Err(RecvTimeoutError::Timeout) if started.elapsed() < PATIENCE => {}
                Err(_) => return Err(self.gave_up()),
            }
        }
        Ok(())
    }

    fn gave_up(&mut self) -> anyhow::Error {
        self.stop.store(true, Ordering::Release);
        let committed = output::grouped(self.counts.read);
        exit::failed(format!(
            "the demo came to a halt after {committed} records; see the log above"
        ))
    }

    /// Appends records, waits for their commit, and returns its epoch.
    pub(super) fn append(&mut self, records: &[String]) -> anyhow::Result<Epoch> {
        let text = records.join("\n");
        append(&self.log, PARTITIONS, text.as_bytes(), by_target_transaction)
            .context("appending to the log")?;
        self.wait_for(self.counts.read + records.len() as u64, |_| ())?;
        Ok(self.last)
    }

    fn close(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Release);
        match self.pipeline.join() {
            Ok(outcome) => {
                outcome?;
                Ok(())
            }
            Err(_) => Err(exit::failed("the demo's pipeline thread panicked")),
        }
    }
}
