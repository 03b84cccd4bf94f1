//! Old copies go, beside the work: what a restore needs is read for it, manifest by manifest.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use trueup_ledger::Epoch;
use trueup_sinks::{Copies, SinkError, Store};

use super::super::RunError;

/// After so many copies, or bytes of them, those are looked for that nobody needs any more.
const COPIES: usize = 256;
const BYTES: u64 = 64 << 20;

/// Deletes copies that nobody needs any more, now and then.
pub(crate) struct Tidying {
    /// How many copies, and bytes of them, there have been since it was last begun.
    copies: usize,
    bytes: u64,
    running: Option<JoinHandle<Result<bool, SinkError>>>,
}

impl Tidying {
    /// Nothing is known of the copies that there are but how many.
    pub(crate) fn new(copies: usize) -> Tidying {
        Tidying { copies, bytes: 0, running: None }
    }

    /// Takes note of a copy of so many bytes.
    pub(super) fn copied(&mut self, bytes: u64) {
        self.copies += 1;
        self.bytes += bytes;
    }

    /// Begins, where there is enough to look for and the last time has ended. Returns false where that
    /// has found that the newest copies are not the whole state together.
    pub(super) fn begin(
        &mut self,
        store: Arc<dyn Store>,
        configuration_hash: String,
        epoch: Epoch,
    ) -> Result<bool, RunError> {
        if self.running.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(true);
        }
        let are_whole = self.end()?;
        if self.copies >= COPIES || self.bytes >= BYTES {
            (self.copies, self.bytes) = (0, 0);
            let work = move || Copies::tidy(&*store, &configuration_hash, epoch);
            let thread = thread::Builder::new().name("old copies".to_owned()).spawn(work);
            let thread = thread
                .map_err(|error| RunError::Failed(format!("cannot start a thread: {error}")))?;
            self.running = Some(thread);
        }
        Ok(are_whole)
    }

    /// Waits for what is running. Returns what [`Tidying::begin`] does.
    pub(super) fn end(&mut self) -> Result<bool, RunError> {
        let Some(thread) = self.running.take() else { return Ok(true) };
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?)
    }
}
