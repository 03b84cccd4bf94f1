//! `trueup explain`: why is this balance what it is? Every current posting line of an account,
//! with the event that made it, the running balance, and whether the sum is the published one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context;
use trueup_ledger::table::Rows;
use trueup_ledger::{Amount, Datum, Epoch, Row, Scale, Table, Value, View};
use trueup_sinks::rows_at;

use super::fields::Fields;
use super::filter::Filter;
use super::output::{self, Column, Kind, note};
use super::query;
use super::store::{self, Opened};
use crate::cli::{ExplainArgs, OutputFormat};
use crate::config::value::nearest;
use crate::exit;

const COLUMNS: &[Column] = &[
    column("currency", Kind::Text),
    column("effective_at", Kind::Text),
    column("transaction_id", Kind::Text),
    column("leg", Kind::Text),
    column("line", Kind::Integer),
    column("kind", Kind::Text),
    column("revision", Kind::Integer),
    column("event_id", Kind::Text),
    column("side", Kind::Text),
    column("amount", Kind::Amount),
    column("status", Kind::Text),
    column("transaction_status", Kind::Text),
    column("balance", Kind::Amount),
];

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// Prints the lines, and says whether they add up.
///
/// # Errors
/// An account without lines, a damaged store, and lines that do not add up to the balance.
pub fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let opened = store::open(&store::location(&args.store)?)?;
    let epoch = opened.epoch(args.epoch)?;
    let mut lines: Vec<Row> =
        of_account(&opened, View::Postings, args, epoch)?.0.into_keys().collect();
    let balances = of_account(&opened, View::Balances, args, epoch)?;
    if lines.is_empty() && balances.0.is_empty() {
        return Err(nothing(&opened, args, epoch)?);
    }
    lines.sort_by(in_time);
    let statuses = statuses(&opened, &args.tenant, &lines, epoch)?;
    let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
    let mut grid = Vec::with_capacity(lines.len());
    for line in &lines {
        let sum =
            sums.entry(Fields { view: View::Postings, row: line }.text("currency")).or_default();
        sum.add(line).with_context(|| format!("summing up {}", args.account))?;
        grid.push(cells(line, &statuses, sum.balance(), opened.scale));
    }
    output::print(args.format, COLUMNS, grid.into_iter())?;
    let verdict = verdict(&sums, &balances, opened.scale);
    let said = |text: &str| format!("epoch {epoch}, {}: {text}", args.account);
    match verdict {
        Ok(text) if args.format == OutputFormat::Table => output::line(&said(&text)),
        Ok(text) => {
            note(&said(&text));
            Ok(())
        }
        Err(text) => Err(exit::difference(said(&text))),
    }
}

/// Reads the rows of the account.
fn of_account(
    opened: &Opened,
    view: View,
    args: &ExplainArgs,
    epoch: Epoch,
) -> anyhow::Result<Rows> {
    let mut filter =
        Filter::default().text(view, "tenant", &args.tenant).text(view, "account", &args.account);
    if let Some(currency) = &args.currency {
        filter = filter.text(view, "currency", currency);
    }
    let wants = |table: &Table, row| filter.wants(table, row);
    let rows = rows_at(&opened.log, view, Some(epoch), Some(&wants))
        .with_context(|| format!("reading {} at epoch {epoch}", view.name()))?;
    query::check(&rows, view)?;
    Ok(rows)
}

/// Returns the status of each line's transaction, by transaction and currency.
fn statuses(
    opened: &Opened,
    tenant: &str,
    lines: &[Row],
    epoch: Epoch,
) -> anyhow::Result<HashMap<(String, String), String>> {
    const VIEW: View = View::TransactionTotals;
    let transactions: BTreeSet<&str> = lines
        .iter()
        .map(|line| Fields { view: View::Postings, row: line }.text("transaction_id"))
        .collect();
    let place = VIEW.column_index("transaction_id").unwrap_or(usize::MAX);
    let of_tenant = Filter::default().text(VIEW, "tenant", tenant);
    let wants = |table: &Table, row: usize| {
        let value = table.columns().get(place).map(|column| column.value(row));
        matches!(value, Some(Value::Text(id)) if transactions.contains(id))
            && of_tenant.wants(table, row)
    };
    let rows = rows_at(&opened.log, VIEW, Some(epoch), Some(&wants))
        .with_context(|| format!("reading {} at epoch {epoch}", VIEW.name()))?;
    let of_row = |row: &Row| {
        let field = |name| Fields { view: VIEW, row }.text(name).to_owned();
        ((field("transaction_id"), field("currency")), field("status"))
    };
    Ok(rows.0.keys().map(of_row).collect())
}

fn in_time(a: &Row, b: &Row) -> Ordering {
    let keys = ["currency", "effective_at", "transaction_id", "leg", "line"];
    let compared = keys.map(|key| datum(a, key).cmp(&datum(b, key)));
    compared.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn datum<'a>(line: &'a Row, column: &str) -> Option<&'a Datum> {
    line.get(View::Postings.column_index(column)?)
}

fn cells(
    line: &Row,
    statuses: &HashMap<(String, String), String>,
    balance: i128,
    scale: Scale,
) -> Vec<String> {
    let field = |name: &str| Fields { view: View::Postings, row: line }.text(name).to_owned();
    let status = statuses.get(&(field("transaction_id"), field("currency")));
    let cell = |column: &Column| match column.name {
        "transaction_status" => status.cloned().unwrap_or_default(),
        "balance" => Amount(balance).display(scale).to_string(),
        name => datum(line, name).map(|datum| datum.display(scale)).unwrap_or_default(),
    };
    COLUMNS.iter().map(cell).collect()
}

