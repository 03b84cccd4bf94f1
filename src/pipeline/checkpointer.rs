//! The thread that writes checkpoints, beside the work.
//!
//! The parts of all workers go to the store as a copy and to disk together, once the epoch is
//! committed. State on disk is therefore never ahead of the commit log.
//!
//! ```text
//!                                      ┌─▶ trees, keys noted
//! sealed parts ─ sort, encode ─▶ pairs ┤
//!                                      └─▶ merge ─▶ copy   (a thread each)
//!     the trees as they were, from a key on ──┘
//! ```
//!
//! A copy has what has changed, and of a range of keys all that there is, so that copies need not be kept
//! for ever. The range goes on where that of the copy before ended. It is short while a restore reads
//! little more than there is, as long as the state grows more than it changes; else it is about as long as
//! what has been replaced since: so it is never more work than the changes are, however large the state.
//! Where it goes on, and how much is owed and why, stands in the copy itself.
//!
//! Of several processes each writes the part of its own workers:
//!
//! ```text
//!  follower:  copy own shards ─ Copied ─▶ ┐             ┌─▶ take in
//!  leader:    copy own shards ───────────▶ manifest ─ TakeIn ─▶ take in
//! ```
//!
//! Nobody takes a checkpoint in before its copy is whole, so that whoever is behind after a crash
//! can get to where the others are.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Scope};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use serde::{Deserialize, Serialize};
use trueup_dataflow::store::{Disk, Mark, Sealed, SealedChanges, Shards, StateError, Write};
use trueup_ledger::Epoch;
use trueup_sinks::{
    Bound, Chain, CommitLog, Copies, CopyWriter, Group, KeyRange, Manifest, Pairs, Part, SinkError,
    Store, Weight,
};

use super::checkpoints::Checkpoints;
use super::{PATIENCE, RunError, Shared};
use renewal::Renewal;
pub(crate) use tidying::Tidying;

mod renewal;
mod tidying;

/// How much of what is new, and replaces nothing, is owed as a whole too: one byte of so many. Without it
/// a state in which little is replaced would need its oldest copy for ever. It is little, since to copy
/// a key that has not changed costs most: its value has to be found and read.
pub(crate) const OWED_OF_NEW: u64 = 8;

/// Nothing is owed until a restore reads so many times what there is: what has not changed lies anywhere
/// on disk, and reading it is the most costly part of a copy.
const WEIGHT_MAX: u64 = 2;

/// How many bytes a copy has as a whole at least. It bounds how many copies a restore reads where little
/// changes: one for each MiB of the state.
pub(crate) const WHOLE_BYTES_MIN: u64 = 1 << 20;

/// The same while the copies that there are are not the whole state together, as where some are lost.
const WHOLE_BYTES_MIN_OF_PART: u64 = 64 << 20;

/// Writes the checkpoints of one process.
pub(crate) struct Checkpointer {
    pub(crate) disk: Disk,
    pub(crate) shards: Shards,
    pub(crate) log: Arc<CommitLog<Arc<dyn Store>>>,
    pub(crate) configuration_hash: String,
    pub(crate) workers: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) history: History,
    pub(crate) tidying: Tidying,
    pub(crate) others: Others,
}

/// What copies there are of this state.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The epoch that the state on disk is of.
    pub(crate) base: Epoch,
    /// How many copies there were at the start, needed or not.
    pub(crate) copies: usize,
    /// Whether the copies that lead there are the whole state together.
    pub(crate) is_whole: bool,
    /// Where what the next copy has as a whole begins.
    pub(crate) next: Bound,
    /// How many bytes the next copies are to have as a whole.
    pub(crate) owed: u64,
    /// How large they are beside the state.
    pub(crate) weight: Weight,
}

/// The checkpoint threads of the other processes.
pub(crate) enum Others {
    /// This process leads so many.
    Followers { count: usize, copied: Receiver<Option<Copied>>, tell: Tell<TakeIn> },
    /// Another one leads.
    Leader { tell: Tell<Copied>, told: Receiver<TakeIn> },
}

type Tell<M> = Box<dyn Fn(M) + Send>;

/// What a process has copied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Copied {
    pub(crate) epoch: Epoch,
    pub(crate) group: Group,
}

/// That all have copied.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct TakeIn {
    pub(crate) epoch: Epoch,
    /// Whether the copies up to there are the whole state together.
    pub(crate) is_whole: bool,
}

/// Why a checkpoint is not written.
enum Unwritten {
    /// The others are gone, and have said why.
    Ended,
    Failed(RunError),
}

impl From<StateError> for Unwritten {
    fn from(error: StateError) -> Unwritten {
        Unwritten::Failed(error.into())
    }
}

