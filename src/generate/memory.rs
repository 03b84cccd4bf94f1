//! What the planner remembers: openings to come back to, and events to deliver later. Both are
//! bounded, however long the workload.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::draw::Draw;
use super::event::Event;

/// What is remembered of an opening: how often it was corrected, and the rest as the planner likes.
pub(super) trait Opening: Copy {
    /// The newest revision that was planned.
    fn revision(&mut self) -> &mut u64;
}

impl Opening for Event {
    fn revision(&mut self) -> &mut u64 {
        &mut self.revision
    }
}

/// An opening of which nothing but its number is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revised {
    pub(super) transaction: u64,
    pub(super) revision: u64,
}

impl Opening for Revised {
    fn revision(&mut self) -> &mut u64 {
        &mut self.revision
    }
}

/// How long ago an opening should have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Recent,
    Old,
}

/// A ring of recent openings and an even sample of all that fell out of it.
pub(super) struct Memory<T> {
    recent: Vec<T>,
    oldest: usize,
    old: Vec<T>,
    fallen: u64,
    capacity: usize,
}

impl<T: Opening> Memory<T> {
    /// Remembers `capacity` recent openings and twice as many old ones.
    pub(super) fn new(capacity: usize) -> Memory<T> {
        Memory { recent: Vec::new(), oldest: 0, old: Vec::new(), fallen: 0, capacity }
    }

    /// Remembers an opening; its revision is from now on the newest that was planned.
    pub(super) fn keep(&mut self, opening: T, draw: &mut Draw) {
        if self.recent.len() < self.capacity {
            self.recent.push(opening);
            return;
        }
        let fallen = std::mem::replace(&mut self.recent[self.oldest], opening);
        self.oldest = (self.oldest + 1) % self.capacity;
        self.fallen += 1;
        if self.old.len() < 2 * self.capacity {
            self.old.push(fallen);
        } else if let Ok(place) = usize::try_from(draw.below(self.fallen))
            && place < self.old.len()
        {
            self.old[place] = fallen;
        }
    }

    /// Says whether openings have fallen out of the ring of recent ones.
    pub(super) fn has_old(&self) -> bool {
        !self.old.is_empty()
    }

    /// Returns an opening as it was before `revisions` more are planned for it; a recent one
    /// where none is old yet, none where nothing is remembered.
    pub(super) fn recall(&mut self, draw: &mut Draw, age: Age, revisions: u64) -> Option<T> {
        let from = match age {
            Age::Old if !self.old.is_empty() => &mut self.old,
            _ => &mut self.recent,
        };
        let place = draw.index(from.len());
        let opening = from.get_mut(place)?;
        let before = *opening;
        *opening.revision() += revisions;
        Some(before)
    }
}

/// Events to deliver, each when its position has come; those of one position in planned order.
#[derive(Default)]
pub(super) struct Queue {
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    pushed: u64,
}

impl Queue {
    /// Puts an event in, to be delivered as the `due`th record or soon after.
    pub(super) fn push(&mut self, due: u64, event: Event) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.pushed += 1;
        self.order.push(Reverse((due, self.pushed, place)));
    }

    /// Takes out the next event if it is due at `position`.
    pub(super) fn pop(&mut self, position: u64) -> Option<Event> {
        let Reverse((due, _, _)) = self.order.peek()?;
        if *due > position {
            return None;
        }
        let Reverse((_, _, place)) = self.order.pop()?;
        self.free.push(place);
        self.events[place].take()
    }

    pub(super) fn len(&self) -> u64 {
        self.order.len() as u64
    }
}
