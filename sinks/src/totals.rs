//! Control totals of a view's delta: how many rows went in and out, their digest, and the signed
//! sum of every amount column by currency. They are in the commit, so that a warehouse can check
//! a load with one `SUM(diff * column)` and no help from us.
//!
//! Sums are of 256 bits, so no set of rows of 38 digits can overflow them.

use std::collections::BTreeMap;
use std::collections::HashMap;

use arrow::datatypes::i256;
use serde::{Deserialize, Serialize};
use trueup_ledger::table::{encode_row, row_hash};
use trueup_ledger::{ColumnType, Digest, Scale, Table, Value};

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
        let mut sums = Sums::new(table);
        let mut totals = ViewTotals::default();
        let (mut values, mut canonical) = (Vec::new(), Vec::new());
        for (row, diff) in table.diffs().iter().enumerate() {
            canonical.clear();
            table.read(row, &mut values);
            encode_row(&values, &mut canonical);
            totals.digest.add_row(row_hash(&canonical), *diff);
            if *diff > 0 {
                totals.inserted += 1;
            } else {
                totals.retracted += 1;
            }
            sums.add(&values, *diff)?;
        }
        totals.totals = sums.publish(scale)?;
        Ok(totals)
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

/// The running sums of a table.
struct Sums {
    currency: Option<usize>,
    /// The amount columns: their places and names.
    amounts: Vec<(usize, &'static str)>,
    places: HashMap<String, usize>,
    /// One row of sums a currency, in the order of their first rows.
    sums: Vec<Vec<Sum>>,
    /// The currency of the row before, which is mostly that of the next.
    last: Option<(String, usize)>,
}

impl Sums {
    fn new(table: &Table) -> Sums {
        let columns = table.view().columns().iter().enumerate();
        let amounts = columns
            .filter(|(_, column)| column.ty == ColumnType::Amount)
            .map(|(place, column)| (place, column.name))
            .collect();
        Sums {
            currency: table.view().currency_column(),
            amounts,
            places: HashMap::new(),
            sums: Vec::new(),
            last: None,
        }
    }

    fn place(&mut self, currency: &str) -> usize {
        if let Some((last, place)) = &self.last
            && last == currency
        {
            return *place;
        }
        let next = self.sums.len();
        let place = match self.places.get(currency) {
            Some(place) => *place,
            None => {
                self.places.insert(currency.to_owned(), next);
                self.sums.push(vec![Sum::default(); self.amounts.len()]);
                next
            }
        };
        let (last, last_place) = self.last.get_or_insert_default();
        last.clear();
        last.push_str(currency);
        *last_place = place;
        place
    }

    fn add(&mut self, values: &[Value<'_>], diff: i8) -> Result<(), SinkError> {
        if self.amounts.is_empty() {
            return Ok(());
        }
        let currency = match self.currency.map(|place| values[place]) {
            Some(Value::Text(currency)) => currency,
            _ => "",
        };
        let place = self.place(currency);
        for ((column, name), sum) in self.amounts.iter().zip(&mut self.sums[place]) {
            let Value::Amount(units) = values[*column] else {
                continue;
            };
            let signed = units.checked_mul(i128::from(diff));
            signed.and_then(|signed| sum.add(signed)).ok_or_else(|| SinkError::BadTotal {
                column: (*name).to_owned(),
                text: units.to_string(),
            })?;
        }
        Ok(())
    }

    fn publish(&self, scale: Scale) -> Result<BTreeMap<String, CurrencyTotals>, SinkError> {
        let mut published = BTreeMap::new();
        for (currency, place) in &self.places {
            let mut columns = CurrencyTotals::new();
            for ((_, name), sum) in self.amounts.iter().zip(&self.sums[*place]) {
                let total = sum.total().ok_or_else(|| SinkError::BadTotal {
                    column: (*name).to_owned(),
                    text: "too large".to_owned(),
                })?;
                columns.insert((*name).to_owned(), display_units(total, scale));
            }
            published.insert(currency.clone(), columns);
        }
        Ok(published)
    }
}
