//! Which part a process has in a run: it leads, or it follows.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use trueup_dataflow::Links;
use trueup_dataflow::store::Disk;
use trueup_ledger::{Epoch, PartitionId};
use trueup_sinks::{CommitLog, Store};

use super::checkpointer::{History, Others};
use super::checkpoints::Checkpoints;
use super::committer::Committer;
use super::cuts::{Orders, Report};
use super::follower::Follower;
use super::leader::Leader;
use super::messages;
use super::restore::Ground;
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
pub(crate) enum Settled {
    On(Start),
    /// The leader was stopped before.
    Over(Summary),
}

/// What a run begins with.
pub(crate) struct Start {
    /// The state, and what copies there are of it.
    pub(crate) disk: Option<Disk>,
    pub(crate) history: History,
    /// The partitions that the leader sees, where this process is not it.
    pub(crate) partitions: Option<Vec<PartitionId>>,
}

/// What the processes of a run need to know of it to work together.
pub(crate) struct Extent {
    /// The epoch that the state is of.
    pub(crate) since: Epoch,
    /// The last epoch that is committed already.
    pub(crate) head: Epoch,
    /// Its time; `i64::MIN` where there is none.
    pub(crate) head_time: i64,
    /// How many partitions there are.
    pub(crate) partitions: usize,
    pub(crate) checkpoints: Arc<Checkpoints>,
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

    /// Agrees with the other processes on what the run goes on from, the newest state that all can
    /// get to. `survey` looks at what this process has, once it sees the commits of the others.
    pub(crate) fn settle<'a>(
        &mut self,
        log: &CommitLog<Arc<dyn Store>>,
        survey: impl Fn() -> Result<Ground<'a>, RunError>,
    ) -> Result<Settled, RunError> {
        let leader = match &mut self.role {
            Role::Leader(leader) => leader,
            Role::Follower(follower) => return follower.settle(log, survey),
        };
        let mut ground = survey()?;
        let head = log.head()?;
        for since in ground.candidates() {
            if !ground.reach(since)? {
                continue;
            }
            if leader.propose(&messages::Begin { head: head.clone(), since })? {
                let (history, disk) = (ground.history()?, ground.into_disk());
                return Ok(Settled::On(Start { disk, history, partitions: None }));
            }
            tracing::warn!(epoch = %since, "not all processes can go on from there, trying before");
        }
        let text = "the processes cannot begin with nothing; this is a bug".to_owned();
        Err(RunError::Failed(text))
    }

    /// Ends before this process has begun to read.
    pub(crate) fn stop(&mut self, head: Epoch) -> Result<Summary, RunError> {
        match &mut self.role {
            Role::Leader(_) => Ok(Summary { last_epoch: head, ..Summary::default() }),
            Role::Follower(follower) => follower.stop(),
        }
    }

    /// Makes sure that all processes see the same partitions. `theirs` are those of the leader.
    pub(crate) fn agree(
        &self,
        theirs: Option<&[PartitionId]>,
        ours: &[PartitionId],
    ) -> Result<(), RunError> {
        match (&self.role, theirs) {
            (Role::Leader(leader), _) => leader.begin(ours),
            (Role::Follower(follower), Some(theirs)) => follower.agree(theirs, ours)?,
            (Role::Follower(_), None) => {}
        }
        Ok(())
    }

    /// Starts to listen to the other processes. Returns what the intake is ordered by and what it
    /// reports to, and what the checkpoints go together with.
    pub(crate) fn start(
        &mut self,
        extent: &Extent,
        shared: &Arc<Shared>,
        staged: &Sender<Staged>,
    ) -> Result<(Arc<Orders>, Box<dyn Fn(Report) + Send>, Others), RunError> {
        let orders = Arc::new(Orders::default());
        match &mut self.role {
            Role::Leader(leader) => {
                let (conductor, others) = leader.start(extent, &orders, shared, staged)?;
                Ok((orders, Box::new(move |report| conductor.report(0, report)), others))
            }
            Role::Follower(follower) => {
                let others = follower.start(&orders, shared)?;
                Ok((orders, Box::new(follower.reports()), others))
            }
        }
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
