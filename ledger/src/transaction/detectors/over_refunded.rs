//! `over_refunded`: more was refunded of a transaction than it amounts to. Subject: the transaction;
//! amount: the excess.

use super::{CRITICAL, Found};
use crate::amount::Scale;
use crate::transaction::Meaning;

pub(super) const SEVERITY: &str = CRITICAL;

pub(super) fn detect(meaning: &Meaning<'_, '_>, scale: Scale, found: Found<'_>) {
    meaning.exceeded("refunded", &meaning.inflows.refunded, scale, found);
}
