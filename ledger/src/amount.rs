//! Exact amounts of money: `i128` units of 10^-scale, parsed by a strict grammar and never rounded.
//!
//! The scale belongs to the store, not to the amount: all amounts of one store have the same scale,
//! so that sums are sums of integers.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The number of fraction digits that a store keeps, 0 to 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scale(u8);

impl Scale {
    /// The default of SPEC §1: nine fraction digits.
    pub const DEFAULT: Scale = Scale(9);
    /// The largest scale a store may have.
    pub const MAX: u8 = 18;

    /// Returns the scale of `digits` fraction digits, or `None` above [`Scale::MAX`].
    #[must_use]
    pub fn new(digits: u8) -> Option<Scale> {
        (digits <= Scale::MAX).then_some(Scale(digits))
    }

    /// Returns the number of fraction digits.
    #[must_use]
    pub fn digits(self) -> u8 {
        self.0
    }

    /// Returns how many units make one whole: 10^digits.
    #[must_use]
    pub fn one(self) -> i128 {
        10_i128.pow(u32::from(self.0))
    }
}

impl Default for Scale {
    fn default() -> Self {
        Scale::DEFAULT
    }
}

/// An amount in units of 10^-scale; signed, since sums and differences are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Amount(pub i128);

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// The text is not digits with at most one point between digits.
    #[error("not a plain non-negative decimal number")]
    Grammar,
    /// The text has more fraction digits than the store keeps.
    #[error("more than {0} fraction digits")]
    Precision(u8),
    /// The amount is larger than [`Amount::MAX_POSTING`], or the sum than [`Amount::MAX_SUM`].
    #[error("larger than 10^28 - 1 units of the last digit, or than 10^38 - 1 for a sum")]
    Range,
}

impl Amount {
    /// The largest amount of one posting, in units. Ten thousand million postings of this size fit
    /// one sum of 38 digits, the width of `DECIMAL(38, S)`: hundreds of gigabytes of the largest
    /// records, all on one account, so that no handful of records can make a total overflow.
    pub const MAX_POSTING: Amount = Amount(10_i128.pow(28) - 1);

    /// The largest absolute value of a published sum: 38 decimal digits.
    pub const MAX_SUM: Amount = Amount(10_i128.pow(38) - 1);

    /// Parses a non-negative decimal: digits, optionally a point and more digits.
    ///
    /// # Errors
    /// See [`AmountError`]: signs, exponents, separators, bare points, blanks and `NaN` are not of
    /// the grammar; too many fraction digits and too large a value are told apart from that.
    ///
    /// ```
    /// use trueup_ledger::{Amount, Scale};
    /// let scale = Scale::new(2).unwrap();
    /// assert_eq!(Amount::parse("12.5", scale), Ok(Amount(1250)));
    /// assert!(Amount::parse("12.505", scale).is_err());
    /// assert!(Amount::parse("-1", scale).is_err());
    /// ```
    pub fn parse(text: &str, scale: Scale) -> Result<Amount, AmountError> {
        Amount::parse_up_to(text, scale, Amount::MAX_POSTING)
    }

    /// Parses a sum of postings: as [`Amount::parse`], up to [`Amount::MAX_SUM`].
    ///
    /// # Errors
    /// As [`Amount::parse`].
    pub fn parse_sum(text: &str, scale: Scale) -> Result<Amount, AmountError> {
        Amount::parse_up_to(text, scale, Amount::MAX_SUM)
    }

    fn parse_up_to(text: &str, scale: Scale, largest: Amount) -> Result<Amount, AmountError> {
        let bytes = text.as_bytes();
        let point = bytes.iter().position(|b| *b == b'.').unwrap_or(bytes.len());
        let whole = &bytes[..point];
        let fraction = bytes.get(point + 1..).unwrap_or_default();
        let has_point = point < bytes.len();
        if whole.is_empty() || (has_point && fraction.is_empty()) {
            return Err(AmountError::Grammar);
        }
        if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Err(AmountError::Grammar);
        }
        if fraction.len() > usize::from(scale.digits()) {
            return Err(AmountError::Precision(scale.digits()));
        }
        let missing = usize::from(scale.digits()) - fraction.len();
        let zeros = std::iter::repeat_n(&b'0', missing);
        let significant = whole.iter().skip_while(|b| **b == b'0').count();
        if significant + usize::from(scale.digits()) > 38 {
            return Err(AmountError::Range);
        }
        let units = whole
            .iter()
            .skip(whole.len() - significant)
            .chain(fraction)
            .chain(zeros)
            .fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        if units > largest.0 {
            return Err(AmountError::Range);
        }
        Ok(Amount(units))
    }

    /// Returns the amount as a plain decimal without exponent or trailing zeros.
    #[must_use]
    pub fn display(self, scale: Scale) -> AmountText {
        AmountText { amount: self, scale }
    }

    /// Returns the amount as a [`Decimal`], or `None` where 96 bits cannot hold it.
    ///
    /// Only for the edge: sums are never made of decimals, whose addition is not associative near
    /// their limits.
    #[must_use]
    pub fn to_decimal(self, scale: Scale) -> Option<Decimal> {
        Decimal::try_from_i128_with_scale(self.0, u32::from(scale.digits())).ok()
    }

    /// Converts an exact decimal of the edge (Avro, Debezium) to units.
    ///
    /// # Errors
    /// As [`Amount::parse`]; a negative decimal is not of the grammar of a posting.
    pub fn from_decimal(decimal: Decimal, scale: Scale) -> Result<Amount, AmountError> {
        if decimal.is_sign_negative() && !decimal.is_zero() {
            return Err(AmountError::Grammar);
        }
        let exact = decimal.normalize();
        let missing = u32::from(scale.digits())
            .checked_sub(exact.scale())
            .ok_or(AmountError::Precision(scale.digits()))?;
        10_i128
            .checked_pow(missing)
            .and_then(|factor| exact.mantissa().checked_mul(factor))
            .filter(|units| *units <= Amount::MAX_POSTING.0)
            .map(Amount)
            .ok_or(AmountError::Range)
    }
}

