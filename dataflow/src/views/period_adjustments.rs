//! `period_adjustments`: what closed months held when their closings began, and hold now.
//!
//! ```text
//!  movements ─by account─▶ ┌─────────────────┐ ─▶ daily_movements
//!  closings ──────────────▶│ Days ─▶ Closed  │
//!  names recorded ────────▶└─────────────────┘ ─▶ period_adjustments
//! ```
//!
//! In: changes of posted sums by account and date; the closings of months, to every worker. Out:
//! rows of `period_adjustments`, and those of `daily_movements`, of whose days a closing is the
//! sum. Key: tenant, period, account, currency. State: the days; the sums of an account in a closed
//! month, in the store; which months are closed.
//!
//! Order within an epoch: its movements are posted, into months too that were closed before it;
//! then what is closed no more goes; then what it closes is frozen as it is at its end. A month
//! that an epoch opens and closes again goes and comes, which is no change where nothing is
//! different.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use timely::dataflow::Stream;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::codec::{CodecError, Reader};
use trueup_ledger::table::Value;
use trueup_ledger::transaction::checked_sum;
use trueup_ledger::{Month, Table, View};

use crate::names::{AccountName, DatedKey, tenant_bits};
use crate::periods::{ClosedMonths, Closing};
use crate::store::{Encode, Kept, Space, StateValue, WorkerState};
use crate::sums::Sides;
use crate::totals::{SharedDirectory, by_epoch_beside, consolidated, route};
use crate::transactions::Tables;
use crate::views::daily_movements::{Days, month_of};

/// Builds both views. `since` is the epoch that the state is of.
pub(crate) fn period_adjustments<'s>(
    movements: Stream<'s, u64, Vec<(DatedKey, Sides)>>,
    closings: Stream<'s, u64, Vec<Closing>>,
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
    (state, since): (&WorkerState, u64),
) -> Tables<'s> {
    let mut adjustments = Adjustments {
        days: Days::new(state, Rc::clone(&directory)),
        closed: state.kept(Space::Closed),
        months: ClosedMonths::default(),
        directory,
        state: state.clone(),
    };
    // No name comes out of that stream, but its frontier holds the closings' back.
    let closings = closings.concat(names.flat_map(|()| None));
    by_epoch_beside(
        movements,
        closings,
        View::PeriodAdjustments.name(),
        |change: &(DatedKey, Sides)| route(change.0.account()),
        move |epoch, movements, closings| {
            if epoch > since {
                return adjustments.epoch(epoch, movements, &closings);
            }
            // What the store had kept is frozen already.
            adjustments.follow(&closings);
            Vec::new()
        },
    )
}

/// Some months of some tenants.
type Months<'a> = BTreeSet<(&'a str, Month)>;

/// The closed months of the accounts that one worker owns.
struct Adjustments {
    days: Days,
    closed: Rc<RefCell<Kept<DatedKey, ClosedSums>>>,
    /// The months that are closed before the epoch.
    months: ClosedMonths,
    directory: SharedDirectory,
    state: WorkerState,
}

impl Adjustments {
    /// Applies what comes in one epoch; returns the rows that it changes.
    fn epoch(
        &mut self,
        epoch: u64,
        movements: Vec<(DatedKey, Sides)>,
        closings: &[Closing],
    ) -> Vec<Table> {
        self.closed.borrow_mut().begin(epoch);
        let mut in_closed = Vec::new();
        let months = &self.months;
        let daily = self.days.post(epoch, movements, |name, key, change| {
            if !months.is_empty() && months.has(name.tenant(), Month::of_date(key.at)) {
                in_closed.push((month_of(key), *change));
            }
        });
        let mut table = Table::new(View::PeriodAdjustments);
        self.adjust(in_closed, &mut table);
        let named = |closing: &Closing| months.has(&closing.tenant, closing.month);
        self.end(closings.iter().filter(|closing| named(closing)), &mut table);
        self.begin(closings.iter().filter(|closing| closing.since.is_some()), &mut table);
        self.follow(closings);
        vec![daily, table]
    }

    /// Follows what an epoch has closed and opened again.
    fn follow(&mut self, closings: &[Closing]) {
        for closing in closings {
            self.months.apply(closing);
        }
    }

    /// Adds what has changed in months that are closed, given by account and month.
    fn adjust(&self, changes: Vec<(DatedKey, Sides)>, table: &mut Table) {
        let mut closed = self.closed.borrow_mut();
        for (key, change) in consolidated(changes) {
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
    fn begin<'a>(&self, closings: impl Iterator<Item = &'a Closing>, table: &mut Table) {
        let months: Months<'_> =
            closings.map(|closing| (&*closing.tenant, closing.month)).collect();
        if months.is_empty() {
            return;
        }
        let times = months.iter().map(|(tenant, month)| (tenant_bits(tenant), month.dates()));
        let ranges = DatedKey::ranges(Space::Days, &self.state, times);
        let mut closed = self.closed.borrow_mut();
        for (key, sides) in self.days.months(ranges) {
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
