//! What happens in the demo, and how it is shown.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use trueup_ledger::{Epoch, Scale, Table, View};
use trueup_sinks::{CommitLog, DirectoryStore, Store, digest_at, read_delta_file};

use super::{Stage, say};
use crate::commands::output::escaped;

/// The tenant that the demo tells of; the generated ones have other names.
const TENANT: &str = "demo";

/// A leg without its other side, and the cure.
pub(super) fn imbalance(stage: &mut Stage) -> anyhow::Result<()> {
    say(
        "\n3. The billing service reports its leg of invoice INV-7: a receivable of 119 EUR. The \
         tax service\n   has not reported yet, so money stands on one side only, and the books \
         say so at once:\n",
    )?;
    let billing = leg(
        "e1",
        "billing",
        r#"{"account":"assets:receivable","side":"debit","amount":"119.00","currency":"EUR"}"#,
    );
    let epoch = stage.append(&[billing])?;
    show(stage, epoch, &[View::Imbalances])?;
    say("\n   The other leg arrives, and the imbalance is retracted, exactly:\n")?;
    let tax = leg(
        "e2",
        "tax",
        r#"{"account":"income:sales","side":"credit","amount":"100.00","currency":"EUR"},{"account":"liabilities:vat","side":"credit","amount":"19.00","currency":"EUR"}"#,
    );
    let epoch = stage.append(&[tax])?;
    show(stage, epoch, &[View::Imbalances])
}

/// A correction that comes seven years late.
pub(super) fn correction(stage: &mut Stage) -> anyhow::Result<()> {
    stage.append(&[old_invoice("e1", "post", 1, "1000.00", "2019-11-21T09:00:05Z")])?;
    say(
        "\n4. An auditor finds that an invoice of November 2019, posted as 1,000 EUR, was 900 EUR. \
         One correction\n   arrives, seven years late. In one atomic cut, every row it makes false \
         is retracted (-) and\n   what is true is emitted (+); nothing else changes:\n",
    )?;
    let epoch =
        stage.append(&[old_invoice("e2", "correct", 2, "900.00", "2026-11-21T14:30:00Z")])?;
    show(stage, epoch, &View::ALL)
}

fn leg(event_id: &str, service: &str, postings: &str) -> String {
    format!(
        r#"{{"v":1,"event_id":"{event_id}","tenant":"{TENANT}","kind":"post","transaction_id":"INV-7","leg":"{service}","effective_at":"2026-11-20T10:00:00Z","recorded_at":"2026-11-20T10:00:01Z","source":{{"service":"{service}","sequence":1}},"postings":[{postings}]}}"#
    )
}

