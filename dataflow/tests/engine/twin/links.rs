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
    /// By target: the reversal or capture that derives from it, with the kind.
    pub(crate) winners: Epochs<'s, (TransactionKey, (TransactionKey, Kind))>,
    /// By target: the reversals that would, were they the smallest.
    pub(crate) losers: Epochs<'s, (TransactionKey, TransactionKey)>,
    /// The captures and releases of a hold that another one resolved, and its id.
    pub(crate) late: Epochs<'s, (TransactionKey, Box<str>)>,
    /// By hold: what resolves it.
    pub(crate) resolved: Epochs<'s, (TransactionKey, Kind)>,
    /// The links whose nets count: from a reversal, refund or capture to its target, with the kind.
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
    // What is sound names what it may, so the rivals of one target are all reversals, or all
    // captures and releases.
    let judged = sound
        .clone()
        .filter(|(_, claim)| claim.derives || claim.kind.resolves())
        .map(|(from, claim)| (claim.target, (claim.seniority, (from, claim.kind, claim.derives))))
        .reduce(|_, rivals, judged| {
            let ((_, _, winner), (first, _, _)) = rivals[0].0;
            for ((_, rival), _) in rivals {
                let before = (rival.0 != *first).then(|| winner.clone());
                judged.push(((*rival, before), 1));
            }
        });
    let first = judged.clone().filter(|(_, (_, before))| before.is_none());
    let others = judged.flat_map(|(target, (rival, before))| Some((target, (rival, before?))));
    let losers = others
        .clone()
        .filter(|(_, ((_, kind, _), _))| *kind == Kind::Reverse)
        .map(|(target, ((from, _, _), _))| (target, from));
    let late = others
        .clone()
        .filter(|(_, ((_, kind, _), _))| kind.resolves())
        .map(|(_, ((from, _, _), before))| (from, before));
    let without_effect =
        others.filter(|(_, ((_, _, derives), _))| *derives).map(|(_, ((from, _, _), _))| from);
    Links {
        orphans: missing.concat(wrong).concat(members.map(|from| (from, Cause::Circle))),
        winners: first
            .clone()
            .filter(|(_, ((_, _, derives), _))| *derives)
            .map(|(target, ((from, kind, _), _))| (target, (from, kind))),
        resolved: first
            .filter(|(_, ((_, kind, _), _))| kind.resolves())
            .map(|(target, ((_, kind, _), _))| (target, kind)),
        effective: sound
            .filter(|(_, claim)| claim.kind != Kind::Release)
            .map(|(from, claim)| (from, (claim.target, claim.kind)))
            .antijoin(without_effect),
        losers,
        late,
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
