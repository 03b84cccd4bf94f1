//! The leader: process 0, whose committer publishes what all processes have staged. A run of one
//! process is a leader without followers.
//!
//! One thread reads from each follower. Reports go to the conductor, shares and cuts to the
//! committer, as those of this process do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use trueup_ledger::PartitionId;

use super::checkpointer::{Copied, Others};
use super::checkpoints::Cadence;
use super::clock::Clock;
use super::cuts::{Conductor, Order, Orders};
use super::messages::{Begin, Failure, ToFollower, ToLeader, lost};
use super::party::Extent;
use super::stager::{Share, Staged};
use super::{PARTING, Progress, RunError, Shared, Summary};
use crate::cluster::control::{Inbox, Outbox};
use crate::cluster::{Joined, named};

/// The control connections of process 0.
#[derive(Default)]
pub(crate) struct Leader {
    followers: Vec<Follower>,
    /// Becomes ready once the threads that read are gone.
    gone: Option<Receiver<()>>,
}

/// One follower as the leader sees it.
struct Follower {
    process: usize,
    name: String,
    outbox: Outbox<ToFollower>,
    inbox: Option<Inbox<ToLeader>>,
    peer_timeout: Duration,
    /// Which start of each process this one is connected to.
    starts: Vec<u64>,
}

/// What the threads that read pass on to.
#[derive(Clone)]
struct Reading {
    shared: Arc<Shared>,
    conductor: Arc<Conductor>,
    staged: Sender<Staged>,
    copied: Sender<Option<Copied>>,
    partitions: usize,
}

impl Leader {
    /// Takes the control connections over.
    pub(crate) fn new(joined: &mut Joined) -> Result<Leader, RunError> {
        let mut followers = Vec::new();
        for (process, control) in joined.control.iter_mut().enumerate() {
            let Some(control) = control.take() else { continue };
            let cannot = |error| RunError::Failed(format!("a control connection: {error}"));
            let outbox = control.try_clone();
            let outbox = outbox.and_then(|out| Outbox::start(out, &process.to_string()));
            followers.push(Follower {
                process,
                name: named(&joined.hosts, process),
                outbox: outbox.map_err(cannot)?,
                // The others may still be waiting for each other.
                inbox: Some(Inbox::new(control, joined.connect_timeout + joined.peer_timeout)),
                peer_timeout: joined.peer_timeout,
                starts: joined.starts.clone(),
            });
        }
        Ok(Leader { followers, gone: None })
    }

    fn tell(&self, message: &ToFollower) {
        for follower in &self.followers {
            follower.outbox.send(message.clone());
        }
    }

    /// Asks the followers whether all can go on from what this process can.
    pub(crate) fn propose(&mut self, begin: &Begin) -> Result<bool, RunError> {
        self.tell(&ToFollower::Begin(begin.clone()));
        let mut all = true;
        for follower in &mut self.followers {
            all &= follower.is_prepared()?;
        }
        Ok(all)
    }

    /// Tells the followers that all can go on, and what there is to read.
    pub(crate) fn begin(&self, partitions: &[PartitionId]) {
        self.tell(&ToFollower::Read(partitions.to_vec()));
    }

    /// Starts to listen to the followers. Returns what this process' intake reports to, and what its
    /// checkpoints go together with.
    pub(crate) fn start(
        &mut self,
        extent: &Extent,
        orders: &Arc<Orders>,
        shared: &Arc<Shared>,
        staged: &Sender<Staged>,
    ) -> Result<(Arc<Conductor>, Others), RunError> {
        let outboxes: Vec<_> =
            self.followers.iter().map(|follower| follower.outbox.slot()).collect();
        let (own, all) = (Arc::clone(orders), outboxes.clone());
        let give = move |order: Order| {
            own.give(order);
            for outbox in &all {
                outbox.send(ToFollower::Order(order));
            }
        };
        let count = self.followers.len();
        let cadence = Cadence::new(Arc::clone(&extent.checkpoints));
        let epochs = (extent.since, extent.head);
        let times = (cadence, Clock::since(extent.head_time));
        let conductor = Arc::new(Conductor::new(count + 1, epochs, times, give));
        let (copied, received) = unbounded();
        let (alive, gone) = bounded(0);
        self.gone = Some(gone);
        for follower in &mut self.followers {
            let Some(inbox) = follower.inbox.take() else { continue };
            let reading = Reading {
                shared: Arc::clone(shared),
                conductor: Arc::clone(&conductor),
                staged: staged.clone(),
                copied: copied.clone(),
                partitions: extent.partitions,
            };
            let (process, name) = (follower.process, follower.name.clone());
            let (peer_timeout, starts) = (follower.peer_timeout, follower.starts.clone());
            let alive: Sender<()> = alive.clone();
            let spawned = std::thread::Builder::new().name(format!("control-in-{process}")).spawn(
                move || {
                    reading.read(process, &name, inbox, peer_timeout, &starts);
                    // A checkpoint under way will not come to an end.
                    let _ = reading.copied.send(None);
                    drop(alive);
                },
            );
            spawned.map_err(|error| RunError::Failed(format!("cannot start a thread: {error}")))?;
        }
        let tell = move |take_in| {
            outboxes.iter().for_each(|outbox| outbox.send(ToFollower::TakeIn(take_in)));
        };
        let tell = Box::new(tell);
        Ok((conductor, Others::Followers { count, copied: received, tell }))
    }

