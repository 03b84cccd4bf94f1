//! `late_into_closed_period`: a transaction whose posted lines in a closed month are not what they
//! were when its closing began.
//!
//! In: changes of posted lines in months that were closed before the epoch; the closings of months,
//! to every worker. Out: rows of `imbalances`. Subject: transaction`/`month; amount: the sum of the
//! changes of net that are positive, over the accounts in the currency. State: what a transaction
//! has changed in a month since its closing began, by account, in the store; nothing once it is
//! undone.
//!
//! An epoch that brings another closing of a month, or opens it, ends what was late into the one
//! before, though it is of the same epoch: a closing freezes what is in the books at its end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use timely::dataflow::Stream;
use trueup_ledger::codec::{CodecError, Reader, put_text};
use trueup_ledger::transaction::{checked_sum, escape_subject};
use trueup_ledger::{Month, Table, View};

use super::Finding;
use crate::names::{AccountKey, DatedKey, tenant_bits};
use crate::periods::Closing;
use crate::record::LateLine;
use crate::store::{Encode, Kept, Space, StateValue, WorkerState};
use crate::totals::by_epoch;
use crate::transactions::Tables;

/// Builds the detector. `since` is the epoch that the state is of.
pub(crate) fn late_into_closed_period<'s>(
    lines: Stream<'s, u64, Vec<LateLine>>,
    closings: Stream<'s, u64, Vec<Closing>>,
    state: &WorkerState,
    since: u64,
) -> Tables<'s> {
    let late = LateWork { kept: state.kept(Space::Late), state: state.clone() };
    by_epoch(
        lines,
        closings,
        "LateIntoClosedPeriod",
        |line: &LateLine| u64::from(line.transaction.shard()),
        Vec::append,
        move |epoch, lines, closings| {
            // The closings that the store had kept are those that its records are late into.
            if epoch > since { late.epoch(epoch, lines, &closings) } else { Vec::new() }
        },
    )
}

/// What the transactions that one worker owns have changed in closed months.
struct LateWork {
    kept: Rc<RefCell<Kept<DatedKey, Late>>>,
    state: WorkerState,
}

impl LateWork {
    /// Applies what comes in one epoch; returns the rows that it changes.
    fn epoch(&self, epoch: u64, lines: &mut Vec<LateLine>, closings: &[Closing]) -> Vec<Table> {
        let mut kept = self.kept.borrow_mut();
        kept.begin(epoch);
        let mut table = Table::new(View::Imbalances);
        add(&mut kept, lines.drain(..), &mut table);
        self.end(&mut kept, closings, &mut table);
        vec![table]
    }

    /// Takes out what was late into closings that are no longer in force.
    fn end(&self, kept: &mut Kept<DatedKey, Late>, closings: &[Closing], table: &mut Table) {
        if closings.is_empty() {
            return;
        }
        let months: BTreeSet<(&str, Month)> =
            closings.iter().map(|closing| (&*closing.tenant, closing.month)).collect();
        let times =
            months.iter().map(|(tenant, month)| (tenant_bits(tenant), month.0..month.0 + 1));
        let ranges = DatedKey::ranges(Space::Late, &self.state, times);
        for (key, late) in kept.select(ranges) {
            let month = Month(key.at);
            if months.contains(&(&*late.tenant, month)) {
                late.push(month, table, -1);
                kept.remove(key);
            }
        }
    }
}

/// Adds the lines of one epoch to what their transactions have changed.
fn add(kept: &mut Kept<DatedKey, Late>, lines: impl Iterator<Item = LateLine>, table: &mut Table) {
    let mut touched: BTreeMap<DatedKey, Late> = BTreeMap::new();
    for line in lines {
        let key = DatedKey {
            key: line.transaction.0,
            at: line.month.0,
            tenant: tenant_bits(&line.tenant),
        };
        let late = touched.entry(key).or_insert_with(|| match kept.take(&key) {
            Some(late) => {
                late.push(line.month, table, -1);
                late
            }
            None => Late::new(&line),
        });
        late.add(line);
    }
    for (key, late) in touched {
        if late.nets.is_empty() {
            kept.remove(key);
        } else {
            late.push(Month(key.at), table, 1);
            kept.put(key, late);
        }
    }
}

/// What one transaction has changed in one month since its closing began.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Late {
    tenant: Box<str>,
    transaction_id: Box<str>,
    /// By account, in order; none of 0.
    nets: Vec<LateNet>,
}

/// By how much debits − credits of an account have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LateNet {
    account: AccountKey,
    currency: Box<str>,
    units: i128,
}

impl Late {
    fn new(line: &LateLine) -> Late {
        Late {
            tenant: line.tenant.clone(),
            transaction_id: line.transaction_id.clone(),
            nets: Vec::new(),
        }
    }

