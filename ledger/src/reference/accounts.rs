//! Accounts as they are declared (SPEC §3, Other kinds): which declaration of an account counts, and
//! what is available under it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::books::Sides;
use super::sum;
use super::transactions::Identified;
use crate::{Fact, Side, Terms};

/// What all declarations say together: terms by tenant and account.
pub(super) struct Accounts<'a>(BTreeMap<(&'a str, &'a str), Terms>);

impl Accounts<'_> {
    /// Returns the terms of an account, those of an undeclared one where nobody declares it.
    pub(super) fn terms(&self, tenant: &str, account: &str) -> Terms {
        self.0.get(&(tenant, account)).copied().unwrap_or_default()
    }
}

/// Judges the declarations among the events without a transaction: of those of an account the newest
/// counts, of equally new ones the one with the smaller event id.
pub(super) fn accounts<'a>(alone: &'a [Identified<'a>]) -> Accounts<'a> {
    let mut terms = BTreeMap::new();
    let mut from_old_to_new: Vec<_> = alone.iter().map(|one| &one.event).collect();
    from_old_to_new.sort_by_key(|event| (event.recorded_at, Reverse(&event.event_id)));
    for event in from_old_to_new {
        if let Some(Fact::Account(declaration)) = event.fact.as_deref() {
            terms.insert((&*event.tenant, &*declaration.account), declaration.terms);
        }
    }
    Accounts(terms)
}

/// Returns what is available, debit-positive as a balance is.
pub(super) fn available(terms: Terms, posted: Sides, pending: Sides) -> i128 {
    match terms.normal_side {
        Side::Debit => sum(posted.difference(), -pending.credits),
        Side::Credit => sum(posted.difference(), pending.debits),
    }
}
