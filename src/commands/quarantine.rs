//! `trueup quarantine`: the records that were not accepted, from the committed files alone.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use trueup_ledger::Epoch;
use trueup_sinks::{QUARANTINE, Quarantined, scan_quarantine_file};

use super::output::{self, Column, Kind, Output, escaped, grouped, note};
use super::store::{self, Opened};
use crate::cli::{
    OutputFormat, QuarantineArgs, QuarantineCommand, QuarantineListArgs, QuarantineShowArgs,
};
use crate::exit;

/// Does what the subcommand says.
///
/// # Errors
/// A record that is not there, a damaged store, or files that do not hold what the commits count.
pub fn run(args: &QuarantineArgs) -> anyhow::Result<()> {
    match &args.command {
        QuarantineCommand::List(args) => list(args),
        QuarantineCommand::Show(args) => show(args),
    }
}

/// Calls `each` with every record that was quarantined up to an epoch; returns how many there are.
fn scan(
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

/// What is known of one reason.
struct Group {
    records: u64,
    first_epoch: Epoch,
    last_epoch: Epoch,
    /// Partition, position and detail of the first record.
    example: [String; 3],
}

fn list(args: &QuarantineListArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut wanted = 0;
    let all = scan(&opened, epoch, |record| {
        let passes = |filter: &Option<String>, text| filter.as_deref().is_none_or(|f| f == text);
        if !passes(&args.reason, record.reason) || !passes(&args.source, record.source) {
            return Ok(());
        }
        wanted += 1;
        if args.each {
            rows.push(cells(&record));
            return Ok(());
        }
        let group = groups.entry(record.reason.to_owned()).or_insert_with(|| Group {
            records: 0,
            first_epoch: record.epoch,
            last_epoch: record.epoch,
            example: [partition(&record), record.position.to_owned(), record.detail.to_owned()],
        });
        group.records += 1;
        group.last_epoch = record.epoch;
        Ok(())
    })?;
    if args.each {
        output::print(args.format, &EACH, rows.into_iter())?;
    } else {
        let cells = groups.into_iter().map(|(reason, group)| {
            let Group { records, first_epoch, last_epoch, example } = group;
            let numbers = [records, first_epoch.0, last_epoch.0].map(|number| number.to_string());
            [reason].into_iter().chain(numbers).chain(example).collect()
        });
        output::print(args.format, &BY_REASON, cells)?;
    }
    if args.format == OutputFormat::Table {
        let of = if wanted == all { String::new() } else { format!(" of {}", grouped(all)) };
        note(&format!("quarantine at epoch {epoch}: {}{of} records", grouped(wanted)));
    }
    Ok(())
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const BY_REASON: [Column; 7] = [
    column("reason", Kind::Text),
    column("records", Kind::Integer),
    column("first_epoch", Kind::Integer),
    column("last_epoch", Kind::Integer),
    column("partition", Kind::Text),
    column("position", Kind::Text),
    column("detail", Kind::Text),
];

const EACH: [Column; 7] = [
    column("epoch", Kind::Integer),
    column("partition", Kind::Text),
    column("position", Kind::Text),
    column("reason", Kind::Text),
    column("bytes", Kind::Integer),
    column("correlation_id", Kind::Text),
    column("detail", Kind::Text),
];

fn partition(record: &Quarantined<'_>) -> String {
    format!("{}/{}", record.source, record.partition)
}

fn cells(record: &Quarantined<'_>) -> Vec<String> {
    vec![
        record.epoch.to_string(),
        partition(record),
        record.position.to_owned(),
        record.reason.to_owned(),
        record.raw.len().to_string(),
        record.correlation_id.unwrap_or_default().to_owned(),
        record.detail.to_owned(),
    ]
}

fn show(args: &QuarantineShowArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let mut found = 0;
    scan(&opened, opened.head, |record| {
        if partition(&record) != args.partition || record.position != args.position {
            return Ok(());
        }
        found += 1;
        print(&record, args.raw)
    })?;
    if found > 0 {
        return Ok(());
    }
    Err(exit::usage(format!(
        "no record of {} at {} is quarantined; `trueup quarantine list --store {} --each` says which \
         are",
        args.partition, args.position, args.store
    )))
}

fn print(record: &Quarantined<'_>, raw: bool) -> anyhow::Result<()> {
    let mut out = Output::open();
    let written = if raw {
        out.write_all(record.raw)
    } else {
        let [epoch, partition, position, reason, bytes, correlation_id, detail] =
            <[String; 7]>::try_from(cells(record)).unwrap_or_default().map(|cell| escaped(&cell));
        let text = escaped(&String::from_utf8_lossy(record.raw));
        writeln!(
            out,
            "reason          {reason}\ndetail          {detail}\nepoch           {epoch}\n\
             partition       {partition}\nposition        {position}\n\
             correlation id  {correlation_id}\nbytes           {bytes}\n\n{text}"
        )
    };
    written.and_then(|()| out.flush()).context("writing to standard output")
}
