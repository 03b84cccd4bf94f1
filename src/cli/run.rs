//! `trueup run`: what to read and where to commit, by a file or by flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use trueup_ledger::Scale;

use super::{RuleArgs, process, scale, workers};
use crate::config::{COMMIT_MAX_RECORDS_MAX, Config, ConfigErrors, Flags, value};

/// `trueup run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to commit: a directory, a file:// or an s3:// URL, in place of a file
    #[arg(
        long,
        value_name = "DIR|URL",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    pub store: Option<String>,
    /// What to read: a local log or a .jsonl file, in place of a file
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    pub input: Option<PathBuf>,
    /// Worker threads [default: the number of cores]
    #[arg(long, value_name = "N", conflicts_with = "config", value_parser = workers)]
    pub workers: Option<usize>,
    /// Fraction digits of amounts, 0 to 18 [default: 9]
    #[arg(long, value_name = "S", conflicts_with = "config", value_parser = scale)]
    pub amount_scale: Option<Scale>,
    /// How long an epoch lasts, 10ms to 1h [default: 1s]
    #[arg(long, value_name = "TIME", conflicts_with = "config",
          value_parser = value::commit_interval)]
    pub commit_interval: Option<Duration>,
    /// How many records end an epoch sooner [default: 300000]
    #[arg(long, value_name = "N", conflicts_with = "config",
          value_parser = clap::value_parser!(u64).range(1..=COMMIT_MAX_RECORDS_MAX))]
    pub commit_max_records: Option<u64>,
    /// Where to keep state, on a local disk [default: state, within the store]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub state: Option<PathBuf>,
    /// About how much memory state may take, as 512MiB or 4GiB [default: 2GiB]
    #[arg(long, value_name = "SIZE", conflicts_with = "config", value_parser = value::memory_limit)]
    pub memory_limit: Option<u64>,
    /// How long after one checkpoint the next is taken, 10ms to 1h [default: 15s]
    #[arg(long, value_name = "TIME", conflicts_with = "config",
          value_parser = value::commit_interval)]
    pub checkpoint_interval: Option<Duration>,
    /// What rows depend on.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// End once everything is committed that was there at the start
    #[arg(long)]
    pub until_caught_up: bool,
    /// Which process of the cluster this is: its place in `cluster.hosts`, from 0, or a name that
    /// ends with it, as `ledger-2`
    #[arg(long, value_name = "N", env = "TRUEUP_PROCESS", value_parser = process)]
    pub process: Option<usize>,
    /// Start again after a failure, at first a second later, then after longer and longer pauses
    #[arg(long)]
    pub supervise: bool,
    /// Set by `--supervise` for the run that it starts.
    #[arg(long, hide = true, conflicts_with = "supervise")]
    pub supervised: bool,
    /// Print the final summary as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// Builds the configuration of the file or of the flags.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn configuration(&self) -> Result<Config, ConfigErrors> {
        match (&self.config, &self.store, &self.input) {
            (None, Some(store), Some(input)) => Config::from_flags(Flags {
                store: store.clone(),
                input: input.clone(),
                workers: self.workers,
                amount_scale: self.amount_scale,
                commit_interval: self.commit_interval,
                commit_max_records: self.commit_max_records,
                state: self.state.clone(),
                memory_limit: self.memory_limit,
                checkpoint_interval: self.checkpoint_interval,
                rules: self.rules.flags(),
            }),
            (file, ..) => Config::load(file.as_deref().unwrap_or(Path::new("trueup.toml"))),
        }
    }
}
