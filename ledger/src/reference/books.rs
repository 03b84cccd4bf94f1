//! The rows of SPEC §4 but for the imbalances: postings, sums over them, totals, continuity.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::available;
use super::lines::{Line, Status};
use super::links::Link;
use super::totals::Total;
use super::transactions::Transaction;
use super::{Books, Content, sum};
use crate::table::{Datum, Row, Rows};
use crate::{Kind, Side};

/// The two sides of a sum of lines.
#[derive(Clone, Copy, Default)]
pub(super) struct Sides {
    pub(super) debits: i128,
    pub(super) credits: i128,
}

impl Sides {
    /// Returns debits less credits.
    pub(super) fn difference(self) -> i128 {
        sum(self.debits, -self.credits)
    }

    fn add(&mut self, line: &Line<'_>) {
        self.add_amount(line.side, line.posting.amount.0);
    }

    pub(super) fn add_amount(&mut self, side: Side, units: i128) {
        let sums = match side {
            Side::Debit => &mut self.debits,
            Side::Credit => &mut self.credits,
        };
        *sums = sum(*sums, units);
    }
}

/// How completely a service's sequence has arrived.
pub(super) struct Continuity {
    pub(super) first: u64,
    pub(super) contiguous_through: u64,
    pub(super) max: u64,
    pub(super) missing: u64,
}

impl<'a> Books<'a> {
    /// Goes through all current lines, posted and pending, with their transactions.
    pub(super) fn all_lines(&self) -> impl Iterator<Item = (&'a Transaction<'a>, &Line<'a>)> {
        let with_transaction = |(transaction, lines): (&'a Transaction<'a>, _)| {
            let lines: &Vec<Line<'a>> = lines;
            lines.iter().map(move |line| (transaction, line))
        };
        let all = self.transactions.iter().zip(&self.lines).flat_map(with_transaction);
        all.filter(|(_, line)| line.status != Status::Ended)
    }

    /// Goes through all posted lines with their transactions.
    pub(super) fn posted_lines(&self) -> impl Iterator<Item = (&'a Transaction<'a>, &Line<'a>)> {
        self.all_lines().filter(|(_, line)| line.status == Status::Posted)
    }
}

/// Sums lines by a key.
pub(super) fn sides_by<'b, 'a: 'b, K: Ord>(
    lines: impl Iterator<Item = (&'a Transaction<'a>, &'b Line<'a>)>,
    key: impl Fn(&'a Transaction<'a>, &Line<'a>) -> K,
) -> BTreeMap<K, Sides> {
    let mut sums: BTreeMap<K, Sides> = BTreeMap::new();
    for (transaction, line) in lines {
        sums.entry(key(transaction, line)).or_default().add(line);
    }
    sums
}

pub(super) fn postings(books: &Books<'_>) -> Rows {
    rows(books.all_lines().map(|(transaction, line)| {
        vec![
            text(transaction.tenant),
            text(transaction.id),
            text(line.leg),
            integer(line.number as u64),
            text(&line.posting.account),
            text(line.side.name()),
            Datum::Amount(line.posting.amount.0),
            text(&line.posting.currency),
            Datum::Instant(line.event.effective_at.micros()),
            integer(line.event.revision),
            // A correction keeps the opening's kind.
            text(transaction.kind().map_or("", Kind::name)),
            text(line.status.name()),
            text(&line.event.event_id),
        ]
    }))
}

/// The posted and the pending sums of each tenant's account and currency.
pub(super) type AccountSums<'a> = BTreeMap<(&'a str, &'a str, &'a str), (Sides, Sides)>;

pub(super) fn account_sums<'a>(books: &'a Books<'_>) -> AccountSums<'a> {
    let mut sums = AccountSums::new();
    for (transaction, line) in books.all_lines() {
        let posting = line.posting;
        let key = (transaction.tenant, posting.account.as_ref(), posting.currency.as_ref());
        let (posted, pending) = sums.entry(key).or_default();
        if line.status == Status::Posted { posted } else { pending }.add(line);
    }
    sums
}

pub(super) fn balances(books: &Books<'_>) -> Rows {
    let sums = account_sums(books);
    rows(sums.into_iter().map(|((tenant, account, currency), (posted, pending))| {
        let terms = books.accounts.terms(tenant, account);
        vec![
            text(tenant),
            text(account),
            text(currency),
            Datum::Amount(posted.debits),
            Datum::Amount(posted.credits),
            Datum::Amount(pending.debits),
            Datum::Amount(pending.credits),
            Datum::Amount(posted.difference()),
            Datum::Amount(available(terms, posted, pending)),
        ]
    }))
}

