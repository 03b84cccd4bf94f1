//! Identity, openings and revisions (SPEC §3, Identity and Current): from contents to events and
//! from events to transactions. Knows nothing of other transactions, thus nothing of links.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::Content;
use crate::codec::content_hash;
use crate::{Event, Kind};

/// The content that counts for one identity.
pub(super) struct Identified<'a> {
    pub(super) event: Event<'a>,
    /// The place of the epoch in which this content arrived.
    pub(super) arrived: usize,
    /// Whether other contents claim the same identity.
    pub(super) is_contested: bool,
}

/// A leg that has been opened: revision 1 and the highest revision.
pub(super) struct Leg<'a> {
    pub(super) opening: &'a Event<'a>,
    pub(super) current: &'a Event<'a>,
    /// The place of the epoch in which the current revision arrived.
    pub(super) arrived: usize,
}

/// What the events of one transaction say among themselves.
pub(super) struct Transaction<'a> {
    pub(super) tenant: &'a str,
    pub(super) id: &'a str,
    /// The smallest opening, which decides kind and target; `None` where there are corrections
    /// only.
    pub(super) first: Option<&'a Event<'a>>,
    /// By name.
    pub(super) legs: Vec<Leg<'a>>,
    /// The corrections whose leg has no opening, by event id.
    pub(super) unopened: Vec<&'a Event<'a>>,
    /// The event ids that stand for something without effect.
    pub(super) conflicts: BTreeSet<&'a str>,
}

impl<'a> Transaction<'a> {
    /// Returns the kind of the opening.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.first.map(|first| first.kind)
    }

    /// Returns the target of the opening.
    pub(super) fn target(&self) -> Option<&'a str> {
        self.first.and_then(|first| first.target.as_deref())
    }

    /// Returns the opening of a reversal or capture whose current revision leaves its lines to be
    /// derived.
    pub(super) fn derives(&self) -> Option<&'a Event<'a>> {
        let leg = self.legs.first()?;
        (leg.current.revision == 1 && leg.current.derives()).then_some(leg.current)
    }

    /// Returns the ids of the first events in effect, at most three, by seniority; of a transaction
    /// that has none, those of its corrections.
    pub(super) fn first_events(&self) -> Vec<&'a str> {
        let mut events: Vec<_> = self.legs.iter().map(|leg| leg.current).collect();
        if events.is_empty() {
            events.clone_from(&self.unopened);
        }
        events.sort_by_key(|event| event.seniority());
        events.into_iter().take(3).map(|event| event.event_id.as_ref()).collect()
    }
}

/// Chooses the content of each identity: the smallest (`recorded_at`, content hash), then bytes.
/// The contents come in order, each with the place of the epoch in which it arrived.
pub(super) fn events<'a>(
    contents: impl IntoIterator<Item = (&'a Content, usize)>,
) -> Vec<Identified<'a>> {
    let contents: Vec<_> = contents.into_iter().collect();
    contents
        .chunk_by(|(a, _), (b, _)| a.identity() == b.identity())
        .filter_map(|rivals| {
            let is_contested = rivals.len() > 1;
            rivals
                .iter()
                .map(|(content, arrived)| (content.event(), &content.canonical, *arrived))
                .min_by_key(|(event, bytes, _)| (event.recorded_at, content_hash(bytes), *bytes))
                .map(|(event, _, arrived)| Identified { event, arrived, is_contested })
        })
        .collect()
}

/// Groups events, which come in the order of their identities.
pub(super) fn transactions<'a>(events: &'a [Identified<'a>]) -> Vec<Transaction<'a>> {
    events
        .chunk_by(|a, b| {
            a.event.tenant == b.event.tenant && a.event.transaction_id == b.event.transaction_id
        })
        .filter_map(transaction)
        .collect()
}

fn transaction<'a>(events: &'a [Identified<'a>]) -> Option<Transaction<'a>> {
    let any = &events.first()?.event;
    let mut conflicts: BTreeSet<&str> = events
        .iter()
        .filter(|identified| identified.is_contested)
        .map(|identified| identified.event.event_id.as_ref())
        .collect();
    let mut by_seniority: Vec<_> = events.iter().collect();
    by_seniority.sort_by_key(|identified| identified.event.seniority());
    let mut openings = by_seniority.iter().map(|identified| &identified.event);
    let first = openings.find(|event| event.kind.is_opening());

    let mut places: BTreeMap<(&str, u64), &Identified<'_>> = BTreeMap::new();
    for identified in by_seniority {
        let event = &identified.event;
        let is_of_another_kind =
            event.kind.is_opening() && first.is_some_and(|first| first.kind != event.kind);
        if is_of_another_kind {
            conflicts.insert(&event.event_id);
            continue;
        }
        match places.entry((&event.leg, event.revision)) {
            Entry::Vacant(place) => {
                place.insert(identified);
            }
            Entry::Occupied(_) => {
                conflicts.insert(&event.event_id);
            }
        }
    }

    let mut legs: Vec<Leg<'_>> = Vec::new();
    let mut unopened = Vec::new();
    // The places are ordered by leg, then revision: an opening comes before its corrections.
    for Identified { event, arrived, .. } in places.into_values() {
        let arrived = *arrived;
        match legs.last_mut() {
            _ if event.kind.is_opening() => {
                legs.push(Leg { opening: event, current: event, arrived });
            }
            Some(leg) if leg.opening.leg == event.leg => {
                leg.current = event;
                leg.arrived = arrived;
            }
            _ => unopened.push(event),
        }
    }
    unopened.sort_by_key(|event| &event.event_id);
    Some(Transaction {
        tenant: &any.tenant,
        id: &any.transaction_id,
        first,
        legs,
        unopened,
        conflicts,
    })
}
