//! The command line: what can be asked for, with help and an example for each command.
//!
//! Values are parsed by the same functions as those of the configuration file.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use trueup_ledger::{Epoch, Scale, View};

mod bench;
mod day;
mod generate;
mod plan;
mod quarantine;
mod rules;
mod run;

pub use bench::{BenchArgs, Scenario};
pub(crate) use day::TOLD_ELSEWHERE;
pub use day::{AlertsArgs, ReadyArgs, ReconcileArgs, ReportFormat};
pub use generate::{GenerateArgs, LedgerArgs, WorkloadName};
pub use plan::PlanArgs;
pub use quarantine::{
    QuarantineArgs, QuarantineCommand, QuarantineListArgs, QuarantineRedriveArgs,
    QuarantineShowArgs,
};
pub use rules::RuleArgs;
pub use run::RunArgs;

use crate::config::{WORKERS_MAX, value};

/// Keeps financial books true while they change.
///
/// trueup reads a log of financial events, keeps every derived figure up to date, and publishes
/// exact changes: corrections, reversals and refunds included, however late, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "trueup",
    version,
    propagate_version = true,
    after_help = "\
EXAMPLE
  trueup generate --events 100000 --seed 1 --out events.jsonl
  trueup run --store books --input events.jsonl --until-caught-up
  trueup query balances --store books --limit 20
  trueup verify --store books --input events.jsonl

