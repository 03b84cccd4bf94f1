//! The lives of holds: how they are captured, released, corrected and forgotten.

use super::super::draw::Draw;
use super::super::event::{Event, Kind, Line, Lines};
use super::super::memory::Age;
use super::super::planner::{Delay, Planner};
use super::super::tally::Hostility;
use super::super::text::When;
use super::super::world::SUSPENSE;
use super::{correction, refund_of, reversal};

/// A week, in seconds: how long most holds last.
const WEEK: u64 = 7 * 86_400;

/// Makes a hold of a tenant's money.
fn hold(p: &mut Planner) -> Event {
    let tenant = p.any_tenant();
    let transaction = p.new_transaction(tenant);
    let mut hold = p.event(Kind::Hold, tenant, transaction);
    hold.lines = Some(p.lines(tenant));
    hold.expires = Some(expiry(&mut p.draw, hold.recorded));
    hold
}

/// Draws when a hold ends: mostly a week on, seldom before it was recorded.
fn expiry(draw: &mut Draw, recorded: When) -> When {
    let seconds = match draw.below(20) {
        0 => recorded.seconds.saturating_sub(WEEK),
        1..=3 => recorded.seconds + draw.below(86_400),
        _ => recorded.seconds + WEEK,
    };
    When { seconds, ..recorded }
}

/// Returns the `part`th part of the first line, from the account it is from to the one it is to.
pub(super) fn part_of(lines: Lines, part: u64) -> Lines {
    let first = lines.as_slice().first().copied().unwrap_or_default();
    let other = lines.as_slice().iter().find(|line| line.credit != first.credit);
    let other = other.map_or(SUSPENSE, |line| line.account);
    let (amount, currency) = (first.amount / part, first.currency);
    let (to, from) = if first.credit { (other, first.account) } else { (first.account, other) };
    Lines::of(&[Line::debit(to, currency, amount), Line::credit(from, currency, amount)])
}

/// Makes a capture of a hold; with `carried`, one that carries these postings.
fn capture(p: &mut Planner, hold: &Event, carried: Option<Lines>) -> Event {
    let transaction = p.new_transaction(hold.tenant);
    let mut capture = p.event(Kind::Capture, hold.tenant, transaction);
    capture.target = Some(hold.transaction);
    capture.lines = carried;
    capture.planted.add(match carried {
        Some(_) => Hostility::CarriedCapture,
        None => Hostility::DerivedCapture,
    });
    capture
}

/// Makes a release of a hold.
fn release(p: &mut Planner, hold: &Event) -> Event {
    let transaction = p.new_transaction(hold.tenant);
    let mut release = p.event(Kind::Release, hold.tenant, transaction);
    release.target = Some(hold.transaction);
    release.planted.add(Hostility::Release);
    release
}

/// Makes what resolves a hold most of the time: it is captured, a part of it is, or it is let go.
fn resolution(p: &mut Planner, hold: &Event) -> Event {
    match p.draw.below(10) {
        0..=4 => capture(p, hold, None),
        5..=7 => {
            let part = part_of(hold.lines.unwrap_or_default(), 1 + p.draw.below(3));
            capture(p, hold, Some(part))
        }
        _ => release(p, hold),
    }
}

/// Remembers a capture as a target of refunds and reversals, with what it takes.
fn keep(p: &mut Planner, hold: &Event, resolution: Event) {
    if resolution.kind == Kind::Capture {
        p.keep(Event { lines: resolution.lines.or(hold.lines), ..resolution });
    }
}

/// A hold that is resolved soon after, or never.
pub(super) fn plain(p: &mut Planner) {
    let mut hold = hold(p);
    if p.draw.chance(10_000) {
        hold.planted.add(Hostility::OpenHold);
        return p.deliver(hold, Delay::Shuffle);
    }
    let resolution = resolution(p, &hold);
    keep(p, &hold, resolution);
    p.deliver(hold, Delay::Shuffle);
    p.deliver(resolution, Delay::Near);
}

/// What resolves a hold comes long before it, or the hold never comes.
pub(super) fn early_resolution(p: &mut Planner) {
    let hold = hold(p);
    let mut resolution = resolution(p, &hold);
    let lost = p.draw.chance(20_000);
    let hostility = if lost { Hostility::LostResolution } else { Hostility::EarlyResolution };
    resolution.planted.add(hostility);
    p.deliver(resolution, Delay::Shuffle);
    if !lost {
        p.deliver(hold, Delay::Far);
    }
}

/// A hold is resolved twice or three times, in any order.
pub(super) fn late_resolution(p: &mut Planner) {
    let hold = hold(p);
    p.deliver(hold, Delay::Near);
    let first = resolution(p, &hold);
    p.deliver(first, Delay::Near);
    for _ in 0..1 + p.draw.below(2) {
        let mut late = resolution(p, &hold);
        late.planted.add(Hostility::LateResolution);
        p.deliver(late, Delay::Near);
    }
}

/// More is captured than was held.
pub(super) fn over_capture(p: &mut Planner) {
    let hold = hold(p);
    let mut lines = part_of(hold.lines.unwrap_or_default(), 1);
    for line in lines.as_mut_slice() {
        line.amount = line.amount * 5 / 4 + 1;
    }
    let mut capture = capture(p, &hold, Some(lines));
    capture.planted.add(Hostility::OverCapture);
    p.deliver(hold, Delay::Shuffle);
    p.deliver(capture, Delay::Near);
}

/// A hold is corrected before or after it is captured, and the capture taken back now and then.
pub(super) fn corrected(p: &mut Planner) {
    let hold = hold(p);
    let mut correct = correction(p, &hold, 2);
    correct.planted.add(Hostility::HoldCorrection);
    let capture = capture(p, &hold, None);
    p.deliver(hold, Delay::Near);
    p.deliver(capture, Delay::Near);
    p.deliver(correct, Delay::Near);
    if p.draw.chance(50_000) {
        let mut back = if p.draw.chance(50_000) {
            reversal(p, capture.tenant, capture.transaction, None)
        } else {
            refund_of(p, &Event { lines: hold.lines, ..capture }, 2)
        };
        back.planted.add(Hostility::CaptureTakenBack);
        p.deliver(back, Delay::Near);
    }
}

/// A post is captured or released, or a hold is reversed: neither can be.
pub(super) fn wrong_target(p: &mut Planner) {
    let mut event = if p.draw.chance(50_000) {
        let Some(target) = p.recall(Age::Recent, 0) else {
            return;
        };
        resolution(p, &target)
    } else {
        let hold = hold(p);
        p.deliver(hold, Delay::Near);
        reversal(p, hold.tenant, hold.transaction, None)
    };
    event.planted.add(Hostility::WrongTarget);
    p.deliver(event, Delay::Near);
}
