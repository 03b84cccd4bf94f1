//! Sums of money as differential differences: checked, never wrapped.

use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};
use trueup_ledger::Side;
use trueup_ledger::transaction::checked_sum;

/// Debits and credits, and how many lines they are of.
///
/// Differential's own `Semigroup for i128` wraps in release builds, so money never is a bare
/// `i128` difference. The count of lines says whether the row exists: sums of zero do not.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "leaves 128 bits")]
    fn sums_never_wrap() {
        let mut sum = Sides { debits: i128::MAX, credits: 0, lines: 1 };
        sum.plus_equals(&Sides::of_line(Side::Debit, 1, 1));
    }

    #[test]
    fn a_line_and_its_retraction_are_nothing() {
        let mut sum = Sides::of_line(Side::Credit, 5, 1);
        sum.plus_equals(&Sides::of_line(Side::Credit, 5, -1));
        assert!(sum.is_zero());
        assert!(!Sides::of_line(Side::Credit, 0, 1).is_zero());
    }
}
