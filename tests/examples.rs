//! The examples run, and what they assert holds.

// The converters are programs of their own that share a module, and their `main` reads the
// arguments, which here are those of the test runner.
#![allow(clippy::duplicate_mod, clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;

use clap::Parser;
use serde_json::Value;
use trueup_ledger::{Scale, Side};
use trueup_sources::{Format, Json};

#[path = "../examples/fold_a_transaction.rs"]
mod fold_a_transaction;
#[path = "../examples/converters/from_camt053.rs"]
mod from_camt053;
#[path = "../examples/converters/from_hledger.rs"]
mod from_hledger;
#[path = "../examples/converters/from_stripe.rs"]
mod from_stripe;
#[path = "../examples/late_correction.rs"]
mod late_correction;
#[path = "../examples/read_a_store.rs"]
mod read_a_store;

#[test]
fn fold_a_transaction() {
    fold_a_transaction::main().unwrap();
}

#[test]
fn late_correction() {
    late_correction::main().unwrap();
}

#[test]
fn read_a_store() {
    read_a_store::main().unwrap();
}

#[test]
fn the_converters_convert_their_samples() {
    from_hledger::run(&from_hledger::Arguments::parse_from(["from_hledger"])).unwrap();
    from_stripe::run(&from_stripe::Arguments::parse_from(["from_stripe"])).unwrap();
    from_camt053::run(&from_camt053::Arguments::parse_from(["from_camt053"])).unwrap();
}

fn journal(text: &str) -> anyhow::Result<Vec<String>> {
    from_hledger::convert(text, "acme").map(|converted| converted.lines)
}

fn stripe(text: &str, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let arguments = [&["from_stripe", "--tenant", "acme"], arguments].concat();
    let arguments = from_stripe::Arguments::parse_from(arguments);
    from_stripe::convert(text, &arguments).map(|converted| converted.lines)
}

fn camt(text: &str, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let arguments = [&["from_camt053", "--tenant", "acme"], arguments].concat();
    let arguments = from_camt053::Arguments::parse_from(arguments);
    from_camt053::convert(text, &arguments).map(|converted| converted.lines)
}

/// Checks that the decoder knows each line as an event of its own that balances.
fn admitted(lines: &[String]) {
    let mut ids = std::collections::BTreeSet::new();
    for line in lines {
        let found = Json.decode(line.as_bytes()).unwrap();
        assert_eq!(found.unknown_fields, 0, "{line}");
        let event = found.draft.admit(Scale::DEFAULT).unwrap();
        assert!(ids.insert((event.kind.name(), event.event_id.to_string())), "{line}");
        assert_eq!(event.tenant, "acme");
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for posting in &event.postings {
            let sign = if posting.side == Side::Debit { 1 } else { -1 };
            *sums.entry(&posting.currency).or_default() += sign * posting.amount.0;
        }
        assert!(sums.values().all(|sum| *sum == 0), "{line}: {sums:?}");
    }
}

