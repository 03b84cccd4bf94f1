//! Bitemporal answers: a view effective by a day, as known at an epoch. From committed files alone.
//!
//! ```text
//!  postings at E        ──effective by D──▶ postings
//!                                  └─ sum ─▶ balances ◀── normal sides ── balances at E
//!  daily_movements at E ──effective by D──▶ daily_movements
//!                                  └─ sum ─▶ trial_balance
//! ```
//!
//! The day of a line is the UTC date of its `effective_at`, as in `daily_movements`. Everything else
//! is as known at the epoch: which lines there are, which of them are pending, and how an account
//! is declared, which has no date.
//!
//! `available` is exact although no view has the normal side of an account. `balances` at E tells it
//! for every account and currency with something pending: of a debit-normal one `available` is
//! `balance − pending_credits`, of a credit-normal one `balance + pending_debits`, and since neither
//! sum is negative the two are equal only where both are 0. What is pending by a day is a part of
//! what is pending at all, so where that is nothing, nothing is to be told.

use std::collections::BTreeMap;

use anyhow::Context;
use trueup_ledger::table::Rows;
use trueup_ledger::timestamp::DAY_MICROS;
use trueup_ledger::{Amount, Datum, Epoch, Row, Side, Table, Value, View};
use trueup_sinks::rows_at;

use super::check;
use crate::commands::fields::Fields;
use crate::commands::filter::Filter;
use crate::commands::store::Opened;
use crate::exit;

/// What is asked for: lines effective by a day (in days since 1970), as known at an epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsOf<'a> {
    pub(super) epoch: Epoch,
    pub(super) date: i32,
    /// Only the rows of this tenant; no others are read into memory.
    pub(super) tenant: Option<&'a str>,
}

/// Returns the rows of a view.
///
/// # Errors
/// A view whose rows are of no day, a damaged store, a sum beyond 38 digits.
pub(super) fn rows(opened: &Opened, view: View, asked: AsOf<'_>) -> anyhow::Result<Rows> {
    match view {
        View::Postings => asked.read(opened, view, is_effective_line),
        View::DailyMovements => asked.read(opened, view, is_effective_day),
        View::Balances => balances(opened, asked),
        View::TrialBalance => trial_balance(opened, asked),
        _ => Err(exit::usage(format!(
            "the rows of {} are of no day; --as-of-date is for postings, balances, \
             daily_movements and trial_balance",
            view.name()
        ))),
    }
}

/// Says whether a row counts by a day.
type IsEffective = fn(&Table, usize, i32) -> bool;

fn value<'a>(table: &'a Table, row: usize, column: &str) -> Option<Value<'a>> {
    let place = table.view().column_index(column)?;
    table.columns().get(place).map(|column| column.value(row))
}

fn is_effective_line(table: &Table, row: usize, date: i32) -> bool {
    match value(table, row, "effective_at") {
        Some(Value::Instant(micros)) => micros.div_euclid(DAY_MICROS) <= i64::from(date),
        _ => false,
    }
}

fn is_effective_day(table: &Table, row: usize, date: i32) -> bool {
    matches!(value(table, row, "effective_date"), Some(Value::Date(day)) if day <= date)
}

impl AsOf<'_> {
    /// Reads the rows of a view that count.
    fn read(self, opened: &Opened, view: View, counts: IsEffective) -> anyhow::Result<Rows> {
        let mut filter = Filter::default();
        if let Some(tenant) = self.tenant {
            filter = filter.text(view, "tenant", tenant);
        }
        let wants =
            |table: &Table, row: usize| counts(table, row, self.date) && filter.wants(table, row);
        let rows = rows_at(&opened.log, view, Some(self.epoch), Some(&wants))
            .with_context(|| format!("reading {} at epoch {}", view.name(), self.epoch))?;
        check(&rows, view)?;
        Ok(rows)
    }
}

/// The two sides of a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sides {
    debits: i128,
    credits: i128,
}

impl Sides {
    fn add(&mut self, debits: i128, credits: i128) -> anyhow::Result<()> {
        self.debits = added(self.debits, debits)?;
        self.credits = added(self.credits, credits)?;
        Ok(())
    }

    fn difference(self) -> anyhow::Result<i128> {
        added(self.debits, -self.credits)
    }
}

