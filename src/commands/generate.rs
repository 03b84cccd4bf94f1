//! `trueup generate`: a workload as JSONL, or into a local log.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use indicatif::ProgressBar;
use trueup_sources::local_log::append::{append, by_target_transaction};

use super::meter;
use super::output::{Output, grouped, note};
use crate::cli::{GenerateArgs, LedgerArgs, WorkloadName};
use crate::exit;
use crate::generate::{
    Generator, LedgerWorkload, Skew, Summary, Workload, WorkloadKind, write_jsonl,
};

/// Writes the workload.
///
/// # Errors
/// Options of one workload for another, and what the file, the log or standard output says.
pub fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let workload = Workload {
        events: args.events,
        seed: args.seed,
        tenants: args.tenants,
        poison: !args.no_poison,
        periods: args.periods,
        kind: kind(args)?,
        ..Workload::default()
    };
    let started = Instant::now();
    let bar = meter::bar(args.events, "generating");
    let (summary, place) = match &args.into {
        Some(log) => {
            let mut records = Records::new(&workload, bar.clone());
            let input = BufReader::with_capacity(1 << 20, &mut records);
            append(log, args.partitions, input, by_target_transaction)
                .context("appending what was generated")?;
            (records.generator.summary().clone(), log.display().to_string())
        }
        None if args.out == Path::new("-") => {
            // A bar would mix with the records where both go to one terminal.
            let summary = write_jsonl(&workload, Output::open());
            (summary.context("writing to standard output")?, "standard output".to_owned())
        }
        None => {
            let place = args.out.display().to_string();
            let summary = to_file(&workload, &args.out, &bar);
            (summary.with_context(|| format!("writing {place}"))?, place)
        }
    };
    bar.finish_and_clear();
    note(&described(&summary, &place));
    let rate = meter::per_second(summary.records, started.elapsed());
    tracing::info!(records_per_second = rate, "generated");
    Ok(())
}

fn to_file(workload: &Workload, path: &Path, bar: &ProgressBar) -> io::Result<Summary> {
    let mut file = File::create(path)?;
    let mut records = Records::new(workload, bar.clone());
    let mut out = BufWriter::with_capacity(1 << 20, &mut file);
    io::copy(&mut BufReader::with_capacity(1 << 20, &mut records), &mut out)?;
    out.flush()?;
    Ok(records.generator.summary().clone())
}

/// What the stream shall be like.
fn kind(args: &GenerateArgs) -> anyhow::Result<WorkloadKind> {
    match args.workload {
        WorkloadName::Hostile if args.ledger.is_given() => Err(exit::usage(
            "--record-bytes, --accounts, --days, --hot-account, --hot-tenant and --corrections-of \
             are for --workload ledger",
        )),
        WorkloadName::Hostile => Ok(WorkloadKind::Hostile),
        WorkloadName::Ledger if args.periods || args.no_poison => Err(exit::usage(
            "--periods and --no-poison are for --workload hostile; the other has neither",
        )),
        WorkloadName::Ledger => Ok(WorkloadKind::Ledger(ledger(&args.ledger))),
    }
}

fn ledger(args: &LedgerArgs) -> LedgerWorkload {
    let usual = LedgerWorkload::default();
    LedgerWorkload {
        record_bytes: args.record_bytes.map_or(usual.record_bytes, |bytes| bytes as usize),
        accounts: args.accounts.unwrap_or(usual.accounts),
        days: args.days.unwrap_or(usual.days),
        skew: match (args.hot_account, args.hot_tenant) {
            (true, _) => Skew::HotAccount,
            (_, true) => Skew::HotTenant,
            _ => Skew::Even,
        },
        corrections_of: args.corrections_of,
    }
}

fn described(summary: &Summary, place: &str) -> String {
    let kinds = [
        (summary.posts, "posts"),
        (summary.corrections, "corrections"),
        (summary.reversals, "reversals"),
        (summary.refunds, "refunds"),
        (summary.holds, "holds"),
        (summary.captures, "captures"),
        (summary.releases, "releases"),
        (summary.accounts, "accounts"),
        (summary.statements, "statement lines"),
        (summary.controls, "control totals"),
        (summary.periods, "closings and openings of months"),
    ];
    let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<_> = kinds.map(|(count, kind)| format!("{} {kind}", grouped(count))).collect();
    format!(
        "{} records ({} MB) to {place}: {}; of these {} duplicates; and {} broken",
        grouped(summary.records),
        grouped(summary.bytes / 1_000_000),
        kinds.join(", "),
        grouped(summary.duplicates()),
        grouped(summary.poison_records()),
    )
}

/// The workload as a stream of bytes.
struct Records {
    generator: Generator,
    bar: ProgressBar,
    line: Vec<u8>,
    read: usize,
}

impl Records {
    fn new(workload: &Workload, bar: ProgressBar) -> Records {
        Records { generator: Generator::new(workload), bar, line: Vec::new(), read: 0 }
    }
}

impl Read for Records {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            if self.read == self.line.len() {
                self.line.clear();
                self.read = 0;
                if self.generator.next_record(&mut self.line).is_none() {
                    break;
                }
                self.line.push(b'\n');
            }
            let rest = &self.line[self.read..];
            let count = rest.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            self.read += count;
        }
        self.bar.set_position(self.generator.summary().records);
        Ok(filled)
    }
}
