//! What is taken down of events with a sequence while they are pushed, on the way of every event:
//! rows of one width in one vector a service, in which nothing is looked for.

use hashbrown::HashMap;
use trueup_ledger::transaction::checked_sum;
use trueup_ledger::{Event, Posting, Side};
use xxhash_rust::xxh3::xxh3_64;

use crate::pairs::{ByNames, Named};
use crate::record::{Sent, SequenceRecord};

/// What an epoch of a worker has gathered, by tenant and service.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Partitions go by service more often than not, so mostly it is that of the event before.
    services: ByNames<Gathering>,
    /// How many rows a service had in the epoch before, one with the other: about as many are likely to come.
    expected: usize,
}

impl Gathered {
    /// Adds an event, if it has a sequence. `canonical` are its bytes.
    pub(crate) fn add(&mut self, event: &Event<'_>, canonical: &[u8]) {
        if let Some(sequence) = event.source.sequence {
            let (tenant, service) = (&*event.tenant, &*event.source.service);
            let room = self.expected + self.expected / 4;
            let new = || Gathering::new(tenant, service, room);
            let place = self.services.place((tenant, service), new);
            self.services[place].add(sequence, xxh3_64(canonical), &event.postings);
        }
    }

    /// Takes all that was gathered since the last call, in the order of tenants and services.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = SequenceRecord> + use<> {
        let gathered = std::mem::take(&mut self.services).into_sorted();
        let rows: usize = gathered.iter().map(|gathering| gathering.record.sent.len()).sum();
        self.expected = rows.checked_div(gathered.len()).unwrap_or(self.expected);
        gathered.into_iter().map(|gathering| gathering.record)
    }
}

/// What is gathered of one service.
struct Gathering {
    record: SequenceRecord,
    /// The place of each currency in the record.
    places: HashMap<Box<str>, usize>,
    /// The currency of the posting before.
    last: usize,
}

impl Named for Gathering {
    fn names(&self) -> (&str, &str) {
        (&self.record.tenant, &self.record.service)
    }
}

impl Gathering {
    fn new(tenant: &str, service: &str, room: usize) -> Gathering {
        let (tenant, service) = (tenant.into(), service.into());
        let (currencies, sent) = (Vec::new(), Vec::with_capacity(room));
        let record = SequenceRecord { tenant, service, currencies, sent };
        Gathering { record, places: HashMap::new(), last: 0 }
    }

    fn add(&mut self, sequence: u64, hash: u64, postings: &[Posting<'_>]) {
        let first = self.record.sent.len();
        for posting in postings {
            let currency = Some(self.currency(&posting.currency));
            let (debit, credit) = match posting.side {
                Side::Debit => (posting.amount.0, 0),
                Side::Credit => (0, posting.amount.0),
            };
            let row = Sent { sequence, hash, currency, debit, credit };
            match self.record.sent[first..].last_mut() {
                Some(last) if last.currency == currency => add(last, &row),
                _ => self.record.sent.push(row),
            }
        }
        match self.record.sent.len() - first {
            0 => {
                let (currency, debit, credit) = (None, 0, 0);
                self.record.sent.push(Sent { sequence, hash, currency, debit, credit });
            }
            1 => {}
            _ => self.join(first),
        }
    }

    /// Makes the rows from `first` on one a currency.
    fn join(&mut self, first: usize) {
        let sent = &mut self.record.sent;
        sent[first..].sort_unstable_by_key(|row| row.currency);
        let mut last = first;
        for next in first + 1..sent.len() {
            let row = sent[next];
            if sent[last].currency == row.currency {
                add(&mut sent[last], &row);
            } else {
                last += 1;
                sent[last] = row;
            }
        }
        sent.truncate(last + 1);
    }

    fn currency(&mut self, currency: &str) -> usize {
        if self.record.currencies.get(self.last).is_none_or(|last| **last != *currency) {
            let known = self.places.get(currency).copied();
            self.last = known.unwrap_or_else(|| {
                let place = self.record.currencies.len();
                self.record.currencies.push(currency.into());
                self.places.insert(currency.into(), place);
                place
            });
        }
        self.last
    }
}

fn add(sum: &mut Sent, row: &Sent) {
    sum.debit = checked_sum(sum.debit, row.debit);
    sum.credit = checked_sum(sum.credit, row.credit);
}

/// All that has come of a service in an epoch: each content once, in the order of sequences, the rows
/// of a content together.
#[derive(Default)]
pub(super) struct Arrived {
    pub(super) currencies: Vec<Box<str>>,
    pub(super) sent: Vec<Sent>,
}

impl Arrived {
    /// Puts together what the workers have gathered.
    pub(super) fn of(records: Vec<SequenceRecord>) -> Arrived {
        let mut arrived = Arrived::default();
        let mut places: HashMap<Box<str>, usize> = HashMap::new();
        for mut record in records {
            if arrived.currencies.is_empty() && arrived.sent.is_empty() {
                places.extend(record.currencies.iter().cloned().zip(0..));
                arrived.currencies = record.currencies;
                arrived.sent = record.sent;
                continue;
            }
            let known = record.currencies.into_iter().map(|currency| {
                *places.entry(currency).or_insert_with_key(|currency| {
                    arrived.currencies.push(currency.clone());
                    arrived.currencies.len() - 1
                })
            });
            let known: Vec<usize> = known.collect();
            record.sent.iter_mut().for_each(|row| row.currency = row.currency.map(|at| known[at]));
            arrived.sent.append(&mut record.sent);
        }
        // Stable, since that takes what is in order already as it is.
        arrived.sent.sort_by_key(|row| (row.sequence, row.hash, row.currency));
        arrived.sent.dedup_by_key(|row| (row.sequence, row.hash, row.currency));
        arrived
    }

