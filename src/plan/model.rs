//! The formulas: what a load needs, by the measured constants. docs/capacity.md has them in words.
//!
//! Two parts: [`Load`] is what every second and month brings, whatever has been before; [`Stock`] is
//! what has gathered after so many days. All numbers are whole; what is needed is rounded up.
//!
//! Inputs and constants are bounded so that no product leaves 128 bits.

use super::constants::Mix;
use super::inputs::Inputs;
use super::{Horizon, MONTH_DAYS, per_million_of, percent_of};
use crate::config::COMMIT_MAX_RECORDS_DEFAULT;
use crate::pipeline::{
    EPOCH_BYTES_MAX, GATHERED_BYTES_A_WORKER, LIMIT_BYTES_A_RECORD, OWED_OF_NEW, RECORDS_A_WORKER,
    WHOLE_BYTES_MIN,
};

/// A month in milliseconds.
const MONTH_MS: u128 = MONTH_DAYS * 86_400_000;
/// A part of a copy holds so many bytes of keys and values.
const PART_BYTES: u128 = 32 << 20;
/// A listing has so many names in each answer.
pub const NAMES_PER_LIST: u128 = 1000;
/// What a disk is larger than the state on it: an LSM tree is merged, and a checkpoint taken in,
/// beside what they replace. An assumption.
const DISK_PERCENT: u128 = 150;
/// What a process reaches of its limit: the epochs on their way take as much again. That is what
/// `state.memory_limit` promises, not a measurement.
const MEMORY_PERCENT: u128 = 200;
/// Corrections that are in the measured mix already, in percent of its records, rounded down.
const MIX_CORRECTIONS_PERCENT: u64 = 2;
/// Copies kept at a time, in sizes of the state: two times round, in each of which every key is copied as
/// a whole once, and up to as much again of what changes. Where hardly anything is replaced it is one.
const COPIES_KEPT: u128 = 3;

/// What a load brings by the second and by the month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Processor time of an event.
    pub cpu_ns_per_event: u128,
    /// Cores that are busy at the peak, in thousandths.
    pub peak_millicores: u128,
    /// Cores that are busy on average, in thousandths.
    pub average_millicores: u128,
    /// Processes.
    pub processes: u128,
    /// Worker threads, and cores, of each process.
    pub workers_per_process: u128,
    /// What all cores together could do in a second.
    pub capacity_events_per_second: u128,
    /// How long it takes to catch up with an outage at the peak that does not end; `None`: never.
    pub catch_up_at_peak_ms: Option<u128>,
    /// The same where the average arrived before and arrives after.
    pub catch_up_at_average_ms: Option<u128>,
    /// Resident memory that all processes together reach.
    pub memory_bytes: u128,
    /// Records that end an epoch of a process at the latest.
    pub records_per_epoch_max: u128,
    /// Commits of a month.
    pub commits_per_month: u128,
    /// Files that a commit names.
    pub files_per_commit: u128,
    /// How long after one checkpoint the next comes at the peak.
    pub checkpoint_peak_interval_ms: u128,
    /// Checkpoints of a month at the average rate.
    pub checkpoints_per_month: u128,
    /// Keys and values that one checkpoint writes at the peak.
    pub checkpoint_peak_bytes: u128,
    /// Keys and values that its copy has beside them, of what has not changed.
    pub checkpoint_peak_renewed_bytes: u128,
    /// Bytes of deltas and quarantine of a month.
    pub delta_bytes_per_month: u128,
    /// Bytes of commit records of a month.
    pub commit_bytes_per_month: u128,
    /// Bytes of copies of state that a month writes, most of which it removes again.
    pub copy_bytes_per_month: u128,
    /// Requests of a month that write.
    pub puts_per_month: u128,
    /// Bytes of a month from the log.
    pub in_bytes_per_month: u128,
    /// Bytes of a month between processes.
    pub between_bytes_per_month: u128,
    /// Bytes a second from the log, at the peak.
    pub in_peak_bytes_per_second: u128,
    /// Bytes a second between processes, at the peak.
    pub between_peak_bytes_per_second: u128,
}

