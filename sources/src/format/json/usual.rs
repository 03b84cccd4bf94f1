//! A deserializer for what nearly all records are made of, in one pass over their bytes.
//!
//! Most of a record is skipped: metadata, which nobody asks for, yet whose grammar decides whether the record
//! is JSON and whose brackets how deep it is. `serde_json` and a pass for the depth take three times as
//! long for that.
//!
//! Guarantee: what it reads, `serde_json` reads as the same, and no value is nested deeper than is allowed. It
//! gives up on whatever else it meets, with an error that says nothing: why a record is rejected, and what a
//! number means that is no plain one, `serde_json` says.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use trueup_ledger::draft::DEPTH_MAX;

/// What is left of a record.
pub(super) struct Usual<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
}

/// Something that is left to `serde_json`.
#[derive(Debug)]
pub(super) struct Unusual;

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a usual record")
    }
}

impl std::error::Error for Unusual {}

impl Error for Unusual {
    fn custom<T: fmt::Display>(_: T) -> Unusual {
        Unusual
    }
}

type Result<T> = std::result::Result<T, Unusual>;

/// The eight bytes of a word, each the same.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Returns a word whose lowest set bit is in the first byte of `word` at which plain text of a string ends: a
/// quote, a backslash or a control character; 0 where there is none.
fn ends(word: u64) -> u64 {
    let is_zero = |bytes: u64| bytes.wrapping_sub(eight(1)) & !bytes;
    let is_control = word.wrapping_sub(eight(b' ')) & !word;
    (is_zero(word ^ eight(b'"')) | is_zero(word ^ eight(b'\\')) | is_control) & eight(0x80)
}

