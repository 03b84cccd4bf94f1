//! Sums of money as differential differences: checked, never wrapped.

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};
use trueup_ledger::transaction::checked_sum;
use trueup_ledger::{Side, Terms};

/// Debits and credits, and how many lines they are of.
///
/// Differential's own `Semigroup for i128` wraps in release builds, so money never is a bare
/// `i128` difference. The count of lines says whether the row exists: sums of zero do not.
///
/// It is packed since millions are held: 40 bytes, where the alignment of an `i128` makes 48.
#[repr(C, packed(8))]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Sides {
    /// The sum of debit amounts, in units.
    pub debits: i128,
    /// The sum of credit amounts, in units.
    pub credits: i128,
    /// How many current lines there are.
    pub lines: i64,
}

impl Sides {
    /// Returns one line's worth, added (`diff` 1) or taken away (`diff` -1).
    #[must_use]
    pub fn of_line(side: Side, units: i128, diff: i8) -> Sides {
        let units = units * i128::from(diff);
        let (debits, credits) = match side {
            Side::Debit => (units, 0),
            Side::Credit => (0, units),
        };
        Sides { debits, credits, lines: i64::from(diff) }
    }

    /// Returns debits − credits.
    #[must_use]
    pub fn difference(self) -> i128 {
        checked_sum(self.debits, -self.credits)
    }
}

impl IsZero for Sides {
    fn is_zero(&self) -> bool {
        *self == Sides::default()
    }
}

impl Semigroup for Sides {
    fn plus_equals(&mut self, other: &Sides) {
        self.debits = checked_sum(self.debits, other.debits);
        self.credits = checked_sum(self.credits, other.credits);
        self.lines += other.lines;
    }
}

/// [`Sides`] in 24 bytes as long as they fit: millions are kept, and as many travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompactSides {
    /// What fits.
    Narrow {
        /// The sum of debit amounts, in units.
        debits: i64,
        /// The sum of credit amounts, in units.
        credits: i64,
        /// How many current lines there are.
        lines: i32,
    },
    /// What does not.
    Wide(Box<Sides>),
}

impl Default for CompactSides {
    fn default() -> CompactSides {
        CompactSides::Narrow { debits: 0, credits: 0, lines: 0 }
    }
}

impl From<Sides> for CompactSides {
    fn from(sides: Sides) -> CompactSides {
        let Sides { debits, credits, lines } = sides;
        match (debits.try_into(), credits.try_into(), lines.try_into()) {
            (Ok(debits), Ok(credits), Ok(lines)) => CompactSides::Narrow { debits, credits, lines },
            _ => CompactSides::Wide(Box::new(sides)),
        }
    }
}

impl From<&CompactSides> for Sides {
    fn from(compact: &CompactSides) -> Sides {
        match compact {
            CompactSides::Narrow { debits, credits, lines } => {
                let (debits, credits) = (i128::from(*debits), i128::from(*credits));
                Sides { debits, credits, lines: i64::from(*lines) }
            }
            CompactSides::Wide(sides) => **sides,
        }
    }
}

impl IsZero for CompactSides {
    fn is_zero(&self) -> bool {
        // What is wide does not fit, and zero does.
        *self == CompactSides::default()
    }
}

impl Semigroup for CompactSides {
    fn plus_equals(&mut self, other: &CompactSides) {
        let mut sum = Sides::from(&*self);
        sum.plus_equals(&Sides::from(other));
        *self = sum.into();
    }
}

/// The sums of an account in one currency, posted and pending apart.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Balance {
    /// Of posted lines.
    pub posted: Sides,
    /// Of the lines of holds.
    pub pending: Sides,
}

impl IsZero for Balance {
    fn is_zero(&self) -> bool {
        self.posted.is_zero() && self.pending.is_zero()
    }
}

impl Semigroup for Balance {
    fn plus_equals(&mut self, other: &Balance) {
        self.posted.plus_equals(&other.posted);
        self.pending.plus_equals(&other.pending);
    }
}

/// A balance with the terms of its account: all that its row is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) balance: Balance,
    pub(crate) terms: Terms,
}

impl Holding {
    /// Returns what is available, debit-positive as the balance is: what is held of it is gone.
    pub(crate) fn available(&self) -> i128 {
        let Balance { posted, pending } = self.balance;
        let held = match self.terms.normal_side {
            Side::Debit => -pending.credits,
            Side::Credit => pending.debits,
        };
        checked_sum(posted.difference(), held)
    }
}

/// What is kept of a key: a view has a row for it while there are lines.
pub(crate) trait Total: Semigroup + IsZero + Default {
    fn has_lines(&self) -> bool;
}

impl Total for Sides {
    fn has_lines(&self) -> bool {
        self.lines > 0
    }
}

impl Total for CompactSides {
    fn has_lines(&self) -> bool {
        Sides::from(self).has_lines()
    }
}

impl Total for Balance {
    fn has_lines(&self) -> bool {
        self.posted.lines > 0 || self.pending.lines > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: "summed with checks"
    #[test]
    #[should_panic(expected = "leaves 128 bits")]
    fn sums_never_wrap() {
        let mut sum = Sides { debits: i128::MAX, credits: 0, lines: 1 };
        sum.plus_equals(&Sides::of_line(Side::Debit, 1, 1));
    }

    #[test]
    fn sums_are_the_same_in_few_bytes() {
        assert_eq!(size_of::<Option<CompactSides>>(), 24);
        let (small, large) = (i128::from(i64::MAX), i128::from(i64::MAX) + 1);
        let rows = [
            (0, 0, 0, true),
            (small, -small - 1, i64::from(i32::MAX), true),
            (large, 0, 1, false),
            (0, -large - 1, 1, false),
            (0, 0, i64::from(i32::MAX) + 1, false),
            (i128::MAX, i128::MIN, i64::MIN, false),
        ];
        for (debits, credits, lines, is_narrow) in rows {
            let sides = Sides { debits, credits, lines };
            let compact = CompactSides::from(sides);
            assert_eq!(matches!(compact, CompactSides::Narrow { .. }), is_narrow, "{sides:?}");
            assert_eq!(Sides::from(&compact), sides);
            assert!(!compact.is_zero() || sides.is_zero());
            // Over the edge and back.
            let one = Sides { debits: 1, credits: -1, lines: 1 };
            let takes_one = [debits, credits].iter().all(|sum| sum.unsigned_abs() < 1 << 126);
            if takes_one {
                let mut sum = compact.clone();
                sum.plus_equals(&CompactSides::from(one));
                let all = Sides { debits: debits + 1, credits: credits - 1, lines: lines + 1 };
                assert_eq!(Sides::from(&sum), all);
                let less = Sides { debits: -1, credits: 1, lines: -1 };
                sum.plus_equals(&CompactSides::from(less));
                assert_eq!(sum, compact);
            }
        }
    }

    #[test]
    fn a_line_and_its_retraction_are_nothing() {
        let mut sum = Sides::of_line(Side::Credit, 5, 1);
        sum.plus_equals(&Sides::of_line(Side::Credit, 5, -1));
        assert!(sum.is_zero());
        assert!(!Sides::of_line(Side::Credit, 0, 1).is_zero());
    }
}
