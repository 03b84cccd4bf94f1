//! From the text format of [`super`] to cases.

use super::{Case, Expectation, Extent, Pattern, Step};
use crate::table::Datum;
use crate::view::{Column, ColumnType};
use crate::{Delayed, Kind, Rules, Scale, Timestamp, View};

mod event;

/// Parses the cases of one text.
///
/// # Errors
/// The first line that cannot be read, or an event that admission would quarantine.
pub fn parse(text: &str) -> Result<Vec<Case>, String> {
    let mut reading = Reading::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            reading
                .line(index + 1, line)
                .map_err(|error| format!("line {}: {error}", index + 1))?;
        }
    }
    Ok(reading.cases)
}

#[derive(Default)]
struct Reading {
    cases: Vec<Case>,
    /// How many events the case has so far.
    events: i64,
    /// The columns of the rows to come; none after `expect-none` or an event.
    columns: Vec<usize>,
}

/// The epoch time of the first step.
const FIRST_STEP: &str = "2026-01-02";

/// Returns the step that is being written: a new one behind expectations.
fn open_step(case: &mut Case) -> &mut Step {
    let at = match case.steps.last() {
        Some(step) => step.at + 1_000_000,
        None => instant(FIRST_STEP).map_or(0, Timestamp::micros),
    };
    if case.steps.last().is_none_or(|step| !step.expectations.is_empty()) {
        case.steps.push(Step { at, ..Step::default() });
    }
    let last = case.steps.len() - 1;
    &mut case.steps[last]
}

impl Reading {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "case" => {
                self.events = 0;
                self.columns.clear();
                self.cases.push(Case {
                    name: rest.trim().to_owned(),
                    spec: Vec::new(),
                    rules: Rules::default(),
                    is_historic: false,
                    decisions: Vec::new(),
                    steps: Vec::new(),
                });
                Ok(())
            }
            "spec:" | "decision:" => {
                let case = self.cases.last_mut().ok_or("a quotation before any `case`")?;
                let quotations = if word == "spec:" { &mut case.spec } else { &mut case.decisions };
                quotations.push(rest.trim().to_owned());
                Ok(())
            }
            "rules" => self.rules(rest),
            "at" => self.at(rest.trim()),
            kind if Kind::by_name(kind).is_some() => self.event(word, rest),
            "expect" => self.expectation(number, Extent::All, true, rest),
            "expect-some" => self.expectation(number, Extent::Some, true, rest),
            "expect-none" => self.expectation(number, Extent::All, false, rest),
            _ if !self.columns.is_empty() => self.row(line),
            _ if line.contains('|') => Err("a row without `expect`".to_owned()),
            _ => Err(format!("{word:?} begins no line")),
        }
    }

    fn case(&mut self) -> Result<&mut Case, String> {
        self.cases.last_mut().ok_or_else(|| "a line before any `case`".to_owned())
    }

    fn event(&mut self, kind: &str, rest: &str) -> Result<(), String> {
        self.columns.clear();
        self.events += 1;
        let number = self.events;
        let case = self.cases.last_mut().ok_or("an event before any `case`")?;
        let event = event::event(kind, rest, number)?;
        case.is_historic |= event.kind.is_of_period();
        open_step(case).events.push(event);
        Ok(())
    }

    fn at(&mut self, text: &str) -> Result<(), String> {
        let at = instant(text)?.micros();
        self.columns.clear();
        let case = self.case()?;
        case.is_historic = true;
        let step = open_step(case);
        if !step.events.is_empty() {
            return Err("`at` comes before the events of its step".to_owned());
        }
        step.at = at;
        Ok(())
    }

    fn rules(&mut self, rest: &str) -> Result<(), String> {
        let case = self.case()?;
        let seconds = |text: &str| {
            let seconds = text.parse::<i64>().map_err(|_| format!("{text:?} is no number"));
            seconds.map(|seconds| seconds * 1_000_000)
        };
        for word in rest.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or("a rule is NAME=VALUE")?;
            let rules = &mut case.rules;
            match name {
                "alert_grace" => rules.alert_grace = seconds(value)?,
                "statement_mismatch.after" => rules.statement_mismatch_after = seconds(value)?,
                "delayed_event.after" => {
                    rules.delayed = Some(Delayed { after: seconds(value)?, since: None });
                    case.is_historic = true;
                }
                "delayed_event.since" => {
                    let delayed = rules.delayed.as_mut().ok_or("`after` comes before `since`")?;
                    delayed.since = Some(instant(value)?);
                }
                _ => match name.strip_prefix("clearing.") {
                    Some(processor) => drop(rules.clearing.insert(processor.into(), value.into())),
                    None => return Err(format!("unknown rule {name:?}")),
                },
            }
        }
        Ok(())
    }

    fn expectation(
        &mut self,
        line: usize,
        extent: Extent,
        has_rows: bool,
        rest: &str,
    ) -> Result<(), String> {
        let name_ends = rest.find(|c: char| c == '(' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(name_ends);
        let view = View::by_name(name).ok_or_else(|| format!("no view {name:?}"))?;
        let (columns, filter) = match rest.strip_prefix('(') {
            Some(rest) => {
                let (names, filter) = rest.split_once(')').ok_or("a `)` is missing")?;
                let columns: Result<_, _> =
                    names.split(',').map(|name| column_of(view, name.trim())).collect();
                (columns?, filter)
            }
            None => ((0..view.columns().len()).collect(), rest),
        };
        let filter: Result<Pattern, String> = filter
            .split_whitespace()
            .map(|option| {
                let (name, text) = option.split_once('=').ok_or("a filter is COLUMN=VALUE")?;
                let column = column_of(view, name)?;
                Ok((column, datum(view.columns()[column], text)?))
            })
            .collect();
        let case = self.cases.last_mut().ok_or("an expectation before any `case`")?;
        // Alerts are of every commit, so that it matters into how many the events are cut.
        case.is_historic |= view == View::Alerts;
        if case.steps.is_empty() {
            open_step(case);
        }
        let step = case.steps.last_mut().ok_or("an expectation before any step")?;
        step.expectations.push(Expectation {
            line,
            view,
            extent,
            filter: filter?,
            rows: Vec::new(),
        });
        self.columns = if has_rows { columns } else { Vec::new() };
        Ok(())
    }

    fn row(&mut self, line: &str) -> Result<(), String> {
        let texts: Vec<_> = line.split('|').map(str::trim).collect();
        if texts.len() != self.columns.len() {
            let (values, columns) = (texts.len(), self.columns.len());
            return Err(format!("{values} values for {columns} columns"));
        }
        let expectation = self
            .cases
            .last_mut()
            .and_then(|case| case.steps.last_mut())
            .and_then(|step| step.expectations.last_mut())
            .ok_or("a row without `expect`")?;
        let mut pattern = Vec::new();
        for (column, text) in self.columns.iter().zip(texts) {
            if text != "*" {
                pattern.push((*column, datum(expectation.view.columns()[*column], text)?));
            }
        }
        expectation.rows.push(pattern);
        Ok(())
    }
}

