//! All spaces of one worker, sealed together.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use trueup_ledger::Epoch;

use super::disk::Disk;
use super::kept::{Kept, SealedSpace, Sealing};
use super::{Encode, KeyBytes, Space, StateKey, StateValue, worker_of};
use crate::cache::{TOGETHER, bring};

/// Which checkpoint is asked for, and which is on disk.
#[derive(Debug, Default)]
pub(super) struct Clock {
    seal_at: Cell<u64>,
    released: Cell<u64>,
}

impl Clock {
    pub(super) fn seal_at(&self) -> u64 {
        self.seal_at.get()
    }

    pub(super) fn released(&self) -> u64 {
        self.released.get()
    }
}

/// One worker's state. Clones are handles to the same.
#[derive(Clone)]
pub struct WorkerState {
    clock: Rc<Clock>,
    disk: Option<Disk>,
    spaces: Rc<RefCell<Vec<Rc<RefCell<dyn Sealing>>>>>,
    worker: usize,
    workers: usize,
}

impl WorkerState {
    /// Returns the state of worker number `worker` of `workers`, above what is on disk.
    #[must_use]
    pub fn new(disk: Option<Disk>, worker: usize, workers: usize) -> WorkerState {
        WorkerState { clock: Rc::default(), disk, spaces: Rc::default(), worker, workers }
    }

    /// Opens a space. Each is opened once.
    pub fn kept<K: StateKey, V: StateValue>(&self, space: Space) -> Rc<RefCell<Kept<K, V>>> {
        let kept =
            Rc::new(RefCell::new(Kept::new(space, Rc::clone(&self.clock), self.disk.clone())));
        self.spaces.borrow_mut().push(Rc::clone(&kept) as Rc<RefCell<dyn Sealing>>);
        kept
    }

    /// Returns how many workers there are, of all processes.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Says whether this worker is the one to whom a shard belongs.
    pub(crate) fn owns(&self, shard: u8) -> bool {
        worker_of(shard, self.workers) == self.worker
    }

    /// Asks for a checkpoint at `epoch`, before this worker closes it. The one before must have
    /// been released by all workers.
    ///
    /// # Panics
    /// Where the one before has not been released, or there is no disk to take one.
    pub fn request_seal(&self, epoch: Epoch) {
        assert!(self.disk.is_some(), "without a disk everything stays in memory");
        assert!(self.clock.seal_at.get() <= self.clock.released.get(), "one checkpoint at a time");
        self.clock.seal_at.set(epoch.0);
    }

    /// Returns this worker's part of the checkpoint at `epoch`, once that epoch is complete here.
    #[must_use]
    pub fn seal(&self, epoch: Epoch) -> Sealed {
        let spaces = self.spaces.borrow();
        let parts = spaces.iter().map(|space| space.borrow_mut().seal_at(epoch.0));
        Sealed { epoch, parts: parts.collect() }
    }

    /// Lets go of the checkpoint at `epoch`: it is on disk. What it holds leaves the memory when
    /// its spaces are next used.
    pub fn release(&self, epoch: Epoch) {
        self.clock.released.set(epoch.0);
    }

    /// Returns about how many bytes have been gathered for the next checkpoint.
    #[must_use]
    pub fn gathered_bytes(&self) -> usize {
        self.spaces.borrow().iter().map(|space| space.borrow().gathered_bytes()).sum()
    }
}

/// One worker's part of a checkpoint.
pub struct Sealed {
    epoch: Epoch,
    parts: Vec<Box<dyn SealedSpace>>,
}

impl Sealed {
    /// Returns the epoch whose state it is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Says whether the worker has let go of it: whoever drops it then gives its memory back.
    #[must_use]
    pub fn is_let_go(&self) -> bool {
        self.parts.iter().all(|part| part.is_let_go())
    }
}

/// The changes of a checkpoint, of all workers.
pub struct SealedChanges<'a>(&'a [Sealed]);

impl<'a> SealedChanges<'a> {
    /// Takes the parts of all workers, which have opened the same spaces.
    #[must_use]
    pub fn of(parts: &'a [Sealed]) -> SealedChanges<'a> {
        SealedChanges(parts)
    }

    /// Calls `each` with every key and its value, or without one where it was removed, in the order of
    /// the keys.
    ///
    /// # Errors
    /// What `each` returns, which also ends it.
    pub fn for_each<E>(
        &self,
        mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut spaces: Vec<_> = self.0.iter().flat_map(|sealed| &sealed.parts).collect();
        spaces.sort_by_key(|space| space.space());
        let mut changes: Vec<(KeyBytes, Option<&dyn Encode>)> = Vec::new();
        // Of each change what its key begins with behind space and shard, and its place: a quarter of what
        // would be moved to sort the changes themselves.
        let mut order: Vec<(u64, u32)> = Vec::new();
        let mut value = Vec::new();
        // A key begins with its space and its shard, so it is enough to sort what is in one shard: of
        // millions of changes some thousands at a time.
        for parts in spaces.chunk_by(|one, next| one.space() == next.space()) {
            for shard in 0..=u8::MAX {
                parts.iter().for_each(|part| part.changes(shard, &mut changes));
                order.extend(changes.iter().map(|(key, _)| key.in_shard()).zip(0_u32..));
                let at = |place: u32| &changes[place as usize];
                order.sort_unstable_by(|(first, one), (second, other)| {
                    first.cmp(second).then_with(|| at(*one).0.cmp(&at(*other).0))
                });
                for order in order.chunks(TOGETHER) {
                    let changes = || order.iter().map(|(_, place)| at(*place));
                    bring(changes().filter_map(|(_, change)| Some(change.as_ref()?.apart())));
                    for (key, change) in changes() {
                        value.clear();
                        if let Some(change) = change {
                            change.encode(&mut value);
                        }
                        each(key.as_bytes(), change.map(|_| value.as_slice()))?;
                    }
                }
                order.clear();
                changes.clear();
            }
        }
        Ok(())
    }
}
