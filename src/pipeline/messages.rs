//! What the leader and the followers of a cluster tell each other over control connections.

use serde::{Deserialize, Serialize};
use trueup_ledger::{Epoch, PartitionId};

use super::checkpointer::{Copied, TakeIn};
use super::cuts::{Order, Report};
use super::stager::{RangeRead, Share};
use super::worker::Closed;
use super::{Progress, RunError, Summary};
use crate::cluster::control::Lost;

/// What a follower says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToLeader {
    /// Which start of each process it is connected to.
    Met(Vec<u64>),
    /// Whether it can go on from what it was asked to.
    Prepared(bool),
    /// How far its intake is.
    Report(Report),
    /// A share of one of its workers is staged.
    Share(Epoch, Share),
    /// It has closed an epoch: what its partitions gave.
    Cut(Closed, Vec<RangeRead>),
    /// It has copied its part of a checkpoint.
    Copied(Copied),
    /// It has failed.
    Failed(Failure),
}

/// What the leader says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ToFollower {
    /// What the run is to go on from, where all can.
    Begin(Begin),
    /// All can go on. All partitions, in their order.
    Read(Vec<PartitionId>),
    /// What all intakes do.
    Order(Order),
    /// All have copied their parts of a checkpoint.
    TakeIn(TakeIn),
    /// An epoch is committed, or compared.
    Committed(Progress),
    /// Everything is committed.
    Done(Summary),
    /// The run has failed.
    Failed(Failure),
}

/// What a run goes on from; all processes must see the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// The last commit, and its hash.
    pub(crate) head: Option<(Epoch, String)>,
    /// The epoch whose state it begins with.
    pub(crate) since: Epoch,
}

/// A [`RunError`] on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    Fenced(String),
    Difference(String),
    Configuration(String),
    Failed(String),
}

impl From<&RunError> for Failure {
    fn from(error: &RunError) -> Failure {
        match error {
            RunError::Fenced(text) => Failure::Fenced(text.clone()),
            RunError::Difference(text) => Failure::Difference(text.clone()),
            RunError::Configuration(text) => Failure::Configuration(text.clone()),
            RunError::Failed(text) => Failure::Failed(text.clone()),
        }
    }
}

impl Failure {
    /// Returns the error as another process tells it.
    pub(crate) fn told_by(self, name: &str) -> RunError {
        let told = |text| format!("{name}: {text}");
        match self {
            Failure::Fenced(text) => RunError::Fenced(told(text)),
            Failure::Difference(text) => RunError::Difference(told(text)),
            Failure::Configuration(text) => RunError::Configuration(told(text)),
            Failure::Failed(text) => RunError::Failed(told(text)),
        }
    }
}

/// Builds the error of a process from which nothing comes any more.
pub(crate) fn lost(name: &str, lost: &Lost) -> RunError {
    let why = match lost {
        Lost::Closed => "it ended, was killed, or its machine is gone".to_owned(),
        Lost::Silent(time) => {
            format!("it has said nothing for {time:?}: it is stopped, overloaded or cut off")
        }
        Lost::Broken(error) => format!("the connection failed: {error}"),
    };
    RunError::Failed(format!(
        "lost {name}: {why}; what was committed is exact, start all processes again"
    ))
}