fn old_invoice(event_id: &str, kind: &str, revision: u8, amount: &str, recorded: &str) -> String {
    let line = |account: &str, side: &str| {
        format!(r#"{{"account":"{account}","side":"{side}","amount":"{amount}","currency":"EUR"}}"#)
    };
    format!(
        r#"{{"v":1,"event_id":"{event_id}","tenant":"{TENANT}","kind":"{kind}","transaction_id":"INV-2019-1105","revision":{revision},"effective_at":"2019-11-21T09:00:00Z","recorded_at":"{recorded}","source":{{"service":"invoicing","sequence":{revision}}},"postings":[{},{}]}}"#,
        line("assets:receivable", "debit"),
        line("income:sales", "credit"),
    )
}

/// Shows what an epoch changed for the demo's tenant, from the committed files alone.
fn show(stage: &Stage, epoch: Epoch, views: &[View]) -> anyhow::Result<()> {
    let store = DirectoryStore::open_existing(&stage.books).context("opening the store")?;
    let store: Arc<dyn Store> = Arc::new(store);
    let log = CommitLog::open(Arc::clone(&store)).context("opening the commit log")?;
    let commit = log.read(epoch).context("reading the commit")?;
    let scale = Scale::new(commit.amount_scale).unwrap_or_default();
    for view in views {
        let mut changes = Vec::new();
        for file in commit.files.iter().filter(|file| file.view == view.name()) {
            for table in read_delta_file(&*store, file, epoch, *view, scale)? {
                changes.extend(of_tenant(&table, scale));
            }
        }
        if changes.is_empty() {
            continue;
        }
        // A retraction stands before what takes its place.
        changes.sort_by(|(a_diff, a), (b_diff, b)| (a.first(), a_diff).cmp(&(b.first(), b_diff)));
        say(&format!("   {}", view.name()))?;
        print_changes(*view, &changes)?;
    }
    say(&format!("   (commit {epoch})"))
}

type Change = (i8, Vec<String>);

fn of_tenant(table: &Table, scale: Scale) -> Vec<Change> {
    let rows = table.diffs().iter().enumerate().map(|(row, diff)| (*diff, table.row(row)));
    rows.filter(|(_, row)| row[0].display(scale) == TENANT)
        .map(|(diff, row)| {
            (diff, row[1..].iter().map(|value| escaped(&value.display(scale))).collect())
        })
        .collect()
}

/// Prints changes aligned, without the tenant, with colours only on a terminal.
fn print_changes(view: View, changes: &[Change]) -> anyhow::Result<()> {
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let names: Vec<String> =
        view.columns()[1..].iter().map(|column| column.name.to_owned()).collect();
    let rows = || std::iter::once(&names).chain(changes.iter().map(|(_, row)| row));
    let widths: Vec<usize> = (0..names.len())
        .map(|column| rows().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .zip(&view.columns()[1..])
            .map(|((cell, width), column)| match column.ty {
                trueup_ledger::ColumnType::Amount | trueup_ledger::ColumnType::Integer => {
                    format!("{cell:>width$}")
                }
                _ => format!("{cell:<width$}"),
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    say(&format!("       {}", line(&names)))?;
    for (diff, row) in changes {
        let text = line(row);
        say(&match (diff, coloured) {
            (1, false) => format!("     + {text}"),
            (1, true) => format!("     \u{1b}[32m+ {text}\u{1b}[0m"),
            (_, false) => format!("     - {text}"),
            (_, true) => format!("     \u{1b}[31m- {text}\u{1b}[0m"),
        })?;
    }
    Ok(())
}

/// Says where everything is and how to look at it.
pub(super) fn farewell(log: &Path, books: &Path) -> anyhow::Result<()> {
    let store: Arc<dyn Store> =
        Arc::new(DirectoryStore::open_existing(books).context("opening the store")?);
    let commits = CommitLog::open(store).context("opening the commit log")?;
    let digest = digest_at(&commits, View::Balances, None)?;
    let (log, books) = (log.display(), books.display());
    say(&format!(
        "\n5. Everything is in files that any Parquet reader can sum:\n   \
         {books}/commits/    one record an epoch, each with the hash of the one before\n   \
         {books}/deltas/     rows with epoch and diff (+1, -1), by view and date\n   \
         {books}/quarantine/ what could not be read, with reason and raw bytes\n   \
         digest of balances: {digest}\n\n   \
         With DuckDB (pip install duckdb), from the files that commits name:\n\n   \
         python3 -c \"import duckdb; duckdb.sql(\\\"SET VARIABLE f = (SELECT list('{books}/' || \
         x.path) FROM (SELECT unnest(files) AS x FROM read_json('{books}/commits/*.json')) WHERE \
         x.view = 'balances')\\\"); duckdb.sql(\\\"SELECT account, currency, balance FROM \
         read_parquet(getvariable('f')) WHERE tenant = '{TENANT}' GROUP BY ALL HAVING sum(diff) = 1 \
         ORDER BY ALL\\\").show()\"\n\n   \
         With trueup:\n\n   \
         trueup query balances --store {books} --tenant {TENANT}\n   \
         trueup explain --store {books} --tenant {TENANT} --account assets:receivable\n   \
         trueup verify --store {books} --input {log}\n"
    ))
}
