//! What is kept of one payment: the sums of both sides, and their dates.
//!
//! A payment is kept while either side has a line of it, though both sums be 0, and forgotten with
//! the last one.

use std::cmp::Reverse;
use std::sync::Arc;

use trueup_ledger::codec::{CodecError, Reader, put_text, put_varint};
use trueup_ledger::key::name_hash;
use trueup_ledger::transaction::checked_sum;

use super::{Change, Party, Reconciled, Reference, State};
use crate::store::{Encode, KeyBytes, Space, StateKey, StateValue};

/// What one side says of a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    /// The sum, in units.
    units: i128,
    /// How many lines it is of.
    lines: u32,
}

/// What both sides say of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payment {
    name: Arc<Reference>,
    ledger: Said,
    processor: Said,
    /// The dates of all lines, and how many lines are of each, in order. They are nearly always one
    /// or two.
    dates: Vec<(i32, u32)>,
}

impl Payment {
    /// Applies the changes of an epoch, which are of this payment; returns it while it has lines.
    ///
    /// # Panics
    /// Where another payment has the same 128-bit key: their sums would be one. And where a line
    /// goes that never came.
    pub(super) fn changed(known: Option<Payment>, mut changes: Vec<Change>) -> Option<Payment> {
        // What comes is counted first, so that no count is below 0 in between.
        changes.sort_by_key(|change| Reverse(change.lines));
        let mut payment = known;
        for Change { name, party, date, units, lines } in changes {
            let payment = payment.get_or_insert_with(|| Payment {
                name: Arc::new(name.clone()),
                ledger: Said::default(),
                processor: Said::default(),
                dates: Vec::new(),
            });
            assert_eq!(*payment.name, name, "two payments share one key");
            let said = match party {
                Party::Ledger => &mut payment.ledger,
                Party::Processor => &mut payment.processor,
            };
            said.units = checked_sum(said.units, units);
            said.lines = counted(said.lines, lines);
            payment.count_date(date, lines);
        }
        payment.filter(|payment| {
            let Payment { ledger, processor, dates, .. } = payment;
            for said in [ledger, processor] {
                assert!(said.lines > 0 || said.units == 0, "a sum without lines is 0");
            }
            !dates.is_empty()
        })
    }

    fn count_date(&mut self, date: i32, lines: i8) {
        match self.dates.binary_search_by_key(&date, |(date, _)| *date) {
            Ok(place) => {
                let count = counted(self.dates[place].1, lines);
                if count == 0 {
                    self.dates.remove(place);
                } else {
                    self.dates[place].1 = count;
                }
            }
            Err(place) => {
                if self.dates.is_empty() {
                    // Nearly every payment has one; a vector that grows by itself begins with four.
                    self.dates.reserve_exact(1);
                }
                self.dates.insert(place, (date, counted(0, lines)));
            }
        }
    }

    /// Returns what the view shows of the payment.
    pub(super) fn reconciled(&self) -> Option<Reconciled> {
        let (since, _) = *self.dates.first()?;
        let state = match (self.ledger.lines, self.processor.lines) {
            (_, 0) => State::LedgerOnly,
            (0, _) => State::StatementOnly,
            _ if self.ledger.units == self.processor.units => State::Matched,
            _ => State::Differs,
        };
        Some(Reconciled {
            name: Arc::clone(&self.name),
            ledger_amount: self.ledger.units,
            statement_amount: self.processor.units,
            state,
            since,
        })
    }
}

fn counted(count: u32, lines: i8) -> u32 {
    match count.checked_add_signed(i32::from(lines)) {
        Some(count) => count,
        None => unreachable!("{count} lines cannot change by {lines}"),
    }
}

/// The key of a payment: 128 bits of BLAKE3 over its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PaymentKey(u128);

impl PaymentKey {
    pub(super) fn of(name: &Reference) -> PaymentKey {
        let Reference { tenant, processor, reference, currency } = name;
        PaymentKey(name_hash(&[tenant, processor, reference, currency]))
    }

    pub(super) fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }
}

impl StateKey for PaymentKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<PaymentKey, CodecError> {
        Ok(PaymentKey(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?)))
    }
}

