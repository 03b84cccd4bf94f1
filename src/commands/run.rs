//! `trueup run`: from sources to commits until stopped.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use trueup_ledger::{Counts, Epoch};
use trueup_sinks::{CommitLog, REDRIVE, Store};

use super::output::{self, grouped, note};
use super::{meter, sources, store, supervise};
use crate::cli::RunArgs;
use crate::cluster::{self, Membership};
use crate::config::{Config, StoreLocation, TransportConfig};
use crate::exit;
use crate::pipeline::{self, Options, Progress, RunError, Source, StateOptions, Summary};
use crate::redrive::{self, Redriven};

/// How often progress is logged where no terminal shows it.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Runs, and prints what was done.
///
/// # Errors
/// A bad configuration, and what [`pipeline::run`] says.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    if args.supervise {
        // What went wrong, the supervised run has said.
        std::process::exit(supervise::supervise()?.into());
    }
    let config = args.configuration()?;
    // After this the end of the supervisor is a signal like any other.
    let stop = stop_on_signals()?;
    if args.supervised {
        supervise::stop_with_supervisor()?;
    }
    let mut options = options(&config, args.until_caught_up, stop)?;
    let stopped = Arc::clone(&options.stop);
    if let Some(membership) = membership(&config, args)? {
        let generation = generation_in(Arc::clone(&options.store));
        let Some(joined) = cluster::join(membership, generation, &stopped)? else {
            note("stopped before all processes of the cluster were there");
            return Ok(());
        };
        options.cluster = Some(joined);
    }
    let mut watch = Watch::new();
    let outcome = pipeline::run(options, |progress| watch.see(progress));
    watch.line.finish_and_clear();
    let summary = outcome.map_err(|error| advised(error, &config))?;
    if args.json {
        return output::line(&json(&summary)?);
    }
    let how = if stopped.load(Ordering::Relaxed) { "stopped" } else { "caught up" };
    note(&described(&summary, how));
    Ok(())
}

/// Returns what this process is in its cluster; `None` where it is alone.
fn membership(config: &Config, args: &RunArgs) -> anyhow::Result<Option<Membership>> {
    let (cluster, process) = match (&config.cluster, args.process) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(exit::usage(
                "--process (or TRUEUP_PROCESS) is given, and the configuration has no [cluster]; \
                 leave it out, or write the section",
            ));
        }
        (Some(cluster), process) => (cluster, process),
    };
    let count = cluster.hosts.len();
    match process {
        Some(process) if process < count => Ok(Some(Membership {
            cluster: cluster.clone(),
            process,
            workers: config.workers,
            configuration_hash: config.agreement(),
            until_caught_up: args.until_caught_up,
        })),
        None if count == 1 => Ok(None),
        _ => Err(exit::usage(format!(
            "--process (or TRUEUP_PROCESS) has to say which of the {count} processes of \
             cluster.hosts this is, 0 to {}",
            count - 1
        ))),
    }
}

/// Returns a function that asks a store for the generation of its last commit.
fn generation_in(store: Arc<dyn Store>) -> Box<dyn Fn() -> Result<u64, String> + Send + Sync> {
    Box::new(move || {
        let last = CommitLog::open(Arc::clone(&store)).and_then(|log| match log.head()? {
            Some((epoch, _)) => Ok(log.read(epoch)?.generation),
            None => Ok(0),
        });
        last.map_err(|error| error.to_string())
    })
}

/// Builds what the pipeline needs from a configuration.
///
/// # Errors
/// A store or source that cannot be opened.
pub(super) fn options(
    config: &Config,
    until_caught_up: bool,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Options> {
    if let StoreLocation::Directory(path) = &config.store {
        apart(config, path)?;
    }
    let store = store::writable(&config.store)?;
    let source = |source: &crate::config::SourceConfig| {
        anyhow::Ok(Source {
            name: source.name.as_str().into(),
            transport: sources::transport(source)?,
            format: sources::format(source),
            backfill: source.backfill,
        })
    };
    let mut all: Vec<Source> = config.sources.iter().map(source).collect::<Result<_, _>>()?;
    if redrive::is_read(&store).context("looking for re-driven records")? {
        all.push(Source {
            name: REDRIVE.into(),
            transport: Box::new(Redriven::new(
                Arc::clone(&store),
                redrive::interval(&config.store),
            )),
            format: redrive::format(),
            backfill: false,
        });
    }
    Ok(Options {
        store,
        scale: config.amount_scale,
        rules: Arc::new(config.rules.clone()),
        workers: config.workers,
        commit_interval: config.commit_interval,
        commit_max_records: config.commit_max_records,
        sources: all,
        until_caught_up,
        cluster: None,
        state: Some(StateOptions {
            directory: config.state.directory.clone(),
            memory_limit: config.state.memory_limit,
            checkpoint_interval: config.state.checkpoint_interval,
        }),
        configuration_hash: config.hash(),
        stop,
    })
}

/// Checks that the store and a local log are not within each other: each would take the other's
/// files for its own.
fn apart(config: &Config, store: &Path) -> anyhow::Result<()> {
    let store = std::path::absolute(store).context("finding the store")?;
    for source in &config.sources {
        let TransportConfig::LocalLog { path } = &source.transport else { continue };
        let log = std::path::absolute(path).context("finding the log")?;
        if log.starts_with(&store) || (store.starts_with(&log) && !log.is_file()) {
            return Err(exit::usage(format!(
                "the store {} and the log {} lie within each other; give each its own directory",
                store.display(),
                log.display()
            )));
        }
    }
    Ok(())
}

/// Makes the first signal end the run after the open epoch, and a second one at once.
pub(super) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        // In this order: the second signal finds the flag that the first one set.
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("listening for signals")?;
    }
    Ok(stop)
}

