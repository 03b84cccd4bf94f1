//! How far a command is, on a terminal; nothing anywhere else. What is shown goes away by itself
//! when the command ends, an error included.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Returns a bar up to `total`, hidden where standard error is no terminal.
pub(super) fn bar(total: u64, what: &'static str) -> ProgressBar {
    let bar =
        ProgressBar::with_draw_target(Some(total), target()).with_finish(ProgressFinish::AndClear);
    let template = "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta})";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// Returns a line that is rewritten in place, hidden where standard error is no terminal.
pub(super) fn line() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, target()).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        line.set_style(style);
    }
    if !line.is_hidden() {
        line.enable_steady_tick(Duration::from_millis(200));
    }
    line
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(5)
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// Returns how many a second `count` in `elapsed` are.
pub(super) fn per_second(count: u64, elapsed: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000 / elapsed.as_micros().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

/// Formats a duration in seconds with one digit behind the point, for people.
pub(super) fn seconds(elapsed: Duration) -> String {
    format!("{}.{} s", elapsed.as_secs(), elapsed.subsec_millis() / 100)
}
