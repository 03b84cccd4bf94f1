//! What processors and services report, and which months are closed.

use super::super::event::{Control, Event, Kind, Said, Statement};
use super::super::memory::Age;
use super::super::planner::{Delay, Planner};
use super::super::tally::Hostility;
use super::super::text;
use super::super::world::{PROCESSORS, SEQUENCED};

/// Makes the statement of what an opening has on a clearing account, where it has something there.
fn statement(p: &mut Planner, opening: &Event) -> Option<(Event, Statement)> {
    let lines = opening.lines?;
    let (processor, line) = PROCESSORS.iter().enumerate().find_map(|(place, (_, account))| {
        let line = lines.as_slice().iter().find(|line| line.account == *account)?;
        Some((place, *line))
    })?;
    let event = p.event(Kind::StatementLine, opening.tenant, 0);
    let said = Statement {
        processor,
        reference: opening.transaction,
        currency: line.currency,
        negative: line.credit,
        amount: line.amount,
        date: event.recorded.seconds / 86_400,
    };
    Some((event, said))
}

/// Returns an opening on a clearing account; one of a few is looked at.
fn cleared(p: &mut Planner) -> Option<(Event, Statement)> {
    (0..8).find_map(|_| {
        let opening = p.recall(Age::Recent, 0)?;
        statement(p, &opening)
    })
}

fn deliver(p: &mut Planner, mut event: Event, said: Statement, hostility: Hostility, delay: Delay) {
    event.said = Some(Said::Statement(said));
    event.planted.add(hostility);
    p.deliver(event, delay);
}

/// A processor states what the ledger says, mostly at once, now and then in two parts.
pub(super) fn stated(p: &mut Planner) {
    let Some((event, said)) = cleared(p) else { return };
    if p.draw.chance(10_000) {
        let part = said.amount / 3;
        let rest = p.event(Kind::StatementLine, event.tenant, 0);
        let whole = Statement { amount: said.amount - part, ..said };
        deliver(p, rest, Statement { amount: part, ..said }, Hostility::Statement, Delay::Far);
        return deliver(p, event, whole, Hostility::Statement, Delay::Near);
    }
    deliver(p, event, said, Hostility::Statement, Delay::Shuffle);
}

/// A processor states another amount, or what the ledger does not know.
pub(super) fn stated_wrongly(p: &mut Planner) {
    let Some((event, mut said)) = cleared(p) else { return };
    if p.draw.chance(50_000) {
        said.amount += 1 + p.draw.below(100);
    } else {
        said.reference = p.new_transaction(event.tenant);
    }
    deliver(p, event, said, Hostility::WrongStatement, Delay::Near);
}

/// A service says what it has sent since it said so last.
pub(super) fn sent(p: &mut Planner) {
    let (tenant, service) = (p.any_tenant(), p.draw.index(SEQUENCED));
    let (sent, last) = p.take_sent(tenant, service);
    if last == sent.after {
        return;
    }
    let mut event = p.event(Kind::ControlTotal, tenant, 0);
    // It does not count itself.
    event.service = service;
    event.sequence = 0;
    let mut count = sent.count;
    if p.draw.chance(5_000) {
        count += 1;
        event.planted.add(Hostility::WrongControl);
    }
    event.planted.add(Hostility::Control);
    let (from, to) = (sent.after + 1, last);
    event.said = Some(Said::Control(Control { from, to, count, sums: sent.sums }));
    p.deliver(event, Delay::Near);
}

/// A month is closed: the last one, one of years ago, or in haste the one that is not over. Some are
/// opened again, and closed once more.
pub(super) fn period(p: &mut Planner) {
    if !p.periods {
        return;
    }
    let tenant = p.any_tenant();
    let mut close = p.event(Kind::ClosePeriod, tenant, 0);
    let (year, month) = text::month(close.recorded.seconds / 86_400);
    let ago = match p.draw.below(10) {
        0..=2 => 0,
        3..=7 => 1,
        _ => 1 + p.draw.below(80),
    };
    let months = year * 12 + month - 1 - ago;
    let said = Some(Said::Period(months / 12, months % 12 + 1));
    close.said = said;
    close.planted.add(Hostility::ClosedPeriod);
    p.deliver(close, Delay::Shuffle);
    if p.draw.chance(25_000) {
        let mut reopen = p.event(Kind::ReopenPeriod, tenant, 0);
        reopen.said = said;
        reopen.planted.add(Hostility::ReopenedPeriod);
        p.deliver(reopen, Delay::Far);
        if p.draw.chance(60_000) {
            let mut again = p.event(Kind::ClosePeriod, tenant, 0);
            again.said = said;
            again.planted.add(Hostility::ClosedPeriod);
            p.deliver(again, Delay::Far);
        }
    }
}
