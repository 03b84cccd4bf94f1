//! When something next falls due on a worker of this process, as the intake needs to know it.
//!
//! An epoch that is on its way may show what is due, or take it back. So each worker says with it
//! through which epoch it is done, and nothing is due before all have come to the end of the last.

use std::sync::{Mutex, PoisonError};

use trueup_ledger::Epoch;

/// What each worker has told.
#[derive(Debug)]
pub(crate) struct Dues {
    workers: Vec<Mutex<Option<Told>>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    through: Epoch,
    due: Option<i64>,
}

/// What is known at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Not all workers are that far.
    Unknown,
    /// Nothing will fall due.
    Nothing,
    /// Something falls due behind this instant, in microseconds since 1970.
    At(i64),
}

impl Dues {
    pub(crate) fn new(workers: usize) -> Dues {
        Dues { workers: (0..workers).map(|_| Mutex::new(None)).collect() }
    }

    /// Says when something next falls due on a worker that has handed over all epochs through one.
    /// Workers are numbered across processes.
    pub(crate) fn tell(&self, worker: usize, through: Epoch, due: Option<i64>) {
        let told = &self.workers[worker % self.workers.len()];
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Told { through, due });
    }

    /// Returns when something next falls due behind epoch `last`.
    pub(crate) fn behind(&self, last: Epoch) -> Outlook {
        let mut earliest = Outlook::Nothing;
        for told in &self.workers {
            let told = *told.lock().unwrap_or_else(PoisonError::into_inner);
            match (told.filter(|told| told.through == last), earliest) {
                (None, _) => return Outlook::Unknown,
                (Some(Told { due: None, .. }), _) => {}
                (Some(Told { due: Some(due), .. }), Outlook::At(other)) if other <= due => {}
                (Some(Told { due: Some(due), .. }), _) => earliest = Outlook::At(due),
            }
        }
        earliest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_all_workers_are_at_the_end_of_the_epoch() {
        let dues = Dues::new(2);
        dues.tell(2, Epoch(4), Some(20));
        assert_eq!(dues.behind(Epoch(4)), Outlook::Unknown);
        dues.tell(1, Epoch(4), None);
        assert_eq!(dues.behind(Epoch(4)), Outlook::At(20));
        dues.tell(1, Epoch(4), Some(10));
        assert_eq!(dues.behind(Epoch(4)), Outlook::At(10));
        assert_eq!(dues.behind(Epoch(5)), Outlook::Unknown);
        dues.tell(0, Epoch(5), None);
        dues.tell(1, Epoch(5), None);
        assert_eq!(dues.behind(Epoch(5)), Outlook::Nothing);
    }
}
