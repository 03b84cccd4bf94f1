//! `period_adjustments`: what closed months held when their closings began, and hold now.
//!
//! In: changes of posted sums in closed months, by account; the closings of months, to every
//! worker. Out: rows of `period_adjustments`. Key: tenant, period, account, currency. State: the sums
//! of an account in a closed month, in the store; which months are closed. The operator that owns it
//! is that of [`super::accounts`], since a month that is closed is the sum of its days at the end of
//! an epoch.
//!
//! Order within an epoch: its movements are posted, into months too that were closed before it;
//! then what is closed no more goes; then what it closes is frozen as it is at its end. A month
//! that an epoch opens and closes again goes and comes, which is no change where nothing is
//! different.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use trueup_ledger::codec::{CodecError, Reader};
use trueup_ledger::table::Value;
use trueup_ledger::transaction::checked_sum;
use trueup_ledger::{Month, Table};

use super::daily_movements::Days;
use crate::names::{AccountName, DatedKey, tenant_bits};
use crate::periods::{ClosedMonths, Closing};
use crate::store::{Encode, Kept, Space, StateValue, WorkerState};
use crate::sums::Sides;
use crate::totals::{SharedDirectory, consolidate};

/// Some months of some tenants.
type Months<'a> = BTreeSet<(&'a str, Month)>;

/// The closed months of the accounts that one worker owns.
pub(super) struct Adjustments {
    closed: Rc<RefCell<Kept<DatedKey, ClosedSums>>>,
    /// The months that are closed before the epoch.
    months: ClosedMonths,
    directory: SharedDirectory,
    state: WorkerState,
}

impl Adjustments {
    pub(super) fn new(state: &WorkerState, directory: SharedDirectory) -> Adjustments {
        let (closed, months) = (state.kept(Space::Closed), ClosedMonths::default());
        Adjustments { closed, months, directory, state: state.clone() }
    }

    pub(super) fn begin(&mut self, epoch: u64) {
        self.closed.borrow_mut().begin(epoch);
    }

    /// Returns the months that are closed before the epoch.
    pub(super) fn closed(&self) -> &ClosedMonths {
        &self.months
    }

    /// Applies what an epoch has changed in months that are closed, given by account and month, and what
    /// it closes and opens again, at its end, when `days` are those of it. Pushes the rows that this
    /// changes.
    pub(super) fn change(
        &mut self,
        days: &Days,
        in_closed: Vec<(DatedKey, Sides)>,
        closings: &[Closing],
        rows: &mut Table,
    ) {
        self.adjust(in_closed, rows);
        let named = |closing: &&Closing| self.months.has(&closing.tenant, closing.month);
        self.end(closings.iter().filter(named), rows);
        self.freeze(days, closings.iter().filter(|closing| closing.since.is_some()), rows);
        self.follow(closings);
    }

    /// Follows what an epoch has closed and opened again.
    pub(super) fn follow(&mut self, closings: &[Closing]) {
        for closing in closings {
            self.months.apply(closing);
        }
    }

    /// Adds what has changed in months that are closed, given by account and month.
    fn adjust(&self, mut changes: Vec<(DatedKey, Sides)>, table: &mut Table) {
        let mut closed = self.closed.borrow_mut();
        consolidate(&mut changes);
        for (key, change) in changes {
            let before = closed.get(&key).map(|sums| *sums).unwrap_or_default();
            let after = ClosedSums { current: before.current.plus(&change), ..before };
            if after == ClosedSums::default() {
                closed.remove(key);
            } else {
                closed.put(key, after);
            }
            self.directory.with_name(key.account(), |name| {
                push(name, key, &before, table, -1);
                push(name, key, &after, table, 1);
            });
        }
    }

