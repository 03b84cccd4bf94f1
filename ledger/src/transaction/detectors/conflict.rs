//! `conflict`: an event lost to a rival, or a content of it to another. Subject: the event.

use super::{Finding, Found, WARNING};
use crate::amount::Scale;
use crate::transaction::{Meaning, json_text};

pub(super) const SEVERITY: &str = WARNING;

pub(super) fn detect(meaning: &Meaning<'_, '_>, _: Scale, found: Found<'_>) {
    let (whose, name) = match meaning.alone() {
        Some(kind) => ("kind", kind.name()),
        None => ("transaction_id", meaning.fold.transaction_id),
    };
    for event_id in &meaning.fold.conflicts {
        let (id, name) = (json_text(event_id), json_text(name));
        found(Finding {
            subject: &meaning.event_subject(event_id),
            currency: "",
            amount: 0,
            detail: format!(r#"{{"event_id":{id},"{whose}":{name}}}"#),
            due: None,
        });
    }
}
