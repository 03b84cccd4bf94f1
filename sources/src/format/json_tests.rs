//! One row per way in which a record can be wrong, and that what is right is read as it stands.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use trueup_ledger::{Reason, Scale};

use super::*;

const EVENT: &str = r#"{"v":1,"event_id":"e1","tenant":"acme","kind":"post","transaction_id":"t1",
 "effective_at":"2026-01-02T03:04:05Z","recorded_at":"2026-01-02T03:04:06Z",
 "source":{"service":"billing","sequence":7,"shard":1},"correlation_id":"c-\"1","revision":null,
 "postings":[{"account":"assets:cash","side":"debit","amount":"1.50","currency":"EUR","memo":[]},
  {"account":"caf\u00e9","side":"credit","amount":"1.50","currency":"EUR"}],
 "metadata":{"a":[1e999,-0.0,null,"\ud800",{"v":1,"v":2}]},"new_field":{"x":1}}"#;

fn rejected(raw: impl AsRef<[u8]>) -> Rejection {
    Json.decode(raw.as_ref()).expect_err("is rejected")
}

// spec: "Unknown fields are ignored and counted (schema drift)"
// spec: "`metadata` | any JSON"
#[test]
fn an_event_is_read_and_unknown_fields_are_counted() {
    let decoded = Json.decode(EVENT.as_bytes()).unwrap();
    assert_eq!(decoded.unknown_fields, 3);
    assert!(matches!(decoded.draft.event_id, Some(std::borrow::Cow::Borrowed("e1"))));
    assert_eq!(decoded.draft.revision, None);
    let event = decoded.draft.admit(Scale::DEFAULT).unwrap();
    assert_eq!(event.source.sequence, Some(7));
    assert_eq!(event.postings[1].account, "café");
    assert_eq!(Json.correlation_id(EVENT.as_bytes()).as_deref(), Some("c-\"1"));
}