    /// Tells the followers that an epoch is committed or compared.
    pub(crate) fn committed(&self, progress: &Progress) {
        self.tell(&ToFollower::Committed(progress.clone()));
    }

    /// Tells the followers how the run ended, and waits a moment for them to have heard it.
    pub(crate) fn finish(self, outcome: &Result<Summary, RunError>) {
        self.tell(&match outcome {
            Ok(summary) => ToFollower::Done(*summary),
            Err(error) => ToFollower::Failed(Failure::from(error)),
        });
        let deadline = Instant::now() + PARTING;
        if let (false, Some(gone)) = (self.followers.is_empty(), &self.gone) {
            // Each ends its side when it has heard; nobody ever sends here.
            let _ = gone.recv_timeout(PARTING);
        }
        for follower in self.followers {
            follower.outbox.finish(deadline.saturating_duration_since(Instant::now()));
        }
    }
}

impl Follower {
    /// Waits until the follower has tried to get ready, and returns whether it is.
    fn is_prepared(&mut self) -> Result<bool, RunError> {
        while let Some(inbox) = &mut self.inbox {
            let message = inbox.receive().map_err(|error| lost(&self.name, &error))?;
            inbox.allow_silence(self.peer_timeout);
            match message {
                Some(ToLeader::Prepared(able)) => return Ok(able),
                Some(ToLeader::Met(theirs)) if theirs != self.starts => return Err(met_another()),
                Some(ToLeader::Failed(failure)) => return Err(failure.told_by(&self.name)),
                _ => {}
            }
        }
        Ok(false)
    }
}

fn met_another() -> RunError {
    let text = "a process was started again while the cluster met; start again";
    RunError::Failed(text.to_owned())
}

impl Reading {
    /// Passes on what a follower says, until it is gone.
    fn read(
        &self,
        process: usize,
        name: &str,
        mut inbox: Inbox<ToLeader>,
        peer_timeout: Duration,
        starts: &[u64],
    ) {
        let _guard = self.shared.guard("a control connection");
        loop {
            let message = match inbox.receive() {
                Ok(message) => message,
                Err(error) => {
                    if !self.shared.is_done() {
                        self.shared.fail(lost(name, &error));
                    }
                    return;
                }
            };
            inbox.allow_silence(peer_timeout);
            match message {
                None => {}
                Some(ToLeader::Met(theirs)) if theirs == starts => {}
                Some(ToLeader::Met(_)) => self.shared.fail(met_another()),
                Some(ToLeader::Prepared(_)) => {}
                Some(ToLeader::Copied(copied)) => drop(self.copied.send(Some(copied))),
                Some(ToLeader::Report(report)) => self.conductor.report(process, report),
                Some(ToLeader::Share(epoch, share)) if self.fits(&share) => {
                    let _ = self.staged.send(Staged::Share(epoch, share));
                }
                Some(ToLeader::Share(..)) => {
                    let text = format!("{name} counts records of partitions that do not exist");
                    self.shared.fail(RunError::Failed(text));
                }
                Some(ToLeader::Cut(closed, ranges)) => {
                    let _ = self.staged.send(Staged::Cut(closed, ranges, None));
                }
                Some(ToLeader::Failed(failure)) => self.shared.fail(failure.told_by(name)),
            }
        }
    }

    fn fits(&self, share: &Share) -> bool {
        let exists = |partition: usize| partition < self.partitions;
        share.accepted.iter().all(|(partition, _)| exists(*partition as usize))
            && share.rejected.keys().all(|partition| exists(*partition))
    }
}
