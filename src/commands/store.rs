//! Opening a store, wherever it is.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use trueup_ledger::{Epoch, Rules, Scale};
#[cfg(feature = "s3")]
use trueup_sinks::BucketStore;
use trueup_sinks::{CommitLog, DirectoryStore, SinkError, Store, StoreError};

use crate::config::{StoreLocation, value};
use crate::{exit, rules};

/// A store with at least one commit.
pub(super) struct Opened {
    pub(super) log: CommitLog<Arc<dyn Store>>,
    pub(super) head: Epoch,
    pub(super) scale: Scale,
    /// The rules of all commits, as they keep them.
    pub(super) rules: Option<String>,
}

/// Parses a `--store`.
pub(super) fn location(text: &str) -> anyhow::Result<StoreLocation> {
    value::store(text, Path::new("")).map_err(|invalid| exit::usage(format!("--store: {invalid}")))
}

/// Opens a store to commit to it, making a directory where it does not exist.
///
/// # Errors
/// A path that is no directory, a bucket that cannot be used, or a build without object storage.
pub(super) fn writable(location: &StoreLocation) -> anyhow::Result<Arc<dyn Store>> {
    let opening = || format!("opening the store {location}");
    match location {
        StoreLocation::Directory(path) => {
            if path.exists() && !path.is_dir() {
                let what = format!("{location} is no directory; name one for the store");
                return Err(exit::usage(what));
            }
            Ok(Arc::new(DirectoryStore::open(path).with_context(opening)?))
        }
        #[cfg(feature = "s3")]
        StoreLocation::Bucket(bucket) => {
            Ok(Arc::new(BucketStore::open(bucket.clone()).with_context(opening)?))
        }
        #[cfg(not(feature = "s3"))]
        StoreLocation::Bucket(_) => Err(without_s3()),
    }
}

/// Opens a store to read it; `None` where there certainly is none.
///
/// # Errors
/// As [`writable`].
fn readable(location: &StoreLocation) -> anyhow::Result<Option<Arc<dyn Store>>> {
    let opening = || format!("opening the store {location}");
    match location {
        StoreLocation::Directory(path) => match DirectoryStore::open_existing(path) {
            Ok(store) => Ok(Some(Arc::new(store))),
            Err(StoreError::NotFound { .. }) if path.exists() => {
                Err(exit::usage(format!("{location} is no directory; --store takes one")))
            }
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(opening),
        },
        #[cfg(feature = "s3")]
        StoreLocation::Bucket(bucket) => {
            let store = BucketStore::open_existing(bucket.clone()).with_context(opening)?;
            Ok(Some(Arc::new(store)))
        }
        #[cfg(not(feature = "s3"))]
        StoreLocation::Bucket(_) => Err(without_s3()),
    }
}

#[cfg(not(feature = "s3"))]
fn without_s3() -> anyhow::Error {
    exit::usage("this trueup was built without object storage; build it with `--features s3`")
}

/// Checks that a store in object storage can be reached, and changes nothing.
///
/// # Errors
/// What [`readable`] says.
pub(super) fn reach(location: &StoreLocation) -> anyhow::Result<()> {
    readable(location).map(|_| ())
}

/// Opens a store that somebody has committed to.
pub(super) fn open(location: &StoreLocation) -> anyhow::Result<Opened> {
    let empty = || {
        let what = format!(
            "no commits in {location} yet; run `trueup run --store {location} --input LOG` first"
        );
        exit::usage(what)
    };
    let store = readable(location)?.ok_or_else(empty)?;
    let reading = || format!("reading the commits of {location}");
    let log = CommitLog::open(store).with_context(reading)?;
    let Some((head, _)) = log.head().with_context(reading)? else {
        return Err(empty());
    };
    let record = log.read(head).with_context(reading)?;
    let scale = Scale::new(record.amount_scale).unwrap_or_default();
    Ok(Opened { log, head, scale, rules: record.rules })
}

impl Opened {
    /// Returns the rules that rows were made by.
    pub(super) fn rules(&self) -> anyhow::Result<Rules> {
        rules::read(self.rules.as_deref())
    }

    /// Returns the epoch asked for, by default the last.
    pub(super) fn epoch(&self, wanted: Option<Epoch>) -> anyhow::Result<Epoch> {
        let wanted = wanted.unwrap_or(self.head);
        if wanted > self.head {
            let head = self.head;
            return Err(SinkError::NotCommitted { wanted, head }.into());
        }
        Ok(wanted)
    }
}
