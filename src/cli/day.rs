//! The arguments of the commands for the end of a day: `ready`, `alerts` and `reconcile`.

use clap::{Args, ValueEnum};
use trueup_ledger::Epoch;

use super::{OutputFormat, date, epoch};

/// What a report looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Table,
    /// JSON
    Json,
}

/// Detectors whose imbalances can be accepted: all whose rows are reasons why a day is not ready.
const ACCEPTABLE: [&str; 14] = [
    "unbalanced_transaction",
    "shard_imbalance",
    "trial_imbalance",
    "orphan",
    "conflict",
    "over_reversed",
    "over_refunded",
    "over_captured",
    "hold_already_resolved",
    "overdraft",
    "control_total_mismatch",
    "stuck_hold",
    "delayed_event",
    "late_into_closed_period",
];

/// Those whose imbalances other reasons tell, from the view that says more of them.
pub(crate) const TOLD_ELSEWHERE: [&str; 2] = ["sequence_gap", "statement_mismatch"];

fn acceptable(text: &str) -> Result<String, String> {
    if ACCEPTABLE.contains(&text) {
        return Ok(text.to_owned());
    }
    let known = ACCEPTABLE.join(", ");
    Err(match TOLD_ELSEWHERE.contains(&text) {
        true => format!("what it finds is told by a reason of its own; write one of {known}"),
        false => format!("write one of {known}"),
    })
}

/// `trueup ready`
#[derive(Debug, Args)]
pub struct ReadyArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// The tenant
    #[arg(long, value_name = "T")]
    pub tenant: String,
    /// The day, UTC
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub date: i32,
    /// The epoch to look at [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
    /// Imbalances of this detector are no reason; can be given several times
    #[arg(long, value_name = "DETECTOR", value_parser = acceptable)]
    pub accept: Vec<String>,
    /// What the output looks like
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
}

/// `trueup alerts`
#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// Only those of this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<String>,
    /// The commit to begin with [default: the first]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub from: Option<Epoch>,
    /// Go on with each new commit until stopped
    #[arg(long)]
    pub follow: bool,
    /// What the output looks like; JSON is one object a line
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
}

/// `trueup reconcile`
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// The tenant
    #[arg(long, value_name = "T")]
    pub tenant: String,
    /// Only this processor
    #[arg(long, value_name = "P")]
    pub processor: Option<String>,
    /// The day to which ages are counted, UTC [default: that of the epoch]
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub date: Option<i32>,
    /// The epoch to look at [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
    /// What the output looks like
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detector_of_the_specification_is_known() {
        let specification = include_str!("../../docs/specification.md");
        let (_, named) = specification.split_once("- Detectors: ").unwrap();
        let (named, _) = named.split_once(". A row goes").unwrap();
        let mut named: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        let mut known = [ACCEPTABLE.as_slice(), &TOLD_ELSEWHERE].concat();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }
}
