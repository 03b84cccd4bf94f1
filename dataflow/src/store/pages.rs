//! Pages of fixed-width rows, and three ways to put rows into bytes: the one place of abomonation.
//!
//! ```text
//! page = header: magic, version, words a row, rows, BLAKE3 of all else    8 words of 8 bytes
//!      + rows: of `balances` and `daily_movements`, all integers          8 words of 8 bytes each
//! ```
//!
//! - Words are in the order of the machine that wrote the page. Another machine's are refused by
//!   the magic: a page is a cache of this machine's, never what is exchanged.
//! - A [`Page`] exists only where magic, version, width, length and checksum are right. Codecs see
//!   nothing else, so no codec decodes bytes that were not encoded here.
//! - All codecs write the same bytes. They differ in how they come to them, and in what they trust.
//!
//! abomonation reinterprets memory without looking at it (RUSTSEC-2021-0120). Rows have no
//! pointers, padding, or values that are not allowed, and lie aligned within a page; so it has
//! nothing to get wrong. `docs/performance.md` has what it gains. Absent without the feature
//! `abomonation`.

use thiserror::Error;

/// How many words a row has.
pub const ROW_WORDS: usize = 8;

/// One row, as codecs see it.
pub type Row = [u64; ROW_WORDS];

const ROW_BYTES: usize = size_of::<Row>();

/// `truepage`, as the words of this machine.
const MAGIC: u64 = u64::from_be_bytes(*b"truepage");
const VERSION: u64 = 1;

/// The header: magic, version, words a row, number of rows, and four words of checksum.
const HEADER_WORDS: usize = 8;
const HEADER_BYTES: usize = HEADER_WORDS * size_of::<u64>();
const CHECKSUM_AT: usize = HEADER_BYTES - blake3::OUT_LEN;

/// Why bytes are no page. In each case: derive again what it held.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PageError {
    /// It is something else, or of a machine with another order of bytes.
    #[error("this is no page of this machine")]
    NotAPage,
    /// Another version of the program wrote it.
    #[error("the page has version {found}, this program knows {VERSION}")]
    Version {
        /// The version that it has.
        found: u64,
    },
    /// Its rows are others than those asked for.
    #[error("the page's rows have {found} words, not {ROW_WORDS}")]
    Width {
        /// The words that its rows have.
        found: u64,
    },
    /// It is damaged.
    #[error("the page is damaged: {0}")]
    Damaged(&'static str),
}

/// A sum by account, or by account and day, in the types that the engine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// The account.
    pub key: u128,
    /// The day, in days since 1970; 0 for sums of all days.
    pub day: i32,
    /// How many lines it is of.
    pub lines: i64,
    /// The sum of debits, in units.
    pub debits: i128,
    /// The sum of credits, in units.
    pub credits: i128,
}

/// Words hold bits: the casts here and back lose none.
#[allow(clippy::cast_possible_truncation)]
fn halves(wide: u128) -> [u64; 2] {
    [wide as u64, (wide >> 64) as u64]
}

fn whole(low: u64, high: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

impl From<Total> for Row {
    fn from(total: Total) -> Row {
        let [key_low, key_high] = halves(total.key);
        let [debits_low, debits_high] = halves(total.debits.cast_unsigned());
        let [credits_low, credits_high] = halves(total.credits.cast_unsigned());
        let (day, lines) = (i64::from(total.day).cast_unsigned(), total.lines.cast_unsigned());
        [key_low, key_high, day, lines, debits_low, debits_high, credits_low, credits_high]
    }
}

impl TryFrom<&Row> for Total {
    type Error = PageError;

    fn try_from(row: &Row) -> Result<Total, PageError> {
        let [key_low, key_high, day, lines, debits_low, debits_high, credits_low, credits_high] =
            *row;
        let day = day.cast_signed().try_into();
        Ok(Total {
            key: whole(key_low, key_high),
            day: day.map_err(|_| PageError::Damaged("a day is none"))?,
            lines: lines.cast_signed(),
            debits: whole(debits_low, debits_high).cast_signed(),
            credits: whole(credits_low, credits_high).cast_signed(),
        })
    }
}

/// A way to put rows into bytes and back.
///
/// Each row takes the bytes of its words, in order, and nothing between them.
pub trait Codec {
    /// Appends the bytes of rows.
    ///
    /// # Errors
    /// Where the codec cannot encode them.
    fn encode(rows: &[Row], out: &mut Vec<u8>) -> Result<(), PageError>;

    /// Calls `each` with the rows of a page, in order.
    ///
    /// # Errors
    /// Where the codec cannot decode them.
    fn decode(body: &mut Body<'_>, each: impl FnMut(&Row)) -> Result<(), PageError>;
}

/// The rows of a page as bytes: aligned as words are, a whole number of rows, and checked.
#[derive(Debug)]
pub struct Body<'p>(&'p mut [u8]);

/// A page that was checked, where its words are aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    words: Vec<u64>,
}

