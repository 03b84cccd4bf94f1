//! Turns a bank statement of ISO 20022 (camt.053, any version) into `statement_line` events:
//! `cargo run --example from_camt053 -- FILE > events.jsonl`.
//!
//! Each booked entry becomes a line, or each of its details where there are several that add up to
//! it. The reference is the payment's EndToEndId, else the bank's own. The sign is that of
//! `CdtDbtInd`, of an entry with `RvslInd` too: there it says how the reversal was booked, by the
//! standard, so that a reversal and what it takes back add up to nothing. Both times are the start
//! of the booking day in UTC. A statement whose entries do not lead from its opening balance
//! exactly to its closing balance is an error: a part of it is missing or wrong.

mod event_lines;
mod xml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use jiff::civil::Date;

use event_lines::{Converted, Line, Statement, add, plain, units};
use xml::Element;

/// Turns a bank statement (camt.053) into events for `trueup run --input`.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// The statement, or `-` for standard input; the bundled sample if there is none.
    file: Option<PathBuf>,
    /// The tenant of all events.
    #[arg(long, default_value = "books")]
    pub(crate) tenant: String,
    /// The processor of all lines; without it, the IBAN or number of the account.
    #[arg(long)]
    pub(crate) processor: Option<String>,
}

pub(crate) const SAMPLE: &str = include_str!("samples/statement.camt053.xml");

/// Converts a file, or without arguments the sample.
pub fn main() -> ExitCode {
    event_lines::ended(&run(&Arguments::parse()))
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let converter = |text: &str| convert(text, arguments);
    let converted = event_lines::convert(arguments.file.as_deref(), SAMPLE, converter)?;
    if arguments.file.is_none() {
        let has = |text: &str| converted.lines.iter().any(|line| line.contains(text));
        assert_eq!(converted.lines.len(), 7);
        assert!(has(r#""reference":"INV-1","amount":"119","currency":"EUR""#));
        assert!(has(r#""amount":"-3.9","currency":"EUR","value_date":"2026-01-30""#));
        assert!(converted.notes.iter().any(|note| note.contains("1 × PDNG")));
    }
    Ok(())
}

/// Converts a document.
///
/// # Errors
/// The first element that cannot be converted, or a statement that does not add up.
pub(crate) fn convert(text: &str, arguments: &Arguments) -> Result<Converted> {
    let root = xml::read(text)?;
    let message = root.at("Document/BkToCstmrStmt").or_else(|| root.at("BkToCstmrStmt")).context(
        "line 1: no <BkToCstmrStmt>, so this is no camt.053; ask the bank for that format",
    )?;
    if message.at("Stmt").is_none() {
        bail!("line {}: the message has no statement; ask the bank for one", message.line);
    }
    let mut converted = Converted::default();
    for found in message.all("Stmt") {
        let id = found.required("Id")?;
        let account = found.text("Acct/Id/IBAN").or_else(|| found.text("Acct/Id/Othr/Id"));
        let account = account
            .with_context(|| format!("line {}: the statement names no account", found.line))?;
        statement(found, id, account, arguments, &mut converted)?;
    }
    Ok(converted)
}

/// One statement: its lines, and whether they add up.
fn statement(
    found: &Element,
    id: &str,
    account: &str,
    arguments: &Arguments,
    converted: &mut Converted,
) -> Result<()> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, entry) in found.all("Ntry").enumerate() {
        let status = entry.text("Sts/Cd").or_else(|| entry.text("Sts"));
        // Every entry of a camt.053 is booked where it says nothing else.
        let status = status.unwrap_or("BOOK");
        if status != "BOOK" {
            *skipped.entry(status).or_default() += 1;
            continue;
        }
        let money = signed(entry, entry)?;
        let sum = sums.entry(money.1).or_default();
        *sum = add(*sum, money.0)?;
        let parts = details(entry, money, converted)?;
        for (number, (detail, money)) in parts.into_iter().enumerate() {
            let processor = arguments.processor.as_deref().unwrap_or(account).to_owned();
            let reference = reference(entry, detail, &format!("{id}/{}", index + 1));
            let (amount, currency) = (plain(money.0), money.1.to_owned());
            let (booked, value_date) = days(entry)?;
            let event_id = format!("{account}/{id}/{}/{}", index + 1, number + 1);
            let midnight = format!("{booked}T00:00:00Z");
            let line = Line {
                kind: "statement_line",
                statement: Some(Statement { processor, reference, amount, currency, value_date }),
                metadata: metadata(entry, detail),
                ..Line::new(&event_id, &arguments.tenant, "camt053", &midnight)
            };
            converted.push(&line).map_err(|error| anyhow!("line {}: {error}", entry.line))?;
        }
    }
    for (status, count) in skipped {
        converted.notes.push(format!("statement {id}: left out, not booked: {count} × {status}"));
    }
    let checked = check(found, id, &sums)?;
    converted.notes.push(checked);
    Ok(())
}

/// Checks that opening + entries = closing, and says so.
fn check(found: &Element, id: &str, sums: &BTreeMap<&str, i128>) -> Result<String> {
    let balance = |codes: &[&str]| {
        let of = |code: &&str| {
            found.all("Bal").find(|balance| balance.text("Tp/CdOrPrtry/Cd") == Some(code))
        };
        codes.iter().find_map(of).map(|balance| signed(balance, balance)).transpose()
    };
    // What a bank calls the previous closing balance is the opening one.
    let (Some(opening), Some(closing)) = (balance(&["OPBD", "PRCD"])?, balance(&["CLBD"])?) else {
        return Ok(format!("statement {id}: NOT CHECKED, it has no opening and closing balance"));
    };
    let currency = opening.1;
    let other = sums.keys().chain([&closing.1]).find(|other| **other != currency);
    if let Some(other) = other {
        bail!("line {}: statement {id} is in {currency}, but has {other} too", found.line);
    }
    let moved = sums.get(currency).copied().unwrap_or_default();
    let expected = add(opening.0, moved)?;
    let (from, to) = (plain(opening.0), plain(closing.0));
    if expected != closing.0 {
        bail!(
            "line {}: statement {id} does not add up: opening {from} + entries {} = {} {currency}, \
             but closing is {to}, off by {}; fetch the whole statement anew",
            found.line,
            plain(moved),
            plain(expected),
            plain(add(closing.0, -expected)?),
        );
    }
    Ok(format!(
        "statement {id} adds up: opening {from} + entries {} = closing {to} {currency}",
        plain(moved)
    ))
}

type Money<'a> = (i128, &'a str);

/// The details of an entry with what each moved; the entry itself, where they do not split it.
fn details<'a>(
    entry: &'a Element,
    whole: Money<'a>,
    converted: &mut Converted,
) -> Result<Vec<(Option<&'a Element>, Money<'a>)>> {
    let all: Vec<&Element> = entry.all("NtryDtls").flat_map(|group| group.all("TxDtls")).collect();
    let [_, _, ..] = all.as_slice() else {
        return Ok(vec![(all.first().copied(), whole)]);
    };
    let mut parts = Vec::new();
    let mut sum = 0;
    for detail in &all {
        let holder = [Some(*detail), detail.at("AmtDtls/TxAmt")];
        let Some(holder) = holder.into_iter().flatten().find(|holder| holder.at("Amt").is_some())
        else {
            break;
        };
        let sign = if detail.at("CdtDbtInd").is_some() { detail } else { entry };
        let money = signed(holder, sign)?;
        if money.1 != whole.1 {
            break;
        }
        sum = add(sum, money.0)?;
        parts.push((Some(*detail), money));
    }
    if parts.len() == all.len() && sum == whole.0 {
        return Ok(parts);
    }
    converted.notes.push(format!(
        "line {}: the {} details do not say how the {} {} is split, so this is one line",
        entry.line,
        all.len(),
        plain(whole.0),
        whole.1
    ));
    Ok(vec![(None, whole)])
}

