//! What a transaction's events mean together (or the contents of one event without transaction): the
//! pure function `f(S)` that the engine calls for each transaction it touches (SPEC §3).
//!
//! ```text
//! events S ──fold──▶ Fold (opening, current legs, conflicts)
//!                      │  + Standing   (what its target says of it, if it names one)
//!                      │  + Inflows    (what those that name it amount to, and do to a hold)
//!                      ▼
//!                    Meaning ──rows──▶ rows of postings, transaction_totals, imbalances
//! ```
//!
//! Owns the meaning of one transaction. Leaves out how transactions talk to each other: the engine
//! brings standings and inflows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::codec::content_hash;
use crate::event::{Event, Kind, Posting, Side};
use crate::fact::Fact;
use crate::{Amount, Timestamp};

mod detectors;
mod rows;
mod sums;

pub use detectors::{escape_subject, sides_detail};
pub use rows::{PENDING, RowSink, json_text};
pub use sums::{ByCurrency, add_to, checked_sum, sum_of};

/// How many events a detail names.
const FIRST_EVENTS_MAX: usize = 3;

/// A distinct event with its canonical bytes, by which rival contents are told apart.
#[derive(Clone, Debug)]
pub struct Stored<'a> {
    /// The event.
    pub event: Event<'a>,
    /// Its canonical bytes.
    pub canonical: &'a [u8],
    /// By how many microseconds it arrived late, where it did.
    pub delay: Option<i64>,
}

/// A leg with an opening.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'e, 'a> {
    /// The opening, revision 1.
    pub opening: &'e Event<'a>,
    /// The highest revision.
    pub current: &'e Event<'a>,
}

/// The meaning of a set of events before links are followed.
#[derive(Clone, Debug)]
pub struct Fold<'e, 'a> {
    /// The tenant.
    pub tenant: &'e str,
    /// The transaction; empty for an event without one.
    pub transaction_id: &'e str,
    /// The opening that decides kind and target; `None` while only corrections are there.
    pub opening: Option<&'e Event<'a>>,
    /// The legs that are open, by name.
    pub legs: Vec<Leg<'e, 'a>>,
    /// The ids of events that lost to a rival, or part of whose contents did, in order.
    pub conflicts: Vec<&'e str>,
    /// The ids of corrections without opening, in order.
    pub orphan_corrections: Vec<&'e str>,
    /// The same by seniority, where nothing is in effect.
    first_corrections: Vec<&'e str>,
    /// The events in effect that arrived late, and by how many microseconds.
    pub delayed: Vec<(&'e Event<'a>, i64)>,
}

