//! From a decoded record to an event: the validity of SPEC §2, whatever the encoding was.
//!
//! A decoder (JSON today; Avro, Debezium and CSV later) fills an [`EventDraft`] with what the
//! record says; [`EventDraft::admit`] alone decides what is valid. Fields that a kind does not use
//! are not judged: withholding money for a superfluous field would be a second error.

use std::borrow::Cow;

use crate::amount::AmountError;
use crate::event::{Event, Kind, Posting, Side, Source};
use crate::{Amount, Reason, Rejection, Scale, Timestamp};

mod facts;

pub use facts::{AccountDraft, ControlDraft, ControlSumDraft, StatementDraft};

/// The largest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of values, the record's own object being the first level.
pub const DEPTH_MAX: usize = 32;
/// The only schema version.
pub const SCHEMA_VERSION: u64 = 1;
/// The longest account name, in bytes.
pub const ACCOUNT_BYTES_MAX: usize = 256;

const TENANT_CHARS_MAX: usize = 64;
/// The longest identifier, in characters.
pub const IDENTIFIER_CHARS_MAX: usize = 128;
const CURRENCY_BYTES_MAX: usize = 24;

/// The fields of a record as a decoder found them; `None` is an absent field.
#[derive(Clone, Debug, Default)]
pub struct EventDraft<'a> {
    /// `v`
    pub v: Option<u64>,
    /// `event_id`
    pub event_id: Option<Cow<'a, str>>,
    /// `tenant`
    pub tenant: Option<Cow<'a, str>>,
    /// `kind`
    pub kind: Option<Cow<'a, str>>,
    /// `transaction_id`
    pub transaction_id: Option<Cow<'a, str>>,
    /// `leg`
    pub leg: Option<Cow<'a, str>>,
    /// `revision`
    pub revision: Option<u64>,
    /// `effective_at`
    pub effective_at: Option<Cow<'a, str>>,
    /// `recorded_at`
    pub recorded_at: Option<Cow<'a, str>>,
    /// `source`
    pub source: Option<SourceDraft<'a>>,
    /// `correlation_id`, for logs and quarantine; no part of the event's content.
    pub correlation_id: Option<Cow<'a, str>>,
    /// `postings`
    pub postings: Option<Vec<PostingDraft<'a>>>,
    /// `reverses`
    pub reverses: Option<Cow<'a, str>>,
    /// `refunds`
    pub refunds: Option<Cow<'a, str>>,
    /// `captures`
    pub captures: Option<Cow<'a, str>>,
    /// `releases`
    pub releases: Option<Cow<'a, str>>,
    /// `expires_at`
    pub expires_at: Option<Cow<'a, str>>,
    /// `account`
    pub account: Option<AccountDraft<'a>>,
    /// `statement`
    pub statement: Option<StatementDraft<'a>>,
    /// `control`
    pub control: Option<ControlDraft<'a>>,
    /// `period`
    pub period: Option<Cow<'a, str>>,
}

/// The `source` object of a record.
#[derive(Clone, Debug, Default)]
pub struct SourceDraft<'a> {
    /// `service`
    pub service: Option<Cow<'a, str>>,
    /// `sequence`
    pub sequence: Option<u64>,
}

/// One element of `postings`.
#[derive(Clone, Debug, Default)]
pub struct PostingDraft<'a> {
    /// `account`
    pub account: Option<Cow<'a, str>>,
    /// `side`
    pub side: Option<Cow<'a, str>>,
    /// `amount`, a decimal string
    pub amount: Option<Cow<'a, str>>,
    /// `currency`
    pub currency: Option<Cow<'a, str>>,
}

fn required<T>(value: Option<T>, field: &str) -> Result<T, Rejection> {
    value.ok_or_else(|| Rejection::new(Reason::MissingField, format!("`{field}` is missing")))
}

fn identifier<'a>(
    value: Option<Cow<'a, str>>,
    field: &str,
    chars_max: usize,
) -> Result<Cow<'a, str>, Rejection> {
    let value = required(value, field)?;
    // Counting characters is only needed where there are more bytes than allowed characters.
    if value.is_empty() || (value.len() > chars_max && value.chars().count() > chars_max) {
        let detail = format!("`{field}` must have 1 to {chars_max} characters");
        return Err(Rejection::new(Reason::BadIdentifier, detail));
    }
    Ok(value)
}

