//! The lines of every transaction's current postings: carried ones as they are, those that a
//! reversal derives as the exact opposite of the target's, those that a capture derives as the
//! hold's (SPEC §3, Current, Links and Holds).

use super::links::Link;
use super::transactions::Transaction;
use crate::{Event, Kind, Posting, Side};

/// Whether a line counts, and as what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Posted,
    /// Of a hold.
    Pending,
    /// Of a hold that is resolved: the line is no longer current.
    Ended,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Posted => "posted",
            Status::Pending => "pending",
            Status::Ended => "ended",
        }
    }
}

/// One line of the current postings.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// The current revision that the line belongs to.
    pub(super) event: &'a Event<'a>,
    pub(super) leg: &'a str,
    /// The place within the leg, from 0.
    pub(super) number: usize,
    /// The side, which for a derived line is not that of `posting`.
    pub(super) side: Side,
    /// What gives account, amount and currency.
    pub(super) posting: &'a Posting<'a>,
    pub(super) status: Status,
}

/// Returns the lines of all transactions, by leg name and then number.
pub(super) fn lines<'a>(
    transactions: &[Transaction<'a>],
    links: &[Link],
    resolvers: &[Option<usize>],
) -> Vec<Vec<Line<'a>>> {
    let mut lines: Vec<Option<Vec<Line<'a>>>> = vec![None; transactions.len()];
    let derived = |index: usize| match (transactions[index].derives(), links[index]) {
        (Some(opening), Link::Effective(target)) => Some((opening, target)),
        _ => None,
    };
    for start in 0..transactions.len() {
        // Walk towards the targets until lines are known, and derive on the way back. The walk
        // ends, since the members of a circle are orphans.
        let mut chain = Vec::new();
        let mut at = start;
        while lines[at].is_none() {
            match derived(at) {
                Some((opening, target)) => {
                    chain.push((at, opening, target));
                    at = target;
                }
                None => lines[at] = Some(carried(&transactions[at], resolvers[at])),
            }
        }
        for (index, opening, target) in chain.into_iter().rev() {
            let derived = lines[target].as_deref().map(|lines| derive(lines, opening));
            lines[index] = derived;
        }
    }
    lines.into_iter().map(Option::unwrap_or_default).collect()
}

fn carried<'a>(transaction: &Transaction<'a>, resolver: Option<usize>) -> Vec<Line<'a>> {
    let status = match (transaction.kind(), resolver) {
        (Some(Kind::Hold), None) => Status::Pending,
        (Some(Kind::Hold), Some(_)) => Status::Ended,
        _ => Status::Posted,
    };
    let mut lines = Vec::new();
    for leg in &transaction.legs {
        let event = leg.current;
        for (number, posting) in event.postings.iter().enumerate() {
            let leg = &event.leg;
            lines.push(Line { event, leg, number, side: posting.side, posting, status });
        }
    }
    lines
}

/// Derives the lines of a reversal or capture from those of its target.
fn derive<'a>(target: &[Line<'a>], opening: &'a Event<'a>) -> Vec<Line<'a>> {
    let derived = |(number, line): (usize, &Line<'a>)| Line {
        event: opening,
        leg: "",
        number,
        side: if opening.kind == Kind::Reverse { line.side.opposite() } else { line.side },
        posting: line.posting,
        status: Status::Posted,
    };
    target.iter().enumerate().map(derived).collect()
}
