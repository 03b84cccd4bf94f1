//! Whose record it is that was not accepted. What is no JSON can be two records in one, or the rest
//! of one, so a name in it is believed only where it can be nobody else's.
//!
//! What is broken is read token by token. Once something stands where no JSON has it, a quote that
//! opens and one that closes can no longer be told apart, and with them names from what is about
//! them: then nobody is named.

use std::str;

use serde::de::IgnoredAny;

/// The longest name of a tenant, in characters.
const CHARS_MAX: usize = 64;

/// The member that names it.
const MEMBER: &str = "tenant";

/// Returns the tenant that a record names: in its outermost object, once or several times the same.
/// In what is no JSON every member of that name, at any depth, has to say the same.
pub(super) fn tenant(raw: &[u8]) -> Option<String> {
    let text = str::from_utf8(raw).ok()?;
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let mut scan = Scan::default();
    scan.read(text)?;
    let outermost = scan.found.iter().find(|(depth, _)| *depth == 1)?.1.clone();
    let agree = |(depth, name): &(usize, Option<String>)| {
        (is_json && *depth > 1) || (name.is_some() && *name == outermost)
    };
    let name = outermost.clone().filter(|_| scan.found.iter().all(agree))?;
    (1..=CHARS_MAX).contains(&name.chars().count()).then_some(name)
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// The outermost object.
    #[default]
    Beginning,
    /// A member's name, or the end of the object.
    Key,
    Colon,
    /// A value, or the end of the list.
    Value,
    /// A comma, or the end of what the value is in.
    Comma,
    /// Nothing: the outermost object has ended.
    Nothing,
}

/// How far the text has been read.
#[derive(Default)]
struct Scan {
    next: Next,
    /// The closing brackets that are to come.
    open: Vec<u8>,
    /// The last member's name, decoded.
    key: String,
    /// The values of the members that are searched for, with their depths; `None` is no text.
    found: Vec<(usize, Option<String>)>,
}

impl Scan {
    /// Reads a text to its end, which may come early; `None` where something is out of place. More
    /// commas than there should be are the only thing that is overlooked.
    fn read(&mut self, text: &str) -> Option<()> {
        let mut rest = text.trim_start();
        while let Some(first) = rest.bytes().next() {
            let length = match first {
                b'"' => {
                    let written = literal(rest)?;
                    self.text(serde_json::from_str(written).ok()?)?;
                    written.len()
                }
                b',' if matches!(self.next, Next::Comma | Next::Key | Next::Value) => {
                    self.next = self.inside()?;
                    1
                }
                b':' if self.next == Next::Colon => {
                    self.next = Next::Value;
                    1
                }
                b'{' | b'[' => {
                    self.value(None)?;
                    self.open.push(if first == b'{' { b'}' } else { b']' });
                    self.next = self.inside()?;
                    1
                }
                b'}' | b']' if self.next != Next::Colon && self.open.last() == Some(&first) => {
                    self.open.pop();
                    self.next = if self.open.is_empty() { Next::Nothing } else { Next::Comma };
                    1
                }
                _ => {
                    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
                    let word = &rest[..end.unwrap_or(rest.len())];
                    serde_json::from_str::<IgnoredAny>(word).ok()?;
                    self.value(None)?;
                    word.len()
                }
            };
            rest = rest[length..].trim_start();
        }
        Some(())
    }

    /// Returns what comes behind a bracket that opens, or a comma.
    fn inside(&self) -> Option<Next> {
        self.open.last().map(|end| if *end == b'}' { Next::Key } else { Next::Value })
    }

    fn text(&mut self, text: String) -> Option<()> {
        if self.next != Next::Key {
            return self.value(Some(text));
        }
        self.key = text;
        self.next = Next::Colon;
        Some(())
    }

    /// Takes a value, or the beginning of one that has others in it.
    fn value(&mut self, text: Option<String>) -> Option<()> {
        match self.next {
            Next::Beginning => return text.is_none().then_some(()),
            Next::Value => {}
            _ => return None,
        }
        if self.open.last() == Some(&b'}') && self.key == MEMBER {
            self.found.push((self.open.len(), text));
        }
        self.next = Next::Comma;
        Some(())
    }
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
            (
                r#"{"tenant":"acme","metadata":{"tenant":7,"a":[{"tenant":"b"},-1,null]}}"#,
                Some("acme"),
            ),
            (r#"{"tenant":"acme","tenant":"acme"}"#, Some("acme")),
            (r#"{"tenant":"acme","tenant":"b"}"#, None),
            (r#"{"tenant":"acme","ten\u0061nt":"b"}"#, None),
            (r#"{"ten\u0061nt":"b"}"#, Some("b")),
            (r#"{"metadata":{"tenant":"other"}}"#, None),
            (r#"{"note":"tenant","tenant":7}"#, None),
            (r#"{"tenant":""}"#, None),
            (r#"["tenant","acme"]"#, None),
            (r#""tenant""#, None),
            ("7", None),
            ("", None),
        ];
        for (raw, expected) in rows {
            assert_eq!(tenant(raw.as_bytes()).as_deref(), *expected, "{raw}");
        }
        assert_eq!(tenant(b"{\"tenant\":\"a\"\xff}"), None);
    }

    #[test]
    fn what_is_broken_names_a_tenant_only_where_it_can_be_no_other() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"tenant":"acme","postings":[{,,"#, Some("acme")),
            (r#"{"tenant":"acme","v":1,}"#, Some("acme")),
            (r#"{"tenant":"acme","postings":[{"account":"#, Some("acme")),
            (r#"{"tenant":"acme","metadata":{"tenant":"acme"},"#, Some("acme")),
            (r#"{"metadata":{"tenant":"b"},"tenant":"acme","#, None),
            (r#"{"tenant":"acme","metadata":{"tenant":7},"#, None),
            (r#"{"tenant":"acme","ten\u0061nt":"b","#, None),
            (r#"{"ten\u0061nt":"b","#, Some("b")),
            (r#"{"tenant":"acme","ten\x61nt":"b""#, None),
            // Two records in one, the first of them cut off anywhere.
            (r#"{"tenant":"a","no{"v":1,"tenant":"b"}"#, None),
            (r#"{"tenant":"a","no{"":1,"tenant":"b"}"#, None),
            (r#"{"tenant":"a","no{"1":1,"tenant":"b"}"#, None),
            (r#"{"v":1,"te{"tenant":"b","v":1}"#, None),
            (r#"{"v":1,{"tenant":"b","v":1}"#, None),
            (r#"{"v":1{"tenant":"b","v":1}"#, None),
            (r#"{"v":{"tenant":"b","v":1}"#, None),
            (r#"{"v":1}{"tenant":"b"}"#, None),
            (r#"{"tenant":"b"}{"v":1}"#, None),
            (r#"{"v":[1},"tenant":"b"}"#, None),
            (r#"{"text":"never ends,"tenant":"acme"}"#, None),
            (r#"{"tenant":"acme","note":"never ends"#, None),
            (r#"{"tenant":"acme","note":NaN}"#, None),
            (r#"{'tenant':'acme'}"#, None),
            (r#""v":1,"tenant":"acme"}"#, None),
        ];
        for (raw, expected) in rows {
            assert_eq!(tenant(raw.as_bytes()).as_deref(), *expected, "{raw}");
        }
    }
}
