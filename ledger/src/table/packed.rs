//! Numbers that take half the room as long as all of them fit it.

use std::ops::Range;

/// Numbers of type `W`, kept as the narrower `N` until one does not fit.
#[derive(Clone, Debug)]
pub enum Packed<N, W> {
    /// All fit so far.
    Narrow(Vec<N>),
    /// One did not.
    Wide(Vec<W>),
}

/// An amount of 64 bits, in units of 10^-scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarrowUnits(pub i64);

impl TryFrom<i128> for NarrowUnits {
    type Error = std::num::TryFromIntError;

    fn try_from(units: i128) -> Result<NarrowUnits, Self::Error> {
        i64::try_from(units).map(NarrowUnits)
    }
}

impl From<NarrowUnits> for i128 {
    fn from(units: NarrowUnits) -> i128 {
        units.0.into()
    }
}

impl<N, W> Default for Packed<N, W> {
    fn default() -> Packed<N, W> {
        Packed::Narrow(Vec::new())
    }
}

impl<N: Copy + TryFrom<W>, W: Copy + From<N>> Packed<N, W> {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Packed::Narrow(all) => all.len(),
            Packed::Wide(all) => all.len(),
        }
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number at `place`.
    #[must_use]
    pub fn at(&self, place: usize) -> W {
        match self {
            Packed::Narrow(all) => all[place].into(),
            Packed::Wide(all) => all[place],
        }
    }

    /// Returns all numbers as such of the wider type.
    #[must_use]
    pub fn to_wide(&self) -> Vec<W> {
        match self {
            Packed::Narrow(all) => all.iter().map(|number| (*number).into()).collect(),
            Packed::Wide(all) => all.clone(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, number: W) {
        match self {
            Packed::Narrow(all) => match number.try_into() {
                Ok(narrow) => all.push(narrow),
                Err(_) => self.push_wide(number),
            },
            Packed::Wide(all) => all.push(number),
        }
    }

    #[cold]
    fn push_wide(&mut self, number: W) {
        let mut wide = self.to_wide();
        if let Packed::Narrow(narrow) = self {
            wide.reserve(narrow.capacity() - narrow.len());
        }
        wide.push(number);
        *self = Packed::Wide(wide);
    }

    pub(super) fn reserve(&mut self, more: usize) {
        match self {
            Packed::Narrow(all) => all.reserve(more),
            Packed::Wide(all) => all.reserve(more),
        }
    }

    /// Keeps as many, from the first on.
    pub(super) fn truncate(&mut self, length: usize) {
        match self {
            Packed::Narrow(all) => all.truncate(length),
            Packed::Wide(all) => all.truncate(length),
        }
    }

    /// Keeps what lies in `ranges`, which are in order.
    pub(super) fn keep(&mut self, ranges: &[Range<usize>]) {
        match self {
            Packed::Narrow(all) => keep(all, ranges),
            Packed::Wide(all) => keep(all, ranges),
        }
    }
}

/// Keeps what lies in `ranges`, which are in order.
pub(super) fn keep<T: Copy>(all: &mut Vec<T>, ranges: &[Range<usize>]) {
    let mut kept = 0;
    for range in ranges {
        all.copy_within(range.clone(), kept);
        kept += range.len();
    }
    all.truncate(kept);
}