    fn add(&mut self, line: LateLine) {
        let LateLine { account, currency, net, .. } = line;
        match self.nets.binary_search_by_key(&account, |net| net.account) {
            Ok(place) => {
                let units = checked_sum(self.nets[place].units, net);
                if units == 0 {
                    self.nets.remove(place);
                } else {
                    self.nets[place].units = units;
                }
            }
            Err(place) if net != 0 => {
                self.nets.insert(place, LateNet { account, currency, units: net });
            }
            Err(_) => {}
        }
    }

    /// Pushes a row for each currency in which something has changed.
    fn push(&self, month: Month, table: &mut Table, diff: i8) {
        let mut amounts: BTreeMap<&str, i128> = BTreeMap::new();
        for net in &self.nets {
            let amount = amounts.entry(&net.currency).or_default();
            *amount = checked_sum(*amount, net.units.max(0));
        }
        for (currency, amount) in amounts {
            let finding = Finding {
                tenant: &self.tenant,
                detector: "late_into_closed_period",
                subject: &format!("{}/{month}", escape_subject(&self.transaction_id)),
                currency,
                amount,
                severity: "warning",
                detail: &format!(r#"{{"period":"{month}"}}"#),
            };
            finding.push(table, diff);
        }
    }
}

impl Encode for Late {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.tenant);
        put_text(out, &self.transaction_id);
        for net in &self.nets {
            out.extend_from_slice(&net.account.0.to_le_bytes());
            put_text(out, &net.currency);
            out.extend_from_slice(&net.units.to_le_bytes());
        }
    }
}

impl StateValue for Late {
    fn decode(reader: &mut Reader<'_>) -> Result<Late, CodecError> {
        let (tenant, transaction_id) = (reader.text()?.into(), reader.text()?.into());
        let mut nets = Vec::new();
        while !reader.is_empty() {
            let account = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
            let currency = reader.text()?.into();
            let units = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
            nets.push(LateNet {
                account: AccountKey(u128::from_le_bytes(account)),
                currency,
                units: i128::from_le_bytes(units),
            });
        }
        Ok(Late { tenant, transaction_id, nets })
    }

    fn heap_bytes(&self) -> usize {
        let currencies = self.nets.iter().map(|net| net.currency.len());
        self.tenant.len()
            + self.transaction_id.len()
            + self.nets.capacity() * size_of::<LateNet>()
            + currencies.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use trueup_ledger::{Scale, TransactionKey};

    use super::*;

    fn line(account: u128, currency: &str, net: i128) -> LateLine {
        LateLine {
            tenant: "a".into(),
            month: Month::parse("2026-10").unwrap(),
            transaction: TransactionKey::of("a", "x/1"),
            transaction_id: "x/1".into(),
            account: AccountKey(account),
            currency: currency.into(),
            net,
        }
    }

    #[test]
    fn what_is_undone_is_not_kept() {
        let first = line(2, "EUR", 5);
        let mut late = Late::new(&first);
        for (change, left) in [
            (first, 1),
            (line(1, "EUR", -5), 2),
            (line(3, "USD", 0), 2),
            (line(2, "EUR", -3), 2),
            (line(2, "EUR", -2), 1),
            (line(1, "EUR", 5), 0),
        ] {
            late.add(change);
            assert_eq!(late.nets.len(), left);
            assert!(late.nets.is_sorted_by_key(|net| net.account));
            let mut bytes = Vec::new();
            late.encode(&mut bytes);
            assert_eq!(Late::decode(&mut Reader::new(&bytes)), Ok(late.clone()));
            bytes.push(0);
            assert!(Late::decode(&mut Reader::new(&bytes)).is_err());
        }
    }

    #[test]
    fn a_row_says_what_was_added_in_its_currency() {
        let first = line(1, "EUR", 5);
        let mut late = Late::new(&first);
        for change in [first, line(2, "EUR", -7), line(3, "EUR", 2), line(4, "USD", 1)] {
            late.add(change);
        }
        // A currency that is only taken from has changed, by nothing that was added.
        late.add(line(5, "CHF", -1));
        let mut table = Table::new(View::Imbalances);
        late.push(Month::parse("2026-10").unwrap(), &mut table, 1);
        let rows: Vec<Vec<String>> = (0..table.len())
            .map(|row| {
                let row = table.row(row);
                row.iter().map(|datum| datum.display(Scale::DEFAULT)).collect()
            })
            .collect();
        let detail = r#"{"period":"2026-10"}"#;
        let expected = |currency: &str, amount: &str| {
            ["a", "late_into_closed_period", "x%2F1/2026-10", currency, amount, "warning", detail]
                .map(str::to_owned)
        };
        let rows_expected = [("CHF", "0"), ("EUR", "0.000000007"), ("USD", "0.000000001")];
        assert_eq!(rows, rows_expected.map(|(currency, amount)| expected(currency, amount)));
    }
}
