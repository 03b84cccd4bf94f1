//! Instants of RFC 3339, to the nanosecond.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use jiff::civil::{Date, date};

/// How many microseconds a day has in UTC, which has no leap seconds here.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// An instant: seconds since 1970-01-01T00:00:00Z and nanoseconds within the second.
///
/// The order is the order in time; two texts with different UTC offsets are one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// Builds an instant from its parts; `None` where `nanos` is a second or more.
    #[must_use]
    pub fn from_parts(seconds: i64, nanos: u32) -> Option<Timestamp> {
        (nanos < 1_000_000_000).then_some(Timestamp { seconds, nanos })
    }

    /// Parses a date-time of RFC 3339 §5.6: full date, `T`, full time, `Z` or a numeric offset.
    /// A leap second (`:60`) is refused, since it has no place on the line of seconds.
    ///
    /// Returns `None` where the text is not of that form or names no real date.
    ///
    /// ```
    /// use trueup_ledger::Timestamp;
    /// let a = Timestamp::parse("2026-03-01T00:30:00+01:00").unwrap();
    /// assert_eq!(a, Timestamp::parse("2026-02-28T23:30:00Z").unwrap());
    /// assert!(Timestamp::parse("2026-02-30T00:00:00Z").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        if !is_rfc3339(bytes) {
            return None;
        }
        let number = |range: Range<usize>| digits_value(&bytes[range]);
        let year = i16::try_from(number(0..4)).ok()?;
        let date = Date::new(year, i8::try_from(number(5..7)).ok()?, {
            i8::try_from(number(8..10)).ok()?
        });
        let (hour, minute, second) = (number(11..13), number(14..16), number(17..19));
        let fraction_length = bytes[19..].iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
        let (nanos, zone) = match bytes[19] {
            b'.' => {
                let digits = &bytes[20..20 + fraction_length];
                let missing = 9 - u32::try_from(digits.len()).ok()?;
                (digits_value(digits) * 10_u32.pow(missing), 20 + fraction_length)
            }
            _ => (0, 19),
        };
        let offset = match bytes[zone] {
            b'Z' | b'z' => 0,
            sign => {
                let (hours, minutes) = (number(zone + 1..zone + 3), number(zone + 4..zone + 6));
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let seconds = i64::from(hours * 3600 + minutes * 60);
                if sign == b'-' { -seconds } else { seconds }
            }
        };
        if hour > 23 || minute > 59 {
            return None;
        }
        let of_day = i64::from(hour * 3600 + minute * 60 + second);
        let seconds = i64::from(days_since_1970(date.ok()?)) * 86_400 + of_day - offset;
        Some(Timestamp { seconds, nanos })
    }

    /// Parses a date, `YYYY-MM-DD`, to days since 1970-01-01; `None` where it is no real one.
    #[must_use]
    pub fn parse_date(text: &str) -> Option<i32> {
        if text.len() != 10 {
            return None;
        }
        Timestamp::parse(&format!("{text}T00:00:00Z")).map(Timestamp::utc_date)
    }

    /// Returns the instant of so many microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn from_micros(micros: i64) -> Timestamp {
        let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
        Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
    }

    /// Returns whole seconds since 1970-01-01T00:00:00Z, rounded towards the past.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds within the second, 0 to 999,999,999.
    #[must_use]
    pub fn nanos(self) -> u32 {
        self.nanos
    }

    /// Returns microseconds since 1970-01-01T00:00:00Z, rounded towards the past: what the
    /// published columns hold.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.seconds * 1_000_000 + i64::from(self.nanos / 1_000)
    }

    /// Returns the UTC date as days since 1970-01-01.
    #[must_use]
    pub fn utc_date(self) -> i32 {
        // Four-digit years are well within 32 bits of days.
        i32::try_from(self.seconds.div_euclid(86_400)).unwrap_or(i32::MAX)
    }

    /// Formats microseconds since 1970 as RFC 3339 in UTC.
    #[must_use]
    pub fn display_micros(micros: i64) -> String {
        Timestamp::from_micros(micros).to_string()
    }

    /// Formats days since 1970-01-01 as `YYYY-MM-DD`.
    #[must_use]
    pub fn display_date(days: i32) -> String {
        match jiff::Span::new().try_days(days).and_then(|span| EPOCH_DATE.checked_add(span)) {
            Ok(date) => date.to_string(),
            Err(_) => format!("{days}d"),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let date = Timestamp::display_date(self.utc_date());
        write!(f, "{date}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

const EPOCH_DATE: Date = date(1970, 1, 1);

/// Counts days by the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`): jiff's
/// own instants end before 9999-12-31, which books use for "never".
fn days_since_1970(date: Date) -> i32 {
    days_of(i32::from(date.year()), i32::from(date.month()), i32::from(date.day()))
}

/// Counts the days from 1970-01-01 to a date.
pub(crate) fn days_of(year: i32, month: i32, day: i32) -> i32 {
    let year = year - i32::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Returns the value of at most nine ASCII digits.
fn digits_value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

/// Judges the shape only; the ranges of hours, minutes and the calendar come after it.
fn is_rfc3339(text: &[u8]) -> bool {
    let digits = |range: Range<usize>| text[range].iter().all(u8::is_ascii_digit);
    if text.len() < 20 {
        return false;
    }
    let shape = digits(0..4)
        && text[4] == b'-'
        && digits(5..7)
        && text[7] == b'-'
        && digits(8..10)
        && matches!(text[10], b'T' | b't')
        && digits(11..13)
        && text[13] == b':'
        && digits(14..16)
        && text[16] == b':'
        && digits(17..19)
        && &text[17..19] < b"60".as_slice();
    let fraction = match text[19] {
        b'.' => text[20..].iter().take_while(|b| b.is_ascii_digit()).count() + 1,
        _ => 0,
    };
    let zone = &text[19 + fraction..];
    let offset = matches!(zone, [b'Z' | b'z'])
        || (zone.len() == 6
            && matches!(zone[0], b'+' | b'-')
            && zone[3] == b':'
            && [1, 2, 4, 5].iter().all(|i| zone[*i].is_ascii_digit()));
    shape && fraction != 1 && fraction <= 10 && offset
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: "`effective_at` | RFC 3339"
    // spec: "`recorded_at` | RFC 3339"
    #[test]
    fn forms() {
        let rows: &[(&str, Option<(i64, u32)>)] = &[
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("1970-01-01t00:00:00z", Some((0, 0))),
            ("1969-12-31T23:59:59.5Z", Some((-1, 500_000_000))),
            ("2026-11-21T10:00:00.123456789+02:00", Some((1_795_248_000, 123_456_789))),
            ("2024-02-29T00:00:00-00:00", Some((1_709_164_800, 0))),
            ("9999-12-31T23:59:59Z", Some((253_402_300_799, 0))),
            ("0000-01-01T00:00:00Z", Some((-62_167_219_200, 0))),
            ("2026-11-21T10:00:00+24:00", None),
            ("2023-02-29T00:00:00Z", None),
            ("2026-11-21 10:00:00Z", None),
            ("2026-11-21T10:00:00", None),
            ("2026-11-21T10:00Z", None),
            ("2026-11-21T10:00:00+0200", None),
            ("2026-11-21T10:00:00.Z", None),
            ("2026-11-21T10:00:00.1234567890Z", None),
            ("2026-11-21T23:59:60Z", None),
            ("2026-11-21T24:00:00Z", None),
            ("20261121T100000Z", None),
            ("2026-11-21T10:00:00Z[UTC]", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let parts = Timestamp::parse(text).map(|t| (t.seconds(), t.nanos()));
            assert_eq!(parts, *expected, "{text:?}");
        }
    }

    // spec: "effective_date (UTC)"
    #[test]
    fn dates_are_utc() {
        let late = Timestamp::parse("2026-01-01T00:30:00+01:00").unwrap();
        assert_eq!(Timestamp::display_date(late.utc_date()), "2025-12-31");
        let old = Timestamp::parse("1969-12-31T23:59:59Z").unwrap();
        assert_eq!(Timestamp::display_date(old.utc_date()), "1969-12-31");
        let last = Timestamp::parse("9999-12-31T23:59:59.25Z").unwrap();
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.25Z");
        assert_eq!(Timestamp::display_micros(last.micros()), "9999-12-31T23:59:59.25Z");
    }
}
