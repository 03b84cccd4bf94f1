//! Delta files: what one epoch changed in one view, as Parquet, clustered by tenant.
//!
//! Guarantee: a file holds exactly the rows and diffs of its tables; a value that does not fit is
//! an error that names it. Equal tables make equal bytes. Files are created, never replaced: where
//! the name is taken by other bytes (left by a crash, or by a second cluster that is about to be
//! fenced), the file gets a name of its own, and only the commit says which one counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use trueup_ledger::table::{ColumnData, NarrowUnits, Packed, Row};
use trueup_ledger::{Amount, Epoch, Scale, Table, Timestamp, View};

use crate::chunks::{Desk, Dictionary, FileWriter, GroupWriter};
use crate::distinct::{self, Numbers};
use crate::error::SinkError;
use crate::record::{FileEntry, sha256_hex};
use crate::schema::{ROW_GROUP_ROWS, delta_properties, delta_schema};
use crate::store::{Creation, Retry, Store, create_exact};
use crate::totals::ViewTotals;

/// Writes the changes of one epoch after the other, with memory that is used again.
#[derive(Default)]
pub struct DeltaWriter {
    /// None before the first epoch, and after one that failed.
    desk: Option<Desk>,
}

impl DeltaWriter {
    /// Writes the changes of one epoch, one file for each view that has any, and returns the files
    /// and totals for the commit record. `tables` may hold several of one view. `commit_date` is in
    /// days since 1970. On return the files are durable, and published by nothing yet.
    ///
    /// # Errors
    /// [`SinkError::AmountTooWide`] where a sum has more than 38 digits, and what the store says.
    pub fn write(
        &mut self,
        store: &dyn Store,
        tables: Vec<Table>,
        (epoch, worker): (Epoch, usize),
        commit_date: i32,
        scale: Scale,
    ) -> Result<(Vec<FileEntry>, BTreeMap<View, ViewTotals>), SinkError> {
        let mut by_view: BTreeMap<View, Vec<Table>> = BTreeMap::new();
        for table in tables.into_iter().filter(|table| !table.is_empty()) {
            by_view.entry(table.view()).or_default().push(table);
        }
        let mut files = Vec::with_capacity(by_view.len());
        let mut totals = BTreeMap::new();
        let desk = self.desk.take().map_or_else(Desk::new, Ok);
        let mut desk = desk.map_err(SinkError::parquet("deltas"))?;
        for (view, tables) in by_view {
            let folder = format!("deltas/{}", view.name());
            let path = dated_path(&folder, commit_date, epoch, worker);
            let bytes;
            (bytes, desk) = encode_deltas(&path, view, &tables, (epoch, scale), desk)?;
            let rows = tables.iter().map(|table| table.len() as u64).sum();
            files.push(stage(store, path, view.name(), rows, &bytes)?);
            desk.take_back(bytes);
            let mut sum = ViewTotals::default();
            for table in &tables {
                sum.add(&ViewTotals::of(table, scale)?, scale)?;
            }
            totals.insert(view, sum);
        }
        self.desk = Some(desk);
        Ok((files, totals))
    }
}

/// Returns `<folder>/<date>/<epoch>-<worker>.parquet`.
pub(crate) fn dated_path(folder: &str, date: i32, epoch: Epoch, worker: usize) -> String {
    let date = Timestamp::display_date(date);
    format!("{folder}/{date}/{:020}-{worker}.parquet", epoch.0)
}

/// Creates a file that a commit is going to name.
pub(crate) fn stage(
    store: &dyn Store,
    path: String,
    view: &str,
    rows: u64,
    bytes: &[u8],
) -> Result<FileEntry, SinkError> {
    let sha256 = sha256_hex(bytes);
    let retry = Retry::default();
    let path = match create_exact(store, &path, bytes, retry)? {
        Creation::Ours => path,
        Creation::Taken(_) => {
            let stem = path.strip_suffix(".parquet").unwrap_or(&path);
            let own = format!("{stem}-{}.parquet", &sha256[..16]);
            if create_exact(store, &own, bytes, retry)? != Creation::Ours {
                return Err(SinkError::damaged(&own, "its name is not that of its bytes"));
            }
            own
        }
    };
    Ok(FileEntry { path, view: view.to_owned(), rows, bytes: bytes.len() as u64, sha256 })
}

