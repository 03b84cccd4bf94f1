//! What the generator promises, checked on 50,000 records of the hostile workload.

use std::collections::HashSet;

use serde_json::Value;
use trueup_ledger::{
    AccountDraft, ControlDraft, ControlSumDraft, EventDraft, Kind, PostingDraft, Rejection, Scale,
    SourceDraft, StatementDraft,
};

use super::{
    Generator, Hostilities, Hostility, Poison, RecordKind, Summary, Workload, WorkloadKind,
    write_jsonl,
};

mod ledger;

fn workload(events: u64, seed: u64) -> Workload {
    Workload { events, seed, periods: true, ..Workload::default() }
}

fn generate(workload: &Workload) -> (Vec<u8>, Summary) {
    let mut out = Vec::new();
    let summary = write_jsonl(workload, &mut out).unwrap();
    (out, summary)
}

fn each(workload: &Workload, mut visit: impl FnMut(RecordKind, &[u8], Hostilities)) {
    let mut generator = Generator::new(workload);
    let mut line = Vec::new();
    while let Some(kind) = generator.next_record(&mut line) {
        visit(kind, &line, generator.last_hostilities());
        line.clear();
    }
}

#[test]
fn a_seed_decides_every_byte() {
    let first = generate(&workload(3_000, 7));
    assert_eq!(first, generate(&workload(3_000, 7)));
    assert_ne!(first.0, generate(&workload(3_000, 8)).0);
}

#[test]
fn counts_are_exact() {
    for events in [0, 1, 2, 10, 99, 5_000] {
        let (bytes, summary) = generate(&workload(events, 3));
        let lines = bytes.iter().filter(|b| **b == b'\n').count();
        assert_eq!((lines as u64, summary.records), (events, events));
        assert_eq!(summary.bytes, bytes.len() as u64);
        let valid = summary.posts + summary.corrections + summary.reversals + summary.refunds;
        let valid = valid + summary.holds + summary.captures + summary.releases + summary.accounts;
        let valid = valid + summary.statements + summary.controls + summary.periods;
        assert_eq!(valid + summary.poison_records(), events);
    }
}

#[test]
fn poison_can_be_left_out() {
    let clean = Workload { poison: false, ..workload(20_000, 5) };
    assert_eq!(generate(&clean).1.poison_records(), 0);
}

#[test]
fn valid_records_are_json_with_every_required_field() {
    each(&workload(20_000, 11), |kind, line, _| {
        assert!(!line.contains(&b'\n'));
        if matches!(kind, RecordKind::Poison(_)) {
            return;
        }
        let value: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(value["v"], 1);
        for field in ["event_id", "tenant", "kind", "effective_at"] {
            assert!(value[field].is_string(), "{field}: {value}");
        }
        assert!(value["source"]["service"].is_string() && value["metadata"].is_object());
        for field in ["effective_at", "recorded_at"] {
            let text = value[field].as_str().unwrap();
            assert!(text.parse::<jiff::Timestamp>().is_ok(), "{text}");
        }
        let name = value["kind"].as_str().unwrap();
        assert_eq!(format!("{kind:?}").to_lowercase(), name.replace('_', ""));
        assert_eq!(value["reverses"].is_string(), kind == RecordKind::Reverse);
        assert_eq!(value["refunds"].is_string(), kind == RecordKind::Refund);
        assert_eq!(kind == RecordKind::Correct, value["revision"].as_u64() > Some(1));
        assert_eq!(value["captures"].is_string(), kind == RecordKind::Capture);
        assert_eq!(value["releases"].is_string(), kind == RecordKind::Release);
        assert_eq!(value["expires_at"].is_string(), kind == RecordKind::Hold);
        let is_account = kind == RecordKind::Account;
        let is_alone = value["transaction_id"].is_null();
        assert_eq!(is_alone, !Kind::by_name(name).unwrap().has_transaction(), "{value}");
        assert_eq!(value["account"].is_object(), is_account, "{value}");
        let derived = [RecordKind::Reverse, RecordKind::Capture];
        let never = is_alone || kind == RecordKind::Release;
        assert!(value["postings"].is_array() || derived.contains(&kind) || never, "{value}");
        assert!(value["postings"].is_null() || !never, "{value}");
        for posting in value["postings"].as_array().into_iter().flatten() {
            assert!(matches!(posting["side"].as_str(), Some("debit" | "credit")));
            assert!(is_amount(posting["amount"].as_str().unwrap()), "{posting}");
            assert!(is_currency(posting["currency"].as_str().unwrap()), "{posting}");
            let account = posting["account"].as_str().unwrap();
            assert!(account.len() <= 256 && !account.chars().any(char::is_control));
        }
    });
}

fn is_amount(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && digits(fraction) && fraction.len() <= 9 && whole.len() <= 18
}

fn is_currency(text: &str) -> bool {
    let tail = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"._-/".contains(&b);
    text.len() <= 24 && text.as_bytes()[0].is_ascii_uppercase() && text.bytes().all(tail)
}

