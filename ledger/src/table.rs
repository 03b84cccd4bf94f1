//! Rows of views: a column-wise [`Table`] of changes for the way out, a single owned [`Row`] for
//! comparing and printing, and one canonical encoding of a row for digests.

use std::collections::BTreeMap;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use crate::codec::{CodecError, Reader, put_signed, put_signed_64, put_text};
use crate::view::{ColumnType, View};
use crate::{Amount, Digest, Scale, Timestamp};

use packed::keep;
pub use {few::Few, many::Many, packed::NarrowUnits, packed::Packed};

mod few;
mod many;
mod packed;

/// A borrowed value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// Units of 10^-scale.
    Amount(i128),
    /// A 64-bit integer.
    Integer(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
}

/// An owned value of a row, ordered as CSV output is: texts by bytes, numbers by size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datum {
    /// Text.
    Text(Box<str>),
    /// Units of 10^-scale.
    Amount(i128),
    /// A 64-bit integer.
    Integer(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
}

/// An owned row, its key columns first; ordered by key.
pub type Row = Vec<Datum>;

impl Datum {
    /// Borrows the value.
    #[must_use]
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Datum::Text(text) => Value::Text(text),
            Datum::Amount(units) => Value::Amount(*units),
            Datum::Integer(n) => Value::Integer(*n),
            Datum::Date(days) => Value::Date(*days),
            Datum::Instant(micros) => Value::Instant(*micros),
        }
    }

    /// Formats the value as CSV and tables show it.
    #[must_use]
    pub fn display(&self, scale: Scale) -> String {
        match self {
            Datum::Text(text) => text.to_string(),
            Datum::Amount(units) => Amount(*units).display(scale).to_string(),
            Datum::Integer(n) => n.to_string(),
            Datum::Date(days) => Timestamp::display_date(*days),
            Datum::Instant(micros) => Timestamp::display_micros(*micros),
        }
    }
}

impl Value<'_> {
    /// Copies the value.
    #[must_use]
    pub fn to_datum(self) -> Datum {
        match self {
            Value::Text(text) => Datum::Text(text.into()),
            Value::Amount(units) => Datum::Amount(units),
            Value::Integer(n) => Datum::Integer(n),
            Value::Date(days) => Datum::Date(days),
            Value::Instant(micros) => Datum::Instant(micros),
        }
    }

    /// Returns the type of column that the value belongs in.
    #[must_use]
    pub fn ty(self) -> ColumnType {
        match self {
            Value::Text(_) => ColumnType::Text,
            Value::Amount(_) => ColumnType::Amount,
            Value::Integer(_) => ColumnType::Integer,
            Value::Date(_) => ColumnType::Date,
            Value::Instant(_) => ColumnType::Instant,
        }
    }
}

/// Appends the canonical bytes of a row. The view's schema gives the types, so they are not in it.
pub fn encode_row(values: &[Value<'_>], out: &mut Vec<u8>) {
    values.iter().for_each(|value| put_value(*value, out));
}

fn put_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => put_text(out, text),
        Value::Amount(units) => put_signed(out, units),
        Value::Integer(n) | Value::Instant(n) => put_signed_64(out, n),
        Value::Date(days) => put_signed_64(out, days.into()),
    }
}

/// Reads a row of `view` from its canonical bytes into `values`.
///
/// # Errors
/// [`CodecError`] where the bytes are no row of that view.
pub fn decode_row<'a>(
    view: View,
    bytes: &'a [u8],
    values: &mut Vec<Value<'a>>,
) -> Result<(), CodecError> {
    let mut reader = Reader::new(bytes);
    values.clear();
    for column in view.columns() {
        values.push(match column.ty {
            ColumnType::Text => Value::Text(reader.text()?),
            ColumnType::Amount => Value::Amount(reader.signed()?),
            ColumnType::Integer => Value::Integer(narrow(reader.signed()?)?),
            ColumnType::Instant => Value::Instant(narrow(reader.signed()?)?),
            ColumnType::Date => Value::Date(narrow(reader.signed()?)?),
        });
    }
    if reader.is_empty() { Ok(()) } else { Err(CodecError) }
}

fn narrow<T: TryFrom<i128>>(value: i128) -> Result<T, CodecError> {
    T::try_from(value).map_err(|_| CodecError)
}

/// Returns the hash of a row's canonical bytes for [`Digest`].
#[must_use]
pub fn row_hash(canonical: &[u8]) -> u128 {
    xxh3_128(canonical)
}

