//! What one worker's transactions change within an epoch, gathered before it is sent on.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use trueup_ledger::table::{Table, Value};
use trueup_ledger::timestamp::DAY_MICROS;
use trueup_ledger::transaction::PENDING;
use trueup_ledger::{Month, Rules, Side, TransactionKey, View};

use super::Batch;
use super::books::Books;
use super::combiner::Combiner;
use crate::books::{Book, OfRanges};
use crate::due::DueRow;
use crate::facts::FactRecord;
use crate::names::{AccountKey, AccountName, DatedKey, Lookups};
use crate::periods::{ClosedMonths, Closing};
use crate::record::{Accepted, ClearingLine, LateLine};
use crate::room::Expected;
use crate::sums::Sides;

/// What a line adds to the sums of its account.
#[derive(Clone, Copy, Debug)]
struct Summand {
    sides: Sides,
    /// The date at which it is posted; `None` while it is pending.
    posted: Option<i32>,
}

/// Gathers rows, and the sums of the posting lines among them.
#[derive(Debug)]
pub(crate) struct Emitter {
    postings: Table,
    totals: Table,
    imbalances: Table,
    /// How many records the epoch has, and how many lines are expected of them.
    records: usize,
    lines: Expected,
    due: Vec<(DueRow, i8)>,
    movements: Combiner<DatedKey>,
    pending: Combiner<AccountKey>,
    facts: Vec<(FactRecord, i8)>,
    /// The months that are closed before the epoch, and what changes in them.
    closed: ClosedMonths,
    late: Vec<LateLine>,
    /// The processors by their clearing account.
    processors: HashMap<Box<str>, Vec<Box<str>>>,
    clearing: Vec<ClearingLine>,
    books: Books,
    accounts: Lookups<Summand>,
    accepted: BTreeMap<u32, Accepted>,
}

/// What an [`Emitter`] gathered in one epoch.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    pub(crate) tables: Vec<Table>,
    pub(crate) due: Vec<(DueRow, i8)>,
    pub(crate) movements: Vec<Batch<DatedKey>>,
    pub(crate) pending: Vec<Batch<AccountKey>>,
    pub(crate) facts: Vec<(FactRecord, i8)>,
    pub(crate) books: Vec<(Book, Sides)>,
    pub(crate) ranges: Vec<(Book, OfRanges)>,
    pub(crate) late: Vec<LateLine>,
    pub(crate) clearing: Vec<ClearingLine>,
    pub(crate) names: Vec<(AccountKey, AccountName)>,
    pub(crate) accepted: Vec<(u32, Accepted)>,
}

impl Emitter {
    pub(crate) fn new(rules: &Rules, workers: usize) -> Emitter {
        let mut processors: HashMap<_, Vec<_>> = HashMap::new();
        for (processor, account) in &rules.clearing {
            processors.entry(account.clone()).or_default().push(processor.clone());
        }
        Emitter {
            postings: Table::new(View::Postings),
            totals: Table::new(View::TransactionTotals),
            imbalances: Table::new(View::Imbalances),
            records: 0,
            lines: Expected::each(2),
            movements: Combiner::new(workers, 1),
            pending: Combiner::new(workers, 0),
            due: Vec::new(),
            facts: Vec::new(),
            closed: ClosedMonths::default(),
            late: Vec::new(),
            processors,
            clearing: Vec::new(),
            books: Books::default(),
            accounts: Lookups::default(),
            accepted: BTreeMap::new(),
        }
    }

    /// Makes room for what so many records are likely to change.
    pub(crate) fn expect(&mut self, records: usize) {
        self.records = records;
        let lines = self.lines.of(records);
        self.postings.reserve(lines);
        self.movements.expect(lines);
        self.pending.expect(lines);
        // Of a transaction in one currency there is one, and few have several or are changed.
        self.totals.reserve(records + records / 16);
    }

    pub(crate) fn accept(&mut self, partition: u32, new: bool) {
        let counts = self.accepted.entry(partition).or_default();
        if new {
            counts.applied += 1;
        } else {
            counts.duplicate += 1;
        }
    }

    /// Adds what ceases to count and what comes to.
    pub(crate) fn fact(&mut self, before: Option<FactRecord>, after: Option<FactRecord>) {
        if before != after {
            self.facts.extend(before.map(|fact| (fact, -1)));
            self.facts.extend(after.map(|fact| (fact, 1)));
        }
    }

    /// Follows what an epoch has closed and opened again. What the next ones change is held against
    /// it.
    pub(crate) fn close(&mut self, closing: &Closing) {
        self.closed.apply(closing);
    }

