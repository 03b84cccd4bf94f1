//! Copies of state in the store, from which a machine whose disk is gone goes on.
//!
//! ```text
//! checkpoints/<epoch>-<hash>.json            a manifest: epoch, commit, base, groups of parts
//! checkpoints/parts/<epoch>-<hash>.parquet   sorted keys and values; no value where one was removed
//! ```
//!
//! - A copy is what has changed since the one that it builds on, its base, and of a range of keys all
//!   that there is. The ranges of copies that follow each other go round, so that the last ones are the
//!   whole state together ([`Chain`]): no copy ever has to be whole by itself, however large the state.
//! - A copy is of all processes: each writes the parts of its shards, and one of them the manifest. So
//!   any number of processes can go on from it.
//! - Files are named by the hash of their bytes and only ever created. A copy counts once its
//!   manifest is there, which names every part with its SHA-256.
//! - A copy is of one commit, whose hash it holds: a copy of another history is never used.
//!
//! Copies save time, never truth: a damaged one is passed over for the one before it, and without
//! any the state is derived from the log. All that the one before the oldest of a whole chain needs is
//! kept too, so that after two rounds there is another chain, whatever is damaged.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use trueup_ledger::Epoch;

use crate::chunks::{Desk, Effort, FileWriter};
use crate::error::SinkError;
use crate::record::sha256_hex;
use crate::schema::base_properties;
use crate::store::{Creation, Retry, Store, StoreError, create_exact};

mod chain;

pub use chain::{Bound, Chain, KeyRange};

const FOLDER: &str = "checkpoints/";
const PARTS: &str = "checkpoints/parts/";

/// The version of manifests and parts, and of what the parts hold; another one is passed over.
const FORMAT_VERSION: u32 = 6;

/// How many bytes of keys and values a part holds, about.
const PART_BYTES: usize = 32 << 20;

/// How many of them are handed on and written together, as a row group: they stay in the caches of who
/// sorts, stores and copies them, and take no new memory.
const PIECE_BYTES: usize = 2 << 20;

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of its form.
    pub format_version: u32,
    /// The epoch whose state it is.
    pub epoch: Epoch,
    /// The hash of that epoch's commit.
    pub commit_hash: String,
    /// The hash of the configuration that the state depends on.
    pub configuration_hash: String,
    /// The epoch of the state that this one builds on, of which there may be no copy; `None` where it
    /// begins with nothing.
    pub base: Option<Epoch>,
    /// Whether it and those before it are the whole state together, as far as they have not been lost.
    pub is_whole: bool,
    /// What each process wrote; no key is in two groups.
    pub groups: Vec<Group>,
}

/// What one process wrote of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The shards whose keys it has, in order.
    pub shards: Vec<u8>,
    /// The keys of which it has all that there are, not only those that have changed.
    pub whole: Option<KeyRange>,
    /// Where what the next copy has as a whole begins.
    pub next: Bound,
    /// How many bytes of keys and values the next copies are to have as a whole, for what has been
    /// replaced so far.
    pub owed: u64,
    /// How large the copies have become beside the state.
    pub weight: Weight,
    /// The parts, in the order of their keys.
    pub parts: Vec<Part>,
}

/// How many bytes of keys and values there are, about, of which a part may be of other processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Those of the state.
    pub state: u64,
    /// Those of all copies since the one in which all keys began to be copied once more.
    pub round: u64,
    /// Those of the copies before, in which all keys were copied once.
    pub round_before: u64,
}

impl Weight {
    /// Says whether a restore reads more than so many times what there is.
    #[must_use]
    pub fn is_beyond(&self, times: u64) -> bool {
        self.round.saturating_add(self.round_before) > self.state.saturating_mul(times)
    }

    /// Adds what a copy has: `new` bytes that replace nothing, `gone` that are no more, `copied` in all.
    pub fn add(&mut self, new: u64, gone: u64, copied: u64) {
        self.state = (self.state + new).saturating_sub(gone);
        self.round += copied;
    }

    /// Begins with the first of the keys once more.
    pub fn end_round(&mut self) {
        self.round_before = std::mem::take(&mut self.round);
    }
}

/// A file of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The path within the store.
    pub path: String,
    /// How many keys it has.
    pub changes: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Describes a copy whose parts are written.
    #[must_use]
    pub fn new(
        (epoch, commit_hash): (Epoch, String),
        configuration_hash: String,
        (base, is_whole): (Option<Epoch>, bool),
        groups: Vec<Group>,
    ) -> Manifest {
        let format_version = FORMAT_VERSION;
        Manifest { format_version, epoch, commit_hash, configuration_hash, base, is_whole, groups }
    }

    /// Returns the size of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts().map(|part| part.bytes).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.groups.iter().flat_map(|group| &group.parts)
    }

    /// Writes the manifest: from here on the copy counts.
    ///
    /// # Errors
    /// What the store says; without a manifest the parts are nothing.
    pub fn write(&self, store: &dyn Store) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| SinkError::damaged(FOLDER, error.to_string()))?;
        let path = format!("{FOLDER}{:020}-{}.json", self.epoch.0, &sha256_hex(&bytes)[..16]);
        create(store, &path, &bytes)
    }
}