impl From<SinkError> for Unwritten {
    fn from(error: SinkError) -> Unwritten {
        Unwritten::Failed(error.into())
    }
}

impl Checkpointer {
    /// Works until all workers are gone or the run has failed.
    pub(crate) fn run(mut self, sealed: &Receiver<Sealed>) {
        let shared = Arc::clone(&self.shared);
        let _guard = shared.guard("the checkpoint thread");
        let mut parts: Vec<Sealed> = Vec::new();
        // What was written last is dropped here and not by the workers: that may take a while.
        let mut written: Vec<Sealed> = Vec::new();
        while !self.shared.has_failed() {
            match sealed.recv_timeout(PATIENCE) {
                Ok(part) => parts.push(part),
                Err(RecvTimeoutError::Timeout) => {
                    written.retain(|part| !part.is_let_go());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // The process is about to end, which gives all of it back at once.
                    std::mem::forget(written);
                    if let Err(error) = self.tidying.end() {
                        self.shared.fail(error);
                    }
                    return;
                }
            }
            if parts.len() == self.workers {
                written.clear();
                if let Err(error) = self.write(&parts) {
                    self.shared.fail(error);
                    return;
                }
                written.append(&mut parts);
            }
        }
    }

    fn write(&mut self, parts: &[Sealed]) -> Result<(), RunError> {
        let epoch = parts[0].epoch();
        assert!(parts.iter().all(|part| part.epoch() == epoch), "one checkpoint at a time");
        self.shared.wait_while(|committed| committed < epoch);
        if self.shared.has_failed() {
            return Ok(());
        }
        let begun = Instant::now();
        let (_, commit_hash) = self.log.read_with_hash(epoch)?;
        let configuration = self.configuration_hash.clone();
        let mark = Mark { epoch, commit_hash, configuration, shards: self.shards };
        let disk = self.disk.clone();
        let mut group = Group { shards: self.shards.numbers().collect(), ..Group::default() };
        let store = Arc::clone(self.log.store());
        let renewal = self.renewal();
        let fill = |write: Write<'_, Unwritten>| {
            let mut changed = Changed::default();
            let copied = thread::scope(|scope| {
                let [to_trees, to_copy] = encoded(scope, parts);
                let copied = scope.spawn(|| copy(&*store, epoch, renewal, to_copy));
                for lent in to_trees {
                    for (key, value) in lent.pairs.iter() {
                        changed.add(key, value);
                        write(key, value)?;
                    }
                }
                copied.join().unwrap_or_else(|panic| resume_unwind(panic))
            })?;
            Ok((changed, copied))
        };
        let mut is_whole = false;
        // The copy is whole before the trees take in what it was written of: the next copy builds on
        // what is on disk, so that must be copied; and a kill between the trees is made good from it.
        let then = |(changed, copied): (Changed, Written), replaced| {
            let Written { parts, whole, whole_bytes } = copied;
            let at_the_end = whole.as_ref().is_some_and(|range| range.to.is_none());
            let History { owed, weight, next, .. } = &self.history;
            (group.owed, group.weight) =
                settled((*owed, *weight), &changed, replaced, whole_bytes, at_the_end);
            group.next = whole.clone().map_or_else(|| next.clone(), KeyRange::behind);
            (group.parts, group.whole) = (parts, whole);
            let agreed = self.agree(&mark, group.clone()).map_err(Unwritten::Failed)?;
            is_whole = agreed.ok_or(Unwritten::Ended)?;
            Ok(())
        };
        let ingested = disk.ingest(&mark, fill, then);
        let ingested = match ingested {
            Ok(ingested) => ingested,
            Err(Unwritten::Ended) => return Ok(()),
            Err(Unwritten::Failed(error)) => return Err(error),
        };
        tracing::debug!(
            %epoch,
            changes = ingested.changes,
            bytes = ingested.bytes,
            milliseconds = begun.elapsed().as_millis(),
            "a checkpoint is on disk"
        );
        self.checkpoints.finish(epoch);
        self.shared.notify();
        let Group { next, owed, weight, .. } = group;
        self.history = History { base: epoch, is_whole, next, owed, weight, ..self.history };
        self.tidying.copied(group.parts.iter().map(|part| part.bytes).sum());
        let at_the_end = group.whole.is_some_and(|range| range.to.is_none());
        if at_the_end && !matches!(self.others, Others::Leader { .. }) {
            let store = Arc::clone(self.log.store());
            let found = self.tidying.begin(store, self.configuration_hash.clone(), epoch)?;
            self.history.is_whole &= found;
        }
        Ok(())
    }

    /// Returns what the next copy is to have as a whole.
    fn renewal(&self) -> Renewal {
        let History { base, is_whole, next, owed, .. } = &self.history;
        let least = if *is_whole { WHOLE_BYTES_MIN } else { WHOLE_BYTES_MIN_OF_PART };
        let (bytes, from) = (least.max(*owed), next.clone());
        if *base == Epoch(0) {
            // What changes is all that there is.
            return Renewal::of_nothing();
        }
        let snapshot = self.disk.snapshot();
        Renewal::new(Box::new(snapshot.since(&from.0, self.shards)), from, bytes)
    }

    /// Waits until every process has copied its part; the leader then writes the manifest. Returns
    /// whether the copies are the whole state together; `None` where it cannot come to that any more.
    fn agree(&self, mark: &Mark, own: Group) -> Result<Option<bool>, RunError> {
        let epoch = mark.epoch;
        if let Others::Leader { tell, told } = &self.others {
            tell(Copied { epoch, group: own });
            return Ok(self.told(told, epoch));
        }
        let Some(groups) = self.gather(epoch, own) else { return Ok(None) };
        let base = Some(self.history.base).filter(|base| *base > Epoch(0));
        let base = (base, self.history.is_whole || base.is_none());
        let commit = (epoch, mark.commit_hash.clone());
        let mut manifest = Manifest::new(commit, mark.configuration.clone(), base, groups);
        manifest.is_whole = manifest.is_whole || self.completes(&manifest)?;
        manifest.write(&**self.log.store())?;
        let is_whole = manifest.is_whole;
        if let Others::Followers { tell, .. } = &self.others {
            tell(TakeIn { epoch, is_whole });
        }
        Ok(Some(is_whole))
    }

    /// Says whether it is the whole state together with those before it, which were not.
    fn completes(&self, newest: &Manifest) -> Result<bool, RunError> {
        let is_end = |range: &KeyRange| range.to.is_none();
        if !newest.groups.iter().any(|group| group.whole.as_ref().is_some_and(is_end)) {
            return Ok(false);
        }
        let store = &**self.log.store();
        let ours = |copy: &Manifest| copy.configuration_hash == self.configuration_hash;
        let copies = Copies::list(store)?;
        let chain = Chain::leading_to(newest.epoch, None, |epoch| match epoch == newest.epoch {
            true => Ok(Some(newest.clone())),
            false => copies.at(store, epoch, ours),
        });
        Ok(chain?.is_whole())
    }

    fn told(&self, told: &Receiver<TakeIn>, epoch: Epoch) -> Option<bool> {
        loop {
            match told.recv_timeout(PATIENCE) {
                Ok(take_in) if take_in.epoch == epoch => return Some(take_in.is_whole),
                // Whoever is gone has said why.
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.shared.has_failed() => return None,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for the groups of all followers. `None` where one of them is gone.
    fn gather(&self, epoch: Epoch, own: Group) -> Option<Vec<Group>> {
        let mut groups = vec![own];
        let Others::Followers { count, copied, .. } = &self.others else {
            return Some(groups);
        };
        while groups.len() <= *count {
            match copied.recv_timeout(PATIENCE) {
                Ok(Some(copied)) if copied.epoch == epoch => groups.push(copied.group),
                Err(RecvTimeoutError::Timeout) if !self.shared.has_failed() => {}
                Ok(_) | Err(_) => return None,
            }
        }
        Some(groups)
    }
}

/// Returns what is owed behind a copy, and what all weigh, from what was so before. Of what has changed
/// some replaces what there was.
fn settled(
    (mut owed, mut weight): (u64, Weight),
    changed: &Changed,
    replaced: u64,
    whole_bytes: u64,
    at_the_end: bool,
) -> (u64, Weight) {
    let new = changed.bytes.saturating_sub(replaced);
    weight.add(new, changed.gone(), changed.bytes + whole_bytes);
    if weight.is_beyond(WEIGHT_MAX) {
        owed += replaced + new / OWED_OF_NEW;
    }
    owed = owed.saturating_sub(whole_bytes);
    if at_the_end {
        // More than all of it is never owed, and what changes is not copied twice for it.
        owed = 0;
        weight.end_round();
    }
    (owed, weight)
}

/// What a checkpoint changes, counted.
#[derive(Clone, Copy, Default)]
struct Changed {
    keys: u64,
    /// Of keys and values.
    bytes: u64,
    removed: u64,
}

impl Changed {
    fn add(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.keys += 1;
        self.bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        self.removed += u64::from(value.is_none());
    }

    /// Returns about how many bytes are gone: what was removed had a value, about as long as others.
    fn gone(&self) -> u64 {
        let kept = self.keys - self.removed;
        self.bytes.checked_div(kept).map_or(0, |each| each * self.removed)
    }
}

/// How many pieces of a checkpoint may wait for each of the threads that are next: while one of them waits
/// for the disk, the other goes on.
const AHEAD: usize = 8;

/// Puts what is sealed in order and encodes it, in a thread of its own, for two others: the end of a run waits
/// for its last checkpoint, and so does whoever has used up the memory.
fn encoded<'s>(scope: &'s Scope<'s, '_>, parts: &'s [Sealed]) -> [Receiver<Arc<Lent>>; 2] {
    let ((first, to_first), (second, to_second)) = (bounded(AHEAD), bounded(AHEAD));
    let (home, returned) = unbounded();
    scope.spawn(move || {
        let empty = || returned.try_recv().unwrap_or_else(|_| Pairs::with_room());
        let send = |pairs| {
            let lent = Arc::new(Lent { pairs, home: home.clone() });
            first.send(Arc::clone(&lent)).and_then(|()| second.send(lent))
        };
        let mut open = empty();
        let sent = SealedChanges::of(parts).for_each(|key, value| {
            open.push(key, value);
            if !open.is_full() {
                return Ok(());
            }
            send(std::mem::replace(&mut open, empty()))
        });
        // Where one does not take them, the checkpoint has failed.
        let _ = sent.and_then(|()| send(open));
    });
    [to_first, to_second]
}

/// Pairs whose room is used again once nobody needs them: memory that is given back and taken anew has
/// to be cleared by the kernel each time.
struct Lent {
    pairs: Pairs,
    home: Sender<Pairs>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut pairs = std::mem::take(&mut self.pairs);
        pairs.clear();
        // Where nobody is at home any more, all are filled.
        let _ = self.home.send(pairs);
    }
}

