//! `trueup bench`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::workers;
use crate::config::value;

/// `trueup bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure [default: load latency corrections restart, about four minutes]
    #[arg(value_enum)]
    pub scenarios: Vec<Scenario>,
    /// How many events the runs of load, kafka, restart and scale read
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u64).range(100..=1 << 40))]
    pub events: u64,
    /// How often each contestant runs
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub runs: u32,
    /// What the events are drawn from
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The numbers of workers to compare; the last is used where they are not compared
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2],
          value_parser = workers)]
    pub workers: Vec<usize>,
    /// The numbers of processes, of one worker each, to compare with one process; 1 for none
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [2],
          value_parser = workers)]
    pub processes: Vec<usize>,
    /// The sizes of records to compare; the first is used where they are not compared
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1_024, 4_096],
          value_parser = clap::value_parser!(u32).range(1..1 << 20))]
    pub record_bytes: Vec<u32>,
    /// How many events a second latency is measured at
    #[arg(long, value_name = "N,…", value_delimiter = ',',
          default_values_t = [5_000, 25_000, 100_000],
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rates: Vec<u64>,
    /// For how long latency is measured at each rate
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// How many events come before the corrections
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [100, 1_000_000],
          value_parser = clap::value_parser!(u64).range(100..=1 << 40))]
    pub corrections_after: Vec<u64>,
    /// How many accounts the contestant of scale with many of them has
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    pub many_accounts: u64,
    /// The commit_interval of the runs, as for `run` [default: that of `run`; for corrections 10ms]
    #[arg(long, value_name = "TIME", value_parser = value::commit_interval)]
    pub commit_interval: Option<Duration>,
    /// The memory_limit of the runs, as for `run` [default: that of `run`]
    #[arg(long, value_name = "SIZE", value_parser = memory_limit)]
    pub memory_limit: Option<String>,
    /// A broker for the scenario kafka, as 127.0.0.1:9092
    #[arg(long, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Print every run as JSON on standard output, not tables
    #[arg(long)]
    pub json: bool,
    /// Write bench.json and a plot of each scenario into this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where to work and to leave the last stores, a directory that does not exist yet
    /// [default: a new temporary one; let it be on the disk that is to be measured]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A local log read to its end: workers, processes, sizes of records
    Load,
    /// The same from a Kafka topic that is made, filled and deleted; needs --kafka
    Kafka,
    /// From the moment a record was to be appended to the commit that has it, at fixed rates
    Latency,
    /// What a correction of an old transaction takes, after few and after many
    Corrections,
    /// From the start after a kill -9 to the first new commit
    Restart,
    /// How the speed goes over a long load, evenly, with hot keys, and with many accounts
    Scale,
}

impl BenchArgs {
    /// What is measured where nothing is said.
    pub const USUAL: [Scenario; 4] =
        [Scenario::Load, Scenario::Latency, Scenario::Corrections, Scenario::Restart];
}

/// Checks a size and keeps it as it is, since the runs read it.
fn memory_limit(text: &str) -> Result<String, String> {
    value::memory_limit(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
