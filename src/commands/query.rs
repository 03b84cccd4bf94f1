//! `trueup query`: a view's rows at a committed epoch, or those of them that are effective by a
//! day, from the committed files alone.

mod as_of;

use anyhow::Context;
use trueup_ledger::table::Rows;
use trueup_ledger::{Datum, Timestamp, View};
use trueup_sinks::rows_at;

use as_of::AsOf;

use super::filter::Filter;
use super::output::{self, columns_of, grouped, note};
use super::store::{self, Opened};
use crate::cli::{OutputFormat, QueryArgs};
use crate::exit;

/// How many rows a table shows where nothing is said.
const LIMIT_DEFAULT: usize = 100;

/// Prints the rows.
///
/// # Errors
/// A bad condition or epoch, a damaged store, or rows that break the promise of SPEC §4.
pub fn run(args: &QueryArgs) -> anyhow::Result<()> {
    if args.limit.is_some() && args.format != OutputFormat::Table {
        let what = "--limit is for tables only, so that no CSV or JSON lacks rows unseen; \
                    use `| head` or --where";
        return Err(exit::usage(what));
    }
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let mut filter = Filter::default();
    if let Some(tenant) = &args.tenant {
        filter = filter.text(args.view, "tenant", tenant);
    }
    for condition in &args.conditions {
        filter = filter.parse(args.view, condition, opened.scale)?;
    }
    let rows = match args.as_of_date {
        Some(date) => {
            let asked = AsOf { epoch, date, tenant: args.tenant.as_deref() };
            let mut rows = as_of::rows(&opened, args.view, asked)?;
            // Sums are there only now.
            rows.0.retain(|row, _| filter.wants_row(row));
            rows
        }
        None => {
            let wants = |table: &_, row| filter.wants(table, row);
            let rows = rows_at(&opened.log, args.view, Some(epoch), Some(&wants))
                .with_context(|| format!("reading {} at epoch {epoch}", args.view.name()))?;
            check(&rows, args.view)?;
            rows
        }
    };
    let limit = match args.limit.unwrap_or(LIMIT_DEFAULT) {
        _ if args.format != OutputFormat::Table => usize::MAX,
        0 => usize::MAX,
        limit => limit,
    };
    let cells = rows.0.keys().take(limit).map(|row| cells(row, &opened));
    output::print(args.format, &columns_of(args.view), cells)?;
    if args.format == OutputFormat::Table {
        let all = rows.0.len();
        let shown = if all > limit {
            format!("the first {limit} of {} rows (--limit 0 for all)", grouped(all as u64))
        } else {
            format!("{} rows", grouped(all as u64))
        };
        let when = match args.as_of_date {
            Some(date) => {
                let date = Timestamp::display_date(date);
                format!("effective by {date} (UTC), as known at epoch {epoch}")
            }
            None => format!("at epoch {epoch}"),
        };
        note(&format!("{} {when}: {shown}", args.view.name()));
    }
    Ok(())
}

fn cells(row: &[Datum], opened: &Opened) -> Vec<String> {
    row.iter().map(|datum| datum.display(opened.scale)).collect()
}

/// Checks that every row is there once, and every key at most once.
pub(super) fn check(rows: &Rows, view: View) -> anyhow::Result<()> {
    match rows.defect(view) {
        None => Ok(()),
        Some(defect) => Err(exit::difference(format!(
            "the deltas do not add up: {defect}; run `trueup verify` to find the epoch"
        ))),
    }
}