fn column_of(view: View, name: &str) -> Result<usize, String> {
    view.column_index(name).ok_or_else(|| format!("{} has no column {name:?}", view.name()))
}

fn datum(column: Column, text: &str) -> Result<Datum, String> {
    let wrong = || format!("{text:?} is no value of {}", column.name);
    match column.ty {
        ColumnType::Text => Ok(Datum::Text(text.into())),
        ColumnType::Integer => text.parse().map(Datum::Integer).map_err(|_| wrong()),
        ColumnType::Date => Ok(Datum::Date(instant(text)?.utc_date())),
        ColumnType::Instant => Ok(Datum::Instant(instant(text)?.micros())),
        ColumnType::Amount => units(text).map(Datum::Amount).ok_or_else(wrong),
    }
}

/// Reads a signed decimal as units: a sum, which may be larger than a posting can be.
fn units(text: &str) -> Option<i128> {
    let (sign, digits) = sign_of(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let width = usize::from(Scale::DEFAULT.digits());
    if !plain(whole) || !plain(fraction) || fraction.len() > width {
        return None;
    }
    let units: i128 = format!("{whole}{fraction:0<width$}").parse().ok()?;
    Some(sign * units)
}

fn sign_of(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    }
}

/// Completes a date to its first instant.
fn instant_text(text: &str) -> String {
    if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(&instant_text(text)).ok_or_else(|| format!("{text:?} is no date or instant"))
}

/// Reads `seconds` after 2026-01-01 as an instant, or an instant as it is.
fn recorded_at(text: &str) -> Result<String, String> {
    match text.parse::<i64>() {
        Ok(seconds) => {
            let start = instant("2026-01-01")?.seconds();
            Timestamp::from_parts(start + seconds, 0)
                .map(|at| at.to_string())
                .ok_or_else(|| format!("{text:?} is no instant"))
        }
        Err(_) => Ok(instant_text(text)),
    }
}
