//! `control_total_mismatch`: what was applied of a range of a service's sequence is not what the service
//! says it has sent.
//!
//! In: the sums of both. Out: rows of `imbalances`. Subject: the service and the range; amount: without
//! currency by how many the count is wrong, with one by how much debits and credits are, together.
//! State: none.

use std::cmp::Ordering;

use trueup_ledger::transaction::escape_subject;
use trueup_ledger::{Amount, Scale, Table};

use super::Finding;
use crate::controls::sums::{Sum, Sums};
use crate::views::source_continuity::Service;

/// One respect in which both differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mismatch {
    /// How many contents there are.
    Count { applied: u64, control: u64 },
    /// What they carry in a currency, each as debits and credits in units.
    Totals { currency: Box<str>, applied: (i128, i128), control: (i128, i128) },
}

/// Returns in what both differ, in order: nothing where they match.
pub(crate) fn mismatches(applied: &Sums, control: &Sums) -> Vec<Mismatch> {
    let mut found = Vec::new();
    if applied.count != control.count {
        found.push(Mismatch::Count { applied: applied.count, control: control.count });
    }
    let (mut ours, mut theirs) = (&applied.totals[..], &control.totals[..]);
    loop {
        let order = match (ours.first(), theirs.first()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(our), Some(their)) => our.0.cmp(&their.0),
        };
        let (mut our, mut their) = (None, None);
        if order != Ordering::Greater {
            (our, ours) = (ours.first(), &ours[1..]);
        }
        if order != Ordering::Less {
            (their, theirs) = (theirs.first(), &theirs[1..]);
        }
        let sums = |sum: Option<&Sum>| sum.map_or((0, 0), |(_, debit, credit)| (*debit, *credit));
        let (applied, control) = (sums(our), sums(their));
        if let Some((currency, ..)) = our.or(their).filter(|_| applied != control) {
            found.push(Mismatch::Totals { currency: currency.clone(), applied, control });
        }
    }
}

impl Mismatch {
    /// Appends the row.
    pub(crate) fn push(
        &self,
        (tenant, service): &Service,
        (from, to): (u64, u64),
        scale: Scale,
        table: &mut Table,
        diff: i8,
    ) {
        let (currency, amount, detail) = match self {
            Mismatch::Count { applied, control } => {
                let amount = i128::from(applied.abs_diff(*control)) * scale.one();
                ("", amount, format!(r#"{{"applied":"{applied}","control":"{control}"}}"#))
            }
            Mismatch::Totals { currency, applied, control } => {
                (&**currency, distance(*applied, *control), detail(*applied, *control, scale))
            }
        };
        let finding = Finding {
            tenant,
            detector: "control_total_mismatch",
            subject: &format!("{}/{from}-{to}", escape_subject(service)),
            currency,
            amount,
            severity: "critical",
            detail: &detail,
        };
        finding.push(table, diff);
    }
}

/// Both sums that a control total names may have 38 digits, and so may not be added up to what a row
/// can hold; the detail has them exactly.
fn distance(applied: (i128, i128), control: (i128, i128)) -> i128 {
    let distance = applied.0.abs_diff(control.0).saturating_add(applied.1.abs_diff(control.1));
    i128::try_from(distance).map_or(Amount::MAX_SUM.0, |units| units.min(Amount::MAX_SUM.0))
}

fn detail(applied: (i128, i128), control: (i128, i128), scale: Scale) -> String {
    format!(
        r#"{{"applied_credit":"{}","applied_debit":"{}","control_credit":"{}","control_debit":"{}"}}"#,
        Amount(applied.1).display(scale),
        Amount(applied.0).display(scale),
        Amount(control.1).display(scale),
        Amount(control.0).display(scale),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(count: u64, totals: &[(&str, i128, i128)]) -> Sums {
        let totals =
            totals.iter().map(|(currency, debit, credit)| ((*currency).into(), *debit, *credit));
        Sums { count, totals: totals.collect() }
    }

    #[test]
    fn what_differs() {
        let applied = sums(3, &[("CHF", 1, 1), ("EUR", 5, 5), ("USD", 7, 8)]);
        assert_eq!(mismatches(&applied, &applied), []);
        let control = sums(2, &[("EUR", 5, 4), ("GBP", 9, 9), ("USD", 7, 8)]);
        let totals = |currency: &str, applied, control| Mismatch::Totals {
            currency: currency.into(),
            applied,
            control,
        };
        let expected = [
            Mismatch::Count { applied: 3, control: 2 },
            totals("CHF", (1, 1), (0, 0)),
            totals("EUR", (5, 5), (5, 4)),
            totals("GBP", (0, 0), (9, 9)),
        ];
        assert_eq!(mismatches(&applied, &control), expected);
    }

    #[test]
    fn no_control_total_makes_an_amount_that_no_row_can_hold() {
        let largest = Amount::MAX_SUM.0;
        assert_eq!(distance((0, 0), (largest, largest)), largest);
        assert_eq!(distance((3, 0), (1, 5)), 7);
    }
}
