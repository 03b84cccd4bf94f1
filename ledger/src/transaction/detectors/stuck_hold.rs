//! `stuck_hold`: a hold is unresolved though it has expired. Subject: the hold; amount: its gross. Due at
//! its expiry.

use super::{Finding, Found, WARNING};
use crate::amount::Scale;
use crate::event::Kind;
use crate::Timestamp;
use crate::transaction::Meaning;

pub(super) const SEVERITY: &str = WARNING;

pub(super) fn detect(meaning: &Meaning<'_, '_>, _: Scale, found: Found<'_>) {
    if meaning.kind() != Some(Kind::Hold) || meaning.is_ended() || meaning.is_orphan() {
        return;
    }
    let Some(expires_at) = meaning.fold.opening.and_then(|opening| opening.expires_at) else {
        return;
    };
    for total in meaning.totals.iter().filter(|total| total.gross != 0) {
        found(Finding {
            subject: meaning.fold.transaction_id,
            currency: total.currency,
            amount: total.gross,
            detail: format!(
                r#"{{{},"expires_at":"{}"}}"#,
                meaning.events(),
                Timestamp::display_micros(expires_at.micros()),
            ),
            due: Some(expires_at.micros()),
        });
    }
}
