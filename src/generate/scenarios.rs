//! What happens in the books: each scenario plans one to six events that belong together.

use super::event::{Event, EventId, Kind, Line, Lines};
use super::memory::Age;
use super::planner::{Delay, Planner};
use super::tally::Hostility;
use super::text::When;
use super::world::SUSPENSE;

mod accounts;
mod facts;
mod holds;

type Scenario = fn(&mut Planner);

/// The scenarios and how often each is planned, in parts of [`TOTAL`].
const SCENARIOS: [(u64, Scenario); 33] = [
    (5_900, plain),
    (600, two_legs),
    (900, |p| correct(p, Age::Recent)),
    (500, |p| correct(p, Age::Old)),
    (150, overtaken_correction),
    (120, void),
    (150, early_correction),
    (600, |p| reverse(p, Age::Recent)),
    (200, |p| reverse(p, Age::Old)),
    (80, early_reversal),
    (60, chain),
    (20, circle),
    (40, second_reversal),
    (40, lost_link),
    (600, refund),
    (60, early_refund),
    (40, same_id_conflict),
    (40, same_revision_conflict),
    (20, other_kind_conflict),
    (40, unbalanced),
    (300, holds::plain),
    (60, holds::early_resolution),
    (40, holds::late_resolution),
    (30, holds::over_capture),
    (60, holds::corrected),
    (20, holds::wrong_target),
    (80, accounts::declared),
    (30, accounts::declared_anew),
    (10, accounts::conflict),
    (250, facts::stated),
    (30, facts::stated_wrongly),
    (25, facts::sent),
    (12, facts::period),
];

const TOTAL: u64 = {
    let mut total = 0;
    let mut i = 0;
    while i < SCENARIOS.len() {
        total += SCENARIOS[i].0;
        i += 1;
    }
    total
};

/// Plans one scenario.
pub(super) fn plan(planner: &mut Planner) {
    let mut pick = planner.draw.below(TOTAL);
    for (weight, scenario) in SCENARIOS {
        if pick < weight {
            return scenario(planner);
        }
        pick -= weight;
    }
}

/// A post of its own, delivered at once or nearly.
pub(super) fn plain(p: &mut Planner) {
    let post = post(p);
    p.keep(post);
    p.deliver(post, Delay::Shuffle);
}

fn post(p: &mut Planner) -> Event {
    let tenant = p.any_tenant();
    let transaction = p.new_transaction(tenant);
    let mut post = p.event(Kind::Post, tenant, transaction);
    post.lines = Some(p.lines(tenant));
    if p.draw.chance(1_000) {
        post.id = EventId::Common;
        post.planted.add(Hostility::CommonEventId);
    }
    post
}

/// Two services report a side each; sometimes the second is never heard of.
fn two_legs(p: &mut Planner) {
    let tenant = p.any_tenant();
    let transaction = p.new_transaction(tenant);
    let currency = p.currency(tenant);
    let amount = p.amount(currency);
    let (payer, payee) = (p.customer(tenant), p.customer(tenant));
    let mut first = p.event(Kind::Post, tenant, transaction);
    first.leg = 1;
    first.lines = Some(Lines::of(&[Line::debit(payer, currency, amount)]));
    p.keep(first);
    if p.draw.chance(3_000) {
        first.planted.add(Hostility::LonelyLeg);
        return p.deliver(first, Delay::Shuffle);
    }
    let mut second = p.event(Kind::Post, tenant, transaction);
    second.leg = 2;
    let fee = amount / 50;
    second.lines = Some(Lines::of(&[
        Line::credit(payee, currency, amount - fee),
        Line::credit(SUSPENSE, currency, fee),
    ]));
    p.keep(second);
    second.planted.add(Hostility::SecondLeg);
    p.deliver(first, Delay::Shuffle);
    let delay = if p.draw.chance(10_000) { Delay::Far } else { Delay::Near };
    p.deliver(second, delay);
}

/// Makes the correction of an opening to a revision, with what a correction usually changes.
fn correction(p: &mut Planner, opening: &Event, revision: u64) -> Event {
    let mut correct = p.event(Kind::Correct, opening.tenant, opening.transaction);
    correct.leg = opening.leg;
    correct.revision = revision;
    if !p.draw.chance(15_000) {
        correct.effective = opening.effective;
    }
    let mut lines = opening.lines.unwrap_or_default();
    if opening.leg == 0 && p.draw.chance(60_000) {
        lines = p.lines(opening.tenant);
    } else if let Some(line) = lines.as_mut_slice().first_mut() {
        // The amount was right, the account was not: what balanced before balances still.
        line.account = p.customer(opening.tenant);
    }
    correct.lines = Some(lines);
    if !matches!(opening.kind, Kind::Post | Kind::Hold) {
        correct.planted.add(Hostility::LinkCorrection);
    }
    correct
}

