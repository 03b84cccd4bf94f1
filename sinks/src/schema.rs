//! How rows are laid out in Parquet: the one place where a view's columns become Arrow types.
//!
//! Names, types and order are part of the published interface (SPEC §5): a reader that knows
//! nothing of trueup sums `diff` and is right.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use trueup_ledger::{ColumnType, Scale, View};

use crate::error::SinkError;

/// The digits of every amount column.
const PRECISION: u8 = 38;

/// The most rows of one row group.
pub(crate) const ROW_GROUP_ROWS: usize = 512 * 1024;

/// Says who wrote a file in the form that readers parse. It never changes with the program, so
/// that equal rows make equal bytes.
const CREATED_BY: &str = "trueup version 1.0.0 (build 1)";

/// The place of the first column of the view itself, behind `epoch` and `diff`.
pub(crate) const FIRST_COLUMN: usize = 2;

/// Returns the schema of a view's delta files.
pub(crate) fn delta_schema(view: View, scale: Scale) -> SchemaRef {
    let own = [("epoch", DataType::UInt64), ("diff", DataType::Int8)];
    let columns = view.columns().iter().map(|column| (column.name, data_type(column.ty, scale)));
    let fields = own.into_iter().chain(columns);
    let fields: Vec<_> = fields.map(|(name, ty)| Field::new(name, ty, false)).collect();
    Arc::new(Schema::new(fields))
}

fn data_type(ty: ColumnType, scale: Scale) -> DataType {
    match ty {
        ColumnType::Text => DataType::Utf8,
        ColumnType::Amount => DataType::Decimal128(PRECISION, scale.digits().cast_signed()),
        ColumnType::Integer => DataType::Int64,
        ColumnType::Date => DataType::Date32,
        ColumnType::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// Returns what a delta file says of itself.
pub(crate) fn delta_properties() -> WriterProperties {
    let tenant = SortingColumn { column_idx: 2, descending: false, nulls_first: false };
    base_properties().set_sorting_columns(Some(vec![tenant])).build()
}

/// Returns what all files have in common.
pub(crate) fn base_properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
}

/// Writes record batches as one Parquet file.
pub(crate) fn encode(
    path: &str,
    schema: &SchemaRef,
    properties: WriterProperties,
    batches: impl Iterator<Item = Result<RecordBatch, SinkError>>,
) -> Result<Vec<u8>, SinkError> {
    // The Arrow schema would be there a second time as an opaque text; the Parquet one says all.
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)
        .map_err(SinkError::parquet(path))?;
    for batch in batches {
        writer.write(&batch?).map_err(SinkError::parquet(path))?;
    }
    writer.into_inner().map_err(SinkError::parquet(path))
}
