//! What of a plan goes beyond what the program can do, or beyond what was ever tried with it.

use serde::Serialize;

use super::constants::Mix;
use super::inputs::Inputs;
use super::model::{Load, NAMES_PER_LIST, Stock};

/// State, and with it the transactions, is divided by so many hash ranges: more workers get none.
const SHARDS: u128 = 256;
/// How long a start may take until its first new commit.
const START_MS_MAX: u128 = 10_000;
/// The most transactions that one process was ever measured with, and the most processes that
/// tests run.
const TRANSACTIONS_TRIED: u128 = 100_000_000;
const PROCESSES_TRIED: u128 = 4;

/// Something that is needed, and how much of it there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What it is.
    pub what: &'static str,
    /// The unit of both numbers.
    pub unit: &'static str,
    /// What the plan needs.
    pub needed: u128,
    /// What there is, at least 1.
    pub available: u128,
    /// `needed` in thousandths of `available`; the limit is kept up to 1000.
    pub permille: u128,
    /// Whether it is only the most that was ever tried, and more may well do.
    pub tried: bool,
    /// What helps.
    pub remedy: &'static str,
}

fn limit(
    what: &'static str,
    unit: &'static str,
    (needed, available): (u128, u128),
    remedy: &'static str,
) -> Limit {
    let available = available.max(1);
    let permille = (needed * 1000).div_ceil(available);
    Limit { what, unit, needed, available, permille, tried: false, remedy }
}

/// The most that was ever tried is no limit, but beyond it this is a guess.
fn tried(limit: Limit) -> Limit {
    Limit { tried: true, ..limit }
}

/// Returns the limits, the one that is left furthest behind first. `early` and `late` are the two
/// horizons.
#[must_use]
pub fn limits(inputs: &Inputs, mix: &Mix, load: &Load, early: &Stock, late: &Stock) -> Vec<Limit> {
    let speed = u128::from(mix.checkpoint_bytes_per_second).max(1);
    let by_process = |bytes: u128| bytes.div_ceil(load.processes);
    let ms = |bytes: u128| (bytes * 1000).div_ceil(speed);
    let request_ms = u128::from(inputs.request_ms);
    let epoch_ms = super::MONTH_DAYS * 86_400_000 / load.commits_per_month.max(1);
    let ranges = SHARDS.div_ceil(load.workers());
    let busiest_millicores = (load.peak_millicores * ranges).div_ceil(SHARDS);
    let in_turn = u128::from(mix.files_per_worker_and_commit) + 1;
    let checkpoint_bytes = load.checkpoint_peak_bytes + load.checkpoint_peak_renewed_bytes;
    let mut limits = vec![
        limit(
            "writing a checkpoint and its copy at the peak, before the next is due",
            "ms",
            (ms(by_process(checkpoint_bytes)), load.checkpoint_peak_interval_ms),
            "more processes",
        ),
        limit(
            "a start that lists every commit there is after all history days, a thousand names a \
             request",
            "ms",
            (late.names_per_start.div_ceil(NAMES_PER_LIST) * request_ms, START_MS_MAX),
            "a longer --commit-interval; the program has to list from the last checkpoint on",
        ),
        limit(
            "a worker's files of an epoch and the commit, written one after the other",
            "ms",
            (in_turn * request_ms, epoch_ms),
            "a longer --commit-interval, a store that answers sooner (--request-ms)",
        ),
        limit(
            "the worker with most of the 256 hash ranges, at the peak, of its core",
            "millicores",
            (busiest_millicores, 1000),
            "a number of workers that divides 256, or a lower --target-utilisation",
        ),
        limit(
            "workers that get a hash range",
            "workers",
            (load.workers(), SHARDS),
            "none: more workers have no transactions of their own",
        ),
        tried(limit(
            "transactions of a process after hot days, to the most that was measured",
            "transactions",
            (by_process(early.transactions), TRANSACTIONS_TRIED),
            "measure before you rely on it",
        )),
        tried(limit(
            "processes, to the most that tests run",
            "processes",
            (load.processes, PROCESSES_TRIED),
            "measure before you rely on it, or more --cores-per-process",
        )),
    ];
    limits.sort_by_key(|limit| std::cmp::Reverse(limit.permille));
    limits
}
