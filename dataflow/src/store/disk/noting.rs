//! The threads that note keys in the filter: those that were on disk at the start, and those that a checkpoint
//! writes.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};

use fjall::{Guard, Keyspace};

use crate::cache::TOGETHER;
use crate::store::filter::{Filter, Spot};

/// The thread that notes in the filter what was on disk when it was opened, once it has begun.
#[derive(Default)]
pub(super) struct Filling {
    ended: Arc<AtomicBool>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Filling {
    pub(super) fn begin(&mut self, trees: [&Keyspace; 2], filter: &Arc<Filter>) {
        if self.thread.is_some() || filter.is_complete() {
            return;
        }
        let trees = trees.map(Keyspace::clone);
        let (filter, ended) = (Arc::clone(filter), Arc::clone(&self.ended));
        let fill = move || {
            let mut found: Vec<Noted> = Vec::with_capacity(TOGETHER);
            for key in trees.iter().flat_map(Keyspace::iter).map(Guard::key) {
                // What cannot be read is told by whoever asks for it.
                let Ok(key) = key else { return };
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                found.push((filter.spot(&key), 0));
                if found.len() == TOGETHER {
                    note(&filter, &found);
                    found.clear();
                }
            }
            note(&filter, &found);
            filter.complete();
        };
        // Without the thread the trees are asked for everything, which is slower.
        self.thread = thread::Builder::new().name("state-filter".to_owned()).spawn(fill).ok();
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How many keys are handed on together to be noted, and how often so before it is waited for.
const NOTED_TOGETHER: usize = 1 << 12;
const NOTED_AHEAD: usize = 8;

/// A key, and how many bytes it and its value have.
type Noted = (Spot, u64);

/// The thread that notes in the filter what a checkpoint writes: each key is somewhere else in memory, and
/// whoever writes the trees is waited for already.
pub(super) struct Notes<'s> {
    waiting: Vec<Noted>,
    full: SyncSender<Vec<Noted>>,
    /// Those that have been noted, whose room is used again.
    empty: Receiver<Vec<Noted>>,
    thread: ScopedJoinHandle<'s, u64>,
}

impl<'s> Notes<'s> {
    pub(super) fn begin(scope: &'s Scope<'s, '_>, filter: &'s Filter) -> Notes<'s> {
        let (full, waiting) = sync_channel::<Vec<Noted>>(NOTED_AHEAD);
        let (noted, empty) = channel();
        let note_all = move |mut keys: Vec<Noted>| {
            let replaced = note(filter, &keys);
            keys.clear();
            // Where nobody wants the room any more, all are handed on.
            let _ = noted.send(keys);
            replaced
        };
        let thread = scope.spawn(move || waiting.into_iter().map(note_all).sum::<u64>());
        Notes { waiting: Vec::with_capacity(NOTED_TOGETHER), full, empty, thread }
    }

    pub(super) fn add(&mut self, spot: Spot, bytes: u64) {
        self.waiting.push((spot, bytes));
        if self.waiting.len() == NOTED_TOGETHER {
            let room = self.empty.try_recv();
            let next = room.unwrap_or_else(|_| Vec::with_capacity(NOTED_TOGETHER));
            // Where nobody takes them, the thread has panicked, which its end tells.
            let _ = self.full.send(std::mem::replace(&mut self.waiting, next));
        }
    }

    /// Waits until all are noted, and returns how many bytes there are of those that were before.
    pub(super) fn end(self) -> u64 {
        let _ = self.full.send(self.waiting);
        drop(self.full);
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Notes keys, and returns how many bytes there are of those that may have been noted before.
fn note(filter: &Filter, keys: &[Noted]) -> u64 {
    let mut replaced = 0;
    for keys in keys.chunks(TOGETHER) {
        filter.bring(keys.iter().map(|(spot, _)| *spot));
        // Not longer, since what was on disk may be noted at the same time.
        let mut noting = filter.noting();
        for (spot, bytes) in keys {
            if noting.note(*spot) || !filter.is_complete() {
                replaced += bytes;
            }
        }
    }
    replaced
}
