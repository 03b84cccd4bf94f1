//! Random sets of events from so few names that everything collides with everything.

use proptest::prelude::*;
use trueup_ledger::{
    Amount, Declaration, Event, Fact, Kind, Overdraft, Posting, Side, Source, Terms, Timestamp,
};

use crate::harness::{
    Changed, Implementation, Input, Views, against_reference, changes, changes_of_cluster,
};

mod facts;

pub(crate) use facts::fact;

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
pub(crate) fn event() -> impl Strategy<Value = Event<'static>> {
    let names = (prop::bool::weighted(0.1), 0_u8..5, 0_u8..5, 0_u8..6);
    let kind = prop::sample::select(vec![
        Kind::Post,
        Kind::Post,
        Kind::Correct,
        Kind::Reverse,
        Kind::Reverse,
        Kind::Reverse,
        Kind::Refund,
        Kind::Hold,
        Kind::Hold,
        Kind::Capture,
        Kind::Capture,
        Kind::Release,
    ]);
    let rest = (0_i64..4, 0_i64..3, 2_u64..4, any::<bool>(), prop::option::of(1_u64..7));
    (names, kind, rest, postings(), posting()).prop_map(
        |((other, transaction, target, event_id), kind, rest, mut postings, fallback)| {
            let (recorded, effective, revision, leg, sequence) = rest;
            if kind == Kind::Refund && postings.is_empty() {
                postings.push(fallback);
            }
            if kind == Kind::Release {
                postings.clear();
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
                expires_at: (kind == Kind::Hold)
                    .then(|| Timestamp::from_parts(effective, 0).unwrap()),
                fact: None,
                postings,
            }
        },
    )
}

/// Mostly reversals of reversals: chains and circles that form, break and form anew.
pub(crate) fn link() -> impl Strategy<Value = Event<'static>> {
    (event(), 0_u8..8, 0_u8..8, 0_u8..3).prop_map(|(mut event, transaction, target, kind)| {
        event.transaction_id = format!("t{transaction}").into();
        event.tenant = "a".into();
        event.leg = "".into();
        if kind > 0 {
            become_link(&mut event, Kind::Reverse, target);
        }
        event
    })
}

/// Makes a link of an event, with the postings that it has.
fn become_link(event: &mut Event<'static>, kind: Kind, target: u8) {
    event.kind = kind;
    event.revision = 1;
    event.leg = "".into();
    event.expires_at = None;
    event.target = Some(format!("t{target}").into());
    if kind == Kind::Release {
        event.postings.clear();
    }
}

/// Few holds with many who resolve them, who are themselves corrected, reversed, refunded and
/// opened as something else.
pub(crate) fn resolution() -> impl Strategy<Value = Event<'static>> {
    let kind = prop::sample::select(vec![
        Kind::Capture,
        Kind::Capture,
        Kind::Capture,
        Kind::Release,
        Kind::Reverse,
        Kind::Refund,
    ]);
    let names = (0_u8..7, 0_u8..3, 0_u8..7);
    (event(), posting(), names, prop::option::weighted(0.6, kind)).prop_map(
        |(mut event, fallback, (transaction, hold, any), kind)| {
            event.tenant = "a".into();
            event.transaction_id = format!("t{transaction}").into();
            match kind {
                Some(kind) => {
                    become_link(&mut event, kind, if kind.resolves() { hold } else { any });
                    if kind == Kind::Refund && event.postings.is_empty() {
                        event.postings.push(fallback);
                    }
                }
                None if event.kind == Kind::Correct => {}
                None => {
                    event.transaction_id = format!("t{hold}").into();
                    event.kind = Kind::Hold;
                    event.target = None;
                    event.expires_at = Some(event.effective_at);
                }
            }
            event
        },
    )
}

