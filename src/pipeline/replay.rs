//! What a store has published so far, as a run needs it to go on: which ranges to read again, and
//! what must come out.

use std::collections::{BTreeMap, BTreeSet};

use trueup_ledger::{Counts, Epoch, PartitionId, Position, View};
use trueup_sinks::{CommitLog, CommitRecord, InputRange, Store, ViewTotals};

use super::RunError;

/// The commits of a store that a run needs: the one that its state is of, and those behind it.
pub(crate) struct Past {
    /// The commit of the state; `None` where a run rebuilds its state from the beginning.
    base: Option<CommitRecord>,
    /// The commits that are derived again.
    commits: Vec<CommitRecord>,
}

/// What one committed epoch must give when it is derived again.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) counts: BTreeMap<PartitionId, Counts>,
    pub(crate) views: BTreeMap<String, ViewTotals>,
}

/// Reads and checks the commits of a store from `since` on, the epoch that the state is of.
pub(crate) fn past<S: Store>(log: &CommitLog<S>, since: Epoch) -> Result<Past, RunError> {
    log.verify_chain_from(Epoch(since.0.max(1)))?;
    let base = if since.0 > 0 { Some(log.read(since)?) } else { None };
    let mut commits = Vec::new();
    if let Some((head, _)) = log.head()? {
        for record in log.iter(Epoch(since.0 + 1), head) {
            commits.push(record?);
        }
    }
    Ok(Past { base, commits })
}

impl Past {
    fn newest_first(&self) -> impl Iterator<Item = &CommitRecord> {
        self.commits.iter().rev().chain(&self.base)
    }

    pub(crate) fn head(&self) -> Epoch {
        self.newest_first().next().map_or(Epoch(0), |commit| commit.epoch)
    }

    /// Returns the time of the last commit; `i64::MIN` where there is none.
    pub(crate) fn head_time(&self) -> i64 {
        self.newest_first().next().map_or(i64::MIN, |commit| commit.epoch_time_micros)
    }

    /// Returns the time of the commit that the state is of; `i64::MIN` where there is none.
    pub(crate) fn since_time(&self) -> i64 {
        self.base.as_ref().map_or(i64::MIN, |commit| commit.epoch_time_micros)
    }

    /// Returns the commit that the state is of.
    pub(crate) fn base(&self) -> Option<&CommitRecord> {
        self.base.as_ref()
    }

    /// Returns the generation of the last start that committed something.
    pub(crate) fn generation(&self) -> u64 {
        self.newest_first().next().map_or(0, |commit| commit.generation)
    }

    /// Returns the last committed range of a partition.
    pub(crate) fn last_range(&self, partition: &PartitionId) -> Option<&InputRange> {
        self.newest_first()
            .flat_map(|commit| &commit.inputs)
            .find(|input| input.partition_id() == *partition)
    }

    /// Returns every partition that a commit names.
    pub(crate) fn partitions(&self) -> Vec<PartitionId> {
        let mut partitions: Vec<_> = self
            .newest_first()
            .take(1)
            .flat_map(|commit| commit.inputs.iter().map(InputRange::partition_id))
            .collect();
        partitions.sort();
        partitions
    }

    pub(crate) fn commits(&self) -> &[CommitRecord] {
        &self.commits
    }
}

impl Expected {
    pub(crate) fn of(commit: &CommitRecord) -> Expected {
        let inputs = commit.inputs.iter();
        Expected {
            counts: inputs.map(|input| (input.partition_id(), input.counts)).collect(),
            views: commit.views.clone(),
        }
    }

    /// Returns the views of which other rows were derived than published.
    pub(crate) fn differing<'a>(&'a self, views: &'a BTreeMap<String, ViewTotals>) -> Vec<&'a str> {
        let nothing = ViewTotals::default();
        let names: BTreeSet<&'a String> = self.views.keys().chain(views.keys()).collect();
        let names = names.into_iter().filter(|name| {
            self.views.get(*name).unwrap_or(&nothing) != views.get(*name).unwrap_or(&nothing)
        });
        names.map(String::as_str).collect()
    }

    /// Compares what was derived again with what was published.
    pub(crate) fn compare(
        &self,
        counts: &BTreeMap<PartitionId, Counts>,
        views: &BTreeMap<String, ViewTotals>,
    ) -> Result<(), Differs> {
        let zero = Counts::default();
        for (partition, published) in &self.counts {
            let derived = counts.get(partition).unwrap_or(&zero);
            if derived != published {
                let text =
                    format!("partition {partition}: derived {derived:?}, published {published:?}");
                return Err(Differs { view: None, text });
            }
        }
        let Some(name) = self.differing(views).into_iter().next() else { return Ok(()) };
        let nothing = ViewTotals::default();
        let published = self.views.get(name).unwrap_or(&nothing);
        let derived = views.get(name).unwrap_or(&nothing);
        let text = format!(
            "view {name}: derived {} rows in, {} out, digest {}; published {} in, {} out, digest {}",
            derived.inserted,
            derived.retracted,
            derived.digest,
            published.inserted,
            published.retracted,
            published.digest,
        );
        let view = View::ALL.into_iter().find(|view| view.name() == name);
        Err(Differs { view, text })
    }
}

/// How an epoch that was derived again differs from what was published.
pub(crate) struct Differs {
    /// The view, where a view does.
    pub(crate) view: Option<View>,
    pub(crate) text: String,
}

/// Returns where a partition begins that no commit names.
pub(crate) fn beginning() -> Position {
    Position::default()
}