/// Keys with their values, or without one where they were removed, one after the other in memory.
#[derive(Debug, Default)]
pub struct Pairs {
    bytes: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, Option<usize>)>,
}

impl Pairs {
    /// Returns none, with room for as many as are written together.
    #[must_use]
    pub fn with_room() -> Pairs {
        Pairs { bytes: Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 64), ends: Vec::new() }
    }

    /// Adds a key with its value, or without one.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push((key_end, value.map(|_| self.bytes.len())));
    }

    /// Removes all, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Says whether it is as much as is written together.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE_BYTES
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the keys and values, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut start = 0;
        self.ends.iter().map(move |(key_end, value_end)| {
            let key = &self.bytes[start..*key_end];
            start = value_end.unwrap_or(*key_end);
            (key, value_end.map(|value_end| &self.bytes[*key_end..value_end]))
        })
    }
}

/// Writes one group of a copy, part by part.
pub struct CopyWriter<'s> {
    store: &'s dyn Store,
    epoch: Epoch,
    /// What is to be written next.
    open: Pairs,
    /// The part that has some row groups, but not yet all.
    part: Option<PartWriter>,
    /// That of the part before.
    desk: Option<Desk>,
    parts: Vec<Part>,
}

impl<'s> CopyWriter<'s> {
    /// Begins a copy of the state at `epoch`.
    #[must_use]
    pub fn new(store: &'s dyn Store, epoch: Epoch) -> CopyWriter<'s> {
        let (open, parts) = Default::default();
        CopyWriter { store, epoch, open, part: None, desk: None, parts }
    }

    /// Adds a key with its value, or without one where it was removed. Keys come in order, each
    /// once.
    ///
    /// # Errors
    /// What the store says.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), SinkError> {
        self.open.push(key, value);
        if !self.open.is_full() {
            return Ok(());
        }
        self.write_open()
    }

    /// Writes what is open, and keeps its room.
    fn write_open(&mut self) -> Result<(), SinkError> {
        let mut full = std::mem::take(&mut self.open);
        self.write(&full)?;
        full.clear();
        self.open = full;
        Ok(())
    }

    /// Adds many keys at once, behind all that were added before.
    ///
    /// # Errors
    /// What the store says.
    pub fn append(&mut self, pairs: &Pairs) -> Result<(), SinkError> {
        self.write_open()?;
        self.write(pairs)
    }

    fn write(&mut self, pairs: &Pairs) -> Result<(), SinkError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let parquet = SinkError::parquet(PARTS);
        let mut part = match self.part.take() {
            Some(part) => part,
            None => PartWriter::new(self.desk.take()).map_err(&parquet)?,
        };
        part.add(pairs).map_err(&parquet)?;
        if part.plain_bytes >= PART_BYTES {
            return self.close(part);
        }
        self.part = Some(part);
        Ok(())
    }

    fn close(&mut self, part: PartWriter) -> Result<(), SinkError> {
        let changes = part.changes;
        let (bytes, mut desk) = part.file.finish().map_err(SinkError::parquet(PARTS))?;
        let sha256 = sha256_hex(&bytes);
        let path = format!("{PARTS}{:020}-{}.parquet", self.epoch.0, &sha256[..16]);
        create(self.store, &path, &bytes)?;
        self.parts.push(Part { path, changes, bytes: bytes.len() as u64, sha256 });
        desk.take_back(bytes);
        self.desk = Some(desk);
        Ok(())
    }

    /// Completes the group, for the manifest.
    ///
    /// # Errors
    /// What the store says.
    pub fn finish(mut self) -> Result<Vec<Part>, SinkError> {
        self.write_open()?;
        if let Some(part) = self.part.take() {
            self.close(part)?;
        }
        Ok(self.parts)
    }
}

/// A part that is being written to memory.
struct PartWriter {
    file: FileWriter,
    changes: u64,
    /// How many bytes its keys and values have.
    plain_bytes: usize,
}

impl PartWriter {
    fn new(desk: Option<Desk>) -> Result<PartWriter, ParquetError> {
        let desk = desk.map_or_else(Desk::new, Ok)?;
        let file = FileWriter::new(&schema(), base_properties().build(), desk)?;
        Ok(PartWriter { file, changes: 0, plain_bytes: 0 })
    }

