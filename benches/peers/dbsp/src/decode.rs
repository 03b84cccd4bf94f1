//! Lines of JSON to the rows of the circuit.
//!
//! Threads take pieces of the file in turn and decode them apart from the circuit. Names that
//! repeat (tenants, accounts, currencies) become numbers, so that keys are small and of fixed
//! width; the ids of transactions, most of which occur once, stay text. The circuit does not depend
//! on the order of the rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use dbsp::ZWeight;
use dbsp::utils::Tup2;
use rustc_hash::FxHashMap;
use serde::Deserialize;

use crate::{Leg, Line, Version};

/// Fraction digits of an amount, as in a store of trueup where nothing else is said.
const SCALE: usize = 9;

/// How much of the file a thread takes at once.
const PIECE_BYTES: u64 = 4 << 20;

/// One row for the circuit, with its weight.
pub type Row = Tup2<Leg, Tup2<Version, ZWeight>>;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    transaction_id: Cow<'a, str>,
    #[serde(borrow, default)]
    leg: Cow<'a, str>,
    #[serde(default = "first_revision")]
    revision: u64,
    #[serde(borrow)]
    postings: Vec<Posting<'a>>,
}

#[derive(Deserialize)]
struct Posting<'a> {
    #[serde(borrow)]
    account: Cow<'a, str>,
    #[serde(borrow)]
    side: Cow<'a, str>,
    #[serde(borrow)]
    amount: Cow<'a, str>,
    #[serde(borrow)]
    currency: Cow<'a, str>,
}

fn first_revision() -> u64 {
    1
}

/// Numbers for names, the same in all threads.
#[derive(Default)]
pub struct Names {
    numbers: Mutex<HashMap<String, u32>>,
}

impl Names {
    fn number(&self, name: &str) -> u32 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = numbers.get(name) {
            return number;
        }
        let number = numbers.len() as u32;
        numbers.insert(name.to_owned(), number);
        number
    }

    /// Returns the names by number.
    pub fn list(&self) -> Vec<String> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = vec![String::new(); numbers.len()];
        for (name, &number) in numbers.iter() {
            names[number as usize] = name.clone();
        }
        names
    }
}

/// The names that one thread has met, so that it seldom asks for the lock of all.
struct Known<'a> {
    all: &'a Names,
    met: FxHashMap<String, u32>,
}

impl Known<'_> {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.met.get(name) {
            return number;
        }
        let number = self.all.number(name);
        self.met.insert(name.to_owned(), number);
        number
    }
}

/// The pieces of a file that no thread has taken yet.
pub struct Pieces {
    file: File,
    bytes: u64,
    next: AtomicU64,
}

impl Pieces {
    /// Opens a file of lines.
    pub fn open(path: &str) -> anyhow::Result<Pieces> {
        let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
        let bytes = file.metadata()?.len();
        Ok(Pieces { file, bytes, next: AtomicU64::new(0) })
    }

    /// Decodes pieces until none is left, and gives the rows of each to `give`, which returns
    /// whether it wants more.
    pub fn decode(&self, names: &Names, give: impl Fn(Vec<Row>) -> bool) -> anyhow::Result<()> {
        let mut known = Known { all: names, met: FxHashMap::default() };
        let mut buffer = Vec::new();
        loop {
            let from = self.next.fetch_add(PIECE_BYTES, Ordering::Relaxed);
            if from >= self.bytes {
                return Ok(());
            }
            let mut rows = Vec::with_capacity((PIECE_BYTES / 512) as usize);
            let mut lines = self.lines(from, &mut buffer)?;
            while let Some(end) = memchr::memchr(b'\n', lines) {
                rows.push(row(&lines[..end], &mut known)?);
                lines = &lines[end + 1..];
            }
            if !give(rows) {
                return Ok(());
            }
        }
    }

    /// Reads the lines that begin in the piece at `from`, the last one to its end.
    fn lines<'a>(&self, from: u64, buffer: &'a mut Vec<u8>) -> anyhow::Result<&'a [u8]> {
        // From the byte before it on, the first newline ends a line that began in an earlier piece.
        let start = from.saturating_sub(1);
        let piece_end = (from + PIECE_BYTES).min(self.bytes);
        buffer.resize((piece_end - start) as usize, 0);
        self.file.read_exact_at(buffer, start)?;
        let mut end = piece_end;
        // At `end - 1` lies the last byte of the piece: no newline, and its line goes on behind.
        while end < self.bytes && buffer.last() != Some(&b'\n') {
            let more = (self.bytes - end).min(64 << 10) as usize;
            let read = buffer.len();
            buffer.resize(read + more, 0);
            self.file.read_exact_at(&mut buffer[read..], end)?;
            end += more as u64;
            if let Some(newline) = memchr::memchr(b'\n', &buffer[read..]) {
                buffer.truncate(read + newline + 1);
            }
        }
        if from == 0 {
            return Ok(buffer);
        }
        let first = memchr::memchr(b'\n', buffer).map_or(buffer.len(), |newline| newline + 1);
        Ok(&buffer[first..])
    }
}

fn row(line: &[u8], names: &mut Known<'_>) -> anyhow::Result<Row> {
    let event: Event<'_> = serde_json::from_slice(line)?;
    let mut lines = Vec::with_capacity(event.postings.len());
    for posting in &event.postings {
        let amount = units(&posting.amount)?;
        let amount = match &*posting.side {
            "debit" => amount,
            "credit" => -amount,
            side => bail!("no side: {side}"),
        };
        lines.push(Line {
            account: names.number(&posting.account),
            currency: names.number(&posting.currency),
            amount,
        });
    }
    let leg = Leg {
        tenant: names.number(&event.tenant),
        transaction_id: event.transaction_id.into_owned(),
        leg: event.leg.into_owned(),
    };
    Ok(Tup2(leg, Tup2(Version { revision: event.revision, lines }, 1)))
}

/// Reads a decimal as units of 10^-9, exactly.
fn units(text: &str) -> anyhow::Result<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || fraction.len() > SCALE {
        bail!("no amount of at most {SCALE} fraction digits: {text}");
    }
    let mut units: i128 = 0;
    let padding = std::iter::repeat_n(b'0', SCALE - fraction.len());
    for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
        if !digit.is_ascii_digit() {
            bail!("no amount: {text}");
        }
        let next = units.checked_mul(10).and_then(|u| u.checked_add(i128::from(digit - b'0')));
        units = next.with_context(|| format!("too large: {text}"))?;
    }
    Ok(units)
}

/// Writes units of 10^-9 as a decimal without trailing zeros.
pub fn decimal(units: i128) -> String {
    let one = 10_i128.pow(SCALE as u32);
    let sign = if units < 0 { "-" } else { "" };
    let (whole, fraction) =
        (units.unsigned_abs() / one as u128, units.unsigned_abs() % one as u128);
    let text = format!("{sign}{whole}.{fraction:0SCALE$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
