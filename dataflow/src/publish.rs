//! The end of the dataflow: rows become tables, tables become whole epochs.

use std::collections::BTreeMap;

use differential_dataflow::{Data, VecCollection};
use hashbrown::{HashMap, HashSet};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::table::{Value, encode_row};
use trueup_ledger::{Epoch, Table, View};

use crate::engine::EpochOutput;
use crate::hash::KeyHasher;
use crate::record::Accepted;
use crate::transactions::Tables;

/// Turns changes of a collection into rows of a view, without state: `row` pushes none or one.
///
/// # Panics
/// Where a record changes by more than one within an epoch, which would make a row that is in the
/// view twice.
pub(crate) fn tabulate<'s, D: Data>(
    collection: VecCollection<'s, u64, D, isize>,
    view: View,
    row: impl Fn(&D, &mut Table, i8) + 'static,
) -> Tables<'s> {
    let name = format!("Tabulate: {}", view.name());
    collection.inner.unary(Pipeline, &name, move |_, _| {
        move |input, output| {
            input.for_each(|capability, updates| {
                // Differential sends updates of several epochs under the capability of the first.
                let mut tables: BTreeMap<u64, Table> = BTreeMap::new();
                for (data, epoch, diff) in updates.drain(..) {
                    let table = tables.entry(epoch).or_insert_with(|| Table::new(view));
                    match diff {
                        1 => row(&data, table, 1),
                        -1 => row(&data, table, -1),
                        other => unreachable!("a record changes by {other} in one epoch"),
                    }
                }
                for (epoch, table) in tables {
                    output.session(&capability.delayed(&epoch, 0)).give(table);
                }
            });
        }
    })
}

/// What arrives at the end of the dataflow.
#[derive(Clone, Debug)]
enum Piece {
    Table(Table),
    Accepted(u32, Accepted),
}

/// What has come of an epoch that is not complete.
#[derive(Default)]
struct Partial {
    tables: Vec<Table>,
    accepted: BTreeMap<u32, Accepted>,
}

impl Partial {
    fn add(&mut self, piece: Piece) {
        match piece {
            Piece::Table(table) if table.is_empty() => {}
            Piece::Table(table) => self.tables.push(table),
            Piece::Accepted(partition, count) => {
                let sum = self.accepted.entry(partition).or_default();
                sum.applied += count.applied;
                sum.duplicate += count.duplicate;
            }
        }
    }
}

/// Gathers each epoch's tables and counts and hands them over when the epoch is complete: every
/// epoch once, in order, those without changes too.
pub(crate) fn publish<'s>(
    tables: Tables<'s>,
    accepted: Stream<'s, u64, Vec<(u32, Accepted)>>,
    worker: usize,
    first_epoch: Epoch,
    mut hand_over: impl FnMut(EpochOutput) + 'static,
) {
    let mut partial: BTreeMap<u64, Partial> = BTreeMap::new();
    let mut next = first_epoch.0;
    let tables = tables.map(Piece::Table);
    let accepted = accepted.map(|(partition, count)| Piece::Accepted(partition, count));
    tables.concat(accepted).sink(Pipeline, "Publish", move |(input, frontier)| {
        input.for_each(|capability, pieces| {
            // What the store had kept comes out once more at its epoch, which is published.
            if *capability.time() < next {
                return;
            }
            let partial = partial.entry(*capability.time()).or_default();
            pieces.drain(..).for_each(|piece| partial.add(piece));
        });
        // Closing an epoch advances the frontier past it, so an empty frontier completes nothing
        // that has not been seen complete before: the epoch that was open has no end.
        let Some(through) = frontier.frontier().first().copied() else {
            return;
        };
        while next < through {
            let Partial { tables, accepted } = partial.remove(&next).unwrap_or_default();
            hand_over(EpochOutput {
                epoch: Epoch(next),
                worker,
                tables: consolidated(tables),
                accepted: accepted.into_iter().collect(),
            });
            next += 1;
        }
    });
}

/// Takes out rows that are inserted and retracted in the same epoch, as when a transaction is
/// opened and reversed in one: what is published is the difference between two cuts.
fn consolidated(tables: Vec<Table>) -> Vec<Table> {
    let mut by_view: BTreeMap<View, Vec<Table>> = BTreeMap::new();
    for table in tables {
        by_view.entry(table.view()).or_default().push(table);
    }
    let net = |(view, tables): (View, Vec<Table>)| match view {
        // Most rows are of these, and what makes them compares each key before and after.
        View::Balances | View::DailyMovements => tables,
        _ => without_cancelled(tables),
    };
    by_view.into_iter().flat_map(net).collect()
}

