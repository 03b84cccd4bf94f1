//! What the meaning of events depends on beside the events: the part of a configuration that rows
//! are a function of. A store is never continued under other rules.

use std::collections::BTreeMap;

use crate::Timestamp;
use crate::timestamp::DAY_MICROS;

const MINUTE_MICROS: i64 = 60_000_000;

/// The rules that rows are made by. The default is that of an empty configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The clearing account of each processor, by its name.
    pub clearing: BTreeMap<Box<str>, Box<str>>,
    /// Which events are `delayed_event`; none where it is not configured.
    pub delayed: Option<Delayed>,
    /// How long after the day since which it is open a reconciliation is a `statement_mismatch`, in
    /// microseconds, 0 or more.
    pub statement_mismatch_after: i64,
    /// How long an imbalance must last before an alert is raised, in microseconds, 0 or more.
    pub alert_grace: i64,
}

/// When an event is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// How far the epoch time may be behind `recorded_at`, in microseconds, 0 or more.
    pub after: i64,
    /// Events recorded before this are not judged: history may be loaded at any time.
    pub since: Option<Timestamp>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            clearing: BTreeMap::new(),
            delayed: None,
            statement_mismatch_after: 3 * DAY_MICROS,
            alert_grace: 5 * MINUTE_MICROS,
        }
    }
}

impl Delayed {
    /// Returns by how many microseconds an event that arrives at `epoch_time` is late, where it is.
    #[must_use]
    pub fn delay(&self, recorded_at: Timestamp, epoch_time: i64) -> Option<i64> {
        let is_judged = self.since.is_none_or(|since| recorded_at >= since);
        let delay = epoch_time.saturating_sub(recorded_at.micros());
        (is_judged && delay > self.after).then_some(delay)
    }
}
