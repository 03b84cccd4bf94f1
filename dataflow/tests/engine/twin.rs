//! The differential twin: SPEC §3 built of differential's own operators, an oracle for the engine.
//!
//! ```text
//! records ─▶ contents ──reduce──▶ heads ──▶ links ──▶ lines ──▶ nets
//!               │                            (antijoin, iterate, reduce)
//!               └──────────────┬─ standings ◀──┘        │
//!                              ▼     inflows ◀──────────┘
//!                           reduce ──▶ rows ──▶ tables, movements, pending, shards, names
//! contents ──reduce──▶ declarations of accounts
//! ```
//!
//! It shares with the engine what one transaction means (`trueup_ledger::transaction`) and nothing
//! of how transactions come to agree: no state of its own, no messages, no phases. Everything that
//! a change makes false is taken back by differential. Epochs are in flight side by side, where
//! the engine takes one after the other.

mod lines;
mod links;
mod model;
mod nets;
mod streams;

use differential_dataflow::VecCollection;
use trueup_dataflow::accounts::Declared;
use trueup_dataflow::books::Book;
use trueup_dataflow::names::AccountName;
use trueup_dataflow::record::EventRecord;
use trueup_dataflow::store::WorkerState;
use trueup_dataflow::sums::Sides;
use trueup_dataflow::transactions::{Changes, Transactions};
use trueup_ledger::table::{Table, Value, decode_row, encode_row};
use trueup_ledger::transaction::{Inflows, add_to};
use trueup_ledger::{Kind, Scale, Side, TransactionKey, View};

use lines::{lines, standings};
use links::links;
use model::{Head, Part, Standing, with_fold};
use nets::inflows;
use streams::{accepted, at_epochs, firsts, records};

/// A collection at epochs.
type Epochs<'s, D> = VecCollection<'s, u64, D, isize>;

/// A view's number, then the canonical bytes of one of its rows.
type EncodedRow = Box<[u8]>;

/// The meaning of events as differential operators only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReduceTwin {
    /// The scale of amounts in details.
    pub(crate) scale: Scale,
}

impl Transactions for ReduceTwin {
    fn build<'s>(
        self,
        events: timely::dataflow::Stream<'s, u64, Vec<EventRecord>>,
        _state: &WorkerState,
    ) -> Changes<'s> {
        let records = records(events);
        let firsts = firsts(records.clone());
        let contents = firsts.clone().map(|((key, content), _)| (key, content));
        let heads = contents.clone().reduce(|_, contents, heads| {
            let contents: Vec<_> = contents.iter().map(|(content, _)| &***content).collect();
            heads.push((with_fold(&contents, Head::of), 1));
        });
        let declarations = contents.clone().reduce(|_, contents, declared| {
            let contents: Vec<_> = contents.iter().map(|(content, _)| &***content).collect();
            declared.extend(with_fold(&contents, Declared::of).map(|one| (one, 1)));
        });
        let links = links(heads.clone());
        let lines = lines(heads, links.clone());
        let parts = contents
            .map(|(key, content)| (key, Part::Content(content)))
            .concat(standings(lines.clone(), links.clone()))
            .concat(links.resolved.map(|(key, kind)| (key, Part::Resolved(kind))))
            .concat(inflows(lines, links.effective));
        changes(rows(parts, self.scale), declarations, accepted(records, firsts))
    }
}

/// Puts the parts of each transaction together.
fn rows<'s>(
    parts: Epochs<'s, (TransactionKey, Part)>,
    scale: Scale,
) -> Epochs<'s, (TransactionKey, EncodedRow)> {
    parts.reduce(move |key, parts, rows| {
        let mut contents: Vec<&[u8]> = Vec::new();
        let mut standing = Standing::default();
        let mut inflows = Inflows::default();
        for (part, times) in parts {
            assert_eq!(*times, 1, "{key}: {part:?}");
            match part {
                Part::Content(content) => contents.push(content),
                Part::Standing(known) => {
                    assert_eq!(standing, Standing::Clear, "{key} stands in two ways");
                    standing = known.clone();
                }
                Part::Inflow(Kind::Reverse, currency, units) => {
                    add_to(&mut inflows.reversed, currency, units.0);
                }
                Part::Inflow(Kind::Refund, currency, units) => {
                    add_to(&mut inflows.refunded, currency, units.0);
                }
                Part::Inflow(_, currency, units) => {
                    add_to(&mut inflows.captured, currency, units.0);
                }
                Part::Resolved(kind) => {
                    assert_eq!(inflows.resolved_by, None, "{key} is resolved twice");
                    inflows.resolved_by = Some(*kind);
                }
            }
        }
        with_fold(&contents, |fold| {
            let standing = standing.to_ledger();
            let mut push = |view: View, values: &[Value<'_>]| {
                let mut bytes = vec![view as u8];
                encode_row(values, &mut bytes);
                rows.push((bytes.into_boxed_slice(), 1));
            };
            fold.meaning(&standing, &inflows).rows(scale, &mut push);
        });
    })
}