Exit codes: 0 done, 1 found a difference, 2 bad usage or configuration, 3 fenced by another
writer, 4 a source or sink failed for good."
)]
pub struct Cli {
    /// Say more on standard error; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show on this machine what trueup does: a late correction ripples through the books
    #[command(after_help = "EXAMPLE\n  trueup demo")]
    Demo(DemoArgs),
    /// Generate a workload of events: a realistic and hostile one, or one for benchmarks
    #[command(after_help = "\
EXAMPLE
  trueup generate --events 1000000 --seed 7 --out events.jsonl
  trueup generate --events 1000000 --into log --partitions 4
  trueup generate --events 1000000 --workload ledger --record-bytes 4096 --out events.jsonl")]
    Generate(GenerateArgs),
    /// Append JSONL to a local log, durably, each record to the partition of its transaction
    #[command(after_help = "\
EXAMPLE
  trueup append log monday.jsonl tuesday.jsonl
  zcat archive.jsonl.gz | trueup append log - --partitions 4")]
    Append(AppendArgs),
    /// Read the sources and commit epochs to the store until stopped
    #[command(after_help = "\
EXAMPLE
  trueup run -c trueup.toml
  trueup run --store books --input events.jsonl --until-caught-up
  trueup run -c trueup.toml --process 1 --supervise

The first Ctrl-C (or SIGTERM) commits the open epoch and ends; a second one ends at once. Either
is safe: the next run goes on behind the last commit.")]
    Run(RunArgs),
    /// Show a view's rows at a committed epoch, from the committed files alone
    #[command(after_help = "\
EXAMPLE
  trueup query balances --store books --tenant acme
  trueup query imbalances --store books --where severity=critical
  trueup query trial_balance --store books --epoch 12 --format csv
  trueup query balances --store books --as-of-date 2026-10-31 --epoch 12

With --as-of-date only lines count whose effective date (UTC) is not later, as they are known at the
epoch: what the books said of that day at that commit. It is for postings, balances, daily_movements
and trial_balance; the rows of the other views are of no day.")]
    Query(QueryArgs),
    /// Print an order-independent digest of every view: equal books have equal digests
    #[command(after_help = "EXAMPLE\n  trueup digest --store books --epoch 12")]
    Digest(DigestArgs),
    /// Recompute everything from the log by the reference, and compare it with the store
    #[command(after_help = "\
EXAMPLE
  trueup verify --store books --input events.jsonl
  trueup verify -c trueup.toml --epoch 12

Checks the hash chain of commits, every file's SHA-256, the control totals, what became of each
record, and the rows of every view. On a difference it names the first bad commit and exits with 1.
The whole set of events is held in memory.")]
    Verify(VerifyArgs),
    /// List the postings behind a balance, with the events that made them
    #[command(after_help = "\
EXAMPLE
  trueup explain --store books --tenant acme --account assets:cash:eur
  trueup explain --store books --tenant acme --account assets:cash --currency EUR --format csv")]
    Explain(ExplainArgs),
    /// Look at the records that were not accepted, and let them be read again after a fix
    #[command(after_help = "\
EXAMPLE
  trueup quarantine list --store books
  trueup quarantine list --store books --each --reason bad_syntax
  trueup quarantine show --store books --partition live/0 --position 000001.jsonl@4711
  trueup quarantine redrive --store books --reason unsupported_kind --by ada --why 'trueup 0.2'")]
    Quarantine(QuarantineArgs),
    /// Say whether a day of a tenant can be built upon, and if not, why
    #[command(after_help = "\
EXAMPLE
  trueup ready --store books --tenant acme --date 2026-10-31
  trueup ready --store books --tenant acme --date 2026-10-31 --format json | jq .reasons

Ends with 0 where the day is ready and with 1 where it is not: sequence gaps, open imbalances,
unmatched statements, control totals, quarantined records, a run that is behind, or a day that is
not over. What is of transactions that are effective after the day does not count.")]
    Ready(ReadyArgs),
    /// Print the alerts that were raised and resolved, commit by commit
    #[command(after_help = "\
EXAMPLE
  trueup alerts --store books --tenant acme
  trueup alerts --store books --from 4711 --follow --format json | ./page-somebody

The note at the end says where to go on: whoever keeps that position misses no alert.")]
    Alerts(AlertsArgs),
    /// List open differences between the ledger and processors' statements, with their age
    #[command(after_help = "\
EXAMPLE
  trueup reconcile --store books --tenant acme --date 2026-10-31
  trueup reconcile --store books --tenant acme --processor acmepay --format csv

A difference is open since the earliest date of its lines; where there is a statement and no
statement_mismatch is shown yet, since and age are empty.")]
    Reconcile(ReconcileArgs),
    /// Check a configuration file, and whether its paths can be used; all errors at once
    #[command(after_help = "EXAMPLE\n  trueup check -c trueup.toml")]
    Check(CheckArgs),
    /// Kill and damage runs again and again, then prove that nothing is lost or doubled
    #[command(after_help = "\
EXAMPLE
  trueup torture
  trueup torture --kills 500 --events 500000 --seed 42
  trueup torture --input log

Prints a certificate, or ends with 1 and leaves the directory that shows what is wrong.")]
    Torture(TortureArgs),
    /// Measure on this machine: loads, latency, corrections, restarts, long histories
    #[command(after_help = "\
EXAMPLE
  trueup bench --out figures
  trueup bench load --events 2000000 --runs 5 --workers 1,2 --record-bytes 1024
  trueup bench latency --rates 25000 --seconds 60 --json

Runs this same program as an operator would. Contestants take turns, so that what the machine does
beside hits all alike, and their books have to be equal before a time counts. docs/benchmarks.md
says what each figure means.")]
    Bench(BenchArgs),
    /// Say what a load needs: cores, memory, disk, requests, network and dollars a month
    #[command(after_help = "\
EXAMPLE
  trueup plan
  trueup plan --peak-events 250K --events-per-day 12B --hot-days 90 --accounts 100M
  trueup plan --commit-interval 5s --processes 4 --prices prices.toml --json

A model fed by measured constants, not a measurement: docs/capacity.md says how each figure is made. What
limits first, and what is not modelled, is printed with it.")]
    Plan(Box<PlanArgs>),
}

/// `trueup torture`
#[derive(Debug, Args)]
pub struct TortureArgs {
    /// How many runs to kill
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub kills: u64,
    /// How many events to generate
    #[arg(long, value_name = "N", default_value_t = 100_000, conflicts_with = "input")]
    pub events: u64,
    /// What is drawn: events, numbers of workers, moments, damages [default: of the clock]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// The numbers of workers to draw from
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2, 4],
          value_parser = workers)]
    pub workers: Vec<usize>,
    /// The numbers of processes to draw from; of several one is killed, and the others must end
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2],
          value_parser = workers)]
    pub processes: Vec<usize>,
    /// A log of your own instead; it is only read
    #[arg(long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Where to work, a directory that does not exist yet [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `trueup demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to put the demo's log and store, an empty directory [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How many events to generate
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub events: u64,
}

