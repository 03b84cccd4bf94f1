//! Worker threads, so that hosts need not name timely.

use std::time::Duration;

use timely::communication::WorkerGuards;
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

/// A worker on its own thread.
pub struct Host<'a> {
    pub(crate) worker: &'a mut Worker,
}

impl Host<'_> {
    /// Returns the number of the worker, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.worker.index()
    }

    /// Returns how many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.worker.peers()
    }

    /// Lets every operator that has something to do work once.
    pub fn step(&mut self) {
        self.worker.step();
    }

    /// Works, or parks the thread until another worker or an unpark wakes it, for `patience` at
    /// most. Spinning instead halves the throughput of two workers.
    pub fn step_or_park(&mut self, patience: Duration) {
        self.worker.step_or_park(Some(patience));
    }
}

/// The running worker threads of this process.
pub struct Hosts {
    guards: WorkerGuards<()>,
}

impl Hosts {
    /// Starts `count` threads and calls `work` on each. When it returns, its dataflow is dropped,
    /// complete or not.
    ///
    /// # Errors
    /// A text, where threads cannot be started.
    pub fn start(
        count: usize,
        work: impl Fn(&mut Host<'_>) + Send + Sync + 'static,
    ) -> Result<Hosts, String> {
        let config = timely::Config {
            communication: CommunicationConfig::Process(count),
            worker: WorkerConfig::default(),
        };
        let guards = timely::execute(config, move |worker| {
            work(&mut Host { worker });
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        })?;
        Ok(Hosts { guards })
    }

    /// Waits until all threads have returned.
    pub fn join(self) {
        drop(self.guards.join());
    }
}
