//! The operator of all views that sum up the lines of accounts.
//!
//! ```text
//!  movements ─────────────by account─▶ ┌──────────────────┐ ─▶ daily_movements
//!  pending, declarations ─by account─▶ │ Days             │ ─▶ balances, overdraft
//!  closings, to every worker ────────▶ │ Balances         │ ─▶ period_adjustments
//!  names recorded ───────────────────▶ │ Adjustments      │
//!                                      └──────────────────┘
//! ```
//!
//! In: changes of posted sums by account and date, of pending sums by account; declarations; the
//! closings of months. Out: the rows of the views, each of which says in its own file what they are.
//! State: theirs.
//!
//! One operator has them all, since nearly every change changes a day and a balance: so it is sent and
//! sorted once, and the name of its account, which both rows show, is looked for once.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::rc::Rc;

use differential_dataflow::difference::{IsZero, Semigroup};
use timely::dataflow::Stream;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Exchange};
use trueup_ledger::{Month, Scale, Table, Terms, View};

use super::balances::Balances;
use super::daily_movements::{Days, month_of};
use super::period_adjustments::Adjustments;
use crate::accounts::Declared;
use crate::names::{AccountKey, DatedKey};
use crate::periods::Closing;
use crate::room::Expected;
use crate::store::WorkerState;
use crate::sums::{Balance, CompactSides, Sides};
use crate::totals::{SharedDirectory, by_epoch, consolidate};
use crate::transactions::{Batch, Tables};

/// How many movements are gone through together, where there are as many; few in tests, so that there are
/// several pieces of them.
const TOGETHER_MIN: usize = if cfg!(test) { 8 } else { 1 << 11 };

/// What comes in.
pub(crate) struct Inputs<'s> {
    pub(crate) movements: Stream<'s, u64, Vec<Batch<DatedKey>>>,
    pub(crate) pending: Stream<'s, u64, Vec<Batch<AccountKey>>>,
    pub(crate) declarations: Stream<'s, u64, Vec<(Declared, i8)>>,
    pub(crate) closings: Stream<'s, u64, Vec<Closing>>,
    /// Empty; its frontier says through which epoch the names of accounts are known.
    pub(crate) names: Stream<'s, u64, Vec<()>>,
}

/// What comes beside the movements, on its worker.
#[derive(Clone, Debug)]
enum Beside {
    Pending(AccountKey, CompactSides),
    Declared(Box<Declared>, i8),
    Closing(Closing),
}

/// Builds the views. `since` is the epoch that the state is of.
pub(crate) fn accounts<'s>(
    inputs: Inputs<'s>,
    directory: SharedDirectory,
    (state, since, scale): (&WorkerState, u64, Scale),
) -> Tables<'s> {
    let Inputs { movements, pending, declarations, closings, names } = inputs;
    let pending = pending
        .exchange(|(number, _)| *number)
        .flat_map(|(_, changes)| changes)
        .map(|(account, sides)| Beside::Pending(account, sides));
    let declarations = declarations
        .exchange(|(declared, _)| u64::from(declared.path().shard()))
        .map(|(declared, diff)| Beside::Declared(Box::new(declared), diff));
    // No name comes out of that stream, but its frontier holds the others' back.
    let names = names.flat_map(|()| None);
    let beside = pending.concat(declarations).concat(closings.map(Beside::Closing)).concat(names);
    let mut accounts = OfAccounts::new(directory, (state, since, scale));
    by_epoch(
        movements,
        beside,
        "Accounts",
        |(number, _): &Batch<DatedKey>| *number,
        Vec::append,
        move |epoch, movements, beside| accounts.epoch(epoch, std::mem::take(movements), beside),
    )
}

/// Changes of posted sums by account and date, in the order of their keys and each key once.
type Movements = Vec<(DatedKey, CompactSides)>;

/// What the accounts that one worker owns hold.
struct OfAccounts {
    days: Days,
    balances: Balances,
    adjustments: Adjustments,
    directory: SharedDirectory,
    since: u64,
    rows_of_days: Expected,
    rows_of_balances: Expected,
    /// The room of the movements that are gone through together, used again.
    piece: Movements,
}