/// What the lines of one currency add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    lines: u64,
    posted_debits: i128,
    posted_credits: i128,
    pending_debits: i128,
    pending_credits: i128,
}

impl Sums {
    fn add(&mut self, line: &Row) -> anyhow::Result<()> {
        let field = |name| Fields { view: View::Postings, row: line }.text(name);
        let sum = match (field("status"), field("side")) {
            ("posted", "debit") => &mut self.posted_debits,
            ("posted", "credit") => &mut self.posted_credits,
            ("pending", "debit") => &mut self.pending_debits,
            ("pending", "credit") => &mut self.pending_credits,
            (status, side) => {
                return Err(exit::difference(format!("a line is {status:?} on side {side:?}")));
            }
        };
        let amount = Fields { view: View::Postings, row: line }.units("amount");
        *sum = sum
            .checked_add(amount)
            .ok_or_else(|| exit::difference("the sum of the lines passes 38 digits"))?;
        self.lines += 1;
        Ok(())
    }

    /// Returns posted debits minus posted credits; both are sums of amounts that are not negative.
    fn balance(&self) -> i128 {
        self.posted_debits.saturating_sub(self.posted_credits)
    }

    /// Names the columns of `balances` whose value is another.
    fn differences(&self, row: &Row, scale: Scale) -> Vec<String> {
        let sums = [
            ("posted_debits", self.posted_debits),
            ("posted_credits", self.posted_credits),
            ("pending_debits", self.pending_debits),
            ("pending_credits", self.pending_credits),
            ("balance", self.balance()),
        ];
        let published = |name| Fields { view: View::Balances, row }.units(name);
        sums.into_iter()
            .filter(|(name, sum)| published(name) != *sum)
            .map(|(name, sum)| {
                let (lines, row) = (Amount(sum).display(scale), published(name));
                format!("{name} is {lines} by the lines, {} published", Amount(row).display(scale))
            })
            .collect()
    }
}

/// Compares the sums with the published balances: `Ok` where they add up.
fn verdict(sums: &BTreeMap<&str, Sums>, balances: &Rows, scale: Scale) -> Result<String, String> {
    let rows =
        balances.0.keys().map(|row| (Fields { view: View::Balances, row }.text("currency"), row));
    let published: BTreeMap<&str, &Row> = rows.collect();
    let currencies: BTreeSet<&str> = sums.keys().chain(published.keys()).copied().collect();
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for currency in currencies {
        match (sums.get(currency), published.get(currency)) {
            (Some(sum), Some(row)) => {
                let differences = sum.differences(row, scale);
                if !differences.is_empty() {
                    wrong.push(format!("{currency}: {}", differences.join(", ")));
                }
                let shown = |units| Amount(units).display(scale);
                right.push(format!(
                    "{} {currency} lines: debits {} - credits {} = {}",
                    sum.lines,
                    shown(sum.posted_debits),
                    shown(sum.posted_credits),
                    shown(sum.balance())
                ));
            }
            (Some(sum), None) => {
                wrong.push(format!("{currency}: {} lines, and no balance published", sum.lines));
            }
            (None, _) => wrong.push(format!("{currency}: a balance is published without lines")),
        }
    }
    if wrong.is_empty() {
        return Ok(format!("adds up; {}", right.join("; ")));
    }
    Err(format!("does not add up; {}", wrong.join("; ")))
}

/// Says that there is no such account, and which may have been meant.
fn nothing(opened: &Opened, args: &ExplainArgs, epoch: Epoch) -> anyhow::Result<anyhow::Error> {
    let of_tenant = Filter::default().text(View::Balances, "tenant", &args.tenant);
    let wants = |table: &Table, row| of_tenant.wants(table, row);
    let rows = rows_at(&opened.log, View::Balances, Some(epoch), Some(&wants))?;
    let accounts: BTreeSet<&str> =
        rows.0.keys().map(|row| Fields { view: View::Balances, row }.text("account")).collect();
    let (tenant, account) = (&args.tenant, &args.account);
    let hint = match nearest(account, accounts.iter().copied()) {
        _ if accounts.is_empty() => format!("tenant {tenant} has no balances at all"),
        Some(near) if near == account => "it has lines in other currencies".to_owned(),
        Some(near) => format!("did you mean {near}?"),
        None => format!("`trueup query balances --tenant {tenant}` lists its accounts"),
    };
    let what = format!("no current posting of {tenant} is on {account} at epoch {epoch}; {hint}");
    Ok(exit::usage(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(values: [i128; 6]) -> Rows {
        let mut row: Row = ["acme", "cash", "EUR"].map(|t| Datum::Text(t.into())).to_vec();
        row.extend(values.map(Datum::Amount));
        let mut rows = Rows::default();
        rows.add(row, 1);
        rows
    }

    #[test]
    fn the_verdict_names_what_differs() {
        let scale = Scale::new(2).unwrap();
        let sums = Sums { lines: 3, posted_debits: 1000, posted_credits: 250, ..Sums::default() };
        let sums = BTreeMap::from([("EUR", sums)]);
        let good = verdict(&sums, &balance([1000, 250, 0, 0, 750, 750]), scale);
        assert_eq!(good.as_deref(), Ok("adds up; 3 EUR lines: debits 10 - credits 2.5 = 7.5"));
        let bad = verdict(&sums, &balance([1000, 251, 0, 0, 750, 750]), scale).unwrap_err();
        assert!(bad.contains("posted_credits is 2.5 by the lines, 2.51 published"), "{bad}");
        let none = verdict(&sums, &Rows::default(), scale).unwrap_err();
        assert!(none.contains("no balance published"), "{none}");
        let lost = verdict(&BTreeMap::new(), &balance([0; 6]), scale).unwrap_err();
        assert!(lost.contains("without lines"), "{lost}");
    }
}