/// What has gathered after some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Since when.
    pub horizon: Horizon,
    /// Transactions in the state.
    pub transactions: u128,
    /// Keys and values of the state.
    pub state_bytes: u128,
    /// The state on the disks of all processes together.
    pub disk_bytes: u128,
    /// What the disks have to hold.
    pub disk_bytes_provisioned: u128,
    /// Deltas, quarantine and commits in the store.
    pub published_bytes: u128,
    /// Copies of state in the store, on average.
    pub copy_bytes: u128,
    /// Commits, which a start lists.
    pub commits: u128,
    /// Names that a start of one process lists, of commits, manifests and parts of copies.
    pub names_per_start: u128,
    /// Requests of a month that read.
    pub gets_per_month: u128,
    /// Requests of a month that list.
    pub lists_per_month: u128,
}

/// Says what is more expensive of `extra` percent of records than of the others.
fn with_corrections(inputs: &Inputs, record: u64, correction: u64) -> u128 {
    let extra = inputs.corrections_percent.saturating_sub(MIX_CORRECTIONS_PERCENT);
    let dearer = u128::from(correction.saturating_sub(record));
    u128::from(record) + percent_of(dearer, u128::from(extra))
}

/// Returns what a million records cost: more where the state of the hot days does not fit memory. The
/// limit of one process decides, so that more processes never make an event cheaper.
fn cpu_ms_per_million_records(inputs: &Inputs, mix: &Mix) -> u64 {
    let events = u128::from(inputs.events_per_day) * u128::from(inputs.hot_days);
    let state = Changes { inputs, mix }.of_state(u128::from(inputs.hot_days), events);
    if state <= u128::from(inputs.memory_limit_bytes) {
        return mix.cpu_ms_per_million_records;
    }
    mix.cpu_ms_per_million_records_from_disk.max(mix.cpu_ms_per_million_records)
}

/// How long a backlog takes, where `arriving` go on to arrive.
fn catch_up_ms(backlog: u128, capacity: u128, arriving: u128) -> Option<u128> {
    let spare = capacity.checked_sub(arriving).filter(|spare| *spare > 0)?;
    Some((backlog * 1000).div_ceil(spare))
}

/// What the state takes of one event in each part.
struct Changes<'a> {
    inputs: &'a Inputs,
    mix: &'a Mix,
}

impl Changes<'_> {
    /// Keys and values of transactions that `events` make or correct.
    fn of_transactions(&self, events: u128) -> u128 {
        let made = self.transactions(events);
        let corrections = percent_of(events, u128::from(self.inputs.corrections_percent));
        (made + corrections) * u128::from(self.mix.state_bytes_per_transaction)
    }

    fn transactions(&self, events: u128) -> u128 {
        per_million_of(events, u128::from(self.mix.transactions_per_million_records))
    }

    /// Accounts that `events` touch: each line another one, while there are any.
    fn accounts(&self, events: u128) -> u128 {
        let lines = per_million_of(events, u128::from(self.mix.posting_rows_per_million_records));
        lines.min(u128::from(self.inputs.accounts))
    }

    fn bytes_per_account_and_day(&self) -> u128 {
        u128::from(self.mix.state_bytes_per_account_and_day)
    }

    /// Keys and values of everything after `days` with `events` in all.
    fn of_state(&self, days: u128, events: u128) -> u128 {
        let transactions = self.transactions(events);
        transactions * u128::from(self.mix.state_bytes_per_transaction)
            + u128::from(self.inputs.accounts) * u128::from(self.mix.state_bytes_per_account)
            + self.accounts(events.div_ceil(days)) * days * self.bytes_per_account_and_day()
    }

    /// Keys and values that `events` change, of accounts and their days too.
    fn of_all(&self, events: u128) -> u128 {
        let account = u128::from(self.mix.state_bytes_per_account);
        let of_accounts = self.accounts(events) * (account + self.bytes_per_account_and_day());
        self.of_transactions(events) + of_accounts
    }
}

