//! The small parts of a journal's lines: words, comments, metadata, dates, and directives
//! that move nothing.

use anyhow::{Result, anyhow, bail};
use jiff::civil::Date;

/// Directives that move nothing.
pub(crate) const HARMLESS: &[&str] = &[
    "D",
    "N",
    "P",
    "Y",
    "apply",
    "assert",
    "bucket",
    "check",
    "commodity",
    "decimal-mark",
    "define",
    "end",
    "eval",
    "expr",
    "option",
    "payee",
    "plugin",
    "popmeta",
    "poptag",
    "pushmeta",
    "pushtag",
    "tag",
    "year",
];
pub(crate) const HARMLESS_DATED: &[&str] =
    &["balance", "close", "commodity", "custom", "document", "event", "note", "price", "query"];

pub(crate) const DECIMAL_COMMA: &str = "a decimal comma is declared, and `1.000` could be one \
    or a thousand; convert what `hledger print -c '1000.00 EUR'` writes, \
    with a -c for each such commodity";

/// Whether the number of a format has a comma as its last mark.
pub(crate) fn is_decimal_comma(format: &str) -> bool {
    let format = uncommented(format);
    format.rfind(',') > format.rfind('.')
}

/// `key: value`, which in beancount is metadata; a root account is never followed by a blank.
pub(crate) fn is_metadata(text: &str) -> bool {
    text.split_once(':').is_some_and(|(key, value)| {
        key.starts_with(|c: char| c.is_ascii_lowercase())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            && (value.is_empty() || value.starts_with([' ', '\t']))
    })
}

/// The first word, and what follows it.
pub(crate) fn first_word(text: &str) -> (&str, &str) {
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

/// The text before a comment; a semicolon between quotes begins none.
pub(crate) fn uncommented(text: &str) -> &str {
    let mut quoted = false;
    let comment = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == ';' && !quoted
    });
    &text[..comment.map_or(text.len(), |(at, _)| at)]
}

/// A date with its year, which is a day of the calendar.
pub(crate) fn date(text: &str) -> Result<Date> {
    let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<i16>().ok());
    let (Some(year), Some(month), Some(day), 3) = (number(0), number(1), number(2), parts.len())
    else {
        bail!("{text:?} is no date with a year; write it as 2026-01-31");
    };
    let of = |n: i16| i8::try_from(n).unwrap_or(0);
    Date::new(year, of(month), of(day)).map_err(|_| anyhow!("{text:?} is no day of the calendar"))
}
