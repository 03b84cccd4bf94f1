//! The books of closed months (SPEC §4): `period_adjustments` and `late_into_closed_period`.
//!
//! Which closing of a month is in force, and since which epoch, is found by replaying the epochs in
//! which the period events of its tenant arrived. What a closing froze is found by folding what had
//! arrived by the end of its epoch, once for all months that a tenant closed in one epoch. Nothing
//! here remembers anything between two calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::books::{rows, text};
use super::imbalances::{Imbalance, WARNING, escape};
use super::transactions::{self, Identified};
use super::{Books, Content, Reference, sum, with_books};
use crate::table::{Datum, Row, Rows};
use crate::{Event, Fact, Kind, Month, Side};

/// The net of the posted lines of a month by transaction, currency and account. An account has one
/// where a line touches it.
type Nets = BTreeMap<(String, String, String), i128>;

/// A closed month of a tenant: what was in it when its closing began, and what is in it now.
pub(super) struct Closed<'a> {
    tenant: &'a str,
    month: Month,
    then: Nets,
    now: Nets,
}

/// Returns all closed months.
pub(super) fn closed<'a>(set: &'a Reference, books: &Books<'_>) -> Vec<Closed<'a>> {
    let mut by_epoch: BTreeMap<(&str, usize), BTreeSet<Month>> = BTreeMap::new();
    for (tenant, contents) in period_contents(&set.contents) {
        for (month, closing) in closings(&contents) {
            by_epoch.entry((tenant, closing.begun)).or_default().insert(month);
        }
    }
    let months = by_epoch
        .iter()
        .flat_map(|((tenant, _), months)| months.iter().map(move |month| (*tenant, *month)));
    let mut now = nets(books, &months.collect());
    let mut all = Vec::new();
    for ((tenant, begun), months) in by_epoch {
        let arrived = of_tenant(set, tenant).filter(|(_, arrived)| *arrived <= begun);
        let wanted = months.iter().map(|month| (tenant, *month)).collect();
        let mut then = with_books(set.scale, arrived, |books| nets(books, &wanted));
        for month in months {
            let key = (tenant.to_owned(), month);
            let then = then.remove(&key).unwrap_or_default();
            let now = now.remove(&key).unwrap_or_default();
            all.push(Closed { tenant, month, then, now });
        }
    }
    all
}

/// Goes through the contents of a tenant, which lie side by side.
fn of_tenant<'a>(set: &'a Reference, tenant: &str) -> impl Iterator<Item = (&'a Content, usize)> {
    let tenant: Box<str> = tenant.into();
    let from = Content {
        tenant: tenant.clone(),
        alone: None,
        transaction_id: "".into(),
        event_id: "".into(),
        canonical: [].into(),
    };
    set.contents
        .range(from..)
        .take_while(move |(content, _)| content.tenant == tenant)
        .map(|(content, arrived)| (content, *arrived))
}

/// Sums the posted lines of some months by tenant and month.
fn nets(books: &Books<'_>, wanted: &BTreeSet<(&str, Month)>) -> BTreeMap<(String, Month), Nets> {
    let mut all: BTreeMap<(String, Month), Nets> = BTreeMap::new();
    for (transaction, line) in books.posted_lines() {
        let month = Month::of_date(line.event.effective_at.utc_date());
        if !wanted.contains(&(transaction.tenant, month)) {
            continue;
        }
        let posting = line.posting;
        let amount = match line.side {
            Side::Debit => posting.amount.0,
            Side::Credit => -posting.amount.0,
        };
        let place = (
            transaction.id.to_owned(),
            posting.currency.clone().into_owned(),
            posting.account.clone().into_owned(),
        );
        let nets = all.entry((transaction.tenant.to_owned(), month)).or_default();
        let net = nets.entry(place).or_default();
        *net = sum(*net, amount);
    }
    all
}

/// A closing of a month.
struct Closing {
    /// The event id of the newest reopening, which names it; none at first.
    name: Option<String>,
    /// The place of the epoch in which it came to be the one in force.
    begun: usize,
}

