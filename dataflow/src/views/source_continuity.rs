//! `source_continuity`: how completely the sequence of each service has arrived.
//!
//! In: the collection of services with their continuity; `controls` keeps it, beside what
//! else is kept of a sequence. Out: its rows. Key: tenant, service. State: none; the set of numbers
//! seen, as that operator keeps it, is defined here.

use std::collections::BTreeMap;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use trueup_ledger::View;
use trueup_ledger::codec::{CodecError, Reader, put_varint};
use trueup_ledger::key::name_hash;
use trueup_ledger::table::Value;

use crate::publish::tabulate;
use crate::store::{Encode, KeyBytes, Space, StateKey, StateValue};
use crate::transactions::Tables;

/// How far a service's sequence has come; see `docs/spec-decisions.md` for where it begins.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Continuity {
    /// The smallest number seen.
    pub first: u64,
    /// The last of the unbroken run from the first.
    pub contiguous_through: u64,
    /// The largest number seen.
    pub max: u64,
    /// How many between first and max have not been seen.
    pub missing: u64,
}

/// A tenant's service.
pub(crate) type Service = (Box<str>, Box<str>);

/// A set of numbers as disjoint ranges that do not touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeSet {
    /// First number to last number.
    ranges: BTreeMap<u64, u64>,
    /// How many numbers there are, so that many gaps cost nothing to count.
    seen: u64,
}

impl RangeSet {
    /// Adds `first..=last`.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        if let Some((start, end)) = self.ranges.range(..=first).next_back()
            && *end >= first.saturating_sub(1)
        {
            (first, last) = (*start, last.max(*end));
        }
        while let Some((start, end)) = self.ranges.range(first..=last.saturating_add(1)).next() {
            let (start, end) = (*start, *end);
            last = last.max(end);
            self.seen -= end - start + 1;
            self.ranges.remove(&start);
        }
        self.seen += last - first + 1;
        self.ranges.insert(first, last);
    }

    /// Says whether there is no number.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns what of the set is in `first..=last`, as ranges in order.
    pub(crate) fn within(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.ranges.range(..=first).next_back();
        // An empty range where nothing can follow.
        let behind =
            self.ranges.range(first.saturating_add(1)..last.saturating_add(1).max(first + 1));
        let all = before.into_iter().chain(behind);
        all.map(move |(start, end)| (first.max(*start), last.min(*end)))
            .filter(|(start, end)| start <= end)
    }

    /// Returns how continuous the set is, unless it is empty.
    pub(crate) fn continuity(&self) -> Option<Continuity> {
        let (first, contiguous_through) = self.ranges.first_key_value()?;
        let (_, max) = self.ranges.last_key_value()?;
        Some(Continuity {
            first: *first,
            contiguous_through: *contiguous_through,
            max: *max,
            missing: max - first + 1 - self.seen,
        })
    }
}

/// The key of a tenant's service: 128 bits of BLAKE3 over both names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServiceKey(pub(crate) u128);

impl ServiceKey {
    pub(crate) fn of(tenant: &str, service: &str) -> ServiceKey {
        ServiceKey(name_hash(&[tenant, service]))
    }

    /// Returns the shard, which decides which worker keeps what belongs to the service.
    pub(crate) fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl StateKey for ServiceKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<ServiceKey, CodecError> {
        Ok(ServiceKey(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?)))
    }
}

impl Encode for RangeSet {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.ranges.len() as u128);
        for (first, last) in &self.ranges {
            put_varint(out, u128::from(*first));
            put_varint(out, u128::from(last - first));
        }
    }
}

impl StateValue for RangeSet {
    fn decode(reader: &mut Reader<'_>) -> Result<RangeSet, CodecError> {
        let mut set = RangeSet::default();
        for _ in 0..reader.length()? {
            let first = reader.varint_u64()?;
            let last = first.checked_add(reader.varint_u64()?).ok_or(CodecError)?;
            set.seen += last - first + 1;
            set.ranges.insert(first, last);
        }
        Ok(set)
    }

    fn heap_bytes(&self) -> usize {
        self.ranges.len() * 2 * size_of::<(u64, u64)>()
    }
}

/// Sequences are admitted up to 63 bits.
pub(crate) fn integer(value: u64) -> Value<'static> {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Builds the view.
pub(crate) fn source_continuity<'s>(
    continuities: VecCollection<'s, u64, (Service, Continuity), isize>,
) -> Tables<'s> {
    tabulate(continuities, View::SourceContinuity, |((tenant, service), state), table, diff| {
        let row = [
            Value::Text(tenant),
            Value::Text(service),
            integer(state.first),
            integer(state.contiguous_through),
            integer(state.max),
            integer(state.missing),
        ];
        table.push(&row, diff);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continuity(ranges: &[(u64, u64)]) -> (u64, u64, u64, u64) {
        let mut set = RangeSet::default();
        ranges.iter().for_each(|(first, last)| set.insert(*first, *last));
        let state = set.continuity().unwrap();
        (state.first, state.contiguous_through, state.max, state.missing)
    }

    #[test]
    fn what_is_within() {
        let mut set = RangeSet::default();
        [(3, 5), (9, 9), (20, 30)].iter().for_each(|(first, last)| set.insert(*first, *last));
        let rows: &[((u64, u64), &[(u64, u64)])] = &[
            ((1, 2), &[]),
            ((1, u64::MAX >> 1), &[(3, 5), (9, 9), (20, 30)]),
            ((4, 4), &[(4, 4)]),
            ((5, 20), &[(5, 5), (9, 9), (20, 20)]),
            ((6, 8), &[]),
            ((25, 100), &[(25, 30)]),
            ((31, 31), &[]),
        ];
        for ((first, last), expected) in rows {
            assert_eq!(
                set.within(*first, *last).collect::<Vec<_>>(),
                *expected,
                "{first} to {last}"
            );
        }
    }

    #[test]
    fn ranges_join() {
        let rows: &[(&[(u64, u64)], (u64, u64, u64, u64))] = &[
            (&[(1, 1)], (1, 1, 1, 0)),
            (&[(1, 1), (2, 2)], (1, 2, 2, 0)),
            (&[(2, 2), (1, 1)], (1, 2, 2, 0)),
            (&[(1, 3), (5, 9)], (1, 3, 9, 1)),
            (&[(1, 3), (5, 9), (4, 4)], (1, 9, 9, 0)),
            (&[(5, 9), (1, 20)], (1, 20, 20, 0)),
            (&[(1, 20), (5, 9)], (1, 20, 20, 0)),
            (&[(7, 7), (3, 3)], (3, 3, 7, 3)),
            (&[(3, 5), (9, 9), (4, 10)], (3, 10, 10, 0)),
            (&[(1 << 62, 1 << 62), (1, 1)], (1, 1, 1 << 62, (1 << 62) - 2)),
        ];
        for (ranges, expected) in rows {
            assert_eq!(continuity(ranges), *expected, "{ranges:?}");
        }
    }
}
