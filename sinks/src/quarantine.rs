//! Quarantine files: the records of an epoch that were not accepted, with reason and raw bytes, so
//! that nothing is dropped (SPEC §1) and each can be repaired and sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::schema::types::ColumnPath;
use trueup_ledger::{Epoch, PartitionId, Position, Reason};

use crate::deltas::{dated_path, stage};
use crate::error::SinkError;
use crate::reader::{check_schema, read_checked};
use crate::record::{FileEntry, QUARANTINE};
use crate::schema::{base_properties, encode};
use crate::store::Store;

/// The most raw bytes of one record batch, beyond its last record.
const BATCH_BYTES: usize = 64 << 20;

/// The most records of one record batch.
const BATCH_ROWS: usize = 16 * 1024;

/// A record that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// The stable reason.
    pub reason: Reason,
    /// What is wrong, in words.
    pub detail: String,
    /// The source's name in the configuration.
    pub source: String,
    /// The partition's name within the source.
    pub partition: String,
    /// The segment of its position, or empty.
    pub segment: String,
    /// The offset of its position.
    pub offset: u64,
    /// The record as it was read.
    pub raw: Vec<u8>,
    /// The correlation id, where it could be decoded.
    pub correlation_id: Option<String>,
}

/// A record of a quarantine file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantined<'a> {
    /// The epoch that read it.
    pub epoch: Epoch,
    /// The code of the reason; one that this version does not know may be there.
    pub reason: &'a str,
    /// What is wrong, in words.
    pub detail: &'a str,
    /// The source's name in the configuration.
    pub source: &'a str,
    /// The partition's name within the source.
    pub partition: &'a str,
    /// Its position in the partition, as text.
    pub position: &'a str,
    /// The segment of its position, or empty.
    pub segment: &'a str,
    /// The offset of its position.
    pub offset: u64,
    /// The correlation id, where it could be decoded.
    pub correlation_id: Option<&'a str>,
    /// The record as it was read.
    pub raw: &'a [u8],
}

/// Reads a quarantine file and hands out its records, in the order they were written.
///
/// # Errors
/// [`SinkError::Damaged`] where the file is not what the commit says; what `each` returns.
pub fn scan_quarantine_file<E: From<SinkError>>(
    store: &dyn Store,
    file: &FileEntry,
    mut each: impl FnMut(Quarantined<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let path = file.path.as_str();
    let bytes = read_checked(store, file)?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(SinkError::parquet(path))?;
    check_schema(path, builder.schema(), &quarantine_schema())?;
    let mut rows = 0;
    for batch in builder.build().map_err(SinkError::parquet(path))? {
        let batch = batch.map_err(SinkError::arrow(path))?;
        rows += batch.num_rows() as u64;
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let number = |column: usize| batch.column(column).as_primitive::<UInt64Type>();
        let (epochs, offsets) = (number(0), number(7));
        let (correlation_ids, raw) = (text(8), batch.column(9).as_binary::<i32>());
        for row in 0..batch.num_rows() {
            each(Quarantined {
                epoch: Epoch(epochs.value(row)),
                reason: text(1).value(row),
                detail: text(2).value(row),
                source: text(3).value(row),
                partition: text(4).value(row),
                position: text(5).value(row),
                segment: text(6).value(row),
                offset: offsets.value(row),
                correlation_id: correlation_ids.is_valid(row).then(|| correlation_ids.value(row)),
                raw: raw.value(row),
            })?;
        }
    }
    if rows != file.rows {
        let what = format!("{rows} rows, {} committed", file.rows);
        return Err(SinkError::damaged(path, what).into());
    }
    Ok(())
}

/// Returns where the records stood that an epoch quarantined, by partition. What a committed epoch
/// quarantined stays quarantined, whatever a later program would make of it: its records are read
/// again under this, not under what decodes today. `files` are those of the commit; nothing is read
/// where none of them is a quarantine file.
///
/// # Errors
/// As [`scan_quarantine_file`].
pub fn quarantined_positions(
    store: &dyn Store,
    files: &[FileEntry],
) -> Result<BTreeMap<PartitionId, BTreeSet<Position>>, SinkError> {
    let mut found: BTreeMap<PartitionId, BTreeSet<Position>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.view == QUARANTINE) {
        scan_quarantine_file(store, file, |record| {
            let id =
                PartitionId { source: record.source.into(), partition: record.partition.into() };
            let position = Position { segment: record.segment.into(), offset: record.offset };
            found.entry(id).or_default().insert(position);
            Ok::<_, SinkError>(())
        })?;
    }
    Ok(found)
}

