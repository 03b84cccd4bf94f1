//! A column of texts of which few are distinct: each of them once, and a byte in every row.
//!
//! Most texts of rows are of this kind: sides, kinds, currencies, tenants. In a byte a row they take a
//! tenth of the memory that texts take, and whoever writes a dictionary finds it made.

use crate::codec::{put_front, put_text};

/// No place of a text: there are at most 255 of them.
const FREE: u8 = u8::MAX;

/// Two for each text, so that the first that is looked at is mostly the one.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 9;

/// The texts of a column, at most 255 of them distinct.
#[derive(Clone, Debug, Default)]
pub struct Few {
    /// Which text each row has.
    places: Vec<u8>,
    /// The distinct texts one after the other, in the order in which they came first.
    bytes: String,
    /// Where each distinct text ends in `bytes`.
    ends: Vec<usize>,
    /// What tells each distinct text from others, for most alone.
    marks: Vec<Mark>,
    /// Places of distinct texts by the hash of their marks; as long as there is no text, empty.
    slots: Vec<u8>,
    /// The canonical bytes of each distinct text.
    canonical: Vec<Canonical>,
}

/// The canonical bytes of a text where they are at most 16, to be copied without asking how many they are.
#[derive(Clone, Copy, Debug)]
struct Canonical {
    bytes: [u8; 16],
    /// How many there are; 0 where they do not fit.
    length: usize,
}

impl Canonical {
    fn of(text: &str) -> Canonical {
        let mut all = Vec::new();
        put_text(&mut all, text);
        let mut bytes = [0; 16];
        match bytes.get_mut(..all.len()) {
            Some(room) => room.copy_from_slice(&all),
            None => return Canonical { bytes, length: 0 },
        }
        Canonical { bytes, length: all.len() }
    }
}

/// The length of a text and up to sixteen bytes of it: the first and the last, all where it has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    length: usize,
    first: u64,
    last: u64,
}

impl Mark {
    #[inline]
    fn of(text: &[u8]) -> Mark {
        let length = text.len();
        let (first, last) =
            if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
                (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
            } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
                (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
            } else {
                (text.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)), 0)
            };
        Mark { length, first, last }
    }

    fn slot(self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(29) ^ self.length as u64;
        // Fibonacci hashing: the highest bits depend on all others.
        let [highest, high, ..] = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        usize::from(u16::from_be_bytes([highest, high]) >> (u16::BITS - SLOT_BITS))
    }

    /// Whether equal marks make equal texts.
    fn says_all(self) -> bool {
        self.length <= 16
    }
}

impl Few {
    /// Appends a row; returns whether its text found room.
    #[must_use]
    pub(super) fn push(&mut self, text: &str) -> bool {
        let mark = Mark::of(text.as_bytes());
        if self.slots.is_empty() {
            self.slots = vec![FREE; SLOTS];
        }
        let mut slot = mark.slot();
        loop {
            let place = self.slots[slot];
            if place == FREE {
                return self.push_new(text, mark, slot);
            }
            let known = usize::from(place);
            if self.marks[known] == mark && (mark.says_all() || self.text(known) == text) {
                self.places.push(place);
                return true;
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    #[cold]
    fn push_new(&mut self, text: &str, mark: Mark, slot: usize) -> bool {
        let place = u8::try_from(self.marks.len()).unwrap_or(FREE);
        if place == FREE {
            return false;
        }
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
        self.marks.push(mark);
        self.canonical.push(Canonical::of(text));
        self.slots[slot] = place;
        self.places.push(place);
        true
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.places.reserve(rows);
    }

    /// Returns for how many rows there is room.
    pub(super) fn room(&self) -> usize {
        self.places.capacity()
    }

    /// Returns which text each row has, by its place among the distinct ones.
    #[must_use]
    pub fn places(&self) -> &[u8] {
        &self.places
    }

    pub(super) fn places_mut(&mut self) -> &mut Vec<u8> {
        &mut self.places
    }

    /// Returns the distinct text at `place`.
    #[must_use]
    pub fn text(&self, place: usize) -> &str {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }

    /// Appends the canonical bytes of the text of a row.
    #[inline]
    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        let place = usize::from(self.places[row]);
        match &self.canonical[place] {
            Canonical { length: 0, .. } => put_text(out, self.text(place)),
            Canonical { bytes, length } => put_front(out, bytes, *length),
        }
    }

    /// Returns the text of a row.
    #[must_use]
    pub fn at(&self, row: usize) -> &str {
        self.text(usize::from(self.places[row]))
    }
}
