//! The leader: process 0, whose committer publishes what all processes have staged. A run of one
//! process is a leader without followers.
//!
//! One thread reads from each follower. Reports go to the conductor, shares and cuts to the
//! committer, as those of this process do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use trueup_ledger::{Epoch, PartitionId};

use super::cuts::{Conductor, Order, Orders};
use super::messages::{Begin, Failure, ToFollower, ToLeader, lost};
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

    /// Tells the followers what the run goes on from.
    pub(crate) fn begin(&self, head: Option<(Epoch, String)>, partitions: &[PartitionId]) {
        self.tell(&ToFollower::Begin(Begin { head, partitions: partitions.to_vec() }));
    }

    /// Starts to listen to the followers. Returns what this process' intake reports to.
    pub(crate) fn start(
        &mut self,
        (head, partitions): (Epoch, usize),
        orders: &Arc<Orders>,
        shared: &Arc<Shared>,
        staged: &Sender<Staged>,
    ) -> Result<Arc<Conductor>, RunError> {
        let outboxes: Vec<_> =
            self.followers.iter().map(|follower| follower.outbox.slot()).collect();
        let own = Arc::clone(orders);
        let give = move |order: Order| {
            own.give(order);
            for outbox in &outboxes {
                outbox.send(ToFollower::Order(order));
            }
        };
        let conductor = Arc::new(Conductor::new(self.followers.len() + 1, head, give));
        let (alive, gone) = bounded(0);
        self.gone = Some(gone);
        for follower in &mut self.followers {
            let Some(inbox) = follower.inbox.take() else { continue };
            let reading = Reading {
                shared: Arc::clone(shared),
                conductor: Arc::clone(&conductor),
                staged: staged.clone(),
                partitions,
            };
            let (process, name) = (follower.process, follower.name.clone());
            let (peer_timeout, starts) = (follower.peer_timeout, follower.starts.clone());
            let alive: Sender<()> = alive.clone();
            let spawned = std::thread::Builder::new().name(format!("control-in-{process}")).spawn(
                move || {
                    reading.read(process, &name, inbox, peer_timeout, &starts);
                    drop(alive);
                },
            );
            spawned.map_err(|error| RunError::Failed(format!("cannot start a thread: {error}")))?;
        }
        Ok(conductor)
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
                Some(ToLeader::Met(_)) => {
                    let text = "a process was started again while the cluster met; start again";
                    self.shared.fail(RunError::Failed(text.to_owned()));
                }
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