fn correct(p: &mut Planner, age: Age) {
    let Some(opening) = p.recall(age, 1) else {
        return;
    };
    let mut correct = correction(p, &opening, opening.revision + 1);
    let old = age == Age::Old && p.has_old();
    correct.planted.add(if old { Hostility::OldCorrection } else { Hostility::RecentCorrection });
    p.deliver(correct, Delay::Shuffle);
}

/// The higher revision comes first.
fn overtaken_correction(p: &mut Planner) {
    let Some(opening) = p.recall(Age::Recent, 2) else {
        return;
    };
    let mut second = correction(p, &opening, opening.revision + 1);
    let third = correction(p, &opening, opening.revision + 2);
    second.planted.add(Hostility::OvertakenCorrection);
    p.deliver(third, Delay::Shuffle);
    p.deliver(second, Delay::Far);
}

fn void(p: &mut Planner) {
    let age = if p.draw.chance(30_000) { Age::Old } else { Age::Recent };
    let Some(opening) = p.recall(age, 1) else {
        return;
    };
    let mut correct = correction(p, &opening, opening.revision + 1);
    correct.lines = Some(Lines::default());
    correct.planted.add(Hostility::Void);
    p.deliver(correct, Delay::Shuffle);
}

/// The correction comes long before its opening, or the opening never comes. One that is lost
/// leaves a gap in its sequence, as a lost message would.
fn early_correction(p: &mut Planner) {
    let mut opening = post(p);
    let mut correct = correction(p, &opening, 2);
    let lost = p.draw.chance(20_000);
    correct.planted.add(if lost { Hostility::LostOpening } else { Hostility::EarlyCorrection });
    p.deliver(correct, Delay::Shuffle);
    if !lost {
        p.deliver(opening, Delay::Far);
        opening.revision = 2;
        p.keep(opening);
    }
}

/// Makes a reversal of a transaction; with `carried`, one that carries these postings.
fn reversal(p: &mut Planner, tenant: usize, target: u64, carried: Option<Lines>) -> Event {
    let transaction = p.new_transaction(tenant);
    let mut reverse = p.event(Kind::Reverse, tenant, transaction);
    reverse.target = Some(target);
    reverse.lines = carried.map(Lines::opposite);
    reverse.planted.add(match carried {
        Some(_) => Hostility::CarriedReversal,
        None => Hostility::DerivedReversal,
    });
    reverse
}

/// A reversal of whatever is remembered, be it a reversal or reversed already.
fn reverse(p: &mut Planner, age: Age) {
    let Some(target) = p.recall(age, 0) else {
        return;
    };
    let carried = if p.draw.chance(33_000) { target.lines } else { None };
    let reverse = reversal(p, target.tenant, target.transaction, carried);
    p.keep(reverse);
    p.deliver(reverse, Delay::Shuffle);
}

fn early_reversal(p: &mut Planner) {
    let target = post(p);
    let carried = if p.draw.chance(40_000) { target.lines } else { None };
    let mut reverse = reversal(p, target.tenant, target.transaction, carried);
    reverse.planted.add(Hostility::EarlyReversal);
    p.deliver(reverse, Delay::Shuffle);
    p.deliver(target, Delay::Far);
    p.keep(target);
}

/// Three to six reversals, each of the one before, delivered in any order.
fn chain(p: &mut Planner) {
    let post = post(p);
    p.deliver(post, Delay::Near);
    let mut target = post.transaction;
    for _ in 0..3 + p.draw.below(4) {
        let mut reverse = reversal(p, post.tenant, target, None);
        target = reverse.transaction;
        reverse.planted.add(Hostility::ReversalChain);
        p.deliver(reverse, Delay::Near);
    }
}

/// Reversals that wait for each other, or for themselves, for ever.
fn circle(p: &mut Planner) {
    let tenant = p.any_tenant();
    let size = match p.draw.below(10) {
        0..=1 => 1,
        2..=6 => 2,
        _ => 3,
    };
    let hostility = if size == 1 { Hostility::SelfReversal } else { Hostility::ReversalCircle };
    let mut members: Vec<Event> = (0..size).map(|_| reversal(p, tenant, 0, None)).collect();
    let mut target = members.last().map(|member| member.transaction);
    for member in &mut members {
        member.target = target;
        target = Some(member.transaction);
        member.planted.add(hostility);
        p.deliver(*member, Delay::Near);
    }
}

fn second_reversal(p: &mut Planner) {
    let Some(target) = p.recall(Age::Recent, 0) else {
        return;
    };
    let first = reversal(p, target.tenant, target.transaction, None);
    let mut second = reversal(p, target.tenant, target.transaction, None);
    second.planted.add(Hostility::SecondReversal);
    // The one that counts was recorded first, but it need not come first.
    p.deliver(first, Delay::Near);
    p.deliver(second, Delay::Near);
}

