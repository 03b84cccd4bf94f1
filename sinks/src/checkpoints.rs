//! Copies of state in the store, from which a machine whose disk is gone goes on.
//!
//! ```text
//! checkpoints/<epoch>-<hash>.json            a manifest: epoch, commit, base, parts
//! checkpoints/parts/<epoch>-<hash>.parquet   sorted keys and values; no value where one was removed
//! ```
//!
//! - A copy without a base is the whole state at its epoch; one with a base is what has changed
//!   since the copy of that epoch. Following the bases leads to a whole one.
//! - Files are named by the hash of their bytes and only ever created. A copy counts once its
//!   manifest is there, which names every part with its SHA-256.
//! - A copy is of one commit, whose hash it holds: a copy of another history is never used.
//!
//! Copies save time, never truth: a damaged one is passed over for the one before it, and without
//! any the state is derived from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};
use trueup_ledger::Epoch;

use crate::error::SinkError;
use crate::record::sha256_hex;
use crate::schema::{base_properties, encode};
use crate::store::{Creation, Retry, Store, StoreError, create_exact};

const FOLDER: &str = "checkpoints/";
const PARTS: &str = "checkpoints/parts/";

/// The version of manifests and parts, and of what the parts hold; another one is passed over.
const FORMAT_VERSION: u32 = 2;

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
    /// The parts, in the order of their keys.
    pub parts: Vec<Part>,
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
    /// Returns the size of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Writes one copy, part by part.
pub struct CopyWriter<'s> {
    store: &'s dyn Store,
    epoch: Epoch,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    bytes: usize,
    parts: Vec<Part>,
}

impl<'s> CopyWriter<'s> {
    /// Begins a copy of the state at `epoch`.
    #[must_use]
    pub fn new(store: &'s dyn Store, epoch: Epoch) -> CopyWriter<'s> {
        let (keys, values) = (BinaryBuilder::new(), BinaryBuilder::new());
        CopyWriter { store, epoch, keys, values, bytes: 0, parts: Vec::new() }
    }

    /// Adds a key with its value, or without one where it was removed. Keys come in order, each
    /// once.
    ///
    /// # Errors
    /// What the store says.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), SinkError> {
        self.keys.append_value(key);
        self.values.append_option(value);
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        if self.bytes >= PART_BYTES { self.write_part() } else { Ok(()) }
    }

    fn write_part(&mut self) -> Result<(), SinkError> {
        self.bytes = 0;
        let (keys, values) = (self.keys.finish(), self.values.finish());
        if keys.is_empty() {
            return Ok(());
        }
        let changes = keys.len() as u64;
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]);
        let batch = batch.map_err(SinkError::arrow(PARTS));
        let bytes = encode(PARTS, &schema(), base_properties().build(), std::iter::once(batch))?;
        let sha256 = sha256_hex(&bytes);
        let path = format!("{PARTS}{:020}-{}.parquet", self.epoch.0, &sha256[..16]);
        create(self.store, &path, &bytes)?;
        self.parts.push(Part { path, changes, bytes: bytes.len() as u64, sha256 });
        Ok(())
    }

    /// Completes the copy: from here on it counts.
    ///
    /// # Errors
    /// What the store says; without a manifest the parts are nothing.
    pub fn finish(
        mut self,
        base: Option<Epoch>,
        commit_hash: String,
        configuration_hash: String,
    ) -> Result<Manifest, SinkError> {
        self.write_part()?;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            epoch: self.epoch,
            commit_hash,
            configuration_hash,
            base,
            parts: self.parts,
        };
        let bytes = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| SinkError::damaged(FOLDER, error.to_string()))?;
        let path = format!("{FOLDER}{:020}-{}.json", self.epoch.0, &sha256_hex(&bytes)[..16]);
        create(self.store, &path, &bytes)?;
        Ok(manifest)
    }
}

fn create(store: &dyn Store, path: &str, bytes: &[u8]) -> Result<(), SinkError> {
    match create_exact(store, path, bytes, Retry::default())? {
        Creation::Ours => Ok(()),
        Creation::Taken(_) => Err(SinkError::damaged(path, "its name is not that of its bytes")),
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, false),
        Field::new("value", DataType::Binary, true),
    ]))
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
                kept.extend(manifest.parts.iter().map(|part| part.path.clone()));
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
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if manifest.format_version == FORMAT_VERSION {
        return Ok(manifest);
    }
    Err(format!("it has version {}, known is {FORMAT_VERSION}", manifest.format_version))
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
    for part in &manifest.parts {
        let bytes = match Retry::default().ask(|| store.get(&part.path)) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { path }) => {
                return Err(SinkError::damaged(&path, "it is missing").into());
            }
            Err(error) => return Err(SinkError::from(error).into()),
        };
        if bytes.len() as u64 != part.bytes || sha256_hex(&bytes) != part.sha256 {
            return Err(SinkError::damaged(&part.path, "its bytes are not those written").into());
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes));
        let reader = builder.and_then(ParquetRecordBatchReaderBuilder::build);
        for batch in reader.map_err(SinkError::parquet(&part.path))? {
            let batch = batch.map_err(SinkError::arrow(&part.path))?;
            let columns = (batch.num_columns() == 2)
                .then(|| (batch.column(0), batch.column(1)))
                .and_then(|(keys, values)| {
                    Some((keys.as_binary_opt::<i32>()?, values.as_binary_opt::<i32>()?))
                });
            let Some((keys, values)) = columns else {
                return Err(SinkError::damaged(&part.path, "it has other columns").into());
            };
            for row in 0..batch.num_rows() {
                let value = (!values.is_null(row)).then(|| values.value(row));
                each(keys.value(row), value)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
