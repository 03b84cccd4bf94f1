//! Whether all of the log of a day is in the commits. The time of a commit says when it was made, and
//! a run that has much to catch up with makes today's commits of last week's records.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use trueup_ledger::PartitionId;
use trueup_sinks::InputRange;

use super::Question;
use super::reasons::Reason;

/// The most partitions that are named.
const NAMED_MAX: usize = 5;

/// Returns a reason for every source of which a partition has not been read to its end since the day
/// was over. Each can have been so in a commit of its own: what comes behind it is of a later day.
pub(super) fn reasons(asked: &Question<'_>, day_end: i64) -> anyhow::Result<Vec<Reason>> {
    let log = &asked.opened.log;
    let mut epoch = asked.epoch;
    let mut commit = log.read(epoch).context("reading the commits")?;
    // No partition that a commit has read from is left out of a later one.
    let mut missing: BTreeSet<PartitionId> =
        commit.inputs.iter().map(InputRange::partition_id).collect();
    while commit.epoch_time_micros >= day_end && !missing.is_empty() {
        for input in commit.inputs.iter().filter(|input| input.caught_up) {
            missing.remove(&input.partition_id());
        }
        if epoch.0 == 1 {
            break;
        }
        epoch.0 -= 1;
        commit = log.read(epoch).context("reading the commits")?;
    }
    let mut by_source: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for partition in missing {
        by_source.entry(partition.source.to_string()).or_default().push(partition.to_string());
    }
    let reason = |(source, partitions): (String, Vec<String>)| {
        let more = if partitions.len() > NAMED_MAX { " and others" } else { "" };
        let named = partitions[..partitions.len().min(NAMED_MAX)].join(", ");
        Reason {
            reason: "behind",
            subject: source,
            count: partitions.len() as u64,
            what: format!("not read to the end since the day was over: {named}{more}"),
            show: asked.again(),
        }
    };
    Ok(by_source.into_iter().map(reason).collect())
}
