//! What became of the links between transactions (SPEC §3, Links): which are orphans, which
//! reversals have an effect, which lost to a smaller one.

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
    links
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
    // A refund may only name a post, so that each step from a reversal to a reversal, or out of
    // all circles, is what the link says.
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
        if let (Link::Effective(target), Some(_)) = (link, transactions[index].derives()) {
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
