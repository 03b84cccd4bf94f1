//! Canonical bytes: one encoding per event content, for the exchange between workers, the stored
//! transaction state and the content hash.
//!
//! Two events have the same content (SPEC §3, Identity) exactly when their canonical bytes are
//! equal. Integers are LEB128 where they are small as a rule, texts are preceded by their length.

use std::borrow::Cow;

use thiserror::Error;

use crate::event::{Event, Kind, Posting, Side, Source};
use crate::key::first_128_bits;
use crate::{Amount, Timestamp};

mod facts;

use facts::{put_fact, read_fact};
pub use facts::{put_terms, read_terms};

/// Bytes that are no canonical event. Only damage or a foreign program makes them, since this
/// program writes what it reads: stop and restore the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the bytes are no canonical event")]
pub struct CodecError;

/// Returns the hash by which rival contents of one identity are judged: 128 bits of BLAKE3 over
/// the canonical bytes.
#[must_use]
pub fn content_hash(canonical: &[u8]) -> u128 {
    first_128_bits(&blake3::hash(canonical))
}

/// Appends `value` as LEB128.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: u128) {
    // Most are lengths of names.
    if value < 0x80 {
        out.push((value & 0x7f) as u8);
    } else {
        put_long(out, value);
    }
}

/// Appends what takes two bytes or more. It stays out of line, so that what comes before it does not.
#[inline(never)]
fn put_long(out: &mut Vec<u8>, value: u128) {
    match u64::try_from(value) {
        Ok(low) if low < 1 << 56 => put_eight(out, low),
        _ => put_wide(out, value),
    }
}

/// Appends what takes eight bytes or less, made at once.
fn put_eight(out: &mut Vec<u8>, value: u64) {
    let bits = u64::BITS - value.leading_zeros();
    let length = bits.div_ceil(7) as usize;
    // Seven bits go into each byte: halves of 28 bits first, then quarters of 14, then eighths of 7.
    let halves = (value & 0x0fff_ffff) | ((value << 4) & 0x0fff_ffff_0000_0000);
    let quarters = (halves & 0x0000_3fff_0000_3fff) | ((halves << 2) & 0x3fff_0000_3fff_0000);
    let eighths = (quarters & 0x007f_007f_007f_007f) | ((quarters << 1) & 0x7f00_7f00_7f00_7f00);
    // All but the last say that there is more.
    let more = 0x8080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
    let start = out.len();
    out.extend_from_slice(&(eighths | more).to_le_bytes());
    out.truncate(start + length);
}

fn put_wide(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends `value` as LEB128 in zigzag, so that small negative numbers are short.
pub fn put_signed(out: &mut Vec<u8>, value: i128) {
    put_varint(out, ((value << 1) ^ (value >> 127)).cast_unsigned());
}

/// Appends `value` as [`put_signed`] does.
#[inline]
pub fn put_signed_64(out: &mut Vec<u8>, value: i64) {
    let value = ((value << 1) ^ (value >> 63)).cast_unsigned();
    if value < 0x80 {
        out.push((value & 0x7f) as u8);
    } else if value < 1 << 56 {
        put_eight(out, value);
    } else {
        put_wide(out, value.into());
    }
}

/// Appends a text with its length.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Appends bytes with their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

/// Appends the first `length` of some bytes, `N` at most: as many as are known when this is compiled are
/// copied without a call.
#[inline]
pub(crate) fn put_front<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N], length: usize) {
    let end = out.len() + length.min(N);
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// Reads canonical bytes from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Says whether all bytes are read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`CodecError`] at the end of the bytes.
    pub fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.rest.split_first().ok_or(CodecError)?;
        self.rest = rest;
        Ok(*first)
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// [`CodecError`] where fewer are left.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CodecError)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Reads a LEB128 integer of at most 128 bits.
    ///
    /// # Errors
    /// [`CodecError`] where it is cut or too long.
    pub fn varint(&mut self) -> Result<u128, CodecError> {
        let mut low = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            low |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(u128::from(low));
            }
        }
        let mut value = u128::from(low);
        for shift in (63..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError)
    }

    /// Reads a LEB128 integer of at most 64 bits.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn varint_u64(&mut self) -> Result<u64, CodecError> {
        u64::try_from(self.varint()?).map_err(|_| CodecError)
    }

    /// Reads what [`put_signed`] wrote.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn signed(&mut self) -> Result<i128, CodecError> {
        let coded = self.varint()?;
        Ok((coded >> 1).cast_signed() ^ -((coded & 1).cast_signed()))
    }

    /// Reads a length that fits the memory.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    pub fn length(&mut self) -> Result<usize, CodecError> {
        usize::try_from(self.varint()?).map_err(|_| CodecError)
    }

    /// Reads a text with its length.
    ///
    /// # Errors
    /// [`CodecError`] where it is cut or no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CodecError> {
        let length = self.length()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| CodecError)
    }

    /// Reads what [`put_timestamp`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] where it is something else.
    pub fn timestamp(&mut self) -> Result<Timestamp, CodecError> {
        let seconds = self.bytes(8)?.try_into().map_err(|_| CodecError)?;
        let nanos = self.bytes(4)?.try_into().map_err(|_| CodecError)?;
        Timestamp::from_parts(i64::from_le_bytes(seconds), u32::from_le_bytes(nanos))
            .ok_or(CodecError)
    }

    fn expiry(&mut self) -> Result<Option<Timestamp>, CodecError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.timestamp().map(Some),
            _ => Err(CodecError),
        }
    }
}

