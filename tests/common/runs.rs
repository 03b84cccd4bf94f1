//! The pipeline in this process, with a store and sources of the test's choice.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use trueup::pipeline::{self, Options, Progress, RunError, Source, Summary};
use trueup_ledger::Scale;
use trueup_sinks::{MemoryStore, Store};
use trueup_sources::{Json, LocalLog};

/// A run to be. By default it ends when caught up, with 2 workers, and its epochs are cut by
/// number of records alone.
pub struct Job(pub Options);

impl Job {
    pub fn new(store: Arc<dyn Store>) -> Job {
        Job(Options {
            store,
            scale: Scale::DEFAULT,
            rules: Arc::default(),
            workers: 2,
            commit_interval: Duration::from_secs(3600),
            commit_max_records: 1000,
            sources: Vec::new(),
            until_caught_up: true,
            cluster: None,
            state: None,
            configuration_hash: "test".to_owned(),
            stop: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Adds a local log.
    pub fn read(self, name: &str, path: &Path) -> Job {
        self.source(name, path, false)
    }

    /// Adds a local log that is a backfill.
    pub fn backfill(self, name: &str, path: &Path) -> Job {
        self.source(name, path, true)
    }

    fn source(mut self, name: &str, path: &Path, backfill: bool) -> Job {
        self.0.sources.push(Source {
            name: name.into(),
            transport: Box::new(LocalLog::new(path)),
            format: Arc::new(Json),
            backfill,
        });
        self
    }

    /// Adds any source.
    pub fn with(mut self, source: Source) -> Job {
        self.0.sources.push(source);
        self
    }

    pub fn workers(mut self, workers: usize) -> Job {
        self.0.workers = workers;
        self
    }

    pub fn max_records(mut self, records: u64) -> Job {
        self.0.commit_max_records = records;
        self
    }

    /// Goes on until the returned flag is set, with short epochs.
    pub fn follow(mut self, interval: Duration) -> (Job, Arc<AtomicBool>) {
        self.0.until_caught_up = false;
        self.0.commit_interval = interval;
        let stop = Arc::clone(&self.0.stop);
        (self, stop)
    }

    pub fn run(self) -> Result<Summary, RunError> {
        pipeline::run(self.0, |_| {})
    }

    pub fn observed(self, observe: impl FnMut(&Progress)) -> Result<Summary, RunError> {
        pipeline::run(self.0, observe)
    }
}

/// Returns an empty store in memory.
pub fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}
