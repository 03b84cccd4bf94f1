//! Copies of state in the store, from which a machine whose disk is gone goes on.
//!
//! ```text
//! checkpoints/<epoch>-<hash>.json            a manifest: epoch, commit, base, parts
//! checkpoints/parts/<epoch>-<hash>.parquet   sorted keys and values; no value where one was removed
//! ```
//!
//! - A copy without a base is the whole state at its epoch; one with a base is what has changed
//!   since the copy of that epoch. Following the bases leads to a whole one.
//! - A copy is of all processes: each writes the parts of its shards, and one of them the manifest. So
//!   any number of processes can go on from it.
//! - Files are named by the hash of their bytes and only ever created. A copy counts once its
//!   manifest is there, which names every part with its SHA-256.
//! - A copy is of one commit, whose hash it holds: a copy of another history is never used.
//!
//! Copies save time, never truth: a damaged one is passed over for the one before it, and without
//! any the state is derived from the log.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use trueup_ledger::Epoch;

use crate::chunks::FileWriter;
use crate::error::SinkError;
use crate::record::sha256_hex;
use crate::schema::base_properties;
use crate::store::{Creation, Retry, Store, StoreError, create_exact};

const FOLDER: &str = "checkpoints/";
const PARTS: &str = "checkpoints/parts/";

/// The version of manifests and parts, and of what the parts hold; another one is passed over.
const FORMAT_VERSION: u32 = 4;

/// How many bytes of keys and values a part holds, about.
const PART_BYTES: usize = 32 << 20;

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
    /// The epoch of the copy that this one builds on; `None` for a whole one.
    pub base: Option<Epoch>,
    /// The parts, in a group for each process that wrote some. Those of a group are in the order of
    /// their keys; no key is in two groups.
    pub groups: Vec<Vec<Part>>,
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
        base: Option<Epoch>,
        groups: Vec<Vec<Part>>,
    ) -> Manifest {
        let format_version = FORMAT_VERSION;
        Manifest { format_version, epoch, commit_hash, configuration_hash, base, groups }
    }

    /// Returns the size of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts().map(|part| part.bytes).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.groups.iter().flatten()
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
    /// Returns none, with room for as many as a part holds.
    #[must_use]
    pub fn with_room() -> Pairs {
        Pairs { bytes: Vec::with_capacity(PART_BYTES + PART_BYTES / 64), ends: Vec::new() }
    }

    /// Adds a key with its value, or without one.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.ends.push((key_end, value.map(|_| self.bytes.len())));
    }

    /// Says whether it is as much as a part should hold.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= PART_BYTES
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
    /// What is to be the next part.
    open: Pairs,
    parts: Vec<Part>,
}

impl<'s> CopyWriter<'s> {
    /// Begins a copy of the state at `epoch`.
    #[must_use]
    pub fn new(store: &'s dyn Store, epoch: Epoch) -> CopyWriter<'s> {
        CopyWriter { store, epoch, open: Pairs::default(), parts: Vec::new() }
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
        let full = std::mem::take(&mut self.open);
        self.write(&full)
    }

    /// Writes a part of its own. Its keys come behind all that were added before.
    ///
    /// # Errors
    /// What the store says.
    pub fn write(&mut self, pairs: &Pairs) -> Result<(), SinkError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let bytes = encode(pairs).map_err(SinkError::parquet(PARTS))?;
        let sha256 = sha256_hex(&bytes);
        let path = format!("{PARTS}{:020}-{}.parquet", self.epoch.0, &sha256[..16]);
        create(self.store, &path, &bytes)?;
        let changes = pairs.ends.len() as u64;
        self.parts.push(Part { path, changes, bytes: bytes.len() as u64, sha256 });
        Ok(())
    }

    /// Completes the group, for the manifest.
    ///
    /// # Errors
    /// What the store says.
    pub fn finish(mut self) -> Result<Vec<Part>, SinkError> {
        let rest = std::mem::take(&mut self.open);
        self.write(&rest)?;
        Ok(self.parts)
    }
}

