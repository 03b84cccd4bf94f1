//! Records that must be quarantined: a sound one with one thing wrong, so that nothing but the
//! intended check can catch it.

use super::draw::Draw;
use super::tally::Poison;
use super::text::{self, When};

/// The nesting of a record that is too deep; the bound is 32.
const DEEP: usize = 40;
/// The size of a record that is too large; the bound is 1 MiB.
const GIANT: usize = 1_048_576 + 512;

/// A sound record in pieces, each the JSON text of a value or of whole fields.
struct Parts {
    version: &'static str,
    kind: &'static str,
    event_id: String,
    effective: &'static str,
    account: String,
    side: &'static str,
    amount: &'static str,
    currency: &'static str,
    /// More fields, each with a comma behind it.
    more: String,
    /// What stands behind the object.
    tail: &'static str,
    /// The beginning of a field to leave out, up to its value.
    missing: &'static str,
}

/// Appends a broken record, recorded at `recorded`.
pub(super) fn write(poison: Poison, draw: &mut Draw, recorded: When, out: &mut Vec<u8>) {
    let whole = match poison {
        Poison::NotJson => Some(pick(
            draw,
            &[
                "2026-03-01 08:12:44,842 ERROR c.e.l.Outbox - could not serialise event, dropping",
                "evt_17,tenant-0001,post,1.50,EUR",
                "<event><kind>post</kind></event>",
                "{'v': 1, 'kind': 'post'}",
            ],
        )),
        Poison::EmptyObject => Some("{}"),
        Poison::Blank => Some(pick(draw, &["", " ", " \t  "])),
        Poison::NotAnObject => Some(pick(draw, &["null", "[]", "42", "\"post\"", "[{\"v\":1}]"])),
        _ => None,
    };
    if let Some(text) = whole {
        return out.extend_from_slice(text.as_bytes());
    }
    let start = out.len();
    let mut parts = Parts::sound(draw);
    parts.spoil(poison, draw);
    parts.write(recorded, draw, out);
    match poison {
        Poison::Truncated => {
            let length = out.len() - start;
            out.truncate(start + 1 + draw.index(length - 1));
        }
        Poison::InvalidUtf8 => {
            for byte in out[start..].iter_mut().filter(|b| **b == b'~') {
                *byte = 0xff;
            }
        }
        _ => {}
    }
}

