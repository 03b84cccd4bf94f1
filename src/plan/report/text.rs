//! A plan for eyes: sections of aligned columns, numbers rounded to what one can remember.

use std::fmt::{self, Display, Formatter};

use super::{Figure, Limit, Report, Unit};
use crate::numbers::grouped;

/// Columns of a line of text.
const WIDTH: usize = 100;

/// Shows a report.
pub(super) struct Text<'a>(pub(super) &'a Report);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report { inputs, measured, prices, figures, limits, not_modelled } = self.0;
        let asked = format!(
            "{} events a second at the peak, {} a day, {} bytes each, {} accounts, {} % corrections",
            grouped(inputs.peak_events_per_second),
            grouped(inputs.events_per_day),
            inputs.record_bytes,
            grouped(inputs.accounts),
            inputs.corrections_percent,
        );
        wrapped(f, "", &asked)?;
        let workload = format!("{:?}", inputs.workload).to_lowercase();
        wrapped(
            f,
            "",
            &format!(
                "constants of the workload {workload}, measured {} between {} and {} records on {}; \
                 prices of {}, {}",
                measured.day,
                grouped(measured.sizes[0]),
                grouped(measured.sizes[1]),
                measured.machine,
                prices.as_of,
                prices.source
            ),
        )?;
        let headings = [days(inputs.hot_days), days(inputs.history_days)];
        table(f, figures, &headings)?;
        writeln!(f, "\nwhat limits first (needed of what there is)")?;
        for limit in limits.iter().filter(|limit| !limit.tried) {
            line(f, limit)?;
        }
        writeln!(f, "\nbeyond what was tried")?;
        for limit in limits.iter().filter(|limit| limit.tried) {
            line(f, limit)?;
        }
        writeln!(f, "\nnot modelled")?;
        not_modelled.iter().try_for_each(|text| wrapped(f, "  - ", text))
    }
}

fn days(days: u64) -> String {
    format!("{} days", grouped(days))
}

fn table(f: &mut Formatter<'_>, figures: &[Figure], headings: &[String; 2]) -> fmt::Result {
    let name_width = width(figures.iter().map(|figure| figure.name.to_owned()));
    let of_all = figures.iter().flat_map(|figure| [first(figure), second(figure)]);
    let value_width = width(of_all.chain(headings.iter().cloned()));
    let mut section = "";
    for figure in figures {
        if figure.section != section {
            section = figure.section;
            write!(f, "\n{section}")?;
            if figure.later.is_some() {
                let indent = (2 + name_width).saturating_sub(section.chars().count());
                write!(f, "{:indent$}", "")?;
                write!(f, "  {:>value_width$}  {:>value_width$}", headings[0], headings[1])?;
            }
            writeln!(f)?;
        }
        let (value, later) = (first(figure), second(figure));
        let name = figure.name;
        write!(f, "  {name:name_width$}  {value:>value_width$}  {later:>value_width$}")?;
        writeln!(f, "  {}", figure.from)?;
    }
    Ok(())
}

fn width(texts: impl Iterator<Item = String>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

fn first(figure: &Figure) -> String {
    figure.value.map_or("never".to_owned(), |value| shown(value, figure.unit))
}

fn second(figure: &Figure) -> String {
    figure.later.map_or(String::new(), |value| shown(value, figure.unit))
}

fn line(f: &mut Formatter<'_>, limit: &Limit) -> fmt::Result {
    let Limit { what, needed, available, permille, remedy, .. } = limit;
    let (unit, over) = (limit.unit, if *permille > 1000 { "OVER" } else { "ok" });
    let share = if *permille < 10_000 {
        format!("{} %", permille.div_ceil(10))
    } else {
        format!("{} times", grouped(permille.div_ceil(1000)))
    };
    let numbers = match unit {
        "ms" => {
            let time = |ms| shown(ms, Unit::Milliseconds);
            format!("{} of {}", time(*needed), time(*available))
        }
        unit => format!("{} of {} {unit}", grouped(*needed), grouped(*available)),
    };
    let text = format!("{over:4} {share}: {what}: {numbers}");
    if *permille > 1000 {
        return wrapped(f, "  ", &format!("{text}; {remedy}"));
    }
    wrapped(f, "  ", &text)
}

/// Writes a paragraph; its further lines are as far in as its first.
fn wrapped(f: &mut Formatter<'_>, lead: &str, text: &str) -> fmt::Result {
    let indent = lead.chars().count();
    let mut column = indent;
    write!(f, "{lead}")?;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            write!(f, "\n{:indent$}", "")?;
            column = indent;
        } else if column > indent {
            write!(f, " ")?;
            column += 1;
        }
        write!(f, "{word}")?;
        column += length;
    }
    writeln!(f)
}