/// The period events among contents, by tenant.
fn period_contents(contents: &BTreeMap<Content, usize>) -> BTreeMap<&str, Vec<(&Content, usize)>> {
    let mut by_tenant: BTreeMap<&str, Vec<(&Content, usize)>> = BTreeMap::new();
    for (content, arrived) in contents {
        if content.alone.is_some_and(Kind::is_of_period) {
            by_tenant.entry(&content.tenant).or_default().push((content, *arrived));
        }
    }
    by_tenant
}

/// Returns the closings of a tenant's months that are in force, by replaying the epochs in which
/// its period events arrived.
fn closings(contents: &[(&Content, usize)]) -> BTreeMap<Month, Closing> {
    let epochs: BTreeSet<usize> = contents.iter().map(|(_, arrived)| *arrived).collect();
    let mut in_force: BTreeMap<Month, Closing> = BTreeMap::new();
    for epoch in epochs {
        let arrived = contents.iter().copied().filter(|(_, arrived)| *arrived <= epoch);
        let events = transactions::events(arrived);
        let mut before = std::mem::take(&mut in_force);
        for (month, name) in closed_months(&events) {
            let closing = match before.remove(&month) {
                Some(closing) if closing.name == name => closing,
                _ => Closing { name, begun: epoch },
            };
            in_force.insert(month, closing);
        }
    }
    in_force
}

/// Returns the months that are closed, each with the name of its closing.
fn closed_months(events: &[Identified<'_>]) -> BTreeMap<Month, Option<String>> {
    let mut by_month: BTreeMap<Month, Vec<&Event<'_>>> = BTreeMap::new();
    for one in events {
        if let Some(Fact::Period(month)) = one.event.fact.as_deref() {
            by_month.entry(*month).or_default().push(&one.event);
        }
    }
    let mut closed = BTreeMap::new();
    for (month, mut events) in by_month {
        // From old to new; `reopen_period` is the greater kind.
        events.sort_by_key(|event| (event.recorded_at, Reverse(&event.event_id), event.kind));
        if events.last().is_some_and(|newest| newest.kind == Kind::ClosePeriod) {
            let reopening = events.iter().rfind(|event| event.kind == Kind::ReopenPeriod);
            closed.insert(month, reopening.map(|event| event.event_id.clone().into_owned()));
        }
    }
    closed
}

pub(super) fn adjustments(closed: &[Closed<'_>]) -> Rows {
    let mut all = Vec::new();
    for Closed { tenant, month, then, now } in closed {
        // By account and currency: what was there and what is.
        let mut sums: BTreeMap<(&str, &str), (i128, i128)> = BTreeMap::new();
        for ((_, currency, account), net) in then {
            let (closed, _) = sums.entry((account, currency)).or_default();
            *closed = sum(*closed, *net);
        }
        for ((_, currency, account), net) in now {
            let (_, current) = sums.entry((account, currency)).or_default();
            *current = sum(*current, *net);
        }
        for ((account, currency), (closed, current)) in sums {
            all.push(vec![
                text(tenant),
                text(&month.to_string()),
                text(account),
                text(currency),
                Datum::Amount(closed),
                Datum::Amount(current),
                Datum::Amount(sum(current, -closed)),
            ]);
        }
    }
    rows(all)
}

/// `late_into_closed_period`: transactions that changed a closed month since.
pub(super) fn late(closed: &[Closed<'_>]) -> Vec<Row> {
    let mut all = Vec::new();
    for Closed { tenant, month, then, now } in closed {
        let places: BTreeSet<_> = then.keys().chain(now.keys()).collect();
        // By transaction and currency: the sum of what is positive, where anything has changed.
        let mut changes: BTreeMap<(&str, &str), i128> = BTreeMap::new();
        for place in places {
            let net = |nets: &Nets| nets.get(place).copied().unwrap_or_default();
            let change = sum(net(now), -net(then));
            if change != 0 {
                let (transaction, currency, _) = place;
                let amount = changes.entry((transaction, currency)).or_default();
                *amount = sum(*amount, change.max(0));
            }
        }
        for ((transaction, currency), amount) in changes {
            let imbalance = Imbalance {
                tenant,
                detector: "late_into_closed_period",
                subject: &format!("{}/{month}", escape(transaction)),
                currency,
                amount,
                severity: WARNING,
                detail: json!({ "period": month.to_string() }),
            };
            all.push(imbalance.row());
        }
    }
    all
}
