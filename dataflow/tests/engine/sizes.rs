//! Epochs of sizes that are borders within timely.

use timely::container::buffer::default_capacity;
use trueup_dataflow::record::EventRecord;
use trueup_ledger::{Event, Kind, Source, Timestamp};

use crate::harness::{Implementation, Input, against_reference};

fn event(number: usize) -> Event<'static> {
    Event {
        tenant: "a".into(),
        transaction_id: format!("t{number}").into(),
        event_id: "e".into(),
        kind: Kind::Post,
        leg: "".into(),
        revision: 1,
        effective_at: Timestamp::from_parts(0, 0).unwrap(),
        recorded_at: Timestamp::from_parts(0, 0).unwrap(),
        source: Source { service: "s".into(), sequence: None },
        target: None,
        expires_at: None,
        fact: None,
        postings: Vec::new(),
    }
}

/// Timely's exchange keeps what does not fill a buffer until it is told to flush, and timely 0.31
/// does not tell it where the last of an input's buffers left just before a step: an epoch of
/// exactly so many events never ended.
#[test]
fn epochs_that_fill_whole_buffers_end() {
    let capacity = default_capacity::<EventRecord>();
    for workers in [1, 2, 3] {
        for buffers in [1, 2, 5] {
            // One epoch only: the next one would push out what is kept back.
            for events in [capacity * buffers * workers, capacity * buffers * workers + 1] {
                let epoch = (0..events).map(event).collect();
                let input = Input::of(&[epoch]);
                let outcome =
                    against_reference(Implementation::Engine, &input, workers, |_, _| Ok(()));
                assert_eq!(outcome, Ok(()), "{events} events on {workers} workers");
            }
        }
    }
}
