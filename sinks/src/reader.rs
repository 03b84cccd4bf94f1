//! Reading views back: from the files that commits name, and from nothing else.
//!
//! Guarantee: what is returned was committed. Every file is compared with its commit (size,
//! SHA-256, rows, schema, epoch) before a row of it counts; damage is an error that names the
//! file, never a missing row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Int8Type, Int64Type, SchemaRef,
    TimestampMicrosecondType, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use trueup_ledger::table::Rows;
use trueup_ledger::{Amount, ColumnType, Digest, Epoch, Scale, Table, Value, View};

use crate::commit::CommitLog;
use crate::error::SinkError;
use crate::record::{CommitRecord, FileEntry, sha256_hex};
use crate::schema::{FIRST_COLUMN, delta_schema};
use crate::snapshot::{RowFilter, Snapshot};
use crate::store::{Retry, Store, StoreError};

/// The rows decoded at a time.
const BATCH_ROWS: usize = 8 * 1024;

/// Reads a delta file of `epoch` and hands out its rows, a few thousand at a time.
///
/// # Errors
/// [`SinkError::Damaged`] where the file is not what the commit says; what `each` returns.
pub fn scan_delta_file(
    store: &dyn Store,
    file: &FileEntry,
    epoch: Epoch,
    view: View,
    scale: Scale,
    each: &mut dyn FnMut(&Table) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    let path = file.path.as_str();
    let bytes = read_checked(store, file)?;
    let schema = delta_schema(view, scale);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, ArrowReaderOptions::new())
            .map_err(SinkError::parquet(path))?;
    check_schema(path, builder.schema(), &schema)?;
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(SinkError::parquet(path))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(SinkError::arrow(path))?;
        let table = to_table(path, &batch, epoch, view)?;
        rows += table.len() as u64;
        each(&table)?;
    }
    if rows != file.rows {
        return Err(SinkError::damaged(path, format!("{rows} rows, {} committed", file.rows)));
    }
    Ok(())
}

/// Reads a delta file of `epoch` as tables of a few thousand rows.
///
/// # Errors
/// [`SinkError::Damaged`] where the file is not what the commit says.
pub fn read_delta_file(
    store: &dyn Store,
    file: &FileEntry,
    epoch: Epoch,
    view: View,
    scale: Scale,
) -> Result<Vec<Table>, SinkError> {
    let mut tables = Vec::new();
    scan_delta_file(store, file, epoch, view, scale, &mut |table| {
        tables.push(table.clone());
        Ok(())
    })?;
    Ok(tables)
}

/// Returns the rows of a view at a committed epoch, by default the last one.
///
/// # Errors
/// [`SinkError::NotCommitted`], `Damaged`, or what the log and the store say.
pub fn rows_at<S: Store>(
    log: &CommitLog<S>,
    view: View,
    upto: Option<Epoch>,
    filter: Option<RowFilter<'_>>,
) -> Result<Rows, SinkError> {
    Ok(snapshot_at(log, view, upto, filter)?.into_rows())
}

/// As [`rows_at`], in about a tenth of the room.
///
/// # Errors
/// As [`rows_at`].
pub fn snapshot_at<S: Store>(
    log: &CommitLog<S>,
    view: View,
    upto: Option<Epoch>,
    filter: Option<RowFilter<'_>>,
) -> Result<Snapshot, SinkError> {
    let mut snapshot = Snapshot::new(view);
    each_commit(log, upto, |record| {
        scan_commit(log.store(), record, view, &mut |table| {
            snapshot.apply(table, filter);
            Ok(())
        })
    })?;
    Ok(snapshot)
}

/// Returns the digest of a view at a committed epoch, by default the last one, from the rows in
/// the files. On the way each commit's own digest and counts of the view are compared with them.
///
/// # Errors
/// As [`rows_at`]; [`SinkError::Damaged`] where a commit's totals are not those of its files.
pub fn digest_at<S: Store>(
    log: &CommitLog<S>,
    view: View,
    upto: Option<Epoch>,
) -> Result<Digest, SinkError> {
    let mut sum = Digest::default();
    each_commit(log, upto, |record| {
        let mut found = Digest::default();
        let (mut inserted, mut retracted) = (0, 0);
        scan_commit(log.store(), record, view, &mut |table| {
            found.add(table.digest());
            let plus = table.diffs().iter().filter(|diff| **diff > 0).count();
            inserted += plus as u64;
            retracted += (table.len() - plus) as u64;
            Ok(())
        })?;
        let said = record.views.get(view.name()).cloned().unwrap_or_default();
        if (said.digest, said.inserted, said.retracted) != (found, inserted, retracted) {
            let path = crate::record::commit_path(record.epoch);
            let what = format!("its totals of {} are not those of its files", view.name());
            return Err(SinkError::damaged(&path, what));
        }
        sum.add(found);
        Ok(())
    })?;
    Ok(sum)
}

fn each_commit<S: Store>(
    log: &CommitLog<S>,
    upto: Option<Epoch>,
    mut each: impl FnMut(&CommitRecord) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    let head = log.head()?.map_or(Epoch(0), |(epoch, _)| epoch);
    let wanted = upto.unwrap_or(head);
    if wanted > head {
        return Err(SinkError::NotCommitted { wanted, head });
    }
    for record in log.iter(Epoch(1), wanted) {
        each(&record?)?;
    }
    Ok(())
}

