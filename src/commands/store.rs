//! Opening a store to read it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use trueup_ledger::{Epoch, Scale};
use trueup_sinks::{CommitLog, DirectoryStore, SinkError, Store, StoreError};

use crate::config::{StoreLocation, value};
use crate::exit;

/// A store with at least one commit.
pub(super) struct Opened {
    pub(super) log: CommitLog<Arc<dyn Store>>,
    pub(super) head: Epoch,
    pub(super) scale: Scale,
}

/// Parses a `--store`.
pub(super) fn location(text: &str) -> anyhow::Result<StoreLocation> {
    value::store(text, Path::new("")).map_err(|invalid| exit::usage(format!("--store: {invalid}")))
}

/// Opens a store that somebody has committed to.
pub(super) fn open(location: &StoreLocation) -> anyhow::Result<Opened> {
    let StoreLocation::Directory(path) = location;
    let shown = path.display();
    let empty = || {
        let what = format!(
            "no commits in {shown} yet; run `trueup run --store {shown} --input LOG` first"
        );
        exit::usage(what)
    };
    let store: Arc<dyn Store> = match DirectoryStore::open_existing(path) {
        Ok(store) => Arc::new(store),
        Err(StoreError::NotFound { .. }) if path.exists() => {
            return Err(exit::usage(format!("{shown} is no directory; --store takes one")));
        }
        Err(StoreError::NotFound { .. }) => return Err(empty()),
        Err(error) => return Err(error).with_context(|| format!("opening the store {shown}")),
    };
    let reading = || format!("reading the commits of {shown}");
    let log = CommitLog::open(store).with_context(reading)?;
    let Some((head, _)) = log.head().with_context(reading)? else {
        return Err(empty());
    };
    let record = log.read(head).with_context(reading)?;
    let scale = Scale::new(record.amount_scale).unwrap_or_default();
    Ok(Opened { log, head, scale })
}

impl Opened {
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