pub(super) fn daily_movements(books: &Books<'_>) -> Rows {
    let sums = sides_by(books.posted_lines(), |transaction, line| {
        let (account, currency) = (line.posting.account.as_ref(), line.posting.currency.as_ref());
        (transaction.tenant, account, currency, line.event.effective_at.utc_date())
    });
    rows(sums.into_iter().map(|((tenant, account, currency, date), sides)| {
        vec![
            text(tenant),
            text(account),
            text(currency),
            Datum::Date(date),
            Datum::Amount(sides.debits),
            Datum::Amount(sides.credits),
            Datum::Amount(sides.difference()),
        ]
    }))
}

pub(super) fn trial_balance(books: &Books<'_>) -> Rows {
    let sums = sides_by(books.posted_lines(), |transaction, line| {
        (transaction.tenant, line.posting.currency.as_ref())
    });
    rows(sums.into_iter().map(|((tenant, currency), sides)| {
        vec![
            text(tenant),
            text(currency),
            Datum::Amount(sides.debits),
            Datum::Amount(sides.credits),
            Datum::Amount(sides.difference()),
        ]
    }))
}

pub(super) fn transaction_totals(books: &Books<'_>) -> Rows {
    let mut all = Vec::new();
    for (index, transaction) in books.transactions.iter().enumerate() {
        let revision = transaction.legs.iter().map(|leg| leg.current.revision).max();
        for total in books.totals[index].iter().filter(|total| total.is_row) {
            all.push(vec![
                text(transaction.tenant),
                text(transaction.id),
                text(total.currency),
                text(transaction.kind().map_or("", Kind::name)),
                Datum::Amount(total.gross),
                Datum::Amount(total.corrected),
                Datum::Amount(total.reversed),
                Datum::Amount(total.refunded),
                Datum::Amount(total.net()),
                text(status(books, index, total)),
                integer(revision.unwrap_or(0)),
            ]);
        }
    }
    rows(all)
}

/// Returns the first status that fits, in the order of SPEC §4.
fn status(books: &Books<'_>, index: usize, total: &Total<'_>) -> &'static str {
    let kind_of = |index: usize| books.transactions[index].kind();
    if matches!(books.links[index], Link::Orphan(_)) {
        "orphan"
    } else if total.gross == 0 && total.corrected != 0 {
        "voided"
    } else if kind_of(index) == Some(Kind::Hold) {
        match books.resolvers[index].map(kind_of) {
            None => "pending",
            Some(Some(Kind::Release)) => "released",
            Some(_) => "captured",
        }
    } else if total.reversed > 0 && total.net() == 0 {
        "reversed"
    } else if total.reversed > 0 {
        "partially_reversed"
    } else if total.refunded > 0 && total.net() == 0 {
        "refunded"
    } else if total.refunded > 0 {
        "partially_refunded"
    } else {
        "open"
    }
}

/// The contents that came with a sequence, in its order, by tenant and service.
pub(super) type Records<'a> = BTreeMap<(String, String), Vec<(u64, &'a Content)>>;

/// Gathers all contents that have a sequence, conflicting ones too.
pub(super) fn records<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Records<'a> {
    let mut records = Records::new();
    for content in contents {
        let event = content.event();
        if let Some(sequence) = event.source.sequence {
            let service = (event.tenant.into(), event.source.service.into());
            records.entry(service).or_default().push((sequence, content));
        }
    }
    for of_service in records.values_mut() {
        of_service.sort_by_key(|(sequence, _)| *sequence);
    }
    records
}

/// Judges the sequence of every (tenant, service).
pub(super) fn services(records: &Records<'_>) -> BTreeMap<(String, String), Continuity> {
    let judged = |(service, records): (&(String, String), &Vec<(u64, &Content)>)| {
        let seen = records.iter().map(|(sequence, _)| *sequence).collect();
        Some((service.clone(), continuity(&seen)?))
    };
    records.iter().filter_map(judged).collect()
}

fn continuity(seen: &BTreeSet<u64>) -> Option<Continuity> {
    let (first, max) = (*seen.first()?, *seen.last()?);
    let unbroken = (first..=max).zip(seen).take_while(|(due, sequence)| due == *sequence);
    Some(Continuity {
        first,
        contiguous_through: unbroken.map(|(due, _)| due).last()?,
        max,
        // Sequences fit 63 bits, so that their number does.
        missing: max - first + 1 - seen.len() as u64,
    })
}

pub(super) fn source_continuity(services: &BTreeMap<(String, String), Continuity>) -> Rows {
    rows(services.iter().map(|((tenant, service), continuity)| {
        vec![
            text(tenant),
            text(service),
            integer(continuity.first),
            integer(continuity.contiguous_through),
            integer(continuity.max),
            integer(continuity.missing),
        ]
    }))
}

pub(super) fn rows(all: impl IntoIterator<Item = Row>) -> Rows {
    let mut rows = Rows::default();
    for row in all {
        rows.add(row, 1);
    }
    rows
}

pub(super) fn text(text: &str) -> Datum {
    Datum::Text(text.into())
}

pub(super) fn integer(n: u64) -> Datum {
    // Admission keeps revisions and sequences within 63 bits.
    Datum::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}
