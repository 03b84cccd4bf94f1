//! Where a run gets its state from: the disk, else a copy in the store, else the log.
//!
//! Whatever is found is used only where it belongs to a commit of the log: same epoch, same hash.
//! What cannot be used is told, and costs time, never truth.

use std::sync::Arc;

use trueup_dataflow::store::{Disk, Mark, StateError};
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, Copies, Manifest, SinkError, Store, read_copy};

use super::checkpoints::History;
use super::{RunError, StateOptions};

/// The commit log of a run.
type Log = CommitLog<Arc<dyn Store>>;

/// Opens the state on disk. One that cannot be used is removed and restored from the newest copy in
/// the store that can be read.
pub(crate) fn open(
    options: &StateOptions,
    log: &Log,
    configuration_hash: &str,
) -> Result<(Disk, History), RunError> {
    let usable = || {
        let disk = open_disk(options)?;
        let mark = disk.mark()?;
        Ok::<_, StateError>((disk, mark))
    };
    let copies = Copies::read(&**log.store())?;
    let why = match usable() {
        Ok((disk, None)) if copies.is_empty() => return Ok((disk, History::default())),
        Ok((_, None)) => None,
        Ok((disk, Some(mark))) => match unfit(&mark, log, configuration_hash)? {
            None => {
                let mut chains = copies.chains(|manifest| fits(manifest, log, configuration_hash));
                let of_mark = |chain: &Vec<&Manifest>| {
                    chain.last().is_some_and(|newest| newest.epoch == mark.epoch)
                };
                let chain = chains.find(of_mark).unwrap_or_default();
                return Ok((disk, history(mark.epoch, &chain)));
            }
            why => why,
        },
        Err(error @ StateError::Damaged { .. }) => Some(error.to_string()),
        Err(error) => return Err(error.into()),
    };
    if let Some(why) = why {
        tracing::warn!(
            directory = %options.directory.display(),
            why,
            "the state on disk cannot be used; it is removed and derived again"
        );
    }
    restored(options, log, configuration_hash, &copies)
}

/// Fills an empty disk from the newest copies that can be read, or leaves it empty.
fn restored(
    options: &StateOptions,
    log: &Log,
    configuration_hash: &str,
    copies: &Copies,
) -> Result<(Disk, History), RunError> {
    let path = &options.directory;
    for chain in copies.chains(|manifest| fits(manifest, log, configuration_hash)) {
        Disk::remove(path)?;
        let disk = open_disk(options)?;
        let Some(newest) = chain.last() else { continue };
        let epoch = newest.epoch;
        match chain.iter().try_for_each(|manifest| take_in(&disk, log, manifest)) {
            Ok(()) => {
                tracing::info!(%epoch, copies = chain.len(), "the state is restored from copies");
                return Ok((disk, history(epoch, &chain)));
            }
            Err(Unread::Copy(error @ SinkError::Damaged { .. })) => {
                tracing::warn!(%epoch, %error, "this copy of state is passed over");
            }
            Err(Unread::Copy(error)) => return Err(error.into()),
            Err(Unread::Disk(error)) => return Err(error.into()),
        }
    }
    Disk::remove(path)?;
    Ok((open_disk(options)?, History::default()))
}

/// A quarter of the memory is for what is read.
fn open_disk(options: &StateOptions) -> Result<Disk, StateError> {
    Disk::open(&options.directory, options.memory_limit / 4)
}

/// Which half of a restore did not work.
enum Unread {
    Copy(SinkError),
    Disk(StateError),
}

impl From<SinkError> for Unread {
    fn from(error: SinkError) -> Unread {
        Unread::Copy(error)
    }
}

impl From<StateError> for Unread {
    fn from(error: StateError) -> Unread {
        Unread::Disk(error)
    }
}

fn take_in(disk: &Disk, log: &Log, manifest: &Manifest) -> Result<(), Unread> {
    let mark = Mark {
        epoch: manifest.epoch,
        commit_hash: manifest.commit_hash.clone(),
        configuration: manifest.configuration_hash.clone(),
    };
    disk.ingest(&mark, |write| read_copy(&**log.store(), manifest, write)).map(drop)
}

/// Says what copies there are of the state at `base`: the chain that leads to it, or none.
fn history(base: Epoch, chain: &[&Manifest]) -> History {
    let [whole, since @ ..] = chain else {
        return History { base, ..History::default() };
    };
    let since_bytes = since.iter().map(|manifest| manifest.bytes()).sum();
    History { base, base_is_copied: true, whole_bytes: whole.bytes(), since_bytes }
}

/// Says whether a copy is of a commit that the log has. A log that cannot be read now will be told
/// where it is needed.
fn fits(manifest: &Manifest, log: &Log, configuration_hash: &str) -> bool {
    manifest.configuration_hash == configuration_hash
        && log.head().is_ok_and(|head| head.is_some_and(|(head, _)| manifest.epoch <= head))
        && log.read_with_hash(manifest.epoch).is_ok_and(|(_, hash)| hash == manifest.commit_hash)
}

/// Says why a state does not belong to a log.
fn unfit(mark: &Mark, log: &Log, configuration_hash: &str) -> Result<Option<String>, RunError> {
    if mark.configuration != configuration_hash {
        return Ok(Some("it is of another configuration".to_owned()));
    }
    if log.head()?.is_none_or(|(head, _)| head < mark.epoch) {
        return Ok(Some(format!("it is of epoch {}, which is not committed", mark.epoch)));
    }
    let (_, hash) = log.read_with_hash(mark.epoch)?;
    let other = hash != mark.commit_hash;
    Ok(other.then(|| format!("it is of another commit {} than the store has", mark.epoch)))
}
