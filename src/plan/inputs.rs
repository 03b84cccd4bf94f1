//! What is asked of a plan, from texts to whole numbers with all mistakes at once.

use serde::Serialize;

use crate::config::{ConfigError, ConfigErrors, Invalid, value};

/// The most events of a day: a hundred thousand times what this is for, and far from overflow.
const EVENTS_PER_DAY_MAX: u64 = 100_000_000_000_000;
const EVENTS_PER_SECOND_MAX: u64 = 10_000_000_000;
/// A century.
const DAYS_MAX: u64 = 36_500;
const ACCOUNTS_MAX: u64 = 1_000_000_000_000;
/// A larger record is quarantined.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// `cluster.hosts` has no more.
const PROCESSES_MAX: u64 = 256;
const MONTHLY_MAX: u64 = 10_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// What records are like, by which of the measured mixes applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Nearly all are posts: `trueup generate --workload ledger`.
    Ledger,
    /// Everything that a log can do to its readers: `trueup generate`.
    Hostile,
}

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// Which constants apply.
    pub workload: Workload,
    /// The most events of a second.
    pub peak_events_per_second: u64,
    /// All events of a day; the average of a second is not above the peak.
    pub events_per_day: u64,
    /// A record in the log.
    pub record_bytes: u64,
    /// Days after which state, copies and deltas are looked at first, at least 1.
    pub hot_days: u64,
    /// Days after which they are looked at again, at least `hot_days`.
    pub history_days: u64,
    /// Accounts, each in each of its currencies, at least 1.
    pub accounts: u64,
    /// Percent of events that correct an earlier transaction, 0 to 100.
    pub corrections_percent: u64,
    /// Processes; `None` where the plan decides by `cores_per_process`.
    pub processes: Option<u64>,
    /// Worker threads and cores that one process has at most.
    pub cores_per_process: u64,
    /// How long an epoch lasts.
    pub commit_interval_ms: u64,
    /// How long after one checkpoint the next is taken at the latest.
    pub checkpoint_interval_ms: u64,
    /// `state.memory_limit` of each process.
    pub memory_limit_bytes: u64,
    /// How much of the cores the peak may use, 1 to 100.
    pub target_utilisation_percent: u64,
    /// The outage that is caught up with.
    pub outage_ms: u64,
    /// Starts of each process in a month.
    pub restarts_per_month: u64,
    /// How much of what the network carries crosses between zones, 0 to 100.
    pub cross_zone_percent: u64,
    /// What the object store takes for one request.
    pub request_ms: u64,
}

/// The texts of [`Inputs`], as the command line has them.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// `--peak-events`
    pub peak_events: &'a str,
    /// `--events-per-day`
    pub events_per_day: &'a str,
    /// `--record-bytes`
    pub record_bytes: &'a str,
    /// `--hot-days`
    pub hot_days: &'a str,
    /// `--history-days`
    pub history_days: &'a str,
    /// `--accounts`
    pub accounts: &'a str,
    /// `--corrections-percent`
    pub corrections_percent: &'a str,
    /// `--processes`
    pub processes: Option<&'a str>,
    /// `--cores-per-process`
    pub cores_per_process: &'a str,
    /// `--commit-interval`
    pub commit_interval: &'a str,
    /// `--checkpoint-interval`
    pub checkpoint_interval: &'a str,
    /// `--memory-limit`
    pub memory_limit: &'a str,
    /// `--target-utilisation`
    pub target_utilisation: &'a str,
    /// `--outage`
    pub outage: &'a str,
    /// `--restarts-per-month`
    pub restarts_per_month: &'a str,
    /// `--cross-zone-percent`
    pub cross_zone_percent: &'a str,
    /// `--request-ms`
    pub request_ms: &'a str,
}

impl Inputs {
    /// Reads what is asked.
    ///
    /// # Errors
    /// Every value that is wrong, each with its flag and what to write instead.
    pub fn read(workload: Workload, texts: &Texts<'_>) -> Result<Inputs, ConfigErrors> {
        let mut reading = Reading { errors: Vec::new() };
        let inputs = reading.inputs(workload, texts);
        if reading.errors.is_empty() {
            return Ok(inputs);
        }
        Err(ConfigErrors { origin: "the plan".to_owned(), errors: reading.errors })
    }
}

/// What is wrong so far. A value that is wrong stands in as the least that is right.
struct Reading {
    errors: Vec<ConfigError>,
}

