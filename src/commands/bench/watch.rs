//! When commits come: seen by looking for the next one every millisecond, once it is durable.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use trueup_ledger::Epoch;
use trueup_sinks::{CommitLog, Copies, Store};

use crate::commands::child::Running;
use crate::commands::store;
use crate::exit;

/// How often the next commit is looked for; no time is known better than this.
const LOOK: Duration = Duration::from_millis(1);

/// How long a run may go without a commit that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A commit that was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// When it was there and durable.
    pub(super) at: Instant,
    /// How many records this commit and all before it have read.
    pub(super) read: u64,
}

/// Looks at the commits of a store.
pub(super) struct Watch {
    log: CommitLog<Arc<dyn Store>>,
    /// How many records each commit that was seen and all before it have read, from none on.
    read: Vec<u64>,
    /// The most records that were seen behind the last copy of the state.
    farthest: u64,
}

impl Watch {
    /// Begins behind the commits that are there. To be called while no run is writing.
    pub(super) fn of(store: &Path) -> anyhow::Result<Watch> {
        let place = store::location(&store.display().to_string())?;
        let log = CommitLog::open(store::writable(&place)?).context("reading the commits")?;
        let mut watch = Watch { log, read: vec![0], farthest: 0 };
        watch.look()?;
        Ok(watch)
    }

    /// Begins anew behind the commits that are there, and remembers the most that was behind a copy.
    pub(super) fn begin_again(&mut self, store: &Path) -> anyhow::Result<()> {
        *self = Watch { farthest: self.farthest, ..Watch::of(store)? };
        Ok(())
    }

    /// How many records the commits that were seen have read.
    pub(super) fn read(&self) -> u64 {
        self.read[self.read.len() - 1]
    }

    /// How many of them came behind the last copy of the state, and would be derived again.
    pub(super) fn behind_copy(&self) -> anyhow::Result<u64> {
        let copies =
            Copies::list(&**self.log.store()).context("looking for copies of the state")?;
        let copy = copies.epochs().next_back().map_or(0, |epoch| epoch.0);
        // A copy of a commit that has not been seen yet leaves nothing.
        let before = usize::try_from(copy).ok().and_then(|copy| self.read.get(copy).copied());
        Ok(self.read() - before.unwrap_or(self.read()))
    }

    /// Returns the new commits, all of which were there at one moment.
    fn look(&mut self) -> anyhow::Result<Vec<Seen>> {
        // The log says of a commit that it is the last one only once it is durable.
        let head = self.log.head().context("looking for the next commit")?;
        let at = Instant::now();
        let head = head.map_or(Epoch(0), |(epoch, _)| epoch);
        let mut new = Vec::new();
        let next = self.read.len() as u64;
        for epoch in (next..=head.0).map(Epoch) {
            let records = self.log.read(epoch).context("reading a commit")?.counts().read;
            self.read.push(self.read() + records);
            new.push(Seen { at, read: self.read() });
        }
        Ok(new)
    }

    /// Waits until so many records are committed; returns the commits that came.
    ///
    /// # Errors
    /// A run that ends or commits nothing for two minutes.
    pub(super) fn until(
        &mut self,
        records: u64,
        running: &mut Running,
    ) -> anyhow::Result<Vec<Seen>> {
        let mut all = Vec::new();
        let mut last = Instant::now();
        while self.read() < records {
            let new = self.look()?;
            if !new.is_empty() {
                last = Instant::now();
                all.extend(new);
                continue;
            }
            if running.has_lost_one()? || last.elapsed() > PATIENCE {
                return Err(exit::failed(format!(
                    "a run has committed {} of {records} records and goes on no more",
                    self.read()
                )));
            }
            thread::sleep(LOOK);
        }
        Ok(all)
    }
    /// Waits until so many records are committed, at `latest`, and about as many of them as ever lie behind the
    /// last copy of the state: whoever is killed now has most to derive again.
    ///
    /// # Errors
    /// See [`Watch::until`].
    pub(super) fn until_far_behind_copy(
        &mut self,
        (records, latest): (u64, u64),
        running: &mut Running,
    ) -> anyhow::Result<()> {
        loop {
            self.until(self.read() + 1, running)?;
            let behind = self.behind_copy()?;
            self.farthest = self.farthest.max(behind);
            let is_far = behind * 10 >= self.farthest * 9;
            if self.read() >= latest || (self.read() >= records && is_far) {
                return Ok(());
            }
        }
    }
}