/// The values of one column of a [`Table`]. Two are equal where all their values are.
#[derive(Clone, Debug)]
pub enum ColumnData {
    /// Texts of which few are distinct, as long as they are.
    Few(Few),
    /// Any texts.
    Many(Many),
    /// Units of 10^-scale.
    Amount(Packed<NarrowUnits, i128>),
    /// 64-bit integers.
    Integer(Vec<i64>),
    /// Days since 1970-01-01.
    Date(Vec<i32>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(Vec<i64>),
}

impl ColumnData {
    fn new(ty: ColumnType) -> ColumnData {
        match ty {
            ColumnType::Text => ColumnData::Few(Few::default()),
            ColumnType::Amount => ColumnData::Amount(Packed::default()),
            ColumnType::Integer => ColumnData::Integer(Vec::new()),
            ColumnType::Date => ColumnData::Date(Vec::new()),
            ColumnType::Instant => ColumnData::Instant(Vec::new()),
        }
    }

    fn reserve(&mut self, rows: usize) {
        match self {
            ColumnData::Few(texts) => texts.reserve(rows),
            ColumnData::Many(texts) => texts.reserve(rows),
            ColumnData::Amount(all) => all.reserve(rows),
            ColumnData::Integer(all) | ColumnData::Instant(all) => all.reserve(rows),
            ColumnData::Date(all) => all.reserve(rows),
        }
    }

    /// Returns how many values there are.
    fn len(&self) -> usize {
        match self {
            ColumnData::Few(texts) => texts.places().len(),
            ColumnData::Many(texts) => texts.len(),
            ColumnData::Amount(all) => all.len(),
            ColumnData::Integer(all) | ColumnData::Instant(all) => all.len(),
            ColumnData::Date(all) => all.len(),
        }
    }

    /// Returns the texts of which there were few, and behind them one for which they have no room.
    #[cold]
    fn many(few: &Few, text: &str) -> ColumnData {
        let mut many = Many::default();
        many.reserve(few.room());
        (0..few.places().len()).for_each(|row| many.push(few.at(row)));
        many.push(text);
        ColumnData::Many(many)
    }

    /// Keeps what lies in `ranges`, which are in order.
    fn keep(&mut self, ranges: &[Range<usize>]) {
        match self {
            ColumnData::Few(texts) => keep(texts.places_mut(), ranges),
            ColumnData::Many(texts) => texts.keep(ranges),
            ColumnData::Amount(all) => all.keep(ranges),
            ColumnData::Integer(all) | ColumnData::Instant(all) => keep(all, ranges),
            ColumnData::Date(all) => keep(all, ranges),
        }
    }

    /// Appends the canonical bytes of the value at `row`.
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            ColumnData::Few(texts) => texts.encode(row, out),
            ColumnData::Many(texts) => texts.encode(row, out),
            ColumnData::Amount(Packed::Narrow(all)) => put_signed_64(out, all[row].0),
            other => put_value(other.value(row), out),
        }
    }

    /// Returns the value at `row`.
    #[must_use]
    pub fn value(&self, row: usize) -> Value<'_> {
        match self {
            ColumnData::Few(texts) => Value::Text(texts.at(row)),
            ColumnData::Many(texts) => Value::Text(texts.at(row)),
            ColumnData::Amount(all) => Value::Amount(all.at(row)),
            ColumnData::Integer(all) => Value::Integer(all[row]),
            ColumnData::Date(all) => Value::Date(all[row]),
            ColumnData::Instant(all) => Value::Instant(all[row]),
        }
    }
}

impl PartialEq for ColumnData {
    fn eq(&self, other: &ColumnData) -> bool {
        let rows = self.len();
        rows == other.len() && (0..rows).all(|row| self.value(row) == other.value(row))
    }
}

impl Eq for ColumnData {}

/// Changes of one view within one epoch, column by column: rows with a diff of +1 or -1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    view: View,
    columns: Vec<ColumnData>,
    diffs: Vec<i8>,
}

impl Table {
    /// Returns an empty table of changes to `view`.
    #[must_use]
    pub fn new(view: View) -> Table {
        let columns = view.columns().iter().map(|column| ColumnData::new(column.ty)).collect();
        Table { view, columns, diffs: Vec::new() }
    }

    /// Returns the view that the rows belong to.
    #[must_use]
    pub fn view(&self) -> View {
        self.view
    }

