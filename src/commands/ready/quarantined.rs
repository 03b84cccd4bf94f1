//! Records of a tenant that were not accepted and not redriven since. A record that says nobody's
//! name may be anybody's, so it counts for everybody.

use std::sync::Arc;

use anyhow::Context;
use trueup_ledger::Epoch;
use trueup_sinks::{QUARANTINE, Redrives, scan_quarantine_file};

use super::Question;
use super::reasons::Reason;

/// The longest name of a tenant, in characters.
const TENANT_CHARS_MAX: usize = 64;

pub(super) fn reasons(asked: &Question<'_>) -> anyhow::Result<Vec<Reason>> {
    let log = &asked.opened.log;
    let redriven = Redrives::open(Arc::clone(log.store())).context("reading what was re-driven")?;
    let (mut own, mut anybodys) = (0, 0);
    for commit in log.iter(Epoch(1), asked.epoch) {
        let commit = commit.context("reading the commits")?;
        for file in commit.files.iter().filter(|file| file.view == QUARANTINE) {
            scan_quarantine_file(&**log.store(), file, |record| {
                if redriven.of(record.source, record.partition, record.position).is_some() {
                    return Ok(());
                }
                match tenant(record.raw) {
                    Some(tenant) => own += u64::from(tenant == asked.tenant),
                    None => anybodys += 1,
                }
                anyhow::Ok(())
            })?;
        }
    }
    let mut reasons = Vec::new();
    let show = ["quarantine", "list", "--each"];
    if own > 0 {
        let what = "records of the tenant were not accepted".to_owned();
        reasons.push(asked.reason(("quarantined", asked.tenant, own), what, &show));
    }
    if anybodys > 0 {
        let what = "records were not accepted that may be of any tenant".to_owned();
        reasons.push(asked.reason(("quarantined_of_anybody", "", anybodys), what, &show));
    }
    Ok(reasons)
}

/// Returns the tenant that a record names, as well as can be told of what is no event: a `tenant` in
/// its outermost object, once, or several times the same.
fn tenant(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut found: Option<String> = None;
    let (mut depth, mut place) = (0_i32, 0);
    while let Some(byte) = text.as_bytes().get(place) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let key = literal(&text[place..])?;
                place += key.len();
                let value = text[place..].trim_start().strip_prefix(':').map(str::trim_start);
                if let (1, "\"tenant\"", Some(value)) = (depth, key, value) {
                    let name: String = serde_json::from_str(literal(value)?).ok()?;
                    if found.as_ref().is_some_and(|found| *found != name) {
                        return None;
                    }
                    found = Some(name);
                }
                continue;
            }
            _ => {}
        }
        place += 1;
    }
    found.filter(|name| (1..=TENANT_CHARS_MAX).contains(&name.chars().count()))
}

/// Returns the text in quotes that something begins with, as it is written.
fn literal(text: &str) -> Option<&str> {
    let mut escaped = false;
    let inner = text.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(&text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_told_only_where_the_record_says_it() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"v":1,"tenant":"acme","amount":1e5}"#, Some("acme")),
            (r#"{"metadata":{"tenant":"other"},"tenant" : "a\"c\u00e9"}"#, Some("a\"cé")),
            (r#"{"tenant":"acme","tenant":"acme"}"#, Some("acme")),
            (r#"{"tenant":"acme","tenant":"b"}"#, None),
            // What is broken behind it hides no name; what is broken before it may.
            (r#"{"tenant":"acme","postings":[{,,"#, Some("acme")),
            (r#"{"text":"never ends,"tenant":"acme"}"#, None),
            (r#"{"metadata":{"tenant":"other"}}"#, None),
            (r#"{"note":"tenant","tenant":7}"#, None),
            (r#"{"tenant":""}"#, None),
            (r#"["tenant","acme"]"#, None),
            ("", None),
        ];
        for (raw, expected) in rows {
            assert_eq!(tenant(raw.as_bytes()).as_deref(), *expected, "{raw}");
        }
        assert_eq!(tenant(b"{\"tenant\":\"a\"\xff}"), None);
    }
}