impl Said {
    fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.lines));
        if self.lines > 0 {
            out.extend_from_slice(&self.units.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Said, CodecError> {
        let lines = count(reader)?;
        if lines == 0 {
            return Ok(Said::default());
        }
        let units = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
        Ok(Said { units: i128::from_le_bytes(units), lines })
    }
}

fn count(reader: &mut Reader<'_>) -> Result<u32, CodecError> {
    u32::try_from(reader.varint()?).map_err(|_| CodecError)
}

impl Encode for Payment {
    fn encode(&self, out: &mut Vec<u8>) {
        let Reference { tenant, processor, reference, currency } = &*self.name;
        for name in [tenant, processor, reference, currency] {
            put_text(out, name);
        }
        self.ledger.encode(out);
        self.processor.encode(out);
        for (date, count) in &self.dates {
            out.extend_from_slice(&date.to_le_bytes());
            put_varint(out, u128::from(*count));
        }
    }
}

impl StateValue for Payment {
    fn decode(reader: &mut Reader<'_>) -> Result<Payment, CodecError> {
        let name = Reference {
            tenant: reader.text()?.into(),
            processor: reader.text()?.into(),
            reference: reader.text()?.into(),
            currency: reader.text()?.into(),
        };
        let (ledger, processor) = (Said::decode(reader)?, Said::decode(reader)?);
        let mut dates = Vec::new();
        while !reader.is_empty() {
            let date = reader.bytes(4)?.try_into().map_err(|_| CodecError)?;
            dates.push((i32::from_le_bytes(date), count(reader)?));
        }
        Ok(Payment { name: Arc::new(name), ledger, processor, dates })
    }

    fn heap_bytes(&self) -> usize {
        let Reference { tenant, processor, reference, currency } = &*self.name;
        let names = tenant.len() + processor.len() + reference.len() + currency.len();
        names + size_of::<Reference>() + 2 * size_of::<usize>() + size_of_val(&*self.dates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(party: Party, date: i32, units: i128, lines: i8) -> Change {
        let name = Reference {
            tenant: "acme".into(),
            processor: "stripe".into(),
            reference: "t1".into(),
            currency: "EUR".into(),
        };
        Change { name, party, date, units, lines }
    }

    fn ledger(date: i32, units: i128, lines: i8) -> Change {
        change(Party::Ledger, date, units, lines)
    }

    fn stated(date: i32, units: i128, lines: i8) -> Change {
        change(Party::Processor, date, units, lines)
    }

    /// What is to be seen: ledger, statements, difference, state, since.
    type Seen = (i128, i128, i128, &'static str, i32);

    fn seen(payment: Option<&Payment>) -> Option<Seen> {
        let row = payment?.reconciled()?;
        let difference = row.difference();
        Some((row.ledger_amount, row.statement_amount, difference, row.state.name(), row.since))
    }

    #[test]
    fn a_payment_is_what_its_lines_are() {
        // The epochs of one payment, one after the other.
        let steps: Vec<(Vec<Change>, Option<Seen>)> = vec![
            (vec![ledger(10, 7, 1)], Some((7, 0, 7, "ledger_only", 10))),
            (vec![stated(12, 5, 1)], Some((7, 5, 2, "differs", 10))),
            (vec![stated(11, 2, 1)], Some((7, 7, 0, "matched", 10))),
            // The lines of a correction: one goes and another comes, which may be read first.
            (vec![ledger(10, -7, -1), ledger(13, 6, 1)], Some((6, 7, -1, "differs", 11))),
            (vec![ledger(13, -6, -1)], Some((0, 7, -7, "statement_only", 11))),
            (vec![stated(11, -2, -1)], Some((0, 5, -5, "statement_only", 12))),
            (vec![stated(12, -5, -1), stated(12, 0, 1)], Some((0, 0, 0, "statement_only", 12))),
            (vec![ledger(9, 0, 1), ledger(9, 3, 1)], Some((3, 0, 3, "differs", 9))),
            (vec![ledger(9, -3, -1)], Some((0, 0, 0, "matched", 9))),
            (vec![stated(12, 0, -1)], Some((0, 0, 0, "ledger_only", 9))),
            (vec![ledger(9, 0, -1)], None),
            (vec![stated(1, -4, -1), stated(1, 4, 1)], None),
        ];
        let mut payment = None;
        for (number, (changes, expected)) in steps.into_iter().enumerate() {
            payment = Payment::changed(payment, changes);
            assert_eq!(seen(payment.as_ref()), expected, "step {number}");
            if let Some(payment) = &payment {
                let mut bytes = Vec::new();
                payment.encode(&mut bytes);
                assert_eq!(Payment::decode(&mut Reader::new(&bytes)).as_ref(), Ok(payment));
                assert!(Payment::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
            }
        }
    }

    #[test]
    #[should_panic(expected = "cannot change")]
    fn a_line_that_never_came_cannot_go() {
        let payment = Payment::changed(None, vec![ledger(10, 7, 1)]);
        let _ = Payment::changed(payment, vec![ledger(11, -7, -1)]);
    }

    #[test]
    fn every_name_makes_a_payment_of_its_own() {
        let name = change(Party::Ledger, 0, 0, 1).name;
        let mut others = vec![name.clone(); 5];
        others[1].tenant = "other".into();
        others[2].processor = "adyen".into();
        others[3].reference = "t2".into();
        others[4].currency = "USD".into();
        let keys: std::collections::BTreeSet<_> = others.iter().map(PaymentKey::of).collect();
        assert_eq!(keys.len(), others.len());
        let key = PaymentKey::of(&name);
        let bytes = key.encode(Space::Reconciliation);
        assert_eq!(PaymentKey::decode(&bytes.as_bytes()[1..]), Ok(key));
        assert_eq!(bytes.as_bytes()[1], key.shard());
    }
}