/// Appends an instant, always as many bytes.
pub fn put_timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    out.extend_from_slice(&timestamp.seconds().to_le_bytes());
    out.extend_from_slice(&timestamp.nanos().to_le_bytes());
}

/// A kind is written as its place among all, which never changes.
fn kind_of(code: u8) -> Result<Kind, CodecError> {
    Kind::ALL.get(usize::from(code)).copied().ok_or(CodecError)
}

/// Returns the kind of an event from its canonical bytes, without reading the rest.
///
/// # Errors
/// [`CodecError`] where they begin with no kind.
pub fn kind(canonical: &[u8]) -> Result<Kind, CodecError> {
    kind_of(Reader::new(canonical).byte()?)
}

/// Appends the side and amount of a line: the side in the lowest bit, the amount above it.
pub fn put_side_and_amount(out: &mut Vec<u8>, side: Side, amount: Amount) {
    put_varint(out, (amount.0.unsigned_abs() << 1) | u128::from(side == Side::Credit));
}

/// Reads what [`put_side_and_amount`] wrote.
///
/// # Errors
/// As [`Reader::varint`].
pub fn read_side_and_amount(reader: &mut Reader<'_>) -> Result<(Side, Amount), CodecError> {
    let both = reader.varint()?;
    let side = if both & 1 == 1 { Side::Credit } else { Side::Debit };
    Ok((side, Amount(i128::try_from(both >> 1).map_err(|_| CodecError)?)))
}

