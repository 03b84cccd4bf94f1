//! Why a record is quarantined: a closed list with codes that never change their meaning.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The reason of a rejection. The code is published in quarantine files and counted in
        /// metrics, so a code is never renamed and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// Returns the stable code, in snake case.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }
        }
    };
}

reasons! {
    /// The record is larger than 1 MiB.
    TooLarge = "too_large",
    /// The record is not UTF-8.
    NotUtf8 = "not_utf8",
    /// The record is not one JSON object: truncated, malformed, or followed by more.
    BadSyntax = "bad_syntax",
    /// Values are nested deeper than 32.
    TooDeep = "too_deep",
    /// A field of the schema is given twice.
    DuplicateField = "duplicate_field",
    /// A required field is missing.
    MissingField = "missing_field",
    /// A field has a value of another type.
    BadType = "bad_type",
    /// `v` is not a schema version this program knows.
    UnsupportedVersion = "unsupported_version",
    /// `kind` is no kind of the specification.
    UnknownKind = "unknown_kind",
    /// `kind` is of the specification, but was not of the version of the program that read it.
    UnsupportedKind = "unsupported_kind",
    /// An identifier is empty or too long.
    BadIdentifier = "bad_identifier",
    /// A time is not RFC 3339 or names no real instant.
    BadTimestamp = "bad_timestamp",
    /// `revision` does not fit the kind.
    BadRevision = "bad_revision",
    /// `sequence` is not 1 or more.
    BadSequence = "bad_sequence",
    /// `leg` is given for a kind that has no legs.
    LegNotAllowed = "leg_not_allowed",
    /// A kind that always carries postings has none.
    MissingPostings = "missing_postings",
    /// A kind that never carries postings has some.
    PostingsNotAllowed = "postings_not_allowed",
    /// An account name is empty, too long, or has control characters.
    BadAccount = "bad_account",
    /// An account's overdraft is neither `allowed` nor `forbidden`.
    BadOverdraft = "bad_overdraft",
    /// A date is no real `YYYY-MM-DD`.
    BadDate = "bad_date",
    /// A period is no month `YYYY-MM`.
    BadPeriod = "bad_period",
    /// A range of sequences does not begin at 1 or more and end at or behind its beginning.
    BadRange = "bad_range",
    /// A side is neither `debit` nor `credit`.
    BadSide = "bad_side",
    /// A currency is not 1 to 24 of `A-Z 0-9 . _ - /`, a letter first.
    BadCurrency = "bad_currency",
    /// An amount is not a plain decimal, or is negative where it must not be.
    BadAmount = "bad_amount",
    /// An amount has more fraction digits than the store keeps.
    AmountPrecision = "amount_precision",
    /// An amount is too large to be summed safely.
    AmountRange = "amount_range",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A record that is not accepted, with the reason and a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable reason.
    pub reason: Reason,
    /// Which field or value it is about, in words.
    pub detail: String,
}

impl Rejection {
    /// Builds a rejection.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Rejection {
        Rejection { reason, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