/// What changes beside posted sums, of the accounts that have not been gone through.
struct Others<'a> {
    /// Changes of pending sums, in the order of accounts.
    pending: &'a [(AccountKey, CompactSides)],
    /// The balances that are under other terms now, with these.
    declared: BTreeMap<AccountKey, Terms>,
}

impl OfAccounts {
    fn new(
        directory: SharedDirectory,
        (state, since, scale): (&WorkerState, u64, Scale),
    ) -> OfAccounts {
        OfAccounts {
            days: Days::new(state),
            balances: Balances::new(state, scale),
            adjustments: Adjustments::new(state, Rc::clone(&directory)),
            directory,
            since,
            rows_of_days: Expected::each(1),
            rows_of_balances: Expected::each(2),
            piece: Vec::new(),
        }
    }

    /// Applies what comes in one epoch; returns the rows that it changes.
    fn epoch(
        &mut self,
        epoch: u64,
        mut movements: Vec<Batch<DatedKey>>,
        beside: Vec<Beside>,
    ) -> Vec<Table> {
        let (mut pending, mut declarations, mut closings) = (Vec::new(), Vec::new(), Vec::new());
        for beside in beside {
            match beside {
                Beside::Pending(account, sides) => pending.push((account, sides)),
                Beside::Declared(declared, diff) => declarations.push((*declared, diff)),
                Beside::Closing(closing) => closings.push(closing),
            }
        }
        if epoch <= self.since {
            // What the store had kept is frozen already.
            self.adjustments.follow(&closings);
            return Vec::new();
        }
        self.days.begin(epoch);
        self.adjustments.begin(epoch);
        let declared = self.balances.begin(epoch, declarations);
        consolidate(&mut pending);
        let mut others = Others { pending: &pending, declared };
        let mut tables = Changed::new();
        let changes = movements.iter().map(|(_, changes)| changes.len()).sum();
        tables.days.reserve(self.rows_of_days.of(changes));
        tables.balances.reserve(self.rows_of_balances.of(changes));
        let mut in_closed = Vec::new();
        movements.sort_unstable_by_key(|(number, _)| *number);
        let mut movements = movements.into_iter().peekable();
        let mut piece = std::mem::take(&mut self.piece);
        loop {
            next_piece(&mut movements, &mut piece);
            let is_last = movements.peek().is_none();
            self.post((&piece, is_last), &mut others, &mut tables, &mut in_closed);
            if is_last {
                break;
            }
        }
        self.piece = piece;
        self.rows_of_days.note(changes, tables.days.len());
        self.rows_of_balances.note(changes, tables.balances.len());
        self.adjustments.change(&self.days, in_closed, &closings, &mut tables.adjustments);
        vec![tables.days, tables.balances, tables.imbalances, tables.adjustments]
    }

    /// Goes through the accounts of a piece of the movements and those of `others` that come before its last,
    /// in the order of their keys; behind the last piece through all others too. Adds to `in_closed` what
    /// has changed in months that are closed.
    fn post(
        &mut self,
        (mut movements, is_last): (&[(DatedKey, CompactSides)], bool),
        others: &mut Others<'_>,
        tables: &mut Changed,
        in_closed: &mut Vec<(DatedKey, Sides)>,
    ) {
        let all_before = self.days.before(movements);
        let mut before = all_before.as_slice();
        while is_last || !movements.is_empty() {
            let next = [
                movements.first().map(|(day, _)| day.account()),
                others.pending.first().map(|(account, _)| *account),
                others.declared.keys().next().copied(),
            ];
            let Some(account) = next.into_iter().flatten().min() else { return };
            let (of_days, of_holds, before_of_days);
            (of_days, movements) = split(movements, |(day, _)| day.account() == account);
            (before_of_days, before) = before.split_at(of_days.len());
            (of_holds, others.pending) = split(others.pending, |(other, _)| *other == account);
            let terms = others.declared.remove(&account);
            let mut sum = Balance::default();
            of_days.iter().for_each(|(_, sides)| sum.posted.plus_equals(&Sides::from(sides)));
            of_holds.iter().for_each(|(_, sides)| sum.pending.plus_equals(&Sides::from(sides)));
            let (days, balances) = (&mut self.days, &mut self.balances);
            let months = self.adjustments.closed();
            self.directory.with_name(account, |name| {
                for ((day, change), before) in of_days.iter().zip(before_of_days) {
                    let change = Sides::from(change);
                    days.post(name, (*day, *before), &change, &mut tables.days);
                    if !months.is_empty() && months.has(name.tenant(), Month::of_date(day.at)) {
                        in_closed.push((month_of(*day), change));
                    }
                }
                if !sum.is_zero() || terms.is_some() {
                    let (rows, imbalances) = (&mut tables.balances, &mut tables.imbalances);
                    balances.post((account, name), &sum, terms, rows, imbalances);
                }
            });
        }
    }
}