/// A row: the table and the place in it.
type Place = (usize, usize);

fn without_cancelled(mut tables: Vec<Table>) -> Vec<Table> {
    // Nearly every inserted row is told apart from all retracted ones by what names it.
    let mut named: HashSet<u64, KeyHasher> = HashSet::default();
    let mut retracted: HashMap<Vec<u8>, Vec<Place>> = HashMap::new();
    let mut row = Vec::new();
    for place in places(&tables, |diff| diff < 0) {
        named.insert(name_mark(&tables[place.0], place.1));
        canonical(&tables[place.0], place.1, &mut row);
        retracted.entry_ref(&row[..]).or_default().push(place);
    }
    if retracted.is_empty() {
        return tables;
    }
    let mut cancelled: Vec<Vec<usize>> = vec![Vec::new(); tables.len()];
    for place in places(&tables, |diff| diff > 0) {
        if !named.contains(&name_mark(&tables[place.0], place.1)) {
            continue;
        }
        canonical(&tables[place.0], place.1, &mut row);
        if let Some(opposite) = retracted.get_mut(&row[..]).and_then(Vec::pop) {
            for (table, row) in [place, opposite] {
                cancelled[table].push(row);
            }
        }
    }
    for (table, mut rows) in tables.iter_mut().zip(cancelled) {
        rows.sort_unstable();
        table.remove(&rows);
    }
    tables.retain(|table| !table.is_empty());
    tables
}

/// Returns where the rows are whose diff is `wanted`.
fn places(tables: &[Table], wanted: fn(i8) -> bool) -> impl Iterator<Item = Place> {
    tables.iter().enumerate().flat_map(move |(number, table)| {
        let rows = table.diffs().iter().enumerate();
        rows.filter(move |(_, diff)| wanted(**diff)).map(move |(row, _)| (number, row))
    })
}

/// Multiplied by it, different numbers stay different, and every bit comes to those above it.
const SPREADS: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns what the first three values of a row make, texts all: with the tenant, the transaction or
/// whatever else the row is of. Equal names make the same, and few others do.
fn name_mark(table: &Table, row: usize) -> u64 {
    let marks = table.columns().iter().take(3).map(|column| match column.value(row) {
        Value::Text(text) => text_mark(text.as_bytes()),
        _ => 0,
    });
    marks.fold(0, |all: u64, mark| (all ^ mark).wrapping_mul(SPREADS).rotate_left(32))
}

/// Returns a number of the ends of a text, by which identifiers are told apart as a rule.
fn text_mark(text: &[u8]) -> u64 {
    let ends = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first).wrapping_mul(SPREADS) ^ u64::from_le_bytes(*last)
        }
        _ => text.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)),
    };
    ends ^ (text.len() as u64).rotate_left(16)
}

/// Puts the canonical bytes of a row into `bytes`.
fn canonical(table: &Table, row: usize, bytes: &mut Vec<u8>) {
    let mut values = Vec::with_capacity(table.columns().len());
    table.read(row, &mut values);
    bytes.clear();
    encode_row(&values, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(i64, i8)]) -> Table {
        let mut table = Table::new(View::SourceContinuity);
        for (number, diff) in rows {
            let n = Value::Integer(*number);
            table.push(&[Value::Text("a"), Value::Text("s"), n, n, n, n], *diff);
        }
        table
    }

    fn changes(tables: &[Table]) -> Vec<(i64, i8)> {
        let mut changes = Vec::new();
        for (table, row) in places(tables, |_| true) {
            match tables[table].columns()[2].value(row) {
                Value::Integer(number) => changes.push((number, tables[table].diffs()[row])),
                _ => unreachable!(),
            }
        }
        changes
    }

    #[test]
    fn what_comes_and_goes_within_an_epoch_is_not_published() {
        let rows: &[(&[&[(i64, i8)]], &[(i64, i8)])] = &[
            (&[&[(1, 1), (2, 1)]], &[(1, 1), (2, 1)]),
            (&[&[(1, 1), (2, 1)], &[(1, -1), (3, 1)]], &[(2, 1), (3, 1)]),
            (&[&[(1, -1)], &[(1, 1)]], &[]),
            (&[&[(1, -1), (1, 1), (1, -1)]], &[(1, -1)]),
            (&[&[(1, -1), (2, 1)]], &[(1, -1), (2, 1)]),
        ];
        for (input, expected) in rows {
            let tables = input.iter().map(|rows| table(rows)).collect();
            assert_eq!(changes(&consolidated(tables)), *expected, "{input:?}");
        }
    }
}
