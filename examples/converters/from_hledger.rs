//! Turns a journal of hledger, ledger or beancount into events:
//! `cargo run --example from_hledger -- FILE > events.jsonl`.
//!
//! Each transaction becomes one `post`, each declared account one `account`. Its id is made of its
//! date, its number within that date and a hash of its description, and its sequence is its number
//! in the file: what is appended at the end changes neither. Both times are the start of its day
//! in UTC, since a journal does not say when something was written. A price is balanced on
//! `equity:conversion`, so that each currency balances by itself.

mod event_lines;
mod journal;
mod journal_amount;
mod journal_text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Parser;

use event_lines::{Account, Converted, Line, Posting, Source, add, plain, posting};
use journal::{Declared, Transaction};

/// Turns a journal of hledger, ledger or beancount into events for `trueup run --input`.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// The journal, or `-` for standard input; the bundled sample if there is none.
    file: Option<PathBuf>,
    /// The tenant of all events.
    #[arg(long, default_value = "books")]
    pub(crate) tenant: String,
}

pub(crate) const SAMPLE: &str = include_str!("samples/sample.journal");
const SERVICE: &str = "hledger";
const CONVERSION: &str = "equity:conversion";

/// Converts a file, or without arguments the sample.
pub fn main() -> ExitCode {
    event_lines::ended(&run(&Arguments::parse()))
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let converter = |text: &str| convert(text, &arguments.tenant);
    let converted = event_lines::convert(arguments.file.as_deref(), SAMPLE, converter)?;
    if arguments.file.is_none() {
        let post = |line: &&String| line.contains(r#""kind":"post""#);
        assert_eq!(converted.lines.iter().filter(post).count(), 8);
        assert_eq!(converted.lines.len(), 15);
        // The rent's bank side is elided in the sample, and inferred here.
        let bank = r#"{"account":"assets:bank","side":"credit","amount":"950","currency":"EUR"}"#;
        assert!(converted.lines.iter().any(|line| line.contains(bank)));
    }
    Ok(())
}

/// Converts a journal.
///
/// # Errors
/// The first line that cannot be converted, and what to do about it.
pub(crate) fn convert(text: &str, tenant: &str) -> Result<Converted> {
    let journal = journal::read(text)?;
    let mut converted = Converted::default();
    for (what, (count, line)) in &journal.skipped {
        converted.notes.push(format!("left out: {count} × {what}, the first on line {line}"));
    }
    for (commodity, currency) in journal.renamed() {
        converted.notes.push(format!("commodity {commodity:?} is written {currency}"));
    }
    let mut lines = Vec::new();
    for declared in &journal.declared {
        let Some(normal_side) = normal_side(&declared.account) else {
            let (line, account) = (declared.line, &declared.account);
            converted.notes.push(format!(
                "line {line}: the root of {account:?} says no normal side; it counts as debit"
            ));
            continue;
        };
        lines.push((declared.line, account(declared, normal_side, tenant)));
    }
    let mut of_day = BTreeMap::new();
    for (index, transaction) in journal.transactions.iter().enumerate() {
        let of_day = of_day.entry(transaction.date).or_insert(0);
        *of_day += 1;
        let line = post(transaction, index + 1, *of_day, tenant)
            .map_err(|error| anyhow!("line {}: {error}", transaction.line))?;
        lines.push((transaction.line, line));
    }
    // In the order of the journal, so that what is appended to it is appended to the events.
    lines.sort_by_key(|(number, _)| *number);
    for (number, line) in &lines {
        converted.push(line).map_err(|error| anyhow!("line {number}: {error}"))?;
    }
    Ok(converted)
}

/// The event of a transaction.
fn post(transaction: &Transaction, number: usize, of_day: u32, tenant: &str) -> Result<Line> {
    let Transaction { date, description, .. } = transaction;
    let id = format!("{date}-{of_day}-{:016x}", fnv1a(description));
    let line = Line::new(&id, tenant, SERVICE, &format!("{date}T00:00:00Z"));
    Ok(Line {
        kind: "post",
        transaction_id: Some(id),
        source: Source { service: SERVICE, sequence: Some(u64::try_from(number)?) },
        postings: Some(postings(transaction)?),
        metadata: [("description", description.clone())].into(),
        ..line
    })
}

/// The postings of a transaction, with what is elided inferred and prices balanced.
fn postings(transaction: &Transaction) -> Result<Vec<Posting>> {
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    let mut elided = 0;
    for posting in &transaction.postings {
        match posting.worth.as_ref().or(posting.amount.as_ref()) {
            Some(worth) => {
                let sum = sums.entry(&worth.currency).or_default();
                *sum = add(*sum, worth.units)?;
            }
            None => elided += 1,
        }
    }
    let left: Vec<(&str, i128)> = sums
        .iter()
        .filter(|(_, sum)| **sum != 0)
        .map(|(currency, sum)| (*currency, *sum))
        .collect();
    let shown: Vec<String> = left.iter().map(|(c, sum)| format!("{} {c}", plain(*sum))).collect();
    let shown = shown.join(" and ");
    let inferred = match (elided, left.as_slice(), sums.len()) {
        (0, [], _) => ("", 0),
        (0, _, _) => bail!(
            "the entry does not balance, {shown} is left over; correct it, or give a price (`@@`)"
        ),
        (1, [(currency, sum)], _) => (*currency, -sum),
        // Nothing is left for the posting without an amount, in the one currency that there is.
        (1, [], 1) => (sums.keys().next().copied().unwrap_or_default(), 0),
        (1, [], _) => bail!("an amount is left out where nothing says its currency; write it"),
        (1, _, _) => bail!("an amount is left out where {shown} is left over; write both amounts"),
        _ => bail!("{elided} amounts are left out; only one can be inferred, so write the others"),
    };
    let mut lines = Vec::new();
    for journal::Posting { account, amount, worth } in &transaction.postings {
        match (amount, worth) {
            (None, _) => lines.push(posting(account, inferred.1, inferred.0)),
            (Some(amount), None) => lines.push(posting(account, amount.units, &amount.currency)),
            (Some(amount), Some(worth)) => {
                lines.push(posting(account, amount.units, &amount.currency));
                lines.push(posting(CONVERSION, -amount.units, &amount.currency));
                lines.push(posting(CONVERSION, worth.units, &worth.currency));
            }
        }
    }
    Ok(lines)
}

/// The event of a declared account. It has no sequence, so that declaring one more leaves those of
/// the transactions as they are.
fn account(declared: &Declared, normal_side: &'static str, tenant: &str) -> Line {
    let since = declared.since.map_or("1970-01-01".to_owned(), |date| date.to_string());
    let name = declared.account.clone();
    let id = format!("account-{:016x}", fnv1a(&name));
    Line {
        kind: "account",
        account: Some(Account { name, normal_side, overdraft: "allowed" }),
        ..Line::new(&id, tenant, SERVICE, &format!("{since}T00:00:00Z"))
    }
}

/// The side on which an account grows, by the English root names of hledger and beancount.
fn normal_side(account: &str) -> Option<&'static str> {
    match account.split(':').next()?.to_lowercase().as_str() {
        "asset" | "assets" | "expense" | "expenses" => Some("debit"),
        "liability" | "liabilities" | "debt" | "debts" | "equity" => Some("credit"),
        "income" | "revenue" | "revenues" => Some("credit"),
        _ => None,
    }
}

/// FNV-1a of 64 bits: it must be the same in every version of this program, and needs no more.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