    /// Takes out the months whose closings are no longer in force.
    fn end<'a>(&self, closings: impl Iterator<Item = &'a Closing>, table: &mut Table) {
        let months: Months<'_> =
            closings.map(|closing| (&*closing.tenant, closing.month)).collect();
        if months.is_empty() {
            return;
        }
        let times =
            months.iter().map(|(tenant, month)| (tenant_bits(tenant), month.0..month.0 + 1));
        let ranges = DatedKey::ranges(Space::Closed, &self.state, times);
        let mut closed = self.closed.borrow_mut();
        for (key, sums) in closed.select(ranges) {
            self.directory.with_name(key.account(), |name| {
                if months.contains(&(name.tenant(), Month(key.at))) {
                    push(name, key, &sums, table, -1);
                    closed.remove(key);
                }
            });
        }
    }

    /// Freezes the months whose closings begin.
    fn freeze<'a>(
        &self,
        days: &Days,
        closings: impl Iterator<Item = &'a Closing>,
        table: &mut Table,
    ) {
        let months: Months<'_> =
            closings.map(|closing| (&*closing.tenant, closing.month)).collect();
        if months.is_empty() {
            return;
        }
        let times = months.iter().map(|(tenant, month)| (tenant_bits(tenant), month.dates()));
        let ranges = DatedKey::ranges(Space::Days, &self.state, times);
        let mut closed = self.closed.borrow_mut();
        for (key, sides) in days.months(ranges) {
            self.directory.with_name(key.account(), |name| {
                if months.contains(&(name.tenant(), Month(key.at))) {
                    let sums = ClosedSums::of(&sides);
                    push(name, key, &sums, table, 1);
                    closed.put(key, sums);
                }
            });
        }
    }
}

/// Debits − credits, and how many lines they are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Net {
    units: i128,
    lines: i64,
}

impl Net {
    fn plus(self, sides: &Sides) -> Net {
        Net { units: checked_sum(self.units, sides.difference()), lines: self.lines + sides.lines }
    }
}

/// What an account held in a closed month when the closing began, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ClosedSums {
    closed: Net,
    current: Net,
}

impl ClosedSums {
    /// Returns those of a month whose closing begins.
    fn of(sides: &Sides) -> ClosedSums {
        let net = Net::default().plus(sides);
        ClosedSums { closed: net, current: net }
    }

    fn has_lines(&self) -> bool {
        self.closed.lines > 0 || self.current.lines > 0
    }
}

/// Pushes the row of an account's month, if it has one.
fn push(name: &AccountName, key: DatedKey, sums: &ClosedSums, table: &mut Table, diff: i8) {
    if !sums.has_lines() {
        return;
    }
    let (closed, current) = (sums.closed.units, sums.current.units);
    let row = [
        Value::Text(name.tenant()),
        Value::Text(&Month(key.at).to_string()),
        Value::Text(name.account()),
        Value::Text(name.currency()),
        Value::Amount(closed),
        Value::Amount(current),
        Value::Amount(checked_sum(current, -closed)),
    ];
    table.push(&row, diff);
}

impl Net {
    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.units.to_le_bytes());
        out.extend_from_slice(&self.lines.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Net, CodecError> {
        let units = reader.bytes(16)?.try_into().map_err(|_| CodecError)?;
        let lines = reader.bytes(8)?.try_into().map_err(|_| CodecError)?;
        Ok(Net { units: i128::from_le_bytes(units), lines: i64::from_le_bytes(lines) })
    }
}

/// Nearly all that was closed stays as it was; only the rest pays for it.
impl Encode for ClosedSums {
    fn encode(&self, out: &mut Vec<u8>) {
        self.closed.encode(out);
        if self.current != self.closed {
            self.current.encode(out);
        }
    }
}

impl StateValue for ClosedSums {
    fn decode(reader: &mut Reader<'_>) -> Result<ClosedSums, CodecError> {
        let closed = Net::decode(reader)?;
        let current = if reader.is_empty() { closed } else { Net::decode(reader)? };
        if reader.is_empty() { Ok(ClosedSums { closed, current }) } else { Err(CodecError) }
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
