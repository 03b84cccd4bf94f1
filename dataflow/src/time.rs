//! The epoch time as operators see it, and when something next falls due.
//!
//! Every worker's host ends an epoch with its time before any frontier can pass that epoch, so an
//! operator that acts on a complete epoch finds the time here, and no stream has to carry it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The epoch times of one worker, and what its operators wait for. Clones are handles to the same.
#[derive(Clone, Default)]
pub struct EpochClock {
    times: Rc<RefCell<BTreeMap<u64, i64>>>,
    dues: Rc<RefCell<Vec<Due>>>,
}

/// When one operator next has something to show, in microseconds since 1970.
type Due = Rc<Cell<Option<i64>>>;

impl EpochClock {
    /// Returns a clock for epochs behind `since`, whose epoch time is given: that of the state that
    /// a run begins with, and `i64::MIN` where it begins with none.
    #[must_use]
    pub fn new(since: u64, time: i64) -> EpochClock {
        let clock = EpochClock::default();
        clock.close(since, time);
        clock
    }

    /// Sets the time of an epoch, when it is closed.
    pub(crate) fn close(&self, epoch: u64, time: i64) {
        self.times.borrow_mut().insert(epoch, time);
    }

    /// Returns the time of an epoch that is complete, or of the one before the first.
    ///
    /// # Panics
    /// Where the epoch has not been closed, or has been forgotten.
    #[must_use]
    pub fn at(&self, epoch: u64) -> i64 {
        match self.times.borrow().get(&epoch) {
            Some(time) => *time,
            None => unreachable!("epoch {epoch} has no time"),
        }
    }

    /// Lets go of the times before `epoch`, which nobody acts on any more.
    pub(crate) fn forget_before(&self, epoch: u64) {
        let mut times = self.times.borrow_mut();
        *times = times.split_off(&epoch);
    }

    /// Returns when something next falls due on this worker: in the first epoch that is later.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.dues.borrow().iter().filter_map(|due| due.get()).min()
    }

    /// Returns what an operator waits with.
    pub(crate) fn timer<K: Ord>(&self) -> Timer<K> {
        let next = Due::default();
        self.dues.borrow_mut().push(Rc::clone(&next));
        Timer { waiting: BTreeSet::new(), next }
    }
}

/// What an operator waits for: keys by the instant behind which each is due.
pub(crate) struct Timer<K> {
    waiting: BTreeSet<(i64, K)>,
    next: Due,
}

impl<K: Ord> Timer<K> {
    pub(crate) fn set(&mut self, due: i64, key: K) {
        self.waiting.insert((due, key));
        self.tell();
    }

    /// Says whether the key was waited for.
    pub(crate) fn cancel(&mut self, due: i64, key: K) -> bool {
        let waited = self.waiting.remove(&(due, key));
        self.tell();
        waited
    }

    /// Takes the keys that are due at `time`, in order.
    pub(crate) fn take_due(&mut self, time: i64) -> Vec<K> {
        let mut due = Vec::new();
        while self.waiting.first().is_some_and(|(at, _)| *at < time) {
            due.extend(self.waiting.pop_first().map(|(_, key)| key));
        }
        self.tell();
        due
    }

    fn tell(&self) {
        self.next.set(self.waiting.first().map(|(due, _)| *due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_due_later_than_its_instant() {
        let clock = EpochClock::new(0, i64::MIN);
        let mut one = clock.timer();
        let mut other = clock.timer();
        assert_eq!(clock.next_due(), None);
        one.set(10, 'a');
        one.set(20, 'b');
        other.set(15, 'c');
        assert_eq!(clock.next_due(), Some(10));
        assert!(one.take_due(10).is_empty());
        assert_eq!(one.take_due(11), ['a']);
        assert_eq!(clock.next_due(), Some(15));
        assert!(other.cancel(15, 'c') && !other.cancel(15, 'c'));
        assert_eq!(clock.next_due(), Some(20));
    }
}