/// Encodes the changes of one view as the bytes of a file; returns them and the desk.
fn encode_deltas(
    path: &str,
    view: View,
    tables: &[Table],
    (epoch, scale): (Epoch, Scale),
    desk: Desk,
) -> Result<(Vec<u8>, Desk), SinkError> {
    let parquet = SinkError::parquet(path);
    let schema = delta_schema(view, scale);
    let mut file = FileWriter::new(&schema, delta_properties(), desk).map_err(&parquet)?;
    let rows = Rows { path, view, tables, epoch, scale };
    for group in clustered(tables, ROW_GROUP_ROWS) {
        let mut writer = file.group().map_err(&parquet)?;
        rows.write(&mut writer, &group)?;
        writer.close().map_err(&parquet)?;
    }
    file.finish().map_err(parquet)
}

/// A row: the table and the place in it.
type Pick = (u32, u32);

/// The rows of one row group.
struct Group {
    /// Its rows in the order of the tables; `None` where it has all.
    picks: Option<Vec<Pick>>,
    /// Where each of them is written. Columns are read from one end to the other and written to as many
    /// places as there are tenants, each of which goes forward too; the other way round each read would
    /// wait for memory.
    places: Vec<u32>,
}

/// Returns all rows in groups of `group_rows`, ordered by tenant and otherwise as they are: a counting sort.
fn clustered(tables: &[Table], group_rows: usize) -> Vec<Group> {
    let (names, tenants) = distinct::texts(tables, 0);
    let mut counts = vec![0; names.len()];
    tenants.iter().for_each(|tenant| counts[*tenant as usize] += 1);
    let mut by_name: Vec<usize> = (0..names.len()).collect();
    by_name.sort_unstable_by_key(|tenant| names[*tenant]);
    let mut next = vec![0; names.len()];
    let mut start = 0;
    for tenant in by_name {
        next[tenant] = start;
        start += counts[tenant];
    }
    // A group has far fewer than 2^32 rows.
    let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    if tenants.len() <= group_rows {
        let mut places = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let next = &mut next[tenant as usize];
            places.push(narrow(*next));
            *next += 1;
        }
        return if places.is_empty() { Vec::new() } else { vec![Group { picks: None, places }] };
    }
    let room = || (Vec::with_capacity(group_rows), Vec::with_capacity(group_rows));
    let mut groups: Vec<(Vec<Pick>, Vec<u32>)> = Vec::new();
    groups.resize_with(tenants.len().div_ceil(group_rows), room);
    let mut tenants = tenants.into_iter();
    for (table, number) in tables.iter().zip(0_u32..) {
        for (row, tenant) in (0..).zip(tenants.by_ref().take(table.len())) {
            let next = &mut next[tenant as usize];
            let (picks, places) = &mut groups[*next / group_rows];
            picks.push((number, row));
            places.push(narrow(*next % group_rows));
            *next += 1;
        }
    }
    groups.into_iter().map(|(picks, places)| Group { picks: Some(picks), places }).collect()
}

/// Returns the dictionary of a column of texts, in the order in which a group has the rows; none where a
/// table has not only few texts.
fn coded<'t>(tables: &'t [Table], column: usize, group: &Group) -> Option<Dictionary<&'t [u8]>> {
    let mut numbers = Numbers::of(tables, column)?;
    let places = match &group.picks {
        Some(picks) => {
            let number = |(table, row): &Pick| numbers.at(*table as usize, *row as usize);
            picks.iter().map(number).collect()
        }
        None => numbers.all(),
    };
    let values = numbers.into_texts().into_iter().map(str::as_bytes).collect();
    Some(Dictionary { values, places })
}

