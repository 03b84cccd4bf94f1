//! Column chunks of Parquet, written straight from the values.
//!
//! ```text
//! values ─▶ few distinct? ─ yes ─▶ dictionary page, then pages of bit-packed places in it
//!                └───────── no ──▶ pages of plain values            (each page one zstd frame)
//! ```
//!
//! The library's writers intern every value, keep statistics page by page and make a compressor a
//! page; that took a sixth of all processor time of a first load. Here a sample decides once a chunk
//! whether a dictionary is worth it, and one compressor serves a file. Page headers and the footer
//! are the library's.
//!
//! Guarantee: equal values, given in an equal order, make equal bytes; every value is there, in its row.

use std::borrow::Cow;
use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::file::writer::{
    SerializedFileWriter, SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite,
};
use parquet::schema::types::ColumnDescPtr;
use trueup_ledger::table::NarrowUnits;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

/// The most values of one page: a mebibyte of amounts.
const PAGE_VALUES: usize = 64 * 1024;

/// How many values say whether a dictionary is worth it.
const SAMPLE: usize = 1024;

/// The most values of a dictionary. It stays in the caches of who writes and who reads.
const DICTIONARY_VALUES: usize = 32 * 1024;

/// The longest text that is a bound in the statistics of its chunk, as in other writers.
const STATISTICS_BYTES: usize = 64;

/// The compression level: what the library takes by default.
const LEVEL: i32 = 1;

/// What compressing a column takes beside the level, which is made for anything: a column of one kind is as
/// small with less. Readers need not know. What each gives is in `docs/performance.md`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Binary logarithm of how many places of what went before are remembered; 0 as the level has it.
    remembered: u32,
    /// Of how many bytes alike at least a repetition is looked for; 0 as the level has it.
    alike: u32,
    /// How many bytes are gone past where nothing repeats. With any, what does not repeat is not
    /// compressed by itself.
    stride: u32,
}

impl Effort {
    /// Of numbers with many leading bytes that are alike and a few that are like no others.
    pub(crate) const NUMBERS: Effort = Effort { stride: 2, ..Effort::LEVEL };
    /// Of identifiers. They resemble those just before, if any.
    pub(crate) const IDENTIFIERS: Effort = Effort { remembered: 11, ..Effort::LEVEL };
    /// Of hashes in order, which share what they begin with.
    pub(crate) const HASHES: Effort = Effort { remembered: 12, stride: 2, ..Effort::LEVEL };
    /// Of records of some hundred bytes, with texts and numbers.
    pub(crate) const RECORDS: Effort = Effort { remembered: 13, alike: 6, ..Effort::LEVEL };

    const LEVEL: Effort = Effort { remembered: 0, alike: 0, stride: 0 };

    fn set(self, zstd: &mut Compressor<'_>) -> Result<()> {
        zstd.set_parameter(CParameter::HashLog(self.remembered))?;
        zstd.set_parameter(CParameter::MinMatch(self.alike))?;
        zstd.set_parameter(CParameter::TargetLength(self.stride))?;
        Ok(())
    }
}

/// A value as Parquet stores it.
pub(crate) trait Plain: Copy + Ord + Hash {
    /// Whether the least and the largest of values that hardly repeat are worth looking for. Texts
    /// that do not are identifiers in no order: their bounds exclude nothing.
    const BOUNDED: bool = true;

    /// How values that hardly repeat are compressed.
    const EFFORT: Effort = Effort::NUMBERS;

    /// Appends the value as the encoding `PLAIN` has it.
    fn put(self, out: &mut Vec<u8>);

    /// Returns how many bytes that appends for all of some values.
    fn room(values: &[Self]) -> usize {
        size_of_val(values)
    }

    /// Describes a chunk with values from `min` to `max`; `None` where that would take much room.
    fn statistics(min: Self, max: Self) -> Option<Statistics>;
}

impl Plain for i32 {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn statistics(min: i32, max: i32) -> Option<Statistics> {
        Some(Statistics::int32(Some(min), Some(max), None, Some(0), false))
    }
}

impl Plain for i64 {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn statistics(min: i64, max: i64) -> Option<Statistics> {
        Some(Statistics::int64(Some(min), Some(max), None, Some(0), false))
    }
}

