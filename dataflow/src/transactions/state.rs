//! The stored state of a transaction: its distinct events and how it is linked.
//!
//! Nearly every transaction is one event without links, and its state is that event's canonical
//! bytes as they are. Any other state begins with a byte that no canonical event begins with.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use trueup_ledger::codec::{
    CodecError, Reader, content_hash, put_side_and_amount, put_text, put_varint,
    read_side_and_amount,
};
use trueup_ledger::transaction::{ByCurrency, Stored};
use trueup_ledger::{Event, Kind, Posting, Timestamp, TransactionKey};

/// The first byte of a state that is more than one event.
const COMPOUND: u8 = 0xff;

/// What a transaction says of itself to the one it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// `reverse`, `refund`, `capture` or `release`.
    pub(crate) kind: Kind,
    /// Whether its lines are to be derived.
    pub(crate) derives: bool,
    /// The deciding opening's time, the first half of its seniority.
    pub(crate) recorded_at: Timestamp,
    /// The deciding opening's id, the second half.
    pub(crate) event_id: Box<str>,
    /// Who claims; decides between openings of equal seniority in two transactions.
    pub(crate) transaction_id: Box<str>,
}

impl Claim {
    pub(crate) fn seniority(&self) -> (Timestamp, &str, &str) {
        (self.recorded_at, &self.event_id, &self.transaction_id)
    }

    /// Whether only one of those that make such claims on one target has the effect.
    pub(crate) fn contends(&self) -> bool {
        self.derives || self.kind.resolves()
    }
}

/// What a target says to one transaction that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The target's kind; `None` without an opening.
    pub(crate) kind: Option<Kind>,
    /// What the asker derives from; of no meaning where it carries its postings.
    pub(crate) derivation: Derivation,
}

/// What there is to derive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Derivation {
    /// The asker derives nothing from here.
    None,
    /// The target's current lines, in order.
    Lines(Vec<Posting<'static>>),
    /// A smaller reversal has the effect; the target's gross.
    Lost(ByCurrency),
    /// This transaction has resolved the hold before.
    Resolved(Box<str>),
}

/// A transaction that names this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) claim: Claim,
    /// What it contributes to `reversed`, `refunded` or what was captured; empty while it is not
    /// effective.
    pub(crate) nets: ByCurrency,
}

/// How a transaction is linked: up to the target it names, down to those that name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The target that has heard our claim, and the claim.
    pub(crate) claimed: Option<(TransactionKey, Claim)>,
    /// What the target answered; `None` until it has, and while we are in or behind a circle that
    /// has not been settled.
    pub(crate) heard: Option<Answer>,
    /// Whether we are a member of a circle of reversals.
    pub(crate) circle: bool,
    /// The member of the circle that names us.
    pub(crate) circle_child: Option<TransactionKey>,
    /// Those that name us.
    pub(crate) children: BTreeMap<TransactionKey, Child>,
}

impl Links {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Links::default()
    }
}

/// Distinct events as canonical bytes; a set, since one transaction may have very many.
pub(crate) type Events = BTreeSet<Box<[u8]>>;

/// A transaction's state, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The canonical bytes of the distinct events.
    pub(crate) events: Events,
    pub(crate) links: Links,
    /// Of events that arrived late the content hash, and by how many microseconds.
    pub(crate) delays: BTreeMap<u128, i64>,
}

impl State {
    /// Adds an event, with the time by which it is late; says whether it was new.
    pub(crate) fn insert(&mut self, canonical: Box<[u8]>, delay: Option<i64>) -> bool {
        if self.events.contains(&canonical) {
            return false;
        }
        if let Some(delay) = delay {
            self.delays.insert(content_hash(&canonical), delay);
        }
        self.events.insert(canonical)
    }

    /// Returns by how many microseconds an event was late, where it was.
    pub(crate) fn delay(&self, canonical: &[u8]) -> Option<i64> {
        // Hardly any event is late, and hashing takes time.
        if self.delays.is_empty() {
            return None;
        }
        self.delays.get(&content_hash(canonical)).copied()
    }

