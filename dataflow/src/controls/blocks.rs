//! What was sent of each service, so that the contents of a sequence are known again and those of any
//! range of sequences are summed exactly.
//!
//! ```text
//!  small  │ 256 sequences │ 256 sequences │ …    rows of contents
//!  large  │ 65,536 sequences                │ …  sums
//! ```
//!
//! A small block that has very many contents, as of a service that gives each the same number, is full:
//! what comes to it later is kept by itself, so that one more never costs as much as all before it.
//!
//! State: three spaces of the store. Which large blocks a service has is kept with its control totals, so
//! that however wide a range is, no more is visited than there is in it: the large blocks that
//! are in it as a whole, and at each of its ends the small ones of one large block.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use trueup_ledger::codec::{CodecError, Reader, put_text, put_varint};

use super::gather::Arrived;
use super::sums::{Summing, Sums};
use crate::record::Sent;
use crate::store::{Encode, Kept, KeyBytes, Space, StateKey, StateValue, WorkerState};
use crate::views::source_continuity::{RangeSet, ServiceKey};

const SMALL_BITS: u32 = 8;
const LARGE_BITS: u32 = 16;

/// How many rows a small block has when it is full; few in tests, so that some are.
const ROWS_MAX: usize = if cfg!(test) { 12 } else { 4096 };

/// The blocks of the services that a worker owns.
pub(super) struct Blocks {
    small: Rc<RefCell<Kept<BlockKey, Block>>>,
    /// The contents of full blocks that came later, each as a block of its own.
    beyond: Rc<RefCell<Kept<ContentKey, Block>>>,
    large: Rc<RefCell<Kept<BlockKey, Sums>>>,
}

impl Blocks {
    pub(super) fn new(state: &WorkerState) -> Blocks {
        Blocks {
            small: state.kept(Space::Sent),
            beyond: state.kept(Space::SentBeyond),
            large: state.kept(Space::SentSums),
        }
    }

    pub(super) fn begin(&self, epoch: u64) {
        self.small.borrow_mut().begin(epoch);
        self.beyond.borrow_mut().begin(epoch);
        self.large.borrow_mut().begin(epoch);
    }

    /// Adds contents of a service, and leaves those in `arrived` that were not there before. `present`
    /// are the large blocks that the service has.
    pub(super) fn add(&self, service: ServiceKey, arrived: &mut Arrived, present: &mut RangeSet) {
        let mut small = self.small.borrow_mut();
        let mut fresh = Vec::with_capacity(arrived.sent.len());
        let in_one_block =
            |row: &Sent, next: &Sent| row.sequence >> SMALL_BITS == next.sequence >> SMALL_BITS;
        for rows in arrived.sent.chunk_by(in_one_block) {
            let key = BlockKey { service, number: rows[0].sequence >> SMALL_BITS };
            if let Some(full) = small.get(&key).filter(|block| block.is_full()) {
                fresh.extend(self.add_beyond(key, &full, rows, &arrived.currencies));
                continue;
            }
            let mut block = small.take(&key).unwrap_or_default();
            fresh.extend_from_slice(&block.add(rows, &arrived.currencies));
            small.put(key, block);
        }
        arrived.sent = fresh;
        let mut large = self.large.borrow_mut();
        let in_one_block =
            |row: &Sent, next: &Sent| row.sequence >> LARGE_BITS == next.sequence >> LARGE_BITS;
        for rows in arrived.sent.chunk_by(in_one_block) {
            let key = BlockKey { service, number: rows[0].sequence >> LARGE_BITS };
            let mut sums = large.take(&key).unwrap_or_default();
            sums.add(&summed(rows, &arrived.currencies));
            large.put(key, sums);
            present.insert(key.number, key.number);
        }
    }

    /// Adds contents to a block that is full; returns the rows of those that were not there before.
    fn add_beyond(
        &self,
        key: BlockKey,
        full: &Block,
        rows: &[Sent],
        currencies: &[Box<str>],
    ) -> Vec<Sent> {
        let mut beyond = self.beyond.borrow_mut();
        let known: Vec<Row<'_>> = read(&full.rows).collect();
        let mut fresh = Vec::new();
        let one_content =
            |row: &Sent, next: &Sent| (row.sequence, row.hash) == (next.sequence, next.hash);
        for content in rows.chunk_by(one_content) {
            let row = Row::of(&content[0], currencies);
            let own = ContentKey { block: key, place: row.place, hash: row.hash };
            let is_known = known.binary_search_by_key(&row.content(), Row::content).is_ok();
            if is_known || beyond.contains(&own) {
                continue;
            }
            let mut block = Block::default();
            content.iter().for_each(|sent| block.append(&Row::of(sent, currencies)));
            beyond.put(own, block);
            fresh.extend_from_slice(content);
        }
        fresh
    }

