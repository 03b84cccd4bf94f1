//! The thread that writes checkpoints, beside the work.
//!
//! The parts of all workers go to the store as a copy and to disk together, once the epoch is
//! committed. State on disk is therefore never ahead of the commit log.
//!
//! ```text
//! sealed parts ─ sort, encode ─▶ pairs ─┬─▶ tree
//!                                       └─▶ copy          (a thread each)
//! ```
//!
//! Of several processes each writes the part of its own workers:
//!
//! ```text
//!  follower:  copy own shards ─ Copied ─▶ ┐             ┌─▶ take in ─▶ (copy all of its shards)
//!  leader:    copy own shards ───────────▶ manifest ─ TakeIn ─▶ take in ─▶ (copy all of its shards)
//! ```
//!
//! Nobody takes a checkpoint in before its copy is whole, so that whoever is behind after a crash
//! can get to where the others are.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};
use trueup_dataflow::store::{Disk, Mark, Sealed, SealedChanges, Shards, StateError};
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, Copies, CopyWriter, Manifest, Pairs, Part, SinkError, Store};

use super::checkpoints::Checkpoints;
use super::{PATIENCE, RunError, Shared};

/// What may be built on a small copy before the next whole one, in bytes.
const SINCE_BYTES_MIN: u64 = 64 << 20;

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
    pub(crate) others: Others,
}

/// What copies there are of this state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    /// The epoch that the state on disk is of.
    pub(crate) base: Epoch,
    /// Whether there is a copy of it to build on.
    pub(crate) base_is_copied: bool,
    /// The size of the last whole copy, and of what has been built on it since, in bytes. Only the
    /// leader's are of interest.
    pub(crate) whole_bytes: u64,
    pub(crate) since_bytes: u64,
}

/// The checkpoint threads of the other processes.
pub(crate) enum Others {
    /// This process leads so many.
    Followers {
        count: usize,
        copied: Receiver<Option<Copied>>,
        early: Vec<Copied>,
        tell: Tell<TakeIn>,
    },
    /// Another one leads.
    Leader { tell: Tell<Copied>, told: Receiver<TakeIn> },
}

type Tell<M> = Box<dyn Fn(M) + Send>;

/// What a process has copied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Copied {
    pub(crate) epoch: Epoch,
    /// Whether it is all that it has on disk, rather than what has changed.
    pub(crate) whole: bool,
    pub(crate) parts: Vec<Part>,
}