/// What a copy is.
struct Written {
    parts: Vec<Part>,
    whole: Option<KeyRange>,
    /// How many bytes of keys and values it has beside what changed.
    whole_bytes: u64,
}

/// Copies what the trees take in, and what there is of a range of keys.
fn copy(
    store: &dyn Store,
    epoch: Epoch,
    mut renewal: Renewal,
    pairs: Receiver<Arc<Lent>>,
) -> Result<Written, Unwritten> {
    let mut copy = CopyWriter::new(store, epoch);
    pairs.into_iter().try_for_each(|lent| renewal.merge(&lent.pairs, &mut copy))?;
    renewal.go_on(None, &mut copy)?;
    let (whole, whole_bytes) = renewal.end();
    Ok(Written { parts: copy.finish()?, whole, whole_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `checkpoints` copies of a state of so many bytes weigh together, at most, and how much of them
    /// is what had not changed; each adds and replaces some bytes.
    fn lived(mut state: u64, (new, replaced): (u64, u64), checkpoints: usize) -> (u64, u64) {
        let (mut owed, mut weight) = (0, Weight { state, round: 0, round_before: state });
        let (mut place, mut heaviest, mut renewed) = (0, 0, 0);
        for _ in 0..checkpoints {
            let whole_bytes = owed.max(1).min(state - place);
            place += whole_bytes;
            renewed += whole_bytes;
            let at_the_end = place == state;
            place = if at_the_end { 0 } else { place };
            let changed = Changed { keys: 10, bytes: new + replaced, removed: 0 };
            (owed, weight) = settled((owed, weight), &changed, replaced, whole_bytes, at_the_end);
            state += new;
            heaviest = heaviest.max((weight.round + weight.round_before) * 10 / state);
        }
        (heaviest, renewed)
    }

    #[test]
    fn copies_weigh_little_more_than_the_state_and_growth_is_not_copied_twice() {
        // Tenths of the state: twice the state, and what has gathered while all of it is copied once.
        let (heaviest, renewed) = lived(1_000_000, (0, 10_000), 5_000);
        assert!((20..=60).contains(&heaviest), "{heaviest}");
        assert!(renewed > 10 * 1_000_000, "{renewed}");
        let (heaviest, renewed) = lived(1_000_000, (10_000, 5_000), 5_000);
        assert!(heaviest <= 20, "{heaviest}");
        assert!(renewed <= 10_000, "{renewed}");
        let (heaviest, _) = lived(1_000_000, (1_000, 10_000), 20_000);
        assert!((20..=60).contains(&heaviest), "{heaviest}");
    }

    #[test]
    fn what_is_removed_is_taken_to_have_been_as_long_as_what_is_not() {
        let mut changed = Changed::default();
        changed.add(b"gone", None);
        assert_eq!(changed.gone(), 0);
        changed.add(b"kept", Some(b"12345678"));
        changed.add(b"also", Some(b"12345678"));
        assert_eq!((changed.bytes, changed.gone()), (28, 14));
    }
}