impl<'de> Usual<'de> {
    pub(super) fn new(text: &'de str) -> Usual<'de> {
        Usual { text, at: 0, depth: 0 }
    }

    /// Says whether nothing follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Returns the next byte that is no white space, without taking it.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes the next byte that is no white space.
    #[inline]
    fn take(&mut self) -> Result<u8> {
        let byte = self.peek().ok_or(Unusual)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.take()? == byte { Ok(()) } else { Err(Unusual) }
    }

    fn literal(&mut self, rest: &[u8]) -> Result<()> {
        if self.text.as_bytes()[self.at..].starts_with(rest) {
            self.at += rest.len();
            return Ok(());
        }
        Err(Unusual)
    }

    fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Unusual) } else { Ok(()) }
    }

    /// Goes to where plain text of a string ends; returns the byte there.
    #[inline]
    fn plain(&mut self) -> Result<u8> {
        let bytes = self.text.as_bytes();
        while let Some(word) = bytes[self.at..].first_chunk() {
            let ends = ends(u64::from_le_bytes(*word));
            if ends != 0 {
                self.at += (ends.trailing_zeros() / 8) as usize;
                return Ok(bytes[self.at]);
            }
            self.at += word.len();
        }
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
        let rest = bytes[self.at..].iter().position(is_end).ok_or(Unusual)?;
        self.at += rest;
        Ok(bytes[self.at])
    }

    /// Goes behind the string whose content is next. `serde_json` cares about surrogates only where it makes
    /// a text of them, so that they are not looked at here.
    #[inline]
    fn skip_string(&mut self) -> Result<()> {
        loop {
            let end = self.plain()?;
            self.at += 1;
            match end {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                _ => return Err(Unusual),
            }
        }
    }

    /// Goes behind an escape whose backslash has been taken.
    #[cold]
    fn escape(&mut self) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 1,
            [b'u', digits @ ..] => {
                let digits = digits.first_chunk::<4>().ok_or(Unusual)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Unusual);
                }
                5
            }
            _ => return Err(Unusual),
        };
        Ok(())
    }

    /// Reads the string whose content is next.
    #[inline]
    fn string(&mut self) -> Result<Cow<'de, str>> {
        let start = self.at;
        if self.plain()? == b'"' {
            let text = self.text.get(start..self.at).ok_or(Unusual)?;
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        self.unescaped(start)
    }

    #[cold]
    fn unescaped(&mut self, start: usize) -> Result<Cow<'de, str>> {
        self.skip_string()?;
        // With its quotes.
        let quoted = self.text.get(start - 1..self.at).ok_or(Unusual)?;
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| Unusual)
    }

    /// Reads a number whose first digit is next, as long as it is an integer of less than 20 digits.
    fn integer(&mut self) -> Result<u64> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, behind) = rest.split_at(length);
        let is_plain = length == 1 || (length < 20 && digits[0] != b'0');
        if !is_plain || matches!(behind, [b'.' | b'e' | b'E', ..]) {
            return Err(Unusual);
        }
        self.at += length;
        Ok(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    /// Takes digits, one at least.
    #[inline]
    fn digits(&mut self) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += length;
        if length > 0 { Ok(()) } else { Err(Unusual) }
    }

    /// Goes behind a number of which the first byte has been taken.
    #[inline]
    fn skip_number(&mut self, first: u8) -> Result<()> {
        let bytes = self.text.as_bytes();
        let next = |at: usize| bytes.get(at).copied();
        let mut first = first;
        if first == b'-' {
            first = next(self.at).filter(u8::is_ascii_digit).ok_or(Unusual)?;
            self.at += 1;
        }
        if first == b'0' {
            if next(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(Unusual);
            }
        } else {
            while next(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1;
            }
        }
        if next(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(next(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(next(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Goes behind a value, whatever it is.
    fn skip(&mut self) -> Result<()> {
        // Of each level within the value a bit that says whether it is an object, the innermost lowest.
        let (mut objects, outside) = (0_u64, self.depth);
        loop {
            match self.take()? {
                b'"' => self.skip_string()?,
                b'{' => {
                    self.enter()?;
                    objects = objects << 1 | 1;
                    if self.peek() != Some(b'}') {
                        self.skip_key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.enter()?;
                    objects <<= 1;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                first @ (b'-' | b'0'..=b'9') => self.skip_number(first)?,
                b't' => self.literal(b"rue")?,
                b'f' => self.literal(b"alse")?,
                b'n' => self.literal(b"ull")?,
                _ => return Err(Unusual),
            }
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                match self.take()? {
                    b',' if is_object => {
                        self.skip_key()?;
                        break;
                    }
                    b',' => break,
                    b'}' if is_object => {}
                    b']' if !is_object => {}
                    _ => return Err(Unusual),
                }
                self.depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Goes behind the name of a field and the colon that follows.
    #[inline]
    fn skip_key(&mut self) -> Result<()> {
        self.expect(b'"')?;
        self.skip_string()?;
        self.expect(b':')
    }
}

impl<'de> Deserializer<'de> for &mut Usual<'de> {
    type Error = Unusual;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek().ok_or(Unusual)? {
            b'"' => {
                self.at += 1;
                match self.string()? {
                    Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                    Cow::Owned(text) => visitor.visit_string(text),
                }
            }
            b'{' => {
                self.at += 1;
                self.enter()?;
                visitor.visit_map(Elements { reader: self, has_begun: false })
            }
            b'[' => {
                self.at += 1;
                self.enter()?;
                visitor.visit_seq(Elements { reader: self, has_begun: false })
            }
            b'0'..=b'9' => visitor.visit_u64(self.integer()?),
            b'n' => {
                self.at += 1;
                self.literal(b"ull")?;
                visitor.visit_unit()
            }
            _ => Err(Unusual),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// What is left of an object or a list. A visitor that returns without an error has taken all of it.
struct Elements<'r, 'de> {
    reader: &'r mut Usual<'de>,
    has_begun: bool,
}

impl Elements<'_, '_> {
    /// Goes to the next element; says whether there is one, and takes the `close` where there is not.
    #[inline]
    fn next(&mut self, close: u8) -> Result<bool> {
        let byte = self.reader.peek().ok_or(Unusual)?;
        if byte == close {
            self.reader.at += 1;
            self.reader.depth -= 1;
            return Ok(false);
        }
        if std::mem::replace(&mut self.has_begun, true) {
            self.reader.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Unusual;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        self.reader.expect(b'"')?;
        match self.reader.string()? {
            Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
            Cow::Owned(name) => seed.deserialize(StringDeserializer::new(name)),
        }
        .map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Unusual;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.next(b']')? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}