/// What the payment is called, and where it has no name, what the bank calls it.
fn reference(entry: &Element, detail: Option<&Element>, fallback: &str) -> String {
    let paths = ["Refs/EndToEndId", "Refs/AcctSvcrRef", "Refs/TxId"];
    let of_detail = paths.iter().filter_map(|path| detail?.text(path));
    let of_entry = ["AcctSvcrRef", "NtryRef"].iter().filter_map(|path| entry.text(path));
    // What stands where the payer gave no reference, by the rules of SEPA.
    let found = of_detail.chain(of_entry).find(|reference| *reference != "NOTPROVIDED");
    found.unwrap_or(fallback).to_owned()
}

fn metadata(entry: &Element, detail: Option<&Element>) -> BTreeMap<&'static str, String> {
    let text = detail.and_then(|detail| detail.text("RmtInf/Ustrd"));
    let text = text.or_else(|| entry.text("AddtlNtryInf")).map(|text| ("text", text.to_owned()));
    let reversal = matches!(entry.text("RvslInd"), Some("true" | "1"));
    text.into_iter().chain(reversal.then(|| ("reversal", "true".to_owned()))).collect()
}

/// The booking and the value date; where one of them is missing, the other stands for both.
fn days(entry: &Element) -> Result<(String, String)> {
    let (booked, valued) = (day(entry, "BookgDt")?, day(entry, "ValDt")?);
    match (booked.or(valued), valued.or(booked)) {
        (Some(booked), Some(valued)) => Ok((booked.to_string(), valued.to_string())),
        _ => bail!("line {}: the entry has no <BookgDt> and no <ValDt>", entry.line),
    }
}

/// The `Amt` of one element with the sign that `CdtDbtInd` of another gives it.
fn signed<'a>(amount: &'a Element, sign: &Element) -> Result<Money<'a>> {
    let found = amount.at("Amt").with_context(|| format!("line {}: no <Amt>", amount.line))?;
    let currency = found
        .attribute("Ccy")
        .with_context(|| format!("line {}: <Amt> names no currency (Ccy)", found.line))?;
    let units =
        units(found.text.trim()).map_err(|error| anyhow!("line {}: {error}", found.line))?;
    match sign.required("CdtDbtInd")? {
        "CRDT" => Ok((units, currency)),
        "DBIT" => Ok((-units, currency)),
        other => bail!("line {}: CdtDbtInd {other:?} is neither CRDT nor DBIT", sign.line),
    }
}

/// The day of a date or of a time as the bank writes it, in the bank's own zone.
fn day(entry: &Element, name: &str) -> Result<Option<Date>> {
    let text = entry.text(&format!("{name}/Dt")).or_else(|| entry.text(&format!("{name}/DtTm")));
    let day = text.map(|text| text.get(..10).unwrap_or(text).parse::<Date>()).transpose();
    day.map_err(|error| anyhow!("line {}: {name}: {error}", entry.line))
}
