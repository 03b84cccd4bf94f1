//! The committer: puts the shares of all workers together and publishes one commit an epoch, in
//! order; or, for an epoch that is committed already, compares.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use trueup_ledger::table::Row;
use trueup_ledger::{Counts, Epoch, PartitionId, Scale, Table, View};
use trueup_sinks::{
    CommitLog, CommitRecord, GENESIS, InputRange, SinkError, Store, ViewTotals, read_delta_file,
};

use super::replay::Expected;
use super::stager::{RangeRead, Share, Staged};
use super::worker::Closed;
use super::{Progress, RunError, Shared, Summary};

/// Publishes epochs.
pub(crate) struct Committer {
    pub(crate) log: Arc<CommitLog<Arc<dyn Store>>>,
    pub(crate) scale: Scale,
    pub(crate) generation: u64,
    pub(crate) configuration_hash: String,
    /// The rules as commits keep them.
    pub(crate) rules: Option<String>,
    pub(crate) partitions: Arc<[PartitionId]>,
    /// How many processes tell what their partitions gave.
    pub(crate) processes: usize,
    /// How many workers they have together.
    pub(crate) workers: usize,
    pub(crate) shared: Arc<Shared>,
}

/// What has come of an epoch so far.
#[derive(Default)]
struct Partial {
    cuts: Vec<(Closed, Vec<RangeRead>)>,
    expected: Option<Expected>,
    shares: Vec<Share>,
}

impl Partial {
    /// Puts the cuts of all processes together: one range for each of so many partitions, in order.
    /// `None` where they do not fit each other.
    fn whole_cut(&mut self, partitions: usize) -> Option<(Closed, Vec<RangeRead>)> {
        let (closed, mut ranges) = self.cuts.pop()?;
        for (other, more) in self.cuts.drain(..) {
            if other != closed {
                return None;
            }
            ranges.extend(more);
        }
        ranges.sort_by_key(|range| range.partition);
        let one_each = ranges.iter().map(|range| range.partition).eq(0..partitions);
        one_each.then_some((closed, ranges))
    }
}

/// An epoch of which everything has come.
struct Whole {
    closed: Closed,
    inputs: Vec<InputRange>,
    views: BTreeMap<String, ViewTotals>,
    files: Vec<trueup_sinks::FileEntry>,
    expected: Option<Expected>,
    counts: Counts,
    unknown_fields: u64,
    /// What was derived again, where all of it is here.
    derived: Option<Vec<Table>>,
}

impl Committer {
    /// Works until the intake says that there is no more, or the run has failed. `since` is the epoch
    /// that the state is of, `head` the last one that is committed already.
    pub(crate) fn run(
        &self,
        staged: &Receiver<Staged>,
        (since, head): (Epoch, Epoch),
        mut observe: impl FnMut(&Progress),
    ) -> Result<Summary, RunError> {
        let started = std::time::Instant::now();
        let mut partial: BTreeMap<Epoch, Partial> = BTreeMap::new();
        let mut summary = Summary { last_epoch: head, ..Summary::default() };
        let mut previous = self.log.head()?.map_or_else(|| GENESIS.to_owned(), |(_, hash)| hash);
        let mut next = Epoch(since.0 + 1);
        let mut end = None;
        while end.is_none_or(|end| next <= end) {
            match staged.recv_timeout(std::time::Duration::from_millis(100)) {
                Ok(Staged::Share(epoch, share)) => {
                    partial.entry(epoch).or_default().shares.push(share);
                }
                Ok(Staged::Cut(closed, ranges, expected)) => {
                    let partial = partial.entry(closed.epoch).or_default();
                    partial.cuts.push((closed, ranges));
                    partial.expected = partial.expected.take().or(expected);
                }
                Ok(Staged::End(epoch)) => end = Some(epoch),
                Err(RecvTimeoutError::Timeout) if !self.shared.has_failed() => {}
                // Whoever is gone has said why.
                Err(_) => return Ok(summary),
            }
            while let Some(whole) = self.take_whole(&mut partial, next)? {
                let progress = Progress {
                    epoch: next,
                    committed: !whole.closed.replay,
                    counts: whole.counts,
                    rows: whole.views.values().map(|sums| sums.inserted + sums.retracted).sum(),
                };
                summary.unknown_fields += whole.unknown_fields;
                if whole.closed.replay {
                    summary.replayed.add(whole.counts);
                    self.compare(&whole)?;
                    if next == head {
                        summary.replay_elapsed = started.elapsed();
                    }
                } else {
                    previous = self.publish(whole, previous)?;
                    summary.counts.add(progress.counts);
                    summary.epochs += 1;
                    summary.last_epoch = next;
                }
                self.shared.committed_through(next);
                observe(&progress);
                next = Epoch(next.0 + 1);
            }
        }
        Ok(summary)
    }

