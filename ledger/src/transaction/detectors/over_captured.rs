//! `over_captured`: more was captured of a hold than it holds. Subject: the hold; amount: the excess.

use super::{CRITICAL, Found};
use crate::amount::Scale;
use crate::transaction::Meaning;

pub(super) const SEVERITY: &str = CRITICAL;

pub(super) fn detect(meaning: &Meaning<'_, '_>, scale: Scale, found: Found<'_>) {
    meaning.exceeded("captured", &meaning.inflows.captured, scale, found);
}