// spec: "One JSON object per record"
// spec: "ill-typed required field quarantines"
// spec: "A field of this table given twice, NaN, exponents … trailing garbage"
// spec: "Amounts are decimal strings"
// spec: "No float touches money."
#[test]
fn each_fault_has_its_reason() {
    use Reason::{BadSyntax, BadType, DuplicateField};
    let rows = [
        ("", BadSyntax, "a blank record"),
        (" \r", BadSyntax, "a blank record"),
        ("{", BadSyntax, ""),
        ("[]", BadSyntax, "the record is not a JSON object"),
        ("null", BadSyntax, "the record is not a JSON object"),
        ("nul", BadSyntax, ""),
        ("{} {}", BadSyntax, ""),
        ("{}x", BadSyntax, ""),
        ("{\"v\":1,}", BadSyntax, ""),
        ("{\"v\":01}", BadSyntax, ""),
        ("{\"v\":+1}", BadSyntax, ""),
        ("{\"v\":NaN}", BadSyntax, ""),
        ("{\"x\":.5}", BadSyntax, ""),
        ("{\"x\":\"\t\"}", BadSyntax, ""),
        ("{\"x\":\"\\q\"}", BadSyntax, ""),
        ("{'v':1}", BadSyntax, ""),
        ("{\"v\":1.0}", BadType, "`v` must be"),
        ("{\"v\":1e0}", BadType, "`v` must be"),
        ("{\"v\":1e999}", BadType, "`v` must be"),
        ("{\"v\":\"1\"}", BadType, "`v` must be"),
        ("{\"v\":-1}", BadType, "`v` must be"),
        ("{\"revision\":18446744073709551616}", BadType, "`revision` must be"),
        ("{\"tenant\":5}", BadType, "`tenant` must be a string"),
        ("{\"tenant\":\"\\ud800\"}", BadType, "`tenant` must be"),
        ("{\"\\ud800\":1}", BadType, "the record must be an object whose field names"),
        ("{\"source\":[]}", BadType, "`source` must be an object"),
        ("{\"source\":{\"sequence\":\"1\"}}", BadType, "`source.sequence` must be"),
        ("{\"postings\":{}}", BadType, "`postings` must be a list"),
        ("{\"postings\":[{},null]}", BadType, "`postings[1]` must be an object"),
        ("{\"postings\":[{\"amount\":1.5}]}", BadType, "`postings[0].amount` must be a string"),
        ("{\"expires_at\":1}", BadType, "`expires_at` must be"),
        ("{\"account\":\"x\"}", BadType, "`account` must be an object"),
        ("{\"account\":{\"name\":1}}", BadType, "`account.name` must be a string"),
        ("{\"account\":{\"name\":\"\",\"name\":\"\"}}", DuplicateField, "`account.name`"),
        ("{\"statement\":\"x\"}", BadType, "`statement` must be an object"),
        ("{\"statement\":{\"amount\":1.5}}", BadType, "`statement.amount` must be a string"),
        ("{\"statement\":{\"value_date\":[]}}", BadType, "`statement.value_date` must be"),
        (
            "{\"statement\":{\"amount\":\"1\",\"amount\":\"1\"}}",
            DuplicateField,
            "`statement.amount`",
        ),
        ("{\"control\":[]}", BadType, "`control` must be an object"),
        ("{\"control\":{\"from_sequence\":\"1\"}}", BadType, "`control.from_sequence` must be"),
        ("{\"control\":{\"to_sequence\":-1}}", BadType, "`control.to_sequence` must be"),
        ("{\"control\":{\"count\":1.0}}", BadType, "`control.count` must be"),
        ("{\"control\":{\"count\":1,\"count\":1}}", DuplicateField, "`control.count`"),
        ("{\"control\":{\"totals\":[]}}", BadType, "`control.totals` must be an object"),
        ("{\"control\":{\"totals\":{\"EUR\":1}}}", BadType, "each of `control.totals` must be"),
        ("{\"control\":{\"totals\":{\"EUR\":null}}}", BadType, "each of `control.totals` must be"),
        (
            "{\"control\":{\"totals\":{\"EUR\":{\"debit\":1}}}}",
            BadType,
            "a `debit` of `control.totals` must be a string",
        ),
        (
            "{\"control\":{\"totals\":{\"EUR\":{\"credit\":\"1\",\"credit\":\"1\"}}}}",
            DuplicateField,
            "a `credit` of `control.totals` is given twice",
        ),
        (
            "{\"control\":{\"totals\":{\"EUR\":{},\"USD\":{},\"EUR\":{}}}}",
            DuplicateField,
            "a currency of `control.totals` is given twice",
        ),
        (
            "{\"control\":{\"totals\":{\"EUR\":{},\"\\u0045UR\":{}}}}",
            DuplicateField,
            "a currency of `control.totals` is given twice",
        ),
        ("{\"control\":{\"totals\":{\"\\ud800\":{}}}}", BadType, "a currency of `control.totals`"),
        ("{\"control\":{},\"control\":{}}", DuplicateField, "`control` is given twice"),
        ("{\"period\":202610}", BadType, "`period` must be a string"),
        ("{\"period\":\"2026-10\",\"period\":null}", DuplicateField, "`period` is given twice"),
        ("{\"v\":1,\"v\":1}", DuplicateField, "`v` is given twice"),
        ("{\"v\":1,\"\\u0076\":1}", DuplicateField, "`v` is given twice"),
        ("{\"leg\":null,\"leg\":\"a\"}", DuplicateField, "`leg` is given twice"),
        ("{\"metadata\":1,\"metadata\":1}", DuplicateField, "`metadata` is given twice"),
        ("{\"source\":{\"service\":\"a\",\"service\":\"a\"}}", DuplicateField, "`source.service`"),
        ("{\"postings\":[{},{\"side\":\"a\",\"side\":1}]}", DuplicateField, "`postings[1].side`"),
    ];
    for (raw, reason, detail) in rows {
        let rejection = rejected(raw);
        assert_eq!(rejection.reason, reason, "{raw}: {rejection}");
        assert!(rejection.detail.starts_with(detail), "{raw}: {rejection}");
    }
    assert_eq!(rejected(b"{\"x\":\"\xff\"}").reason, Reason::NotUtf8);
    assert_eq!(rejected("\u{feff}{}").reason, BadSyntax);
}

