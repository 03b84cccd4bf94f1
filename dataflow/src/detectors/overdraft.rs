//! `overdraft`: an account that may not be overdrawn, and is.
//!
//! In: balances with the terms of their accounts. Out: rows of `imbalances`. Subject: the account;
//! amount: how far what is available is on the wrong side. State: none.

use trueup_ledger::{Amount, Overdraft, Scale, Side, Table};

use super::Finding;
use crate::names::AccountName;
use crate::sums::Holding;

/// Pushes the row of a balance, if it has one.
pub(crate) fn overdraft(
    name: &AccountName,
    holding: &Holding,
    scale: Scale,
    table: &mut Table,
    diff: i8,
) {
    if holding.terms.overdraft == Overdraft::Allowed {
        return;
    }
    let available = holding.available();
    let normal_side = holding.terms.normal_side;
    let amount = if normal_side == Side::Debit { -available } else { available };
    if amount > 0 {
        let detail = format!(
            r#"{{"available":"{}","normal_side":"{}"}}"#,
            Amount(available).display(scale),
            normal_side.name(),
        );
        let finding = Finding {
            tenant: name.tenant(),
            detector: "overdraft",
            subject: name.account(),
            currency: name.currency(),
            amount,
            severity: "critical",
            detail: &detail,
        };
        finding.push(table, diff);
    }
}
