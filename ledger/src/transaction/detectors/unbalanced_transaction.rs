//! `unbalanced_transaction`: the current lines of a transaction do not balance in a currency, posted and pending
//! together. Subject: the transaction; amount: debits − credits.

use super::{CRITICAL, Finding, Found, money};
use crate::amount::Scale;
use crate::transaction::Meaning;

pub(super) const SEVERITY: &str = CRITICAL;

pub(super) fn detect(meaning: &Meaning<'_, '_>, scale: Scale, found: Found<'_>) {
    if meaning.is_ended() {
        return;
    }
    for total in &meaning.totals {
        let (debits, credits) = (total.sides.debits, total.sides.credits);
        if debits != credits {
            let sides = [money("credits", credits, scale), money("debits", debits, scale)];
            found(Finding {
                subject: meaning.fold.transaction_id,
                currency: total.currency,
                amount: debits - credits,
                detail: format!("{{{},{}}}", sides.join(","), meaning.events()),
                due: None,
            });
        }
    }
}