    /// Returns the sums of a range, both ends included.
    pub(super) fn sum(
        &self,
        service: ServiceKey,
        present: &RangeSet,
        (from, to): (u64, u64),
    ) -> Sums {
        let (mut small, mut large) = (self.small.borrow_mut(), self.large.borrow_mut());
        let mut sums = Summing::default();
        for number in present
            .within(from >> LARGE_BITS, to >> LARGE_BITS)
            .flat_map(|(first, last)| first..=last)
        {
            let (start, end) = ends(number, LARGE_BITS);
            if from <= start && end <= to {
                if let Some(whole) = large.get(&BlockKey { service, number }) {
                    sums.add_all(&whole);
                }
                continue;
            }
            let (start, end) = (start.max(from), end.min(to));
            for number in start >> SMALL_BITS..=end >> SMALL_BITS {
                let key = BlockKey { service, number };
                let Some(block) = small.get(&key) else { continue };
                block.sum(number << SMALL_BITS, (start, end), &mut sums);
                if block.is_full() {
                    for block in self.beyond.borrow().select(vec![key.contents()]).values() {
                        block.sum(number << SMALL_BITS, (start, end), &mut sums);
                    }
                }
            }
        }
        sums.done()
    }
}

/// Returns the first and the last sequence of a block.
fn ends(number: u64, bits: u32) -> (u64, u64) {
    (number << bits, number << bits | ((1 << bits) - 1))
}

/// Returns the sums of rows, those of a content being together.
pub(super) fn summed(rows: &[Sent], currencies: &[Box<str>]) -> Sums {
    let mut sums = Summing::default();
    for content in rows.chunk_by(|row, next| (row.sequence, row.hash) == (next.sequence, next.hash))
    {
        sums.count(1);
        for row in content {
            sums.add(row.currency.map_or("", |place| &currencies[place]), row.debit, row.credit);
        }
    }
    sums.done()
}

/// The key of a block: the service, and the sequences divided by how many the block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct BlockKey {
    service: ServiceKey,
    number: u64,
}

impl BlockKey {
    /// Returns the two keys between which its contents lie that are kept by themselves.
    fn contents(self) -> (KeyBytes, KeyBytes) {
        let first = |block| ContentKey { block, place: 0, hash: 0 }.encode(Space::SentBeyond);
        (first(self), first(BlockKey { number: self.number + 1, ..self }))
    }
}

/// The key of a content of a full block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ContentKey {
    block: BlockKey,
    place: u8,
    hash: u64,
}

impl StateKey for ContentKey {
    fn encode(&self, space: Space) -> KeyBytes {
        let BlockKey { service, number } = self.block;
        let (service, number) = (service.0.to_be_bytes(), number.to_be_bytes());
        KeyBytes::new(space, &[&service, &number, &[self.place], &self.hash.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<ContentKey, CodecError> {
        let mut reader = Reader::new(bytes);
        let block = BlockKey::decode(reader.bytes(24)?)?;
        let place = reader.byte()?;
        let hash = u64::from_be_bytes(reader.rest().try_into().map_err(|_| CodecError)?);
        Ok(ContentKey { block, place, hash })
    }
}

impl StateKey for BlockKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.service.0.to_be_bytes(), &self.number.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<BlockKey, CodecError> {
        let (service, number) = bytes.split_at_checked(16).ok_or(CodecError)?;
        let service = u128::from_be_bytes(service.try_into().map_err(|_| CodecError)?);
        let number = u64::from_be_bytes(number.try_into().map_err(|_| CodecError)?);
        Ok(BlockKey { service: ServiceKey(service), number })
    }
}

/// The contents of a small block, encoded in memory too: what comes next in order, as nearly all does,
/// is written behind the rest, which is read only for what comes late or once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    /// The rows in the order of (sequence, hash).
    rows: Vec<u8>,
    /// How many there are.
    count: usize,
    /// The place of the last sequence.
    last: u8,
}

/// What a content of a block carries in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    /// The place in the block.
    place: u8,
    hash: u64,
    /// Empty where there are no postings.
    currency: &'a str,
    debit: i128,
    credit: i128,
}