impl Page {
    /// Writes rows as the bytes of a page.
    ///
    /// # Errors
    /// Where the codec cannot encode them.
    pub fn write<C: Codec>(rows: &[Row]) -> Result<Vec<u8>, PageError> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + rows.len() * ROW_BYTES);
        for word in [MAGIC, VERSION, ROW_WORDS as u64, rows.len() as u64] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.resize(HEADER_BYTES, 0);
        C::encode(rows, &mut bytes)?;
        assert_eq!(bytes.len(), HEADER_BYTES + rows.len() * ROW_BYTES, "a row has its width");
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(checksum.as_bytes());
        Ok(bytes)
    }

    /// Reads the bytes of a page, and checks everything before anything is decoded.
    ///
    /// # Errors
    /// As each variant of [`PageError`] says.
    pub fn read(bytes: &[u8]) -> Result<Page, PageError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(PageError::NotAPage)?;
        let field = |place: usize| bytemuck::pod_read_unaligned::<u64>(&header[place * 8..][..8]);
        if field(0) != MAGIC {
            return Err(PageError::NotAPage);
        }
        if field(1) != VERSION {
            return Err(PageError::Version { found: field(1) });
        }
        if field(2) != ROW_WORDS as u64 {
            return Err(PageError::Width { found: field(2) });
        }
        let length = usize::try_from(field(3)).ok().and_then(|rows| rows.checked_mul(ROW_BYTES));
        if length != Some(bytes.len() - HEADER_BYTES) {
            return Err(PageError::Damaged("it has another length than its rows"));
        }
        if checksum(bytes).as_bytes() != &header[CHECKSUM_AT..] {
            return Err(PageError::Damaged("its checksum is another"));
        }
        let mut words = vec![0; bytes.len() / size_of::<u64>()];
        bytemuck::cast_slice_mut(&mut words).copy_from_slice(bytes);
        Ok(Page { words })
    }

    /// Calls `each` with every row, in order.
    ///
    /// # Errors
    /// Where the codec cannot decode them.
    pub fn for_each<C: Codec>(&mut self, each: impl FnMut(&Row)) -> Result<(), PageError> {
        C::decode(&mut Body(bytemuck::cast_slice_mut(&mut self.words[HEADER_WORDS..])), each)
    }
}

/// Everything is in the checksum but the checksum itself.
fn checksum(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..CHECKSUM_AT]).update(&bytes[HEADER_BYTES..]);
    hasher.finalize()
}

/// Safe reinterpretation: the compiler proves that words have no padding and any bits are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Bytemuck;

impl Codec for Bytemuck {
    fn encode(rows: &[Row], out: &mut Vec<u8>) -> Result<(), PageError> {
        out.extend_from_slice(bytemuck::cast_slice(rows));
        Ok(())
    }

    fn decode(body: &mut Body<'_>, each: impl FnMut(&Row)) -> Result<(), PageError> {
        let rows = bytemuck::try_cast_slice::<u8, Row>(body.0);
        rows.map_err(|_| PageError::Damaged("it is not aligned"))?.iter().for_each(each);
        Ok(())
    }
}

/// Serde's way, word by word: what rows travel as between processes.
#[derive(Clone, Copy, Debug)]
pub struct Bincode;

impl Codec for Bincode {
    fn encode(rows: &[Row], out: &mut Vec<u8>) -> Result<(), PageError> {
        let failed = |_| PageError::Damaged("a row cannot be encoded");
        rows.iter().try_for_each(|row| bincode::serialize_into(&mut *out, row).map_err(failed))
    }

    fn decode(body: &mut Body<'_>, mut each: impl FnMut(&Row)) -> Result<(), PageError> {
        let failed = |_| PageError::Damaged("a row cannot be decoded");
        body.0.chunks_exact(ROW_BYTES).try_for_each(|bytes| {
            each(&bincode::deserialize(bytes).map_err(failed)?);
            Ok(())
        })
    }
}

/// Reinterpretation on trust: nothing is proven, nothing is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Abomonation;

#[allow(unsafe_code)]
impl Codec for Abomonation {
    fn encode(rows: &[Row], out: &mut Vec<u8>) -> Result<(), PageError> {
        for row in rows {
            // SAFETY: a row is an array of integers: no byte of it is padding.
            unsafe { abomonation::encode(row, out) }
                .map_err(|_| PageError::Damaged("a row cannot be encoded"))?;
        }
        Ok(())
    }

    fn decode(body: &mut Body<'_>, mut each: impl FnMut(&Row)) -> Result<(), PageError> {
        let mut rest = &mut *body.0;
        while !rest.is_empty() {
            // SAFETY: the bytes were written here, since a `Body` is only of a page whose checksum
            // and width are right. They are aligned as words, any bits are an integer, and there is
            // no pointer to follow. Each row is read once and not kept.
            let (row, behind) = unsafe { abomonation::decode::<Row>(rest) }
                .ok_or(PageError::Damaged("a row cannot be decoded"))?;
            each(row);
            rest = behind;
        }
        Ok(())
    }
}