/// A decimal of 38 digits: 16 bytes, the highest first.
impl Plain for i128 {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn statistics(min: i128, max: i128) -> Option<Statistics> {
        let bytes = |units: i128| Some(FixedLenByteArray::from(units.to_be_bytes().to_vec()));
        let (min, max) = (bytes(min), bytes(max));
        Some(Statistics::fixed_len_byte_array(min, max, None, Some(0), false))
    }
}

/// The same decimal of an amount that takes half the memory.
impl Plain for NarrowUnits {
    fn put(self, out: &mut Vec<u8>) {
        i128::from(self).put(out);
    }

    fn room(values: &[NarrowUnits]) -> usize {
        size_of::<i128>() * values.len()
    }

    fn statistics(min: NarrowUnits, max: NarrowUnits) -> Option<Statistics> {
        i128::statistics(min.into(), max.into())
    }
}

impl Plain for &[u8] {
    const BOUNDED: bool = false;
    const EFFORT: Effort = Effort::IDENTIFIERS;

    fn room(values: &[&[u8]]) -> usize {
        values.iter().map(|text| size_of::<u32>() + text.len()).sum()
    }

    fn put(self, out: &mut Vec<u8>) {
        // No text of a record or of a view comes near four gigabytes.
        let length = u32::try_from(self.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(self);
    }

    fn statistics(min: &[u8], max: &[u8]) -> Option<Statistics> {
        if min.len().max(max.len()) > STATISTICS_BYTES {
            return None;
        }
        let bytes = |text: &[u8]| Some(ByteArray::from(text.to_vec()));
        Some(Statistics::byte_array(bytes(min), bytes(max), None, Some(0), false))
    }
}

/// A Parquet file that is being written to memory.
pub(crate) struct FileWriter {
    file: SerializedFileWriter<Vec<u8>>,
    desk: Desk,
}

/// What files are made with, one after the other: memory that is taken anew has to be cleared first.
pub(crate) struct Desk {
    zstd: Compressor<'static>,
    /// The values of the page that is being made.
    plain: Vec<u8>,
    /// Room for the next page, when it is compressed.
    page: Vec<u8>,
    /// Room for the pages of the next chunk.
    chunk: Vec<u8>,
    /// Room for the next file.
    room: Vec<u8>,
}

impl Desk {
    pub(crate) fn new() -> Result<Desk> {
        let (plain, page, chunk, room) = Default::default();
        Ok(Desk { zstd: Compressor::new(LEVEL)?, plain, page, chunk, room })
    }

    /// Takes back the room of a file that nobody needs any more.
    pub(crate) fn take_back(&mut self, mut file: Vec<u8>) {
        file.clear();
        self.room = file;
    }
}

impl FileWriter {
    pub(crate) fn new(
        schema: &Schema,
        properties: WriterProperties,
        mut desk: Desk,
    ) -> Result<FileWriter> {
        let schema = ArrowSchemaConverter::new().convert(schema)?.root_schema_ptr();
        let room = std::mem::take(&mut desk.room);
        Ok(FileWriter {
            file: SerializedFileWriter::new(room, schema, Arc::new(properties))?,
            desk,
        })
    }

    /// Begins a row group, whose columns are written one after the other.
    pub(crate) fn group(&mut self) -> Result<GroupWriter<'_>> {
        let columns = self.file.schema_descr().columns().to_vec();
        let columns = columns.into_iter();
        Ok(GroupWriter { group: self.file.next_row_group()?, columns, desk: &mut self.desk })
    }

    /// Writes the footer, and returns the bytes of the file and the desk for the next one.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Desk)> {
        Ok((self.file.into_inner()?, self.desk))
    }
}

/// A row group that is being written.
pub(crate) struct GroupWriter<'f> {
    group: SerializedRowGroupWriter<'f, Vec<u8>>,
    columns: std::vec::IntoIter<ColumnDescPtr>,
    desk: &'f mut Desk,
}