/// Declarations of few accounts, whose contents conflict, among what moves these.
pub(crate) fn account() -> impl Strategy<Value = Event<'static>> {
    let terms = (any::<bool>(), any::<bool>(), 0_u8..4);
    (prop_oneof![2 => event(), 1 => resolution()], posting(), terms).prop_map(
        |(mut event, named, (is_credit, is_forbidden, place))| {
            // As many move money as declare how that is to be read.
            if place < 2 {
                return event;
            }
            event.kind = Kind::Account;
            event.transaction_id = "".into();
            event.leg = "".into();
            event.revision = 1;
            event.target = None;
            event.expires_at = None;
            event.postings.clear();
            let normal_side = if is_credit { Side::Credit } else { Side::Debit };
            let overdraft = if is_forbidden { Overdraft::Forbidden } else { Overdraft::Allowed };
            let terms = Terms { normal_side, overdraft };
            let declaration = Declaration { account: named.account, terms };
            event.fact = Some(Box::new(Fact::Account(declaration)));
            event
        },
    )
}

/// One long chain of reversals of reversals, in any order; a rival opening of one may bend its link
/// to anywhere, thus break the chain or close a circle in it.
fn chain() -> impl Strategy<Value = Vec<Event<'static>>> {
    (event(), link(), 3_usize..40).prop_flat_map(|(post, rival, length)| {
        let chain = (0..length).map(|place| {
            let mut event = if place == 0 { &post } else { &rival }.clone();
            event.tenant = "a".into();
            event.transaction_id = format!("t{place}").into();
            event.event_id = "e".into();
            event.revision = 1;
            event.leg = "".into();
            event.recorded_at = Timestamp::from_parts(2, 0).unwrap();
            event.kind = if place == 0 { Kind::Post } else { Kind::Reverse };
            event.expires_at = None;
            event.target = place.checked_sub(1).map(|target| format!("t{target}").into());
            if place > 0 {
                event.postings.clear();
            }
            event
        });
        let events: Vec<_> = chain.chain([rival.clone()]).collect();
        Just(events).prop_shuffle()
    })
}

/// Events in an order, with repeats, cut into epochs.
pub(crate) fn workload(
    event: impl Strategy<Value = Event<'static>>,
    length: usize,
) -> impl Strategy<Value = Vec<Vec<Event<'static>>>> {
    cut(prop::collection::vec(event, 1..length))
}

fn cut(
    events: impl Strategy<Value = Vec<Event<'static>>>,
) -> impl Strategy<Value = Vec<Vec<Event<'static>>>> {
    (
        events,
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

type Epochs = Vec<Vec<Event<'static>>>;

fn any_workload() -> impl Strategy<Value = Epochs> {
    prop_oneof![
        workload(event(), 24),
        workload(link(), 30),
        workload(resolution(), 24),
        workload(account(), 24),
        workload(fact(), 30),
        cut(chain()),
    ]
}

/// Holds the views of every epoch against the reference; returns the last.
fn holds(
    implementation: Implementation,
    input: &Input,
    workers: usize,
) -> Result<Option<Views>, TestCaseError> {
    let mut last = None;
    let outcome = against_reference(implementation, input, workers, |_, views| {
        last = Some(views.clone());
        Ok(())
    });
    outcome.map(|()| last).map_err(TestCaseError::fail)
}

fn workers() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1, 2, 4])
}

/// A set of events and the same in another order.
fn two_orders() -> impl Strategy<Value = [Vec<Event<'static>>; 2]> {
    let fact = fact().prop_filter("what a month holds depends on when it was closed", |event| {
        !event.kind.is_of_period()
    });
    prop::collection::vec(prop_oneof![event(), resolution(), account(), fact], 1..20)
        .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
        .prop_map(|(events, shuffled)| [events, shuffled])
}

