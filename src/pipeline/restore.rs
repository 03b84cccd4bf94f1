//! Where a run gets its state from: the disk, copies in the store, else the log.
//!
//! Whatever is found is used only where it belongs to a commit of the log: same epoch, same hash.
//! What cannot be used is told, and costs time, never truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup_dataflow::store::{Disk, Mark, Shards, Standing, StateError, Write};
use trueup_ledger::Epoch;
use trueup_sinks::{
    Bound, Chain, CommitLog, Copies, Manifest, SinkError, Store, Weight, read_copy,
};

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
    /// What was found where one was looked for.
    found: BTreeMap<Epoch, Option<Manifest>>,
    /// Of which copies a part cannot be read.
    unreadable: BTreeSet<Epoch>,
    /// `None` where state is kept in memory alone.
    state: Option<OnDisk<'a>>,
}

/// The state on disk, and the epoch that it is of; 0 where it is empty.
struct OnDisk<'a> {
    options: &'a StateOptions,
    disk: Disk,
    at: Epoch,
    /// The epoch that its transactions alone are of, where a kill came before the rest was taken in. Then
    /// it leads on only by the copy of that epoch which begins with what is on disk.
    ahead: Option<Epoch>,
}

impl<'a> Ground<'a> {
    /// Looks at what there is. A state on disk that cannot be used is removed.
    pub(crate) fn survey(
        options: Option<&'a StateOptions>,
        shards: Shards,
        log: &'a Log,
        configuration_hash: &'a str,
    ) -> Result<Ground<'a>, RunError> {
        let (copies, found, unreadable) = Default::default();
        let mut ground =
            Ground { log, configuration_hash, shards, copies, found, unreadable, state: None };
        if let Some(options) = options {
            ground.copies = Copies::list(&**log.store())?;
            ground.state = Some(ground.open(options)?);
        }
        Ok(ground)
    }

    fn open(&self, options: &'a StateOptions) -> Result<OnDisk<'a>, RunError> {
        let usable = || {
            let disk = open_disk(options)?;
            let standing = disk.standing()?;
            Ok::<_, StateError>((disk, standing))
        };
        let why = match usable() {
            Ok((disk, standing)) => match self.unusable(&standing)? {
                None => {
                    let at = standing.mark.map_or(Epoch(0), |mark| mark.epoch);
                    let ahead = standing.ahead.map(|mark| mark.epoch);
                    return Ok(OnDisk { options, disk, at, ahead });
                }
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
        let whole = self.state.iter().filter(|state| state.ahead.is_none());
        epochs.extend(whole.map(|state| state.at));
        epochs.extend(self.copies.epochs());
        epochs.sort_unstable();
        epochs.dedup();
        epochs.reverse();
        epochs
    }

    /// Brings the state to an epoch. Returns whether that is possible; if not, the state is left at
    /// another one.
    pub(crate) fn reach(&mut self, epoch: Epoch) -> Result<bool, RunError> {
        let Some(state) = &self.state else { return Ok(epoch == Epoch(0)) };
        let (options, at, ahead) = (state.options, state.at, state.ahead);
        if at == epoch && ahead.is_none() {
            return Ok(true);
        }
        let mut chain = Chain::leading_to(epoch, Some(at), |epoch| self.copy_at(epoch))?;
        // What is on disk may be the beginning of what leads there, whether it was copied or not.
        let leads_on = |manifest: &Manifest| {
            manifest.base == Some(at) && ahead.is_none_or(|ahead| manifest.epoch == ahead)
        };
        let known = chain.manifests().iter().position(leads_on);
        if known.is_none() && ahead.is_some() {
            chain = Chain::leading_to(epoch, None, |epoch| self.copy_at(epoch))?;
        }
        if epoch > Epoch(0) && known.is_none() && !chain.is_whole() {
            return Ok(false);
        }
        let missing = &chain.manifests()[known.unwrap_or_default()..];
        if missing.iter().any(|manifest| self.unreadable.contains(&manifest.epoch)) {
            return Ok(false);
        }
        if known.is_none() && at > Epoch(0) {
            // The disk is closed before it is emptied.
            self.state = None;
            self.state = Some(emptied(options)?);
        }
        for manifest in missing {
            // Who begins with nothing has only a part before he has the last.
            let is_all = known.is_some() || manifest.epoch == epoch;
            let shards = if is_all { self.shards } else { Shards::NONE };
            if !self.take_in(manifest, shards)? {
                self.unreadable.insert(manifest.epoch);
                if known.is_none() {
                    self.state = None;
                    self.state = Some(emptied(options)?);
                }
                return Ok(false);
            }
        }
        if !missing.is_empty() {
            tracing::info!(%epoch, copies = missing.len(), "the state is restored from copies");
        }
        Ok(true)
    }

    /// Takes in a copy; returns whether it can be read. The state is whole then of some shards.
    fn take_in(&mut self, manifest: &Manifest, whole: Shards) -> Result<bool, RunError> {
        let Some(state) = &mut self.state else { return Ok(false) };
        let mark = Mark {
            epoch: manifest.epoch,
            commit_hash: manifest.commit_hash.clone(),
            configuration: manifest.configuration_hash.clone(),
            shards: whole,
        };
        let (store, shards) = (&**self.log.store(), self.shards);
        let fill = |write: Write<'_, Unread>| {
            read_copy(store, manifest, |key, value| match shards.hold(key) {
                true => write(key, value),
                false => Ok(()),
            })
        };
        match state.disk.ingest(&mark, fill, |(), _| Ok(())) {
            Ok(_) => (state.at, state.ahead) = (manifest.epoch, None),
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
    pub(crate) fn history(&mut self) -> Result<History, RunError> {
        let base = self.state.as_ref().map_or(Epoch(0), |state| state.at);
        let copies = self.copies.epochs().count();
        let Some(newest) = self.copy_at(base)? else {
            return Ok(History { base, copies, ..History::default() });
        };
        // Where there were other processes, it goes on from the first that has shards of its own.
        let (mut next, mut owed): (Option<&Bound>, u64) = (None, 0);
        let mut weight = Weight::default();
        let own: BTreeSet<u8> = self.shards.numbers().collect();
        for group in &newest.groups {
            let common = group.shards.iter().filter(|shard| own.contains(shard)).count();
            if common > 0 {
                next = Some(next.map_or(&group.next, |next| next.min(&group.next)));
                let part = |bytes: u64| bytes / group.shards.len() as u64 * common as u64;
                owed += part(group.owed);
                weight.state += part(group.weight.state);
                weight.round += part(group.weight.round);
                weight.round_before += part(group.weight.round_before);
            }
        }
        let next = next.cloned().unwrap_or_default();
        let is_whole = newest.is_whole
            || Chain::leading_to(base, None, |epoch| self.copy_at(epoch))?.is_whole();
        Ok(History { base, copies, is_whole, next, owed, weight })
    }

    /// Returns the copy of an epoch, if there is one of a commit of this log.
    fn copy_at(&mut self, epoch: Epoch) -> Result<Option<Manifest>, SinkError> {
        if let Some(found) = self.found.get(&epoch) {
            return Ok(found.clone());
        }
        let fits = |manifest: &Manifest| self.fits(manifest);
        let copy = self.copies.at(&**self.log.store(), epoch, fits)?;
        self.found.insert(epoch, copy.clone());
        Ok(copy)
    }

    /// Returns the disk.
    pub(crate) fn into_disk(self) -> Option<Disk> {
        self.state.map(|state| state.disk)
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

    /// Says why a state is of no use.
    fn unusable(&self, standing: &Standing) -> Result<Option<String>, RunError> {
        match (&standing.mark, &standing.ahead) {
            (None, None) => Ok(None),
            (None, Some(_)) => Ok(Some("it has transactions and nothing else".to_owned())),
            (Some(mark), ahead) => match (self.unfit(mark)?, ahead) {
                (None, Some(ahead)) => self.unfit(ahead),
                (why, _) => Ok(why),
            },
        }
    }

    /// Says why a state does not belong to the log, or not to this process.
    fn unfit(&self, mark: &Mark) -> Result<Option<String>, RunError> {
        if mark.configuration != self.configuration_hash {
            return Ok(Some("it is of another configuration".to_owned()));
        }
        if !mark.shards.cover(&self.shards) {
            let text = "it is a part, of when there were other processes or workers, or of a restore \
                        that was cut short";
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
    Ok(OnDisk { options, disk: open_disk(options)?, at: Epoch(0), ahead: None })
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
