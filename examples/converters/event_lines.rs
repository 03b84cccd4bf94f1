//! What the converters share: an event as a line of JSON, and the way from a file to such lines.
//!
//! A line is written only if trueup would accept it: each is read back with the decoder that reads
//! the log, so what a converter prints is not quarantined later. Amounts are integers of
//! [`SCALE`], never floats. Nothing is printed unless the whole file could be converted.

// Each converter needs a part of what is here.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use trueup_ledger::{Amount, Scale};
use trueup_sources::{Format, Json};

/// The fraction digits of a store that says nothing else.
pub(crate) const SCALE: Scale = Scale::DEFAULT;

/// One event, in the order in which its fields are written.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Line {
    pub(crate) v: u8,
    pub(crate) event_id: String,
    pub(crate) tenant: String,
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction_id: Option<String>,
    pub(crate) effective_at: String,
    pub(crate) recorded_at: String,
    pub(crate) source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refunds: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) postings: Option<Vec<Posting>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Account>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) statement: Option<Statement>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<&'static str, String>,
}

impl Line {
    /// An event of one instant, that of its effect and of its record.
    pub(crate) fn new(event_id: &str, tenant: &str, service: &'static str, at: &str) -> Line {
        Line {
            v: 1,
            event_id: event_id.to_owned(),
            tenant: tenant.to_owned(),
            effective_at: at.to_owned(),
            recorded_at: at.to_owned(),
            source: Source { service, sequence: None },
            ..Line::default()
        }
    }
}

#[derive(Clone, Default, Serialize)]
pub(crate) struct Source {
    pub(crate) service: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<u64>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Posting {
    account: String,
    side: &'static str,
    amount: String,
    currency: String,
    #[serde(skip)]
    units: i128,
}

#[derive(Clone, Serialize)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) normal_side: &'static str,
    pub(crate) overdraft: &'static str,
}

#[derive(Clone, Serialize)]
pub(crate) struct Statement {
    pub(crate) processor: String,
    pub(crate) reference: String,
    pub(crate) amount: String,
    pub(crate) currency: String,
    pub(crate) value_date: String,
}

/// A posting of so many units: a debit, or where they are negative a credit.
pub(crate) fn posting(account: &str, units: i128, currency: &str) -> Posting {
    let side = if units < 0 { "credit" } else { "debit" };
    let amount = plain(units).trim_start_matches('-').to_owned();
    Posting { account: account.to_owned(), side, amount, currency: currency.to_owned(), units }
}

/// Units as a decimal text, with a sign where they are negative.
pub(crate) fn plain(units: i128) -> String {
    Amount(units).display(SCALE).to_string()
}

/// The units of a decimal text without a sign.
pub(crate) fn units(text: &str) -> Result<i128> {
    Amount::parse(text, SCALE).map(|amount| amount.0).map_err(|error| anyhow!("{text:?}: {error}"))
}

/// A sum that has not wrapped.
pub(crate) fn add(left: i128, right: i128) -> Result<i128> {
    left.checked_add(right).context("a sum has more than 38 digits")
}

/// What a file became: lines for standard output, and notes on what needs attention.
#[derive(Default)]
pub(crate) struct Converted {
    pub(crate) lines: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl Converted {
    /// Adds a line.
    ///
    /// # Errors
    /// If trueup would not accept it, or if its debits and credits differ.
    pub(crate) fn push(&mut self, line: &Line) -> Result<()> {
        let mut sums = BTreeMap::new();
        for posting in line.postings.iter().flatten() {
            let sum: &mut i128 = sums.entry(&posting.currency).or_default();
            *sum = add(*sum, posting.units)?;
        }
        if let Some((currency, left)) = sums.iter().find(|(_, sum)| **sum != 0) {
            bail!("debits and credits differ by {} {currency}", plain(*left));
        }
        let text = serde_json::to_string(line)?;
        match Json.decode(text.as_bytes()).and_then(|found| found.draft.admit(SCALE)) {
            Err(rejection) => bail!("trueup would quarantine this: {rejection}"),
            Ok(_) => self.lines.push(text),
        }
        Ok(())
    }
}

/// Converts a file, standard input where it is `-`, or the sample where there is none, and prints
/// the lines.
pub(crate) fn convert(
    file: Option<&Path>,
    sample: &str,
    converter: impl Fn(&str) -> Result<Converted>,
) -> Result<Converted> {
    let name = match file {
        None => "the sample".to_owned(),
        Some(file) if file == Path::new("-") => "standard input".to_owned(),
        Some(file) => file.display().to_string(),
    };
    let text = match file {
        None => {
            eprintln!("note: no FILE is given, so this is the sample that comes with trueup");
            sample.to_owned()
        }
        Some(file) => {
            let mut bytes = Vec::new();
            let read = if file == Path::new("-") {
                std::io::stdin().read_to_end(&mut bytes).map(|_| ())
            } else {
                std::fs::read(file).map(|found| bytes = found)
            };
            read.map_err(|error| anyhow!("{name}: cannot be read: {error}"))?;
            String::from_utf8(bytes).map_err(|error| {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
                anyhow!("{name}: line {line}: not UTF-8; convert the file first, as with iconv")
            })?
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let converted = converter(text).map_err(|error| anyhow!("{name}: {error}"))?;
    converted.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let mut out = std::io::stdout().lock();
    converted.lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()?;
    eprintln!("{} events from {name}", converted.lines.len());
    Ok(converted)
}

/// How a converter ends: an error is one line, whatever `RUST_BACKTRACE` says.
pub(crate) fn ended(result: &Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}; nothing was converted");
            ExitCode::FAILURE
        }
    }
}
