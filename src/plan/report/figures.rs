//! The model's numbers as figures: names, units, and where each comes from.

use super::super::bill::Bill;
use super::super::model::{Load, Stock};
use super::{Figure, Unit};
use Unit::{
    Bytes, BytesPerSecond, Count, Millicores, Milliseconds, Nanodollars, Nanoseconds, PerSecond,
};

const CORES: &str = "cores";
const MEMORY: &str = "memory";
const COMMITS: &str = "commits and checkpoints";
const NETWORK: &str = "network";
const WRITTEN: &str = "written to the store, a month";
const STATE: &str = "state on local disks, after";
const STORE: &str = "in the store, after";
const START: &str = "starts, a month, after";
const DOLLARS: &str = "dollars a month, after";

/// One figure of a section.
type Row = (&'static str, Unit, u128, &'static str);

fn section(section: &'static str, rows: impl IntoIterator<Item = Row>) -> Vec<Figure> {
    let figure = |(name, unit, value, from): Row| Figure {
        section,
        name,
        unit,
        value: Some(value),
        later: None,
        from,
    };
    rows.into_iter().map(figure).collect()
}

/// Returns the figures that depend on no horizon.
pub(super) fn of_load(load: &Load) -> Vec<Figure> {
    let mut figures = cores(load);
    figures.extend(section(
        MEMORY,
        [
            (
                "a process, at its peak",
                Bytes,
                load.memory_bytes / load.processes,
                "--memory-limit × 2, …_beside_limit",
            ),
            ("all processes", Bytes, load.memory_bytes, "processes"),
            (
                "records that end an epoch of a process",
                Count,
                load.records_per_epoch_max,
                "--memory-limit / 4 KiB, 300,000, 512 MiB",
            ),
        ],
    ));
    figures.extend(commits(load));
    figures.extend(traffic(load));
    figures.extend(written(load));
    figures
}

fn cores(load: &Load) -> Vec<Figure> {
    let from = "cpu_ns of an event";
    let mut figures = section(
        CORES,
        [
            (
                "processor time of an event",
                Nanoseconds,
                load.cpu_ns_per_event,
                "cpu_ms_per_million_records_from_disk",
            ),
            ("busy at the peak", Millicores, load.peak_millicores, "--peak-events"),
            ("busy on average", Millicores, load.average_millicores, "--events-per-day"),
            ("processes", Count, load.processes, "--processes, --cores-per-process"),
            (
                "workers and cores of each",
                Count,
                load.workers_per_process,
                "--target-utilisation of the peak",
            ),
            ("cores of all", Count, load.workers(), "processes × workers"),
            ("events that they can do", PerSecond, load.capacity_events_per_second, from),
        ],
    );
    let catch_up = |name, value: Option<u128>| Figure {
        section: CORES,
        name,
        unit: Milliseconds,
        value,
        later: None,
        from: "--outage, events that they can do",
    };
    figures.push(catch_up("catching up, at the peak all the time", load.catch_up_at_peak_ms));
    figures.push(catch_up("catching up, at the average", load.catch_up_at_average_ms));
    figures
}

fn commits(load: &Load) -> Vec<Figure> {
    section(
        COMMITS,
        [
            ("commits a month", Count, load.commits_per_month, "--commit-interval"),
            (
                "files of a commit",
                Count,
                load.files_per_commit,
                "files_per_worker_and_commit × workers",
            ),
            (
                "a checkpoint every, at the peak",
                Milliseconds,
                load.checkpoint_peak_interval_ms,
                "--checkpoint-interval, gathered_percent…",
            ),
            (
                "keys and values of one, at the peak",
                Bytes,
                load.checkpoint_peak_bytes,
                "state_bytes_per_…",
            ),
            (
                "and beside them in its copy",
                Bytes,
                load.checkpoint_peak_renewed_bytes,
                "what is replaced, and an eighth of what is new",
            ),
            ("checkpoints a month", Count, load.checkpoints_per_month, "the same, at the average"),
        ],
    )
}