/// The same set in another order and other epochs ends in the same views, as far as they are not of
/// time.
fn one_set_one_end(
    implementation: Implementation,
    [events, shuffled]: [Vec<Event<'static>>; 2],
) -> Result<(), TestCaseError> {
    let one_by_one: Vec<_> = shuffled.into_iter().map(|event| vec![event]).collect();
    let in_one = holds(implementation, &Input::at_one_time(&[events]), 2)?;
    let in_many = holds(implementation, &Input::at_one_time(&one_by_one), 2)?;
    prop_assert_eq!(in_one, in_many);
    Ok(())
}

/// Both change the same rows in the same epochs, however many workers each has.
fn same_changes(epochs: &Epochs, workers: [usize; 2]) -> Result<(), TestCaseError> {
    let input = Input::of(epochs);
    let engine = changes(Implementation::Engine, &input, workers[0]);
    let twin = changes(Implementation::Twin, &input, workers[1]);
    for (epoch, (engine, twin)) in engine.iter().zip(&twin).enumerate() {
        prop_assert_eq!(Changed::of(engine), Changed::of(twin), "epoch {}", epoch);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_events_in_the_engine(epochs in workload(event(), 24), workers in workers()) {
        holds(Implementation::Engine, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn chains_and_circles_in_the_engine(epochs in workload(link(), 30), workers in workers()) {
        holds(Implementation::Engine, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn holds_in_the_engine(epochs in workload(resolution(), 24), workers in workers()) {
        holds(Implementation::Engine, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn accounts_in_the_engine(epochs in workload(account(), 24), workers in workers()) {
        holds(Implementation::Engine, &Input::of(&epochs), workers)?;
    }

    // spec: "Every view is a function of the *set* of accepted events. Arrival order, batch cuts"
    #[test]
    fn facts_in_the_engine(epochs in workload(fact(), 40), workers in workers()) {
        holds(Implementation::Engine, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn any_order_of_one_set_in_the_engine(orders in two_orders()) {
        one_set_one_end(Implementation::Engine, orders)?;
    }
}

// Long chains are slow to judge, and the twin is slow: fewer cases.
proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    // spec: "chains of any depth, arriving in any order"
    #[test]
    fn long_chains_in_the_engine(epochs in cut(chain()), workers in workers()) {
        holds(Implementation::Engine, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn any_events_in_the_twin(epochs in workload(event(), 24), workers in workers()) {
        holds(Implementation::Twin, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn chains_and_circles_in_the_twin(epochs in workload(link(), 30), workers in workers()) {
        holds(Implementation::Twin, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn holds_in_the_twin(epochs in workload(resolution(), 24), workers in workers()) {
        holds(Implementation::Twin, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn accounts_in_the_twin(epochs in workload(account(), 24), workers in workers()) {
        holds(Implementation::Twin, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn facts_in_the_twin(epochs in workload(fact(), 30), workers in workers()) {
        holds(Implementation::Twin, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn long_chains_in_the_twin(epochs in cut(chain()), workers in workers()) {
        holds(Implementation::Twin, &Input::of(&epochs), workers)?;
    }

    #[test]
    fn any_order_of_one_set_in_the_twin(orders in two_orders()) {
        one_set_one_end(Implementation::Twin, orders)?;
    }

    #[test]
    fn both_change_the_same_rows(
        epochs in any_workload(),
        engine in workers(),
        twin in workers(),
    ) {
        same_changes(&epochs, [engine, twin])?;
    }

    /// What travels between processes is encoded, what travels between threads is not.
    // spec: "worker and process counts"
    #[test]
    fn processes_change_the_same_rows_as_threads(
        epochs in any_workload(),
        processes in 2_usize..4,
    ) {
        let input = Input::of(&epochs);
        let threads = changes(Implementation::Engine, &input, 2);
        let cluster = changes_of_cluster(&input, processes);
        for (epoch, (threads, cluster)) in threads.iter().zip(&cluster).enumerate() {
            prop_assert_eq!(Changed::of(threads), Changed::of(cluster), "epoch {}", epoch);
        }
    }
}
