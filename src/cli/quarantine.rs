//! The arguments of `trueup quarantine`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use trueup_ledger::Epoch;

use super::{OutputFormat, epoch};

/// `trueup quarantine`
#[derive(Debug, Args)]
pub struct QuarantineArgs {
    /// What to do
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// What there is to do with quarantined records.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Count them by reason, with an example of each, or list each of them
    #[command(after_help = "\
EXAMPLE
  trueup quarantine list --store books
  trueup quarantine list --store books --each --source live --format csv

Quarantined less redriven is open. What is quarantined is compared with what the commits count,
what is redriven with what is quarantined; a difference ends with 1.")]
    List(QuarantineListArgs),
    /// Show one, with its bytes
    #[command(after_help = "\
EXAMPLE
  trueup quarantine show --store books --partition live/0 --position 000001.jsonl@4711
  trueup quarantine show --store books --partition live/0 --position 000001.jsonl@4711 --raw > r.json

Partition and position are those of `trueup quarantine list`.")]
    Show(QuarantineShowArgs),
    /// Let records be read again: one, mended or as it is, or all of a reason after a fix
    #[command(after_help = "\
EXAMPLE
  trueup quarantine show --store books --partition live/0 --position 000001.jsonl@4711 --raw > r.json
  trueup quarantine redrive --store books --partition live/0 --position 000001.jsonl@4711 \\
    --with r.json --by ada --why 'amount was a number, ticket 311'
  trueup quarantine redrive --store books --reason bad_type --by ada --why 'trueup 0.2' --dry-run

Each record can be redriven once. The next `trueup run`, or the one that is running, reads it from
the store as a record of the source `redrive`. What this program would only quarantine again is
refused, and then nothing is written.")]
    Redrive(QuarantineRedriveArgs),
}

/// `trueup quarantine list`
#[derive(Debug, Args)]
pub struct QuarantineListArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// List each record
    #[arg(long)]
    pub each: bool,
    /// Only those with this reason
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// Only those of this source
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Only those that were not redriven
    #[arg(long)]
    pub open: bool,
    /// The epoch to look at [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
    /// What the output looks like
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// `trueup quarantine show`
#[derive(Debug, Args)]
pub struct QuarantineShowArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// The partition, with its source before it
    #[arg(long, value_name = "SOURCE/PARTITION")]
    pub partition: String,
    /// The position in the partition
    #[arg(long, value_name = "POSITION")]
    pub position: String,
    /// Print nothing but the record's bytes, as they are
    #[arg(long)]
    pub raw: bool,
}

/// `trueup quarantine redrive`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["position", "reason", "all"])))]
pub struct QuarantineRedriveArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// The partition of the one record, with its source before it
    #[arg(long, value_name = "SOURCE/PARTITION", requires = "position")]
    pub partition: Option<String>,
    /// The position of the one record in the partition
    #[arg(long, value_name = "POSITION", requires = "partition")]
    pub position: Option<String>,
    /// All open records with this reason, as they are
    #[arg(long, value_name = "CODE")]
    pub reason: Option<String>,
    /// All open records, as they are
    #[arg(long)]
    pub all: bool,
    /// The bytes to read in place of the one record, - for standard input
    #[arg(long, value_name = "FILE", requires = "position")]
    pub with: Option<PathBuf>,
    /// Who wants it; kept with each record
    #[arg(long, value_name = "NAME", value_parser = stated)]
    pub by: String,
    /// Why; kept with each record
    #[arg(long, value_name = "TEXT", value_parser = stated)]
    pub why: String,
    /// Say what would happen, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Leave those open that would only be quarantined again
    #[arg(long, conflicts_with = "force")]
    pub accepted_only: bool,
    /// Redrive those as well that would only be quarantined again
    #[arg(long)]
    pub force: bool,
    /// What the output looks like
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// Reads a text that somebody has to be able to make sense of later.
fn stated(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
