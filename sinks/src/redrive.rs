//! Re-drives: quarantined records that are to be read again, each with who wanted it, when and why.
//!
//! Re-drive N is the file `redrive/<N>.json`, made by create-if-absent, and holds the hash of
//! re-drive N-1. A writer knows all files before the one it makes, and a quarantined record is in
//! one of them at most. So of two writers that re-drive one record at once exactly one wins; the
//! other finds that number taken, reads who was first, and writes nothing. Together with the
//! quarantine files they are a control account: quarantined less re-driven is open.
//!
//! Left out: whether a record is in the quarantine and would be accepted now, which the writer has
//! to have found out; how the files are read as a source; and the clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trueup_ledger::Epoch;

use crate::error::SinkError;
use crate::record::{GENESIS, sha256_hex};
use crate::store::{Creation, Retry, Store, StoreError, create_exact};

/// The name of the source that reads the re-drives, which no other source may have.
pub const REDRIVE: &str = "redrive";

/// The version of re-drives that this program writes, and the newest it reads.
const FORMAT_VERSION: u32 = 1;

/// Where they are.
const FOLDER: &str = "redrive/";

/// Which record was re-driven, and who wanted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The number of the re-drive: 1, 2, 3… without gaps.
    pub number: u64,
    /// Who wanted it.
    pub who: String,
    /// When, RFC 3339 in UTC.
    pub when: String,
    /// Why.
    pub why: String,
    /// The source that the quarantined record was read from.
    pub source: String,
    /// The partition within it.
    pub partition: String,
    /// The position in the partition, as text.
    pub position: String,
    /// The epoch that quarantined it.
    pub epoch: Epoch,
    /// The code of the reason it was quarantined for.
    pub reason: String,
    /// The SHA-256 of the quarantined bytes, in lower-case hex.
    pub sha256: String,
    /// Whether other bytes are to be read in place of these.
    pub replaced: bool,
}

/// A re-drive as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redrive {
    /// Which record, by whom, when and why.
    pub audit: Audit,
    /// The bytes that are to be read.
    pub raw: Vec<u8>,
    /// The hash of the file before; [`GENESIS`] in the first.
    pub previous: String,
    /// The hash of this file.
    pub hash: String,
}

/// A re-drive as it is written: one line of JSON, the fields in this order.
#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    #[serde(flatten)]
    audit: Audit,
    encoding: Encoding,
    raw: String,
    previous: String,
}

/// How bytes are a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// They are UTF-8.
    Utf8,
    /// Two lower-case digits a byte, for everything else.
    Hex,
}

/// What somebody wants to be read again.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who wants it.
    pub who: &'a str,
    /// When, RFC 3339 in UTC.
    pub when: &'a str,
    /// Why.
    pub why: &'a str,
    /// The source that the record was read from.
    pub source: &'a str,
    /// The partition within it.
    pub partition: &'a str,
    /// The position in the partition, as text.
    pub position: &'a str,
    /// The epoch that quarantined it.
    pub epoch: Epoch,
    /// The code of the reason.
    pub reason: &'a str,
    /// The quarantined bytes.
    pub quarantined: &'a [u8],
    /// The bytes that are to be read in their place, where they were mended.
    pub replacement: Option<&'a [u8]>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written, durably.
    Written(Audit),
    /// The record had been re-driven before, by this.
    Before(Audit),
}

/// A quarantined record: source, partition and position.
type Place = (String, String, String);

/// The re-drives of a store.
#[derive(Debug)]
pub struct Redrives<S> {
    store: S,
    retry: Retry,
    /// How many there are, and the hash of the last one.
    count: u64,
    hash: String,
    by_place: BTreeMap<Place, Audit>,
}

impl<S: Store> Redrives<S> {
    /// Reads all re-drives of a store, without keeping their bytes.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] where one is missing, is not what it says, or re-drives what an
    /// earlier one did; what the store says.
    pub fn open(store: S) -> Result<Redrives<S>, SinkError> {
        Redrives::open_with(store, Retry::default())
    }

    /// Reads them with another patience for unknown outcomes.
    ///
    /// # Errors
    /// As [`Redrives::open`].
    pub fn open_with(store: S, retry: Retry) -> Result<Redrives<S>, SinkError> {
        let count = count_redrives(&store, retry)?;
        let by_place = BTreeMap::new();
        let mut redrives = Redrives { store, retry, count: 0, hash: GENESIS.to_owned(), by_place };
        while redrives.count < count {
            redrives.read_next()?;
        }
        Ok(redrives)
    }

    /// Returns the re-drive of a quarantined record, where there is one.
    #[must_use]
    pub fn of(&self, source: &str, partition: &str, position: &str) -> Option<&Audit> {
        let place = (source.to_owned(), partition.to_owned(), position.to_owned());
        self.by_place.get(&place)
    }

    /// Returns every re-drive, by the place of its record.
    pub fn audits(&self) -> impl Iterator<Item = &Audit> {
        self.by_place.values()
    }