/// `trueup append`
#[derive(Debug, Args)]
pub struct AppendArgs {
    /// The directory of the log; it is made where it does not exist
    pub log: PathBuf,
    /// The JSONL files to append, - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How many partitions a new log gets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = partitions)]
    pub partitions: usize,
}

/// What a row's output looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns for people
    Table,
    /// CSV with a header, sorted by key
    Csv,
    /// A JSON array with one object a line; amounts are texts
    Json,
}

/// `trueup query`
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The view
    #[arg(value_parser = PossibleValuesParser::new(View::ALL.map(View::name))
          .try_map(|name| View::by_name(&name).ok_or("no such view")))]
    pub view: View,
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// Only the rows of this tenant
    #[arg(long, value_name = "T")]
    pub tenant: Option<String>,
    /// The epoch to look at [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
    /// Only what is effective on or before this day, UTC, as known at the epoch
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub as_of_date: Option<i32>,
    /// What the output looks like
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// Only rows with this value in this column; may be given several times
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub conditions: Vec<String>,
    /// At most so many rows, 0 for all; for tables only [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `trueup digest`
#[derive(Debug, Args)]
pub struct DigestArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// The epoch to look at [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `trueup verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The configuration file whose store and sources to verify
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL", required_unless_present = "config")]
    pub store: Option<String>,
    /// The log that the store was made from
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    pub input: Option<PathBuf>,
    /// Verify up to this epoch [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
}

/// `trueup explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The store: a directory, a file:// or an s3:// URL
    #[arg(long, value_name = "DIR|URL")]
    pub store: String,
    /// The tenant
    #[arg(long, value_name = "T")]
    pub tenant: String,
    /// The account
    #[arg(long, value_name = "A")]
    pub account: String,
    /// Only this currency
    #[arg(long, value_name = "C")]
    pub currency: Option<String>,
    /// The epoch to look at [default: the last commit]
    #[arg(long, value_name = "E", value_parser = epoch)]
    pub epoch: Option<Epoch>,
    /// What the output looks like
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// `trueup check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

fn date(text: &str) -> Result<i32, String> {
    value::date(text).ok_or_else(|| "write a day, as in 2026-10-31".to_owned())
}

fn epoch(text: &str) -> Result<Epoch, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(Epoch(number)),
        _ => Err("write the number of a commit: 1, 2, 3…".to_owned()),
    }
}

fn scale(text: &str) -> Result<Scale, String> {
    let scale = text.parse().ok().and_then(Scale::new);
    scale.ok_or_else(|| format!("write a whole number, 0 to {}", Scale::MAX))
}

fn workers(text: &str) -> Result<usize, String> {
    bounded(text, WORKERS_MAX)
}

/// Reads the number of a process, or the name of a pod of a StatefulSet, which ends with it.
fn process(text: &str) -> Result<usize, String> {
    let number = text.rsplit('-').next().unwrap_or_default();
    number.parse().map_err(|_| "write a number, 0, 1, 2…, or a name that ends with -0, -1…".into())
}

fn partitions(text: &str) -> Result<usize, String> {
    bounded(text, 10_000)
}

fn bounded(text: &str, max: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("write a whole number, 1 to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_has_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("EXAMPLE"), "{}", sub.get_name());
        }
    }

    #[test]
    fn flags_and_a_file_exclude_each_other() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("trueup run -c t.toml"));
        assert!(parse("trueup run --store s --input i --commit-interval 250ms"));
        assert!(!parse("trueup run --store s"));
        assert!(!parse("trueup run"));
        assert!(!parse("trueup run -c t.toml --store s"));
        assert!(!parse("trueup run -c t.toml --workers 2"));
        assert!(!parse("trueup run --store s --input i --commit-interval 1"));
        assert!(parse("trueup verify -c t.toml"));
        assert!(parse("trueup verify -c t.toml --store s"));
        assert!(!parse("trueup verify --store s"));
        assert!(!parse("trueup query nonsense --store s"));
        assert!(!parse("trueup query balances --store s --epoch 0"));
    }
}
