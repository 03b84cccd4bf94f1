//! Delta files: what one epoch changed in one view, as Parquet, clustered by tenant.
//!
//! Guarantee: a file holds exactly the rows and diffs of its tables; a value that does not fit is
//! an error that names it. Equal tables make equal bytes. Files are created, never replaced: where
//! the name is taken by other bytes (left by a crash, or by a second cluster that is about to be
//! fenced), the file gets a name of its own, and only the commit says which one counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hashbrown::HashMap;
use trueup_ledger::table::{ColumnData, Row};
use trueup_ledger::{Amount, Epoch, Scale, Table, Timestamp, View};

use crate::chunks::{Desk, FileWriter, GroupWriter};
use crate::error::SinkError;
use crate::record::{FileEntry, sha256_hex};
use crate::schema::{ROW_GROUP_ROWS, delta_properties, delta_schema};
use crate::store::{Creation, Retry, Store, create_exact};
use crate::totals::ViewTotals;

/// Writes the changes of one epoch, one file for each view that has any, and returns the files
/// and totals for the commit record. `tables` may hold several of one view. `commit_date` is in
/// days since 1970. On return the files are durable, and published by nothing yet.
///
/// # Errors
/// [`SinkError::AmountTooWide`] where a sum has more than 38 digits, and what the store says.
pub fn write_deltas(
    store: &dyn Store,
    tables: Vec<Table>,
    epoch: Epoch,
    worker: usize,
    commit_date: i32,
    scale: Scale,
) -> Result<(Vec<FileEntry>, BTreeMap<View, ViewTotals>), SinkError> {
    let mut by_view: BTreeMap<View, Vec<Table>> = BTreeMap::new();
    for table in tables.into_iter().filter(|table| !table.is_empty()) {
        by_view.entry(table.view()).or_default().push(table);
    }
    let mut files = Vec::with_capacity(by_view.len());
    let mut totals = BTreeMap::new();
    let mut desk = Desk::new().map_err(SinkError::parquet("deltas"))?;
    for (view, tables) in by_view {
        let path = dated_path(&format!("deltas/{}", view.name()), commit_date, epoch, worker);
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
    Ok((files, totals))
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
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    let mut counts: Vec<(&[u8], usize)> = Vec::new();
    let mut tenants = Vec::new();
    for table in tables {
        let mut last: Option<(&[u8], usize)> = None;
        for row in 0..table.len() {
            let tenant = text(&table.columns()[0], row);
            let place = match last {
                Some((name, place)) if name == tenant => place,
                _ => *known.entry(tenant).or_insert_with(|| {
                    counts.push((tenant, 0));
                    counts.len() - 1
                }),
            };
            last = Some((tenant, place));
            counts[place].1 += 1;
            tenants.push(place);
        }
    }
    let mut by_name: Vec<usize> = (0..counts.len()).collect();
    by_name.sort_unstable_by_key(|place| counts[*place].0);
    let mut next = vec![0; counts.len()];
    let mut start = 0;
    for place in by_name {
        next[place] = start;
        start += counts[place].1;
    }
    // A group has far fewer than 2^32 rows.
    let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    if tenants.len() <= group_rows {
        let mut places = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            places.push(narrow(next[tenant]));
            next[tenant] += 1;
        }
        return if places.is_empty() { Vec::new() } else { vec![Group { picks: None, places }] };
    }
    let room = || (Vec::with_capacity(group_rows), Vec::with_capacity(group_rows));
    let mut groups: Vec<(Vec<Pick>, Vec<u32>)> = Vec::new();
    groups.resize_with(tenants.len().div_ceil(group_rows), room);
    let mut tenants = tenants.into_iter();
    for (table, number) in tables.iter().zip(0_u32..) {
        for (row, tenant) in (0..).zip(tenants.by_ref().take(table.len())) {
            let (picks, places) = &mut groups[next[tenant] / group_rows];
            picks.push((number, row));
            places.push(narrow(next[tenant] % group_rows));
            next[tenant] += 1;
        }
    }
    groups.into_iter().map(|(picks, places)| Group { picks: Some(picks), places }).collect()
}

