//! JSON: one object a record (SPEC §2).
//!
//! Strict where a second reading would be possible: a field of the schema given twice, anything
//! behind the object, an integer written as `1.0` or `"1"`, and an amount that is a JSON number are
//! all rejected. Fields of no schema are skipped by their grammar alone, counted, and never built.
//!
//! A lone surrogate (`"\ud800"`) is a string of JSON but no text: it is a `bad_type` in a field of
//! the schema and in a name, and passes where it is skipped.

use serde::de::IgnoredAny;
use serde_json::error::Category;
use trueup_ledger::draft::{DEPTH_MAX, RECORD_BYTES_MAX};
use trueup_ledger::{Reason, Rejection};

use super::{Decoded, Format};
use state::State;
use usual::Usual;

mod depth;
mod record;
mod state;
mod usual;

/// The longest correlation id that [`Json::correlation_id`] hands on, in bytes.
const CORRELATION_ID_BYTES_MAX: usize = 1024;

/// The JSON format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Format for Json {
    fn decode<'a>(&self, raw: &'a [u8]) -> Result<Decoded<'a>, Rejection> {
        if raw.len() > RECORD_BYTES_MAX {
            let detail = format!("the record has more than {RECORD_BYTES_MAX} bytes");
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        let text = std::str::from_utf8(raw).map_err(|error| {
            let detail = format!("the record is not UTF-8 from byte {} on", error.valid_up_to());
            Rejection::new(Reason::NotUtf8, detail)
        })?;
        let (state, mut decoded) = (State::default(), Decoded::default());
        let mut usual = Usual::new(text);
        if record::read(&mut usual, &state, &mut decoded.draft).is_ok() && usual.is_at_end() {
            decoded.unknown_fields = state.unknown_fields();
            return Ok(decoded);
        }
        decode_unusual(text)
    }

    fn correlation_id(&self, raw: &[u8]) -> Option<String> {
        const NAME: &[u8] = b"\"correlation_id\"";
        let after = memchr::memmem::find(raw, NAME)? + NAME.len();
        let rest = raw.get(after..)?.trim_ascii_start().strip_prefix(b":")?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<String>();
        let id = values.next()?.ok()?;
        (id.len() <= CORRELATION_ID_BYTES_MAX).then_some(id)
    }
}

/// Decodes a record that is anything but usual, or says why it is rejected.
#[cold]
fn decode_unusual(text: &str) -> Result<Decoded<'_>, Rejection> {
    if depth::exceeds(text, DEPTH_MAX) {
        let detail = format!("values are nested deeper than {DEPTH_MAX}");
        return Err(Rejection::new(Reason::TooDeep, detail));
    }
    let (state, mut decoded) = (State::default(), Decoded::default());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = record::read(&mut deserializer, &state, &mut decoded.draft);
    match read.and_then(|()| deserializer.end()) {
        Ok(()) => {
            decoded.unknown_fields = state.unknown_fields();
            Ok(decoded)
        }
        Err(error) => Err(reject(text, &state, &error)),
    }
}

/// Says why a record could not be read. Only what is wrong first is known: reading stopped there.
fn reject(text: &str, state: &State, error: &serde_json::Error) -> Rejection {
    if let Some(rejection) = state.rejection() {
        return rejection;
    }
    if !text.trim_ascii_start().starts_with('{') && !text.trim_ascii().is_empty() {
        return Rejection::new(Reason::BadSyntax, "the record is not a JSON object");
    }
    match error.classify() {
        Category::Data => state.bad_type(),
        // serde_json reports a number or an escape that its types cannot hold as syntax too. The
        // grammar alone decides which it is.
        _ if serde_json::from_str::<IgnoredAny>(text).is_ok() => state.bad_type(),
        _ if text.trim_ascii().is_empty() => Rejection::new(Reason::BadSyntax, "a blank record"),
        _ => Rejection::new(Reason::BadSyntax, error.to_string()),
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
