//! A follower: a process whose epochs the leader ends and publishes.
//!
//! What its stagers and its intake would tell a committer goes to the leader. One thread reads what
//! the leader says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, unbounded};
use trueup_ledger::{Epoch, PartitionId};
use trueup_sinks::{CommitLog, Store};

use super::checkpointer::{Copied, Others, TakeIn};
use super::cuts::{Orders, Report, State};
use super::messages::{Begin, Failure, ToFollower, ToLeader, lost};
use super::party::{Settled, Start};
use super::restore::Ground;
use super::stager::Staged;
use super::{PARTING, PATIENCE, Progress, RunError, Shared, Summary};
use crate::cluster::control::{Inbox, Outbox};
use crate::cluster::{Joined, named};

/// How long a commit that the leader has seen may take to be seen here.
const STORE_LAG_MAX: Duration = Duration::from_secs(20);

/// The control connection to process 0.
pub(crate) struct Follower {
    leader: String,
    peer_timeout: Duration,
    outbox: Outbox<ToLeader>,
    inbox: Option<Inbox<ToFollower>>,
    /// What the thread that reads tells; disconnected once it has ended.
    told: Option<Receiver<Told>>,
}

/// What the thread that reads tells this one.
pub(crate) enum Told {
    Progress(Progress),
    Done(Summary),
}

impl Follower {
    /// Takes the control connection over.
    pub(crate) fn new(joined: &mut Joined) -> Result<Follower, RunError> {
        let leader = named(&joined.hosts, 0);
        let cannot = |text: String| RunError::Failed(format!("{leader}: {text}"));
        let control = joined.control.first_mut().and_then(Option::take);
        let control = control.ok_or_else(|| cannot("there is no control connection".to_owned()))?;
        let outbox = control.try_clone().and_then(|out| Outbox::start(out, "0"));
        let outbox = outbox.map_err(|error| cannot(error.to_string()))?;
        outbox.send(ToLeader::Met(joined.starts.clone()));
        let silence_max = joined.connect_timeout + joined.peer_timeout;
        let inbox = Some(Inbox::new(control, silence_max));
        Ok(Follower { leader, peer_timeout: joined.peer_timeout, outbox, inbox, told: None })
    }