fn of_kind(lines: &[String], statements: bool) -> Vec<String> {
    let is = |line: &&String| line.contains(r#""kind":"statement_line""#) == statements;
    lines.iter().filter(is).cloned().collect()
}

#[test]
fn converted_ledgers_are_admitted_and_balance() {
    admitted(&journal(from_hledger::SAMPLE).unwrap());
    let ledger = of_kind(&stripe(from_stripe::SAMPLE, &[]).unwrap(), false);
    assert_eq!(ledger.len(), 11);
    admitted(&ledger);
}

#[test]
fn converted_statement_lines_are_admitted() {
    admitted(&stripe(from_stripe::SAMPLE, &["--statements-only"]).unwrap());
    admitted(&camt(from_camt053::SAMPLE, &[]).unwrap());
}

#[test]
fn statement_lines_have_the_shape_of_the_specification() {
    let stripe = stripe(from_stripe::SAMPLE, &["--statements-only"]).unwrap();
    assert_eq!(stripe.len(), 11);
    let camt = camt(from_camt053::SAMPLE, &["--processor", "bank"]).unwrap();
    for (line, processor) in
        stripe.iter().map(|l| (l, "stripe")).chain(camt.iter().map(|l| (l, "bank")))
    {
        let event: Value = serde_json::from_str(line).unwrap();
        let statement = event["statement"].as_object().unwrap();
        let keys: Vec<&String> = statement.keys().collect();
        assert_eq!(keys, ["amount", "currency", "processor", "reference", "value_date"]);
        let text = |key: &str| statement[key].as_str().unwrap();
        assert_eq!(text("processor"), processor);
        assert!((1..=128).contains(&text("reference").chars().count()));
        let digits = text("amount").strip_prefix('-').unwrap_or(text("amount"));
        assert!(trueup_ledger::Amount::parse(digits, Scale::DEFAULT).is_ok(), "{line}");
        assert!(text("value_date").parse::<jiff::civil::Date>().is_ok(), "{line}");
        for field in ["event_id", "effective_at", "recorded_at"] {
            assert!(event[field].is_string(), "{line}");
        }
        assert_eq!((&event["v"], &event["kind"]), (&1.into(), &"statement_line".into()));
        assert!(event.get("postings").is_none() && event.get("transaction_id").is_none());
    }
    let amounts = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                let text = |key: &str| event["statement"][key].as_str().unwrap().to_owned();
                format!("{} {} {}", text("reference"), text("amount"), text("value_date"))
            })
            .collect()
    };
    assert_eq!(
        amounts(&camt),
        [
            "INV-1 119 2026-01-12",
            "PHONE-01 -45 2026-01-14",
            "PHONE-01 45 2026-01-14",
            "po_1SaK 123.6 2026-01-22",
            "SALARY-1 -120 2026-01-27",
            "SALARY-2 -180 2026-01-27",
            "B2601310099 -3.9 2026-01-30",
        ]
    );
}

