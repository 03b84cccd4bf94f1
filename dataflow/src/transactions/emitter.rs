//! What one worker's transactions change within an epoch, gathered before it is sent on.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use trueup_ledger::table::{Table, Value, decode_row, encode_row};
use trueup_ledger::transaction::{PENDING, RowSink};
use trueup_ledger::{Side, View};

use differential_dataflow::difference::{IsZero, Semigroup};

use crate::accounts::Declared;
use crate::books::Book;
use crate::hash::KeyHasher;
use crate::names::{AccountKey, AccountName, Interner};
use crate::record::Accepted;
use crate::sums::Sides;

/// Sums by account, currency and date.
pub(crate) type Movements = Vec<((AccountKey, i32), Sides)>;
/// Sums by account and currency.
pub(crate) type Pending = Vec<(AccountKey, Sides)>;
/// Sums by tenant, currency and hash range of transactions.
pub(crate) type Shards = Vec<((Book, u8), Sides)>;

/// Sums that are gathered.
type Sums<K> = HashMap<K, Sides, KeyHasher>;

/// Gathers rows, and the sums of the posting lines among them.
#[derive(Debug)]
pub(crate) struct Emitter {
    postings: Table,
    totals: Table,
    imbalances: Table,
    movements: Sums<(AccountKey, i32)>,
    pending: Sums<AccountKey>,
    declarations: Vec<(Declared, i8)>,
    books: Interner,
    known_books: HashMap<AccountKey, Book, KeyHasher>,
    shards: Sums<(AccountKey, u8)>,
    pending_shards: Sums<(AccountKey, u8)>,
    interner: Interner,
    accepted: BTreeMap<u32, Accepted>,
}

/// What an [`Emitter`] gathered in one epoch.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    pub(crate) tables: Vec<Table>,
    pub(crate) movements: Movements,
    pub(crate) pending: Pending,
    pub(crate) declarations: Vec<(Declared, i8)>,
    pub(crate) shards: Shards,
    pub(crate) pending_shards: Shards,
    pub(crate) names: Vec<AccountName>,
    pub(crate) accepted: Vec<(u32, Accepted)>,
}

impl Emitter {
    pub(crate) fn new() -> Emitter {
        Emitter {
            postings: Table::new(View::Postings),
            totals: Table::new(View::TransactionTotals),
            imbalances: Table::new(View::Imbalances),
            movements: HashMap::default(),
            pending: HashMap::default(),
            declarations: Vec::new(),
            books: Interner::default(),
            known_books: HashMap::default(),
            shards: HashMap::default(),
            pending_shards: HashMap::default(),
            interner: Interner::default(),
            accepted: BTreeMap::new(),
        }
    }

    pub(crate) fn accept(&mut self, partition: u32, new: bool) {
        let counts = self.accepted.entry(partition).or_default();
        if new {
            counts.applied += 1;
        } else {
            counts.duplicate += 1;
        }
    }

    /// Adds what ceases to be declared and what comes to be.
    pub(crate) fn declare(&mut self, before: Option<Declared>, after: Option<Declared>) {
        if before != after {
            self.declarations.extend(before.map(|declared| (declared, -1)));
            self.declarations.extend(after.map(|declared| (declared, 1)));
        }
    }

    /// Adds a change of one row; `shard` is that of its transaction.
    pub(crate) fn change(&mut self, view: View, values: &[Value<'_>], diff: i8, shard: u8) {
        match view {
            View::Postings => {
                self.postings.push(values, diff);
                self.add_line(values, diff, shard);
            }
            View::TransactionTotals => self.totals.push(values, diff),
            View::Imbalances => self.imbalances.push(values, diff),
            other => unreachable!("transactions have no rows in {}", other.name()),
        }
    }

    fn add_line(&mut self, values: &[Value<'_>], diff: i8, shard: u8) {
        let [
            Value::Text(tenant),
            _,
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
        let side = if side == Side::Debit.name() { Side::Debit } else { Side::Credit };
        let line = Sides::of_line(side, units, diff);
        let key = self.interner.account(tenant, account, currency);
        let book = self.books.account(tenant, "", currency);
        if status == PENDING {
            self.pending.entry(key).or_default().plus_equals(&line);
            self.pending_shards.entry((book, shard)).or_default().plus_equals(&line);
            return;
        }
        // Dates of four-digit years are well within 32 bits of days.
        let date = i32::try_from(effective_at.div_euclid(86_400_000_000)).unwrap_or(i32::MAX);
        self.movements.entry((key, date)).or_default().plus_equals(&line);
        self.shards.entry((book, shard)).or_default().plus_equals(&line);
    }

    /// Takes all that was gathered since the last call.
    pub(crate) fn take(&mut self) -> Emitted {
        let mut tables = Vec::new();
        for table in [&mut self.postings, &mut self.totals, &mut self.imbalances] {
            if !table.is_empty() {
                tables.push(std::mem::replace(table, Table::new(table.view())));
            }
        }
        for name in self.books.take_fresh() {
            let book = Book {
                key: name.key(),
                tenant: Arc::from(&*name.tenant),
                currency: Arc::from(&*name.currency),
            };
            self.known_books.insert(book.key, book);
        }
        let books = &self.known_books;
        let of_books = |((book, shard), sides)| ((books[&book].clone(), shard), sides);
        Emitted {
            tables,
            shards: changed(&mut self.shards).map(of_books).collect(),
            pending_shards: changed(&mut self.pending_shards).map(of_books).collect(),
            movements: changed(&mut self.movements).collect(),
            pending: changed(&mut self.pending).collect(),
            declarations: std::mem::take(&mut self.declarations),
            names: self.interner.take_fresh(),
            accepted: std::mem::take(&mut self.accepted).into_iter().collect(),
        }
    }
}

/// Takes out the sums that are not nothing.
fn changed<K>(sums: &mut Sums<K>) -> impl Iterator<Item = (K, Sides)> + '_ {
    sums.drain().filter(|(_, sides)| !sides.is_zero())
}

/// A transaction's rows as bytes, so that two states can be compared: one buffer for all rows, each
/// with its view's number in front.
#[derive(Debug, Default)]
pub(crate) struct EncodedRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowSink for EncodedRows {
    fn row(&mut self, view: View, values: &[Value<'_>]) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(1024);
        }
        self.bytes.push(view as u8);
        encode_row(values, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }
}

impl EncodedRows {
    fn sorted(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let rows = starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end]);
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        rows
    }
}

/// Emits what is in `new` and not in `old`, and retracts what is in `old` and not in `new`.
pub(crate) fn emit_difference(
    old: &EncodedRows,
    new: &EncodedRows,
    shard: u8,
    emitter: &mut Emitter,
) {
    let (old, new) = (old.sorted(), new.sorted());
    let gone = old.iter().filter(|row| new.binary_search(row).is_err()).map(|row| (*row, -1));
    let come = new.iter().filter(|row| old.binary_search(row).is_err()).map(|row| (*row, 1));
    let mut values = Vec::with_capacity(16);
    for (row, diff) in gone.chain(come) {
        let view = View::ALL[usize::from(row[0])];
        match decode_row(view, &row[1..], &mut values) {
            Ok(()) => emitter.change(view, &values, diff, shard),
            Err(error) => unreachable!("a row cannot be read back: {error}"),
        }
    }
}
