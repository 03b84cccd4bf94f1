//! Sums of money, checked, and by currency.

/// Sums by currency, in order of currency.
pub type ByCurrency = Vec<(Box<str>, i128)>;

/// Adds `units` to the sum of `currency`.
///
/// # Panics
/// Where the sum leaves 128 bits: more than 10^10 of the largest postings are needed for it, and no
/// wrapped sum must ever be published.
pub fn add_to(sums: &mut ByCurrency, currency: &str, units: i128) {
    match sums.binary_search_by(|(name, _)| (**name).cmp(currency)) {
        Ok(place) => sums[place].1 = checked_sum(sums[place].1, units),
        Err(place) => sums.insert(place, (currency.into(), units)),
    }
}

/// Returns the sum of `currency`, 0 where there is none.
#[must_use]
pub fn sum_of(sums: &ByCurrency, currency: &str) -> i128 {
    sums.binary_search_by(|(name, _)| (**name).cmp(currency)).map_or(0, |place| sums[place].1)
}

/// Adds two sums of money.
///
/// # Panics
/// As [`add_to`].
#[must_use]
pub fn checked_sum(a: i128, b: i128) -> i128 {
    match a.checked_add(b) {
        Some(sum) => sum,
        None => unreachable!("a sum of amounts leaves 128 bits: {a} + {b}"),
    }
}