fn pick(draw: &mut Draw, choices: &[&'static str]) -> &'static str {
    choices[draw.index(choices.len())]
}

impl Parts {
    fn sound(draw: &mut Draw) -> Parts {
        let mut id = b"\"bad_".to_vec();
        text::hex(&mut id, draw.any(), 16);
        id.push(b'"');
        Parts {
            version: "1",
            kind: "\"post\"",
            event_id: String::from_utf8(id).unwrap_or_default(),
            effective: "\"2026-03-01T09:30:00.25+02:00\"",
            account: "\"assets:bank:hsbc:operating\"".to_owned(),
            side: "\"debit\"",
            amount: "\"1.50\"",
            currency: "\"EUR\"",
            more: String::new(),
            tail: "",
            missing: "",
        }
    }

    fn spoil(&mut self, poison: Poison, draw: &mut Draw) {
        match poison {
            // The bytes of these two are spoilt when all is written.
            Poison::Truncated => {}
            Poison::InvalidUtf8 => self.account = "\"assets:caf~:cash\"".to_owned(),
            Poison::LoneSurrogate => self.account = "\"assets:\\ud83d:cash\"".to_owned(),
            Poison::ControlInAccount => {
                let control = pick(draw, &["\\u0000", "\\t", "\\n", "\\u001b", "\\u007f", "\t"]);
                self.account = format!("\"assets:cash{control}:eur\"");
            }
            Poison::AmountNumber => self.amount = pick(draw, &["1.50", "150", "0"]),
            Poison::AmountExponent => {
                self.amount = pick(draw, &["\"1e3\"", "\"1.5E2\"", "\"5e-1\""]);
            }
            Poison::AmountSigned => self.amount = pick(draw, &["\"-1.50\"", "\"+1.50\"", "\"-0\""]),
            Poison::AmountSeparators => {
                let amounts = ["\"1_000\"", "\"1,000.00\"", "\"1 000\"", "\" 1.50\"", "\"1.5.0\""];
                self.amount = pick(draw, &amounts);
            }
            Poison::AmountEmpty => self.amount = pick(draw, &["\"\"", "\".\"", "\"EUR\""]),
            Poison::AmountPrecision => {
                self.amount = pick(draw, &["\"0.1234567891\"", "\"1.5000000000000000001\""]);
            }
            Poison::AmountHuge => {
                let amounts = [
                    "\"1000000000000000000000000000000000000000\"",
                    "\"340282366920938463463374607431768211456.5\"",
                ];
                self.amount = pick(draw, &amounts);
            }
            Poison::AmountNan => {
                self.amount = pick(draw, &["\"NaN\"", "NaN", "\"Infinity\"", "-Infinity"]);
            }
            Poison::BadCurrency => {
                let currencies = [
                    "\"eur\"",
                    "\"Eur\"",
                    "\"\"",
                    "\"1INCH\"",
                    "\"€\"",
                    "\"ABCDEFGHIJKLMNOPQRSTUVWXY\"",
                ];
                self.currency = pick(draw, &currencies);
            }
            Poison::BadSide => self.side = pick(draw, &["\"Debit\"", "\"dr\"", "\"\""]),
            Poison::BadTime => self.effective = bad_time(draw),
            Poison::VersionTwo => self.version = "2",
            Poison::UnknownKind => {
                self.kind = pick(draw, &["\"pst\"", "\"POST\"", "\"chargeback\""]);
            }
            Poison::TrailingGarbage => {
                self.tail = pick(draw, &["}", ",", " {}", "{\"v\":1}", "\\n"]);
            }
            Poison::MissingField => self.missing = missing(draw),
            _ => self.spoil_more(poison, draw),
        }
    }

    /// Spoils what takes more than another value.
    fn spoil_more(&mut self, poison: Poison, draw: &mut Draw) {
        match poison {
            Poison::WrongType => match draw.below(4) {
                0 => self.version = "\"1\"",
                1 => self.event_id = "12345".to_owned(),
                2 => self.effective = "1772352000",
                _ => self.account = "{\"path\":\"assets:cash\"}".to_owned(),
            },
            Poison::DuplicateKey => {
                let fields = [
                    "\"tenant\":\"other\",",
                    "\"kind\":\"post\",",
                    "\"postings\":[],",
                    "\"event_id\":\"again\",",
                    "\"transaction\\u005fid\":\"again\",",
                ];
                self.more = pick(draw, &fields).to_owned();
            }
            Poison::TooDeep => {
                let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
                self.more = format!("\"extra\":{open}{close},");
            }
            Poison::LegOnReverse => {
                self.kind = "\"reverse\"";
                self.more = "\"reverses\":\"pay_1\",\"leg\":\"payer\",".to_owned();
            }
            Poison::PostingsOnRelease => {
                self.kind = "\"release\"";
                self.more = "\"releases\":\"pay_1\",".to_owned();
            }
            Poison::HoldWithoutEnd => self.kind = "\"hold\"",
            Poison::CorrectRevisionOne => {
                self.kind = "\"correct\"";
                self.more = pick(draw, &["\"revision\":1,", ""]).to_owned();
            }
            Poison::TooLong => match draw.below(2) {
                0 => self.event_id = format!("\"{}\"", "x".repeat(129)),
                _ => self.account = format!("\"assets:{}\"", "ü".repeat(130)),
            },
            Poison::TooLarge => self.more = format!("\"blob\":\"{}\",", "A".repeat(GIANT)),
            Poison::BadFact => self.bad_fact(draw),
            _ => {}
        }
    }

    fn bad_fact(&mut self, draw: &mut Draw) {
        let (kind, more) = match draw.below(4) {
            0 => (
                "\"statement_line\"",
                "\"statement\":{\"processor\":\"stripe\",\"reference\":\"ch_1\",\
                 \"amount\":\"-1.50\",\"currency\":\"EUR\",\"value_date\":\"2026-02-30\"},",
            ),
            1 => (
                "\"control_total\"",
                "\"control\":{\"from_sequence\":9,\"to_sequence\":1,\"count\":9,\
                 \"totals\":{\"EUR\":{\"debit\":\"9\",\"credit\":\"9\"}}},",
            ),
            2 => ("\"close_period\"", "\"period\":\"2026-13\","),
            _ => ("\"reopen_period\"", "\"period\":\"Q1\","),
        };
        self.kind = kind;
        self.more = more.to_owned();
    }

    fn write(&self, recorded: When, draw: &mut Draw, out: &mut Vec<u8>) {
        let field = |out: &mut Vec<u8>, key: &'static str, value: &str| {
            if self.missing != key {
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(value.as_bytes());
            }
        };
        out.push(b'{');
        // An unknown field stands in front, so that no known one has to: any may be missing.
        out.extend_from_slice(b"\"trace\":{\"sampled\":false}");
        field(out, ",\"v\":", self.version);
        field(out, ",\"event_id\":", &self.event_id);
        field(out, ",\"tenant\":", "\"tenant-0001\"");
        field(out, ",\"kind\":", self.kind);
        let mut transaction = b"\"pay_bad_".to_vec();
        text::hex(&mut transaction, draw.any(), 16);
        transaction.push(b'"');
        field(out, ",\"transaction_id\":", &String::from_utf8_lossy(&transaction));
        field(out, ",\"effective_at\":", self.effective);
        if self.missing != ",\"recorded_at\":" {
            out.extend_from_slice(b",\"recorded_at\":");
            text::instant(out, recorded);
        }
        field(out, ",\"source\":", "{\"service\":\"payments-api\"}");
        out.push(b',');
        out.extend_from_slice(self.more.as_bytes());
        self.write_postings(out);
        out.extend_from_slice(b",\"metadata\":{\"poison\":true,\"producer\":\"payments-api\"}}");
        out.extend_from_slice(self.tail.as_bytes());
    }

    fn write_postings(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"postings\":[{\"account\":");
        out.extend_from_slice(self.account.as_bytes());
        for (key, value) in [
            (",\"side\":", self.side),
            (",\"amount\":", self.amount),
            (",\"currency\":", self.currency),
        ] {
            if self.missing != key {
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(value.as_bytes());
            }
        }
        out.extend_from_slice(
            b"},{\"account\":\"liabilities:customers:emea:c000001\",\"side\":\"credit\",\
              \"amount\":\"1.50\",\"currency\":\"EUR\"}]",
        );
    }
}

fn bad_time(draw: &mut Draw) -> &'static str {
    pick(
        draw,
        &[
            "\"2026-02-30T10:00:00Z\"",
            "\"2026-13-01T10:00:00Z\"",
            "\"2025-02-29T10:00:00Z\"",
            "\"2026-03-01T25:00:00Z\"",
            "\"2026-03-01\"",
            "\"2026-03-01T10:00:00\"",
            "\"01.03.2026 10:00\"",
            "\"yesterday\"",
            "\"\"",
        ],
    )
}

fn missing(draw: &mut Draw) -> &'static str {
    pick(
        draw,
        &[
            ",\"v\":",
            ",\"event_id\":",
            ",\"tenant\":",
            ",\"kind\":",
            ",\"transaction_id\":",
            ",\"effective_at\":",
            ",\"recorded_at\":",
            ",\"source\":",
            ",\"side\":",
            ",\"amount\":",
            ",\"currency\":",
        ],
    )
}
