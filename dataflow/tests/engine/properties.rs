//! Random sets of events from so few names that everything collides with everything.

use proptest::prelude::*;
use trueup_ledger::{Amount, Event, Kind, Posting, Side, Source, Timestamp};

use crate::harness::against_reference;

fn posting() -> impl Strategy<Value = Posting<'static>> {
    let account = prop::sample::select(vec!["cash", "revenue", "tax:päid"]);
    let currency = prop::sample::select(vec!["EUR", "USD"]);
    (account, any::<bool>(), 0_i128..4, currency).prop_map(|(account, debit, units, currency)| {
        Posting {
            account: account.into(),
            side: if debit { Side::Debit } else { Side::Credit },
            amount: Amount(units * 1_000_000_000),
            currency: currency.into(),
        }
    })
}

fn postings() -> impl Strategy<Value = Vec<Posting<'static>>> {
    prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec(posting(), 1..3),
    ]
}

/// Four transactions of two tenants, mostly of one.
fn event() -> impl Strategy<Value = Event<'static>> {
    let names = (prop::bool::weighted(0.1), 0_u8..5, 0_u8..5, 0_u8..6);
    let kind = prop::sample::select(vec![
        Kind::Post,
        Kind::Post,
        Kind::Correct,
        Kind::Reverse,
        Kind::Reverse,
        Kind::Reverse,
        Kind::Refund,
    ]);
    let rest = (0_i64..4, 0_i64..3, 2_u64..4, any::<bool>(), prop::option::of(1_u64..7));
    (names, kind, rest, postings(), posting()).prop_map(
        |((other, transaction, target, event_id), kind, rest, mut postings, fallback)| {
            let (recorded, effective, revision, leg, sequence) = rest;
            if kind == Kind::Refund && postings.is_empty() {
                postings.push(fallback);
            }
            let has_leg = leg && !kind.is_link();
            Event {
                tenant: if other { "b" } else { "a" }.into(),
                transaction_id: format!("t{transaction}").into(),
                event_id: format!("e{event_id}").into(),
                kind,
                leg: if has_leg { "fees" } else { "" }.into(),
                revision: if kind.is_opening() { 1 } else { revision },
                effective_at: Timestamp::from_parts(effective * 86_400, 0).unwrap(),
                recorded_at: Timestamp::from_parts(recorded, 0).unwrap(),
                source: Source { service: "s".into(), sequence },
                target: kind.is_link().then(|| format!("t{target}").into()),
                postings,
            }
        },
    )
}

/// Mostly reversals of reversals: chains and circles that form, break and form anew.
fn link() -> impl Strategy<Value = Event<'static>> {
    (event(), 0_u8..8, 0_u8..8, 0_u8..3).prop_map(|(mut event, transaction, target, kind)| {
        event.transaction_id = format!("t{transaction}").into();
        event.tenant = "a".into();
        event.leg = "".into();
        if kind > 0 {
            event.kind = Kind::Reverse;
            event.revision = 1;
            event.target = Some(format!("t{target}").into());
        }
        event
    })
}

/// Events in an order, with repeats, cut into epochs.
fn workload(
    event: impl Strategy<Value = Event<'static>>,
    length: usize,
) -> impl Strategy<Value = Vec<Vec<Event<'static>>>> {
    (
        prop::collection::vec(event, 1..length),
        prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        prop::collection::vec(1_usize..6, 1..12),
    )
        .prop_map(|(mut events, repeats, cuts)| {
            for repeat in repeats {
                events.push(events[repeat.index(events.len())].clone());
            }
            let mut epochs = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !events.is_empty() {
                let cut = (*cuts.next().unwrap()).min(events.len());
                epochs.push(events.drain(..cut).collect());
            }
            epochs
        })
}

fn holds(epochs: &[Vec<Event<'static>>], workers: usize) -> Result<(), TestCaseError> {
    against_reference(epochs, workers, |_, _| Ok(())).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_events_in_any_epochs(epochs in workload(event(), 24), workers in 1_usize..3) {
        holds(&epochs, workers)?;
    }

    #[test]
    fn chains_and_circles(epochs in workload(link(), 30), workers in prop::sample::select(vec![1, 2, 4])) {
        holds(&epochs, workers)?;
    }

    /// The same set in another order and other epochs ends in the same views: both runs are
    /// compared with the one reference, so here it is enough that the order is any.
    #[test]
    fn any_order_of_one_set(
        (events, seed) in (prop::collection::vec(event(), 1..20), any::<u64>()),
    ) {
        let mut shuffled = events.clone();
        let length = shuffled.len() as u64;
        for place in (1..shuffled.len()).rev() {
            let other = seed.wrapping_mul(place as u64 + 7).wrapping_add(length) % (place as u64 + 1);
            shuffled.swap(place, usize::try_from(other).unwrap());
        }
        let last_views = |epochs: &[Vec<Event<'static>>]| {
            let mut last = None;
            against_reference(epochs, 2, |_, views| {
                last = Some(views.clone());
                Ok(())
            })
            .map(|()| last)
        };
        let in_one = last_views(&[events]).map_err(TestCaseError::fail)?;
        let one_by_one: Vec<_> = shuffled.into_iter().map(|event| vec![event]).collect();
        let in_many = last_views(&one_by_one).map_err(TestCaseError::fail)?;
        prop_assert_eq!(in_one, in_many);
    }
}