/// Returns the dictionary of some diffs, of which there are two as a rule.
fn coded_diffs(diffs: &[i8]) -> Dictionary<i32> {
    let mut numbers = [None; 256];
    let mut values = Vec::new();
    let places = diffs.iter().map(|diff| {
        *numbers[usize::from(diff.cast_unsigned())].get_or_insert_with(|| {
            values.push(i32::from(*diff));
            // There are at most 256.
            u32::try_from(values.len() - 1).unwrap_or(u32::MAX)
        })
    });
    let places = places.collect();
    Dictionary { values, places }
}

fn text(column: &ColumnData, row: usize) -> &[u8] {
    match column {
        ColumnData::Few(texts) => texts.at(row).as_bytes(),
        ColumnData::Many(texts) => texts.bytes_at(row),
        // Only called for columns that the schema says are text.
        _ => &[],
    }
}

/// Returns the values that a group has of one column, given for each table.
fn gather<'t, T: Copy>(group: &Group, columns: &[&'t [T]]) -> Cow<'t, [T]> {
    match (&group.picks, columns) {
        (None, [only]) => Cow::Borrowed(only),
        (None, several) => Cow::Owned(several.concat()),
        (Some(picks), all) => {
            let value = |(table, row): &Pick| all[*table as usize][*row as usize];
            Cow::Owned(picks.iter().map(value).collect())
        }
    }
}

struct Rows<'a> {
    path: &'a str,
    view: View,
    tables: &'a [Table],
    epoch: Epoch,
    scale: Scale,
}

