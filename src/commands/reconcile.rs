//! `trueup reconcile`: the open differences between a tenant's ledger and its processors' statements,
//! carried forward with their age. From the committed files alone.

use std::collections::BTreeMap;

use serde_json::Value;
use trueup_ledger::{Amount, Rules, Timestamp, View};

use super::fields::{DAY_MICROS, Fields, fields, of_tenant, two_names};
use super::output::{self, Column, Kind, escaped, grouped, note};
use super::store;
use crate::cli::{OutputFormat, ReconcileArgs};

const COLUMNS: [Column; 9] = [
    Column { name: "processor", kind: Kind::Text },
    Column { name: "reference", kind: Kind::Text },
    Column { name: "currency", kind: Kind::Text },
    Column { name: "ledger", kind: Kind::Amount },
    Column { name: "statement", kind: Kind::Amount },
    Column { name: "difference", kind: Kind::Amount },
    Column { name: "state", kind: Kind::Text },
    Column { name: "since", kind: Kind::Text },
    Column { name: "age", kind: Kind::Text },
];

/// What a difference is known by: processor, reference and currency.
type Key = (String, String, String);

/// Prints the differences, and how many there are in each state.
///
/// # Errors
/// A store or an epoch that is not there, or is damaged.
pub fn run(args: &ReconcileArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let of = |view| of_tenant(&opened, view, &args.tenant, epoch);
    let time = opened.log.read(epoch)?.epoch_time_micros;
    let date = args.date.map_or(time.div_euclid(DAY_MICROS), i64::from);
    let rows = of(View::Reconciliation)?;
    let mut open: Vec<_> = fields(View::Reconciliation, &rows)
        .filter(|row| row.text("state") != "matched")
        .filter(|row| args.processor.as_deref().is_none_or(|name| name == row.text("processor")))
        .collect();
    let mut since = BTreeMap::new();
    if !open.is_empty() {
        let postings = of(View::Postings)?;
        on_clearing_accounts(&opened.rules()?, fields(View::Postings, &postings), &mut since);
        // A line of a statement may be older than those of the ledger, and nothing says its date.
        for row in open.iter().filter(|row| row.text("state") != "ledger_only") {
            since.remove(&key(*row));
        }
        // What the detector says knows the statements' dates too.
        told(fields(View::Imbalances, &of(View::Imbalances)?), &mut since);
    }
    let known = |row: &Fields<'_>| since.get(&key(*row)).copied();
    open.retain(|row| known(row).is_none_or(|since| since <= date));
    open.sort_by_key(|row| (row.text("processor"), known(row), row.text("reference")));
    let amount = |units| Amount(units).display(opened.scale).to_string();
    let cells = open.iter().map(|row| {
        let mut cells: Vec<String> =
            ["processor", "reference", "currency"].map(|name| row.text(name).to_owned()).into();
        let amounts = ["ledger_amount", "statement_amount", "difference"];
        cells.extend(amounts.map(|name| amount(row.units(name))));
        cells.push(row.text("state").to_owned());
        let since = known(row);
        let shown = |days| Timestamp::display_date(i32::try_from(days).unwrap_or(i32::MAX));
        cells.push(since.map_or_else(String::new, shown));
        cells.push(since.map_or_else(String::new, |since| (date - since).to_string()));
        cells
    });
    output::print(args.format, &COLUMNS, cells)?;
    if args.format == OutputFormat::Table {
        let date = Timestamp::display_date(i32::try_from(date).unwrap_or(i32::MAX));
        let tenant = escaped(&args.tenant);
        let count = grouped(open.len() as u64);
        note(&format!("{tenant}: {count} open differences at epoch {epoch}, ages at {date}"));
        for ((state, currency), (count, sum)) in totals(&open) {
            let sum = sum.map_or_else(|| "more than 38 digits".to_owned(), amount);
            output::line(&format!("{state} {currency}: {count}, difference {sum}"))?;
        }
    }
    Ok(())
}

fn key(row: Fields<'_>) -> Key {
    let name = |column| row.text(column).to_owned();
    (name("processor"), name("reference"), name("currency"))
}

/// Sets the earliest effective dates of posted lines on the processors' accounts.
fn on_clearing_accounts<'a>(
    rules: &Rules,
    postings: impl Iterator<Item = Fields<'a>>,
    since: &mut BTreeMap<Key, i64>,
) {
    for line in postings.filter(|line| line.text("status") == "posted") {
        let of_account =
            rules.clearing.iter().filter(|(_, account)| ***account == *line.text("account"));
        for (processor, _) in of_account {
            let (reference, currency) = (line.text("transaction_id"), line.text("currency"));
            let key = (processor.to_string(), reference.to_owned(), currency.to_owned());
            let date = line.integer("effective_at").div_euclid(DAY_MICROS);
            since.entry(key).and_modify(|known| *known = date.min(*known)).or_insert(date);
        }
    }
}

/// Sets the dates that the details of `statement_mismatch` give.
fn told<'a>(imbalances: impl Iterator<Item = Fields<'a>>, since: &mut BTreeMap<Key, i64>) {
    for row in imbalances.filter(|row| row.text("detector") == "statement_mismatch") {
        let detail: Value = serde_json::from_str(row.text("detail")).unwrap_or_default();
        let (processor, reference) = two_names(row.text("subject"));
        let date = detail["since"].as_str().and_then(Timestamp::parse_date);
        if let Some(date) = date {
            let key = (processor, reference, row.text("currency").to_owned());
            since.insert(key, i64::from(date));
        }
    }
}

/// Counts and sums by state and currency; no sum where it passes 38 digits.
fn totals<'a>(open: &[Fields<'a>]) -> BTreeMap<(&'a str, &'a str), (u64, Option<i128>)> {
    let mut totals = BTreeMap::new();
    for row in open {
        let (count, sum) = totals
            .entry((row.text("state"), row.text("currency")))
            .or_insert((0_u64, Some(0_i128)));
        *count += 1;
        *sum = sum.and_then(|sum| sum.checked_add(row.units("difference")));
        *sum = sum.filter(|sum| sum.unsigned_abs() <= Amount::MAX_SUM.0.unsigned_abs());
    }
    totals
}
