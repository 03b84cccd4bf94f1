//! Control totals of a view's delta: how many rows went in and out, their digest, and the signed
//! sum of every amount column by currency. They are in the commit, so that a warehouse can check
//! a load with one `SUM(diff * column)` and no help from us.
//!
//! Sums are of 256 bits, so no set of rows of 38 digits can overflow them.

use std::collections::BTreeMap;

use arrow::datatypes::i256;
use serde::{Deserialize, Serialize};
use trueup_ledger::table::{ColumnData, Packed};
use trueup_ledger::{Digest, Scale, Table};

use crate::distinct;
use crate::error::SinkError;

/// The sums of one currency: column name to signed decimal, as `"-12.5"`.
pub type CurrencyTotals = BTreeMap<String, String>;

/// What one epoch did to one view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewTotals {
    /// Rows with diff +1.
    pub inserted: u64,
    /// Rows with diff -1.
    pub retracted: u64,
    /// The digest of these changes.
    pub digest: Digest,
    /// Currency (empty where the view has none) to the sums of diff times value of each amount
    /// column.
    #[serde(default)]
    pub totals: BTreeMap<String, CurrencyTotals>,
}

impl ViewTotals {
    /// Sums up the changes of a table.
    ///
    /// # Errors
    /// [`SinkError::BadTotal`] where a sum does not fit 256 bits, which no real table reaches.
    pub fn of(table: &Table, scale: Scale) -> Result<ViewTotals, SinkError> {
        let inserted = table.diffs().iter().filter(|diff| **diff > 0).count() as u64;
        let retracted = table.len() as u64 - inserted;
        let totals = sums(table, scale)?;
        Ok(ViewTotals { inserted, retracted, digest: table.digest(), totals })
    }

    /// Adds the totals of another part of the same view's delta, such as another worker's.
    ///
    /// # Errors
    /// [`SinkError::BadTotal`] where a total is no decimal of that scale.
    pub fn add(&mut self, other: &ViewTotals, scale: Scale) -> Result<(), SinkError> {
        self.inserted += other.inserted;
        self.retracted += other.retracted;
        self.digest.add(other.digest);
        for (currency, columns) in &other.totals {
            let own = self.totals.entry(currency.clone()).or_default();
            for (column, text) in columns {
                let sum = own.entry(column.clone()).or_insert_with(|| "0".to_owned());
                *sum = add_decimals(sum, text, scale).ok_or_else(|| SinkError::BadTotal {
                    column: column.clone(),
                    text: text.clone(),
                })?;
            }
        }
        Ok(())
    }
}

fn add_decimals(left: &str, right: &str, scale: Scale) -> Option<String> {
    let sum = parse_units(left, scale)?.checked_add(parse_units(right, scale)?)?;
    Some(display_units(sum, scale))
}

/// Formats units as a plain decimal without trailing zeros.
fn display_units(units: i256, scale: Scale) -> String {
    let text = units.to_string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let places = usize::from(scale.digits());
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

/// Reads what [`display_units`] writes.
fn parse_units(text: &str, scale: Scale) -> Option<i256> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let places = usize::from(scale.digits());
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    if unsigned.is_empty() || !is_number(unsigned) || !is_number(fraction) {
        return None;
    }
    if fraction.len() > places || whole.len() > 60 {
        return None;
    }
    i256::from_string(&format!("{whole}{fraction:0<places$}"))
}

/// A sum that stays in 128 bits as long as it fits.
#[derive(Clone, Copy, Default)]
struct Sum {
    low: i128,
    spilled: i256,
}

impl Sum {
    fn add(&mut self, value: i128) -> Option<()> {
        if let Some(sum) = self.low.checked_add(value) {
            self.low = sum;
            return Some(());
        }
        self.spilled = self.spilled.checked_add(i256::from_i128(self.low))?;
        self.low = value;
        Some(())
    }

    fn total(self) -> Option<i256> {
        self.spilled.checked_add(i256::from_i128(self.low))
    }
}

/// Sums up every amount column, column by column.
fn sums(table: &Table, scale: Scale) -> Result<BTreeMap<String, CurrencyTotals>, SinkError> {
    let (currencies, places) = match table.view().currency_column() {
        Some(column) => distinct::texts(std::slice::from_ref(table), column),
        None => (vec![""], vec![0; table.len()]),
    };
    let mut published: Vec<CurrencyTotals> = vec![CurrencyTotals::new(); currencies.len()];
    for (column, data) in table.view().columns().iter().zip(table.columns()) {
        let ColumnData::Amount(units) = data else { continue };
        let bad = |text: String| SinkError::BadTotal { column: column.name.to_owned(), text };
        let mut sums = vec![Sum::default(); currencies.len()];
        let mut add = |units: i128, diff: i8, place: u32| {
            let signed = match diff {
                1 => Some(units),
                -1 => units.checked_neg(),
                other => units.checked_mul(i128::from(other)),
            };
            let added = signed.and_then(|signed| sums[place as usize].add(signed));
            added.ok_or_else(|| bad(units.to_string()))
        };
        let rows = table.diffs().iter().zip(&places);
        match units {
            Packed::Narrow(all) => all
                .iter()
                .zip(rows)
                .try_for_each(|(units, (diff, place))| add((*units).into(), *diff, *place)),
            Packed::Wide(all) => all
                .iter()
                .zip(rows)
                .try_for_each(|(units, (diff, place))| add(*units, *diff, *place)),
        }?;
        for (sum, columns) in sums.into_iter().zip(&mut published) {
            let total = sum.total().ok_or_else(|| bad("too large".to_owned()))?;
            columns.insert(column.name.to_owned(), display_units(total, scale));
        }
    }
    let of_currency = currencies.into_iter().map(str::to_owned).zip(published);
    Ok(of_currency.filter(|(_, columns)| !columns.is_empty()).collect())
}
