//! Which rows of a view somebody wants: `column=value`, compared by value and not by text, so
//! `amount=1.50` finds 1.5.

use trueup_ledger::{Amount, Column, ColumnType, Datum, Scale, Table, Timestamp, View};

use crate::config::value::{self, nearest};
use crate::exit;

/// All conditions a row must meet.
#[derive(Debug, Default)]
pub(super) struct Filter(Vec<(usize, Datum)>);

impl Filter {
    /// Adds the condition that a column has this text. A column that is not there is never met.
    pub(super) fn text(mut self, view: View, column: &str, text: &str) -> Filter {
        let place = view.column_index(column).unwrap_or(usize::MAX);
        self.0.push((place, Datum::Text(text.into())));
        self
    }

    /// Adds a condition of the command line.
    pub(super) fn parse(
        mut self,
        view: View,
        condition: &str,
        scale: Scale,
    ) -> anyhow::Result<Filter> {
        let Some((name, text)) = condition.split_once('=') else {
            let what = format!("--where {condition}: write COLUMN=VALUE");
            return Err(exit::usage(what));
        };
        let Some(place) = view.column_index(name) else {
            return Err(exit::usage(unknown_column(view, name)));
        };
        let column = view.columns()[place];
        let value = datum(column, text, scale).ok_or_else(|| {
            let form = form(column.ty);
            exit::usage(format!("--where {condition}: {name} is {form}"))
        })?;
        self.0.push((place, value));
        Ok(self)
    }

    /// Says whether a row meets all conditions.
    pub(super) fn wants(&self, table: &Table, row: usize) -> bool {
        self.0.iter().all(|(place, wanted)| {
            let column = table.columns().get(*place);
            column.is_some_and(|column| column.value(row) == wanted.as_value())
        })
    }

    /// Says the same of a row that was put together from others.
    pub(super) fn wants_row(&self, row: &[Datum]) -> bool {
        self.0.iter().all(|(place, wanted)| row.get(*place) == Some(wanted))
    }
}

fn unknown_column(view: View, name: &str) -> String {
    let names: Vec<&str> = view.columns().iter().map(|column| column.name).collect();
    let hint = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its columns are {}", names.join(", ")),
    };
    format!("{} has no column {name}; {hint}", view.name())
}

fn datum(column: Column, text: &str, scale: Scale) -> Option<Datum> {
    match column.ty {
        ColumnType::Text => Some(Datum::Text(text.into())),
        ColumnType::Integer => text.parse().ok().map(Datum::Integer),
        ColumnType::Amount => amount(text, scale).map(Datum::Amount),
        ColumnType::Date => value::date(text).map(Datum::Date),
        ColumnType::Instant => Timestamp::parse(text).map(|at| Datum::Instant(at.micros())),
    }
}

/// Parses a sum: signed, and of up to 38 digits, unlike the amount of a posting.
fn amount(text: &str, scale: Scale) -> Option<i128> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    let places = usize::from(scale.digits());
    if !digits(whole) || !(fraction.is_empty() || digits(fraction)) || fraction.len() > places {
        return None;
    }
    let units: i128 = format!("{whole}{fraction:0<places$}").parse().ok()?;
    let units = Some(units).filter(|units| *units <= Amount::MAX_SUM.0)?;
    Some(if unsigned.len() < text.len() { -units } else { units })
}

fn form(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Text => "a text",
        ColumnType::Integer => "a whole number",
        ColumnType::Amount => "a plain decimal with no more digits than the store keeps",
        ColumnType::Date => "a date, as 2026-10-31",
        ColumnType::Instant => "an instant, as 2026-10-31T12:00:00Z",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_compared_by_value() {
        let scale = Scale::DEFAULT;
        let rows = [
            ("1.5", Some(1_500_000_000)),
            ("-1.50", Some(-1_500_000_000)),
            ("0", Some(0)),
            ("-0.000000001", Some(-1)),
            ("99999999999999999999999999999.999999999", Some(10_i128.pow(38) - 1)),
            ("100000000000000000000000000000", None),
            ("0.0000000001", None),
            ("1e3", None),
            ("1.", Some(1_000_000_000)),
            (".5", None),
            ("", None),
            ("--1", None),
        ];
        for (text, units) in rows {
            assert_eq!(amount(text, scale), units, "{text:?}");
        }
    }

    #[test]
    fn conditions() {
        let parse = |text: &str| Filter::default().parse(View::Postings, text, Scale::DEFAULT);
        for good in ["amount=1.50", "line=0", "effective_at=2026-01-01T00:00:00+01:00", "leg="] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["amount=x", "line=", "effective_at=2026-01-01", "status", "colour=red"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let hint = parse("acount=x").unwrap_err().to_string();
        assert!(hint.contains("did you mean `account`?"), "{hint}");
    }
}