    /// Adds a change of one row of a transaction.
    pub(crate) fn change(
        &mut self,
        view: View,
        values: &[Value<'_>],
        due: Option<i64>,
        diff: i8,
        key: TransactionKey,
    ) {
        if let Some(due) = due {
            self.due.push((DueRow::new(view, values, due), diff));
            return;
        }
        match view {
            View::Postings => {
                self.postings.push(values, diff);
                self.add_line(values, diff, key);
            }
            View::TransactionTotals => self.totals.push(values, diff),
            View::Imbalances => self.imbalances.push(values, diff),
            other => unreachable!("transactions have no rows in {}", other.name()),
        }
    }

    fn add_line(&mut self, values: &[Value<'_>], diff: i8, transaction: TransactionKey) {
        let line = PostedLine::of(values);
        let PostedLine { tenant, account, currency, date, is_pending, .. } = line;
        let sides = Sides::of_line(line.side, line.units, diff);
        self.books.add((tenant, currency), transaction.shard(), &sides, is_pending);
        if !is_pending {
            if let Some(processors) = self.processors.get(account) {
                self.clearing.extend(processors.iter().map(|p| line.clearing(p, sides, diff)));
            }
            if !self.closed.is_empty() && self.closed.has(tenant, Month::of_date(date)) {
                let (key, _) = self.accounts.interner().account(tenant, account, currency);
                self.late.push(line.late(transaction, key, sides));
            }
        }
        let summand = Summand { sides, posted: (!is_pending).then_some(date) };
        if self.accounts.ask([tenant, account, currency], summand) {
            self.add_up();
        }
    }

    /// Adds what was gathered to the sums of its accounts.
    fn add_up(&mut self) {
        let Emitter { accounts, movements, pending, .. } = self;
        accounts.answer(|(key, tenant), Summand { sides, posted }| match posted {
            Some(at) => movements.add(DatedKey { key: key.0, at, tenant }, sides),
            None => pending.add(key, sides),
        });
    }

    /// Takes all that was gathered since the last call.
    pub(crate) fn take(&mut self) -> Emitted {
        self.add_up();
        self.lines.note(std::mem::take(&mut self.records), self.postings.len());
        let mut tables = Vec::new();
        for table in [&mut self.postings, &mut self.totals, &mut self.imbalances] {
            if !table.is_empty() {
                tables.push(std::mem::replace(table, Table::new(table.view())));
            }
        }
        let (books, ranges) = self.books.take();
        Emitted {
            tables,
            books,
            ranges,
            due: std::mem::take(&mut self.due),
            movements: self.movements.take(),
            pending: self.pending.take(),
            facts: std::mem::take(&mut self.facts),
            late: std::mem::take(&mut self.late),
            clearing: std::mem::take(&mut self.clearing),
            names: self.accounts.interner().take_fresh(),
            accepted: std::mem::take(&mut self.accepted).into_iter().collect(),
        }
    }
}

/// A row of `postings`, read.
#[derive(Clone, Copy)]
pub(crate) struct PostedLine<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) transaction_id: &'a str,
    pub(crate) account: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) side: Side,
    pub(crate) units: i128,
    /// The UTC date, in days since 1970-01-01.
    pub(crate) date: i32,
    pub(crate) is_pending: bool,
}

impl<'a> PostedLine<'a> {
    /// Reads a row.
    ///
    /// # Panics
    /// Where it is one of another view.
    pub(crate) fn of(values: &[Value<'a>]) -> PostedLine<'a> {
        let [
            Value::Text(tenant),
            Value::Text(transaction_id),
            _,
            _,
            Value::Text(account),
            Value::Text(side),
            Value::Amount(units),
            Value::Text(currency),
            Value::Instant(effective_at),
            _,
            _,
            Value::Text(status),
            _,
        ] = *values
        else {
            unreachable!("a row of postings has another form");
        };
        PostedLine {
            tenant,
            transaction_id,
            account,
            currency,
            side: if side == Side::Debit.name() { Side::Debit } else { Side::Credit },
            units,
            // Dates of four-digit years are well within 32 bits of days.
            date: i32::try_from(effective_at.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX),
            is_pending: status == PENDING,
        }
    }

    fn clearing(&self, processor: &str, sides: Sides, lines: i8) -> ClearingLine {
        ClearingLine {
            tenant: self.tenant.into(),
            processor: processor.into(),
            reference: self.transaction_id.into(),
            currency: self.currency.into(),
            date: self.date,
            net: sides.difference(),
            lines,
        }
    }

    fn late(&self, transaction: TransactionKey, account: AccountKey, sides: Sides) -> LateLine {
        LateLine {
            tenant: self.tenant.into(),
            month: Month::of_date(self.date),
            transaction,
            transaction_id: self.transaction_id.into(),
            account,
            currency: self.currency.into(),
            net: sides.difference(),
        }
    }
}
