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

/// How many movements are gone through together, where there are as many.
const TOGETHER_MIN: usize = 1 << 11;

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
        .exchange(|(worker, _)| *worker)
        .flat_map(|(_, changes)| changes)
        .map(|(account, sides)| Beside::Pending(account, sides));
    let declarations = declarations
        .exchange(|(declared, _)| u64::from(declared.path().shard()))
        .map(|(declared, diff)| Beside::Declared(Box::new(declared), diff));
    // No name comes out of that stream, but its frontier holds the others' back.
    let names = names.flat_map(|()| None);
    let beside = pending.concat(declarations).concat(closings.map(Beside::Closing)).concat(names);
    let mut accounts = OfAccounts {
        days: Days::new(state),
        balances: Balances::new(state, scale),
        adjustments: Adjustments::new(state, Rc::clone(&directory)),
        directory,
        since,
        rows_of_days: Expected::each(1),
        rows_of_balances: Expected::each(2),
        piece: Vec::new(),
    };
    by_epoch(
        movements,
        beside,
        "Accounts",
        |(shard, _): &Batch<DatedKey>| *shard,
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
        movements.sort_unstable_by_key(|(shard, _)| *shard);
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
    while let Some((shard, mut changes)) =
        batches.next_if(|(shard, _)| piece.len() < TOGETHER_MIN || last == Some(*shard))
    {
        last = Some(shard);
        piece.append(&mut changes);
    }
    consolidate(piece);
}

/// Divides a slice behind the first elements that are `wanted`.
fn split<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> (&[T], &[T]) {
    let first = all.iter().take_while(|one| wanted(one)).count();
    all.split_at(first)
}