/// The rows that an epoch changes.
struct Changed {
    days: Table,
    balances: Table,
    imbalances: Table,
    adjustments: Table,
}

impl Changed {
    fn new() -> Changed {
        Changed {
            days: Table::new(View::DailyMovements),
            balances: Table::new(View::Balances),
            imbalances: Table::new(View::Imbalances),
            adjustments: Table::new(View::PeriodAdjustments),
        }
    }
}

/// Puts the next movements into `piece`, in the order of their keys and each once: those of whole shards, as
/// which days lie on disk, and as many as it is worth looking for together and a cache holds.
fn next_piece(
    batches: &mut Peekable<impl Iterator<Item = Batch<DatedKey>>>,
    piece: &mut Movements,
) {
    piece.clear();
    let mut last = None;
    while let Some((number, mut changes)) =
        batches.next_if(|(number, _)| piece.len() < TOGETHER_MIN || last == Some(*number))
    {
        last = Some(number);
        piece.append(&mut changes);
    }
    consolidate(piece);
}

/// Divides a slice behind the first elements that are `wanted`.
fn split<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> (&[T], &[T]) {
    let first = all.iter().take_while(|one| wanted(one)).count();
    all.split_at(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use trueup_ledger::Side;
    use trueup_ledger::table::{Datum, Row, Rows};

    use super::*;
    use crate::names::{AccountName, Directory};

    /// A line: its account, its date or none while it is pending, its amount, and who sends it.
    type Line = (usize, Option<i32>, i128, usize);

    fn name(account: usize) -> AccountName {
        AccountName::new("t", &format!("assets:{account}"), "EUR")
    }

    fn debit(units: i128) -> Sides {
        Sides::of_line(Side::Debit, units, 1)
    }

    /// What two workers send of some lines: batches of one shard each, in no order.
    fn sent(lines: &[Line]) -> (Vec<Batch<DatedKey>>, Vec<Beside>) {
        let (mut batches, mut beside) = (BTreeMap::new(), Vec::new());
        for (account, date, units, sender) in lines {
            let (key, sides) = (name(*account).key(), debit(*units).into());
            match *date {
                Some(at) => {
                    let batch: &mut Movements = batches.entry((sender, key.shard())).or_default();
                    batch.push((DatedKey { key: key.0, at, tenant: 7 }, sides));
                }
                None => beside.push(Beside::Pending(key, sides)),
            }
        }
        let by_sender = batches.into_iter().rev();
        (by_sender.map(|((_, shard), batch)| (shard.into(), batch)).collect(), beside)
    }

    fn row(account: usize, rest: impl IntoIterator<Item = Datum>) -> Row {
        let account = format!("assets:{account}");
        let names = ["t", &account, "EUR"].map(|name| Datum::Text(name.into()));
        names.into_iter().chain(rest).collect()
    }

    proptest! {
        /// Accounts that only have what is pending, or only what is posted, lie between others, and in
        /// pieces of their own.
        #[test]
        fn rows_are_those_of_the_sums_however_many_pieces_there_are(
            epochs in prop::collection::vec(
                prop::collection::vec(
                    (0..40_usize, prop::option::weighted(0.8, 0..3), 1..9_i128, 0..2_usize),
                    0..120,
                ),
                1..4,
            ),
        ) {
            let state = WorkerState::new(None, 0, 1);
            let directory = Rc::new(Directory::new(&state));
            directory.record((0..40).map(|account| (name(account).key(), name(account))));
            let mut accounts = OfAccounts::new(directory, (&state, 0, Scale::DEFAULT));
            let mut shown: BTreeMap<View, Rows> = BTreeMap::new();
            let mut sums: BTreeMap<(usize, Option<i32>), i128> = BTreeMap::new();
            for (epoch, lines) in (1..).zip(&epochs) {
                let (batches, beside) = sent(lines);
                for table in accounts.epoch(epoch, batches, beside) {
                    // Nobody takes out what comes and goes within an epoch.
                    let key = |row| table.row(row)[..table.view().key_columns()].to_vec();
                    let changes = (0..table.len()).map(|row| (key(row), table.diffs()[row]));
                    let distinct: BTreeSet<_> = changes.collect();
                    prop_assert_eq!(distinct.len(), table.len(), "a key changes once");
                    shown.entry(table.view()).or_default().apply(&table);
                }
                for (account, date, units, _) in lines {
                    *sums.entry((*account, *date)).or_default() += units;
                }
            }
            let (mut days, mut balances) = (Rows::default(), BTreeMap::new());
            for ((account, date), units) in &sums {
                let (posted, pending) = balances.entry(*account).or_insert((0, 0));
                match date {
                    Some(date) => {
                        *posted += units;
                        let amounts = [*units, 0, *units].map(Datum::Amount);
                        days.add(row(*account, [Datum::Date(*date)].into_iter().chain(amounts)), 1);
                    }
                    None => *pending += units,
                }
            }
            let balances = balances.into_iter().map(|(account, (posted, pending))| {
                row(account, [posted, 0, pending, 0, posted, posted].map(Datum::Amount))
            });
            let balances: BTreeMap<Row, i64> = balances.map(|row| (row, 1)).collect();
            prop_assert_eq!(shown.remove(&View::DailyMovements).unwrap(), days);
            prop_assert_eq!(shown.remove(&View::Balances).unwrap().0, balances);
        }
    }

    #[test]
    fn a_piece_has_whole_shards_in_order() {
        let key = |shard: u8, number: u128, at| DatedKey {
            key: (u128::from(shard) << 120) | number,
            at,
            tenant: 7,
        };
        let batch = |shard: u8, numbers: std::ops::Range<u128>| -> Batch<DatedKey> {
            let changes = numbers.rev().map(|number| (key(shard, number, 1), debit(1).into()));
            (shard.into(), changes.collect())
        };
        // Of the second shard both workers have sent, of the third only nothing is left.
        let gone = vec![
            (key(5, 1, 1), debit(3).into()),
            (key(5, 1, 1), Sides::of_line(Side::Debit, 3, -1).into()),
        ];
        let batches = [batch(1, 0..3), batch(2, 0..6), batch(2, 4..7), (5, gone), batch(9, 0..1)];
        let (mut batches, mut piece) = (batches.into_iter().peekable(), Movements::new());
        let mut pieces = Vec::new();
        while batches.peek().is_some() {
            next_piece(&mut batches, &mut piece);
            assert!(piece.is_sorted_by(|(one, _), (next, _)| one < next), "each once, in order");
            let lines = piece.iter().map(|(_, sides)| Sides::from(sides).lines);
            let shards: Vec<u8> = piece.iter().map(|(day, _)| day.shard()).collect();
            pieces.push((shards, lines.sum::<i64>()));
        }
        let first = vec![1, 1, 1, 2, 2, 2, 2, 2, 2, 2];
        assert_eq!(pieces, [(first, 12), (vec![9], 1)]);
    }
}
