//! Where epochs end: one decision for all processes of a run, made by the leader.
//!
//! Each process' intake reports how far it is, and does what it is ordered to: close an epoch, and
//! end. A run of one process is one whose reports are answered at once.
//!
//! - While committed epochs are read again, each closes when the first process has its ranges; where
//!   it ends has been decided long ago, only whether it gets a checkpoint has not.
//! - An epoch closes when the first process has [`Enough`](State::Enough) of it: as many records as
//!   are its share, or the commit interval after its first one. The others close it as they are.
//! - An epoch of which nobody has records is closed when something falls [`Due`](State::Due) on a
//!   process: nothing that arrives would show it. It is a tick of the epoch clock, and comes the
//!   commit interval after the epoch before at the earliest.
//! - The run ends once all have caught up, or one is stopped. The open epoch is closed before, if
//!   any process has reported records of it; what is read and never closed is read again next time.
//!   Where all have caught up, they look once before the end: what is due by then is shown.
//! - All processes get the same orders in the same sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trueup_ledger::Epoch;

use super::checkpoints::Cadence;
use super::clock::Clock;
use super::worker::Closed;

/// What a process says of its open epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) epoch: Epoch,
    pub(crate) state: State,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// It has read everything again that is committed.
    Live,
    /// It has records of the epoch.
    Filled,
    /// It takes no more records into the epoch.
    Enough,
    /// It has used up its memory for the next checkpoint.
    Full,
    /// It has no records of the epoch, and something falls due behind this instant, which is over
    /// by its own clock.
    Due(i64),
    /// There is nothing more to read, and there will not be.
    AllRead,
    /// The same, and nothing is due that it has not told.
    CaughtUp,
    /// It was told to stop.
    Stopping,
}

/// What all processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Close this epoch.
    Close(Closed),
    /// No epoch comes after this one.
    End(Epoch),
}

/// The orders that a process has got.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    given: Mutex<Given>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Given {
    closing: BTreeMap<Epoch, Closed>,
    end: Option<Epoch>,
}

impl Orders {
    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an order from the leader.
    pub(crate) fn give(&self, order: Order) {
        let mut given = self.given();
        match order {
            Order::Close(closed) => drop(given.closing.insert(closed.epoch, closed)),
            Order::End(epoch) => given.end = Some(epoch),
        }
        self.changed.notify_all();
    }

    /// Returns the order to close an epoch, once.
    pub(crate) fn closing(&self, epoch: Epoch) -> Option<Closed> {
        self.given().closing.remove(&epoch)
    }

    /// Returns the last epoch, once there is one.
    pub(crate) fn end(&self) -> Option<Epoch> {
        self.given().end
    }

    /// Waits for an order about `epoch`, for `patience` at most.
    pub(crate) fn wait(&self, epoch: Epoch, patience: Duration) {
        let given = self.given();
        let nothing =
            |given: &mut Given| !given.closing.contains_key(&epoch) && given.end.is_none();
        drop(self.changed.wait_timeout_while(given, patience, nothing));
    }
}

/// Makes orders of reports.
pub(crate) struct Conductor {
    processes: usize,
    /// The last epoch that is committed already.
    head: Epoch,
    known: Mutex<Known>,
    give: Box<dyn Fn(Order) + Send + Sync>,
}

/// What all reports come to.
struct Known {
    open: Epoch,
    live: BTreeSet<usize>,
    filled: bool,
    full: bool,
    cadence: Cadence,
    clock: Clock,
    /// Who has read all: what is closed once all have may be the last epoch.
    all_read: BTreeSet<usize>,
    caught_up: BTreeSet<usize>,
    ended: bool,
}

impl Conductor {
    /// Begins with the epoch behind `since`, the one that the state is of. `head` is the last one
    /// that is committed already; the clock goes on behind it. `give` passes an order to every
    /// process; it must not block.
    pub(crate) fn new(
        processes: usize,
        (since, head): (Epoch, Epoch),
        (cadence, clock): (Cadence, Clock),
        give: impl Fn(Order) + Send + Sync + 'static,
    ) -> Conductor {
        let known = Known {
            open: Epoch(since.0 + 1),
            live: BTreeSet::new(),
            filled: false,
            full: false,
            cadence,
            clock,
            all_read: BTreeSet::new(),
            caught_up: BTreeSet::new(),
            ended: false,
        };
        Conductor { processes, head, known: Mutex::new(known), give: Box::new(give) }
    }