/// Adds what must have no more than 38 digits, as everything published.
fn added(a: i128, b: i128) -> anyhow::Result<i128> {
    let sum = a.checked_add(b).filter(|sum| sum.unsigned_abs() <= Amount::MAX_SUM.0.unsigned_abs());
    sum.ok_or_else(|| exit::failed("a sum has more than 38 digits"))
}

/// Tenant, account and currency.
type Key<'a> = [&'a str; 3];

fn key(view: View, row: &Row) -> Key<'_> {
    ["tenant", "account", "currency"].map(|column| Fields { view, row }.text(column))
}

fn balances(opened: &Opened, asked: AsOf<'_>) -> anyhow::Result<Rows> {
    const LINES: View = View::Postings;
    let lines = asked.read(opened, LINES, is_effective_line)?;
    let published = asked.read(opened, View::Balances, has_pending)?;
    let mut sums: BTreeMap<Key<'_>, [Sides; 2]> = BTreeMap::new();
    for line in lines.0.keys() {
        let fields = Fields { view: LINES, row: line };
        let [posted, pending] = sums.entry(key(LINES, line)).or_default();
        let sum = match fields.text("status") {
            "posted" => posted,
            "pending" => pending,
            status => return Err(exit::difference(format!("a line has the status {status:?}"))),
        };
        let amount = fields.units("amount");
        match fields.text("side") {
            "debit" => sum.add(amount, 0)?,
            "credit" => sum.add(0, amount)?,
            side => return Err(exit::difference(format!("a line is on the side {side:?}"))),
        }
    }
    let normal_sides = normal_sides(&published)?;
    let mut rows = Rows::default();
    for (key, [posted, pending]) in sums {
        let balance = posted.difference()?;
        let available = match normal_sides.get(&key) {
            _ if pending == Sides::default() => balance,
            Some(Side::Debit) => added(balance, -pending.credits)?,
            Some(Side::Credit) => added(balance, pending.debits)?,
            None => return Err(unexplained(key)),
        };
        let amounts =
            [posted.debits, posted.credits, pending.debits, pending.credits, balance, available];
        rows.add(row(&key, &amounts), 1);
    }
    Ok(rows)
}

fn row(texts: &[&str], amounts: &[i128]) -> Row {
    let texts = texts.iter().map(|text| Datum::Text((*text).into()));
    texts.chain(amounts.iter().map(|units| Datum::Amount(*units))).collect()
}

/// Says whether a balance has something pending, whatever the day.
fn has_pending(table: &Table, row: usize, _date: i32) -> bool {
    ["pending_debits", "pending_credits"]
        .iter()
        .any(|column| value(table, row, column) != Some(Value::Amount(0)))
}

/// Tells the normal side of every account and currency with something pending.
fn normal_sides(published: &Rows) -> anyhow::Result<BTreeMap<Key<'_>, Side>> {
    const VIEW: View = View::Balances;
    let mut sides = BTreeMap::new();
    for row in published.0.keys() {
        let amount = |column| Fields { view: VIEW, row }.units(column);
        let held = added(amount("available"), -amount("balance"))?;
        let side = if held == -amount("pending_credits") {
            Side::Debit
        } else if held == amount("pending_debits") {
            Side::Credit
        } else {
            return Err(unexplained(key(VIEW, row)));
        };
        sides.insert(key(VIEW, row), side);
    }
    Ok(sides)
}

fn unexplained([tenant, account, currency]: Key<'_>) -> anyhow::Error {
    exit::difference(format!(
        "what is available of {account} of {tenant} in {currency} does not follow from its lines; \
         run `trueup verify` to find the epoch"
    ))
}

fn trial_balance(opened: &Opened, asked: AsOf<'_>) -> anyhow::Result<Rows> {
    const DAYS: View = View::DailyMovements;
    let days = asked.read(opened, DAYS, is_effective_day)?;
    let mut sums: BTreeMap<[&str; 2], Sides> = BTreeMap::new();
    for day in days.0.keys() {
        let day = Fields { view: DAYS, row: day };
        let key = ["tenant", "currency"].map(|column| day.text(column));
        let sum = sums.entry(key).or_default();
        sum.add(day.units("debits"), day.units("credits"))?;
    }
    let mut rows = Rows::default();
    for (key, sum) in sums {
        rows.add(row(&key, &[sum.debits, sum.credits, sum.difference()?]), 1);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