/// Returns the content of a record by the ledger's own judgement. Where a type is wrong the field
/// counts as missing, which is a rejection all the same.
fn admit(value: &Value) -> Result<String, Rejection> {
    let text = |value: &Value| value.as_str().map(|text| text.to_owned().into());
    let posting = |value: &Value| PostingDraft {
        account: text(&value["account"]),
        side: text(&value["side"]),
        amount: text(&value["amount"]),
        currency: text(&value["currency"]),
    };
    let draft = EventDraft {
        v: value["v"].as_u64(),
        event_id: text(&value["event_id"]),
        tenant: text(&value["tenant"]),
        kind: text(&value["kind"]),
        transaction_id: text(&value["transaction_id"]),
        leg: text(&value["leg"]),
        revision: value["revision"].as_u64(),
        effective_at: text(&value["effective_at"]),
        recorded_at: text(&value["recorded_at"]),
        source: value["source"].as_object().map(|source| SourceDraft {
            service: source.get("service").and_then(text),
            sequence: source.get("sequence").and_then(Value::as_u64),
        }),
        correlation_id: None,
        postings: value["postings"].as_array().map(|list| list.iter().map(posting).collect()),
        reverses: text(&value["reverses"]),
        refunds: text(&value["refunds"]),
        captures: text(&value["captures"]),
        releases: text(&value["releases"]),
        expires_at: text(&value["expires_at"]),
        account: value["account"].as_object().map(|account| AccountDraft {
            name: account.get("name").and_then(text),
            normal_side: account.get("normal_side").and_then(text),
            overdraft: account.get("overdraft").and_then(text),
        }),
        statement: value["statement"].as_object().map(|statement| StatementDraft {
            processor: statement.get("processor").and_then(text),
            reference: statement.get("reference").and_then(text),
            amount: statement.get("amount").and_then(text),
            currency: statement.get("currency").and_then(text),
            value_date: statement.get("value_date").and_then(text),
        }),
        control: value["control"].as_object().map(|control| ControlDraft {
            from_sequence: control["from_sequence"].as_u64(),
            to_sequence: control["to_sequence"].as_u64(),
            count: control["count"].as_u64(),
            totals: control["totals"].as_object().map(|totals| {
                let sum = |(currency, sum): (&String, &Value)| {
                    let (debit, credit) = (text(&sum["debit"]), text(&sum["credit"]));
                    (currency.clone().into(), ControlSumDraft { debit, credit })
                };
                totals.iter().map(sum).collect()
            }),
        }),
        period: text(&value["period"]),
    };
    draft.admit(Scale::DEFAULT).map(|event| format!("{event:?}"))
}

#[test]
fn the_ledger_admits_what_is_valid_and_knows_the_duplicates() {
    let (mut lines, mut contents) = (HashSet::new(), HashSet::new());
    each(&workload(20_000, 13), |kind, line, planted| {
        if matches!(kind, RecordKind::Poison(_)) {
            return;
        }
        let content = admit(&serde_json::from_slice(line).unwrap()).unwrap();
        let exact = planted.has(Hostility::ExactDuplicate);
        let semantic = planted.has(Hostility::SemanticDuplicate);
        assert_eq!(!contents.insert(content), exact || semantic);
        assert_eq!(!lines.insert(line.to_vec()), exact);
    });
}

#[test]
fn the_ledger_admits_no_poison() {
    each(&workload(150_000, 19), |kind, line, _| {
        let RecordKind::Poison(poison) = kind else {
            return;
        };
        // These break rules of the encoding, which a general JSON parser need not know.
        if matches!(poison, Poison::DuplicateKey | Poison::TooDeep | Poison::TooLarge) {
            return;
        }
        if let Ok(value) = serde_json::from_slice(line) {
            assert!(admit(&value).is_err(), "{poison:?} {value}");
        }
    });
}

#[test]
fn records_have_a_realistic_size() {
    let (_, summary) = generate(&Workload { poison: false, ..workload(20_000, 17) });
    let mean = summary.bytes / summary.records;
    assert!((700..=1_500).contains(&mean), "{mean}");
}

#[test]
fn everything_happens_in_fifty_thousand_records() {
    let (_, summary) = generate(&workload(50_000, 1));
    for hostility in Hostility::ALL {
        assert!(summary.planted(*hostility) > 0, "{hostility:?}");
    }
    // A hundred and fifty poison records do not hold thirty-odd kinds for certain; all but a few are.
    let kinds = Poison::ALL.iter().filter(|p| summary.poison(**p) > 0).count();
    assert!(kinds >= Poison::ALL.len() - 3, "{kinds} of {}", Poison::ALL.len());
    assert_eq!(summary.poison(Poison::TooLarge), 1);
    assert!((80..=230).contains(&summary.poison_records()));
    assert!(summary.duplicates() > 500);
}

#[test]
fn every_poison_comes_in_a_long_stream_and_none_breaks_the_line() {
    let mut kinds = HashSet::new();
    each(&workload(150_000, 2), |kind, line, _| {
        assert!(!line.contains(&b'\n'));
        if let RecordKind::Poison(poison) = kind {
            kinds.insert(poison);
        }
    });
    assert_eq!(kinds.len(), Poison::ALL.len());
}
