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