/// Folds the distinct events of one transaction.
///
/// Returns `None` for no events at all.
#[must_use]
pub fn fold<'e, 'a>(events: &'e [Stored<'a>]) -> Option<Fold<'e, 'a>> {
    let first = &events.first()?.event;
    let mut fold = Fold {
        tenant: &first.tenant,
        transaction_id: &first.transaction_id,
        opening: None,
        legs: Vec::with_capacity(1),
        conflicts: Vec::new(),
        orphan_corrections: Vec::new(),
        first_corrections: Vec::new(),
        delayed: Vec::new(),
    };
    if let ([_], true) = (events, first.kind.is_opening()) {
        // Nearly every transaction is one event: nothing to judge.
        fold.opening = Some(first);
        fold.legs.push(Leg { opening: first, current: first });
        fold.delayed.extend(events[0].delay.map(|delay| (first, delay)));
        return Some(fold);
    }
    let mut conflicts = BTreeSet::new();
    let mut counted = one_per_identity(events, &mut conflicts);
    fold.opening = counted
        .iter()
        .copied()
        .filter(|event| event.kind.is_opening())
        .min_by(|a, b| a.seniority().cmp(&b.seniority()));
    if let Some(opening) = fold.opening {
        counted.retain(|event| {
            let stays = !event.kind.is_opening() || event.kind == opening.kind;
            if !stays {
                conflicts.insert(&*event.event_id);
            }
            stays
        });
    }
    counted.sort_by(|a, b| {
        (&a.leg, a.revision, a.seniority()).cmp(&(&b.leg, b.revision, b.seniority()))
    });
    for rivals in counted.chunk_by(|a, b| a.leg == b.leg && a.revision == b.revision) {
        conflicts.extend(rivals[1..].iter().map(|event| &*event.event_id));
    }
    counted.dedup_by(|b, a| a.leg == b.leg && a.revision == b.revision);
    for leg in counted.chunk_by(|a, b| a.leg == b.leg) {
        match leg {
            [opening, rest @ ..] if opening.kind.is_opening() => {
                fold.legs.push(Leg { opening, current: rest.last().unwrap_or(opening) });
            }
            corrections => {
                fold.orphan_corrections.extend(corrections.iter().map(|event| &*event.event_id));
            }
        }
    }
    fold.orphan_corrections.sort_unstable();
    if fold.legs.is_empty() {
        counted.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
        fold.first_corrections = counted.iter().map(|event| &*event.event_id).collect();
    }
    fold.conflicts = conflicts.into_iter().collect();
    let late = events.iter().filter_map(|stored| Some((&raw const stored.event, stored.delay?)));
    let late: BTreeMap<*const Event<'a>, i64> = late.collect();
    if !late.is_empty() {
        let delayed = fold.legs.iter().filter_map(|leg| {
            late.get(&std::ptr::from_ref(leg.current)).map(|delay| (leg.current, *delay))
        });
        fold.delayed = delayed.collect();
    }
    Some(fold)
}

/// Keeps, of the contents that share an event id, the one with the smallest (`recorded_at`,
/// content hash).
fn one_per_identity<'e, 'a>(
    events: &'e [Stored<'a>],
    conflicts: &mut BTreeSet<&'e str>,
) -> Vec<&'e Event<'a>> {
    let mut ordered: Vec<&Stored<'a>> = events.iter().collect();
    ordered.sort_by(|a, b| {
        (&a.event.event_id, a.event.recorded_at)
            .cmp(&(&b.event.event_id, b.event.recorded_at))
            .then_with(|| content_hash(a.canonical).cmp(&content_hash(b.canonical)))
            .then_with(|| a.canonical.cmp(b.canonical))
    });
    let mut counted: Vec<&Event<'a>> = Vec::with_capacity(ordered.len());
    for stored in ordered {
        match counted.last() {
            Some(winner) if winner.event_id == stored.event.event_id => {
                conflicts.insert(&*stored.event.event_id);
            }
            _ => counted.push(&stored.event),
        }
    }
    counted
}

/// Why what names a target is an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrphanCause {
    /// The target transaction has no opening.
    TargetMissing,
    /// The target is of a kind that cannot be so linked.
    TargetKind,
    /// The transaction is a member of a circle of reversals.
    Circle,
}

impl OrphanCause {
    /// Returns the name that details use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OrphanCause::TargetMissing => "target_missing",
            OrphanCause::TargetKind => "target_kind",
            OrphanCause::Circle => "circle",
        }
    }
}

/// How a transaction stands towards its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It names no target, or carries its postings, or its target derives nothing for it.
    #[default]
    Clear,
    /// It is an orphan.
    Orphan(OrphanCause),
    /// It derives from these lines, its target's current ones in their order: a reversal the
    /// opposite, a capture the same.
    Derives(Vec<Posting<'static>>),
    /// It derives nothing, since a smaller reversal has the effect; its target's gross.
    WithoutEffect(ByCurrency),
    /// It is a capture or release of a hold that this transaction has resolved before: it counts as
    /// far as it carries postings.
    Late(Box<str>),
}

