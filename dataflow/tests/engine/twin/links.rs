//! Which links are orphans, which derive, which have an effect.

use differential_dataflow::operators::Iterate;
use trueup_ledger::{Kind, TransactionKey};

use super::Epochs;
use super::model::{Cause, Head};

/// What became of all links.
#[derive(Clone)]
pub(crate) struct Links<'s> {
    /// Each orphan and its cause.
    pub(crate) orphans: Epochs<'s, (TransactionKey, Cause)>,
    /// By target: the reversal that derives its opposite.
    pub(crate) winners: Epochs<'s, (TransactionKey, TransactionKey)>,
    /// By target: the reversals that would, were they the smallest.
    pub(crate) losers: Epochs<'s, (TransactionKey, TransactionKey)>,
    /// The links that count: from a reversal or refund to its target, with the kind.
    pub(crate) effective: Epochs<'s, (TransactionKey, (TransactionKey, Kind))>,
}

/// Judges all links. Each layer is complete before the next is built on it, so that nothing is
/// negated that could still change within the epoch.
pub(crate) fn links<'s>(heads: Epochs<'s, (TransactionKey, Head)>) -> Links<'s> {
    let kinds = heads.clone().flat_map(|(key, head)| Some((key, head.kind?)));
    let claims = heads.flat_map(|(key, head)| {
        let claim = head.claim?;
        Some((claim.target, (key, claim)))
    });
    let missing = claims
        .clone()
        .antijoin(kinds.clone().map(|(key, _)| key))
        .map(|(_, (from, _))| (from, Cause::TargetMissing));
    let found = claims.join_map(kinds, |_, (from, claim), kind| (*from, (claim.clone(), *kind)));
    let wrong = found
        .clone()
        .filter(|(_, (claim, kind))| !claim.kind.may_link_to(*kind))
        .map(|(from, _)| (from, Cause::TargetKind));
    let found = found.filter(|(_, (claim, kind))| claim.kind.may_link_to(*kind));
    let reversals = found
        .clone()
        .filter(|(_, (claim, kind))| (claim.kind, *kind) == (Kind::Reverse, Kind::Reverse))
        .map(|(from, (claim, _))| (from, claim.target));
    let members = circles(reversals).map(|(from, _)| from);
    let sound = found.antijoin(members.clone()).map(|(from, (claim, _))| (from, claim));
    let judged = sound
        .clone()
        .filter(|(_, claim)| claim.derives)
        .map(|(from, claim)| (claim.target, (claim.seniority, from)))
        .reduce(|_, rivals, judged| {
            for (place, ((_, from), _)) in rivals.iter().enumerate() {
                judged.push(((*from, place == 0), 1));
            }
        });
    let losers =
        judged.clone().filter(|(_, (_, wins))| !wins).map(|(target, (from, _))| (target, from));
    Links {
        orphans: missing.concat(wrong).concat(members.map(|from| (from, Cause::Circle))),
        winners: judged.filter(|(_, (_, wins))| *wins).map(|(target, (from, _))| (target, from)),
        effective: sound
            .map(|(from, claim)| (from, (claim.target, claim.kind)))
            .antijoin(losers.clone().map(|(_, from)| from)),
        losers,
    }
}

/// Keeps the edges that are part of a circle.
///
/// A transaction has one edge out at most, so as long as as many edges are left as come from
/// transactions that edges lead to, every one of these has one in and one out: circles.
fn circles<'s>(
    edges: Epochs<'s, (TransactionKey, TransactionKey)>,
) -> Epochs<'s, (TransactionKey, TransactionKey)> {
    edges.clone().iterate(move |scope, kept| {
        let named = kept.map(|(_, to)| to).distinct();
        edges.enter(scope).semijoin(named).consolidate()
    })
}