/// A reversal or refund whose target never comes.
fn lost_link(p: &mut Planner) {
    let target = post(p);
    let mut event = if p.draw.chance(60_000) {
        reversal(p, target.tenant, target.transaction, None)
    } else {
        refund_of(p, &target, 1)
    };
    event.planted.add(match event.kind {
        Kind::Refund => Hostility::LostRefund,
        _ => Hostility::LostReversal,
    });
    p.deliver(event, Delay::Shuffle);
}

/// Makes a refund of the `part`th part of the first line of a transaction.
fn refund_of(p: &mut Planner, target: &Event, part: u64) -> Event {
    let transaction = p.new_transaction(target.tenant);
    let mut refund = p.event(Kind::Refund, target.tenant, transaction);
    refund.target = Some(target.transaction);
    refund.lines = Some(holds::part_of(target.lines.unwrap_or_default(), part).opposite());
    refund
}

/// A refund of a part, of everything, or of more than there is.
fn refund(p: &mut Planner) {
    let age = if p.draw.chance(25_000) { Age::Old } else { Age::Recent };
    let Some(target) = p.recall(age, 0) else {
        return;
    };
    let (part, hostility) = match p.draw.below(10) {
        0..=4 => (2 + p.draw.below(8), Hostility::PartialRefund),
        5..=8 => (1, Hostility::FullRefund),
        _ => (1, Hostility::OverRefund),
    };
    let mut refund = refund_of(p, &target, part);
    if hostility == Hostility::OverRefund {
        for line in refund.lines.iter_mut().flat_map(Lines::as_mut_slice) {
            line.amount = line.amount * 3 / 2 + 1;
        }
    }
    refund.planted.add(hostility);
    p.keep(refund);
    p.deliver(refund, Delay::Shuffle);
}

fn early_refund(p: &mut Planner) {
    let target = post(p);
    let mut refund = refund_of(p, &target, 3);
    refund.planted.add(Hostility::EarlyRefund);
    p.deliver(refund, Delay::Shuffle);
    p.deliver(target, Delay::Far);
    p.keep(target);
}

/// Two contents under one event id: a producer that re-used its idempotency key.
fn same_id_conflict(p: &mut Planner) {
    let post = post(p);
    let mut other = post;
    for line in other.lines.iter_mut().flat_map(Lines::as_mut_slice) {
        line.amount += 1;
    }
    // With the same `recorded_at`, only the hash of the content can decide.
    if p.draw.chance(50_000) {
        other.recorded = later(p, post.recorded);
    }
    other.planted.add(Hostility::SameIdConflict);
    p.keep(post);
    p.deliver(post, Delay::Near);
    p.deliver(other, Delay::Near);
}

/// Two events for one leg and revision: a producer that wrote twice under different keys.
fn same_revision_conflict(p: &mut Planner) {
    let (first, mut other) = if p.draw.chance(50_000) {
        let post = post(p);
        p.keep(post);
        (post, post)
    } else {
        let Some(opening) = p.recall(Age::Recent, 1) else {
            return;
        };
        let correct = correction(p, &opening, opening.revision + 1);
        (correct, correct)
    };
    other.id = p.new_id();
    other.lines = Some(p.lines(other.tenant));
    if p.draw.chance(70_000) {
        other.recorded = later(p, first.recorded);
    }
    other.planted.add(Hostility::SameRevisionConflict);
    p.deliver(first, Delay::Near);
    p.deliver(other, Delay::Near);
}

/// A transaction that is opened as a post and as a reversal of something else.
fn other_kind_conflict(p: &mut Planner) {
    let Some(target) = p.recall(Age::Recent, 0) else {
        return;
    };
    let mut reverse = reversal(p, target.tenant, target.transaction, None);
    let mut post = p.event(Kind::Post, target.tenant, reverse.transaction);
    post.lines = Some(p.lines(target.tenant));
    reverse.planted.add(Hostility::OtherKindConflict);
    p.deliver(post, Delay::Near);
    p.deliver(reverse, Delay::Near);
}

fn unbalanced(p: &mut Planner) {
    let mut post = post(p);
    if let Some(line) = post.lines.iter_mut().flat_map(Lines::as_mut_slice).next() {
        line.amount += 1 + p.draw.below(100);
    }
    post.planted.add(Hostility::Unbalanced);
    p.keep(post);
    p.deliver(post, Delay::Shuffle);
}

fn later(p: &mut Planner, when: When) -> When {
    When { seconds: when.seconds + 1 + p.draw.below(60), ..when }
}
