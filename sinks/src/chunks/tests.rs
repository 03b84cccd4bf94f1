//! What is written is read back by the library's readers.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int32Type, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, false),
        Field::new("amount", DataType::Decimal128(38, 2), false),
        Field::new("number", DataType::Int64, false),
        Field::new("day", DataType::Int32, false),
        Field::new("bytes", DataType::Binary, true),
    ]))
}

#[derive(Debug, Default)]
struct Group {
    texts: Vec<String>,
    amounts: Vec<i128>,
    numbers: Vec<i64>,
    days: Vec<i32>,
    bytes: Vec<Option<Vec<u8>>>,
}

fn write(groups: &[Group]) -> Bytes {
    let properties = WriterProperties::builder().build();
    let mut file = FileWriter::new(&schema(), properties, Desk::new().unwrap()).unwrap();
    for group in groups {
        let mut writer = file.group().unwrap();
        let texts: Vec<&[u8]> = group.texts.iter().map(String::as_bytes).collect();
        let bytes: Vec<Option<&[u8]>> = group.bytes.iter().map(Option::as_deref).collect();
        // In two halves, the second one given first.
        let rows = u32::try_from(texts.len()).unwrap();
        let rows: Vec<u32> = (rows / 2..rows).chain(0..rows / 2).collect();
        writer.required_at(&given(&texts, &rows), &rows).unwrap();
        writer.required_at(&given(&group.amounts, &rows), &rows).unwrap();
        writer.required_at(&given(&group.numbers, &rows), &rows).unwrap();
        writer.required(&group.days, Effort::HASHES).unwrap();
        writer.optional(&bytes, Effort::RECORDS).unwrap();
        writer.close().unwrap();
    }
    Bytes::from(file.finish().unwrap().0)
}

fn given<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|row| values[*row as usize]).collect()
}

fn check(groups: &[Group]) {
    let file = write(groups);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let read = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    let texts: Vec<&str> = read.column(0).as_string::<i32>().iter().flatten().collect();
    let amounts: Vec<i128> = read.column(1).as_primitive::<Decimal128Type>().values().to_vec();
    let numbers: Vec<i64> = read.column(2).as_primitive::<Int64Type>().values().to_vec();
    let days: Vec<i32> = read.column(3).as_primitive::<Int32Type>().values().to_vec();
    let bytes = read.column(4).as_binary::<i32>();
    let bytes: Vec<Option<&[u8]>> = bytes.iter().collect();
    assert!(texts.iter().eq(groups.iter().flat_map(|group| &group.texts)));
    assert!(amounts.iter().eq(groups.iter().flat_map(|group| &group.amounts)));
    assert!(numbers.iter().eq(groups.iter().flat_map(|group| &group.numbers)));
    assert!(days.iter().eq(groups.iter().flat_map(|group| &group.days)));
    let wanted = groups.iter().flat_map(|group| group.bytes.iter().map(Option::as_deref));
    assert!(bytes.into_iter().eq(wanted));
}

/// Rows whose columns have about so many distinct values, in runs of some length.
fn group(rows: usize, distinct: u64, run: usize) -> Group {
    let mut group = Group::default();
    for row in 0..rows {
        let drawn = ((row / run) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17;
        let drawn = drawn % distinct;
        group.texts.push(format!("account:{drawn}"));
        group.amounts.push((i128::from(drawn) - 3) * 10_i128.pow(20));
        group.numbers.push(drawn.cast_signed().wrapping_mul(i64::MAX / 7));
        group.days.push(i32::try_from(drawn & 0x7fff_ffff).unwrap() - 5);
        let byte = drawn.to_le_bytes()[0];
        group.bytes.push((byte & 3 != 0).then(|| vec![byte; usize::from(byte % 5)]));
    }
    group
}

#[test]
fn every_width_of_a_dictionary_is_read_back() {
    for bits in 0..=16 {
        for run in [1, 7, 8, 9, 40] {
            check(&[group(70_000, 1 << bits, run)]);
        }
    }
    check(&[group(200_000, u64::from(u32::MAX), 1), group(1, 1, 1), group(9, 2, 3)]);
}

#[test]
fn repeated_values_take_little_room() {
    let constant = write(&[group(100_000, 1, 1)]).len();
    assert!(constant < 2_000, "{constant} bytes");
    let (few, many) = (write(&[group(100_000, 200, 1)]), write(&[group(100_000, 1 << 40, 1)]));
    assert!(few.len() * 3 < many.len(), "{} and {} bytes", few.len(), many.len());
}

#[test]
fn statistics_bound_the_values() {
    let file = SerializedFileReader::new(write(&[group(5_000, 40, 1)])).unwrap();
    let columns = file.metadata().row_group(0).columns();
    let bounds = |column: usize| {
        let statistics = columns[column].statistics().unwrap();
        (statistics.min_bytes_opt().unwrap(), statistics.max_bytes_opt().unwrap())
    };
    assert_eq!(bounds(0), (b"account:0".as_slice(), b"account:9".as_slice()));
    let units = |number: i128| (number * 10_i128.pow(20)).to_be_bytes();
    assert_eq!(bounds(1), (units(-3).as_slice(), units(36).as_slice()));
    assert_eq!(bounds(3), ((-5_i32).to_le_bytes().as_slice(), 34_i32.to_le_bytes().as_slice()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_rows_are_read_back(
        texts in prop::collection::vec("[a-z]{0,3}|\\PC{0,90}", 1..300),
        seed in any::<u64>(),
        kinds in 1_u64..60,
    ) {
        let mut group = group(texts.len(), kinds, 1 + (seed % 11) as usize);
        group.amounts[0] = 10_i128.pow(38) - 1;
        group.numbers[texts.len() / 2] = i64::MIN;
        group.texts = texts;
        check(&[group]);
    }
}