fn traffic(load: &Load) -> Vec<Figure> {
    section(
        NETWORK,
        [
            (
                "from the log, at the peak",
                BytesPerSecond,
                load.in_peak_bytes_per_second,
                "--record-bytes",
            ),
            (
                "between processes, at the peak",
                BytesPerSecond,
                load.between_peak_bytes_per_second,
                "wire_bytes_per_record × (n−1)/n",
            ),
            ("from the log, a month", Bytes, load.in_bytes_per_month, "--record-bytes"),
            (
                "between processes, a month",
                Bytes,
                load.between_bytes_per_month,
                "wire_bytes_per_record × (n−1)/n",
            ),
        ],
    )
}

fn written(load: &Load) -> Vec<Figure> {
    section(
        WRITTEN,
        [
            ("deltas", Bytes, load.delta_bytes_per_month, "delta_bytes_per_million_…, …_per_file"),
            ("commits", Bytes, load.commit_bytes_per_month, "commit_bytes_per_file"),
            (
                "copies of state",
                Bytes,
                load.copy_bytes_per_month,
                "state_bytes_per_…, copy_percent_of_state",
            ),
            ("PUT requests", Count, load.puts_per_month, "files, commits, parts of 32 MiB"),
        ],
    )
}

/// One figure of a section, at both horizons.
type Pair = (&'static str, Unit, fn(&Stock) -> u128, &'static str);

/// Returns the figures that grow.
pub(super) fn of_stock(early: &Stock, late: &Stock) -> Vec<Figure> {
    let rows: &[(&'static str, Pair)] = &[
        (
            STATE,
            ("transactions", Count, |stock| stock.transactions, "transactions_per_million_records"),
        ),
        (STATE, ("keys and values", Bytes, |stock| stock.state_bytes, "state_bytes_per_…")),
        (STATE, ("on disk", Bytes, |stock| stock.disk_bytes, "disk_percent_of_state")),
        (
            STATE,
            (
                "disks to provide",
                Bytes,
                |stock| stock.disk_bytes_provisioned,
                "half as much again (assumed)",
            ),
        ),
        (STORE, ("deltas and commits", Bytes, |stock| stock.published_bytes, "written in a month")),
        (
            STORE,
            (
                "copies of state, of 1 to 4 kept",
                Bytes,
                |stock| stock.copy_bytes,
                "copy_percent_of_state × 3",
            ),
        ),
        (STORE, ("commits", Count, |stock| stock.commits, "commits a month")),
        (
            START,
            (
                "GET requests, those of checkpoints too",
                Count,
                |stock| stock.gets_per_month,
                "--restarts-per-month × processes",
            ),
        ),
        (
            START,
            (
                "LIST requests",
                Count,
                |stock| stock.lists_per_month,
                "every commit and part, 1000 at a time",
            ),
        ),
    ];
    let figure = |(section, (name, unit, of, from)): &(&'static str, Pair)| Figure {
        section,
        name,
        unit: *unit,
        value: Some(of(early)),
        later: Some(of(late)),
        from,
    };
    rows.iter().map(figure).collect()
}

/// Returns what it costs.
pub(super) fn of_bills(early: &Bill, late: &Bill) -> Vec<Figure> {
    type Part = (&'static str, fn(&Bill) -> u128, &'static str);
    let rows: &[Part] = &[
        ("cores", |bill| bill.cores_nanodollars, "vcpu_hour"),
        ("memory", |bill| bill.memory_nanodollars, "ram_gb_hour"),
        ("local disks", |bill| bill.disk_nanodollars, "ssd_gb_month"),
        ("store, bytes", |bill| bill.store_nanodollars, "store_gb_month"),
        ("store, PUT", |bill| bill.puts_nanodollars, "put_per_1000"),
        ("store, GET", |bill| bill.gets_nanodollars, "get_per_1000"),
        ("store, LIST", |bill| bill.lists_nanodollars, "list_per_1000"),
        (
            "network between zones",
            |bill| bill.network_nanodollars,
            "--cross-zone-percent, cross_zone_gb",
        ),
        ("total", Bill::total_nanodollars, "all of these"),
    ];
    let figure = |(name, of, from): &Part| Figure {
        section: DOLLARS,
        name,
        unit: Nanodollars,
        value: Some(of(early)),
        later: Some(of(late)),
        from,
    };
    rows.iter().map(figure).collect()
}