impl Load {
    /// Computes what a load brings.
    #[must_use]
    pub fn of(inputs: &Inputs, mix: &Mix) -> Load {
        let peak = u128::from(inputs.peak_events_per_second);
        let day = u128::from(inputs.events_per_day);
        let average = day.div_ceil(86_400);
        let month = day * MONTH_DAYS;
        // Milliseconds of a million records are nanoseconds of one.
        let cpu_ns_per_event = with_corrections(
            inputs,
            cpu_ms_per_million_records(inputs, mix),
            mix.cpu_ms_per_million_corrections,
        );
        let peak_millicores = (peak * cpu_ns_per_event).div_ceil(1_000_000);
        let (processes, workers_per_process) = size(inputs, peak_millicores);
        let workers = processes * workers_per_process;
        let capacity = workers * 1_000_000_000 / cpu_ns_per_event.max(1);
        let outage = |rate: u128| {
            catch_up_ms((rate * u128::from(inputs.outage_ms)).div_ceil(1000), capacity, rate)
        };
        let (commits_per_month, records_per_epoch_max) = commits(inputs, processes, month);
        let files_per_commit = workers * u128::from(mix.files_per_worker_and_commit);
        let files_per_month = commits_per_month * files_per_commit;
        let checkpoints =
            Checkpoints::of(inputs, mix, (processes, workers), (peak, average, month));
        let delta_bytes_per_million = with_corrections(
            inputs,
            mix.delta_bytes_per_million_records,
            mix.delta_bytes_per_million_corrections,
        );
        let between = |events: u128| {
            (events * u128::from(mix.wire_bytes_per_record) * (processes - 1)).div_ceil(processes)
        };
        let record_bytes = u128::from(inputs.record_bytes);
        Load {
            cpu_ns_per_event,
            peak_millicores,
            average_millicores: (average * cpu_ns_per_event).div_ceil(1_000_000),
            processes,
            workers_per_process,
            capacity_events_per_second: capacity,
            catch_up_at_peak_ms: outage(peak),
            catch_up_at_average_ms: outage(average),
            memory_bytes: processes * process_memory(inputs, mix),
            records_per_epoch_max,
            commits_per_month,
            files_per_commit,
            checkpoint_peak_interval_ms: checkpoints.peak_interval_ms,
            checkpoints_per_month: checkpoints.per_month,
            checkpoint_peak_bytes: checkpoints.peak_bytes,
            checkpoint_peak_renewed_bytes: checkpoints.peak_renewed_bytes,
            delta_bytes_per_month: per_million_of(month, delta_bytes_per_million)
                + files_per_month * u128::from(mix.delta_bytes_per_file),
            commit_bytes_per_month: files_per_month * u128::from(mix.commit_bytes_per_file),
            copy_bytes_per_month: percent_of(
                checkpoints.copied_bytes_per_month,
                u128::from(mix.copy_percent_of_state),
            ),
            puts_per_month: files_per_month + commits_per_month + checkpoints.puts_per_month,
            in_bytes_per_month: month * record_bytes,
            between_bytes_per_month: between(month),
            in_peak_bytes_per_second: peak * record_bytes,
            between_peak_bytes_per_second: between(peak),
        }
    }

    /// Returns the worker threads of all processes.
    #[must_use]
    pub fn workers(&self) -> u128 {
        self.processes * self.workers_per_process
    }
}

/// Returns processes, and cores of each.
fn size(inputs: &Inputs, peak_millicores: u128) -> (u128, u128) {
    let utilisation = u128::from(inputs.target_utilisation_percent);
    let cores = (peak_millicores * 100).div_ceil(utilisation * 1000).max(1);
    let at_most = u128::from(inputs.cores_per_process);
    let processes = inputs.processes.map_or_else(|| cores.div_ceil(at_most), u128::from);
    (processes, cores.div_ceil(processes))
}

fn process_memory(inputs: &Inputs, mix: &Mix) -> u128 {
    let limit = u128::from(inputs.memory_limit_bytes);
    let beside = u128::from(mix.peak_memory_mib_beside_limit) << 20;
    percent_of(limit, MEMORY_PERCENT).max(limit + beside)
}

/// Returns the commits of a month, and the records that end an epoch of a process sooner.
fn commits(inputs: &Inputs, processes: u128, events_per_month: u128) -> (u128, u128) {
    let limited = inputs.memory_limit_bytes / LIMIT_BYTES_A_RECORD;
    let by_bytes = EPOCH_BYTES_MAX as u64 / inputs.record_bytes;
    let records = u128::from(COMMIT_MAX_RECORDS_DEFAULT.min(limited).min(by_bytes).max(1));
    let by_time = MONTH_MS.div_ceil(u128::from(inputs.commit_interval_ms));
    (by_time.max(events_per_month.div_ceil(records * processes)), records)
}

/// What checkpoints come to.
struct Checkpoints {
    peak_interval_ms: u128,
    peak_bytes: u128,
    peak_renewed_bytes: u128,
    per_month: u128,
    /// Keys and values, those too that have not changed.
    copied_bytes_per_month: u128,
    puts_per_month: u128,
}

