//! The contract of a format: one record's bytes to a draft of an event.
//!
//! Decoding is a pure function of the bytes. It answers what the record *says*; whether that is
//! valid, [`EventDraft::admit`] alone decides. Every failure is a [`Rejection`] with the reason of
//! what is wrong first, reading from the left; size, encoding and nesting come before all else.

use trueup_ledger::{EventDraft, Rejection};

pub mod json;

/// Turns the bytes of a record into a draft of an event.
pub trait Format: Send + Sync {
    /// Decodes one record, borrowing from its bytes what can be borrowed.
    ///
    /// # Errors
    /// A [`Rejection`], to be quarantined with the record's raw bytes.
    fn decode<'a>(&self, raw: &'a [u8]) -> Result<Decoded<'a>, Rejection>;

    /// Finds the correlation id of a record that was rejected, as well as it can be found, for the
    /// quarantine. `None` says nothing about the record.
    fn correlation_id(&self, raw: &[u8]) -> Option<String>;
}

/// What a record says.
#[derive(Clone, Debug, Default)]
pub struct Decoded<'a> {
    /// The fields of the schema.
    pub draft: EventDraft<'a>,
    /// How many fields are of no schema, in the record, its `source` and its `postings`.
    pub unknown_fields: u32,
}
