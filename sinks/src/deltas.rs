//! Delta files: what one epoch changed in one view, as Parquet, clustered by tenant.
//!
//! Guarantee: a file holds exactly the rows and diffs of its tables; a value that does not fit is
//! an error that names it. Equal tables make equal bytes. Files are created, never replaced: where
//! the name is taken by other bytes (left by a crash, or by a second cluster that is about to be
//! fenced), the file gets a name of its own, and only the commit says which one counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int8Array, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use trueup_ledger::table::ColumnData;
use trueup_ledger::{Amount, Epoch, Scale, Table, Timestamp, View};

use crate::error::SinkError;
use crate::record::{FileEntry, sha256_hex};
use crate::schema::{PRECISION, delta_properties, delta_schema, encode};
use crate::store::{Creation, Retry, Store, create_exact};
use crate::totals::ViewTotals;

/// The most rows of one record batch: texts of this many rows stay far below the 2 GiB that the
/// offsets of an Arrow array reach.
const BATCH_ROWS: usize = 16 * 1024;

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
    let schema = delta_schema(view, scale);
    let order = clustered(tables);
    let rows = Rows { path, schema: &schema, view, tables, epoch, scale };
    let batches = order.chunks(BATCH_ROWS).map(|picks| rows.batch(picks));
    encode(path, &schema, delta_properties(view), batches)
}

/// A row: the table and the place in it.
type Pick = (u32, u32);

/// Returns all rows ordered by tenant, and otherwise as they are: a counting sort.
fn clustered(tables: &[Table]) -> Vec<Pick> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut picks = Vec::new();
    let mut tenants = Vec::new();
    for (table, number) in tables.iter().zip(0_u32..) {
        let mut last: Option<(&str, usize)> = None;
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

fn text(column: &ColumnData, row: usize) -> &str {
    match column {
        ColumnData::Text { ends, bytes } => {
            let start = if row == 0 { 0 } else { ends[row - 1] };
            &bytes[start..ends[row]]
        }
        // Only called for columns that the schema says are text.
        _ => "",
    }
}

struct Rows<'a> {
    path: &'a str,
    schema: &'a SchemaRef,
    view: View,
    tables: &'a [Table],
    epoch: Epoch,
    scale: Scale,
}

impl Rows<'_> {
    fn batch(&self, picks: &[Pick]) -> Result<RecordBatch, SinkError> {
        let diffs = self.gather(picks, |table| table.diffs());
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        arrays.push(Arc::new(UInt64Array::from(vec![self.epoch.0; picks.len()])));
        arrays.push(Arc::new(Int8Array::from(diffs)));
        for column in 0..self.view.columns().len() {
            arrays.push(self.array(column, picks)?);
        }
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(SinkError::arrow(self.path))
    }

    /// Copies the picked values of one column out of every table.
    fn gather<T: Copy>(&self, picks: &[Pick], column: impl Fn(&Table) -> &[T]) -> Vec<T> {
        let columns: Vec<&[T]> = self.tables.iter().map(column).collect();
        picks.iter().map(|(table, row)| columns[*table as usize][*row as usize]).collect()
    }

    fn array(&self, column: usize, picks: &[Pick]) -> Result<ArrayRef, SinkError> {
        let arrow = SinkError::arrow(self.path);
        Ok(match &self.tables[0].columns()[column] {
            ColumnData::Text { .. } => Arc::new(self.texts(column, picks).map_err(arrow)?),
            ColumnData::Amount(_) => {
                let units = self.gather(picks, |table| match &table.columns()[column] {
                    ColumnData::Amount(all) => all,
                    _ => &[],
                });
                self.check_width(column, picks, &units)?;
                let digits = self.scale.digits().cast_signed();
                let array =
                    Decimal128Array::from(units).with_precision_and_scale(PRECISION, digits);
                Arc::new(array.map_err(arrow)?)
            }
            ColumnData::Integer(_) => Arc::new(Int64Array::from(self.integers(column, picks))),
            ColumnData::Instant(_) => {
                let micros = TimestampMicrosecondArray::from(self.integers(column, picks));
                Arc::new(micros.with_timezone("UTC"))
            }
            ColumnData::Date(_) => {
                let days = self.gather(picks, |table| match &table.columns()[column] {
                    ColumnData::Date(all) => all,
                    _ => &[],
                });
                Arc::new(Date32Array::from(days))
            }
        })
    }

    fn integers(&self, column: usize, picks: &[Pick]) -> Vec<i64> {
        self.gather(picks, |table| match &table.columns()[column] {
            ColumnData::Integer(all) | ColumnData::Instant(all) => all,
            _ => &[],
        })
    }

    fn texts(&self, column: usize, picks: &[Pick]) -> Result<StringArray, ArrowError> {
        let columns: Vec<_> = self.tables.iter().map(|table| &table.columns()[column]).collect();
        let mut bytes: Vec<u8> = Vec::with_capacity(picks.len() * 16);
        let mut ends: Vec<i32> = Vec::with_capacity(picks.len() + 1);
        ends.push(0);
        for (table, row) in picks {
            let value = text(columns[*table as usize], *row as usize);
            bytes.extend_from_slice(value.as_bytes());
            let end = i32::try_from(bytes.len());
            ends.push(end.map_err(|_| ArrowError::OffsetOverflowError(bytes.len()))?);
        }
        StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(bytes), None)
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
