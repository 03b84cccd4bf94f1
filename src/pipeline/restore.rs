//! Where a run gets its state from: the disk, copies in the store, else the log.
//!
//! Whatever is found is used only where it belongs to a commit of the log: same epoch, same hash.
//! What cannot be used is told, and costs time, never truth.

use std::sync::Arc;

use trueup_dataflow::store::{Disk, Mark, Shards, StateError, Write};
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, Copies, Manifest, SinkError, Store, read_copy};

use super::checkpointer::History;
use super::{RunError, StateOptions};

/// The commit log of a run.
type Log = CommitLog<Arc<dyn Store>>;

/// What a run may begin with.
pub(crate) struct Ground<'a> {
    log: &'a Log,
    configuration_hash: &'a str,
    /// Those whose state this process keeps.
    shards: Shards,
    copies: Copies,
    /// `None` where state is kept in memory alone.
    state: Option<OnDisk<'a>>,
}

/// The state on disk, and the epoch that it is of; 0 where it is empty.
struct OnDisk<'a> {
    options: &'a StateOptions,
    disk: Disk,
    at: Epoch,
}

impl<'a> Ground<'a> {
    /// Looks at what there is. A state on disk that cannot be used is removed.
    pub(crate) fn survey(
        options: Option<&'a StateOptions>,
        shards: Shards,
        log: &'a Log,
        configuration_hash: &'a str,
    ) -> Result<Ground<'a>, RunError> {
        let mut ground =
            Ground { log, configuration_hash, shards, copies: Copies::default(), state: None };
        if let Some(options) = options {
            ground.copies = Copies::read(&**log.store())?;
            ground.state = Some(ground.open(options)?);
        }
        Ok(ground)
    }

    fn open(&self, options: &'a StateOptions) -> Result<OnDisk<'a>, RunError> {
        let usable = || {
            let disk = open_disk(options)?;
            let mark = disk.mark()?;
            Ok::<_, StateError>((disk, mark))
        };
        let why = match usable() {
            Ok((disk, None)) => return Ok(OnDisk { options, disk, at: Epoch(0) }),
            Ok((disk, Some(mark))) => match self.unfit(&mark)? {
                None => return Ok(OnDisk { options, disk, at: mark.epoch }),
                Some(why) => why,
            },
            Err(error @ StateError::Damaged { .. }) => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        tracing::warn!(
            directory = %options.directory.display(),
            why,
            "the state on disk cannot be used; it is removed and derived again"
        );
        emptied(options)
    }

    /// Returns the epochs that this process may be able to go on from, newest first. The last is 0,
    /// from which every process can.
    pub(crate) fn candidates(&self) -> Vec<Epoch> {
        let mut epochs = vec![Epoch(0)];
        epochs.extend(self.state.as_ref().map(|state| state.at));
        epochs.extend(self.chains().filter_map(|chain| Some(chain.last()?.epoch)));
        epochs.sort_unstable();
        epochs.dedup();
        epochs.reverse();
        epochs
    }

    /// Brings the state to an epoch. Returns whether that is possible; if not, the state is left at
    /// another one.
    pub(crate) fn reach(&mut self, epoch: Epoch) -> Result<bool, RunError> {
        let Some(state) = &self.state else { return Ok(epoch == Epoch(0)) };
        let (options, at) = (state.options, state.at);
        if at == epoch {
            return Ok(true);
        }
        let chain: Vec<_> = self.chain(epoch).into_iter().cloned().collect();
        if chain.is_empty() && epoch > Epoch(0) {
            return Ok(false);
        }
        // What is on disk may be the beginning of what leads there.
        let known = chain.iter().position(|manifest| manifest.epoch == at);
        if known.is_none() && at > Epoch(0) {
            // The disk is closed before it is emptied.
            self.state = None;
            self.state = Some(emptied(options)?);
        }
        let missing = &chain[known.map_or(0, |known| known + 1)..];
        for manifest in missing {
            if !self.take_in(manifest)? {
                return Ok(false);
            }
        }
        if !missing.is_empty() {
            tracing::info!(%epoch, copies = missing.len(), "the state is restored from copies");
        }
        Ok(true)
    }

    /// Takes a copy in; returns whether it can be read.
    fn take_in(&mut self, manifest: &Manifest) -> Result<bool, RunError> {
        let Some(state) = &mut self.state else { return Ok(false) };
        let mark = Mark {
            epoch: manifest.epoch,
            commit_hash: manifest.commit_hash.clone(),
            configuration: manifest.configuration_hash.clone(),
            shards: self.shards,
        };
        let (store, shards) = (&**self.log.store(), self.shards);
        let fill = |write: Write<'_, Unread>| {
            read_copy(store, manifest, |key, value| match shards.hold(key) {
                true => write(key, value),
                false => Ok(()),
            })
        };
        match state.disk.ingest(&mark, fill) {
            Ok(_) => state.at = manifest.epoch,
            Err(Unread::Copy(error @ SinkError::Damaged { .. })) => {
                let epoch = manifest.epoch;
                tracing::warn!(%epoch, %error, "this copy of state is passed over");
                return Ok(false);
            }
            Err(Unread::Copy(error)) => return Err(error.into()),
            Err(Unread::Disk(error)) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Says what copies there are of the state as it is.
    pub(crate) fn history(&self) -> History {
        let at = self.state.as_ref().map_or(Epoch(0), |state| state.at);
        history(at, &self.chain(at))
    }

    /// Returns the disk.
    pub(crate) fn into_disk(self) -> Option<Disk> {
        self.state.map(|state| state.disk)
    }

    fn chains(&self) -> impl Iterator<Item = Vec<&Manifest>> {
        self.copies.chains(|manifest| self.fits(manifest))
    }

    /// Returns the copies that lead to an epoch, oldest first; none where there is no such copy.
    fn chain(&self, epoch: Epoch) -> Vec<&Manifest> {
        let leads_there =
            |chain: &Vec<&Manifest>| chain.last().is_some_and(|newest| newest.epoch == epoch);
        self.chains().find(leads_there).unwrap_or_default()
    }

    /// Says whether a copy is of a commit that the log has. A log that cannot be read now will be
    /// told where it is needed.
    fn fits(&self, manifest: &Manifest) -> bool {
        let is_committed =
            |head: Option<(Epoch, String)>| head.is_some_and(|(head, _)| manifest.epoch <= head);
        manifest.configuration_hash == self.configuration_hash
            && self.log.head().is_ok_and(is_committed)
            && self
                .log
                .read_with_hash(manifest.epoch)
                .is_ok_and(|(_, hash)| hash == manifest.commit_hash)
    }

    /// Says why a state does not belong to the log, or not to this process.
    fn unfit(&self, mark: &Mark) -> Result<Option<String>, RunError> {
        if mark.configuration != self.configuration_hash {
            return Ok(Some("it is of another configuration".to_owned()));
        }
        if !mark.shards.cover(&self.shards) {
            let text = "it is a part, of when there were other processes or workers";
            return Ok(Some(text.to_owned()));
        }
        if self.log.head()?.is_none_or(|(head, _)| head < mark.epoch) {
            return Ok(Some(format!("it is of epoch {}, which is not committed", mark.epoch)));
        }
        let (_, hash) = self.log.read_with_hash(mark.epoch)?;
        let other = hash != mark.commit_hash;
        Ok(other.then(|| format!("it is of another commit {} than the store has", mark.epoch)))
    }
}

/// Removes what is on disk and begins with nothing.
fn emptied(options: &StateOptions) -> Result<OnDisk<'_>, RunError> {
    Disk::remove(&options.directory)?;
    Ok(OnDisk { options, disk: open_disk(options)?, at: Epoch(0) })
}

/// A quarter of the memory is for what is read, and for knowing what need not be.
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

/// Says what copies there are of the state at `base`: the chain that leads to it, or none.
fn history(base: Epoch, chain: &[&Manifest]) -> History {
    let [whole, since @ ..] = chain else {
        return History { base, ..History::default() };
    };
    let since_bytes = since.iter().map(|manifest| manifest.bytes()).sum();
    History { base, base_is_copied: true, whole_bytes: whole.bytes(), since_bytes }
}