fn scan_commit(
    store: &dyn Store,
    record: &CommitRecord,
    view: View,
    each: &mut dyn FnMut(&Table) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    // The log refuses records of a scale that does not exist.
    let scale = Scale::new(record.amount_scale).unwrap_or_default();
    for file in record.files.iter().filter(|file| file.view == view.name()) {
        scan_delta_file(store, file, record.epoch, view, scale, each)?;
    }
    Ok(())
}

/// Reads a file that a commit names.
pub(crate) fn read_checked(store: &dyn Store, file: &FileEntry) -> Result<Bytes, SinkError> {
    let path = file.path.as_str();
    let bytes = match Retry::default().ask(|| store.get(path)) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => {
            return Err(SinkError::damaged(path, "a commit names it, and it is not there"));
        }
        Err(error) => return Err(error.into()),
    };
    if bytes.len() as u64 != file.bytes {
        let what = format!("{} bytes, {} committed", bytes.len(), file.bytes);
        return Err(SinkError::damaged(path, what));
    }
    let found = sha256_hex(&bytes);
    if found != file.sha256 {
        let what = format!("its SHA-256 is {found}, {} committed", file.sha256);
        return Err(SinkError::damaged(path, what));
    }
    Ok(bytes.into())
}

pub(crate) fn check_schema(
    path: &str,
    found: &SchemaRef,
    wanted: &SchemaRef,
) -> Result<(), SinkError> {
    let same = found.fields().len() == wanted.fields().len();
    for (found, wanted) in found.fields().iter().zip(wanted.fields()) {
        let (name, ty) = (wanted.name(), wanted.data_type());
        if found.name() != name
            || found.data_type() != ty
            || (found.is_nullable() && !wanted.is_nullable())
        {
            let what = format!("it has column {found} where {name} of {ty} belongs");
            return Err(SinkError::damaged(path, what));
        }
    }
    if same {
        Ok(())
    } else {
        Err(SinkError::damaged(path, "it has more or fewer columns than it should"))
    }
}

/// The values of one column of a batch.
enum Values<'a> {
    Text(&'a arrow::array::StringArray),
    Amount(ScalarBuffer<i128>),
    Integer(ScalarBuffer<i64>),
    Date(ScalarBuffer<i32>),
    Instant(ScalarBuffer<i64>),
}

impl Values<'_> {
    fn get(&self, row: usize) -> Value<'_> {
        match self {
            Values::Text(all) => Value::Text(all.value(row)),
            Values::Amount(all) => Value::Amount(all[row]),
            Values::Integer(all) => Value::Integer(all[row]),
            Values::Date(all) => Value::Date(all[row]),
            Values::Instant(all) => Value::Instant(all[row]),
        }
    }
}

fn to_table(path: &str, batch: &RecordBatch, epoch: Epoch, view: View) -> Result<Table, SinkError> {
    let epochs = numbers::<UInt64Type>(path, batch.column(0))?;
    if let Some(other) = epochs.iter().find(|found| **found != epoch.0) {
        return Err(SinkError::damaged(path, format!("it has rows of epoch {other}, not {epoch}")));
    }
    let diffs = numbers::<Int8Type>(path, batch.column(1))?;
    if let Some(other) = diffs.iter().find(|diff| !matches!(diff, -1 | 1)) {
        return Err(SinkError::damaged(path, format!("it has a diff of {other}")));
    }
    let columns = view.columns().iter().zip(&batch.columns()[FIRST_COLUMN..]);
    let columns: Vec<Values<'_>> =
        columns.map(|(column, array)| values(path, column.ty, array)).collect::<Result<_, _>>()?;
    let mut table = Table::new(view);
    let mut row_values = Vec::with_capacity(columns.len());
    for (row, diff) in diffs.iter().enumerate() {
        row_values.clear();
        row_values.extend(columns.iter().map(|column| column.get(row)));
        table.push(&row_values, *diff);
    }
    Ok(table)
}

fn values<'a>(path: &str, ty: ColumnType, array: &'a ArrayRef) -> Result<Values<'a>, SinkError> {
    Ok(match ty {
        ColumnType::Text => {
            Values::Text(array.as_string_opt().ok_or_else(|| SinkError::damaged(path, MISTYPED))?)
        }
        ColumnType::Amount => {
            let units = numbers::<Decimal128Type>(path, array)?;
            let limit = Amount::MAX_SUM.0.unsigned_abs();
            if units.iter().any(|units| units.unsigned_abs() > limit) {
                return Err(SinkError::damaged(path, "it has an amount of more than 38 digits"));
            }
            Values::Amount(units)
        }
        ColumnType::Integer => Values::Integer(numbers::<Int64Type>(path, array)?),
        ColumnType::Date => Values::Date(numbers::<Date32Type>(path, array)?),
        ColumnType::Instant => Values::Instant(numbers::<TimestampMicrosecondType>(path, array)?),
    })
}

const MISTYPED: &str = "a column is not of its type";

fn numbers<T: ArrowPrimitiveType>(
    path: &str,
    array: &Arc<dyn Array>,
) -> Result<ScalarBuffer<T::Native>, SinkError> {
    let array: Option<&PrimitiveArray<T>> = array.as_primitive_opt();
    let array = array.ok_or_else(|| SinkError::damaged(path, MISTYPED))?;
    if array.null_count() > 0 {
        return Err(SinkError::damaged(path, "it has a null"));
    }
    Ok(array.values().clone())
}
