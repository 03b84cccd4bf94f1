//! `trueup alerts`: the alert stream, from the changes of the view `alerts`. A follower of the commit
//! log: its position is the next commit, and whoever keeps it misses nothing and hears nothing twice.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use trueup_ledger::{Epoch, Row, Timestamp, View};
use trueup_sinks::{CommitRecord, SinkError, read_delta_file};

use super::fields::Fields;
use super::output::{self, Column, Kind, Output, columns_of, escaped, note};
use super::run::stop_on_signals;
use super::store::{self, Opened};
use crate::cli::{AlertsArgs, ReportFormat};
use crate::config::StoreLocation;
use crate::redrive;

/// How long a follower that has seen all commits of a directory waits before it looks again, and how
/// often any asks whether it is to stop.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Prints the alerts that were raised and resolved.
///
/// # Errors
/// A position behind the next commit, or a damaged store.
pub fn run(args: &AlertsArgs) -> anyhow::Result<()> {
    let location = store::location(&args.store)?;
    let opened = store::open(&location)?;
    let mut next = args.from.unwrap_or(Epoch(1));
    if next.0 > opened.head.0 + 1 {
        return Err(SinkError::NotCommitted { wanted: next, head: opened.head }.into());
    }
    let stop = if args.follow { stop_on_signals()? } else { Arc::new(AtomicBool::new(false)) };
    let pause = match location {
        StoreLocation::Directory(_) => LOOK_AGAIN,
        // Each look is a request that is paid for.
        StoreLocation::Bucket(_) => redrive::interval(&location),
    };
    let read = read(&opened, args, (&stop, pause), &mut next);
    // Also where the store fails: what was printed is not to be heard twice.
    note(&format!("read through commit {}; go on with --from {next}", next.0 - 1));
    read
}

/// Prints from `next` on, which is moved past every commit whose alerts are printed.
fn read(
    opened: &Opened,
    args: &AlertsArgs,
    (stop, pause): (&AtomicBool, Duration),
    next: &mut Epoch,
) -> anyhow::Result<()> {
    loop {
        let head = opened.log.head().context("reading the commits")?;
        let head = head.map_or(opened.head, |(head, _)| head);
        for record in opened.log.iter(*next, head) {
            print(opened, &record.context("reading the commits")?, args)?;
            *next = Epoch(next.0 + 1);
            if stop.load(Ordering::Acquire) {
                break;
            }
        }
        let looked = Instant::now();
        while args.follow && !stop.load(Ordering::Acquire) && looked.elapsed() < pause {
            thread::sleep(LOOK_AGAIN);
        }
        if !args.follow || stop.load(Ordering::Acquire) {
            return Ok(());
        }
    }
}

/// Prints the alerts of one commit, those that were resolved first.
fn print(opened: &Opened, record: &CommitRecord, args: &AlertsArgs) -> anyhow::Result<()> {
    let mut changes: Vec<(i8, Row)> = Vec::new();
    for file in record.files.iter().filter(|file| file.view == View::Alerts.name()) {
        let store = &**opened.log.store();
        for table in read_delta_file(store, file, record.epoch, View::Alerts, opened.scale)? {
            let rows = table.diffs().iter().enumerate();
            changes.extend(rows.map(|(row, diff)| (*diff, table.row(row))));
        }
    }
    let wanted = |row: &Row| {
        let tenant = Fields { view: View::Alerts, row }.text("tenant");
        args.tenant.as_deref().is_none_or(|wanted| wanted == tenant)
    };
    changes.retain(|(_, row)| wanted(row));
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort();
    let columns = columns();
    let mut out = Output::open();
    let written = changes.iter().try_for_each(|(diff, row)| {
        let cells = cells(record, *diff, row, opened);
        match args.format {
            ReportFormat::Json => {
                output::write_object(&mut out, &columns, &cells)?;
                writeln!(out)
            }
            ReportFormat::Table => writeln!(out, "{}", shown(&cells)),
        }
    });
    written.and_then(|()| out.flush()).context("writing to standard output")
}

/// Those of the view, behind what happened and when.
fn columns() -> Vec<Column> {
    let column = |name, kind| Column { name, kind };
    let mut columns = vec![
        column("change", Kind::Text),
        column("epoch", Kind::Integer),
        column("epoch_time", Kind::Text),
    ];
    columns.extend(columns_of(View::Alerts));
    columns
}

fn cells(record: &CommitRecord, diff: i8, row: &Row, opened: &Opened) -> Vec<String> {
    let change = if diff > 0 { "raised" } else { "resolved" };
    let time = Timestamp::display_micros(record.epoch_time_micros);
    let mut cells = vec![change.to_owned(), record.epoch.to_string(), time];
    cells.extend(row.iter().map(|datum| datum.display(opened.scale)));
    cells
}

/// One line for people: what can be long comes last.
fn shown(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    let padded = |place: usize, width| format!("{:<width$}", cells[place]);
    let mut line = vec![padded(0, 8), padded(1, 6), padded(2, 27)];
    line.extend(cells[3..].iter().map(|cell| match cell.is_empty() {
        true => "-".to_owned(),
        false => cell.clone(),
    }));
    line.join("  ")
}