/// What the ledger has on the clearing account and what the statement says agree, by reference.
#[test]
fn a_healthy_list_of_stripe_reconciles() {
    let lines = stripe(from_stripe::SAMPLE, &[]).unwrap();
    let mut differences: BTreeMap<(String, String), i128> = BTreeMap::new();
    let units = |text: &str| {
        let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |digits| (digits, -1));
        sign * trueup_ledger::Amount::parse(digits, Scale::DEFAULT).unwrap().0
    };
    for line in &lines {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        if let Some(statement) = event.get("statement") {
            let key = (text(&statement["reference"]), text(&statement["currency"]));
            *differences.entry(key).or_default() -= units(&text(&statement["amount"]));
            continue;
        }
        for posting in event["postings"].as_array().unwrap() {
            if posting["account"] == "assets:clearing:stripe" {
                let sign = if posting["side"] == "debit" { 1 } else { -1 };
                let key = (text(&event["transaction_id"]), text(&posting["currency"]));
                *differences.entry(key).or_default() += sign * units(&text(&posting["amount"]));
            }
        }
    }
    assert_eq!(differences.len(), 11);
    assert!(differences.values().all(|difference| *difference == 0), "{differences:?}");
    let refunds: Vec<&String> = lines.iter().filter(|l| l.contains(r#""refunds":"#)).collect();
    assert_eq!(refunds.len(), 2);
    assert!(refunds[0].contains(r#""refunds":"py_3SaC""#), "{refunds:?}");
}

/// What is appended to a journal changes none of the lines before it.
#[test]
fn appends_leave_what_was_converted_as_it_was() {
    let before = journal(from_hledger::SAMPLE).unwrap();
    let more =
        "\naccount expenses:phone\n\n2026-01-05 * phone\n  expenses:phone  9 EUR\n  assets:bank\n";
    let after = journal(&format!("{}{more}", from_hledger::SAMPLE)).unwrap();
    assert_eq!(after.len(), before.len() + 2);
    assert_eq!(after[..before.len()], before);
}

#[test]
fn amounts_of_a_journal_are_read_exactly() {
    let rows: &[(&str, &str)] = &[
        ("$-1,234.50", r#""side":"credit","amount":"1234.5","currency":"USD""#),
        ("-£ 7", r#""side":"credit","amount":"7","currency":"GBP""#),
        ("1.234,50 EUR", r#""side":"debit","amount":"1234.5","currency":"EUR""#),
        ("0,125 EUR", r#""side":"debit","amount":"0.125","currency":"EUR""#),
        ("EUR -.5", r#""side":"credit","amount":"0.5","currency":"EUR""#),
        (r#"3 "gold 2026""#, "rename it"),
        ("1,234 EUR", "could have a decimal or a thousands comma"),
        ("1E3 EUR", "has an exponent"),
        ("12.50", "has no commodity"),
        ("3 h", r#""side":"debit","amount":"3","currency":"H""#),
        ("3 ACME {4.10 EUR, 2026-01-01} @ 5 EUR", r#""amount":"12.3","currency":"EUR""#),
        ("0.0000001 ACME @ 0.001 EUR", "more than 9 fraction digits"),
        ("1.00 EUR ; 3.00 EUR", r#""side":"debit","amount":"1","currency":"EUR""#),
    ];
    for (amount, expected) in rows {
        let text = format!("2026-01-05 x\n  a  {amount}\n  b\n");
        let found = journal(&text).map_or_else(|error| error.to_string(), |lines| lines.concat());
        assert!(found.contains(expected), "{amount}: {found}");
    }
}

/// What is metadata in beancount is an account in hledger, and money must not be left out.
#[test]
fn a_name_with_a_colon_is_metadata_in_beancount_alone() {
    let lines = journal("2026-01-05 x\n  rent: jan   50 EUR\n  b\n").unwrap().concat();
    assert!(lines.contains("\"rent: jan\"") && lines.contains(r#""amount":"50""#), "{lines}");
    let lines = "2026-01-05 * \"x\"\n  rent: \"jan\"\n  Assets:A  50 EUR\n  Assets:B\n";
    let lines = journal(lines).unwrap().concat();
    assert!(!lines.contains("rent"), "{lines}");
}

#[test]
fn what_cannot_be_converted_is_an_error_with_its_line() {
    let rows: &[(&str, &str)] = &[
        ("include other.journal\n", "line 1: `include` is not followed"),
        ("\n2026-02-30 x\n", "line 2: \"2026-02-30\" is no day of the calendar"),
        ("1/5 x\n", "line 1: \"1/5\" is no date with a year"),
        ("2026-01-05 x\n  a  1 EUR\n  b  -2 EUR\n", "line 1: the entry does not balance, -1 EUR"),
        ("2026-01-05 x\n  a  1 EUR\n  b\n  c\n", "line 1: 2 amounts are left out"),
        (
            "2026-01-05 x\n  a  1 EUR\n  b  1 USD\n  c\n",
            "line 1: an amount is left out where 1 EUR",
        ),
        ("2026-01-05 x\n  a 1 EUR\n  b\n", "line 2: one blank before the amount"),
        ("2026-01-05 x\n  (a)  1 EUR\n", "line 2: a virtual posting"),
        ("2026-01-05 x\n  a  = 1 EUR\n  b\n", "line 2: a balance assignment"),
        (
            "2026-01-05 x\n  a  1 Eur\n  b  -1 EUR\n",
            "line 3: \"Eur\" and \"EUR\" would both be EUR",
        ),
        ("2026-01-05 pad Assets:A Equity:B\n", "line 1: `pad` makes an entry"),
        ("2026-01-05 close fees\n  a  1 EUR\n  b\n", "line 2: a posting below a directive"),
        // Only beancount has metadata below a transaction.
        (
            "2026-01-05 x\n  rent: jan   50 EUR\n  b  -1 EUR\n",
            "line 1: the entry does not balance, 49 EUR",
        ),
        ("frobnicate\n", "line 1: `frobnicate` is not understood"),
        ("commodity 1.000,00 EUR\n", "line 1: a decimal comma is declared"),
        ("  a  1 EUR\n", "line 1: an indented line that belongs to nothing"),
        ("comment\n2026-01-05 x\n", "a comment is not ended"),
    ];
    for (text, expected) in rows {
        let found = journal(text).map_or_else(|error| error.to_string(), |lines| lines.concat());
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let notes = from_hledger::convert("P 2026-01-01 USD 0.9 EUR\n~ monthly\n  a  1 EUR\n", "t");
    assert_eq!(notes.unwrap().notes.len(), 2);
}

#[test]
fn lists_of_stripe_that_are_wrong_are_errors() {
    let change = |from: &str, to: &str| {
        let text = from_stripe::SAMPLE.replacen(from, to, 1);
        assert_ne!(text, from_stripe::SAMPLE);
        stripe(&text, &[]).map_or_else(|error| error.to_string(), |_| "converted".to_owned())
    };
    let rows = [
        (r#""net": 4800"#, r#""net": 4801"#, "line 10: txn_3SaG: amount 5000 − fee 200 is not"),
        (r#""amount": 5000"#, r#""amount": 50.5"#, "line 10: invalid type: floating point"),
        (
            r#""type": "stripe_fee""#,
            r#""type": "brand_new""#,
            "line 8: txn_1SaI: type \"brand_new\"",
        ),
        (r#""py_3SaH""#, r#""ch_3SaG""#, "line 10: txn_3SaG: txn_3SaH is of ch_3SaG too"),
        (r#""object": "list""#, r#""object": "charge""#, "line 1: the object is \"charge\""),
    ];
    for (from, to, expected) in rows {
        let found = change(from, to);
        assert!(found.starts_with(expected), "{found}");
    }
    let text = from_stripe::SAMPLE.replacen(r#""type": "stripe_fee""#, r#""type": "brand_new""#, 1);
    let lines = stripe(&text, &["--account", "brand_new=expenses:new"]).unwrap();
    assert!(lines.concat().contains(r#"{"account":"expenses:new","side":"debit","amount":"2""#));
    assert!(stripe("", &[]).unwrap_err().to_string().starts_with("line 1: nothing is here"));
}

#[test]
fn bank_statements_that_are_wrong_are_errors() {
    let rows = [
        ("4938.70", "4938.71", "does not add up: opening 5000 + entries -61.3 = 4938.7 EUR"),
        (">119.00<", ">1e2<", "line 20: \"1e2\""),
        ("DBIT</CdtDbtInd>", "OUT</CdtDbtInd>", "is neither CRDT nor DBIT"),
        ("</Document>", "", "line 4: <Document> is not closed"),
        ("<Document ", "<!DOCTYPE x>\n<Document ", "line 4: a document type"),
        ("&amp;", "&evil;", "unknown &evil;"),
    ];
    for (from, to, expected) in rows {
        let text = from_camt053::SAMPLE.replacen(from, to, 1);
        assert_ne!(text, from_camt053::SAMPLE);
        let found = camt(&text, &[]).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    let report = from_camt053::SAMPLE.replace("BkToCstmrStmt>", "BkToCstmrAcctRpt>");
    let found = camt(&report, &[]).unwrap_err().to_string();
    assert!(found.starts_with("line 1: no <BkToCstmrStmt>"), "{found}");
    // Details that do not add up to their entry leave it whole.
    let text = from_camt053::SAMPLE.replacen(">120.00<", ">120.01<", 1);
    assert_eq!(camt(&text, &[]).unwrap().len(), 6);
}

/// A converter is a program for use, and may be longer than an example that shows one thing.
#[test]
fn every_example_is_run_and_is_short() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let this = include_str!("examples.rs");
    for (folder, lines_max) in [("", 60), ("converters/", 250)] {
        for example in std::fs::read_dir(dir.join(folder)).unwrap() {
            let path = example.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.extension().is_none() {
                assert!(["converters", "samples"].contains(&name), "{name} is not run");
                continue;
            }
            // The other files are modules of the converters, whose use the compiler sees.
            let program = folder.is_empty() || name.starts_with("from_");
            let run = this.contains(&format!("../examples/{folder}{name}"));
            assert!(run || !program, "{name} is not run");
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= lines_max, "{name} has {lines} lines");
        }
    }
}