    /// Takes the report of a process. One of an epoch that is closed already says nothing.
    pub(crate) fn report(&self, process: usize, report: Report) {
        // The lock is held while orders are given, so that all get them in one sequence.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_open = report.epoch == known.open;
        match report.state {
            _ if known.ended => {}
            State::Live => drop(known.live.insert(process)),
            State::AllRead => drop(known.all_read.insert(process)),
            State::Stopping if known.live.len() == self.processes => self.end(&mut known),
            // Whoever still reads again what is committed would have to come to its end first.
            State::Stopping => {
                known.ended = true;
                (self.give)(Order::End(Epoch(0)));
            }
            State::Filled if of_open => known.filled = true,
            State::Full => known.full = true,
            State::Enough if of_open => self.close(&mut known, false),
            // What is due elsewhere may not be so by the clock of this process, which epochs go by.
            State::Due(at) if of_open && !known.filled && at < known.clock.peek() => {
                self.close(&mut known, false);
            }
            State::CaughtUp if of_open => {
                known.caught_up.insert(process);
                match known.caught_up.len() == self.processes {
                    true if known.filled => self.close(&mut known, true),
                    true => self.end(&mut known),
                    false => {}
                }
            }
            State::Filled | State::Enough | State::Due(_) | State::CaughtUp => {}
        }
    }

    fn close(&self, known: &mut Known, last: bool) {
        let epoch = known.open;
        let last = last || known.all_read.len() == self.processes;
        let checkpoint = known.cadence.take(epoch, known.full, last);
        let replay = epoch <= self.head;
        // One that is committed already keeps its time, which each process knows.
        let epoch_time_micros = known.clock.close();
        let closed = Closed { epoch, epoch_time_micros, replay, checkpoint };
        (self.give)(Order::Close(closed));
        known.open = Epoch(known.open.0 + 1);
        known.filled = false;
        known.full &= !checkpoint;
        known.caught_up.clear();
    }