impl Checkpoints {
    fn of(
        inputs: &Inputs,
        mix: &Mix,
        (processes, workers): (u128, u128),
        (peak, average, month): (u128, u128, u128),
    ) -> Checkpoints {
        let changes = Changes { inputs, mix };
        // A quarter of the limit gathers what one checkpoint writes, if a restart can soon derive it again.
        let gathered = (processes * u128::from(inputs.memory_limit_bytes) / 4)
            .min(workers * u128::from(GATHERED_BYTES_A_WORKER));
        let records_max = workers * u128::from(RECORDS_A_WORKER);
        let bytes_max = gathered * 100 / u128::from(mix.gathered_percent_of_changes).max(1);
        let interval = |rate: u128| {
            let full_ms = bytes_max * 1000 / changes.of_all(rate).max(1);
            let read_ms = records_max * 1000 / rate.max(1);
            u128::from(inputs.checkpoint_interval_ms).min(full_ms).min(read_ms).max(1)
        };
        let peak_interval_ms = interval(peak);
        let per_month = MONTH_MS.div_ceil(interval(average));
        // An account is written once a checkpoint, however often it changed.
        let touched = per_million_of(month, u128::from(mix.posting_rows_per_million_records));
        let touched = touched.min(per_month * u128::from(inputs.accounts));
        let account = u128::from(mix.state_bytes_per_account) + changes.bytes_per_account_and_day();
        let changed = changes.of_transactions(month) + touched * account;
        // As much is copied as a whole as has been replaced, and a part of what is new.
        let renewed = |changed: u128, events: u128| {
            let new = changes.transactions(events) * u128::from(mix.state_bytes_per_transaction);
            changed - new + new.div_ceil(u128::from(OWED_OF_NEW))
        };
        let least = |checkpoints: u128| checkpoints * processes * u128::from(WHOLE_BYTES_MIN);
        let copied_bytes_per_month = changed + renewed(changed, month).max(least(per_month));
        let events = (peak * peak_interval_ms).div_ceil(1000);
        let peak_bytes = changes.of_all(events);
        Checkpoints {
            peak_interval_ms,
            peak_bytes,
            peak_renewed_bytes: renewed(peak_bytes, events).max(least(1)),
            per_month,
            copied_bytes_per_month,
            // Each process begins a part of its own, and one manifest names all.
            puts_per_month: per_month * (processes + 1)
                + copied_bytes_per_month.div_ceil(PART_BYTES),
        }
    }
}

impl Stock {
    /// Computes what has gathered by a horizon.
    #[must_use]
    pub fn of(inputs: &Inputs, mix: &Mix, load: &Load, horizon: Horizon) -> Stock {
        let changes = Changes { inputs, mix };
        let days = u128::from(horizon.days);
        let events = u128::from(inputs.events_per_day) * days;
        let transactions = changes.transactions(events);
        let state_bytes = changes.of_state(days, events);
        let disk_bytes = percent_of(state_bytes, u128::from(mix.disk_percent_of_state));
        let by_now = |per_month: u128| (per_month * days).div_ceil(MONTH_DAYS);
        let commits = by_now(load.commits_per_month);
        let copy = percent_of(state_bytes, u128::from(mix.copy_percent_of_state));
        let parts = COPIES_KEPT * state_bytes.div_ceil(PART_BYTES);
        let names_per_start = commits + by_now(load.checkpoints_per_month) + parts;
        let starts = u128::from(inputs.restarts_per_month) * load.processes;
        // The commits behind the last checkpoint are read twice: once for the chain of hashes. That
        // and the checkpoint's own two and its manifest, at most.
        let interval = u128::from(inputs.checkpoint_interval_ms);
        let since = (load.commits_per_month * interval).div_ceil(MONTH_MS);
        let gets_per_start = 2 * since + 3;
        Stock {
            horizon,
            transactions,
            state_bytes,
            disk_bytes,
            disk_bytes_provisioned: percent_of(disk_bytes, DISK_PERCENT),
            published_bytes: by_now(load.delta_bytes_per_month + load.commit_bytes_per_month),
            copy_bytes: COPIES_KEPT * copy,
            commits,
            names_per_start,
            gets_per_month: load.checkpoints_per_month * load.processes + starts * gets_per_start,
            lists_per_month: starts * names_per_start.div_ceil(NAMES_PER_LIST),
        }
    }

    /// Returns everything that is in the store.
    #[must_use]
    pub fn store_bytes(&self) -> u128 {
        self.published_bytes + self.copy_bytes
    }
}

#[cfg(test)]
mod tests;