    pub(crate) fn encode(&self) -> Box<[u8]> {
        if let (Some(only), 1, true) = (
            self.events.first(),
            self.events.len(),
            self.links.is_empty() && self.delays.is_empty(),
        ) {
            return only.clone();
        }
        let mut out = vec![COMPOUND];
        put_varint(&mut out, self.events.len() as u128);
        for event in &self.events {
            put_varint(&mut out, event.len() as u128);
            out.extend_from_slice(event);
        }
        put_varint(&mut out, self.delays.len() as u128);
        for (content, delay) in &self.delays {
            out.extend_from_slice(&content.to_le_bytes());
            out.extend_from_slice(&delay.to_le_bytes());
        }
        encode_links(&self.links, &mut out);
        out.into_boxed_slice()
    }

    /// Decodes a stored state.
    ///
    /// # Panics
    /// Where the bytes are damaged: the books cannot go on from a state that cannot be read.
    pub(crate) fn decode(bytes: &[u8]) -> State {
        match decode(bytes) {
            Ok(state) => state,
            Err(error) => unreachable!("a stored transaction cannot be read back: {error}"),
        }
    }
}

/// Decodes one event of a state.
///
/// # Panics
/// As [`State::decode`].
pub(crate) fn stored(canonical: &[u8], delay: Option<i64>) -> Stored<'_> {
    match Event::decode(canonical) {
        Ok(event) => Stored { event, canonical, delay },
        Err(error) => unreachable!("a stored event cannot be read back: {error}"),
    }
}

fn decode(bytes: &[u8]) -> Result<State, CodecError> {
    if bytes.first() != Some(&COMPOUND) {
        return Ok(State { events: Events::from([bytes.into()]), ..State::default() });
    }
    let mut reader = Reader::new(&bytes[1..]);
    let count = reader.length()?;
    let mut events = Events::new();
    for _ in 0..count {
        let length = reader.length()?;
        events.insert(reader.bytes(length)?.into());
    }
    let mut delays = BTreeMap::new();
    for _ in 0..reader.length()? {
        let content = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
        let delay = reader.bytes(8)?.try_into().map_err(|_| CodecError)?;
        delays.insert(u128::from_le_bytes(content), i64::from_le_bytes(delay));
    }
    let links = decode_links(&mut reader)?;
    if reader.is_empty() { Ok(State { events, links, delays }) } else { Err(CodecError) }
}

fn put_key(out: &mut Vec<u8>, key: TransactionKey) {
    out.extend_from_slice(&key.0.to_le_bytes());
}

fn read_key(reader: &mut Reader<'_>) -> Result<TransactionKey, CodecError> {
    let bytes = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
    Ok(TransactionKey(u128::from_le_bytes(bytes)))
}

fn put_kind(out: &mut Vec<u8>, kind: Option<Kind>) {
    out.push(kind.map_or(0, |kind| kind as u8 + 1));
}

fn read_kind(reader: &mut Reader<'_>) -> Result<Option<Kind>, CodecError> {
    match reader.byte()? {
        0 => Ok(None),
        code => {
            let kind = Kind::ALL.get(usize::from(code) - 1).copied();
            kind.map(Some).ok_or(CodecError)
        }
    }
}

fn put_sums(out: &mut Vec<u8>, sums: &ByCurrency) {
    put_varint(out, sums.len() as u128);
    for (currency, units) in sums {
        put_text(out, currency);
        out.extend_from_slice(&units.to_le_bytes());
    }
}

fn read_sums(reader: &mut Reader<'_>) -> Result<ByCurrency, CodecError> {
    let count = reader.length()?;
    (0..count)
        .map(|_| {
            let currency = reader.text()?.into();
            let units = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
            Ok((currency, i128::from_le_bytes(units)))
        })
        .collect()
}

fn put_claim(out: &mut Vec<u8>, claim: &Claim) {
    put_kind(out, Some(claim.kind));
    out.push(u8::from(claim.derives));
    out.extend_from_slice(&claim.recorded_at.seconds().to_le_bytes());
    out.extend_from_slice(&claim.recorded_at.nanos().to_le_bytes());
    put_text(out, &claim.event_id);
    put_text(out, &claim.transaction_id);
}

