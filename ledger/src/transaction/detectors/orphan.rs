//! `orphan`: the link of a transaction leads nowhere, or corrections in it have no opening. Subject:
//! the transaction.

use super::{Finding, Found, WARNING, json_texts};
use crate::amount::Scale;
use crate::transaction::{Meaning, Standing, json_text};

pub(super) const SEVERITY: &str = WARNING;

pub(super) fn detect(meaning: &Meaning<'_, '_>, _: Scale, found: Found<'_>) {
    let corrections = &meaning.fold.orphan_corrections;
    let cause = match meaning.standing {
        Standing::Orphan(cause) => cause.name(),
        _ if corrections.is_empty() => return,
        _ => "",
    };
    let target = meaning.fold.link().and_then(|opening| opening.target.as_deref());
    found(Finding {
        subject: meaning.fold.transaction_id,
        currency: "",
        amount: 0,
        detail: format!(
            r#"{{"cause":{},"corrections":{},{},"target":{}}}"#,
            json_text(cause),
            json_texts(corrections),
            meaning.events(),
            json_text(target.unwrap_or_default()),
        ),
        due: None,
    });
}
