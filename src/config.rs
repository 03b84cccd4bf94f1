//! The configuration: `trueup.toml`, or the flags that stand in for it.
//!
//! Guarantees:
//! - A [`Config`] is valid: every value is parsed and in its range. Whether paths and servers can
//!   be reached is another question, which `trueup check` and the run itself ask.
//! - All mistakes of a file are reported at once, each with its key, line, value and remedy. Keys
//!   that are not known are mistakes, so a misspelt one never silently means a default.
//! - Nothing is read from the environment; a relative path in a file is relative to that file. Which
//!   process of a cluster this is does not belong to the configuration, which is one file for all.
//! - Nothing is read from the environment; a relative path in a file is relative to that file.
//!   The exception is a store in object storage: its credentials are never in a file of trueup's but
//!   in the standard `AWS_…` variables or given by the machine, and the endpoint and the region are
//!   taken from there as well where the file is silent. They are read when the store is opened.
//!
//! What the rows of the views depend on is hashed into every commit, so that a store is never
//! continued with another meaning: see [`Config::hash`].

mod bucket;
mod cluster;
mod error;
mod file;
mod kafka;
pub mod rules;
pub mod value;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trueup_ledger::{Rules, Scale};
use trueup_sinks::record::sha256_hex;

pub use cluster::{ClusterConfig, TlsConfig};
pub use error::{ConfigError, ConfigErrors, Invalid};
pub use rules::RuleFlags;
pub use value::StoreLocation;

/// The commit interval where none is given.
pub const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// How many records end an epoch sooner, where nothing is said.
pub const COMMIT_MAX_RECORDS_DEFAULT: u64 = 300_000;
/// The largest number of records of an epoch: it must fit memory.
pub const COMMIT_MAX_RECORDS_MAX: u64 = 100_000_000;
/// How much memory state takes at most, where nothing is said: 2 GiB.
pub const MEMORY_LIMIT_DEFAULT: u64 = 2 << 30;
/// The least memory that state can work with: 64 MiB.
pub const MEMORY_LIMIT_MIN: u64 = 64 << 20;
/// How long after one checkpoint the next is taken, where nothing is said.
pub const CHECKPOINT_INTERVAL_DEFAULT: Duration = Duration::from_secs(15);
/// The largest number of worker threads.
pub const WORKERS_MAX: usize = 1024;
/// The name of the source that `--input` makes.
pub const INPUT_NAME: &str = "input";

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where epochs are committed.
    pub store: StoreLocation,
    /// The fraction digits of amounts.
    pub amount_scale: Scale,
    /// The number of worker threads, 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// How long an epoch lasts, 10 ms to 1 h.
    pub commit_interval: Duration,
    /// How many records end an epoch sooner, 1 to [`COMMIT_MAX_RECORDS_MAX`].
    pub commit_max_records: u64,
    /// Where state is kept on this machine.
    pub state: StateConfig,
    /// The sources, at least one, with different names.
    pub sources: Vec<SourceConfig>,
    /// The other processes, where there are any.
    pub cluster: Option<ClusterConfig>,
    /// What rows depend on beside events and `amount_scale`.
    pub rules: Rules,
}

/// Where state is kept, and how much memory it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// A directory for it alone.
    pub directory: PathBuf,
    /// About how much memory it takes at most, [`MEMORY_LIMIT_MIN`] bytes or more.
    pub memory_limit: u64,
    /// How long after one checkpoint the next is taken at the latest, 10 ms to 1 h.
    pub checkpoint_interval: Duration,
}

impl StateConfig {
    /// Returns what holds where nothing is said, for a store; `base` is where relative paths begin.
    #[must_use]
    pub fn beside(store: &StoreLocation, base: &Path) -> StateConfig {
        let directory = match store {
            StoreLocation::Directory(path) => path.join("state"),
            StoreLocation::Bucket(bucket) => {
                base.join("trueup-state").join(&bucket.bucket).join(&bucket.prefix)
            }
        };
        StateConfig {
            directory,
            memory_limit: MEMORY_LIMIT_DEFAULT,
            checkpoint_interval: CHECKPOINT_INTERVAL_DEFAULT,
        }
    }
}

/// A source of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The name, which commits keep positions under: renaming a source makes it another one.
    pub name: String,
    /// Where its records are.
    pub transport: TransportConfig,
    /// What they are written in.
    pub format: FormatConfig,
    /// Whether it takes only what live sources leave of an epoch.
    pub backfill: bool,
}

/// Where records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportConfig {
    /// A local log, or a plain `.jsonl` file.
    LocalLog {
        /// The directory or file.
        path: PathBuf,
    },
    /// A Kafka topic.
    Kafka {
        /// `host:port`, with commas between.
        brokers: String,
        /// The topic.
        topic: String,
        /// Whether a first run may begin behind records that retention has removed.
        from_oldest: bool,
        /// What librdkafka is told besides.
        properties: Properties,
    },
}

