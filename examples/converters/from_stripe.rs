//! Turns Stripe's list of balance transactions into events:
//! `cargo run --example from_stripe -- FILE > events.jsonl`.
//!
//! Each balance transaction becomes an event of the ledger, which books its net on
//! `assets:clearing:stripe`, and a `statement_line` of that net, so that both can be reconciled by
//! the id they share: that of the charge, refund or payout, else its own. Both times are when
//! Stripe created it. There is no sequence: Stripe lists the newest first, so that none would last.
//!
//! A refund names its charge only where the list was fetched with `expand[]=data.source`. Such a
//! one of a charge in the file becomes a `refund`, any other a `post`.

mod event_lines;
mod stripe_list;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Parser;

use event_lines::{Converted, Line, Statement, plain, posting};
use stripe_list::{BalanceTransaction, line_of, pages};

/// Turns Stripe's list of balance transactions into events for `trueup run --input`.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// The list as Stripe's API answers it, or several one after another; `-` for standard input;
    /// the bundled sample if there is none.
    file: Option<PathBuf>,
    /// The tenant of all events.
    #[arg(long, default_value = "books")]
    pub(crate) tenant: String,
    /// Write the statement lines only, where other services report the charges.
    #[arg(long)]
    pub(crate) statements_only: bool,
    /// The account on the other side of a type of balance transaction; may be repeated.
    #[arg(long = "account", value_name = "TYPE=ACCOUNT", value_parser = type_and_account)]
    pub(crate) accounts: Vec<(String, String)>,
}

fn type_and_account(text: &str) -> Result<(String, String), String> {
    let (kind, account) = text.split_once('=').ok_or("write it as TYPE=ACCOUNT")?;
    Ok((kind.to_owned(), account.to_owned()))
}

pub(crate) const SAMPLE: &str = include_str!("samples/stripe_balance_transactions.json");
const CLEARING: &str = "assets:clearing:stripe";
const FEES: &str = "expenses:fees:stripe";

/// Converts a file, or without arguments the sample.
pub fn main() -> ExitCode {
    event_lines::ended(&run(&Arguments::parse()))
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let converter = |text: &str| convert(text, arguments);
    let converted = event_lines::convert(arguments.file.as_deref(), SAMPLE, converter)?;
    if arguments.file.is_none() && !arguments.statements_only {
        let has = |text: &str| converted.lines.iter().any(|line| line.contains(text));
        assert_eq!(converted.lines.len(), 22);
        assert!(has(r#""kind":"refund","transaction_id":"re_3SaB""#));
        // A yen has no minor unit, a Kuwaiti dinar has a thousand of it.
        assert!(has(r#""amount":"4800","currency":"JPY""#));
        assert!(has(r#""amount":"0.355","currency":"KWD""#));
    }
    Ok(())
}

/// Converts lists.
///
/// # Errors
/// The first balance transaction that cannot be converted, and what to do about it.
pub(crate) fn convert(text: &str, arguments: &Arguments) -> Result<Converted> {
    let mut converted = Converted::default();
    let all = pages(text, &mut converted)?;
    let charges = all.iter().filter(|one| one.is_charge()).map(BalanceTransaction::key);
    let charges: BTreeSet<&str> = charges.collect();
    let mut seen = BTreeMap::new();
    for one in &all {
        let at = |error| anyhow!("line {}: {}: {error}", line_of(text, &one.id), one.id);
        // Pages that overlap bring one balance transaction twice, and trueup counts a duplicate.
        let other = *seen.entry(one.key()).or_insert(&one.id);
        if *other != one.id {
            let key = one.key();
            return Err(at(anyhow!("{other} is of {key} too; take out the one that is wrong")));
        }
        let created = instant(one.created).map_err(at)?.to_string();
        let line = Line::new(&one.id, &arguments.tenant, "stripe", &created);
        if !arguments.statements_only {
            let ledger = one.ledger(line.clone(), &charges, arguments).map_err(at)?;
            converted.push(&ledger).map_err(at)?;
        }
        let statement = one.statement(line).map_err(at)?;
        converted.push(&statement).map_err(at)?;
    }
    Ok(converted)
}

impl BalanceTransaction {
    /// The event of the ledger, on the base of what both lines say alike.
    fn ledger(&self, base: Line, charges: &BTreeSet<&str>, arguments: &Arguments) -> Result<Line> {
        if self.amount.checked_sub(self.fee) != Some(self.net) {
            bail!(
                "amount {} − fee {} is not net {}; fetch it anew",
                self.amount,
                self.fee,
                self.net
            );
        }
        let given = arguments.accounts.iter().rev().find(|(kind, _)| *kind == self.kind);
        let account = given.map_or_else(|| self.other_side(), |(_, account)| Ok(account))?;
        let currency = self.currency.to_uppercase();
        // The clearing account has a line even of nothing, which a statement line of 0 matches.
        let mut postings = vec![posting(CLEARING, self.units(self.net)?, &currency)];
        let others = [(FEES, self.units(self.fee)?), (account, -self.units(self.amount)?)];
        let moved = others.into_iter().filter(|(_, units)| *units != 0);
        postings.extend(moved.map(|(account, units)| posting(account, units, &currency)));
        let charge = self.charge().filter(|charge| charges.contains(charge));
        let description = self.description.clone();
        Ok(Line {
            kind: if charge.is_some() { "refund" } else { "post" },
            transaction_id: Some(self.key().to_owned()),
            refunds: charge.map(str::to_owned),
            postings: Some(postings),
            metadata: description.map(|text| ("description", text)).into_iter().collect(),
            ..base
        })
    }

    fn statement(&self, base: Line) -> Result<Line> {
        let statement = Statement {
            processor: "stripe".to_owned(),
            reference: self.key().to_owned(),
            amount: plain(self.units(self.net)?),
            currency: self.currency.to_uppercase(),
            value_date: instant(self.available_on)?.strftime("%Y-%m-%d").to_string(),
        };
        Ok(Line { kind: "statement_line", statement: Some(statement), ..base })
    }

    /// The account that has the other side of the gross amount.
    fn other_side(&self) -> Result<&'static str> {
        Ok(match (self.kind.as_str(), self.reporting_category.as_str()) {
            ("charge" | "payment" | "refund" | "payment_refund", _)
            | ("refund_failure" | "payment_failure_refund", _) => "income:sales",
            ("payout" | "payout_cancel" | "payout_failure" | "topup" | "topup_reversal", _) => {
                "assets:bank"
            }
            ("stripe_fee" | "stripe_fx_fee" | "tax_fee", _) => FEES,
            ("application_fee" | "application_fee_refund", _) => "income:fees:application",
            ("adjustment", "dispute" | "dispute_reversal") => "expenses:disputes",
            ("adjustment", _) => "expenses:adjustments",
            (other, _) => bail!(
                "type {other:?} has no account here; name one with `--account {other}=ACCOUNT`"
            ),
        })
    }
}

fn instant(seconds: i64) -> Result<jiff::Timestamp> {
    jiff::Timestamp::from_second(seconds)
        .map_err(|_| anyhow!("{seconds} is no time in seconds since 1970"))
}
