//! `trueup generate`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::partitions;

/// `trueup generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// How many records to write, duplicates and broken ones included
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub events: u64,
    /// What decides everything that is left to chance: the same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The file to write, or - for standard output
    #[arg(long, value_name = "FILE", default_value = "-", conflicts_with = "into")]
    pub out: PathBuf,
    /// The local log to append to instead
    #[arg(long, value_name = "LOG")]
    pub into: Option<PathBuf>,
    /// How many partitions a new log gets
    #[arg(long, value_name = "N", default_value_t = 1, requires = "into", value_parser = partitions)]
    pub partitions: usize,
    /// How many tenants share the stream
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub tenants: u32,
    /// What the stream is like
    #[arg(long, value_enum, default_value_t = WorkloadName::Hostile)]
    pub workload: WorkloadName,
    /// Leave out the records that must be quarantined
    #[arg(long)]
    pub no_poison: bool,
    /// Close months too, and open some again. What came to a month after its closing depends on when
    /// it was closed, so two runs that cut other epochs differ in it
    #[arg(long)]
    pub periods: bool,
    /// The shape of a ledger workload.
    #[command(flatten)]
    pub ledger: LedgerArgs,
}

/// What a stream is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkloadName {
    /// Realistic and hostile: every kind of event, late, twice, in conflict, broken
    Hostile,
    /// For benchmarks: postings, their corrections, reversals and refunds, each once and in order,
    /// so that other programs can compute the same balances
    Ledger,
}

/// The shape of a ledger workload
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of --workload ledger")]
pub struct LedgerArgs {
    /// How many bytes a record has, without its newline [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..1 << 20))]
    pub record_bytes: Option<u32>,
    /// How many accounts all tenants have together [default: 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub accounts: Option<u64>,
    /// Over how many days before the first record the effective dates are spread [default: 90]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: Option<u32>,
    /// Post to one account in every event, which thus all are of one tenant
    #[arg(long, conflicts_with = "hot_tenant")]
    pub hot_account: bool,
    /// Give one tenant 90 % of the events
    #[arg(long)]
    pub hot_tenant: bool,
    /// Write corrections only, of any transactions of the first N records that are generated with
    /// the same options but this
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub corrections_of: Option<u64>,
}

impl LedgerArgs {
    /// Says whether anything was asked for.
    #[must_use]
    pub fn is_given(&self) -> bool {
        let numbers = self.record_bytes.is_some() || self.accounts.is_some() || self.days.is_some();
        numbers || self.hot_account || self.hot_tenant || self.corrections_of.is_some()
    }
}