    /// Returns how many changes the table holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.diffs.len()
    }

    /// Says whether the table holds no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diffs.is_empty()
    }

    /// Returns the columns, in the order of the view.
    #[must_use]
    pub fn columns(&self) -> &[ColumnData] {
        &self.columns
    }

    /// Returns the diff of each row.
    #[must_use]
    pub fn diffs(&self) -> &[i8] {
        &self.diffs
    }

    /// Makes room for so many changes more, so that growing does not move what is there.
    pub fn reserve(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.reserve(rows));
        self.diffs.reserve(rows);
    }

    /// Appends a change. `values` are those of the view's columns, in order.
    pub fn push(&mut self, values: &[Value<'_>], diff: i8) {
        assert_eq!(values.len(), self.columns.len(), "a row of another view");
        // Not in a function of a column: to call it for each took a third of the time that this takes.
        for (column, value) in self.columns.iter_mut().zip(values) {
            match (&mut *column, *value) {
                (ColumnData::Few(texts), Value::Text(text)) => {
                    if !texts.push(text) {
                        *column = ColumnData::many(texts, text);
                    }
                }
                (ColumnData::Many(texts), Value::Text(text)) => texts.push(text),
                (ColumnData::Amount(all), Value::Amount(units)) => all.push(units),
                (ColumnData::Integer(all), Value::Integer(n)) => all.push(n),
                (ColumnData::Date(all), Value::Date(days)) => all.push(days),
                (ColumnData::Instant(all), Value::Instant(micros)) => all.push(micros),
                // A row of another schema is a bug of the caller; a shorter column would shift money
                // to other rows, so this is one of the few stated panics.
                (_, value) => unreachable!("{value:?} does not belong in this column"),
            }
        }
        self.diffs.push(diff);
    }

    /// Removes rows, given in order, each once.
    pub fn remove(&mut self, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        let starts = std::iter::once(0).chain(rows.iter().map(|row| row + 1));
        let ends = rows.iter().copied().chain(std::iter::once(self.len()));
        let ranges: Vec<Range<usize>> = starts.zip(ends).map(|(start, end)| start..end).collect();
        for column in &mut self.columns {
            column.keep(&ranges);
        }
        keep(&mut self.diffs, &ranges);
    }

    /// Puts the values of a row into `values`.
    pub fn read<'a>(&'a self, row: usize, values: &mut Vec<Value<'a>>) {
        values.clear();
        values.extend(self.columns.iter().map(|column| column.value(row)));
    }

    /// Returns a copy of a row.
    #[must_use]
    pub fn row(&self, row: usize) -> Row {
        self.columns.iter().map(|column| column.value(row).to_datum()).collect()
    }

    /// Returns the digest of the changes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        let mut canonical = Vec::new();
        for (row, diff) in self.diffs.iter().enumerate() {
            canonical.clear();
            self.columns.iter().for_each(|column| column.encode(row, &mut canonical));
            digest.add_row(row_hash(&canonical), *diff);
        }
        digest
    }
}

/// A view's rows with the sum of their diffs: what a reader of the deltas holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(pub BTreeMap<Row, i64>);

impl Rows {
    /// Adds all changes of a table.
    pub fn apply(&mut self, table: &Table) {
        for (row, diff) in table.diffs().iter().enumerate() {
            self.add(table.row(row), i64::from(*diff));
        }
    }

    /// Adds `diff` to a row's sum, and forgets rows that sum to zero.
    pub fn add(&mut self, row: Row, diff: i64) {
        use std::collections::btree_map::Entry;
        match self.0.entry(row) {
            Entry::Vacant(vacant) => {
                if diff != 0 {
                    vacant.insert(diff);
                }
            }
            Entry::Occupied(mut occupied) => {
                *occupied.get_mut() += diff;
                if *occupied.get() == 0 {
                    occupied.remove();
                }
            }
        }
    }