// spec: "nesting > 32, a record > 1 MiB: quarantined"
#[test]
fn what_events_without_a_transaction_say_is_read_as_it_stands() {
    let raw = r#"{"statement":{"processor":"psp","reference":"t1","amount":"-1.50","currency":"EUR",
      "value_date":"2026-01-31","memo":1},"control":{"from_sequence":1,"to_sequence":9,"count":7,
      "totals":{"USD":{"debit":"1","credit":null,"fee":"1"},"EUR":{}},"by":"x"},"period":"2026-10"}"#;
    let decoded = Json.decode(raw.as_bytes()).unwrap();
    assert_eq!(decoded.unknown_fields, 3);
    let statement = decoded.draft.statement.unwrap();
    let texts = [&statement.processor, &statement.reference, &statement.amount];
    assert_eq!(texts.map(Option::as_deref), [Some("psp"), Some("t1"), Some("-1.50")]);
    let texts = [&statement.currency, &statement.value_date, &decoded.draft.period];
    assert_eq!(texts.map(Option::as_deref), [Some("EUR"), Some("2026-01-31"), Some("2026-10")]);
    let control = decoded.draft.control.unwrap();
    let numbers = (control.from_sequence, control.to_sequence, control.count);
    assert_eq!(numbers, (Some(1), Some(9), Some(7)));
    let totals = control.totals.unwrap();
    let totals: Vec<_> = totals
        .iter()
        .map(|(currency, sum)| (&**currency, sum.debit.as_deref(), sum.credit.as_deref()))
        .collect();
    assert_eq!(totals, [("USD", Some("1"), None), ("EUR", None, None)]);
}

#[test]
fn null_is_an_absent_field() {
    let nulls = r#"{"account":null,"statement":null,"control":null,"period":null}"#;
    let draft = Json.decode(nulls.as_bytes()).unwrap().draft;
    assert!(draft.account.is_none() && draft.statement.is_none());
    assert!(draft.control.is_none() && draft.period.is_none());
    let within = r#"{"statement":{"amount":null},"control":{"count":null,"totals":null}}"#;
    let draft = Json.decode(within.as_bytes()).unwrap().draft;
    assert_eq!(draft.statement.unwrap().amount, None);
    let control = draft.control.unwrap();
    assert!(control.count.is_none() && control.totals.is_none());
}

#[test]
fn size_and_depth_have_exact_bounds() {
    let sized = |bytes: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(bytes - 8));
    assert!(Json.decode(sized(1 << 20).as_bytes()).is_ok());
    assert_eq!(rejected(sized((1 << 20) + 1)).reason, Reason::TooLarge);
    let nested = |depth: usize| {
        let inner = depth - 1;
        format!("{{\"metadata\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
    };
    assert!(Json.decode(nested(32).as_bytes()).is_ok());
    assert_eq!(rejected(nested(33)).reason, Reason::TooDeep);
    assert_eq!(rejected(nested(400_000)).reason, Reason::TooDeep);
}

// spec: "`correlation_id` | string, optional"
#[test]
fn correlation_ids_are_found_in_broken_records() {
    let rows: [(&[u8], Option<&str>); 5] = [
        (b"{\"correlation_id\" : \"c1\", \xff", Some("c1")),
        (b"{\"correlation_id\":5}", None),
        (b"{\"correlation_id\":\"torn", None),
        (b"{\"correlation_id\"", None),
        (b"", None),
    ];
    for (raw, expected) in rows {
        assert_eq!(Json.correlation_id(raw).as_deref(), expected);
    }
}

/// Reads a record in one pass, if it is usual.
fn read_usual(text: &str) -> Option<Decoded<'_>> {
    let (state, mut decoded) = (State::default(), Decoded::default());
    let mut usual = Usual::new(text);
    record::read(&mut usual, &state, &mut decoded.draft).ok()?;
    decoded.unknown_fields = state.unknown_fields();
    usual.is_at_end().then_some(decoded)
}

