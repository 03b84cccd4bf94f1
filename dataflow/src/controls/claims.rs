//! What a service says of ranges of its sequence, held against what was applied of each.
//!
//! State: for each range what is said of it, of which the newest counts, and the sums of what was
//! applied in it; which of them mismatch; how far those that match reach. All of a service is one
//! value of the store.
//!
//! Ranges may overlap, though those of a kind (of hours, of days) rarely do. They are ordered by how
//! wide they are, to a power of two, then by where they begin: of one width only those can
//! hold a sequence that begin less than that before it. What an epoch brings is held against these
//! and no others, and hours are not searched because a year is there too.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup_ledger::Timestamp;
use trueup_ledger::codec::{CodecError, Reader, put_text, put_timestamp, put_varint};

use super::blocks::summed;
use super::completeness::Completeness;
use super::gather::Arrived;
use super::sums::Sums;
use crate::detectors::control_total_mismatch::{Mismatch, mismatches};
use crate::facts::Control;
use crate::store::{Encode, StateValue};
use crate::views::source_continuity::{Continuity, RangeSet};

/// A range of sequences, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    /// The logarithm of how many sequences there are.
    width: u32,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Range {
    pub(super) fn new(from: u64, to: u64) -> Range {
        assert!(1 <= from && from <= to && i64::try_from(to).is_ok(), "{from}-{to} was admitted");
        Range { width: (to - from + 1).ilog2(), from, to }
    }

    /// Returns where a range of a width begins that holds a sequence: there, or behind.
    fn earliest(width: u32, sequence: u64) -> u64 {
        // No range is wider by one than the doubled width.
        let widest = u64::MAX >> (63 - width);
        sequence.saturating_sub(widest - 1)
    }
}

/// What is said of a range. The greatest counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    recorded_at: Timestamp,
    event_id: Reverse<Box<str>>,
    sums: Sums,
}

/// What is said of a range, and what was applied of it.
#[derive(Clone, Debug, Default)]
struct Claimed {
    claims: BTreeSet<Claim>,
    applied: Sums,
}

impl Claimed {
    /// Returns in what both differ, or `None` where nothing is said.
    fn judge(&self) -> Option<Vec<Mismatch>> {
        self.claims.last().map(|claim| mismatches(&self.applied, &claim.sums))
    }

    fn matches(&self) -> bool {
        self.claims.last().is_some_and(|claim| claim.sums == self.applied)
    }
}

/// What was found of the ranges that an epoch touches, before it.
pub(super) type Before = BTreeMap<Range, Option<Vec<Mismatch>>>;

/// A range of which something else is found than before, with what was and what is.
pub(super) type Judged = (Range, Vec<Mismatch>, Vec<Mismatch>);

/// The ranges of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Which large blocks of what was sent there are.
    pub(super) present: RangeSet,
    /// Shared with the checkpoint under way as far as they have not changed.
    ranges: BTreeMap<Range, Arc<Claimed>>,
    /// Where those that mismatch begin and end.
    mismatched: BTreeSet<(u64, u64)>,
    /// The first sequence seen of the service; 0 where none is.
    first: u64,
    /// The last sequence that is covered without a hole from the first on, or the one before that.
    covered: u64,
}