    /// Returns the sequences, as ranges in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let runs = self.sent.chunk_by(|row, next| next.sequence - row.sequence <= 1);
        runs.filter_map(|run| Some((run.first()?.sequence, run.last()?.sequence)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::tests::{event, posting};

    fn gathered(events: &[Event<'_>]) -> Vec<SequenceRecord> {
        let mut gathered = Gathered::default();
        let mut canonical = Vec::new();
        for event in events {
            canonical.clear();
            event.encode(&mut canonical);
            gathered.add(event, &canonical);
        }
        gathered.take().collect()
    }

    fn sums(arrived: &Arrived) -> Vec<(u64, &str, i128, i128)> {
        let name = |row: &Sent| row.currency.map_or("", |place| &*arrived.currencies[place]);
        arrived.sent.iter().map(|row| (row.sequence, name(row), row.debit, row.credit)).collect()
    }

    #[test]
    fn a_content_is_one_row_a_currency() {
        let mixed = [
            posting(Side::Debit, 5, "EUR"),
            posting(Side::Credit, 7, "USD"),
            posting(Side::Credit, 5, "EUR"),
            posting(Side::Debit, 2, "EUR"),
        ];
        let one = event("s", Some(7), "a", &mixed);
        let none = event("s", Some(8), "b", &[]);
        let without = event("s", None, "c", &mixed);
        let other = event("r", Some(1), "d", &mixed[1..2]);
        let first = gathered(&[none.clone(), one.clone(), without, other]);
        let services: Vec<&str> = first.iter().map(|record| &*record.service).collect();
        assert_eq!(services, ["r", "s"]);
        // Another worker has seen the currencies in another order, and a copy.
        let second = gathered(&[event("s", Some(6), "e", &mixed[1..2]), one]);
        let records = [first[1..].to_vec(), second].concat();
        let arrived = Arrived::of(records);
        let expected = [(6, "USD", 0, 7), (7, "EUR", 7, 5), (7, "USD", 0, 7), (8, "", 0, 0)];
        assert_eq!(sums(&arrived), expected);
        assert_eq!(arrived.ranges().collect::<Vec<_>>(), [(6, 8)]);
    }

    #[test]
    fn contents_of_one_sequence_are_told_apart() {
        let lines = [posting(Side::Debit, 5, "EUR")];
        let both = [event("s", Some(9), "a", &lines), event("s", Some(9), "b", &lines)];
        let arrived = Arrived::of(gathered(&[&both[..], &both[..]].concat()));
        assert_eq!(sums(&arrived), [(9, "EUR", 5, 0), (9, "EUR", 5, 0)]);
    }
}
