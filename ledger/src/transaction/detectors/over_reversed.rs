//! `over_reversed`: more was reversed of a transaction than it amounts to, or it is a reversal without
//! effect. One row a currency, though it be both: the amounts add up, the detail tells them apart.
//! Subject: the transaction; amount: the excess and the gross of the target.

use std::collections::BTreeMap;

use super::{CRITICAL, Finding, Found, money};
use crate::amount::Scale;
use crate::transaction::{Meaning, Standing, checked_sum};

pub(super) const SEVERITY: &str = CRITICAL;

pub(super) fn detect(meaning: &Meaning<'_, '_>, scale: Scale, found: Found<'_>) {
    let mut parts: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    if let Standing::WithoutEffect(gross) = meaning.standing {
        parts.extend(gross.iter().map(|(currency, gross)| (&**currency, (0, *gross))));
        if gross.is_empty() {
            parts.insert("", (0, 0));
        }
    }
    for (currency, reversed) in &meaning.inflows.reversed {
        let excess = reversed - meaning.gross_of(currency);
        if excess > 0 {
            parts.entry(currency).or_default().0 = excess;
        }
    }
    for (currency, (excess, lost)) in parts {
        let amounts = [money("excess", excess, scale), money("without_effect", lost, scale)];
        found(Finding {
            subject: meaning.fold.transaction_id,
            currency,
            amount: checked_sum(excess, lost),
            detail: format!("{{{},{}}}", meaning.events(), amounts.join(",")),
            due: None,
        });
    }
}