impl<'a> Event<'a> {
    /// Appends the event's canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        put_timestamp(out, self.recorded_at);
        put_timestamp(out, self.effective_at);
        put_varint(out, u128::from(self.revision));
        put_varint(out, u128::from(self.source.sequence.unwrap_or(0)));
        for text in [&self.tenant, &self.transaction_id, &self.event_id, &self.leg] {
            put_text(out, text);
        }
        put_text(out, &self.source.service);
        put_text(out, self.target.as_deref().unwrap_or_default());
        put_varint(out, self.postings.len() as u128);
        for posting in &self.postings {
            put_side_and_amount(out, posting.side, posting.amount);
            put_text(out, &posting.account);
            put_text(out, &posting.currency);
        }
        // Nothing but a hold has an end, so that nothing else pays for it.
        if self.kind == Kind::Hold {
            out.push(u8::from(self.expires_at.is_some()));
            if let Some(expires_at) = self.expires_at {
                put_timestamp(out, expires_at);
            }
        }
        if let Some(fact) = &self.fact {
            put_fact(out, fact);
        }
    }

    /// Reads an event from exactly its canonical bytes.
    ///
    /// # Errors
    /// [`CodecError`] where the bytes are not what [`Event::encode`] wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Event<'a>, CodecError> {
        let mut reader = Reader::new(bytes);
        let kind = kind_of(reader.byte()?)?;
        let recorded_at = reader.timestamp()?;
        let effective_at = reader.timestamp()?;
        let revision = reader.varint_u64()?;
        let sequence = Some(reader.varint_u64()?).filter(|sequence| *sequence > 0);
        let [tenant, transaction_id, event_id, leg, service, target] = {
            let mut texts = [""; 6];
            for text in &mut texts {
                *text = reader.text()?;
            }
            texts.map(Cow::Borrowed)
        };
        let lines = reader.length()?;
        let mut postings = Vec::with_capacity(lines.min(64));
        for _ in 0..lines {
            let (side, amount) = read_side_and_amount(&mut reader)?;
            let account = Cow::Borrowed(reader.text()?);
            let currency = Cow::Borrowed(reader.text()?);
            postings.push(Posting { account, side, amount, currency });
        }
        let expires_at = if kind == Kind::Hold { reader.expiry()? } else { None };
        let fact = read_fact(&mut reader, kind)?.map(Box::new);
        if !reader.is_empty() {
            return Err(CodecError);
        }
        let target = Some(target).filter(|target| !target.is_empty());
        let source = Source { service, sequence };
        Ok(Event {
            tenant,
            transaction_id,
            event_id,
            kind,
            leg,
            revision,
            effective_at,
            recorded_at,
            source,
            target,
            expires_at,
            fact,
            postings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::{
        ControlSum, ControlTotal, Declaration, Fact, Month, Overdraft, StatementLine, Terms,
    };
    use proptest::prelude::*;

    /// What an event of each kind says that the amount chooses, -7 to 8 as it is.
    fn event(amount: i128, text: &str, sequence: Option<u64>) -> Event<'_> {
        let kinds = [Kind::Reverse, Kind::Hold, Kind::Account, Kind::StatementLine];
        let others = [Kind::ControlTotal, Kind::ClosePeriod, Kind::ReopenPeriod];
        let kinds = [kinds.as_slice(), others.as_slice()].concat();
        let kind = kinds[usize::try_from(amount % 7).unwrap()];
        let normal_side = if amount % 2 == 0 { Side::Debit } else { Side::Credit };
        let terms = Terms { normal_side, overdraft: Overdraft::Forbidden };
        let sum = |currency| ControlSum { currency, debit: Amount(amount), credit: Amount(1) };
        let fact = match kind {
            Kind::Account => Some(Fact::Account(Declaration { account: text.into(), terms })),
            Kind::StatementLine => Some(Fact::Statement(StatementLine {
                processor: text.into(),
                reference: "t1".into(),
                amount: Amount(-amount),
                currency: "EUR".into(),
                value_date: -3,
            })),
            Kind::ControlTotal => Some(Fact::Control(ControlTotal {
                from: 1,
                to: u64::MAX,
                count: 7,
                totals: vec![sum("EUR".into()), sum(text.into())],
            })),
            kind if kind.is_of_period() => Some(Fact::Period(Month(24_321))),
            _ => None,
        };
        Event {
            tenant: text.into(),
            transaction_id: "t".into(),
            event_id: text.into(),
            kind,
            leg: "".into(),
            revision: 1,
            effective_at: Timestamp::from_parts(-1, 999_999_999).unwrap(),
            recorded_at: Timestamp::from_parts(7, 0).unwrap(),
            source: Source { service: "billing".into(), sequence },
            target: Some("other".into()),
            expires_at: Timestamp::from_parts(9, 1).filter(|_| kind == Kind::Hold),
            fact: fact.map(Box::new),
            postings: vec![Posting {
                account: text.into(),
                side: Side::Credit,
                amount: Amount(amount),
                currency: "EUR".into(),
            }],
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            amount in 0..Amount::MAX_POSTING.0,
            text in ".{1,40}",
            sequence in proptest::option::of(1..u64::MAX),
        ) {
            let event = event(amount, &text, sequence);
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            prop_assert_eq!(Event::decode(&bytes), Ok(event));
        }

        #[test]
        fn damage_is_an_error_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Event::decode(&bytes);
        }
    }

    /// Around every number of bits, against the definition of LEB128.
    #[test]
    fn numbers_of_any_length_are_written_as_leb128() {
        let edges = (0..128).map(|bits| 1_u128 << bits).flat_map(|edge| [edge - 1, edge, edge + 1]);
        let mixed = (0..128).map(|bits| 0x5a5a_3c3c_9669_0ff0_1234_5678_9abc_def0 >> bits);
        for value in edges.chain(mixed).chain([u128::MAX]) {
            let mut expected = vec![9];
            let mut rest = value;
            while rest >= 0x80 {
                expected.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            expected.push((rest & 0x7f) as u8);
            let mut written = vec![9];
            put_varint(&mut written, value);
            assert_eq!(written, expected, "{value}");
            assert_eq!(Reader::new(&written[1..]).varint(), Ok(value));
        }
        for value in [0, -1, 1, i128::MIN, i128::MAX, i128::from(i64::MIN)] {
            let mut written = Vec::new();
            put_signed(&mut written, value);
            assert_eq!(Reader::new(&written).signed(), Ok(value));
        }
        let powers = (0..i64::BITS).map(|bit| 1_i64.wrapping_shl(bit));
        for value in powers.flat_map(|power| (-1..=1).map(move |by| power.wrapping_add(by))) {
            for value in [value, value.wrapping_neg()] {
                let (mut narrow, mut wide) = (vec![9], vec![9]);
                put_signed_64(&mut narrow, value);
                put_signed(&mut wide, value.into());
                assert_eq!(narrow, wide, "{value}");
            }
        }
    }

    #[test]
    fn cut_bytes_are_refused() {
        let mut bytes = Vec::new();
        for amount in 7..14 {
            bytes.clear();
            event(amount, "x", None).encode(&mut bytes);
            for length in 0..bytes.len() {
                assert_eq!(Event::decode(&bytes[..length]), Err(CodecError));
            }
            bytes.push(0);
            assert_eq!(Event::decode(&bytes), Err(CodecError));
        }
    }
}
