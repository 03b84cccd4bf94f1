//! Worker threads, so that hosts need not name timely: those of one process, or of one process of a
//! cluster, whose connections somebody else has made and vouches for.

mod connection;

use std::sync::Arc;
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::allocator::zero_copy::initialize::{
    CommsGuard, initialize_networking_from_sockets,
};
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::worker::Worker;

use connection::Peer;
pub use connection::{Connection, Lost};

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

/// The connections of one process of a cluster to all the others.
pub struct Links {
    /// The number of this process, from 0.
    pub process: usize,
    /// A connection to each process, in the order of their numbers; `None` for this one.
    pub connections: Vec<Option<Connection>>,
    /// Told when a connection breaks, on a thread that may be blocked.
    pub lost: Arc<Lost>,
}

/// The running worker threads of this process.
pub struct Hosts {
    guards: WorkerGuards<()>,
    network: Option<CommsGuard>,
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
        let threads = process_builders(count).into_iter().map(AllocatorBuilder::Process);
        Hosts::execute(threads.collect(), None, work)
    }

    /// Starts `count` threads, the share of one process of a cluster in which every process starts
    /// as many and does the same work. The workers are numbered across processes.
    ///
    /// A connection that breaks does not end the threads, since timely's own answer to that is a
    /// panic: the run is told by `links.lost` and has to end, [`Hosts::leave`] being the way.
    ///
    /// # Errors
    /// A text, where threads cannot be started.
    pub fn start_cluster(
        count: usize,
        links: Links,
        work: impl Fn(&mut Host<'_>) + Send + Sync + 'static,
    ) -> Result<Hosts, String> {
        let peers = links.connections.into_iter().enumerate().map(|(remote, connection)| {
            connection.map(|connection| Peer::new(connection, remote, Arc::clone(&links.lost)))
        });
        let (builders, network) = initialize_networking_from_sockets(
            process_builders(count),
            peers.collect(),
            links.process,
            count,
            Hooks::default(),
        )
        .map_err(|error| error.to_string())?;
        let threads = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        Hosts::execute(threads, Some(network), work)
    }

    fn execute(
        threads: Vec<AllocatorBuilder>,
        network: Option<CommsGuard>,
        work: impl Fn(&mut Host<'_>) + Send + Sync + 'static,
    ) -> Result<Hosts, String> {
        let config = WorkerConfig::default();
        let guards = timely::execute::execute_from(threads, Box::new(()), config, move |worker| {
            work(&mut Host { worker });
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        })?;
        Ok(Hosts { guards, network })
    }

    /// Waits until all threads have returned. Those of the network end by themselves once the other
    /// processes' workers have returned too; they are not waited for, since one of these may have
    /// gone meanwhile.
    pub fn join(self) {
        drop(self.guards.join());
        std::mem::forget(self.network);
    }

    /// Leaves the threads to themselves, for a run that has failed: they may wait for a process that
    /// never answers. The program has to end.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

fn process_builders(count: usize) -> Vec<ProcessBuilder> {
    let hooks = Hooks::default();
    ProcessBuilder::new_typed_vector(count, hooks.refill, hooks.spill)
}
