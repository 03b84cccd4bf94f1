//! What the links of a transaction say of it, once they are known: pure functions of its events and
//! its stored [`Links`]. How the links come to be known is in [`super::links`].

use trueup_ledger::transaction::{Fold, Inflows, OrphanCause, Standing, add_to, fold};
use trueup_ledger::{Kind, TransactionKey};

use super::state::{Claim, Derivation, Links, State, stored};

/// Calls `f` with the fold of a state's events.
pub(crate) fn with_fold<R>(state: &State, f: impl FnOnce(Option<&Fold<'_, '_>>) -> R) -> R {
    let events = state.events.iter().map(|canonical| stored(canonical, state.delay(canonical)));
    let events: Vec<_> = events.collect();
    f(fold(&events).as_ref())
}

/// Returns how a transaction stands towards its target.
pub(crate) fn standing(fold: &Fold<'_, '_>, links: &Links) -> Standing {
    let Some(opening) = fold.link() else {
        return Standing::Clear;
    };
    if links.circle {
        return Standing::Orphan(OrphanCause::Circle);
    }
    let Some(answer) = &links.heard else {
        return Standing::Clear;
    };
    match answer.kind {
        None => return Standing::Orphan(OrphanCause::TargetMissing),
        Some(kind) if !opening.kind.may_link_to(kind) => {
            return Standing::Orphan(OrphanCause::TargetKind);
        }
        Some(_) => {}
    }
    match &answer.derivation {
        Derivation::Resolved(resolver) => Standing::Late(resolver.clone()),
        Derivation::Lines(lines) if fold.derives() => Standing::Derives(lines.clone()),
        Derivation::Lost(gross) if fold.derives() => Standing::WithoutEffect(gross.clone()),
        Derivation::None | Derivation::Lines(_) | Derivation::Lost(_) => Standing::Clear,
    }
}

/// Returns the senior one of those that `may` have the effect, of which only one has it.
pub(crate) fn senior(
    links: &Links,
    may: impl Fn(&Claim) -> bool,
) -> Option<(TransactionKey, &Claim)> {
    // The member of our circle that names us is an orphan: no rival, and it asks nobody.
    let rivals = links
        .children
        .iter()
        .filter(|(key, child)| may(&child.claim) && Some(**key) != links.circle_child);
    rivals
        .min_by(|(_, a), (_, b)| a.claim.seniority().cmp(&b.claim.seniority()))
        .map(|(key, child)| (*key, &child.claim))
}

/// Returns what those that name a transaction contribute.
pub(crate) fn inflows(links: &Links) -> Inflows {
    let mut inflows = Inflows::default();
    for child in links.children.values() {
        let sums = match child.claim.kind {
            Kind::Reverse => &mut inflows.reversed,
            Kind::Refund => &mut inflows.refunded,
            _ => &mut inflows.captured,
        };
        for (currency, units) in &child.nets {
            add_to(sums, currency, *units);
        }
    }
    inflows.resolved_by = senior(links, |claim| claim.kind.resolves()).map(|(_, claim)| claim.kind);
    inflows
}

/// Whether the net of a transaction counts at its target, which for a release is nothing.
pub(crate) fn has_effect(fold: &Fold<'_, '_>, standing: &Standing) -> bool {
    match standing {
        Standing::Orphan(_) | Standing::WithoutEffect(_) => false,
        Standing::Late(_) if fold.derives() => false,
        _ => fold.link().is_some_and(|opening| opening.kind != Kind::Release),
    }
}

/// Returns the target that a fold names, and the claim on it.
pub(crate) fn claim_of(fold: &Fold<'_, '_>) -> Option<(TransactionKey, Claim)> {
    let opening = fold.link()?;
    let target = TransactionKey::of(fold.tenant, opening.target.as_deref()?);
    let claim = Claim {
        kind: opening.kind,
        derives: fold.derives(),
        recorded_at: opening.recorded_at,
        event_id: opening.event_id.as_ref().into(),
        transaction_id: fold.transaction_id.into(),
    };
    Some((target, claim))
}
