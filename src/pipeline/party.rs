//! Which part a process has in a run: it leads, or it follows.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use trueup_dataflow::Links;
use trueup_ledger::{Epoch, PartitionId};
use trueup_sinks::{CommitLog, Store};

use super::committer::Committer;
use super::cuts::{Orders, Report};
use super::follower::{Follower, Start};
use super::leader::Leader;
use super::messages;
use super::stager::Staged;
use super::{Progress, RunError, Shared, Summary};
use crate::cluster::{Joined, named};

/// How long a broken data connection waits for a control connection to say why.
const GRACE: Duration = Duration::from_secs(2);

/// A process' part.
pub(crate) struct Party {
    role: Role,
    joined: Option<Joined>,
}

enum Role {
    Leader(Leader),
    Follower(Box<Follower>),
}

/// Whether there is something to run.
pub(crate) enum Begin {
    /// With what a follower was told.
    Run(Option<messages::Begin>),
    /// The leader was stopped before.
    Over(Summary),
}

impl Party {
    /// Takes the connections over; without any the process is alone.
    pub(crate) fn new(mut joined: Option<Joined>) -> Result<Party, RunError> {
        let role = match &mut joined {
            Some(joined) if joined.process > 0 => Role::Follower(Box::new(Follower::new(joined)?)),
            Some(joined) => Role::Leader(Leader::new(joined)?),
            None => Role::Leader(Leader::default()),
        };
        Ok(Party { role, joined })
    }

    pub(crate) fn process(&self) -> usize {
        self.joined.as_ref().map_or(0, |joined| joined.process)
    }

    pub(crate) fn processes(&self) -> usize {
        self.joined.as_ref().map_or(1, |joined| joined.hosts.len())
    }

    /// Lets a follower wait until it knows what the run goes on from, and sees that in the store.
    pub(crate) fn begin<S: Store>(&mut self, log: &CommitLog<S>) -> Result<Begin, RunError> {
        match &mut self.role {
            Role::Leader(_) => Ok(Begin::Run(None)),
            Role::Follower(follower) => Ok(match follower.begin(log)? {
                Start::Begin(begin) => Begin::Run(Some(begin)),
                Start::Done(summary) => Begin::Over(summary),
            }),
        }
    }

    /// Ends before this process has begun to read.
    pub(crate) fn stop(&mut self, head: Epoch) -> Result<Summary, RunError> {
        match &mut self.role {
            Role::Leader(_) => Ok(Summary { last_epoch: head, ..Summary::default() }),
            Role::Follower(follower) => follower.stop(),
        }
    }

    /// Makes sure that all processes go on from the same commit and see the same partitions.
    pub(crate) fn agree<S: Store>(
        &self,
        begin: Option<messages::Begin>,
        log: &CommitLog<S>,
        partitions: &[PartitionId],
    ) -> Result<(), RunError> {
        match (&self.role, begin) {
            (Role::Leader(leader), _) => leader.begin(log.head()?, partitions),
            (Role::Follower(follower), Some(begin)) => {
                follower.agree(&begin.partitions, partitions)?;
            }
            (Role::Follower(_), None) => {}
        }
        Ok(())
    }

    /// Starts to listen to the other processes. Returns what the intake is ordered by, and what it
    /// reports to.
    pub(crate) fn start(
        &mut self,
        extent: (Epoch, usize),
        shared: &Arc<Shared>,
        staged: &Sender<Staged>,
    ) -> Result<(Arc<Orders>, Box<dyn Fn(Report) + Send>), RunError> {
        let orders = Arc::new(Orders::default());
        let report: Box<dyn Fn(Report) + Send> = match &mut self.role {
            Role::Leader(leader) => {
                let conductor = leader.start(extent, &orders, shared, staged)?;
                Box::new(move |report| conductor.report(0, report))
            }
            Role::Follower(follower) => {
                follower.start(&orders, shared)?;
                Box::new(follower.reports())
            }
        };
        Ok((orders, report))
    }

    /// Returns the connections of the workers, once.
    pub(crate) fn links(&mut self, shared: &Arc<Shared>) -> Option<Links> {
        let joined = self.joined.as_mut()?;
        let (hosts, shared) = (Arc::clone(&joined.hosts), Arc::clone(shared));
        let lost = move |process: usize, error: &std::io::Error| {
            std::thread::sleep(GRACE);
            if !shared.is_done() {
                let name = named(&hosts, process);
                shared.fail(RunError::Failed(format!(
                    "lost the data connection to {name}: {error}; what was committed is exact, \
                     start all processes again"
                )));
            }
        };
        let connections = std::mem::take(&mut joined.data);
        Some(Links { process: joined.process, connections, lost: Arc::new(lost) })
    }

    /// Works until everything is published, here or by the leader, or the run has failed.
    pub(crate) fn publish(
        &self,
        committer: &Committer,
        staged: &Receiver<Staged>,
        extent: (Epoch, Epoch),
        mut observe: impl FnMut(&Progress),
    ) -> Result<Summary, RunError> {
        match &self.role {
            Role::Leader(leader) => committer.run(staged, extent, |progress| {
                leader.committed(progress);
                observe(progress);
            }),
            Role::Follower(follower) => Ok(follower.run(staged, &committer.shared, observe)),
        }
    }

    /// Tells the other processes how the run ended here.
    pub(crate) fn finish(self, outcome: &Result<Summary, RunError>) {
        match self.role {
            Role::Leader(leader) => leader.finish(outcome),
            Role::Follower(follower) => follower.finish(outcome),
        }
    }
}