fn encode(pairs: &Pairs) -> Result<Vec<u8>, ParquetError> {
    let (keys, values): (Vec<_>, Vec<_>) = pairs.iter().unzip();
    let mut file = FileWriter::new(&schema(), base_properties().build())?;
    let mut group = file.group()?;
    group.required(&keys)?;
    group.optional(&values)?;
    group.close()?;
    file.finish()
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

/// The copies of a store.
#[derive(Debug, Default)]
pub struct Copies {
    manifests: BTreeMap<Epoch, Vec<(String, Manifest)>>,
}

impl Copies {
    /// Reads all manifests. Those that are damaged or of another version are told and left out.
    ///
    /// # Errors
    /// What the store says.
    pub fn read(store: &dyn Store) -> Result<Copies, SinkError> {
        let mut copies = Copies::default();
        let retry = Retry::default();
        for path in retry.ask(|| store.list(FOLDER))? {
            if path.starts_with(PARTS) {
                continue;
            }
            let bytes = retry.ask(|| store.get(&path))?;
            match parse(&path, &bytes) {
                Ok(manifest) => {
                    copies.manifests.entry(manifest.epoch).or_default().push((path, manifest));
                }
                Err(why) => tracing::warn!(path, why, "this copy of state is passed over"),
            }
        }
        for same in copies.manifests.values_mut() {
            // A whole copy spares reading what another one builds on.
            same.sort_by_key(|(_, manifest)| manifest.base.is_some());
        }
        Ok(copies)
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.manifests.is_empty()
    }

    /// Returns the copies that lead from a whole one to the newest, oldest first, for each epoch at
    /// which there is one that `fits`, newest first.
    pub fn chains<'a>(
        &'a self,
        fits: impl Fn(&Manifest) -> bool + 'a,
    ) -> impl Iterator<Item = Vec<&'a Manifest>> + 'a {
        self.manifests.keys().rev().filter_map(move |newest| {
            let mut chain = Vec::new();
            let mut wanted = Some(*newest);
            while let Some(epoch) = wanted {
                let same = self.manifests.get(&epoch)?;
                let (_, manifest) = same.iter().find(|(_, manifest)| fits(manifest))?;
                chain.push(manifest);
                wanted = manifest.base.filter(|base| *base < epoch);
            }
            chain.reverse();
            Some(chain)
        })
    }

    /// Deletes what no restore needs any more: everything before the last whole copy but one.
    ///
    /// # Errors
    /// What the store says; what is left then is deleted the next time.
    pub fn tidy(store: &dyn Store) -> Result<(), SinkError> {
        let copies = Copies::read(store)?;
        let all = || copies.manifests.values().flatten();
        let whole = all().filter(|(_, manifest)| manifest.base.is_none());
        let mut whole: Vec<_> = whole.map(|(_, manifest)| manifest.epoch).collect();
        whole.dedup();
        let Some(oldest) = whole.iter().rev().nth(1) else {
            return Ok(());
        };
        let retry = Retry::default();
        let (mut kept, mut gone) = (BTreeSet::new(), Vec::new());
        for (path, manifest) in all() {
            if manifest.epoch < *oldest {
                gone.push(path.clone());
            } else {
                kept.extend(manifest.parts().map(|part| part.path.clone()));
            }
        }
        // Manifests go first, so that no copy is ever there without its parts.
        for path in gone {
            retry.ask(|| store.delete(&path))?;
        }
        let before = format!("{PARTS}{:020}", oldest.0);
        for path in retry.ask(|| store.list(PARTS))? {
            if path < before && !kept.contains(&path) {
                retry.ask(|| store.delete(&path))?;
            }
        }
        Ok(())
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
    for parts in &manifest.groups {
        groups.extend(Group::open(store, parts)?);
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
struct Group<'a> {
    store: &'a dyn Store,
    parts: std::slice::Iter<'a, Part>,
    /// The rest of the part that is being read.
    reader: Option<(&'a Part, ParquetRecordBatchReader)>,
    keys: BinaryArray,
    values: BinaryArray,
    row: usize,
}

impl<'a> Group<'a> {
    /// Begins with the first key; `None` where there is none.
    fn open(store: &'a dyn Store, parts: &'a [Part]) -> Result<Option<Group<'a>>, SinkError> {
        let nothing = || BinaryArray::from_iter_values(std::iter::empty::<&[u8]>());
        let (keys, values) = (nothing(), nothing());
        let mut group = Group { store, parts: parts.iter(), reader: None, keys, values, row: 0 };
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