impl Reading {
    fn inputs(&mut self, workload: Workload, texts: &Texts<'_>) -> Inputs {
        let percent = |least| (least, 100);
        let mut inputs = Inputs {
            workload,
            peak_events_per_second: self.whole(
                "--peak-events",
                texts.peak_events,
                (1, EVENTS_PER_SECOND_MAX),
            ),
            events_per_day: self.whole(
                "--events-per-day",
                texts.events_per_day,
                (1, EVENTS_PER_DAY_MAX),
            ),
            record_bytes: self.whole("--record-bytes", texts.record_bytes, (1, RECORD_BYTES_MAX)),
            hot_days: self.whole("--hot-days", texts.hot_days, (1, DAYS_MAX)),
            history_days: self.whole("--history-days", texts.history_days, (1, DAYS_MAX)),
            accounts: self.whole("--accounts", texts.accounts, (1, ACCOUNTS_MAX)),
            corrections_percent: self.whole(
                "--corrections-percent",
                texts.corrections_percent,
                percent(0),
            ),
            processes: None,
            cores_per_process: self.whole("--cores-per-process", texts.cores_per_process, (1, 256)),
            commit_interval_ms: self
                .time("--commit-interval", value::commit_interval(texts.commit_interval)),
            checkpoint_interval_ms: self
                .time("--checkpoint-interval", value::commit_interval(texts.checkpoint_interval)),
            memory_limit_bytes: self
                .taken("--memory-limit", value::memory_limit(texts.memory_limit))
                .unwrap_or(1),
            target_utilisation_percent: self.whole(
                "--target-utilisation",
                texts.target_utilisation,
                percent(1),
            ),
            outage_ms: self.time("--outage", value::outage(texts.outage)),
            restarts_per_month: self.whole(
                "--restarts-per-month",
                texts.restarts_per_month,
                (0, MONTHLY_MAX),
            ),
            cross_zone_percent: self.whole(
                "--cross-zone-percent",
                texts.cross_zone_percent,
                percent(0),
            ),
            request_ms: self.whole("--request-ms", texts.request_ms, (1, 60_000)),
        };
        inputs.processes =
            texts.processes.map(|text| self.whole("--processes", text, (1, PROCESSES_MAX)));
        if self.errors.is_empty() {
            self.together(&inputs, texts);
        }
        inputs
    }

    /// Checks values that must fit each other.
    fn together(&mut self, inputs: &Inputs, texts: &Texts<'_>) {
        let average = inputs.events_per_day.div_ceil(SECONDS_PER_DAY);
        if inputs.peak_events_per_second < average {
            let problem = format!(
                "{:?} is less than the average of a day, {average} a second",
                texts.peak_events
            );
            let remedy = format!("write {average} or more, or fewer --events-per-day");
            self.report("--peak-events", Invalid::new(problem, remedy));
        }
        if inputs.history_days < inputs.hot_days {
            let problem = format!("{:?} is less than --hot-days", texts.history_days);
            let remedy = format!("write {} or more", inputs.hot_days);
            self.report("--history-days", Invalid::new(problem, remedy));
        }
    }

    fn whole(&mut self, key: &str, text: &str, range: (u64, u64)) -> u64 {
        self.taken(key, whole(text, range)).unwrap_or(range.0)
    }

    fn time(&mut self, key: &str, time: Result<std::time::Duration, Invalid>) -> u64 {
        let time = self.taken(key, time).unwrap_or(std::time::Duration::from_secs(1));
        // Nothing that is taken is longer than a month.
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    fn taken<T>(&mut self, key: &str, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|invalid| self.report(key, invalid)).ok()
    }

    fn report(&mut self, key: &str, invalid: Invalid) {
        let Invalid { problem, remedy } = invalid;
        self.errors.push(ConfigError { key: key.to_owned(), line: None, problem, remedy });
    }
}

/// Parses a whole number: `1200000000`, `1_200_000_000`, `1.2B` (K, M and B are 10^3, 10^6, 10^9).
///
/// # Errors
/// [`Invalid`] where it is none, or not in the range.
pub fn whole(text: &str, (least, most): (u64, u64)) -> Result<u64, Invalid> {
    let remedy = || {
        format!("write a whole number, {least} to {most}, as in 25000, 25_000, 25K, 1.2M or 1.2B")
    };
    let Some(number) = scaled(text) else {
        return Err(Invalid::new(format!("{text:?} is no whole number"), remedy()));
    };
    match u64::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Invalid::new(format!("{text:?} is out of range"), remedy())),
    }
}

fn scaled(text: &str) -> Option<u128> {
    let (number, zeros) = match text.char_indices().last()? {
        (end, 'K' | 'k') => (&text[..end], 3),
        (end, 'M' | 'm') => (&text[..end], 6),
        (end, 'B' | 'b') => (&text[..end], 9),
        _ => (text, 0),
    };
    decimal(number, zeros)
}

/// Parses a decimal as a whole number of 10^-`digits`; `None` where it has more digits than that,
/// or is none. A `_` may stand between digits.
pub(super) fn decimal(text: &str, digits: usize) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        edge(part.chars().next())
            && edge(part.chars().last())
            && part.chars().all(|c| c.is_ascii_digit() || c == '_')
    };
    if !is_plain(whole) || (text.contains('.') && !is_plain(fraction)) {
        return None;
    }
    let fraction = fraction.replace('_', "");
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > digits {
        return None;
    }
    format!("{}{fraction:0<digits$}", whole.replace('_', "")).parse().ok()
}

#[cfg(test)]
pub(super) mod tests;
