//! Delta files: what one epoch changed in one view, as Parquet, clustered by tenant.
//!
//! Guarantee: a file holds exactly the rows and diffs of its tables; a value that does not fit is
//! an error that names it. Equal tables make equal bytes. Files are created, never replaced: where
//! the name is taken by other bytes (left by a crash, or by a second cluster that is about to be
//! fenced), the file gets a name of its own, and only the commit says which one counts.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use trueup_ledger::table::ColumnData;
use trueup_ledger::{Amount, Epoch, Scale, Table, Timestamp, View};

use crate::chunks::{FileWriter, GroupWriter};
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
    for (view, tables) in by_view {
        let path = dated_path(&format!("deltas/{}", view.name()), commit_date, epoch, worker);
        let bytes = encode_deltas(&path, view, &tables, epoch, scale)?;
        let rows = tables.iter().map(|table| table.len() as u64).sum();
        files.push(stage(store, path, view.name(), rows, &bytes)?);
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

/// Encodes the changes of one view as the bytes of a file.
pub(crate) fn encode_deltas(
    path: &str,
    view: View,
    tables: &[Table],
    epoch: Epoch,
    scale: Scale,
) -> Result<Vec<u8>, SinkError> {
    let parquet = SinkError::parquet(path);
    let schema = delta_schema(view, scale);
    let mut file = FileWriter::new(&schema, delta_properties()).map_err(&parquet)?;
    let rows = Rows { path, view, tables, epoch, scale };
    for picks in clustered(tables).chunks(ROW_GROUP_ROWS) {
        let mut group = file.group().map_err(&parquet)?;
        rows.write(&mut group, picks)?;
        group.close().map_err(&parquet)?;
    }
    file.finish().map_err(parquet)
}

/// A row: the table and the place in it.
type Pick = (u32, u32);

/// Returns all rows ordered by tenant, and otherwise as they are: a counting sort.
fn clustered(tables: &[Table]) -> Vec<Pick> {
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    let mut counts: Vec<(&[u8], usize)> = Vec::new();
    let mut picks = Vec::new();
    let mut tenants = Vec::new();
    for (table, number) in tables.iter().zip(0_u32..) {
        let mut last: Option<(&[u8], usize)> = None;
        for (row, row_number) in (0..table.len()).zip(0_u32..) {
            let tenant = text(&table.columns()[0], row);
            let place = match last {
                Some((name, place)) if name == tenant => place,
                _ => *places.entry(tenant).or_insert_with(|| {
                    counts.push((tenant, 0));
                    counts.len() - 1
                }),
            };
            last = Some((tenant, place));
            counts[place].1 += 1;
            picks.push((number, row_number));
            tenants.push(place);
        }
    }
    if counts.len() < 2 {
        return picks;
    }
    let mut by_name: Vec<usize> = (0..counts.len()).collect();
    by_name.sort_unstable_by_key(|place| counts[*place].0);
    let mut starts = vec![0; counts.len()];
    let mut start = 0;
    for place in by_name {
        starts[place] = start;
        start += counts[place].1;
    }
    let mut sorted = vec![(0, 0); picks.len()];
    for (pick, place) in picks.into_iter().zip(tenants) {
        sorted[starts[place]] = pick;
        starts[place] += 1;
    }
    sorted
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
    fn write(&self, group: &mut GroupWriter<'_>, picks: &[Pick]) -> Result<(), SinkError> {
        let parquet = SinkError::parquet(self.path);
        group.required(&vec![self.epoch.0.cast_signed(); picks.len()]).map_err(&parquet)?;
        let diffs = self.gather(picks, |table| table.diffs());
        let diffs: Vec<i32> = diffs.into_iter().map(i32::from).collect();
        group.required(&diffs).map_err(&parquet)?;
        for column in 0..self.view.columns().len() {
            match &self.tables[0].columns()[column] {
                ColumnData::Text { .. } => group.required(&self.texts(column, picks)),
                ColumnData::Amount(_) => {
                    let units = self.gather(picks, |table| match &table.columns()[column] {
                        ColumnData::Amount(all) => all,
                        _ => &[],
                    });
                    self.check_width(column, picks, &units)?;
                    group.required(&units)
                }
                ColumnData::Integer(_) | ColumnData::Instant(_) => {
                    group.required(&self.gather(picks, |table| match &table.columns()[column] {
                        ColumnData::Integer(all) | ColumnData::Instant(all) => all,
                        _ => &[],
                    }))
                }
                ColumnData::Date(_) => {
                    group.required(&self.gather(picks, |table| match &table.columns()[column] {
                        ColumnData::Date(all) => all,
                        _ => &[],
                    }))
                }
            }
            .map_err(&parquet)?;
        }
        Ok(())
    }

    /// Copies the picked values of one column out of every table.
    fn gather<T: Copy>(&self, picks: &[Pick], column: impl Fn(&Table) -> &[T]) -> Vec<T> {
        let columns: Vec<&[T]> = self.tables.iter().map(column).collect();
        picks.iter().map(|(table, row)| columns[*table as usize][*row as usize]).collect()
    }

    fn texts(&self, column: usize, picks: &[Pick]) -> Vec<&[u8]> {
        let columns: Vec<_> = self.tables.iter().map(|table| &table.columns()[column]).collect();
        let value = |(table, row): &Pick| text(columns[*table as usize], *row as usize);
        picks.iter().map(value).collect()
    }

    fn check_width(&self, column: usize, picks: &[Pick], units: &[i128]) -> Result<(), SinkError> {
        let limit = Amount::MAX_SUM.0.unsigned_abs();
        let wide = units.iter().position(|units| units.unsigned_abs() > limit);
        let Some(place) = wide else { return Ok(()) };
        let (table, row) = picks[place];
        let row = self.tables[table as usize].row(row as usize);
        let key = row[..self.view.key_columns()].iter().map(|datum| datum.display(self.scale));
        Err(SinkError::AmountTooWide {
            view: self.view,
            column: self.view.columns()[column].name,
            row: key.collect::<Vec<_>>().join(" / "),
            units: units[place],
        })
    }
}