/// What those that name a transaction do to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inflows {
    /// The sum of the nets of effective reversals.
    pub reversed: ByCurrency,
    /// The sum of the nets of effective refunds.
    pub refunded: ByCurrency,
    /// The sum of the nets of the captures of a hold.
    pub captured: ByCurrency,
    /// What resolves a hold, a capture or a release; of no meaning for another kind.
    pub resolved_by: Option<Kind>,
}

/// A current line of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'e> {
    /// The leg, empty for derived lines.
    pub leg: &'e str,
    /// The number within the leg, from 0 in posting order.
    pub line: usize,
    /// The account.
    pub account: &'e str,
    /// The side.
    pub side: Side,
    /// The amount.
    pub amount: Amount,
    /// The currency.
    pub currency: &'e str,
    /// When it counts.
    pub effective_at: Timestamp,
    /// The revision of its leg.
    pub revision: u64,
    /// The event that it is posted by.
    pub event_id: &'e str,
}

impl Line<'_> {
    /// Copies what is derived from the line.
    #[must_use]
    pub fn to_posting(&self) -> Posting<'static> {
        Posting {
            account: Cow::Owned(self.account.to_owned()),
            side: self.side,
            amount: self.amount,
            currency: Cow::Owned(self.currency.to_owned()),
        }
    }
}

/// Debits and credits of some lines in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sides {
    debits: i128,
    credits: i128,
    debit_lines: usize,
}

impl Sides {
    fn add(&mut self, side: Side, amount: Amount) {
        match side {
            Side::Debit => {
                self.debits = checked_sum(self.debits, amount.0);
                self.debit_lines += 1;
            }
            Side::Credit => self.credits = checked_sum(self.credits, amount.0),
        }
    }

    /// The debits, or the credits of a transaction that only credits.
    fn gross(self) -> i128 {
        if self.debit_lines == 0 { self.credits } else { self.debits }
    }
}

/// What a transaction amounts to in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total<'e> {
    /// The currency.
    pub currency: &'e str,
    /// The debit amounts of the current lines.
    pub gross: i128,
    /// `gross` minus the same at revision 1.
    pub corrected: i128,
    /// `gross` − reversed − refunded.
    pub net: i128,
    reversed: i128,
    refunded: i128,
    sides: Sides,
}

/// A transaction with its links followed.
#[derive(Clone, Debug)]
pub struct Meaning<'e, 'a> {
    fold: &'e Fold<'e, 'a>,
    standing: &'e Standing,
    inflows: &'e Inflows,
    /// By currency, in order.
    totals: Vec<Total<'e>>,
}

impl<'e, 'a> Fold<'e, 'a> {
    /// Returns the deciding opening if it names a target.
    #[must_use]
    pub fn link(&self) -> Option<&'e Event<'a>> {
        self.opening.filter(|opening| opening.kind.is_link())
    }

    /// Returns what an event without transaction says, with the event.
    #[must_use]
    pub fn fact(&self) -> Option<(&'e Fact<'a>, &'e Event<'a>)> {
        let event = self.opening?;
        event.fact.as_deref().map(|fact| (fact, event))
    }

