//! Blocks against a plain list of contents.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Places about the ends of small and large blocks, and the largest sequence there is.
fn sequences() -> impl Strategy<Value = u64> {
    let about = |middle: u64| middle.saturating_sub(3).max(1)..middle.saturating_add(4);
    prop_oneof![
        about(4),
        about(256),
        about(512),
        about(65_536),
        about(65_536 + 256),
        about(131_072),
        about(1 << 40),
        ((1_u64 << 63) - 4)..(1_u64 << 63),
    ]
}

/// A content and what it carries, by currency.
type Content = (u64, u64, BTreeMap<usize, (i128, i128)>);

/// Of a sequence there are three contents at most; what each carries follows from it.
fn contents() -> impl Strategy<Value = Content> {
    (sequences(), 0_u64..3).prop_map(|(sequence, hash)| {
        let amount = i128::from(sequence % 1000 * 3 + hash);
        let carried = match sequence % 4 {
            0 => BTreeMap::new(),
            1 => BTreeMap::from([(0, (amount, amount))]),
            2 => BTreeMap::from([(0, (amount, 0)), (1, (0, amount))]),
            _ => BTreeMap::from([(1, (0, 0)), (2, (1 << 100, amount))]),
        };
        (sequence, hash, carried)
    })
}

const CURRENCIES: [&str; 3] = ["EUR", "USD", "XAU"];

fn arrived(contents: &[Content]) -> Arrived {
    let mut arrived =
        Arrived { currencies: CURRENCIES.map(Into::into).to_vec(), ..Arrived::default() };
    for (sequence, hash, carried) in contents.iter().collect::<BTreeSet<_>>() {
        let row = |currency, debit, credit| Sent {
            sequence: *sequence,
            hash: *hash,
            currency,
            debit,
            credit,
        };
        if carried.is_empty() {
            arrived.sent.push(row(None, 0, 0));
        }
        let rows =
            carried.iter().map(|(currency, (debit, credit))| row(Some(*currency), *debit, *credit));
        arrived.sent.extend(rows);
    }
    arrived
}

fn naive(contents: &BTreeSet<Content>, (from, to): (u64, u64)) -> Sums {
    let mut sums = Sums::default();
    let mut totals: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for (.., carried) in contents.iter().filter(|content| (from..=to).contains(&content.0)) {
        sums.count += 1;
        for (currency, (debit, credit)) in carried {
            let sum = totals.entry(CURRENCIES[*currency]).or_default();
            *sum = (sum.0 + debit, sum.1 + credit);
        }
    }
    totals.retain(|_, sum| *sum != (0, 0));
    sums.totals = totals.into_iter().map(|(name, (d, c))| (name.into(), d, c)).collect();
    sums
}

fn again<V: StateValue>(value: &V) -> V {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    V::decode(&mut Reader::new(&bytes)).unwrap()
}

proptest! {
    #[test]
    fn any_range_is_summed_exactly(
        batches in proptest::collection::vec(proptest::collection::vec(contents(), 1..30), 1..6),
        ranges in proptest::collection::vec((sequences(), sequences()), 1..12),
    ) {
        let state = WorkerState::new(None, 0, 1);
        let blocks = Blocks::new(&state);
        let (service, other) = (ServiceKey(7), ServiceKey(8));
        let mut present = RangeSet::default();
        let mut known: BTreeSet<Content> = BTreeSet::new();
        for batch in batches {
            let mut sent = arrived(&batch);
            blocks.add(service, &mut sent, &mut present);
            let fresh: BTreeSet<_> = batch.into_iter().filter(|one| !known.contains(one)).collect();
            let expected = arrived(&fresh.iter().cloned().collect::<Vec<_>>());
            prop_assert_eq!(&sent.sent, &expected.sent);
            known.extend(fresh);
            let whole = (1, (1 << 63) - 1);
            let ranges = ranges.iter().map(|(a, b)| (*a.min(b), *a.max(b)));
            for range in ranges.chain([whole]) {
                prop_assert_eq!(blocks.sum(service, &present, range), naive(&known, range));
                prop_assert_eq!(blocks.sum(other, &RangeSet::default(), range), Sums::default());
            }
        }
    }

    #[test]
    fn a_block_is_read_as_it_was_written(contents in proptest::collection::vec(contents(), 1..40)) {
        let sent = arrived(&contents);
        let mut block = Block::default();
        for rows in sent.sent.chunk_by(|row, next| row.sequence >> SMALL_BITS == next.sequence >> SMALL_BITS) {
            block = Block::default();
            block.add(rows, &sent.currencies);
            prop_assert_eq!(&again(&block), &block);
        }
        let sums = summed(&sent.sent, &sent.currencies);
        prop_assert_eq!(again(&sums), sums);
        let mut cut = block.rows.clone();
        cut.pop();
        prop_assert!(Block::decode(&mut Reader::new(&cut)).is_err());
    }
}

#[test]
fn a_wide_range_visits_what_there_is() {
    let state = WorkerState::new(None, 0, 1);
    let blocks = Blocks::new(&state);
    let service = ServiceKey(1);
    let mut present = RangeSet::default();
    let far = (1 << 63) - 1;
    let mut sent = arrived(&[(1, 0, BTreeMap::new()), (far, 0, BTreeMap::new())]);
    blocks.add(service, &mut sent, &mut present);
    // Would not end if it went through all blocks.
    for (range, count) in [((1, far), 2), ((2, far - 1), 0), ((2, far), 1), ((far, far), 1)] {
        assert_eq!(blocks.sum(service, &present, range).count, count, "{range:?}");
    }
}