    /// Returns the digest of the rows.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        let mut canonical = Vec::new();
        for (row, diff) in &self.0 {
            canonical.clear();
            let values: Vec<_> = row.iter().map(Datum::as_value).collect();
            encode_row(&values, &mut canonical);
            let hash = row_hash(&canonical);
            digest.0 = digest.0.wrapping_add(hash.wrapping_mul(i128::from(*diff).cast_unsigned()));
        }
        digest
    }

    /// Returns what breaks the promise of SPEC §4 that every row sums to 0 or 1 and every key has
    /// at most one row: a sentence that names the first such row.
    #[must_use]
    pub fn defect(&self, view: View) -> Option<String> {
        let mut previous: Option<&[Datum]> = None;
        for (row, diff) in &self.0 {
            let key = &row[..view.key_columns()];
            if *diff != 1 {
                return Some(format!("{}: row {row:?} sums to {diff}", view.name()));
            }
            if previous == Some(key) {
                return Some(format!("{}: key {key:?} has two rows", view.name()));
            }
            previous = Some(key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trial(tenant: &str, units: i128) -> [Value<'_>; 5] {
        let amount = Value::Amount(units);
        [Value::Text(tenant), Value::Text("EUR"), amount, amount, Value::Amount(-units)]
    }

    #[test]
    fn rows_are_read_back_and_digests_add_up() {
        let mut table = Table::new(View::TrialBalance);
        table.push(&trial("a", i128::from(i64::MIN)), 1);
        table.push(&trial("b", 10_i128.pow(38) - 1), 1);
        table.push(&trial("b", 10_i128.pow(38) - 1), -1);
        let mut rows = Rows::default();
        rows.apply(&table);
        assert_eq!(rows.0.len(), 1);
        assert_eq!(rows.digest(), table.digest());
        let mut canonical = Vec::new();
        let mut values = Vec::new();
        table.read(0, &mut values);
        encode_row(&values, &mut canonical);
        let mut again = Vec::new();
        decode_row(View::TrialBalance, &canonical, &mut again).unwrap();
        assert_eq!(values, again);
        assert_eq!(rows.defect(View::TrialBalance), None);
    }

    #[test]
    fn rows_are_removed_wherever_they_are() {
        let texts = ["a", "", "ccc", "dd", "e"];
        let table = |rows: &[usize]| {
            let mut table = Table::new(View::TrialBalance);
            for row in rows {
                let diff = if row % 2 == 0 { 1 } else { -1 };
                table.push(&trial(texts[*row], *row as i128), diff);
            }
            table
        };
        for removed in 0_usize..32 {
            let (mut gone, mut left) = (Vec::new(), Vec::new());
            for row in 0..texts.len() {
                if removed >> row & 1 == 1 { gone.push(row) } else { left.push(row) }
            }
            let mut rest = table(&[0, 1, 2, 3, 4]);
            rest.remove(&gone);
            assert_eq!(rest, table(&left), "{gone:?}");
        }
    }

    /// Texts that their ends and their lengths do not tell apart, of every length, and so many that they
    /// are not few.
    fn texts() -> impl Strategy<Value = Vec<String>> {
        let alike = (0..6_u8, 0..40_usize).prop_map(|(inner, length)| {
            let mut text = "x".repeat(length).into_bytes();
            if let Some(middle) = text.get_mut(length / 2) {
                *middle = b'a' + inner;
            }
            String::from_utf8(text).unwrap()
        });
        let many = (0..400_u16).prop_map(|n| format!("number {n}"));
        (0..4_u32, 0..900_usize).prop_flat_map(move |(share, rows)| {
            let text = prop_oneof![4 => alike.clone(), share => many.clone()];
            prop::collection::vec(text, rows)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_are_what_they_are_however_columns_are_kept(texts in texts(), gone in any::<u64>()) {
            let mut table = Table::new(View::TrialBalance);
            table.reserve(texts.len() / 2);
            let mut rows = Rows::default();
            for (text, n) in texts.iter().zip(0_i128..) {
                // Some tables have an amount that is not narrow.
                let n = if text == "number 7" { n << 64 } else { -n };
                table.push(&trial(text, n), 1);
                let row = trial(text, n).iter().map(|value| value.to_datum()).collect();
                rows.add(row, 1);
            }
            let read = |table: &Table| -> Vec<Row> {
                (0..table.len()).map(|row| table.row(row)).collect()
            };
            for (row, text) in read(&table).iter().zip(&texts) {
                prop_assert_eq!(&row[0], &Datum::Text(text.as_str().into()));
            }
            prop_assert_eq!(table.digest(), rows.digest());
            let all = read(&table);
            let is_gone = |row: &usize| gone >> (row % 64) & 1 == 1;
            let removed: Vec<usize> = (0..all.len()).filter(is_gone).collect();
            table.remove(&removed);
            let left: Vec<Row> =
                (0..all.len()).filter(|row| !is_gone(row)).map(|row| all[row].clone()).collect();
            prop_assert_eq!(read(&table), left.clone());
            let mut anew = Table::new(View::TrialBalance);
            for row in &left {
                let values: Vec<Value<'_>> = row.iter().map(Datum::as_value).collect();
                anew.push(&values, 1);
            }
            prop_assert_eq!(table, anew);
        }
    }

    #[test]
    fn the_256th_text_makes_a_column_one_of_many() {
        let mut table = Table::new(View::TrialBalance);
        let is_few = |table: &Table| matches!(table.columns()[0], ColumnData::Few(_));
        for n in (0..255).chain(0..255) {
            table.push(&trial(&format!("t{n}"), n), 1);
            assert!(is_few(&table));
        }
        table.push(&trial("another", 0), 1);
        assert!(!is_few(&table));
        assert_eq!(table.columns()[0].value(509), Value::Text("t254"));
        assert_eq!(table.columns()[0].value(510), Value::Text("another"));
    }

    #[test]
    fn two_rows_of_one_key_are_a_defect() {
        let mut table = Table::new(View::TrialBalance);
        table.push(&trial("a", 1), 1);
        table.push(&trial("a", 2), 1);
        let mut rows = Rows::default();
        rows.apply(&table);
        assert!(rows.defect(View::TrialBalance).unwrap().contains("two rows"));
    }
}