/// An [`Amount`] ready to be printed; see [`Amount::display`].
#[derive(Clone, Copy, Debug)]
pub struct AmountText {
    amount: Amount,
    scale: Scale,
}

impl fmt::Display for AmountText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = self.scale.one().unsigned_abs();
        let units = self.amount.0.unsigned_abs();
        let sign = if self.amount.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (units / one, units % one);
        if fraction == 0 {
            return f.pad(&format!("{sign}{whole}"));
        }
        let width = usize::from(self.scale.digits());
        let digits = format!("{fraction:0width$}");
        f.pad(&format!("{sign}{whole}.{}", digits.trim_end_matches('0')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // spec: "Amounts are decimal strings"
    // spec: "NaN, exponents, signs, `1_000`, more than S fraction digits"
    // spec: "What does not fit is quarantined, never rounded, wrapped or nulled."
    #[test]
    fn grammar() {
        let nine = Scale::DEFAULT;
        let rows: &[(&str, Result<i128, AmountError>)] = &[
            ("0", Ok(0)),
            ("1", Ok(1_000_000_000)),
            ("007.50", Ok(7_500_000_000)),
            ("0.000000001", Ok(1)),
            ("9999999999999999999.999999999", Ok(10_i128.pow(28) - 1)),
            ("10000000000000000000", Err(AmountError::Range)),
            ("0.0000000001", Err(AmountError::Precision(9))),
            ("0.0000000000", Err(AmountError::Precision(9))),
            ("", Err(AmountError::Grammar)),
            (".5", Err(AmountError::Grammar)),
            ("5.", Err(AmountError::Grammar)),
            ("1.2.3", Err(AmountError::Grammar)),
            ("-1", Err(AmountError::Grammar)),
            ("+1", Err(AmountError::Grammar)),
            ("1e3", Err(AmountError::Grammar)),
            ("1_000", Err(AmountError::Grammar)),
            ("1,000", Err(AmountError::Grammar)),
            (" 1", Err(AmountError::Grammar)),
            ("NaN", Err(AmountError::Grammar)),
            ("٣", Err(AmountError::Grammar)),
        ];
        for (text, expected) in rows {
            assert_eq!(Amount::parse(text, nine).map(|a| a.0), *expected, "{text:?}");
        }
    }

    // spec: "What does not fit is quarantined, never rounded, wrapped or nulled."
    #[test]
    fn forty_digits_are_out_of_range_not_wrapped() {
        let text = "9".repeat(200);
        assert_eq!(Amount::parse(&text, Scale::DEFAULT), Err(AmountError::Range));
        let padded = format!("{}1", "0".repeat(200));
        assert_eq!(Amount::parse(&padded, Scale::DEFAULT), Ok(Amount(1_000_000_000)));
    }

    #[test]
    fn printing() {
        let rows = [(0, "0"), (-1, "-0.000000001"), (1_500_000_000, "1.5"), (10_000_000_000, "10")];
        for (units, text) in rows {
            assert_eq!(Amount(units).display(Scale::DEFAULT).to_string(), text);
        }
        assert_eq!(Amount(-7).display(Scale::new(0).unwrap()).to_string(), "-7");
    }

    proptest! {
        // spec: "Amounts are decimal strings or exact Avro/Debezium decimals"
        // spec: "inside they are `i128` units of 10^-S"
        // spec: "No float touches money."
        #[test]
        fn parse_agrees_with_an_exact_decimal(units in 0_i128..10_i128.pow(27), digits in 0_u8..=18) {
            let scale = Scale::new(digits).unwrap();
            let text = Amount(units).display(scale).to_string();
            let decimal = Decimal::from_str_exact(&text).unwrap();
            prop_assert_eq!(Amount::parse(&text, scale), Ok(Amount(units)));
            prop_assert_eq!(Amount::from_decimal(decimal, scale), Ok(Amount(units)));
            prop_assert_eq!(Amount(units).to_decimal(scale).unwrap(), decimal);
        }
    }
}
