//! `trueup verify`: is everything that was published true?
//!
//! ```text
//! commits ─▶ published: chain, files, control totals ─▶ a cut an epoch: ranges, counts, digests
//! log ─────▶ replay: the records of each cut ─▶ reference ─▶ views ─compare─▶ digests of the last
//!                                             └─ on a difference: bisect over the epochs
//! ```
//!
//! What is compared: the hash chain; size, SHA-256, schema and totals of every file; for each epoch
//! what became of its records and which alerts follow from its imbalances; and at the last epoch
//! every row of every view. What an epoch quarantined is taken from its files: a later program may
//! accept such a record, and it counts all the same only once it is re-driven; each
//! re-drive is held against its record, and against the commit that read it. The reference knows
//! when each record arrived, since some rows depend on it, and the rules that the commits keep. Only
//! the bisection looks at the rows of epochs before the last, so an epoch that was wrong and put
//! right again by a later one is found with `--epoch` alone.

mod alerts;
mod difference;
mod published;
mod replay;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use trueup_ledger::{Counts, Epoch, View};
use trueup_sinks::{REDRIVE, Store};

use super::output::{self, grouped};
use super::store;
use super::{meter, quarantine, sources};
use crate::cli::VerifyArgs;
use crate::config::{Config, FormatConfig, SourceConfig, TransportConfig};
use crate::exit::{self, Exit};
use crate::redrive::{self, Redriven};
use published::{Cut, Published};
use replay::{Log, LogSource};

/// Verifies, and prints what was verified.
///
/// # Errors
/// The first thing that is not what it should be, with its epoch.
pub fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let location = match (&args.store, &config) {
        (Some(store), _) => store::location(store)?,
        (None, Some(config)) => config.store.clone(),
        (None, None) => return Err(exit::usage("name the store with --store or -c")),
    };
    let opened = store::open(&location)?;
    let epoch = opened.epoch(args.epoch)?;
    let rules = opened.rules()?;
    let Published { cuts, alerts, wrong_alerts } = published::check(&opened, &rules, epoch)?;
    quarantine::account::check(&opened, epoch)?;
    let store = opened.log.store();
    let sources = open_log(args.input.as_deref(), config.as_ref(), store, &cuts)?;
    let (store, scale) = (Arc::clone(store), opened.scale);
    let mut log = Log { store, sources, scale, rules };
    let total = counts(&cuts).read;
    let bar = meter::bar(total, "reading the log");
    let reference = match log.replay(&cuts, true, &bar) {
        Ok(reference) => reference,
        Err(stopped) => {
            bar.finish_and_clear();
            return Err(difference::before(&opened, &mut log, &cuts, stopped)?);
        }
    };
    bar.set_message("comparing every view");
    let mut expected = reference.views();
    expected.insert(View::Alerts, alerts);
    drop(reference);
    let last_is_wrong =
        cuts.last().is_some_and(|last| !difference::differing(last, &expected).is_empty());
    // An alert that was wrong and is so no longer has been sent all the same.
    let wrong = if last_is_wrong { Some(cuts.len()) } else { wrong_alerts.map(|place| place + 1) };
    if let Some(wrong) = wrong {
        drop(expected);
        bar.finish_and_clear();
        return Err(difference::locate(&opened, &mut log, &cuts[..wrong])?);
    }
    bar.finish_and_clear();
    let rows: Vec<String> = expected
        .iter()
        .map(|(view, rows)| {
            format!("  {:<20} {:>15} rows", view.name(), grouped(rows.0.len() as u64))
        })
        .collect();
    output::line(&format!(
        "verified {} epochs and {} records in {}: the chain of commits, every file, what became \
         of every record, and every row at epoch {epoch}\n{}",
        cuts.len(),
        grouped(total),
        meter::seconds(started.elapsed()),
        rows.join("\n")
    ))
}

fn counts(cuts: &[Cut]) -> Counts {
    let mut sum = Counts::default();
    for input in cuts.iter().flat_map(|cut| &cut.inputs) {
        sum.add(input.counts);
    }
    sum
}

/// Finds the sources that the commits name, in the configuration or behind `--input`; what was
/// re-driven is in the store.
fn open_log(
    input: Option<&Path>,
    config: Option<&Config>,
    store: &Arc<dyn Store>,
    cuts: &[Cut],
) -> anyhow::Result<Vec<LogSource>> {
    let mut names: Vec<&str> =
        cuts.iter().flat_map(|cut| &cut.inputs).map(|input| input.source.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    if let Some(place) = names.iter().position(|name| *name == REDRIVE) {
        names.remove(place);
        found.push(LogSource {
            name: REDRIVE.to_owned(),
            transport: Box::new(Redriven::new(Arc::clone(store), Duration::ZERO)),
            format: redrive::format(),
        });
    }
    let configured: Vec<SourceConfig> = match (input, config) {
        (Some(_), _) if names.len() > 1 => {
            return Err(exit::usage(format!(
                "the store was made from the sources {}; name them with -c FILE, not --input",
                names.join(", ")
            )));
        }
        (Some(path), _) => names.iter().map(|name| local_log(name, path)).collect(),
        (None, Some(config)) => config.sources.clone(),
        (None, None) => Vec::new(),
    };
    for name in names {
        let Some(source) = configured.iter().find(|source| source.name == name) else {
            return Err(exit::usage(format!(
                "the commits read a source {name}, which the configuration does not have; add it"
            )));
        };
        found.push(LogSource {
            name: name.to_owned(),
            transport: sources::transport(source)
                .with_context(|| format!("opening the source {name}"))?,
            format: sources::format(source),
        });
    }
    Ok(found)
}

fn local_log(name: &str, path: &Path) -> SourceConfig {
    SourceConfig {
        name: name.to_owned(),
        transport: TransportConfig::LocalLog { path: path.to_owned() },
        format: FormatConfig::Json,
        backfill: false,
    }
}

/// Names the epoch in an error. It has a `flaw` only where the error says that something differs.
fn in_epoch(epoch: Epoch, flaw: &'static str) -> impl Fn(anyhow::Error) -> anyhow::Error {
    move |error| {
        let differs = Exit::of(&error) == Exit::Difference;
        error.context(if differs {
            format!("epoch {epoch} is the first {flaw} one")
        } else {
            format!("epoch {epoch} cannot be verified")
        })
    }
}
