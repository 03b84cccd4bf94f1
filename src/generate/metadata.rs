//! What services attach to their events: nested, wordy, and full of what a careless reader could
//! take for the event itself.

use super::draw::Filler;
use super::text;

/// Metadata by kind of producer. `$h` stands for sixteen hexadecimal digits, `$n` for a number up
/// to a million, `$d` for two digits. Some hold keys of the schema, braces and quotes in strings,
/// floats, and depth: none of it may matter.
const TEMPLATES: [&str; 6] = [
    r#"{"request":{"id":"$h","method":"POST","path":"/v1/payments/$n/capture","ip":"203.0.113.$d","user_agent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15","headers":{"x-request-id":"$h","idempotency-key":"$h$h"}},"risk":{"score":0.$d,"rules":["velocity","geo-mismatch","bin-$d"],"reviewed":false,"reviewer":null},"order":{"lines":$d,"sku":["SKU-$n","SKU-$n"],"note":"Gift wrap \"{please}\""},"retries":0}"#,
    r#"{"card":{"brand":"visa","last4":"$d$d","funding":"credit","network_token":true,"bin":"4$d$d$d","auth_code":"$d$d$d"},"terminal":{"mcc":"58$d","city":"São Paulo","lat":-23.55$d,"lon":-46.63$d},"processor":{"reference":"$h","batch":"B-$n","response":{"code":"00","text":"APPROVED","raw":"\u0001\u001f{\"amount\":\"1e9\"}"}},"interchange":{"rate_bps":$d,"program":"CPS/Retail","fee_estimate":1.$de-2},"tags":["pos","chip","domestic"],"customer_ref":"$h"}"#,
    r#"{"bank":{"message":"pacs.008.001.08","end_to_end_id":"E2E$h","uetr":"$h","debtor":{"name":"Müller & Söhne GmbH","iban":"DE89 3704 0044 0532 0130 $d"},"creditor":{"name":"株式会社サンプル","bic":"DEUTDEFF$d"},"remittance":["Invoice $n","thank you 🙏","/ROC/$h//"]},"transaction_id":"not-this-one-$n","settlement":{"cycle":$d,"method":"CLRG","priority":"NORM"},"channel":"sepa-instant","operator":null,"attempt":{"n":1,"latency_ms":$n,"host":"pay-$d.eu-central-1.internal"}}"#,
    r#"{"batch":{"file":"s3://ledger-import/2019/$d/part-$n.csv.gz","row":$n,"sha":"$h$h"},"legacy":{"system":"AS/400","company":"$d","voucher":"V$n","user":"BATCH\\NIGHT","comment":"corr. per e-mail \"RE: RE: FW: difference\" of the $d.","fields":{"F01":"$n","F02":"","F03":null,"F04":" ","F05":"0000$n"}},"postings":[{"account":"decoy","side":"debit","amount":1,"currency":"eur"}],"checks":{"total":$n.$d,"ok":true,"warnings":["W$d: rounding","W$d: period"]}}"#,
    r#"{"subscription":{"plan":"team-annual","seats":$d,"period":["2026-01-01","2026-12-31"],"proration":{"from":"$h","ratio":0.$d$d$d}},"invoice":{"number":"R-$n","pdf":"https://billing.example.com/i/$h.pdf?sig=$h%2F$h","locale":"ja-JP","lines":[{"d":"Seats × $d","q":$d,"u":"hour"},{"d":"Überzug","q":$d,"u":"GB"}]},"experiment":{"name":"pricing-$d","arm":"b","features":{"dunning_v2":true,"tax_inclusive":false}},"crm":{"owner":"user-$n","stage":"won"}}"#,
    r#"{"trace":{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":[[[[[["deep but legal","$h"]]]]]]}}}}}}}},"workflow":{"id":"wf-$h","run":"$h","step":"post-ledger","attempt":$d,"queue":"money-movement","history_events":$n},"wallet":{"address":"0x$h$h","nonce":$n,"gas":{"limit":21000,"price_gwei":$d.$d}},"limits":[{"name":"daily","used":$n,"of":1000000},{"name":"monthly","used":$n,"of":10000000}],"flags":{"sanctions_hit":false,"pep":false,"manual":null},"amount":"999999999999"}"#,
];

/// One entry of the history that large records drag along.
const HISTORY_ENTRY: &str = r#"{"at":"2026-03-$d","actor":"svc-$d","action":"state.changed","from":"pending","to":"settled","diff":{"fee":[$n,$n],"hash":"$h","note":"auto-approved by rule №$d — “low value”"}}"#;
const HISTORY_ENTRIES: usize = 17;

/// Appends the metadata that follows from `salt`, about 500 bytes or, if `large`, about 3.5 KB.
pub(super) fn write(salt: u64, large: bool, out: &mut Vec<u8>) {
    let mut filler = Filler::new(salt);
    if large {
        out.extend_from_slice(br#"{"history":["#);
        for n in 0..HISTORY_ENTRIES {
            if n > 0 {
                out.push(b',');
            }
            fill(HISTORY_ENTRY, &mut filler, out);
        }
        out.extend_from_slice(br#"],"latest":"#);
    }
    let template = usize::try_from(filler.next() >> 32).unwrap_or(0) % TEMPLATES.len();
    fill(TEMPLATES[template], &mut filler, out);
    if large {
        out.push(b'}');
    }
}

/// What records of a given size are made of.
const STEP: &str =
    r#"{"at":"2026-03-$d","actor":"svc-$d","from":"pending","to":"settled","hash":"$h","fee":$n}"#;
/// By how much a step can be longer than its template.
const STEP_GROWTH: usize = 18;

/// Appends metadata that end where `out` has `end` bytes: steps, as many as there is room for, and
/// a note. Where there is no room at all they are an empty object.
pub(super) fn write_up_to(salt: u64, end: usize, out: &mut Vec<u8>) {
    const HEAD: &[u8] = br#"{"steps":["#;
    const NOTE: &[u8] = br#"],"note":""#;
    const TAIL: &[u8] = br#""}"#;
    let frame = NOTE.len() + TAIL.len();
    if out.len() + HEAD.len() + frame > end {
        return out.extend_from_slice(b"{}");
    }
    let mut filler = Filler::new(salt);
    out.extend_from_slice(HEAD);
    let mut between: &[u8] = b"";
    while out.len() + 1 + STEP.len() + STEP_GROWTH + frame <= end {
        out.extend_from_slice(between);
        between = b",";
        fill(STEP, &mut filler, out);
    }
    out.extend_from_slice(NOTE);
    letters(&mut filler, end - TAIL.len(), out);
    out.extend_from_slice(TAIL);
}

/// Appends letters up to an end.
fn letters(filler: &mut Filler, end: usize, out: &mut Vec<u8>) {
    const NIBBLES: u64 = u64::from_le_bytes([15; 8]);
    const A: u64 = u64::from_le_bytes([b'a'; 8]);
    while out.len() < end {
        let word = filler.next();
        out.extend_from_slice(&((word & NIBBLES) + A).to_le_bytes());
        out.extend_from_slice(&((word >> 4 & NIBBLES) + A).to_le_bytes());
    }
    out.truncate(end);
}

fn fill(template: &str, filler: &mut Filler, out: &mut Vec<u8>) {
    let mut rest = template.as_bytes();
    while let Some(at) = memchr::memchr(b'$', rest) {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(b'h') => text::hex(out, filler.next(), 16),
            Some(b'n') => text::number(out, filler.next() % 1_000_000),
            _ => text::padded(out, filler.next() % 90 + 10, 2),
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