    fn add(&mut self, pairs: &Pairs) -> Result<(), ParquetError> {
        let (keys, values): (Vec<_>, Vec<_>) = pairs.iter().unzip();
        let mut group = self.file.group()?;
        group.required(&keys, Effort::HASHES)?;
        group.optional(&values, Effort::RECORDS)?;
        group.close()?;
        self.changes += keys.len() as u64;
        self.plain_bytes += pairs.bytes.len();
        Ok(())
    }
}

fn create(store: &dyn Store, path: &str, bytes: &[u8]) -> Result<(), SinkError> {
    match create_exact(store, path, bytes, Retry::default())? {
        Creation::Ours => Ok(()),
        Creation::Taken(_) => Err(SinkError::damaged(path, "its name is not that of its bytes")),
    }
}

fn schema() -> Schema {
    let key = Field::new("key", DataType::Binary, false);
    Schema::new(vec![key, Field::new("value", DataType::Binary, true)])
}

/// The copies of a store, by the names of their manifests. A start needs few of them, so what they say
/// is read when it is asked for.
#[derive(Debug, Default)]
pub struct Copies {
    manifests: BTreeMap<Epoch, Vec<String>>,
}

impl Copies {
    /// Lists all manifests.
    ///
    /// # Errors
    /// What the store says.
    pub fn list(store: &dyn Store) -> Result<Copies, SinkError> {
        let mut copies = Copies::default();
        for path in Retry::default().ask(|| store.list(FOLDER))? {
            let name = path.strip_prefix(FOLDER).unwrap_or(&path);
            if let Some(epoch) = name.split_once('-').and_then(|(epoch, _)| epoch.parse().ok()) {
                copies.manifests.entry(Epoch(epoch)).or_default().push(path);
            }
        }
        Ok(copies)
    }

