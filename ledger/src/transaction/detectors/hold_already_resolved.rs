//! `hold_already_resolved`: a capture or release came after the one that resolved its hold. Subject:
//! the transaction.

use super::{Finding, Found, WARNING};
use crate::amount::Scale;
use crate::transaction::{Meaning, Standing, json_text};

pub(super) const SEVERITY: &str = WARNING;

pub(super) fn detect(meaning: &Meaning<'_, '_>, _: Scale, found: Found<'_>) {
    let Standing::Late(resolver) = meaning.standing else { return };
    let hold = meaning.fold.link().and_then(|opening| opening.target.as_deref());
    found(Finding {
        subject: meaning.fold.transaction_id,
        currency: "",
        amount: 0,
        detail: format!(
            r#"{{{},"hold":{},"resolved_by":{}}}"#,
            meaning.events(),
            json_text(hold.unwrap_or_default()),
            json_text(resolver),
        ),
        due: None,
    });
}