/// Writes the quarantined records of one epoch, and returns the file for the commit record: `None`
/// where there are no records. `commit_date` is in days since 1970.
///
/// # Errors
/// What the store says; [`SinkError::Arrow`] for a single record beyond 2 GiB.
pub fn write_quarantine(
    store: &dyn Store,
    records: &[QuarantineRecord],
    epoch: Epoch,
    worker: usize,
    commit_date: i32,
) -> Result<Option<FileEntry>, SinkError> {
    if records.is_empty() {
        return Ok(None);
    }
    let path = dated_path(QUARANTINE, commit_date, epoch, worker);
    let schema = quarantine_schema();
    let properties = ["reason", "detail", "source", "partition", "segment"]
        .into_iter()
        .fold(base_properties(), |properties, column| {
            properties.set_column_dictionary_enabled(ColumnPath::from(column), true)
        })
        .build();
    let batches = chunks(records).map(|chunk| {
        RecordBatch::try_new(schema.clone(), arrays(chunk, epoch)?).map_err(SinkError::arrow(&path))
    });
    let bytes = encode(&path, &schema, properties, batches)?;
    stage(store, path, QUARANTINE, records.len() as u64, &bytes).map(Some)
}

fn quarantine_schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        Field::new("epoch", DataType::UInt64, false),
        text("reason"),
        text("detail"),
        text("source"),
        text("partition"),
        text("position"),
        text("segment"),
        Field::new("offset", DataType::UInt64, false),
        Field::new("correlation_id", DataType::Utf8, true),
        Field::new("raw", DataType::Binary, false),
    ]))
}

/// Splits records so that the raw bytes of each part stay within what one array can address.
fn chunks(records: &[QuarantineRecord]) -> impl Iterator<Item = &[QuarantineRecord]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let end = rest.iter().take(BATCH_ROWS).position(|record| {
            bytes += record.raw.len() + record.detail.len();
            bytes > BATCH_BYTES
        });
        let end = end.map_or(BATCH_ROWS.min(rest.len()), |place| place + 1);
        let (chunk, after) = rest.split_at(end);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn arrays(chunk: &[QuarantineRecord], epoch: Epoch) -> Result<Vec<ArrayRef>, SinkError> {
    let text = |get: fn(&QuarantineRecord) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(chunk.iter().map(get)))
    };
    let position = |record: &QuarantineRecord| {
        let segment = record.segment.as_str().into();
        Position { segment, offset: record.offset }.to_string()
    };
    let positions = StringArray::from_iter_values(chunk.iter().map(position));
    let correlations: StringArray =
        chunk.iter().map(|record| record.correlation_id.as_deref()).collect();
    let raw = BinaryArray::from_iter_values(chunk.iter().map(|record| record.raw.as_slice()));
    Ok(vec![
        Arc::new(UInt64Array::from(vec![epoch.0; chunk.len()])),
        text(|record| record.reason.code()),
        text(|record| &record.detail),
        text(|record| &record.source),
        text(|record| &record.partition),
        Arc::new(positions),
        text(|record| &record.segment),
        Arc::new(UInt64Array::from_iter_values(chunk.iter().map(|record| record.offset))),
        Arc::new(correlations),
        Arc::new(raw),
    ])
}