/// That all have copied.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct TakeIn {
    pub(crate) epoch: Epoch,
    /// Whether all that is on disk is to be copied afterwards.
    pub(crate) then_whole: bool,
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
            written.retain(|part| !part.is_let_go());
            match sealed.recv_timeout(PATIENCE) {
                Ok(part) => parts.push(part),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
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
        let copied = self.history.base == Epoch(0) || self.history.base_is_copied;
        let mut then_whole = false;
        let disk = self.disk.clone();
        // The copy is whole before the tree takes in what it was written of: the next copy builds on
        // what is on disk, so that must be copied.
        let ingested = disk.ingest(&mark, |write| {
            let store = Arc::clone(self.log.store());
            let own = thread::scope(|scope| {
                let pairs = encoded(scope, parts);
                let copy = copied.then(|| Copying::begin(scope, &*store, epoch));
                for pairs in pairs {
                    if let Some(copy) = &copy {
                        copy.add(&pairs);
                    }
                    pairs.iter().try_for_each(|(key, value)| write(key, value))?;
                }
                Ok::<_, Unwritten>(copy.map_or(Ok(Vec::new()), Copying::end)?)
            })?;
            let agreed = self.agree(&mark, copied, own).map_err(Unwritten::Failed)?;
            then_whole = agreed.ok_or(Unwritten::Ended)?;
            Ok(())
        });
        let ingested = match ingested {
            Ok(ingested) => ingested,
            Err(Unwritten::Ended) => return Ok(()),
            Err(Unwritten::Failed(error)) => return Err(error),
        };
        self.history.base = epoch;
        self.history.base_is_copied = copied;
        tracing::debug!(
            %epoch,
            changes = ingested.changes,
            bytes = ingested.bytes,
            milliseconds = begun.elapsed().as_millis(),
            "a checkpoint is on disk"
        );
        self.checkpoints.finish(epoch);
        self.shared.notify();
        if then_whole {
            self.copy_whole(&mark)?;
        }
        Ok(())
    }

    /// Waits until every process has copied its part, and returns whether a whole copy is to follow.
    /// `None` where it cannot come to that any more.
    fn agree(
        &mut self,
        mark: &Mark,
        copied: bool,
        own: Vec<Part>,
    ) -> Result<Option<bool>, RunError> {
        let epoch = mark.epoch;
        if let Others::Leader { tell, told } = &self.others {
            tell(Copied { epoch, whole: false, parts: own });
            return Ok(self.told(told, epoch));
        }
        let Some(groups) = self.gather(epoch, false, own) else { return Ok(None) };
        if copied {
            let base = Some(self.history.base).filter(|base| *base > Epoch(0));
            let bytes = self.manifest(mark, base, groups)?.bytes();
            match base {
                None => self.history.whole_bytes = bytes,
                Some(_) => self.history.since_bytes += bytes,
            }
        }
        let outweighed = self.history.since_bytes > self.history.most_since();
        // The end of a run does not wait for that: the next run can do it.
        let then_whole = (outweighed || !copied) && !self.shared.is_done();
        if let Others::Followers { tell, .. } = &self.others {
            tell(TakeIn { epoch, then_whole });
        }
        Ok(Some(then_whole))
    }

    fn told(&self, told: &Receiver<TakeIn>, epoch: Epoch) -> Option<bool> {
        loop {
            match told.recv_timeout(PATIENCE) {
                Ok(take_in) if take_in.epoch == epoch => return Some(take_in.then_whole),
                // Whoever is gone has said why.
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.shared.has_failed() => return None,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits for the groups of all followers. `None` where one of them is gone.
    fn gather(&mut self, epoch: Epoch, whole: bool, own: Vec<Part>) -> Option<Vec<Vec<Part>>> {
        let mut groups = vec![own];
        let Others::Followers { count, copied, early, .. } = &mut self.others else {
            return Some(groups);
        };
        let wanted = |copied: &Copied| (copied.epoch, copied.whole) == (epoch, whole);
        groups.extend(early.extract_if(.., |copied| wanted(copied)).map(|copied| copied.parts));
        while groups.len() <= *count {
            match copied.recv_timeout(PATIENCE) {
                Ok(Some(copied)) if wanted(&copied) => groups.push(copied.parts),
                // One process may be at the next checkpoint while another still copies all.
                Ok(Some(copied)) => early.push(copied),
                Err(RecvTimeoutError::Timeout) if !self.shared.has_failed() => {}
                Ok(None) | Err(_) => return None,
            }
        }
        Some(groups)
    }

    /// Copies all that is on disk, so that a restore need not read its whole history, and deletes
    /// what that makes superfluous. The work goes on meanwhile, until the memory is used up.
    fn copy_whole(&mut self, mark: &Mark) -> Result<(), RunError> {
        let snapshot = self.disk.snapshot();
        let mut copy = CopyWriter::new(&**self.log.store(), mark.epoch);
        let shards = self.shards;
        snapshot.for_each(shards, |key, value| Ok::<_, RunError>(copy.push(key, Some(value))?))?;
        let own = copy.finish()?;
        if let Others::Leader { tell, .. } = &self.others {
            tell(Copied { epoch: mark.epoch, whole: true, parts: own });
        } else {
            let Some(groups) = self.gather(mark.epoch, true, own) else { return Ok(()) };
            let bytes = self.manifest(mark, None, groups)?.bytes();
            self.history.whole_bytes = bytes;
            self.history.since_bytes = 0;
            tracing::debug!(epoch = %mark.epoch, bytes, "the whole state is copied");
            Copies::tidy(&**self.log.store())?;
        }
        self.history.base_is_copied = true;
        Ok(())
    }

    fn manifest(
        &self,
        mark: &Mark,
        base: Option<Epoch>,
        groups: Vec<Vec<Part>>,
    ) -> Result<Manifest, RunError> {
        let commit = (mark.epoch, mark.commit_hash.clone());
        let manifest = Manifest::new(commit, mark.configuration.clone(), base, groups);
        manifest.write(&**self.log.store())?;
        Ok(manifest)
    }
}

/// Puts what is sealed in order and encodes it, in a thread of its own: the end of a run waits for its
/// last checkpoint, and so does whoever has used up the memory.
fn encoded<'s>(scope: &'s Scope<'s, '_>, parts: &'s [Sealed]) -> Receiver<Arc<Pairs>> {
    let (filled, pairs) = bounded(1);
    scope.spawn(move || {
        let mut open = Pairs::with_room();
        let sent = SealedChanges::of(parts).for_each(|key, value| {
            open.push(key, value);
            if !open.is_full() {
                return Ok(());
            }
            let full = std::mem::replace(&mut open, Pairs::with_room());
            filled.send(Arc::new(full))
        });
        // Where nobody takes them, the checkpoint has failed.
        let _ = sent.and_then(|()| filled.send(Arc::new(open)));
    });
    pairs
}

/// The thread that copies what the tree takes in.
struct Copying<'s> {
    added: Sender<Arc<Pairs>>,
    thread: ScopedJoinHandle<'s, Result<Vec<Part>, SinkError>>,
}

impl<'s> Copying<'s> {
    fn begin(scope: &'s Scope<'s, '_>, store: &'s dyn Store, epoch: Epoch) -> Copying<'s> {
        let (added, pairs) = bounded::<Arc<Pairs>>(1);
        let thread = scope.spawn(move || {
            let mut copy = CopyWriter::new(store, epoch);
            pairs.iter().try_for_each(|pairs| copy.write(&pairs))?;
            copy.finish()
        });
        Copying { added, thread }
    }

    fn add(&self, pairs: &Arc<Pairs>) {
        // Where it has ended, it says why in the end.
        let _ = self.added.send(Arc::clone(pairs));
    }

    fn end(self) -> Result<Vec<Part>, SinkError> {
        drop(self.added);
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl History {
    /// How much may be built on a whole copy before the next: as much as it has itself, so that all
    /// copies together cost about twice what changes.
    fn most_since(&self) -> u64 {
        self.whole_bytes.max(SINCE_BYTES_MIN)
    }
}