    /// Returns the ids of the first events in effect, at most three, by seniority; of a transaction
    /// that has none, its corrections.
    fn first_events(&self) -> Vec<&'e str> {
        let mut events: Vec<&Event<'a>> = self.legs.iter().map(|leg| leg.current).collect();
        events.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
        let mut ids: Vec<&str> = events.into_iter().map(|event| &*event.event_id).collect();
        if ids.is_empty() {
            ids.clone_from(&self.first_corrections);
        }
        ids.truncate(FIRST_EVENTS_MAX);
        ids
    }

    /// Says whether the current lines are derived from the target.
    #[must_use]
    pub fn derives(&self) -> bool {
        self.legs.iter().any(|leg| leg.current.derives())
    }

    /// Calls `each` for every line of the current postings, legs by name. Those of a hold are given
    /// though it be resolved.
    pub fn lines(&'e self, standing: &'e Standing, mut each: impl FnMut(Line<'e>)) {
        for leg in &self.legs {
            let event = leg.current;
            let derived = match standing {
                Standing::Derives(lines) if event.derives() => lines.as_slice(),
                _ => &[],
            };
            let own = event.postings.iter().map(|posting| (posting, posting.side));
            let is_opposite = event.kind == Kind::Reverse;
            let derived = derived.iter().map(|posting| {
                let side = if is_opposite { posting.side.opposite() } else { posting.side };
                (posting, side)
            });
            for (line, (posting, side)) in own.chain(derived).enumerate() {
                each(Line {
                    leg: &leg.opening.leg,
                    line,
                    account: &posting.account,
                    side,
                    amount: posting.amount,
                    currency: &posting.currency,
                    effective_at: event.effective_at,
                    revision: event.revision,
                    event_id: &event.event_id,
                });
            }
        }
    }

    /// Follows the links: puts the fold together with what other transactions say.
    #[must_use]
    pub fn meaning(&'e self, standing: &'e Standing, inflows: &'e Inflows) -> Meaning<'e, 'a> {
        let mut sums: BTreeMap<&'e str, (Sides, Sides)> = BTreeMap::new();
        self.lines(standing, |line| {
            sums.entry(line.currency).or_default().0.add(line.side, line.amount);
        });
        for leg in &self.legs {
            for posting in &leg.opening.postings {
                sums.entry(&posting.currency).or_default().1.add(posting.side, posting.amount);
            }
        }
        let derived = self.derives();
        let totals = sums.into_iter().map(|(currency, (current, opening))| {
            let gross = current.gross();
            let reversed = sum_of(&inflows.reversed, currency);
            let refunded = sum_of(&inflows.refunded, currency);
            Total {
                currency,
                gross,
                corrected: if derived { 0 } else { gross - opening.gross() },
                net: checked_sum(checked_sum(gross, -reversed), -refunded),
                reversed,
                refunded,
                sides: current,
            }
        });
        Meaning { fold: self, standing, inflows, totals: totals.collect() }
    }
}

impl Meaning<'_, '_> {
    /// Returns the net by currency: what a target counts as reversed or refunded.
    ///
    /// A currency that the transaction has no row for still counts what is reversed or refunded
    /// in it, so that a reversal of too large a reversal is not lost.
    #[must_use]
    pub fn nets(&self) -> ByCurrency {
        let totals = self.totals.iter().map(|total| (total.currency.into(), total.net));
        let mut nets: ByCurrency = totals.collect();
        for (currency, units) in self.inflows.reversed.iter().chain(&self.inflows.refunded) {
            if self.total(currency).is_none() {
                add_to(&mut nets, currency, -units);
            }
        }
        nets
    }

    /// Returns what the transaction amounts to in a currency, if it has lines or openings in it.
    fn total(&self, currency: &str) -> Option<&Total<'_>> {
        let place = self.totals.binary_search_by(|total| total.currency.cmp(currency));
        place.ok().map(|place| &self.totals[place])
    }

    /// Returns the gross by currency, where it is not 0.
    #[must_use]
    pub fn grosses(&self) -> ByCurrency {
        let totals = self.totals.iter().filter(|total| total.gross != 0);
        totals.map(|total| (total.currency.into(), total.gross)).collect()
    }

    /// Says whether the lines are no longer current: those of a hold that is resolved.
    fn is_ended(&self) -> bool {
        self.inflows.resolved_by.is_some() && self.kind() == Some(Kind::Hold)
    }

    fn is_orphan(&self) -> bool {
        matches!(self.standing, Standing::Orphan(_))
    }

    fn kind(&self) -> Option<Kind> {
        self.fold.opening.map(|opening| opening.kind)
    }

    /// Returns the kind of an event without transaction.
    fn alone(&self) -> Option<Kind> {
        self.kind().filter(|kind| !kind.has_transaction())
    }
}