impl<'a> Row<'a> {
    fn of(sent: &Sent, currencies: &'a [Box<str>]) -> Row<'a> {
        Row {
            place: sent.sequence.to_le_bytes()[0],
            hash: sent.hash,
            currency: sent.currency.map_or("", |place| &currencies[place]),
            debit: sent.debit,
            credit: sent.credit,
        }
    }

    fn content(&self) -> (u8, u64) {
        (self.place, self.hash)
    }

    /// Most contents balance; their amount is written once.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.place);
        out.extend_from_slice(&self.hash.to_le_bytes());
        let balances = self.debit == self.credit;
        put_text(out, self.currency);
        put_varint(out, self.debit.cast_unsigned() << 1 | u128::from(balances));
        if !balances {
            put_varint(out, self.credit.cast_unsigned());
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Row<'a>, CodecError> {
        let place = reader.byte()?;
        let hash = u64::from_le_bytes(reader.bytes(8)?.try_into().map_err(|_| CodecError)?);
        let currency = reader.text()?;
        let both = reader.varint()?;
        let debit = (both >> 1).cast_signed();
        let credit = if both & 1 == 1 { debit } else { reader.varint()?.cast_signed() };
        Ok(Row { place, hash, currency, debit, credit })
    }
}

impl Block {
    /// Adds rows of contents, in order, those of a content together; returns those of contents that
    /// were not there before.
    fn add<'r>(&mut self, rows: &'r [Sent], currencies: &[Box<str>]) -> Cow<'r, [Sent]> {
        let Some(first) = rows.first() else { return Cow::Borrowed(rows) };
        if self.rows.is_empty() || Row::of(first, currencies).place > self.last {
            rows.iter().for_each(|sent| self.append(&Row::of(sent, currencies)));
            return Cow::Borrowed(rows);
        }
        let Block { rows: before, count, last } = std::mem::take(self);
        let mut all: Vec<Row<'_>> = read(&before).collect();
        let known = all.len();
        let fresh = rows.iter().filter(|sent| {
            let content = Row::of(sent, currencies).content();
            all[..known].binary_search_by_key(&content, Row::content).is_err()
        });
        let fresh: Vec<Sent> = fresh.copied().collect();
        if fresh.is_empty() {
            drop(all);
            *self = Block { rows: before, count, last };
            return Cow::Owned(fresh);
        }
        all.extend(fresh.iter().map(|sent| Row::of(sent, currencies)));
        all.sort();
        all.iter().for_each(|row| self.append(row));
        Cow::Owned(fresh)
    }

    fn append(&mut self, row: &Row<'_>) {
        row.write(&mut self.rows);
        self.count += 1;
        self.last = row.place;
    }

    fn is_full(&self) -> bool {
        self.count >= ROWS_MAX
    }

    /// Adds the contents of a range to sums. `start` is the sequence at which the block begins.
    fn sum(&self, start: u64, (from, to): (u64, u64), sums: &mut Summing) {
        let mut before = None;
        for row in read(&self.rows) {
            let sequence = start | u64::from(row.place);
            if from <= sequence && sequence <= to {
                let content = Some(row.content());
                sums.count(u64::from(content != before));
                sums.add(row.currency, row.debit, row.credit);
                before = content;
            }
        }
    }
}

fn read(rows: &[u8]) -> impl Iterator<Item = Row<'_>> {
    let mut reader = Reader::new(rows);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        match Row::read(&mut reader) {
            Ok(row) => Some(row),
            Err(error) => unreachable!("a block that was checked cannot be read: {error}"),
        }
    })
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rows);
    }
}

impl StateValue for Block {
    fn decode(reader: &mut Reader<'_>) -> Result<Block, CodecError> {
        let rows = reader.rest();
        let mut block = Block { rows: rows.to_vec(), ..Block::default() };
        let mut rest = Reader::new(rows);
        while !rest.is_empty() {
            block.last = Row::read(&mut rest)?.place;
            block.count += 1;
        }
        Ok(block)
    }

    fn heap_bytes(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests;
