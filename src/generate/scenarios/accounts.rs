//! How accounts are declared: most once, some anew, some with two contents for one event id.

use super::super::event::{Account, Event, Kind, Said};
use super::super::planner::{Delay, Planner};
use super::super::tally::Hostility;

/// Makes the declaration of an account: of a customer, who has money with the tenant and may seldom
/// overdraw it, or one of the tenant's own.
fn declaration(p: &mut Planner) -> Event {
    let tenant = p.any_tenant();
    let is_customer = p.draw.below(4) > 0;
    let number = if is_customer { p.customer(tenant) } else { p.own_account() };
    let mut event = p.event(Kind::Account, tenant, 0);
    let forbidden = p.draw.below(4) > 0;
    event.said = Some(Said::Account(Account { number, credit: is_customer, forbidden }));
    event
}

/// Makes another declaration of the same account, as recorded now.
fn redeclaration(p: &mut Planner, before: &Event) -> Event {
    let mut event = p.event(Kind::Account, before.tenant, 0);
    event.said = before.said;
    if let Some(Said::Account(account)) = &mut event.said {
        let both = p.draw.below(3) == 0;
        account.forbidden = !account.forbidden;
        account.credit ^= both;
    }
    event.planted.add(Hostility::Redeclaration);
    event
}

/// An account is declared.
pub(super) fn declared(p: &mut Planner) {
    let event = declaration(p);
    p.deliver(event, Delay::Shuffle);
}

/// An account is declared twice, and which comes first is left to chance.
pub(super) fn declared_anew(p: &mut Planner) {
    let first = declaration(p);
    let second = redeclaration(p, &first);
    let (early, late) = if p.draw.chance(50_000) { (first, second) } else { (second, first) };
    p.deliver(early, Delay::Shuffle);
    p.deliver(late, Delay::Far);
}

/// Two services use one event id for two declarations.
pub(super) fn conflict(p: &mut Planner) {
    let first = declaration(p);
    let mut second = redeclaration(p, &first);
    second.id = first.id;
    second.planted.add(Hostility::SameIdConflict);
    p.deliver(first, Delay::Shuffle);
    p.deliver(second, Delay::Near);
}