fn timestamp(value: Option<Cow<'_, str>>, field: &str) -> Result<Timestamp, Rejection> {
    let value = required(value, field)?;
    Timestamp::parse(&value).ok_or_else(|| {
        let detail = format!("`{field}` {} is not an RFC 3339 instant", excerpt(&value));
        Rejection::new(Reason::BadTimestamp, detail)
    })
}

/// Quotes a value for a detail, shortened, since details are for people and raw bytes are kept.
fn excerpt(value: &str) -> String {
    let mut text: String = value.chars().take(40).collect();
    if text.len() < value.len() {
        text.push('…');
    }
    format!("{text:?}")
}

fn kind(name: Option<Cow<'_, str>>) -> Result<Kind, Rejection> {
    let name = required(name, "kind")?;
    Kind::by_name(&name).ok_or_else(|| {
        let detail = format!("`kind` {} is unknown", excerpt(&name));
        Rejection::new(Reason::UnknownKind, detail)
    })
}

fn is_currency(code: &str) -> bool {
    let bytes = code.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.len() <= CURRENCY_BYTES_MAX
        && bytes.iter().all(|b| {
            b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/')
        })
}

fn side(name: &str, field: impl Fn() -> String) -> Result<Side, Rejection> {
    match name {
        "debit" => Ok(Side::Debit),
        "credit" => Ok(Side::Credit),
        other => {
            let detail = format!("`{}` {} is no side", field(), excerpt(other));
            Err(Rejection::new(Reason::BadSide, detail))
        }
    }
}

/// Says whether a name can be that of an account.
#[must_use]
pub fn is_account(name: &str) -> bool {
    !name.is_empty() && name.len() <= ACCOUNT_BYTES_MAX && !name.chars().any(char::is_control)
}

fn check_account(name: &str, field: impl Fn() -> String) -> Result<(), Rejection> {
    if !is_account(name) {
        let detail = format!(
            "`{}` must have 1 to {ACCOUNT_BYTES_MAX} bytes and no control characters",
            field()
        );
        return Err(Rejection::new(Reason::BadAccount, detail));
    }
    Ok(())
}

fn check_currency(code: &str, field: impl Fn() -> String) -> Result<(), Rejection> {
    if is_currency(code) {
        return Ok(());
    }
    let detail = format!("`{}` {} is no currency", field(), excerpt(code));
    Err(Rejection::new(Reason::BadCurrency, detail))
}

/// Says what is wrong with an amount.
fn bad_amount(error: AmountError, text: &str, field: &str) -> Rejection {
    let reason = match error {
        AmountError::Grammar => Reason::BadAmount,
        AmountError::Precision(_) => Reason::AmountPrecision,
        AmountError::Range => Reason::AmountRange,
    };
    Rejection::new(reason, format!("`{field}` {}: {error}", excerpt(text)))
}

impl<'a> PostingDraft<'a> {
    fn admit(self, line: usize, scale: Scale) -> Result<Posting<'a>, Rejection> {
        let field = |name: &str| format!("postings[{line}].{name}");
        let missing = |name: &str| {
            Rejection::new(Reason::MissingField, format!("`{}` is missing", field(name)))
        };
        let account = self.account.ok_or_else(|| missing("account"))?;
        let side = self.side.ok_or_else(|| missing("side"))?;
        let amount = self.amount.ok_or_else(|| missing("amount"))?;
        let currency = self.currency.ok_or_else(|| missing("currency"))?;
        check_account(&account, || field("account"))?;
        let side = self::side(&side, || field("side"))?;
        check_currency(&currency, || field("currency"))?;
        let amount = Amount::parse(&amount, scale)
            .map_err(|error| bad_amount(error, &amount, &field("amount")))?;
        Ok(Posting { account, side, amount, currency })
    }
}

