//! `trueup quarantine`: the records that were not accepted, as a control account: what was
//! quarantined less what was re-driven is open. From the committed files and the re-drives alone.

pub(super) mod account;
mod list;
mod redrive;

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use trueup_ledger::Epoch;
use trueup_sinks::{Audit, QUARANTINE, Quarantined, Redrives, Store, scan_quarantine_file};

use super::output::{Output, escaped};
use super::store::{self, Opened};
use crate::cli::{QuarantineArgs, QuarantineCommand, QuarantineShowArgs};
use crate::exit;

/// Does what the subcommand says.
///
/// # Errors
/// A record that is not there, a damaged store, or files that do not hold what the commits count.
pub fn run(args: &QuarantineArgs) -> anyhow::Result<()> {
    match &args.command {
        QuarantineCommand::List(args) => list::list(args),
        QuarantineCommand::Show(args) => show(args),
        QuarantineCommand::Redrive(args) => redrive::redrive(args),
    }
}

/// The re-drives of a store.
type Log = Redrives<Arc<dyn Store>>;

/// Reads the re-drives.
fn redrives(store: &Arc<dyn Store>) -> anyhow::Result<Log> {
    Redrives::open(Arc::clone(store)).context("reading what was re-driven")
}

/// Returns the re-drive of a record, where there is one.
fn redriven<'a>(log: &'a Log, record: &Quarantined<'_>) -> Option<&'a Audit> {
    log.of(record.source, record.partition, record.position)
}

/// Calls `each` with every record that was quarantined up to an epoch; returns how many there are.
///
/// # Errors
/// Files that do not hold as many as the commits count, and what `each` says.
pub(super) fn scan(
    opened: &Opened,
    upto: Epoch,
    mut each: impl FnMut(Quarantined<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let (mut found, mut counted) = (0, 0);
    for commit in opened.log.iter(Epoch(1), upto) {
        let commit = commit.context("reading the commits")?;
        counted += commit.counts().quarantined;
        for file in commit.files.iter().filter(|file| file.view == QUARANTINE) {
            scan_quarantine_file(&**opened.log.store(), file, |record| {
                found += 1;
                each(record)
            })?;
        }
    }
    if found == counted {
        return Ok(found);
    }
    Err(exit::difference(format!(
        "the commits count {counted} quarantined records, the files hold {found}; find the first bad \
         commit with `trueup verify`"
    )))
}

fn partition(record: &Quarantined<'_>) -> String {
    format!("{}/{}", record.source, record.partition)
}

/// Says that there is no such record.
fn missing(store: &str, partition: &str, position: &str) -> anyhow::Error {
    exit::usage(format!(
        "no record of {partition} at {position} is quarantined; `trueup quarantine list --store \
         {store} --each` says which are"
    ))
}

fn show(args: &QuarantineShowArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let log = redrives(opened.log.store())?;
    let mut found = 0;
    scan(&opened, opened.head, |record| {
        if partition(&record) != args.partition || record.position != args.position {
            return Ok(());
        }
        found += 1;
        print(&record, redriven(&log, &record), args.raw)
    })?;
    if found > 0 {
        return Ok(());
    }
    Err(missing(&args.store, &args.partition, &args.position))
}

fn print(record: &Quarantined<'_>, audit: Option<&Audit>, raw: bool) -> anyhow::Result<()> {
    let mut out = Output::open();
    let written = if raw {
        out.write_all(record.raw)
    } else {
        let state = audit.map_or_else(|| "open".to_owned(), described);
        let text = String::from_utf8_lossy(record.raw);
        let fields = [
            ("reason", record.reason.to_owned()),
            ("detail", record.detail.to_owned()),
            ("epoch", record.epoch.to_string()),
            ("partition", partition(record)),
            ("position", record.position.to_owned()),
            ("correlation id", record.correlation_id.unwrap_or_default().to_owned()),
            ("bytes", record.raw.len().to_string()),
            ("state", state),
        ];
        let line = |(name, value): (&str, String)| format!("{name:<15} {}\n", escaped(&value));
        let fields: String = fields.into_iter().map(line).collect();
        writeln!(out, "{fields}\n{}", escaped(&text))
    };
    written.and_then(|()| out.flush()).context("writing to standard output")
}

/// Says who re-drove a record, when and why.
fn described(audit: &Audit) -> String {
    format!(
        "redriven {} by {} as record {} of the source redrive, {}: {}",
        audit.when,
        audit.who,
        audit.number,
        if audit.replaced { "mended" } else { "as it was" },
        audit.why
    )
}
