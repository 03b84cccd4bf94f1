//! The end of the dataflow: rows become tables, tables become whole epochs.

use std::collections::BTreeMap;

use differential_dataflow::{Data, VecCollection};
use hashbrown::{HashMap, HashSet};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;
use trueup_ledger::table::{Value, encode_row, row_hash};
use trueup_ledger::{Epoch, Table, View};

use crate::engine::EpochOutput;
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
    by_view.into_values().flat_map(without_cancelled).collect()
}

/// How often a row that is retracted is inserted too.
#[derive(Clone, Copy, Default)]
struct Both {
    inserted: u32,
    retracted: u32,
}

impl Both {
    fn count(&mut self, diff: i8) -> &mut u32 {
        if diff > 0 { &mut self.inserted } else { &mut self.retracted }
    }
}

fn without_cancelled(tables: Vec<Table>) -> Vec<Table> {
    let mut counts: HashMap<Vec<u8>, Both> = HashMap::new();
    // Nearly every inserted row is told apart from all retracted ones by its hash alone.
    let mut hashes: HashSet<u128> = HashSet::new();
    for_each_row(
        &tables,
        |diff| diff < 0,
        |canonical, _, _| {
            hashes.insert(row_hash(canonical));
            counts.entry_ref(canonical).or_default().retracted += 1;
        },
    );
    if counts.is_empty() {
        return tables;
    }
    let mut any = false;
    for_each_row(
        &tables,
        |diff| diff > 0,
        |canonical, _, _| {
            if hashes.contains(&row_hash(canonical))
                && let Some(both) = counts.get_mut(canonical)
            {
                both.inserted += 1;
                any = true;
            }
        },
    );
    if !any {
        return tables;
    }
    counts.retain(|_, both| both.inserted > 0);
    for both in counts.values_mut() {
        let pairs = both.inserted.min(both.retracted);
        *both = Both { inserted: pairs, retracted: pairs };
    }
    let mut kept = Table::new(tables[0].view());
    for_each_row(
        &tables,
        |_| true,
        |canonical, values, diff| match counts.get_mut(canonical).map(|both| both.count(diff)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => kept.push(values, diff),
        },
    );
    vec![kept]
}

/// Calls `each` with the canonical bytes, values and diff of every row whose diff is `wanted`.
fn for_each_row(
    tables: &[Table],
    wanted: impl Fn(i8) -> bool,
    mut each: impl FnMut(&[u8], &[Value<'_>], i8),
) {
    let mut canonical = Vec::new();
    for table in tables {
        let mut values = Vec::with_capacity(table.columns().len());
        for (row, diff) in table.diffs().iter().enumerate().filter(|(_, diff)| wanted(**diff)) {
            table.read(row, &mut values);
            canonical.clear();
            encode_row(&values, &mut canonical);
            each(&canonical, &values, *diff);
        }
    }
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
        for_each_row(
            tables,
            |_| true,
            |_, values, diff| match values[2] {
                Value::Integer(number) => changes.push((number, diff)),
                _ => unreachable!(),
            },
        );
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