    fn end(&self, known: &mut Known) {
        if known.filled {
            self.close(known, true);
        }
        known.ended = true;
        (self.give)(Order::End(Epoch(known.open.0 - 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::StateOptions;
    use super::super::checkpoints::Checkpoints;
    use super::*;
    use State::{AllRead, CaughtUp, Due, Enough, Filled, Full, Live, Stopping};
    use std::sync::Arc;

    fn cadence(memory_limit: u64) -> Cadence {
        let state = StateOptions {
            directory: "nowhere".into(),
            memory_limit,
            checkpoint_interval: Duration::MAX,
        };
        Cadence::new(Arc::new(Checkpoints::new(Some(&state), 1, Epoch(0))))
    }

    /// Returns the orders that reports give in a store with 4 commits, in words.
    fn orders(processes: usize, reports: &[(usize, u64, State)]) -> Vec<String> {
        orders_since(4, cadence(0), processes, reports)
    }

    fn orders_since(
        since: u64,
        cadence: Cadence,
        processes: usize,
        reports: &[(usize, u64, State)],
    ) -> Vec<String> {
        let given = Arc::new(Mutex::new(Vec::new()));
        let giving = Arc::clone(&given);
        let extent = (Epoch(since), Epoch(4));
        let clock = Clock::of(90, || 100);
        let conductor = Conductor::new(processes, extent, (cadence, clock), move |order| {
            giving.lock().unwrap().push(match order {
                Order::Close(closed) => {
                    let again = if closed.replay { " again" } else { "" };
                    let checkpoint = if closed.checkpoint { ", checkpoint" } else { "" };
                    assert_eq!(closed.epoch_time_micros, 100);
                    format!("close {}{again}{checkpoint}", closed.epoch)
                }
                Order::End(epoch) => format!("end {epoch}"),
            });
        });
        for (process, epoch, state) in reports {
            conductor.report(*process, Report { epoch: Epoch(*epoch), state: *state });
        }
        drop(conductor);
        Arc::try_unwrap(given).unwrap().into_inner().unwrap()
    }

    #[test]
    fn one_process_is_answered_at_once() {
        let live = (0, 5, Live);
        let rows: &[(&[(usize, u64, State)], &[&str])] = &[
            (&[live, (0, 5, Filled), (0, 5, Enough)], &["close 5"]),
            (&[live, (0, 5, CaughtUp)], &["end 4"]),
            // What the last records make due is looked for before the end.
            (&[live, (0, 5, Filled), (0, 5, CaughtUp)], &["close 5"]),
            (&[live, (0, 5, Filled), (0, 5, CaughtUp), (0, 6, CaughtUp)], &["close 5", "end 5"]),
            (&[live, (0, 5, Stopping)], &["end 4"]),
            (&[live, (0, 5, Filled), (0, 5, Stopping)], &["close 5", "end 5"]),
            (&[(0, 1, Stopping)], &["end 0"]),
        ];
        for (reports, expected) in rows {
            assert_eq!(orders(1, reports), *expected, "{reports:?}");
        }
    }

    #[test]
    fn what_is_read_again_and_what_fills_the_memory_is_closed_in_step() {
        let (one, two) = ((0, 5, Live), (1, 5, Live));
        let rows: &[(&[(usize, u64, State)], &[&str])] = &[
            // Whoever is first with an epoch closes it for all.
            (
                &[(0, 3, Enough), (1, 3, Enough), (0, 4, Enough)],
                &["close 3 again", "close 4 again"],
            ),
            // One that is full gets all a checkpoint, and only one.
            (
                &[(1, 3, Full), (1, 3, Enough), (1, 4, Enough), one, two, (0, 5, CaughtUp)],
                &["close 3 again, checkpoint", "close 4 again"],
            ),
            // A second has to wait for the first, and the last epoch gets one in any case.
            (
                &[
                    (0, 3, Full),
                    (0, 3, Enough),
                    (0, 4, Full),
                    (0, 4, Enough),
                    one,
                    two,
                    (1, 5, Filled),
                    (1, 5, CaughtUp),
                    (0, 5, CaughtUp),
                    (0, 6, CaughtUp),
                    (1, 6, CaughtUp),
                ],
                &["close 3 again, checkpoint", "close 4 again", "close 5, checkpoint", "end 5"],
            ),
            (&[(0, 3, Enough), (1, 3, Stopping)], &["close 3 again", "end 0"]),
            // One has the last records and no room for more, while the other looks what is due.
            (
                &[
                    (0, 3, Enough),
                    (0, 4, Enough),
                    one,
                    two,
                    (0, 5, AllRead),
                    (1, 5, AllRead),
                    (1, 5, Filled),
                    (1, 5, CaughtUp),
                    (1, 5, Enough),
                    (0, 6, CaughtUp),
                    (1, 6, CaughtUp),
                ],
                &["close 3 again", "close 4 again", "close 5, checkpoint", "end 5"],
            ),
        ];
        for (reports, expected) in rows {
            assert_eq!(orders_since(2, cadence(1 << 30), 2, reports), *expected, "{reports:?}");
        }
    }

    #[test]
    fn several_processes_close_and_end_together() {
        let (one, two) = ((0, 5, Live), (1, 5, Live));
        let rows: &[(&[(usize, u64, State)], &[&str])] = &[
            // The first that has enough closes for all; the second's report comes too late.
            (&[one, two, (0, 5, Filled), (1, 5, Enough), (0, 5, Enough)], &["close 5"]),
            // All must have caught up, with the same epoch.
            (&[one, two, (0, 5, CaughtUp)], &[]),
            (&[one, two, (0, 5, CaughtUp), (1, 5, Enough), (1, 6, CaughtUp)], &["close 5"]),
            (&[one, two, (0, 5, CaughtUp), (1, 5, Filled), (1, 5, CaughtUp)], &["close 5"]),
            (&[one, two, (0, 5, CaughtUp), (1, 5, CaughtUp)], &["end 4"]),
            // A stop of one is a stop of all, and one that reads again is not waited for.
            (&[one, two, (1, 5, Filled), (0, 5, Stopping)], &["close 5", "end 5"]),
            (&[one, (0, 5, Filled), (0, 5, Stopping)], &["end 0"]),
            (&[one, two, (1, 5, Stopping), (0, 5, Enough), (0, 5, Stopping)], &["end 4"]),
        ];
        for (reports, expected) in rows {
            assert_eq!(orders(2, reports), *expected, "{reports:?}");
        }
    }

    #[test]
    fn an_epoch_without_records_is_closed_once_something_is_due() {
        let (one, two) = ((0, 5, Live), (1, 5, Live));
        let rows: &[(&[(usize, u64, State)], &[&str])] = &[
            (&[one, two, (1, 5, Due(99))], &["close 5"]),
            // Not by the clock that epochs go by.
            (&[one, two, (1, 5, Due(100))], &[]),
            // A process that heard too late that the epoch is closed says nothing new.
            (
                &[one, two, (1, 5, Due(99)), (0, 5, Due(98)), (1, 6, Due(99))],
                &["close 5", "close 6"],
            ),
            // With records it closes in its own time.
            (&[one, two, (0, 5, Filled), (1, 5, Due(99))], &[]),
            (&[one, two, (0, 5, Filled), (1, 5, Due(99)), (0, 5, Enough)], &["close 5"]),
            // Who has caught up says it again of the epoch behind a tick, and then all end.
            (&[one, two, (0, 5, CaughtUp), (1, 5, Due(99)), (1, 5, CaughtUp)], &["close 5"]),
            (
                &[
                    one,
                    two,
                    (0, 5, CaughtUp),
                    (1, 5, Due(99)),
                    (1, 5, CaughtUp),
                    (1, 6, CaughtUp),
                    (0, 6, CaughtUp),
                ],
                &["close 5", "end 5"],
            ),
        ];
        for (reports, expected) in rows {
            assert_eq!(orders(2, reports), *expected, "{reports:?}");
        }
    }
}