/// A current line, as the sums see it; whether it is pending stands in front.
type Current = (bool, ((AccountText, i32), (u8, Side, i128)));
/// Tenant, account and currency.
type AccountText = (Box<str>, Box<str>, Box<str>);

fn changes<'s>(
    rows: Epochs<'s, (TransactionKey, EncodedRow)>,
    declarations: Epochs<'s, (TransactionKey, Declared)>,
    accepted: timely::dataflow::Stream<'s, u64, Vec<(u32, trueup_dataflow::Accepted)>>,
) -> Changes<'s> {
    let current = rows.clone().flat_map(|(key, row)| current(key, &row));
    let names = current.clone().map(|(_, ((account, _), _))| account).distinct();
    let posted = current.clone().filter(|(is_pending, _)| !is_pending).map(|(_, line)| line);
    let pending = current.filter(|(is_pending, _)| *is_pending).map(|(_, line)| line);
    let line = |side, units, diff: isize| match diff.signum() {
        1 => Sides::of_line(side, units * diff as i128, 1),
        _ => Sides::of_line(side, units * -diff as i128, -1),
    };
    Changes {
        tables: at_epochs(rows, |(_, row), diff| Some(table(&row, diff))),
        movements: at_epochs(posted.clone(), move |((account, date), line_of), diff| {
            let (_, side, units) = line_of;
            Some(((name(account).key(), date), line(side, units, diff)))
        }),
        pending: at_epochs(pending.clone(), move |((account, _), (_, side, units)), diff| {
            Some((name(account).key(), line(side, units, diff)))
        }),
        declarations: at_epochs(declarations, |(_, declared), diff| {
            let diff = i8::try_from(diff).expect("a declaration comes and goes once");
            Some((declared, diff))
        }),
        shards: at_epochs(posted, move |((account, _), line_of), diff| {
            let (shard, side, units) = line_of;
            Some(((book(account), shard), line(side, units, diff)))
        }),
        pending_shards: at_epochs(pending, move |((account, _), line_of), diff| {
            let (shard, side, units) = line_of;
            Some(((book(account), shard), line(side, units, diff)))
        }),
        names: at_epochs(names, |account, diff| (diff > 0).then(|| name(account))),
        accepted,
    }
}

fn book((tenant, _, currency): AccountText) -> Book {
    let key = name((tenant.clone(), "".into(), currency.clone())).key();
    Book { key, tenant: tenant.into(), currency: currency.into() }
}

fn name((tenant, account, currency): AccountText) -> AccountName {
    AccountName { tenant, account, currency }
}

/// Reads a row back.
fn with_row<R>(row: &EncodedRow, f: impl FnOnce(View, &[Value<'_>]) -> R) -> R {
    let view = View::ALL[usize::from(row[0])];
    let mut values = Vec::new();
    decode_row(view, &row[1..], &mut values).unwrap();
    f(view, &values)
}

/// A change of one row, which must be by one.
fn table(row: &EncodedRow, diff: isize) -> Table {
    with_row(row, |view, values| {
        let mut table = Table::new(view);
        match diff {
            1 => table.push(values, 1),
            -1 => table.push(values, -1),
            other => panic!("a row changes by {other}: {values:?}"),
        }
        table
    })
}

/// What a row of `postings` adds to the sums.
fn current(key: TransactionKey, row: &EncodedRow) -> Option<Current> {
    with_row(row, |view, values| match *values {
        [
            Value::Text(tenant),
            _,
            _,
            _,
            Value::Text(account),
            Value::Text(side),
            Value::Amount(units),
            Value::Text(currency),
            Value::Instant(effective_at),
            _,
            _,
            Value::Text(status),
            _,
        ] if view == View::Postings => {
            let side = if side == "debit" { Side::Debit } else { Side::Credit };
            let date = i32::try_from(effective_at.div_euclid(86_400_000_000)).unwrap();
            let account = (tenant.into(), account.into(), currency.into());
            Some((status == "pending", ((account, date), (key.shard(), side, units))))
        }
        _ => None,
    })
}
