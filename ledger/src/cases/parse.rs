//! From the text format of [`super`] to cases.

use super::{Case, Expectation, Extent, Pattern, Step};
use crate::draft::{AccountDraft, EventDraft, PostingDraft, SourceDraft};
use crate::table::Datum;
use crate::view::{Column, ColumnType};
use crate::{Event, Scale, Timestamp, View};

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
            "post" | "correct" | "reverse" | "refund" | "hold" | "capture" | "release"
            | "account" => self.event(word, rest),
            "expect" => self.expectation(number, Extent::All, true, rest),
            "expect-some" => self.expectation(number, Extent::Some, true, rest),
            "expect-none" => self.expectation(number, Extent::All, false, rest),
            _ if !self.columns.is_empty() => self.row(line),
            _ if line.contains('|') => Err("a row without `expect`".to_owned()),
            _ => Err(format!("{word:?} begins no line")),
        }
    }

    fn event(&mut self, kind: &str, rest: &str) -> Result<(), String> {
        self.columns.clear();
        self.events += 1;
        let case = self.cases.last_mut().ok_or("an event before any `case`")?;
        let event = event(kind, rest, self.events)?;
        match case.steps.last_mut() {
            Some(step) if step.expectations.is_empty() => step.events.push(event),
            _ => case.steps.push(Step { events: vec![event], expectations: Vec::new() }),
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
        if case.steps.is_empty() {
            case.steps.push(Step::default());
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

fn event(kind: &str, rest: &str, number: i64) -> Result<Event<'static>, String> {
    let mut words = rest.split_whitespace();
    let (Some(subject), Some(event_id)) = (words.next(), words.next()) else {
        return Err("an event needs a transaction and an event id".to_owned());
    };
    let account = (kind == "account").then(|| AccountDraft {
        name: Some(subject.to_owned().into()),
        normal_side: words.next().map(|side| side.to_owned().into()),
        overdraft: words.next().map(|overdraft| overdraft.to_owned().into()),
    });
    let mut draft = EventDraft {
        v: Some(1),
        event_id: Some(event_id.to_owned().into()),
        tenant: Some("acme".into()),
        kind: Some(kind.to_owned().into()),
        transaction_id: account.is_none().then(|| subject.to_owned().into()),
        revision: Some(if kind == "correct" { 2 } else { 1 }),
        effective_at: Some(instant_text("2026-01-01").into()),
        recorded_at: Some(recorded_at(&number.to_string())?.into()),
        source: Some(SourceDraft { service: Some("billing".into()), sequence: None }),
        expires_at: Some(instant_text("2026-02-01").into()),
        account,
        ..EventDraft::default()
    };
    let mut postings = Vec::new();
    for word in words {
        if let Some(effective_at) = word.strip_prefix('@') {
            draft.effective_at = Some(instant_text(effective_at).into());
        } else if let Some((name, value)) = word.split_once('=') {
            set(&mut draft, name, value)?;
        } else {
            postings.push(posting(word)?);
        }
    }
    // Who may do without lines leaves them out; a leg without lines is void and says so.
    let may_derive = matches!(kind, "reverse" | "capture" | "release");
    if kind == "account" && !postings.is_empty() {
        return Err("an account has no postings".to_owned());
    }
    draft.postings = (!may_derive || !postings.is_empty()).then_some(postings);
    draft.admit(Scale::DEFAULT).map_err(|rejection| rejection.to_string())
}

fn set(draft: &mut EventDraft<'static>, name: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<u64>().map_err(|_| format!("{value:?} is no whole number"));
    let text = Some(value.to_owned().into());
    match name {
        "tenant" => draft.tenant = text,
        "leg" => draft.leg = text,
        "rev" => draft.revision = Some(number()?),
        "rec" => draft.recorded_at = Some(recorded_at(value)?.into()),
        "exp" => draft.expires_at = Some(instant_text(value).into()),
        "of" => {
            let targets = [&mut draft.reverses, &mut draft.refunds, &mut draft.captures];
            targets.into_iter().for_each(|target| target.clone_from(&text));
            draft.releases = text;
        }
        "svc" | "seq" => {
            let source = draft.source.get_or_insert_default();
            match name {
                "svc" => source.service = text,
                _ => source.sequence = Some(number()?),
            }
        }
        _ => return Err(format!("unknown option {name:?}")),
    }
    Ok(())
}

fn posting(word: &str) -> Result<PostingDraft<'static>, String> {
    let mut parts = word.rsplitn(3, ':');
    let (Some(currency), Some(amount), Some(account)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(format!("{word:?} is no ACCOUNT:AMOUNT:CURRENCY"));
    };
    let (sign, digits) = sign_of(amount);
    Ok(PostingDraft {
        account: Some(account.to_owned().into()),
        side: Some(if sign < 0 { "credit" } else { "debit" }.into()),
        amount: Some(digits.to_owned().into()),
        currency: Some(currency.to_owned().into()),
    })
}