    fn take_whole(
        &self,
        partial: &mut BTreeMap<Epoch, Partial>,
        epoch: Epoch,
    ) -> Result<Option<Whole>, RunError> {
        let complete = partial.get(&epoch).is_some_and(|epoch| {
            epoch.cuts.len() == self.processes && epoch.shares.len() == self.workers
        });
        if !complete {
            return Ok(None);
        }
        let mut partial = partial.remove(&epoch).unwrap_or_default();
        let Some((closed, ranges)) = partial.whole_cut(self.partitions.len()) else {
            return Err(RunError::Failed(format!(
                "epoch {epoch}: the processes closed it differently; nothing was published, this \
                 is a bug"
            )));
        };
        let Partial { expected, shares, .. } = partial;
        let mut counts: Vec<Counts> =
            ranges.iter().map(|range| Counts { read: range.read, ..Counts::default() }).collect();
        let mut whole = Whole {
            closed,
            inputs: Vec::new(),
            views: BTreeMap::new(),
            files: Vec::new(),
            expected,
            counts: Counts::default(),
            unknown_fields: 0,
            derived: Some(Vec::new()),
        };
        for share in shares {
            let tables = whole.derived.take().zip(share.derived);
            whole.derived = tables.map(|(mut all, own)| {
                all.extend(own);
                all
            });
            for (partition, accepted) in share.accepted {
                let counts = &mut counts[partition as usize];
                counts.applied += accepted.applied;
                counts.duplicate += accepted.duplicate;
            }
            for (partition, rejected) in share.rejected {
                counts[partition].quarantined += rejected;
            }
            for (name, sums) in share.views {
                whole.views.entry(name).or_default().add(&sums, self.scale)?;
            }
            whole.files.extend(share.files);
            whole.unknown_fields += share.unknown_fields;
        }
        whole.files.sort_by(|a, b| a.path.cmp(&b.path));
        for ((partition, range), counts) in self.partitions.iter().zip(ranges).zip(counts) {
            if !counts.balances() {
                return Err(RunError::Failed(format!(
                    "epoch {epoch}, partition {partition}: {counts:?} does not add up; nothing \
                     was published, this is a bug"
                )));
            }
            whole.counts.add(counts);
            whole.inputs.push(InputRange {
                source: partition.source.to_string(),
                partition: partition.partition.to_string(),
                from: range.from,
                to: range.to,
                counts,
                fingerprint: range.fingerprint,
                caught_up: range.caught_up,
            });
        }
        Ok(Some(whole))
    }

    fn publish(&self, whole: Whole, previous: String) -> Result<String, RunError> {
        let Whole { closed, inputs, views, files, .. } = whole;
        let record = CommitRecord {
            generation: self.generation,
            inputs,
            files,
            views,
            amount_scale: self.scale.digits(),
            configuration_hash: self.configuration_hash.clone(),
            rules: self.rules.clone(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..CommitRecord::new(closed.epoch, previous, closed.epoch_time_micros)
        };
        Ok(self.log.append(&record)?.hash)
    }

    /// Compares an epoch that was derived again with what was published.
    fn compare(&self, whole: &Whole) -> Result<(), RunError> {
        let Some(expected) = &whole.expected else {
            return Ok(());
        };
        let epoch = whole.closed.epoch;
        let inputs = whole.inputs.iter();
        let counts = inputs.map(|input| (input.partition_id(), input.counts)).collect();
        let Err(differs) = expected.compare(&counts, &whole.views) else {
            return Ok(());
        };
        if differs.view.is_some() {
            self.check_same_views(epoch, &expected.differing(&whole.views))?;
        }
        let row = match (differs.view, &whole.derived) {
            (Some(view), Some(derived)) => self.differing_row(epoch, view, derived),
            _ => String::new(),
        };
        Err(RunError::Difference(format!(
            "epoch {epoch}, {}{row}; the log or the store was changed, or another version of trueup \
             wrote it; find the first bad commit with `trueup verify`",
            differs.text
        )))
    }

    /// Tells where the views that differ are those that no commit has: then nothing was changed, and
    /// the store is older than they are.
    fn check_same_views(&self, epoch: Epoch, differing: &[&str]) -> Result<(), RunError> {
        let Some((head, _)) = self.log.head()? else { return Ok(()) };
        for commit in self.log.iter(Epoch(1), head) {
            if commit?.views.keys().any(|name| differing.contains(&name.as_str())) {
                return Ok(());
            }
        }
        let views = if differing.len() == 1 { "view" } else { "views" };
        Err(RunError::Difference(format!(
            "epoch {epoch}: this store was written by a version without the {views} {}; make a new \
             store from the log",
            differing.join(", ")
        )))
    }

    /// Says which is the first row of a view that was published otherwise than derived.
    fn differing_row(&self, epoch: Epoch, view: View, derived: &[Table]) -> String {
        let published = match self.published(epoch, view) {
            Ok(published) => published,
            Err(error) => return format!("; what was published cannot be read: {error}"),
        };
        let mut rows: BTreeMap<Row, [Vec<i8>; 2]> = BTreeMap::new();
        let derived = derived.iter().filter(|table| table.view() == view);
        let tables = published.iter().map(|table| (0, table));
        for (side, table) in tables.chain(derived.map(|table| (1, table))) {
            for (row, diff) in table.diffs().iter().enumerate() {
                rows.entry(table.row(row)).or_default()[side].push(*diff);
            }
        }
        rows.values_mut().flatten().for_each(|diffs| diffs.sort_unstable());
        let Some((row, [published, derived])) = rows.iter().find(|(_, [a, b])| a != b) else {
            return "; no row differs, only what the commit says of them".to_owned();
        };
        let row: Vec<_> = row.iter().map(|value| value.display(self.scale)).collect();
        format!(
            "; first in row ({}): published with diffs {published:?}, derived with {derived:?}",
            row.join(", ")
        )
    }

    /// Reads the rows that an epoch has published of a view.
    fn published(&self, epoch: Epoch, view: View) -> Result<Vec<Table>, SinkError> {
        let commit = self.log.read(epoch)?;
        let mut tables = Vec::new();
        for file in commit.files.iter().filter(|file| file.view == view.name()) {
            let store = &**self.log.store();
            tables.extend(read_delta_file(store, file, epoch, view, self.scale)?);
        }
        Ok(tables)
    }
}