impl GroupWriter<'_> {
    /// Writes the next column, which has a value in every row.
    pub(crate) fn required<T: Plain>(&mut self, values: &[T], effort: Effort) -> Result<()> {
        self.column(values, None, effort)
    }

    /// Writes the next column as [`GroupWriter::required`] does. `rows` says of each value in which row it
    /// is, of every row once.
    pub(crate) fn required_at<T: Plain>(&mut self, values: &[T], rows: &[u32]) -> Result<()> {
        self.column(values, Some(rows), T::EFFORT)
    }

    /// Writes the next column as [`GroupWriter::required_at`] does, of values of which a dictionary is there.
    pub(crate) fn coded_at<T: Plain>(&mut self, coded: &Dictionary<T>, rows: &[u32]) -> Result<()> {
        if coded.is_worth_it() {
            return self.places(coded, Some(rows));
        }
        let value = |place: &u32| coded.values[*place as usize];
        let values: Vec<T> = coded.places.iter().map(value).collect();
        self.column(&values, Some(rows), T::EFFORT)
    }

    fn places<T: Plain>(&mut self, coded: &Dictionary<T>, rows: Option<&[u32]>) -> Result<()> {
        let mut pages = Pages::new(self.desk, Effort::LEVEL)?;
        pages.dictionary(&coded.values)?;
        for places in arranged(&coded.places, rows).chunks(PAGE_VALUES) {
            pages.places(places, coded.width())?;
        }
        let chunk = pages.finish()?;
        self.append(chunk, coded.places.len(), bounds(&coded.values))
    }

    fn column<T: Plain>(
        &mut self,
        values: &[T],
        rows: Option<&[u32]>,
        effort: Effort,
    ) -> Result<()> {
        if let Some(dictionary) = Dictionary::of(values) {
            return self.places(&dictionary, rows);
        }
        let mut pages = Pages::new(self.desk, effort)?;
        for values in arranged(values, rows).chunks(PAGE_VALUES) {
            pages.plain(values, None)?;
        }
        let chunk = pages.finish()?;
        let bounds = if T::BOUNDED { bounds(values) } else { None };
        self.append(chunk, values.len(), bounds)
    }

    /// Writes the next column, which lacks values in some rows. It gets no statistics.
    pub(crate) fn optional<T: Plain>(
        &mut self,
        values: &[Option<T>],
        effort: Effort,
    ) -> Result<()> {
        let mut pages = Pages::new(self.desk, effort)?;
        let mut present: Vec<T> = Vec::with_capacity(values.len().min(PAGE_VALUES));
        for values in values.chunks(PAGE_VALUES) {
            present.clear();
            present.extend(values.iter().flatten());
            let levels: Vec<u32> = values.iter().map(|value| u32::from(value.is_some())).collect();
            pages.plain(&present, Some(&levels))?;
        }
        let chunk = pages.finish()?;
        self.append(chunk, values.len(), None::<(T, T)>)
    }

    fn append<T: Plain>(
        &mut self,
        chunk: Chunk,
        rows: usize,
        bounds: Option<(T, T)>,
    ) -> Result<()> {
        let column = self.columns.next();
        let column = column.ok_or_else(|| ParquetError::General("no such column".into()))?;
        let Chunk { bytes, uncompressed, encodings, first_data } = chunk;
        let dictionary = (first_data > 0).then_some(0);
        let level = ZstdLevel::try_new(LEVEL)?;
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(level))
            .set_encodings(encodings)
            .set_num_values(size(rows)?)
            .set_total_compressed_size(size(bytes.len())?)
            .set_total_uncompressed_size(size(uncompressed)?)
            .set_dictionary_page_offset(dictionary)
            .set_data_page_offset(size(first_data)?);
        if let Some(statistics) = bounds.and_then(|(min, max)| T::statistics(min, max)) {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        self.group.append_column(&bytes, close)?;
        self.desk.chunk = emptied(bytes);
        Ok(())
    }

    pub(crate) fn close(self) -> Result<()> {
        self.group.close().map(drop)
    }
}

/// Returns values in the order of the rows in which they are.
fn arranged<'a, T: Copy>(values: &'a [T], rows: Option<&[u32]>) -> Cow<'a, [T]> {
    let Some(rows) = rows else { return Cow::Borrowed(values) };
    let mut arranged = values.to_vec();
    for (value, row) in values.iter().zip(rows) {
        arranged[*row as usize] = *value;
    }
    Cow::Owned(arranged)
}

fn bounds<T: Plain>(values: &[T]) -> Option<(T, T)> {
    let (first, rest) = values.split_first()?;
    Some(rest.iter().fold((*first, *first), |(min, max), value| (min.min(*value), max.max(*value))))
}

