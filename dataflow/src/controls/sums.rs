//! How many contents there are, and what they carry in each currency.

use std::collections::BTreeMap;

use trueup_ledger::codec::{CodecError, Reader, put_text, put_varint};
use trueup_ledger::transaction::checked_sum;

use crate::store::{Encode, StateValue};

/// Debits and credits of a currency, in units.
pub(crate) type Sum = (Box<str>, i128, i128);

/// A count of contents and their sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sums {
    /// How many contents.
    pub(crate) count: u64,
    /// The sums by currency, in order; none with two zeros.
    pub(crate) totals: Vec<Sum>,
}

impl Sums {
    /// Adds others.
    pub(crate) fn add(&mut self, other: &Sums) {
        self.count += other.count;
        let before = self.totals.len();
        for (currency, debit, credit) in &other.totals {
            let known = &mut self.totals[..before];
            match known.binary_search_by(|(name, ..)| name.cmp(currency)) {
                Ok(place) => {
                    let sum = &mut known[place];
                    sum.1 = checked_sum(sum.1, *debit);
                    sum.2 = checked_sum(sum.2, *credit);
                }
                Err(_) => self.totals.push((currency.clone(), *debit, *credit)),
            }
        }
        if self.totals.len() > before {
            self.totals.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
}

/// Sums being made of many rows.
#[derive(Default)]
pub(crate) struct Summing {
    count: u64,
    totals: BTreeMap<Box<str>, (i128, i128)>,
}

impl Summing {
    /// Adds so many contents.
    pub(crate) fn count(&mut self, contents: u64) {
        self.count += contents;
    }

    /// Adds what contents carry in a currency.
    pub(crate) fn add(&mut self, currency: &str, debit: i128, credit: i128) {
        match self.totals.get_mut(currency) {
            Some(sum) => {
                sum.0 = checked_sum(sum.0, debit);
                sum.1 = checked_sum(sum.1, credit);
            }
            None if debit == 0 && credit == 0 => {}
            None => drop(self.totals.insert(currency.into(), (debit, credit))),
        }
    }

    /// Adds other sums.
    pub(crate) fn add_all(&mut self, sums: &Sums) {
        self.count(sums.count);
        sums.totals
            .iter()
            .for_each(|(currency, debit, credit)| self.add(currency, *debit, *credit));
    }

    /// Returns the sums.
    pub(crate) fn done(self) -> Sums {
        let totals = self.totals.into_iter();
        let totals = totals.map(|(currency, (debit, credit))| (currency, debit, credit));
        Sums { count: self.count, totals: totals.collect() }
    }
}

impl Encode for Sums {
    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, u128::from(self.count));
        put_varint(out, self.totals.len() as u128);
        for (currency, debit, credit) in &self.totals {
            put_text(out, currency);
            // Amounts are never negative.
            put_varint(out, debit.cast_unsigned());
            put_varint(out, credit.cast_unsigned());
        }
    }
}

impl StateValue for Sums {
    fn decode(reader: &mut Reader<'_>) -> Result<Sums, CodecError> {
        let count = reader.varint_u64()?;
        let totals = (0..reader.length()?).map(|_| {
            let currency = reader.text()?.into();
            Ok((currency, reader.varint()?.cast_signed(), reader.varint()?.cast_signed()))
        });
        Ok(Sums { count, totals: totals.collect::<Result<_, CodecError>>()? })
    }

    fn heap_bytes(&self) -> usize {
        // A currency has few letters.
        self.totals.len() * (size_of::<Sum>() + size_of::<usize>())
    }
}
