//! What the threads of a run share: how far it is committed, and whether it has failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use trueup_ledger::Epoch;

use super::checkpoints::Checkpoints;
use super::{EPOCHS_IN_FLIGHT, PATIENCE, RunError};

/// What the threads of a run share: how far it is committed, and whether it has failed.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<SharedState>,
    changed: Condvar,
    failed: AtomicBool,
    done: AtomicBool,
}

#[derive(Debug)]
struct SharedState {
    committed: Epoch,
    failure: Option<RunError>,
}

impl Shared {
    pub(crate) fn new(since: Epoch) -> Shared {
        let state = SharedState { committed: since, failure: None };
        Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
            done: AtomicBool::new(false),
        }
    }

    /// Ends the run; the first failure is the one that is told.
    pub(crate) fn fail(&self, error: RunError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure.get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether everything is committed and there is no more. Until then every worker has to go on,
    /// since the others need its part of the dataflow.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Says that everything is committed and there is no more.
    pub(crate) fn set_done(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Waits while `condition` holds of the last committed epoch and the run has not failed.
    pub(crate) fn wait_while(&self, condition: impl Fn(Epoch) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.has_failed() && condition(state.committed) {
            let waited = self.changed.wait_timeout(state, PATIENCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes those who wait.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn take_failure(&self) -> Option<RunError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }

    pub(crate) fn committed_through(&self, epoch: Epoch) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).committed = epoch;
        self.changed.notify_all();
    }

    /// Returns a guard that ends the run where its thread panics.
    pub(crate) fn guard<'a>(&'a self, what: &'a str) -> PanicGuard<'a> {
        PanicGuard { shared: self, what }
    }

    /// Waits until `epoch` may be read, that is until few enough epochs are uncommitted and there
    /// is memory for its state. Returns false where the run has failed.
    pub(crate) fn wait_for_room(&self, epoch: Epoch, checkpoints: &Checkpoints) -> bool {
        self.wait_while(|committed| {
            committed.0 + EPOCHS_IN_FLIGHT < epoch.0 || checkpoints.must_wait()
        });
        !self.has_failed()
    }
}

/// Ends the run when the thread that holds it panics: the other threads would wait for ever.
pub(crate) struct PanicGuard<'a> {
    shared: &'a Shared,
    what: &'a str,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = format!("{} stopped by a panic; start again", self.what);
            self.shared.fail(RunError::Failed(text));
        }
    }
}
