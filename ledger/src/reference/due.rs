//! What depends on the epoch time of a transaction's events (SPEC §4): `stuck_hold`, which is due when
//! a hold should have ended, and `delayed_event`, which is judged once, when an event arrives.

use serde_json::json;

use super::imbalances::{Imbalance, WARNING, escape};
use super::{Books, Reference};
use crate::table::Row;
use crate::{Event, Kind, Timestamp};

/// Holds that nobody has resolved though they should have ended before `now`.
pub(super) fn stuck_holds(books: &Books<'_>, now: i64) -> Vec<Row> {
    let mut all = Vec::new();
    for (index, transaction) in books.transactions.iter().enumerate() {
        let Some(hold) = transaction.first.filter(|first| first.kind == Kind::Hold) else {
            continue;
        };
        let Some(expires_at) = hold.expires_at else {
            continue;
        };
        if books.resolvers[index].is_some() || Timestamp::from_micros(now) <= expires_at {
            continue;
        }
        for total in books.totals[index].iter().filter(|total| total.gross != 0) {
            let imbalance = Imbalance {
                tenant: transaction.tenant,
                detector: "stuck_hold",
                subject: transaction.id,
                currency: total.currency,
                amount: total.gross,
                severity: WARNING,
                detail: json!({
                    "events": transaction.first_events(),
                    "expires_at": Timestamp::display_micros(expires_at.micros()),
                }),
            };
            all.push(imbalance.row());
        }
    }
    all
}

/// Events in effect that arrived later than the rules allow.
pub(super) fn delayed_events(books: &Books<'_>, set: &Reference) -> Vec<Row> {
    let mut all = Vec::new();
    for transaction in books.transactions {
        for leg in &transaction.legs {
            let subject = format!("{}/{}", escape(transaction.id), escape(&leg.current.event_id));
            all.extend(delayed_event(set, leg.current, leg.arrived, &subject));
        }
    }
    for one in books.alone {
        let subject = format!("/{}/{}", one.event.kind.name(), escape(&one.event.event_id));
        all.extend(delayed_event(set, &one.event, one.arrived, &subject));
    }
    all
}

fn delayed_event(set: &Reference, event: &Event<'_>, arrived: usize, subject: &str) -> Option<Row> {
    let delayed = set.rules.delayed.as_ref()?;
    let delay = delayed.delay(event.recorded_at, set.epoch_time(arrived))?;
    let imbalance = Imbalance {
        tenant: &event.tenant,
        detector: "delayed_event",
        subject,
        currency: "",
        amount: 0,
        severity: WARNING,
        detail: json!({
            "delay_seconds": (delay / 1_000_000).to_string(),
            "event_id": event.event_id,
            "recorded_at": Timestamp::display_micros(event.recorded_at.micros()),
        }),
    };
    Some(imbalance.row())
}
