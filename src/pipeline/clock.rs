//! The epoch clock: the time of day, except that it never goes back, neither within a run nor behind
//! the last commit. What falls due by the clock is shown in commits, and a commit is never undone.

use std::time::SystemTime;

/// Returns the time of day, in microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Gives epochs their times.
pub(crate) struct Clock {
    last: i64,
    now: Box<dyn Fn() -> i64 + Send>,
}

impl Clock {
    /// Returns the clock of a run behind an epoch of this time; `i64::MIN` where there is none.
    pub(crate) fn since(last: i64) -> Clock {
        Clock::of(last, now_micros)
    }

    /// Returns a clock with another time of day.
    pub(crate) fn of(last: i64, now: impl Fn() -> i64 + Send + 'static) -> Clock {
        Clock { last, now: Box::new(now) }
    }

    /// Returns the least time that the next epoch can have.
    pub(crate) fn peek(&self) -> i64 {
        (self.now)().max(self.last)
    }

    /// Returns the time of an epoch that is closed now.
    pub(crate) fn close(&mut self) -> i64 {
        self.last = self.peek();
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn it_stands_still_where_the_time_of_day_goes_back() {
        let day = Arc::new(AtomicI64::new(50));
        let now = Arc::clone(&day);
        let mut clock = Clock::of(100, move || now.load(Ordering::Relaxed));
        for (time, expected) in [(50, 100), (120, 120), (110, 120), (121, 121)] {
            day.store(time, Ordering::Relaxed);
            assert_eq!((clock.peek(), clock.close()), (expected, expected), "at {time}");
        }
        assert!(Clock::since(i64::MIN).peek() > 1_700_000_000_000_000);
    }
}