    /// Gets ready to go on from what the leader says, until all are.
    pub(crate) fn settle<'a>(
        &mut self,
        log: &CommitLog<Arc<dyn Store>>,
        survey: impl Fn() -> Result<Ground<'a>, RunError>,
    ) -> Result<Settled, RunError> {
        let mut ready: Option<Ground<'a>> = None;
        loop {
            let Some(inbox) = &mut self.inbox else {
                return Err(RunError::Failed(format!("{} has told already", self.leader)));
            };
            let message = inbox.receive().map_err(|error| lost(&self.leader, &error))?;
            inbox.allow_silence(self.peer_timeout);
            match (message, ready.take()) {
                (Some(ToFollower::Begin(begin)), before) => {
                    self.await_head(log, &begin)?;
                    let mut ground = match before {
                        Some(ground) => ground,
                        None => survey()?,
                    };
                    let able = ground.reach(begin.since)?;
                    self.outbox.send(ToLeader::Prepared(able));
                    ready = Some(ground);
                }
                (Some(ToFollower::Read(partitions)), Some(mut ground)) => {
                    let history = ground.history()?;
                    let (disk, partitions) = (ground.into_disk(), Some(partitions));
                    return Ok(Settled::On(Start { disk, history, partitions }));
                }
                (Some(ToFollower::Failed(failure)), _) => {
                    return Err(failure.told_by(&self.leader));
                }
                (Some(ToFollower::Done(summary)), _) => return Ok(Settled::Over(summary)),
                (_, before) => ready = before,
            }
        }
    }

    /// Waits until this process sees the same commits in the store as the leader.
    fn await_head<S: Store>(&self, log: &CommitLog<S>, begin: &Begin) -> Result<(), RunError> {
        let deadline = Instant::now() + STORE_LAG_MAX;
        loop {
            let ours = log.head()?;
            if ours == begin.head {
                return Ok(());
            }
            let epoch = |head: &Option<(Epoch, String)>| head.as_ref().map_or(0, |head| head.0.0);
            if epoch(&ours) >= epoch(&begin.head) || Instant::now() >= deadline {
                return Err(RunError::Configuration(format!(
                    "the store's last commit is {} here and {} at {}, or another one of that \
                     number; let `store` be the same place for all processes, and nobody else \
                     write to it",
                    epoch(&ours),
                    epoch(&begin.head),
                    self.leader
                )));
            }
            std::thread::sleep(PATIENCE);
        }
    }

    /// Ends the run of all processes before this one has begun, and waits for the leader's word.
    pub(crate) fn stop(&mut self) -> Result<Summary, RunError> {
        let report = Report { epoch: Epoch(0), state: State::Stopping };
        self.outbox.send(ToLeader::Report(report));
        while let Some(inbox) = &mut self.inbox {
            match inbox.receive().map_err(|error| lost(&self.leader, &error))? {
                Some(ToFollower::Done(summary)) => return Ok(summary),
                Some(ToFollower::Failed(failure)) => return Err(failure.told_by(&self.leader)),
                _ => {}
            }
        }
        Ok(Summary::default())
    }

    /// Checks that this process sees the partitions that the leader sees.
    pub(crate) fn agree(
        &self,
        theirs: &[PartitionId],
        ours: &[PartitionId],
    ) -> Result<(), RunError> {
        if theirs == ours {
            return Ok(());
        }
        let only_in = |a: &[PartitionId], b: &[PartitionId]| {
            a.iter().find(|partition| !b.contains(partition)).map(ToString::to_string)
        };
        let (seen_by, partition) = match only_in(theirs, ours) {
            Some(partition) => (self.leader.as_str(), partition),
            None => ("this process", only_in(ours, theirs).unwrap_or_default()),
        };
        Err(RunError::Failed(format!(
            "only {seen_by} sees partition {partition}; let all processes read the same sources, \
             and start again if it is new"
        )))
    }

    /// Starts to listen to the leader. Returns what this process' checkpoints go together with.
    pub(crate) fn start(
        &mut self,
        orders: &Arc<Orders>,
        shared: &Arc<Shared>,
    ) -> Result<Others, RunError> {
        let (told, received) = unbounded();
        self.told = Some(received);
        let (take_in, checkpoints) = unbounded();
        let reading = Reading {
            leader: self.leader.clone(),
            orders: Arc::clone(orders),
            shared: Arc::clone(shared),
            told,
            take_in,
        };
        let inbox = self.inbox.take();
        std::thread::Builder::new()
            .name("control-in-0".to_owned())
            .spawn(move || {
                if let Some(inbox) = inbox {
                    reading.read(inbox);
                }
            })
            .map_err(|error| RunError::Failed(format!("cannot start a thread: {error}")))?;
        let slot = self.outbox.slot();
        let tell = move |copied: Copied| slot.send(ToLeader::Copied(copied));
        Ok(Others::Leader { tell: Box::new(tell), told: checkpoints })
    }

    /// Returns what this process' intake reports by.
    pub(crate) fn reports(&self) -> impl Fn(Report) + Send + 'static {
        let slot = self.outbox.slot();
        move |report| slot.send(ToLeader::Report(report))
    }

    /// Passes on what is staged until the leader says that everything is committed, or the run has
    /// failed.
    pub(crate) fn run(
        &self,
        staged: &Receiver<Staged>,
        shared: &Shared,
        mut observe: impl FnMut(&Progress),
    ) -> Summary {
        let Some(told) = &self.told else { return Summary::default() };
        while !shared.has_failed() {
            select! {
                recv(staged) -> staged => match staged {
                    Ok(Staged::Share(epoch, share)) => {
                        self.outbox.send(ToLeader::Share(epoch, share));
                    }
                    Ok(Staged::Cut(closed, ranges, _)) => {
                        self.outbox.send(ToLeader::Cut(closed, ranges));
                    }
                    Ok(Staged::End(_)) => {}
                    // Whoever is gone has said why.
                    Err(_) => break,
                },
                recv(told) -> told => match told {
                    Ok(Told::Progress(progress)) => observe(&progress),
                    Ok(Told::Done(summary)) => return summary,
                    Err(_) => break,
                },
                default(PATIENCE) => {}
            }
        }
        Summary::default()
    }

    /// Tells the leader how the run ended here, and waits a moment for it to have heard it.
    pub(crate) fn finish(self, outcome: &Result<Summary, RunError>) {
        let deadline = Instant::now() + PARTING;
        if let Err(error) = outcome {
            self.outbox.send(ToLeader::Failed(Failure::from(error)));
        }
        self.outbox.finish(PARTING);
        // The leader answers a failure with its own end.
        let told = self.told.filter(|_| outcome.is_err());
        while told.as_ref().is_some_and(|told| told.recv_deadline(deadline).is_ok()) {}
    }
}

/// What listens to the leader.
struct Reading {
    leader: String,
    orders: Arc<Orders>,
    shared: Arc<Shared>,
    told: Sender<Told>,
    take_in: Sender<TakeIn>,
}

impl Reading {
    /// Passes on what the leader says, until the run is over.
    fn read(&self, mut inbox: Inbox<ToFollower>) {
        let _guard = self.shared.guard("the control connection");
        loop {
            match inbox.receive() {
                Ok(None | Some(ToFollower::Begin(_) | ToFollower::Read(_))) => {}
                Ok(Some(ToFollower::Order(order))) => self.orders.give(order),
                Ok(Some(ToFollower::TakeIn(take_in))) => drop(self.take_in.send(take_in)),
                Ok(Some(ToFollower::Committed(progress))) => {
                    self.shared.committed_through(progress.epoch);
                    let _ = self.told.send(Told::Progress(progress));
                }
                Ok(Some(ToFollower::Done(summary))) => {
                    let _ = self.told.send(Told::Done(summary));
                    return;
                }
                Ok(Some(ToFollower::Failed(failure))) => {
                    self.shared.fail(failure.told_by(&self.leader));
                    return;
                }
                Err(error) => {
                    self.shared.fail(lost(&self.leader, &error));
                    return;
                }
            }
        }
    }
}