#[test]
fn what_is_usual_is_read_in_one_pass() {
    let rows = [
        (EVENT, true),
        ("{}", true),
        (" { } \n", true),
        ("{\"tenant\" : \"a\" ,\r\n\"v\":\t0}", true),
        ("{\"v\":9999999999999999999}", true),
        ("{\"tenant\":\"0123456\\u20ac\\n\",\"x\":\"01234567\\\"\\/\"}", true),
        ("{\"source\":{},\"postings\":[],\"control\":{\"totals\":{}}}", true),
        (
            "{\"x\":[0,-0,-1.5e-3,1E+9,[],{},[{}],true,false,null,\"\"],\"y\":{\"a\":{\"b\":[1]},\"c\":2}}",
            true,
        ),
        ("{\"v\":10000000000000000000}", false),
        ("{\"v\":1.0}", false),
        ("{\"v\":-0}", false),
        ("{\"v\":01}", false),
        ("{\"tenant\":\"\\ud800\"}", false),
        ("{\"\\ud800\":1}", false),
        ("{\"tenant\":true}", false),
        ("{\"v\":1,\"v\":1}", false),
        ("{}{}", false),
        ("", false),
        ("[]", false),
        ("null", false),
    ];
    for (text, is_usual) in rows {
        assert_eq!(read_usual(text).is_some(), is_usual, "{text}");
    }
    let skipped = [
        "01",
        "-",
        "-a",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        ".5",
        "+1",
        "tru",
        "nulll",
        "\"\\u00g0\"",
        "\"\\u00",
        "\"\\q\"",
        "\"\t\"",
        "\"\u{1f}aaaaaaa\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "{\"a\"}",
        "{\"a\":1,}",
        "{,}",
        "{1:2}",
        "[",
        "{",
        "\"",
        "",
    ];
    for value in skipped {
        let text = format!("{{\"x\":{value}}}");
        assert!(read_usual(&text).is_none(), "{text}");
        assert_eq!(rejected(&text).reason, Reason::BadSyntax, "{text}");
    }
}

/// Any JSON that is nested no deeper than it may be.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let text = || prop_oneof!["[a-z]{0,20}", any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What is read in one pass is what `serde_json` reads, in records that are damaged in some places.
    #[test]
    fn both_readers_agree(
        event in prop::bool::ANY,
        json in any_json(),
        is_pretty in prop::bool::ANY,
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:\\0123e-.ux \n\x1f\x7f".to_vec()), 0..3_u8),
            0..4,
        ),
    ) {
        let json = if is_pretty { format!("{json:#}") } else { json.to_string() };
        let whole = match event {
            true => EVENT.to_owned(),
            false => format!("{{\"tenant\":\"a\",\"metadata\":{json},\"v\":1}}"),
        };
        prop_assert!(read_usual(&whole).is_some(), "{}", whole);
        let mut damaged = whole.into_bytes();
        for (at, byte, how) in damage {
            let at = at.index(damaged.len());
            match how {
                0 => damaged[at] = byte,
                1 => damaged.insert(at, byte),
                _ => drop(damaged.remove(at)),
            }
        }
        let Ok(text) = std::str::from_utf8(&damaged) else { return Ok(()) };
        if let Some(read) = read_usual(text) {
            let expected = decode_unusual(text);
            prop_assert_eq!(format!("{read:?}"), format!("{:?}", expected.unwrap()), "{}", text);
        }
    }

    /// serde_json's own grammar is the witness: what it calls no JSON is no record, and the other
    /// way round a `bad_syntax` is never JSON.
    #[test]
    fn bad_syntax_is_exactly_what_is_no_json(
        at in 0..EVENT.len(), byte in prop::sample::select(b"{}[]\",:\\0e-.x \n".to_vec()),
        cut in 0..EVENT.len(),
    ) {
        let mut damaged = EVENT.as_bytes().to_vec();
        damaged[at] = byte;
        for raw in [&damaged[..], &EVENT.as_bytes()[..cut]] {
            let is_json = serde_json::from_slice::<IgnoredAny>(raw).is_ok();
            match Json.decode(raw) {
                Ok(_) => prop_assert!(is_json),
                Err(rejection) if is_json => prop_assert_ne!(rejection.reason, Reason::BadSyntax),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Json.decode(&raw);
        let _ = Json.correlation_id(&raw);
    }
}