impl Claims {
    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty() && self.ranges.is_empty()
    }

    /// Returns how complete a service is.
    pub(super) fn completeness(&self, continuity: Continuity) -> Completeness {
        let Continuity { first, contiguous_through, max, .. } = continuity;
        let before = self.mismatched.first().map_or(contiguous_through, |(from, _)| from - 1);
        let through = contiguous_through.min(before);
        let from_first = |through: u64| if through < first { 0 } else { through };
        Completeness {
            complete_through: from_first(through),
            verified_through: from_first(self.covered),
            max,
        }
    }

    /// Adds what had not been sent before to the ranges that hold it.
    pub(super) fn add(&mut self, arrived: &Arrived, before: &mut Before) {
        let sent = &arrived.sent;
        // Ranges that overlap often hold the same of what an epoch brings.
        let mut known = ((0, 0), Sums::default());
        let mut width = 0;
        while let Some((&Range { width: next, .. }, _)) =
            self.ranges.range(Range { width, from: 0, to: 0 }..).next()
        {
            let mut at = Range { width: next, from: 0, to: 0 };
            let mut place = 0;
            while place < sent.len() {
                let earliest = Range::earliest(next, sent[place].sequence);
                if at.from < earliest {
                    at = Range { width: next, from: earliest, to: 0 };
                }
                let Some((range, claimed)) = self.ranges.range_mut(at..).next() else { break };
                let range = *range;
                if range.width != next {
                    break;
                }
                // Of what begins no earlier, nothing holds what comes before.
                place += sent[place..].partition_point(|row| row.sequence < range.from);
                let end = place + sent[place..].partition_point(|row| row.sequence <= range.to);
                if place < end {
                    if known.0 != (place, end) {
                        known = ((place, end), summed(&sent[place..end], &arrived.currencies));
                    }
                    before.entry(range).or_insert_with(|| claimed.judge());
                    Arc::make_mut(claimed).applied.add(&known.1);
                }
                at = Range { to: range.to + 1, ..range };
            }
            width = next + 1;
        }
    }

    /// Takes in what comes to be said (`diff` 1) or ceases to (-1). `sum` sums a range of which nothing
    /// has been said.
    pub(super) fn say(
        &mut self,
        control: Control,
        diff: i8,
        sum: impl FnOnce(&RangeSet, (u64, u64)) -> Sums,
        before: &mut Before,
    ) {
        let range = Range::new(control.from, control.to);
        let claimed = self.ranges.entry(range).or_insert_with(|| {
            let applied = sum(&self.present, (control.from, control.to));
            Arc::new(Claimed { applied, ..Claimed::default() })
        });
        before.entry(range).or_insert_with(|| claimed.judge());
        let claim = Claim {
            recorded_at: control.recorded_at,
            event_id: Reverse(control.event_id),
            sums: Sums { count: control.count, totals: control.totals },
        };
        let claims = &mut Arc::make_mut(claimed).claims;
        let fits = if diff > 0 { claims.insert(claim) } else { claims.remove(&claim) };
        assert!(fits, "a control total comes once and goes once");
    }

    /// Judges the ranges that an epoch has touched; returns those of which something else is found.
    /// `first` is the first sequence seen, 0 for none.
    pub(super) fn judge(&mut self, first: u64, before: Before) -> Vec<Judged> {
        if self.first != first {
            self.first = first;
            self.covered = first.saturating_sub(1);
        }
        let mut judged = Vec::new();
        for (range, before) in before {
            let ends = (range.from, range.to);
            let after = self.ranges.get(&range).and_then(|claimed| claimed.judge());
            if after.is_none() {
                self.ranges.remove(&range);
            }
            if after.as_ref().is_some_and(|found| !found.is_empty()) {
                self.mismatched.insert(ends);
            } else {
                self.mismatched.remove(&ends);
            }
            let matched = |found: &Option<Vec<Mismatch>>| found.as_ref().is_some_and(Vec::is_empty);
            if matched(&before) && !matched(&after) {
                // What comes before is covered by others.
                self.covered = self.covered.min(range.from - 1).max(first.saturating_sub(1));
            }
            let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
            if before != after {
                judged.push((range, before, after));
            }
        }
        if first > 0 {
            while let Some(to) = self.reach(self.covered + 1) {
                self.covered = to;
            }
        }
        judged
    }

    /// Returns how far ranges that match reach of those that hold a sequence.
    fn reach(&self, sequence: u64) -> Option<u64> {
        let mut farthest = None;
        let mut width = 0;
        while let Some((&Range { width: next, .. }, _)) =
            self.ranges.range(Range { width, from: 0, to: 0 }..).next()
        {
            let from = Range { width: next, from: Range::earliest(next, sequence), to: 0 };
            let to = Range { width: next, from: sequence, to: u64::MAX };
            let holding = self.ranges.range(from..=to).filter(|(range, claimed)| {
                range.to >= sequence && farthest < Some(range.to) && claimed.matches()
            });
            let last = holding.map(|(range, _)| range.to).max();
            farthest = farthest.max(last);
            width = next + 1;
        }
        farthest
    }
}

impl Encode for Claims {
    fn encode(&self, out: &mut Vec<u8>) {
        self.present.encode(out);
        put_varint(out, u128::from(self.first));
        put_varint(out, u128::from(self.covered));
        for (range, claimed) in &self.ranges {
            put_varint(out, u128::from(range.from));
            put_varint(out, u128::from(range.to));
            claimed.applied.encode(out);
            put_varint(out, claimed.claims.len() as u128);
            for claim in &claimed.claims {
                put_timestamp(out, claim.recorded_at);
                put_text(out, &claim.event_id.0);
                claim.sums.encode(out);
            }
        }
    }
}

impl StateValue for Claims {
    fn decode(reader: &mut Reader<'_>) -> Result<Claims, CodecError> {
        let mut claims = Claims { present: RangeSet::decode(reader)?, ..Claims::default() };
        claims.first = reader.varint_u64()?;
        claims.covered = reader.varint_u64()?;
        while !reader.is_empty() {
            let (from, to) = (reader.varint_u64()?, reader.varint_u64()?);
            if from == 0 || to < from || i64::try_from(to).is_err() {
                return Err(CodecError);
            }
            let mut claimed = Claimed { applied: Sums::decode(reader)?, ..Claimed::default() };
            for _ in 0..reader.length()? {
                let recorded_at = reader.timestamp()?;
                let event_id = Reverse(reader.text()?.into());
                let sums = Sums::decode(reader)?;
                claimed.claims.insert(Claim { recorded_at, event_id, sums });
            }
            if !claimed.matches() {
                claims.mismatched.insert((from, to));
            }
            claims.ranges.insert(Range::new(from, to), Arc::new(claimed));
        }
        Ok(claims)
    }

    fn heap_bytes(&self) -> usize {
        // Counting would cost as much as there are ranges: nearly all have one claim in one or two
        // currencies.
        self.present.heap_bytes() + self.ranges.len() * (size_of::<(Range, Claimed)>() + 256)
    }
}