/// What records are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FormatConfig {
    /// One JSON object a record.
    #[default]
    Json,
}

/// Properties of librdkafka, in the order of their names. They may hold passwords, so only the
/// names are ever printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(String, String)>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The flags that stand in for a file.
#[derive(Clone, Debug)]
pub struct Flags {
    /// `--store`
    pub store: String,
    /// `--input`
    pub input: PathBuf,
    /// `--workers`
    pub workers: Option<usize>,
    /// `--amount-scale`
    pub amount_scale: Option<Scale>,
    /// `--commit-interval`
    pub commit_interval: Option<Duration>,
    /// `--commit-max-records`
    pub commit_max_records: Option<u64>,
    /// `--state`
    pub state: Option<PathBuf>,
    /// `--memory-limit`
    pub memory_limit: Option<u64>,
    /// `--checkpoint-interval`
    pub checkpoint_interval: Option<Duration>,
    /// The rules that rows depend on.
    pub rules: RuleFlags,
}

impl Config {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// [`ConfigErrors`] with everything that is wrong, or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let origin = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| ConfigErrors {
            origin: origin.clone(),
            errors: vec![ConfigError {
                key: String::new(),
                line: None,
                problem: format!("it cannot be read: {error}"),
                remedy: "name a file like trueup.example.toml with -c".to_owned(),
            }],
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        Config::parse(&text, base).map_err(|errors| ConfigErrors { origin, errors })
    }

    /// Parses the text of a file; relative paths are taken from `base`.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn parse(text: &str, base: &Path) -> Result<Config, Vec<ConfigError>> {
        file::parse(text, base)
    }

    /// Builds the same from flags, with one source named [`INPUT_NAME`].
    ///
    /// # Errors
    /// [`ConfigErrors`] where the store is not one, or the rules contradict themselves.
    pub fn from_flags(flags: Flags) -> Result<Config, ConfigErrors> {
        let wrong = |errors| ConfigErrors { origin: "the command line".to_owned(), errors };
        let store = value::store(&flags.store, Path::new("")).map_err(|invalid| {
            let Invalid { problem, remedy } = invalid;
            wrong(vec![ConfigError { key: "--store".to_owned(), line: None, problem, remedy }])
        })?;
        let rules = flags.rules.rules().map_err(wrong)?;
        let mut state = StateConfig::beside(&store, Path::new(""));
        state.directory = flags.state.unwrap_or(state.directory);
        state.memory_limit = flags.memory_limit.unwrap_or(state.memory_limit);
        state.checkpoint_interval = flags.checkpoint_interval.unwrap_or(state.checkpoint_interval);
        Ok(Config {
            store,
            state,
            amount_scale: flags.amount_scale.unwrap_or_default(),
            workers: flags.workers.unwrap_or_else(workers_default),
            commit_interval: flags.commit_interval.unwrap_or(COMMIT_INTERVAL_DEFAULT),
            commit_max_records: flags.commit_max_records.unwrap_or(COMMIT_MAX_RECORDS_DEFAULT),
            sources: vec![SourceConfig {
                name: INPUT_NAME.to_owned(),
                transport: TransportConfig::LocalLog { path: flags.input },
                format: FormatConfig::Json,
                backfill: false,
            }],
            cluster: None,
            rules,
        })
    }

    /// Returns the hash that commits keep, over what the meaning of rows depends on: `amount_scale`
    /// and, where they have a text, the rules. Workers, intervals, paths, brokers and the list of
    /// sources may change between two runs on one store without changing a row, so they are not in
    /// it.
    #[must_use]
    pub fn hash(&self) -> String {
        let rules = crate::rules::text(&self.rules);
        let rules = rules.map_or_else(String::new, |rules| format!(",\"rules\":{rules}"));
        let meaning = format!("{{\"amount_scale\":{}{rules}}}", self.amount_scale.digits());
        sha256_hex(meaning.as_bytes())
    }

    /// Returns the hash of what all processes of a cluster must be configured alike in, beside
    /// `workers`, which they tell each other in clear. Paths may differ between machines.
    #[must_use]
    pub fn agreement(&self) -> String {
        let mut text = format!(
            "{} {:?} {} {:?}",
            self.amount_scale.digits(),
            self.commit_interval,
            self.commit_max_records,
            self.cluster.as_ref().map(|cluster| &cluster.hosts),
        );
        for source in &self.sources {
            let from = match &source.transport {
                TransportConfig::LocalLog { .. } => "local_log",
                TransportConfig::Kafka { topic, .. } => topic,
            };
            text.push_str(&format!(" {:?} {from:?} {}", source.name, source.backfill));
        }
        text.extend(crate::rules::text(&self.rules));
        sha256_hex(text.as_bytes())
    }
}

/// Returns the number of cores that this process may use.
#[must_use]
pub fn workers_default() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX)
}

#[cfg(test)]
mod tests;