impl Rows<'_> {
    fn write(&self, writer: &mut GroupWriter<'_>, group: &Group) -> Result<(), SinkError> {
        let parquet = SinkError::parquet(self.path);
        let places = group.places.as_slice();
        let epochs = Dictionary::of_one(self.epoch.0.cast_signed(), places.len());
        writer.coded_at(&epochs, places).map_err(&parquet)?;
        let diffs: Vec<&[i8]> = self.tables.iter().map(Table::diffs).collect();
        writer.coded_at(&coded_diffs(&gather(group, &diffs)), places).map_err(&parquet)?;
        for column in 0..self.view.columns().len() {
            match &self.tables[0].columns()[column] {
                ColumnData::Few(_) | ColumnData::Many(_) => {
                    match coded(self.tables, column, group) {
                        Some(coded) => writer.coded_at(&coded, places),
                        None => writer.required_at(&self.texts(column, group), places),
                    }
                }
                ColumnData::Amount(_) => match self.narrow_units(column, group) {
                    Some(units) => writer.required_at(&units, places),
                    None => {
                        let units = self.units(column, group);
                        self.check_width(column, group, &units)?;
                        writer.required_at(&units, places)
                    }
                },
                ColumnData::Integer(_) | ColumnData::Instant(_) => {
                    let columns = self.tables.iter().map(|table| match &table.columns()[column] {
                        ColumnData::Integer(all) | ColumnData::Instant(all) => all.as_slice(),
                        _ => &[],
                    });
                    writer.required_at(&gather(group, &columns.collect::<Vec<_>>()), places)
                }
                ColumnData::Date(_) => {
                    let columns = self.tables.iter().map(|table| match &table.columns()[column] {
                        ColumnData::Date(all) => all.as_slice(),
                        _ => &[],
                    });
                    writer.required_at(&gather(group, &columns.collect::<Vec<_>>()), places)
                }
            }
            .map_err(&parquet)?;
        }
        Ok(())
    }

    /// Returns the amounts of a column where those of every table have 64 bits, which are always fewer than
    /// 38 digits.
    fn narrow_units(&self, column: usize, group: &Group) -> Option<Cow<'_, [NarrowUnits]>> {
        let columns = self.tables.iter().map(|table| match &table.columns()[column] {
            ColumnData::Amount(Packed::Narrow(all)) => Some(all.as_slice()),
            _ => None,
        });
        Some(gather(group, &columns.collect::<Option<Vec<_>>>()?))
    }

    fn units(&self, column: usize, group: &Group) -> Vec<i128> {
        let columns = self.tables.iter().map(|table| match &table.columns()[column] {
            ColumnData::Amount(Packed::Wide(all)) => Cow::Borrowed(all.as_slice()),
            ColumnData::Amount(all) => Cow::Owned(all.to_wide()),
            // Only called for columns that the schema says are amounts.
            _ => Cow::Borrowed([].as_slice()),
        });
        let columns: Vec<Cow<'_, [i128]>> = columns.collect();
        let columns: Vec<&[i128]> = columns.iter().map(AsRef::as_ref).collect();
        gather(group, &columns).into_owned()
    }

    fn texts(&self, column: usize, group: &Group) -> Vec<&[u8]> {
        let columns = self.tables.iter().map(|table| &table.columns()[column]);
        if let Some(picks) = &group.picks {
            let columns: Vec<_> = columns.collect();
            let value = |(table, row): &Pick| text(columns[*table as usize], *row as usize);
            return picks.iter().map(value).collect();
        }
        let mut texts = Vec::with_capacity(group.places.len());
        for (table, column) in self.tables.iter().zip(columns) {
            texts.extend((0..table.len()).map(|row| text(column, row)));
        }
        texts
    }

    fn check_width(&self, column: usize, group: &Group, units: &[i128]) -> Result<(), SinkError> {
        let limit = Amount::MAX_SUM.0.unsigned_abs();
        let wide = units.iter().position(|units| units.unsigned_abs() > limit);
        let Some(place) = wide else { return Ok(()) };
        let row = self.row(group, place);
        let key = row[..self.view.key_columns()].iter().map(|datum| datum.display(self.scale));
        Err(SinkError::AmountTooWide {
            view: self.view,
            column: self.view.columns()[column].name,
            row: key.collect::<Vec<_>>().join(" / "),
            units: units[place],
        })
    }

    /// Returns a row of a group, in the order of the tables.
    fn row(&self, group: &Group, place: usize) -> Row {
        if let Some(picks) = &group.picks {
            let (table, row) = picks[place];
            return self.tables[table as usize].row(row as usize);
        }
        let rows_of = |table| (0..Table::len(table)).map(move |row| (table, row));
        match self.tables.iter().flat_map(rows_of).nth(place) {
            Some((table, row)) => table.row(row),
            None => unreachable!("a group has as many rows as its tables"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trueup_ledger::Value;

    use super::*;

    fn rows_of(tables: &[Table]) -> Vec<Pick> {
        let rows = |(table, number): (&Table, u32)| {
            (0_u32..).take(table.len()).map(move |row| (number, row))
        };
        tables.iter().zip(0..).flat_map(rows).collect()
    }

    proptest! {
        #[test]
        fn rows_of_a_tenant_follow_each_other_over_all_groups(
            tables in prop::collection::vec(prop::collection::vec(0..5_u8, 0..20), 0..4),
            group_rows in 1..30_usize,
        ) {
            let mut rows: Vec<(u8, Pick)> = Vec::new();
            let tables: Vec<Table> = (0_u32..).zip(tables).map(|(number, tenants)| {
                let mut table = Table::new(View::TrialBalance);
                for (row, tenant) in (0_u32..).zip(tenants) {
                    let name = format!("tenant {tenant}");
                    let amount = Value::Amount(1);
                    let values = [Value::Text(&name), Value::Text("EUR"), amount, amount, amount];
                    table.push(&values, 1);
                    rows.push((tenant, (number, row)));
                }
                table
            }).collect();
            // Stable: otherwise as they are.
            rows.sort_by_key(|(tenant, _)| *tenant);
            let groups = clustered(&tables, group_rows);
            let mut written: Vec<Pick> = Vec::new();
            for (number, group) in groups.iter().enumerate() {
                let is_last = number + 1 == groups.len();
                let all = || rows_of(&tables);
                let picks = group.picks.clone().unwrap_or_else(all);
                prop_assert!(picks.len() == group_rows || is_last && !picks.is_empty());
                prop_assert!(picks.is_sorted());
                prop_assert_eq!(picks.len(), group.places.len());
                let mut placed: Vec<_> = group.places.iter().zip(&picks).collect();
                placed.sort_unstable();
                prop_assert!(placed.iter().map(|(place, _)| **place as usize).eq(0..placed.len()));
                written.extend(placed.into_iter().map(|(_, pick)| *pick));
            }
            prop_assert!(written.into_iter().eq(rows.into_iter().map(|(_, pick)| pick)));
        }
    }

    /// A table of the rows whose columns know few texts and narrow amounts, or many and wide ones.
    fn table_of(rows: &[(u8, u8, i64)], few: bool) -> Table {
        let mut table = Table::new(View::TrialBalance);
        let mut push = |tenant: &str, currency: &str, units: i128| {
            let amount = Value::Amount(units);
            let values = [Value::Text(tenant), Value::Text(currency), amount, amount, amount];
            table.push(&values, 1);
        };
        for (tenant, currency, units) in rows {
            push(&format!("tenant {tenant}"), &format!("C{currency}"), (*units).into());
        }
        // What comes and goes leaves columns of many texts and of wide amounts, or such as know texts of
        // no row.
        let (more, units) = if few { (1, 1) } else { (300, i128::MAX) };
        (0..more).for_each(|n| push(&format!("another {n}"), &format!("D{n}"), units));
        table.remove(&(rows.len()..rows.len() + more).collect::<Vec<_>>());
        let is_few = |column: &ColumnData| {
            matches!(column, ColumnData::Few(_) | ColumnData::Amount(Packed::Narrow(_)))
        };
        assert!(table.columns().iter().all(|column| is_few(column) == few));
        table
    }

    proptest! {
        #[test]
        fn files_are_the_same_however_tables_keep_their_columns(
            tables in prop::collection::vec(
                (prop::collection::vec((0..6_u8, 0..4_u8, any::<i64>()), 0..60), any::<bool>()),
                1..4,
            ),
        ) {
            let file = |tables: &[Table]| {
                let (view, desk) = (View::TrialBalance, Desk::new().unwrap());
                encode_deltas("deltas", view, tables, (Epoch(1), Scale::DEFAULT), desk).unwrap().0
            };
            let totals = |tables: &[Table]| -> Vec<ViewTotals> {
                tables.iter().map(|table| ViewTotals::of(table, Scale::DEFAULT).unwrap()).collect()
            };
            let few: Vec<Table> = tables.iter().map(|(rows, _)| table_of(rows, true)).collect();
            let many: Vec<Table> = tables.iter().map(|(rows, _)| table_of(rows, false)).collect();
            let some: Vec<Table> = tables.iter().map(|(rows, few)| table_of(rows, *few)).collect();
            prop_assert_eq!(&few, &many);
            prop_assert_eq!(file(&few), file(&many));
            prop_assert_eq!(file(&some), file(&many));
            prop_assert_eq!(totals(&few), totals(&many));
        }
    }

    /// Whichever table and row group it is in.
    #[test]
    fn an_amount_that_is_too_wide_is_named_by_its_row() {
        let table = |rows: &[(&str, i128)]| {
            let mut table = Table::new(View::TrialBalance);
            for (tenant, units) in rows {
                let (net, units) = (Value::Amount(0), Value::Amount(*units));
                let values = [Value::Text(tenant), Value::Text("EUR"), units, units, net];
                table.push(&values, 1);
            }
            table
        };
        let wide = Amount::MAX_SUM.0 + 1;
        let tables = [table(&[("c", 1), ("a", 2)]), table(&[("b", 3), ("d", -wide), ("e", 4)])];
        for group_rows in 1..7 {
            let (path, view) = ("deltas", View::TrialBalance);
            let (epoch, scale) = (Epoch(1), Scale::DEFAULT);
            let rows = Rows { path, view, tables: &tables, epoch, scale };
            let check = |group| rows.check_width(2, group, &rows.units(2, group));
            let groups = clustered(&tables, group_rows);
            let outcomes = groups.iter().map(check);
            let errors: Vec<_> = outcomes.filter_map(Result::err).collect();
            let [SinkError::AmountTooWide { row, units, .. }] = errors.as_slice() else {
                panic!("{errors:?}");
            };
            assert_eq!((row.as_str(), *units), ("d / EUR", -wide));
        }
    }
}