fn read_claim(reader: &mut Reader<'_>) -> Result<Claim, CodecError> {
    let kind = read_kind(reader)?.ok_or(CodecError)?;
    let derives = reader.byte()? == 1;
    let seconds = i64::from_le_bytes(reader.bytes(8)?.try_into().map_err(|_| CodecError)?);
    let nanos = u32::from_le_bytes(reader.bytes(4)?.try_into().map_err(|_| CodecError)?);
    let recorded_at = Timestamp::from_parts(seconds, nanos).ok_or(CodecError)?;
    let event_id = reader.text()?.into();
    Ok(Claim { kind, derives, recorded_at, event_id, transaction_id: reader.text()?.into() })
}

fn put_answer(out: &mut Vec<u8>, answer: &Answer) {
    put_kind(out, answer.kind);
    match &answer.derivation {
        Derivation::None => out.push(0),
        Derivation::Lines(lines) => {
            out.push(1);
            put_varint(out, lines.len() as u128);
            for line in lines {
                put_side_and_amount(out, line.side, line.amount);
                put_text(out, &line.account);
                put_text(out, &line.currency);
            }
        }
        Derivation::Lost(gross) => {
            out.push(2);
            put_sums(out, gross);
        }
        Derivation::Resolved(resolver) => {
            out.push(3);
            put_text(out, resolver);
        }
    }
}

fn read_answer(reader: &mut Reader<'_>) -> Result<Answer, CodecError> {
    let kind = read_kind(reader)?;
    let derivation = match reader.byte()? {
        0 => Derivation::None,
        1 => {
            let count = reader.length()?;
            let lines = (0..count).map(|_| {
                let (side, amount) = read_side_and_amount(reader)?;
                let account = Cow::Owned(reader.text()?.to_owned());
                let currency = Cow::Owned(reader.text()?.to_owned());
                Ok(Posting { account, side, amount, currency })
            });
            Derivation::Lines(lines.collect::<Result<_, CodecError>>()?)
        }
        2 => Derivation::Lost(read_sums(reader)?),
        3 => Derivation::Resolved(reader.text()?.into()),
        _ => return Err(CodecError),
    };
    Ok(Answer { kind, derivation })
}

const HAS_CLAIM: u8 = 1;
const HAS_HEARD: u8 = 2;
const IN_CIRCLE: u8 = 4;
const HAS_CIRCLE_CHILD: u8 = 8;

fn encode_links(links: &Links, out: &mut Vec<u8>) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        flag(links.claimed.is_some(), HAS_CLAIM)
            | flag(links.heard.is_some(), HAS_HEARD)
            | flag(links.circle, IN_CIRCLE)
            | flag(links.circle_child.is_some(), HAS_CIRCLE_CHILD),
    );
    if let Some((target, claim)) = &links.claimed {
        put_key(out, *target);
        put_claim(out, claim);
    }
    if let Some(answer) = &links.heard {
        put_answer(out, answer);
    }
    if let Some(child) = links.circle_child {
        put_key(out, child);
    }
    put_varint(out, links.children.len() as u128);
    for (key, child) in &links.children {
        put_key(out, *key);
        put_claim(out, &child.claim);
        put_sums(out, &child.nets);
    }
}

fn decode_links(reader: &mut Reader<'_>) -> Result<Links, CodecError> {
    let flags = reader.byte()?;
    let mut links = Links { circle: flags & IN_CIRCLE != 0, ..Links::default() };
    if flags & HAS_CLAIM != 0 {
        links.claimed = Some((read_key(reader)?, read_claim(reader)?));
    }
    if flags & HAS_HEARD != 0 {
        links.heard = Some(read_answer(reader)?);
    }
    if flags & HAS_CIRCLE_CHILD != 0 {
        links.circle_child = Some(read_key(reader)?);
    }
    for _ in 0..reader.length()? {
        let key = read_key(reader)?;
        let claim = read_claim(reader)?;
        links.children.insert(key, Child { claim, nets: read_sums(reader)? });
    }
    Ok(links)
}