impl<'a> EventDraft<'a> {
    /// Judges the draft by SPEC §2 and returns the event, or the first reason to reject it in the
    /// order of the specification's table.
    ///
    /// # Errors
    /// A [`Rejection`], to be quarantined with the record's raw bytes.
    pub fn admit(self, scale: Scale) -> Result<Event<'a>, Rejection> {
        let version = required(self.v, "v")?;
        if version != SCHEMA_VERSION {
            let detail = format!("`v` is {version}, this version of trueup reads 1");
            return Err(Rejection::new(Reason::UnsupportedVersion, detail));
        }
        let event_id = identifier(self.event_id, "event_id", IDENTIFIER_CHARS_MAX)?;
        let tenant = identifier(self.tenant, "tenant", TENANT_CHARS_MAX)?;
        let kind = kind(self.kind)?;
        let (transaction_id, leg, revision) =
            admit_place(kind, self.transaction_id, self.leg, self.revision)?;
        let effective_at = timestamp(self.effective_at, "effective_at")?;
        let recorded_at = timestamp(self.recorded_at, "recorded_at")?;
        let source = required(self.source, "source")?;
        let service = identifier(source.service, "source.service", IDENTIFIER_CHARS_MAX)?;
        if source.sequence.is_some_and(|n| n == 0 || i64::try_from(n).is_err()) {
            let detail = "`source.sequence` must be 1 or more and fit 63 bits";
            return Err(Rejection::new(Reason::BadSequence, detail));
        }
        let (target, field) = match kind {
            Kind::Reverse => (self.reverses, "reverses"),
            Kind::Refund => (self.refunds, "refunds"),
            Kind::Capture => (self.captures, "captures"),
            Kind::Release => (self.releases, "releases"),
            _ => (None, ""),
        };
        let target = if kind.is_link() {
            Some(identifier(target, field, IDENTIFIER_CHARS_MAX)?)
        } else {
            None
        };
        let expires_at =
            if kind == Kind::Hold { Some(timestamp(self.expires_at, "expires_at")?) } else { None };
        let said = facts::Said {
            account: self.account,
            statement: self.statement,
            control: self.control,
            period: self.period,
        };
        let fact = said.admit(kind, scale)?;
        let postings = admit_postings(kind, self.postings, scale)?;
        Ok(Event {
            tenant,
            transaction_id,
            event_id,
            kind,
            leg,
            revision,
            effective_at,
            recorded_at,
            source: Source { service, sequence: source.sequence },
            target,
            expires_at,
            fact,
            postings,
        })
    }
}

/// Judges where an event belongs: transaction, leg and revision. All are the same for every event
/// of a kind without a transaction.
fn admit_place<'a>(
    kind: Kind,
    transaction_id: Option<Cow<'a, str>>,
    leg: Option<Cow<'a, str>>,
    revision: Option<u64>,
) -> Result<(Cow<'a, str>, Cow<'a, str>, u64), Rejection> {
    if !kind.has_transaction() {
        return Ok((Cow::default(), Cow::default(), 1));
    }
    let transaction_id = identifier(transaction_id, "transaction_id", IDENTIFIER_CHARS_MAX)?;
    let leg = leg.unwrap_or_default();
    if kind.is_link() && !leg.is_empty() {
        let detail = format!("`leg` must be empty for kind `{}`", kind.name());
        return Err(Rejection::new(Reason::LegNotAllowed, detail));
    }
    Ok((transaction_id, leg, admit_revision(kind, revision.unwrap_or(1))?))
}

fn admit_revision(kind: Kind, revision: u64) -> Result<u64, Rejection> {
    let fits = if kind.is_opening() { revision == 1 } else { revision >= 2 };
    if fits && i64::try_from(revision).is_ok() {
        return Ok(revision);
    }
    let wanted = if kind.is_opening() { "1" } else { "2 or more, in 63 bits" };
    let detail = format!("`revision` of `{}` must be {wanted}, not {revision}", kind.name());
    Err(Rejection::new(Reason::BadRevision, detail))
}

fn admit_postings<'a>(
    kind: Kind,
    drafts: Option<Vec<PostingDraft<'a>>>,
    scale: Scale,
) -> Result<Vec<Posting<'a>>, Rejection> {
    let drafts = match (drafts, kind) {
        // Without a transaction there is no use for them, and what is not used is not judged.
        _ if !kind.has_transaction() => Vec::new(),
        (Some(drafts), _) => drafts,
        // A reversal or capture may leave its lines to be derived; a release has none.
        (None, Kind::Reverse | Kind::Capture | Kind::Release) => Vec::new(),
        (None, _) => {
            return Err(Rejection::new(Reason::MissingField, "`postings` is missing"));
        }
    };
    if drafts.is_empty() && kind == Kind::Refund {
        let detail = "a refund always carries postings, `postings` is empty";
        return Err(Rejection::new(Reason::MissingPostings, detail));
    }
    if !drafts.is_empty() && kind == Kind::Release {
        let detail = "a release has no postings of its own, a capture carries them";
        return Err(Rejection::new(Reason::PostingsNotAllowed, detail));
    }
    drafts.into_iter().enumerate().map(|(line, draft)| draft.admit(line, scale)).collect()
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