    /// Writes a re-drive, unless the record has one. Those that others have written meanwhile are
    /// read first.
    ///
    /// # Errors
    /// [`SinkError::Damaged`] where one of the others is; what the store says. After `Unknown` the
    /// re-drive may be there, or appear later: open anew and look.
    pub fn append(&mut self, request: &Request<'_>) -> Result<Outcome, SinkError> {
        loop {
            if let Some(audit) = self.of(request.source, request.partition, request.position) {
                return Ok(Outcome::Before(audit.clone()));
            }
            let number = self.count + 1;
            let stored = stored(request, number, &self.hash);
            let path = redrive_path(number);
            let mut bytes = serde_json::to_vec(&stored)
                .map_err(|error| SinkError::damaged(&path, error.to_string()))?;
            bytes.push(b'\n');
            match create_exact(&self.store, &path, &bytes, self.retry)? {
                Creation::Ours => {
                    self.see(stored.audit.clone(), sha256_hex(&bytes))?;
                    return Ok(Outcome::Written(stored.audit));
                }
                // Somebody else was first, perhaps with this very record.
                Creation::Taken(_) => self.read_next()?,
            }
        }
    }

    fn read_next(&mut self) -> Result<(), SinkError> {
        let number = self.count + 1;
        let path = redrive_path(number);
        let Some(redrive) = read_redrive(&self.store, number, self.retry)? else {
            return Err(SinkError::damaged(&path, "it was listed, and is not there"));
        };
        if redrive.previous != self.hash {
            return Err(SinkError::damaged(&path, PREVIOUS_MISMATCH));
        }
        self.see(redrive.audit, redrive.hash)
    }

    fn see(&mut self, audit: Audit, hash: String) -> Result<(), SinkError> {
        let number = audit.number;
        let place = (audit.source.clone(), audit.partition.clone(), audit.position.clone());
        if let Some(earlier) = self.by_place.insert(place, audit) {
            let what = format!("it re-drives the record that re-drive {} did", earlier.number);
            return Err(SinkError::damaged(&redrive_path(number), what));
        }
        (self.count, self.hash) = (number, hash);
        Ok(())
    }
}

/// What is wrong with a re-drive that does not follow the one before it.
pub const PREVIOUS_MISMATCH: &str = "it does not hold the hash of the re-drive before it";

/// Returns the path of a re-drive within the store.
#[must_use]
pub fn redrive_path(number: u64) -> String {
    format!("{FOLDER}{number:020}.json")
}

/// Returns how many re-drives a store has.
///
/// # Errors
/// [`SinkError::Damaged`] where a number is missing; what the store says.
pub fn count_redrives<S: Store + ?Sized>(store: &S, retry: Retry) -> Result<u64, SinkError> {
    let mut count = 0;
    for path in retry.ask(|| store.list(FOLDER))? {
        let number = path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".json"));
        let number = number.and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|number| redrive_path(*number) == path) else {
            tracing::warn!(path, "this is no re-drive; ignored");
            continue;
        };
        if number != count + 1 {
            let missing = redrive_path(count + 1);
            return Err(SinkError::damaged(&missing, "it is missing, and later ones are there"));
        }
        count = number;
    }
    Ok(count)
}

/// Reads a re-drive, and makes sure that it is durable; `None` where it is not there (yet). That it
/// follows the one before is for the caller to check, who knows that one's hash.
///
/// # Errors
/// [`SinkError::Damaged`] where it is not what it says, or of a newer format; what the store says.
pub fn read_redrive<S: Store + ?Sized>(
    store: &S,
    number: u64,
    retry: Retry,
) -> Result<Option<Redrive>, SinkError> {
    let path = redrive_path(number);
    let bytes = match retry.ask(|| store.confirm(&path)) {
        Ok(bytes) => bytes,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |what: String| SinkError::damaged(&path, what);
    check_version(&bytes).map_err(damaged)?;
    let stored: Stored = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("it is no re-drive: {error}")))?;
    let Stored { audit, encoding, raw, previous, .. } = stored;
    if audit.number != number {
        return Err(damaged(format!("it says it is re-drive {}", audit.number)));
    }
    let raw = match encoding {
        Encoding::Utf8 => raw.into_bytes(),
        Encoding::Hex => from_hex(&raw).ok_or_else(|| damaged("its bytes are no hex".into()))?,
    };
    if !audit.replaced && sha256_hex(&raw) != audit.sha256 {
        return Err(damaged("its bytes are not those that were quarantined".to_owned()));
    }
    Ok(Some(Redrive { audit, raw, previous, hash: sha256_hex(&bytes) }))
}

fn check_version(bytes: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    match serde_json::from_slice::<Version>(bytes) {
        Ok(Version { format_version: found }) if found > FORMAT_VERSION => {
            Err(format!("it has format {found}, this program knows up to {FORMAT_VERSION}"))
        }
        _ => Ok(()),
    }
}

fn stored(request: &Request<'_>, number: u64, previous: &str) -> Stored {
    let raw = request.replacement.unwrap_or(request.quarantined);
    let (encoding, raw) = match std::str::from_utf8(raw) {
        Ok(text) => (Encoding::Utf8, text.to_owned()),
        Err(_) => (Encoding::Hex, to_hex(raw)),
    };
    let audit = Audit {
        number,
        who: request.who.to_owned(),
        when: request.when.to_owned(),
        why: request.why.to_owned(),
        source: request.source.to_owned(),
        partition: request.partition.to_owned(),
        position: request.position.to_owned(),
        epoch: request.epoch,
        reason: request.reason.to_owned(),
        sha256: sha256_hex(request.quarantined),
        replaced: request.replacement.is_some(),
    };
    let previous = previous.to_owned();
    Stored { format_version: FORMAT_VERSION, audit, encoding, raw, previous }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| {
        let place = DIGITS.iter().position(|known| *known == digit)?;
        u8::try_from(place).ok()
    };
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests;