/// Adds what to do where the error alone does not say it.
fn advised(error: RunError, config: &Config) -> anyhow::Error {
    let store = config.store.to_string();
    let advice = match &error {
        RunError::Fenced(_) => format!(
            "lost {store} to another writer; what was committed is right. Leave only one \
             running, then start again"
        ),
        RunError::Difference(_) => {
            format!("what was published in {store} is not what the log says")
        }
        RunError::Configuration(_) => "trueup cannot run with this configuration".to_owned(),
        RunError::Failed(_) => {
            "the run ended; everything committed is safe, start again once the cause is cured"
                .to_owned()
        }
    };
    anyhow::Error::new(error).context(advice)
}

/// Shows how the run goes: a line on a terminal, else a log entry now and then.
struct Watch {
    line: ProgressBar,
    begun: Instant,
    logged: Option<Instant>,
    new: Counts,
    replayed: Counts,
}

impl Watch {
    fn new() -> Watch {
        Watch {
            line: meter::line(),
            begun: Instant::now(),
            logged: None,
            new: Counts::default(),
            replayed: Counts::default(),
        }
    }

    fn see(&mut self, progress: &Progress) {
        if !progress.committed {
            self.replayed.add(progress.counts);
            // The rate is that of new events.
            self.begun = Instant::now();
            let read = grouped(self.replayed.read);
            let epoch = progress.epoch;
            self.line.set_message(format!("re-reading: epoch {epoch}, {read} events"));
            return;
        }
        self.new.add(progress.counts);
        let rate = meter::per_second(self.new.read, self.begun.elapsed());
        self.line.set_message(format!(
            "epoch {}: {} events/s; {}",
            progress.epoch,
            grouped(rate),
            counted(self.new)
        ));
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL) {
            self.logged = Some(now);
            tracing::info!(
                epoch = progress.epoch.0,
                rows = progress.rows,
                read = self.new.read,
                applied = self.new.applied,
                duplicate = self.new.duplicate,
                quarantined = self.new.quarantined,
                events_per_second = rate,
                "committed"
            );
        }
    }
}

fn counted(counts: Counts) -> String {
    format!(
        "{} read, {} applied, {} duplicate, {} quarantined",
        grouped(counts.read),
        grouped(counts.applied),
        grouped(counts.duplicate),
        grouped(counts.quarantined)
    )
}

/// Returns how long new records were read, and how many of them a second.
fn pace(summary: &Summary) -> (Duration, u64) {
    let reading = summary.elapsed.saturating_sub(summary.replay_elapsed);
    (reading, meter::per_second(summary.counts.read, reading))
}

fn described(summary: &Summary, how: &str) -> String {
    let (_, rate) = pace(summary);
    let mut text = format!(
        "{how} at epoch {}: {} in {} epochs, {} ({} events/s)",
        summary.last_epoch,
        counted(summary.counts),
        summary.epochs,
        meter::seconds(summary.elapsed),
        grouped(rate)
    );
    if summary.replayed.read > 0 {
        let read = grouped(summary.replayed.read);
        let took = meter::seconds(summary.replay_elapsed);
        text.push_str(&format!("; before that {read} events read again in {took}"));
    }
    if summary.unknown_fields > 0 {
        let fields = grouped(summary.unknown_fields);
        text.push_str(&format!("; {fields} fields of no schema ignored"));
    }
    if let Some(bytes) = peak_resident_bytes() {
        text.push_str(&format!("; peak memory {} MB", grouped(bytes / 1_000_000)));
    }
    text
}

fn json(summary: &Summary) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Done {
        last_epoch: Epoch,
        epochs: u64,
        counts: Counts,
        replayed: Counts,
        unknown_fields: u64,
        elapsed_ms: u128,
        replay_elapsed_ms: u128,
        events_per_second: u64,
        peak_resident_bytes: Option<u64>,
        cpu_ms: Option<u64>,
    }
    let (_, events_per_second) = pace(summary);
    Ok(serde_json::to_string(&Done {
        last_epoch: summary.last_epoch,
        epochs: summary.epochs,
        counts: summary.counts,
        replayed: summary.replayed,
        unknown_fields: summary.unknown_fields,
        elapsed_ms: summary.elapsed.as_millis(),
        replay_elapsed_ms: summary.replay_elapsed.as_millis(),
        events_per_second,
        peak_resident_bytes: peak_resident_bytes(),
        cpu_ms: cpu_ms(),
    })?)
}

/// Returns the most memory this process has held, where the system says so.
fn peak_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the time that processors have spent on this process, for it and in the kernel, where the
/// system says so.
fn cpu_ms() -> Option<u64> {
    /// The unit of the file is a hundredth of a second on every architecture of Linux but Alpha
    /// (`USER_HZ`, proc(5)).
    const TICK_MS: u64 = 10;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in parentheses, may hold anything; user and system time are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_MS)
}