    /// Returns the epochs of all copies, in order.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = Epoch> {
        self.manifests.keys().copied()
    }

    /// Returns a copy of the state at an epoch that fits. Those that are damaged, gone or of another version
    /// are told and passed over.
    ///
    /// # Errors
    /// What the store says.
    pub fn at(
        &self,
        store: &dyn Store,
        epoch: Epoch,
        fits: impl Fn(&Manifest) -> bool,
    ) -> Result<Option<Manifest>, SinkError> {
        for path in self.manifests.get(&epoch).into_iter().flatten() {
            let manifest = match Retry::default().ask(|| store.get(path)) {
                Ok(bytes) => parse(path, &bytes),
                Err(StoreError::NotFound { .. }) => Err("it is missing".to_owned()),
                Err(error) => return Err(error.into()),
            };
            match manifest {
                Ok(manifest) if fits(&manifest) => return Ok(Some(manifest)),
                Ok(_) => {}
                Err(why) => tracing::warn!(path, why, "this copy of state is passed over"),
            }
        }
        Ok(None)
    }

    /// Returns the copies that lead to an epoch, of those that fit: as many as make the whole state, or all
    /// that build on each other where they do not, back to that which builds on the state of `known`.
    ///
    /// # Errors
    /// What the store says.
    pub fn chain(
        &self,
        store: &dyn Store,
        epoch: Epoch,
        known: Option<Epoch>,
        fits: impl Fn(&Manifest) -> bool,
    ) -> Result<Chain, SinkError> {
        Chain::leading_to(epoch, known, |epoch| self.at(store, epoch, &fits))
    }

    /// Deletes what no restore needs any more: everything before the chain of the last copy that was
    /// whole before the chain began that leads to an epoch. Copies of another configuration do not
    /// count. Returns whether the chain that leads there is whole.
    ///
    /// # Errors
    /// What the store says; what is left then is deleted the next time.
    pub fn tidy(
        store: &dyn Store,
        configuration_hash: &str,
        epoch: Epoch,
    ) -> Result<bool, SinkError> {
        let copies = Copies::list(store)?;
        let ours = |copy: &Manifest| copy.configuration_hash == configuration_hash;
        let newest = copies.chain(store, epoch, None, ours)?;
        let Some(begin) = newest.begins_whole() else { return Ok(false) };
        let mut oldest = None;
        for epoch in copies.epochs().rev().filter(|epoch| *epoch < begin) {
            let chain = copies.chain(store, epoch, None, ours)?;
            // One that cannot be read has no chain at all, and the one before it may do.
            if !chain.manifests().is_empty() {
                oldest = chain.begins_whole();
                break;
            }
        }
        let Some(oldest) = oldest else { return Ok(true) };
        // Manifests go first, so that no copy is ever there without its parts. A part is of one copy.
        let retry = Retry::default();
        for path in copies.manifests.range(..oldest).flat_map(|(_, paths)| paths) {
            retry.ask(|| store.delete(path))?;
        }
        let before = format!("{PARTS}{:020}", oldest.0);
        for path in retry.ask(|| store.list(PARTS))?.into_iter().filter(|path| *path < before) {
            retry.ask(|| store.delete(&path))?;
        }
        Ok(true)
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<Manifest, String> {
    if !path.contains(&sha256_hex(bytes)[..16]) {
        return Err("its bytes are not those of its name".to_owned());
    }
    #[derive(Deserialize)]
    struct Versioned {
        format_version: u32,
    }
    let version = serde_json::from_slice(bytes).map(|Versioned { format_version }| format_version);
    match version.map_err(|error| error.to_string())? {
        FORMAT_VERSION => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        other => Err(format!("it has version {other}, known is {FORMAT_VERSION}")),
    }
}

/// Reads the keys and values of a copy, in order.
///
/// # Errors
/// [`SinkError::Damaged`] where a part is not what the manifest says, or missing; what the store
/// says; what `each` returns.
pub fn read_copy<E: From<SinkError>>(
    store: &dyn Store,
    manifest: &Manifest,
    mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    let mut groups = Vec::new();
    for group in &manifest.groups {
        groups.extend(Reading::open(store, &group.parts)?);
    }
    // There are as many groups as processes: few, so that looking at all costs least.
    while let Some(first) = (0..groups.len()).min_by_key(|group| groups[*group].key()) {
        let group = &mut groups[first];
        each(group.key(), group.value())?;
        if !group.advance()? {
            groups.swap_remove(first);
        }
    }
    Ok(())
}

/// A group of parts that is being read, at one of its keys.
struct Reading<'a> {
    store: &'a dyn Store,
    parts: std::slice::Iter<'a, Part>,
    /// The rest of the part that is being read.
    reader: Option<(&'a Part, ParquetRecordBatchReader)>,
    keys: BinaryArray,
    values: BinaryArray,
    row: usize,
}

impl<'a> Reading<'a> {
    /// Begins with the first key; `None` where there is none.
    fn open(store: &'a dyn Store, parts: &'a [Part]) -> Result<Option<Reading<'a>>, SinkError> {
        let nothing = || BinaryArray::from_iter_values(std::iter::empty::<&[u8]>());
        let (keys, values) = (nothing(), nothing());
        let mut group = Reading { store, parts: parts.iter(), reader: None, keys, values, row: 0 };
        Ok(group.fill()?.then_some(group))
    }

    fn key(&self) -> &[u8] {
        self.keys.value(self.row)
    }

    fn value(&self) -> Option<&[u8]> {
        (!self.values.is_null(self.row)).then(|| self.values.value(self.row))
    }

    /// Goes to the next key; returns false where there is none.
    fn advance(&mut self) -> Result<bool, SinkError> {
        self.row += 1;
        self.fill()
    }

    /// Reads on until there is a key at the row.
    fn fill(&mut self) -> Result<bool, SinkError> {
        while self.row >= self.keys.len() {
            let next = match &mut self.reader {
                Some((part, reader)) => reader.next().map(|batch| (*part, batch)),
                None => None,
            };
            if let Some((part, batch)) = next {
                let batch = batch.map_err(SinkError::arrow(&part.path))?;
                (self.keys, self.values) = columns(&batch)
                    .ok_or_else(|| SinkError::damaged(&part.path, "it has other columns"))?;
                self.row = 0;
            } else {
                let Some(part) = self.parts.next() else { return Ok(false) };
                self.reader = Some((part, open_part(self.store, part)?));
            }
        }
        Ok(true)
    }
}

fn columns(batch: &RecordBatch) -> Option<(BinaryArray, BinaryArray)> {
    let [keys, values] = batch.columns() else { return None };
    Some((keys.as_binary_opt::<i32>()?.clone(), values.as_binary_opt::<i32>()?.clone()))
}

fn open_part(store: &dyn Store, part: &Part) -> Result<ParquetRecordBatchReader, SinkError> {
    let bytes = match Retry::default().ask(|| store.get(&part.path)) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { path }) => {
            return Err(SinkError::damaged(&path, "it is missing"));
        }
        Err(error) => return Err(SinkError::from(error)),
    };
    if bytes.len() as u64 != part.bytes || sha256_hex(&bytes) != part.sha256 {
        return Err(SinkError::damaged(&part.path, "its bytes are not those written"));
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes));
    let reader = builder.and_then(ParquetRecordBatchReaderBuilder::build);
    reader.map_err(SinkError::parquet(&part.path))
}

#[cfg(test)]
mod tests;