/// The bytes of a column in a row group, and what the footer says of them.
struct Chunk {
    bytes: Bytes,
    uncompressed: usize,
    encodings: Vec<Encoding>,
    /// Where the first page of data begins, behind the dictionary.
    first_data: usize,
}

/// The pages of a chunk that is being written.
struct Pages<'d> {
    bytes: TrackedWrite<Vec<u8>>,
    desk: &'d mut Desk,
    uncompressed: usize,
    encodings: Vec<Encoding>,
    first_data: usize,
}

impl<'d> Pages<'d> {
    fn new(desk: &'d mut Desk, effort: Effort) -> Result<Pages<'d>> {
        effort.set(&mut desk.zstd)?;
        let bytes = TrackedWrite::new(std::mem::take(&mut desk.chunk));
        Ok(Pages {
            bytes,
            desk,
            uncompressed: 0,
            encodings: vec![Encoding::PLAIN, Encoding::RLE],
            first_data: 0,
        })
    }

    fn finish(self) -> Result<Chunk> {
        let Pages { bytes, uncompressed, encodings, first_data, .. } = self;
        Ok(Chunk { bytes: Bytes::from(bytes.into_inner()?), uncompressed, encodings, first_data })
    }

    fn dictionary<T: Plain>(&mut self, values: &[T]) -> Result<()> {
        self.desk.plain.clear();
        values.iter().for_each(|value| value.put(&mut self.desk.plain));
        self.encodings.push(Encoding::RLE_DICTIONARY);
        let (num_values, encoding) = (count(values.len())?, Encoding::PLAIN);
        self.write(|buf| Page::DictionaryPage { buf, num_values, encoding, is_sorted: false })?;
        self.first_data = self.bytes.bytes_written();
        Ok(())
    }

    fn places(&mut self, places: &[u32], width: u8) -> Result<()> {
        let plain = &mut self.desk.plain;
        plain.clear();
        plain.push(width);
        put_hybrid(plain, places, width);
        self.data(places.len(), Encoding::RLE_DICTIONARY)
    }

    /// Writes values with the levels that say where they are, if some are absent.
    fn plain<T: Plain>(&mut self, values: &[T], levels: Option<&[u32]>) -> Result<()> {
        let plain = &mut self.desk.plain;
        plain.clear();
        plain.reserve(T::room(values) + levels.map_or(0, <[u32]>::len) / 8 + 16);
        if let Some(levels) = levels {
            let mut packed = Vec::new();
            put_hybrid(&mut packed, levels, 1);
            plain.extend_from_slice(&count(packed.len())?.to_le_bytes());
            plain.append(&mut packed);
        }
        values.iter().for_each(|value| value.put(plain));
        self.data(levels.map_or(values.len(), <[u32]>::len), Encoding::PLAIN)
    }

    fn data(&mut self, values: usize, encoding: Encoding) -> Result<()> {
        let num_values = count(values)?;
        self.write(|buf| Page::DataPage {
            buf,
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }

    /// Writes what is on the desk as a page.
    fn write(&mut self, page: impl FnOnce(Bytes) -> Page) -> Result<()> {
        let Desk { zstd, plain, page: room, .. } = &mut *self.desk;
        let mut compressed = std::mem::take(room);
        compressed.reserve(compress_bound(plain.len()));
        zstd.compress_to_buffer(plain, &mut compressed)?;
        let compressed = Bytes::from(compressed);
        let page = CompressedPage::new(page(compressed.clone()), plain.len());
        let written = SerializedPageWriter::new(&mut self.bytes).write_page(page)?;
        self.uncompressed += written.uncompressed_size;
        *room = emptied(compressed);
        Ok(())
    }
}

/// Returns the room of bytes that nobody else has any more.
fn emptied(bytes: Bytes) -> Vec<u8> {
    let mut room = Vec::from(bytes);
    room.clear();
    room
}

fn size(length: usize) -> Result<i64> {
    let wide = |_| ParquetError::General("a chunk of more than eight exabytes".into());
    i64::try_from(length).map_err(wide)
}

fn count(length: usize) -> Result<u32> {
    let wide = |_| ParquetError::General("a page of more than four gigabytes".into());
    u32::try_from(length).map_err(wide)
}

/// The distinct values of a chunk in the order in which they come first, and for each value its place
/// among them.
pub(crate) struct Dictionary<T> {
    pub(crate) values: Vec<T>,
    pub(crate) places: Vec<u32>,
}

impl<T: Plain> Dictionary<T> {
    /// Returns that of one value, so many times.
    pub(crate) fn of_one(value: T, times: usize) -> Dictionary<T> {
        Dictionary { values: vec![value], places: vec![0; times] }
    }

    /// Builds a dictionary, or none where it would hardly be smaller than the values.
    fn of(values: &[T]) -> Option<Dictionary<T>> {
        let step = (values.len() / SAMPLE).max(1);
        let sample = values.iter().step_by(step).take(SAMPLE);
        let (mut seen, mut looked_at) = (HashSet::with_capacity(SAMPLE.min(values.len())), 0);
        for value in sample {
            seen.insert(value);
            looked_at += 1;
        }
        // Values that are a quarter or less of so many rows meet in a sample, others hardly.
        if seen.is_empty() || seen.len() * 64 > looked_at * 63 {
            return None;
        }
        let most = DICTIONARY_VALUES.min(values.len() / 2);
        // Where hardly any two of the sample are equal there are about as many as there may be.
        let likely = if seen.len() * 2 > looked_at { most } else { seen.len() };
        let mut known: HashMap<T, u32> = HashMap::with_capacity(likely);
        let mut distinct = Vec::with_capacity(likely);
        let mut places = Vec::with_capacity(values.len());
        let mut last = None;
        for value in values {
            let place = match last {
                Some((before, place)) if before == *value => place,
                _ => {
                    let next = u32::try_from(distinct.len()).ok()?;
                    *known.entry(*value).or_insert_with(|| {
                        distinct.push(*value);
                        next
                    })
                }
            };
            if distinct.len() > most {
                return None;
            }
            last = Some((*value, place));
            places.push(place);
        }
        Some(Dictionary { values: distinct, places })
    }

    /// Whether it would be much smaller than the values, as [`Dictionary::of`] finds it: of a few hundred
    /// values a sample is all of them or shows them to be few.
    fn is_worth_it(&self) -> bool {
        let (distinct, all) = (self.values.len(), self.places.len());
        distinct * 64 <= all * 63 && distinct <= DICTIONARY_VALUES.min(all / 2)
    }

    /// Returns how many bits a place takes.
    fn width(&self) -> u8 {
        let last = u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX);
        last.checked_ilog2().map_or(0, |bit| bit.to_le_bytes()[0] + 1)
    }
}

/// Appends numbers of `width` bits in Parquet's hybrid of runs and bit-packing: eight or more equal
/// ones as a run, all others packed in groups of eight.
fn put_hybrid(out: &mut Vec<u8>, numbers: &[u32], width: u8) {
    let (mut packed_from, mut at) = (0, 0);
    while at < numbers.len() {
        let run = numbers[at..].iter().take_while(|number| **number == numbers[at]).count();
        if run < 8 {
            at += 8;
            continue;
        }
        put_packed(out, &numbers[packed_from..at], width);
        put_leb128(out, (run as u64) << 1);
        let bytes = usize::from(width).div_ceil(8);
        out.extend_from_slice(&numbers[at].to_le_bytes()[..bytes]);
        at += run;
        packed_from = at;
    }
    put_packed(out, &numbers[packed_from..], width);
}

/// Appends numbers in groups of eight, the last one filled up with zeros.
fn put_packed(out: &mut Vec<u8>, numbers: &[u32], width: u8) {
    if numbers.is_empty() {
        return;
    }
    put_leb128(out, (numbers.len().div_ceil(8) as u64) << 1 | 1);
    for group in numbers.chunks(8) {
        let (mut bits, mut held) = (0_u64, 0);
        let missing = std::iter::repeat_n(&0, 8 - group.len());
        for number in group.iter().chain(missing) {
            bits |= u64::from(*number) << held;
            held += u32::from(width);
            while held >= 8 {
                out.push((bits & 0xff) as u8);
                bits >>= 8;
                held -= 8;
            }
        }
    }
}

fn put_leb128(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

#[cfg(test)]
mod tests;
