//! What became of the links between transactions (SPEC §3, Links and Holds): which are orphans,
//! which reversals have an effect, which lost to a smaller one, and which of those that name a hold
//! resolves it.

use std::collections::BTreeMap;

use super::transactions::Transaction;
use crate::{Event, Kind};

/// What became of a transaction's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It names no target.
    None,
    /// Its target is missing, of a wrong kind, or it is in a circle.
    Orphan(Cause),
    /// It has an effect on the transaction of this index.
    Effective(usize),
    /// It derives nothing, since a smaller reversal of the transaction of this index does.
    WithoutEffect(usize),
    /// The hold of this index was resolved before: it counts as far as it carries postings.
    Late { hold: usize, resolver: usize },
}

/// Why a link is an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The target has no opening.
    TargetMissing,
    /// The target is of a kind that cannot be so linked.
    TargetKind,
    /// The transaction reverses itself by way of others or directly.
    Circle,
}

impl Cause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Cause::TargetMissing => "target_missing",
            Cause::TargetKind => "target_kind",
            Cause::Circle => "circle",
        }
    }
}

/// Judges the links of all transactions, which are ordered by tenant and id.
pub(super) fn links(transactions: &[Transaction<'_>]) -> Vec<Link> {
    let mut links: Vec<Link> =
        transactions.iter().map(|transaction| by_target(transactions, transaction)).collect();
    for member in circles(transactions, &links) {
        links[member] = Link::Orphan(Cause::Circle);
    }
    for (loser, target) in losers(transactions, &links) {
        links[loser] = Link::WithoutEffect(target);
    }
    for (index, late) in late(transactions, &links) {
        links[index] = late;
    }
    links
}

/// Returns, for each hold that is resolved, the transaction that does it.
pub(super) fn resolvers(transactions: &[Transaction<'_>], links: &[Link]) -> Vec<Option<usize>> {
    let mut resolvers = vec![None; links.len()];
    for (index, link) in links.iter().enumerate() {
        if let Link::Effective(target) = link
            && transactions[index].kind().is_some_and(Kind::resolves)
        {
            resolvers[*target] = Some(index);
        }
    }
    resolvers
}

fn by_target(transactions: &[Transaction<'_>], transaction: &Transaction<'_>) -> Link {
    let (Some(kind), Some(target_id)) = (transaction.kind(), transaction.target()) else {
        return Link::None;
    };
    let wanted = (transaction.tenant, target_id);
    let Ok(target) = transactions.binary_search_by_key(&wanted, |other| (other.tenant, other.id))
    else {
        return Link::Orphan(Cause::TargetMissing);
    };
    match transactions[target].kind() {
        None => Link::Orphan(Cause::TargetMissing),
        Some(target_kind) if !kind.may_link_to(target_kind) => Link::Orphan(Cause::TargetKind),
        Some(_) => Link::Effective(target),
    }
}

/// Finds the members of all circles of reversals, whether their lines are derived or carried.
fn circles(transactions: &[Transaction<'_>], links: &[Link]) -> Vec<usize> {
    // What is no reversal names a post, a hold or a capture, and captures name holds, so that each
    // step from a reversal to a reversal, or out of all circles, is what the link says.
    let next = |index: usize| match links[index] {
        Link::Effective(target) if transactions[index].kind() == Some(Kind::Reverse) => {
            Some(target)
        }
        _ => None,
    };
    let mut walk_of: Vec<Option<usize>> = vec![None; links.len()];
    let mut members = Vec::new();
    for start in 0..links.len() {
        let mut at = Some(start);
        while let Some(index) = at.filter(|index| walk_of[*index].is_none()) {
            walk_of[index] = Some(start);
            at = next(index);
        }
        // A walk that came back to where it had itself been has found a circle.
        let Some(entry) = at.filter(|index| walk_of[*index] == Some(start)) else {
            continue;
        };
        members.push(entry);
        let mut member = next(entry);
        while let Some(index) = member.filter(|index| *index != entry) {
            members.push(index);
            member = next(index);
        }
    }
    members
}

/// Finds the derived reversals that are not the smallest of their target, with the target.
///
/// An event id is unique in its transaction only, so a tie goes to the smaller transaction id,
/// which the order of the transactions gives.
fn losers(transactions: &[Transaction<'_>], links: &[Link]) -> Vec<(usize, usize)> {
    let mut rivals: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, link) in links.iter().enumerate() {
        if let (Link::Effective(target), Some(Kind::Reverse), Some(_)) =
            (link, transactions[index].kind(), transactions[index].derives())
        {
            rivals.entry(*target).or_default().push(index);
        }
    }
    let mut losers = Vec::new();
    for (target, mut rivals) in rivals {
        rivals.sort_by_key(|rival| transactions[*rival].derives().map(Event::seniority));
        losers.extend(rivals.into_iter().skip(1).map(|loser| (loser, target)));
    }
    losers
}

/// Finds the captures and releases that are not the smallest of their hold. Ties as for [`losers`].
fn late(transactions: &[Transaction<'_>], links: &[Link]) -> Vec<(usize, Link)> {
    let mut by_hold: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, link) in links.iter().enumerate() {
        if let (Link::Effective(hold), Some(Kind::Capture | Kind::Release)) =
            (link, transactions[index].kind())
        {
            by_hold.entry(*hold).or_default().push(index);
        }
    }
    let mut late = Vec::new();
    for (hold, mut rivals) in by_hold {
        // Whether and what they post does not matter: it is the act that resolves.
        rivals.sort_by_key(|rival| transactions[*rival].first.map(Event::seniority));
        let mut rivals = rivals.into_iter();
        if let Some(resolver) = rivals.next() {
            late.extend(rivals.map(|index| (index, Link::Late { hold, resolver })));
        }
    }
    late
}
