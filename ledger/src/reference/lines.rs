//! The current lines of every transaction: carried ones as posted, derived ones as the exact
//! opposite of the target's (SPEC §3, Current and Links).

use super::links::Link;
use super::transactions::Transaction;
use crate::{Event, Posting, Side};

/// One current line.
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
}

/// Returns the current lines of all transactions, by leg name and then number.
pub(super) fn lines<'a>(transactions: &[Transaction<'a>], links: &[Link]) -> Vec<Vec<Line<'a>>> {
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
                None => lines[at] = Some(carried(&transactions[at])),
            }
        }
        for (index, opening, target) in chain.into_iter().rev() {
            let opposite = lines[target].as_deref().map(|lines| opposite(lines, opening));
            lines[index] = opposite;
        }
    }
    lines.into_iter().map(Option::unwrap_or_default).collect()
}

fn carried<'a>(transaction: &Transaction<'a>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for leg in &transaction.legs {
        let event = leg.current;
        for (number, posting) in event.postings.iter().enumerate() {
            lines.push(Line { event, leg: &event.leg, number, side: posting.side, posting });
        }
    }
    lines
}

fn opposite<'a>(target: &[Line<'a>], opening: &'a Event<'a>) -> Vec<Line<'a>> {
    let opposite = |(number, line): (usize, &Line<'a>)| Line {
        event: opening,
        leg: "",
        number,
        side: line.side.opposite(),
        posting: line.posting,
    };
    target.iter().enumerate().map(opposite).collect()
}
