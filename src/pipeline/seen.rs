//! Whether a partition has been read to its end: what its commits say as `caught_up`.
//!
//! Guarantee: what it says of an epoch holds for the beginning of the day, UTC, that the epoch's time
//! is on, and since: every record that there was then has been read, as far as the partition tells.
//! So a commit behind the end of a day knows whether it has read all of that day.
//!
//! A partition tells it by giving nothing when it is asked. Kafka gives nothing also where nothing
//! was fetched yet, so right after a beginning, and after it was away, that counts only once it has
//! gone on for [`SETTLED`], or something was given.

use std::time::{Duration, Instant};

/// How long a partition has been asked in vain before that says something.
const SETTLED: Duration = Duration::from_secs(2);

const DAY_MICROS: i64 = 86_400_000_000;

/// What polls of a partition have shown. Instants are microseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When it was asked where the run is to end.
    end_asked: Option<i64>,
    /// When the last poll gave nothing; `None` where it gave something, or was left out.
    nothing_more: Option<i64>,
    /// Since when it has been asked, and whether something was given since.
    asked_since: Option<Instant>,
    given: bool,
}

impl Seen {
    /// Takes note that the end of the run is what was the partition's end at `now`.
    pub(crate) fn end_asked(&mut self, now: i64) {
        self.end_asked = Some(now);
    }

    /// Begins a pass over all partitions, in which this one may be left out.
    pub(crate) fn begin_pass(&mut self) {
        self.nothing_more = None;
    }

    /// Takes note that a poll gave records.
    pub(crate) fn given(&mut self) {
        self.nothing_more = None;
        self.given = true;
    }

    /// Takes note that a poll gave nothing.
    pub(crate) fn nothing(&mut self, at: Instant, now: i64) {
        let since = *self.asked_since.get_or_insert(at);
        let settled = self.given || at.saturating_duration_since(since) >= SETTLED;
        self.nothing_more = settled.then_some(now);
    }

    /// Takes note that it does not answer.
    pub(crate) fn away(&mut self) {
        *self = Seen { end_asked: self.end_asked, ..Seen::default() };
    }

    /// Says whether all has been read, of an epoch with this time. `at_end` is whether the run's end
    /// has been reached; `None` where it has none.
    pub(crate) fn caught_up(&self, at_end: Option<bool>, epoch_time: i64) -> bool {
        let seen = match at_end {
            None => self.nothing_more,
            Some(true) => self.end_asked,
            // What is known to be there has not come yet.
            Some(false) => None,
        };
        let day = epoch_time.div_euclid(DAY_MICROS);
        seen.is_some_and(|seen| seen.div_euclid(DAY_MICROS) >= day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 10 * DAY_MICROS + DAY_MICROS / 2;
    const MIDNIGHT: i64 = 11 * DAY_MICROS;

    #[test]
    fn only_a_partition_that_has_answered_with_nothing_is_caught_up() {
        let begun = Instant::now();
        let mut seen = Seen::default();
        let is = |seen: &Seen| seen.caught_up(None, NOON);
        assert!(!is(&seen), "it was not asked");
        seen.nothing(begun, NOON - 2);
        assert!(!is(&seen), "nothing may have been fetched yet");
        seen.nothing(begun + SETTLED, NOON - 1);
        assert!(is(&seen));
        seen.given();
        assert!(!is(&seen), "there may be more");
        seen.nothing(begun, NOON);
        assert!(is(&seen), "what was given shows that it answers");
        seen.begin_pass();
        assert!(!is(&seen), "it was left out");
        seen.nothing(begun, NOON);
        seen.away();
        seen.nothing(begun, NOON);
        assert!(!is(&seen), "it may not answer yet");
    }

    #[test]
    fn what_was_seen_before_the_day_says_nothing_about_it() {
        let mut seen = Seen::default();
        seen.given();
        for (asked, time, expected) in [
            (NOON, NOON, true),
            (NOON, MIDNIGHT - 1, true),
            (NOON, MIDNIGHT, false),
            (MIDNIGHT, MIDNIGHT, true),
            (MIDNIGHT + 1, MIDNIGHT, true),
        ] {
            seen.nothing(Instant::now(), asked);
            seen.end_asked(asked);
            assert_eq!(seen.caught_up(None, time), expected, "{asked} {time}");
            assert_eq!(seen.caught_up(Some(true), time), expected, "{asked} {time}");
            assert!(!seen.caught_up(Some(false), time));
        }
    }
}
