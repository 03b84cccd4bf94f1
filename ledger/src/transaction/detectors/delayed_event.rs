//! `delayed_event`: an event in effect arrived later than the rules allow. Subject: the event.

use super::{Finding, Found, WARNING};
use crate::amount::Scale;
use crate::Timestamp;
use crate::transaction::{Meaning, json_text};

pub(super) const SEVERITY: &str = WARNING;

pub(super) fn detect(meaning: &Meaning<'_, '_>, _: Scale, found: Found<'_>) {
    for (event, delay) in &meaning.fold.delayed {
        found(Finding {
            subject: &meaning.event_subject(&event.event_id),
            currency: "",
            amount: 0,
            detail: format!(
                r#"{{"delay_seconds":"{}","event_id":{},"recorded_at":"{}"}}"#,
                delay / 1_000_000,
                json_text(&event.event_id),
                Timestamp::display_micros(event.recorded_at.micros()),
            ),
            due: None,
        });
    }
}