fn text(column: &ColumnData, row: usize) -> &[u8] {
    match column {
        ColumnData::Text { ends, bytes } => {
            let start = if row == 0 { 0 } else { ends[row - 1] };
            &bytes.as_bytes()[start..ends[row]]
        }
        // Only called for columns that the schema says are text.
        _ => &[],
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
        let epochs = vec![self.epoch.0.cast_signed(); places.len()];
        writer.required_at(&epochs, places).map_err(&parquet)?;
        let diffs = self.gather(group, |table| table.diffs());
        let diffs: Vec<i32> = diffs.iter().map(|diff| i32::from(*diff)).collect();
        writer.required_at(&diffs, places).map_err(&parquet)?;
        for column in 0..self.view.columns().len() {
            match &self.tables[0].columns()[column] {
                ColumnData::Text { .. } => writer.required_at(&self.texts(column, group), places),
                ColumnData::Amount(_) => {
                    let units = self.gather(group, |table| match &table.columns()[column] {
                        ColumnData::Amount(all) => all,
                        _ => &[],
                    });
                    self.check_width(column, group, &units)?;
                    writer.required_at(&units, places)
                }
                ColumnData::Integer(_) | ColumnData::Instant(_) => {
                    let numbers = self.gather(group, |table| match &table.columns()[column] {
                        ColumnData::Integer(all) | ColumnData::Instant(all) => all,
                        _ => &[],
                    });
                    writer.required_at(&numbers, places)
                }
                ColumnData::Date(_) => {
                    let dates = self.gather(group, |table| match &table.columns()[column] {
                        ColumnData::Date(all) => all,
                        _ => &[],
                    });
                    writer.required_at(&dates, places)
                }
            }
            .map_err(&parquet)?;
        }
        Ok(())
    }

    /// Returns the values that a group has of one column of every table.
    fn gather<'t, T: Copy>(
        &'t self,
        group: &Group,
        column: impl Fn(&'t Table) -> &'t [T],
    ) -> Cow<'t, [T]> {
        let columns: Vec<&[T]> = self.tables.iter().map(column).collect();
        match (&group.picks, columns.as_slice()) {
            (None, [only]) => Cow::Borrowed(only),
            (None, several) => Cow::Owned(several.concat()),
            (Some(picks), all) => {
                let value = |(table, row): &Pick| all[*table as usize][*row as usize];
                Cow::Owned(picks.iter().map(value).collect())
            }
        }
    }

    fn texts(&self, column: usize, group: &Group) -> Vec<&[u8]> {
        let columns = self.tables.iter().map(|table| &table.columns()[column]);
        let Some(picks) = &group.picks else {
            let mut texts = Vec::with_capacity(group.places.len());
            for column in columns {
                let ColumnData::Text { ends, bytes } = column else { continue };
                let mut start = 0;
                texts.extend(ends.iter().map(|end| {
                    let text = &bytes.as_bytes()[start..*end];
                    start = *end;
                    text
                }));
            }
            return texts;
        };
        let columns: Vec<_> = columns.collect();
        let value = |(table, row): &Pick| text(columns[*table as usize], *row as usize);
        picks.iter().map(value).collect()
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
            let units = |group: &Group| {
                rows.gather(group, |table| match &table.columns()[2] {
                    ColumnData::Amount(all) => all,
                    _ => &[],
                })
            };
            let groups = clustered(&tables, group_rows);
            let outcomes = groups.iter().map(|group| rows.check_width(2, group, &units(group)));
            let errors: Vec<_> = outcomes.filter_map(Result::err).collect();
            let [SinkError::AmountTooWide { row, units, .. }] = errors.as_slice() else {
                panic!("{errors:?}");
            };
            assert_eq!((row.as_str(), *units), ("d / EUR", -wide));
        }
    }
}