fn shown(value: u128, unit: Unit) -> String {
    match unit {
        Unit::Count if value >= 10_000_000_000 => {
            format!("{} billion", tenths(value.div_ceil(100_000_000)))
        }
        Unit::Count => grouped(value),
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::Millicores => format!("{} cores", tenths(value.div_ceil(100))),
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::Milliseconds => time(value),
        Unit::Nanoseconds => format!("{} µs", tenths(value.div_ceil(100))),
        Unit::Nanodollars => format!("${}", grouped(value.div_ceil(1_000_000_000))),
    }
}

fn bytes(value: u128) -> String {
    const UNITS: [(u128, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "KB")];
    match UNITS.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{} {name}", tenths((value * 10).div_ceil(*unit))),
        None => format!("{value} B"),
    }
}

fn time(ms: u128) -> String {
    const UNITS: [(u128, &str); 3] = [(172_800_000, "days"), (7_200_000, "h"), (120_000, "min")];
    match UNITS.iter().find(|(from, _)| ms >= *from) {
        Some((_, name @ "days")) => format!("{} {name}", tenths((ms * 10).div_ceil(86_400_000))),
        Some((_, name @ "h")) => format!("{} {name}", tenths((ms * 10).div_ceil(3_600_000))),
        Some((_, name)) => format!("{} {name}", tenths((ms * 10).div_ceil(60_000))),
        None if ms >= 1000 => format!("{} s", tenths(ms.div_ceil(100))),
        None => format!("{ms} ms"),
    }
}

/// Writes tenths with a point; none where the number is large.
fn tenths(value: u128) -> String {
    if value >= 1000 {
        return grouped(value.div_ceil(10));
    }
    format!("{}.{}", value / 10, value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_eyes() {
        let rows: &[(u128, Unit, &str)] = &[
            (9_999_999_999, Unit::Count, "9,999,999,999"),
            (105_348_168_000, Unit::Count, "106 billion"),
            (12_300_000_001, Unit::Count, "12.4 billion"),
            (999, Unit::Bytes, "999 B"),
            (1000, Unit::Bytes, "1.0 KB"),
            (1001, Unit::Bytes, "1.1 KB"),
            (99_900_000, Unit::Bytes, "99.9 MB"),
            (1_234_567_000_000_000, Unit::Bytes, "1,235 TB"),
            (1500, Unit::Millicores, "1.5 cores"),
            (1_500, Unit::Milliseconds, "1.5 s"),
            (900, Unit::Milliseconds, "900 ms"),
            (5_400_000, Unit::Milliseconds, "90.0 min"),
            (7_200_000, Unit::Milliseconds, "2.0 h"),
            (864_000_000, Unit::Milliseconds, "10.0 days"),
            (46_800, Unit::Nanoseconds, "46.8 µs"),
            (1, Unit::Nanodollars, "$1"),
            (1_234_000_000_001, Unit::Nanodollars, "$1,235"),
            (12_345, Unit::PerSecond, "12,345/s"),
        ];
        for (value, unit, expected) in rows {
            assert_eq!(shown(*value, *unit), *expected);
        }
    }
}
