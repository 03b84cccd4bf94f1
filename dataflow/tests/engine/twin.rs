//! The differential twin: SPEC §3 built of differential's own operators, an oracle for the engine.
//!
//! ```text
//! records ─▶ contents ──reduce──▶ heads ──▶ links ──▶ lines ──▶ nets
//!               │                            (antijoin, iterate, reduce)
//!               └──────────────┬─ standings ◀──┘        │
//!                              ▼     inflows ◀──────────┘
//!                           reduce ──▶ rows ──▶ tables, movements, pending, books, names
//! contents ──reduce──▶ facts
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

use std::sync::Arc;

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use trueup_dataflow::books::Book;
use trueup_dataflow::due::DueRow;
use trueup_dataflow::facts::FactRecord;
use trueup_dataflow::names::{AccountName, DatedKey, tenant_bits};
use trueup_dataflow::periods::Closing;
use trueup_dataflow::record::{ClearingLine, EventRecord, LateLine};
use trueup_dataflow::sums::Sides;
use trueup_dataflow::transactions::{Changes, Surroundings, Transactions};
use trueup_ledger::table::{Table, Value, decode_row, encode_row};
use trueup_ledger::transaction::{Inflows, add_to};
use trueup_ledger::{Kind, Month, Rules, Scale, Side, TransactionKey, View};

use lines::{lines, standings};
use links::links;
use model::{Head, Part, Standing, with_fold};
use nets::inflows;
use streams::{accepted, at_epochs, firsts, of_closed_months, records};

/// A collection at epochs.
type Epochs<'s, D> = VecCollection<'s, u64, D, isize>;

/// A view's number, whether and at which instant the row is due, then its canonical bytes.
type EncodedRow = Box<[u8]>;

/// The meaning of events as differential operators only.
#[derive(Clone, Debug)]
pub(crate) struct ReduceTwin {
    /// The scale of amounts in details.
    pub(crate) scale: Scale,
    /// What rows depend on beside events.
    pub(crate) rules: Arc<Rules>,
}

impl Transactions for ReduceTwin {
    fn build<'s>(
        self,
        events: timely::dataflow::Stream<'s, u64, Vec<EventRecord>>,
        surroundings: Surroundings<'s, '_>,
    ) -> Changes<'s> {
        let records = records(events, surroundings.clock, Arc::clone(&self.rules));
        let firsts = firsts(records.clone());
        let contents = firsts.clone().map(|((key, content), seen)| (key, (content, seen.3)));
        let heads = contents.clone().reduce(|_, contents, heads| {
            let contents: Vec<_> =
                contents.iter().map(|((content, _), _)| (&**content, None)).collect();
            heads.push((with_fold(&contents, Head::of), 1));
        });
        let facts = contents.clone().reduce(|_, contents, facts| {
            let contents: Vec<_> =
                contents.iter().map(|((content, _), _)| (&**content, None)).collect();
            facts.extend(with_fold(&contents, FactRecord::of).map(|one| (one, 1)));
        });
        let links = links(heads.clone());
        let lines = lines(heads, links.clone());
        let parts = contents
            .map(|(key, (content, delay))| (key, Part::Content(content, delay)))
            .concat(standings(lines.clone(), links.clone()))
            .concat(links.resolved.map(|(key, kind)| (key, Part::Resolved(kind))))
            .concat(inflows(lines, links.effective));
        changes(
            rows(parts, self.scale),
            facts,
            accepted(records, firsts),
            surroundings.closings,
            self.rules,
        )
    }
}

/// Puts the parts of each transaction together.
fn rows<'s>(
    parts: Epochs<'s, (TransactionKey, Part)>,
    scale: Scale,
) -> Epochs<'s, (TransactionKey, EncodedRow)> {
    parts.reduce(move |key, parts, rows| {
        let mut contents: Vec<(&[u8], Option<i64>)> = Vec::new();
        let mut standing = Standing::default();
        let mut inflows = Inflows::default();
        for (part, times) in parts {
            assert_eq!(*times, 1, "{key}: {part:?}");
            match part {
                Part::Content(content, delay) => contents.push((content, *delay)),
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
            let mut push = |view: View, values: &[Value<'_>], due: Option<i64>| {
                let mut bytes = vec![view as u8];
                bytes.extend(due.map_or([0; 9], |due| {
                    let mut instant = [1; 9];
                    instant[1..].copy_from_slice(&due.to_le_bytes());
                    instant
                }));
                encode_row(values, &mut bytes);
                rows.push((bytes.into_boxed_slice(), 1));
            };
            fold.meaning(&standing, &inflows).rows(scale, &mut push);
        });
    })
}

/// A current line, as the sums see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Current {
    account: AccountText,
    transaction: TransactionKey,
    transaction_id: Box<str>,
    date: i32,
    side: Side,
    units: i128,
    is_pending: bool,
}

impl Current {
    fn sides(&self, diff: isize) -> Sides {
        match diff.signum() {
            1 => Sides::of_line(self.side, self.units * diff as i128, 1),
            _ => Sides::of_line(self.side, self.units * -diff as i128, -1),
        }
    }

    fn dated(&self) -> DatedKey {
        let tenant = tenant_bits(&self.account.0);
        DatedKey { key: name(self.account.clone()).key().0, at: self.date, tenant }
    }

    fn book(&self) -> Book {
        Book::new(&self.account.0, &self.account.2)
    }

    fn late(self, diff: isize) -> LateLine {
        let net = self.sides(diff).difference();
        let account = name(self.account.clone()).key();
        let (tenant, _, currency) = self.account;
        let month = Month::of_date(self.date);
        let (transaction, transaction_id) = (self.transaction, self.transaction_id);
        LateLine { tenant, month, transaction, transaction_id, account, currency, net }
    }

    fn clearing(self, processor: &str, diff: isize) -> ClearingLine {
        ClearingLine {
            net: self.sides(diff).difference(),
            tenant: self.account.0,
            processor: processor.into(),
            reference: self.transaction_id,
            currency: self.account.2,
            date: self.date,
            lines: i8::try_from(diff).unwrap(),
        }
    }
}

/// Tenant, account and currency.
type AccountText = (Box<str>, Box<str>, Box<str>);

fn changes<'s>(
    rows: Epochs<'s, (TransactionKey, EncodedRow)>,
    facts: Epochs<'s, (TransactionKey, FactRecord)>,
    accepted: timely::dataflow::Stream<'s, u64, Vec<(u32, trueup_dataflow::Accepted)>>,
    closings: timely::dataflow::Stream<'s, u64, Vec<Closing>>,
    rules: Arc<Rules>,
) -> Changes<'s> {
    let current = rows.clone().flat_map(|(key, row)| current(key, &row));
    let names = current.clone().map(|line| line.account).distinct();
    let posted = current.clone().filter(|line| !line.is_pending);
    let pending = current.clone().filter(|line| line.is_pending);
    let clearing = posted.clone().flat_map(move |line| {
        let processors = rules.clearing.iter().filter(|(_, account)| **account == line.account.1);
        let processors: Vec<_> = processors.map(|(processor, _)| processor.clone()).collect();
        processors.into_iter().map(move |processor| (processor, line.clone()))
    });
    let late = at_epochs(posted.clone(), |line: Current, diff| Some(line.late(diff)));
    let at_once = rows.clone().filter(|(_, row)| row[1] == 0);
    Changes {
        tables: at_epochs(at_once, |(_, row), diff| Some(table(&row, diff))),
        due: at_epochs(rows.filter(|(_, row)| row[1] == 1), |(_, row), diff| {
            let due = i64::from_le_bytes(row[2..10].try_into().unwrap());
            let due = with_row(&row, |view, values| DueRow::new(view, values, due));
            Some((due, i8::try_from(diff).unwrap()))
        }),
        movements: at_epochs(posted.clone(), |line: Current, diff| {
            let key = line.dated();
            Some((u64::from(key.shard()), vec![(key, line.sides(diff).into())]))
        }),
        pending: at_epochs(pending.clone(), |line: Current, diff| {
            let key = line.dated().account();
            Some((u64::from(key.shard()), vec![(key, line.sides(diff).into())]))
        }),
        facts: at_epochs(facts, |(_, fact), diff| {
            let diff = i8::try_from(diff).expect("a fact comes and goes once");
            Some((fact, diff))
        }),
        books: at_epochs(posted, |line: Current, diff| Some((line.book(), line.sides(diff)))),
        ranges: at_epochs(current, |line: Current, diff| {
            Some((line.book(), vec![(line.transaction.shard(), line.sides(diff))]))
        }),
        late: of_closed_months(late, closings),
        clearing: at_epochs(clearing, |(processor, line): (Box<str>, Current), diff| {
            Some(line.clearing(&processor, diff))
        }),
        names: at_epochs(names, |account, diff| {
            (diff > 0).then(|| name(account)).map(|name| (name.key(), name))
        }),
        accepted,
    }
}

fn name((tenant, account, currency): AccountText) -> AccountName {
    AccountName::new(&tenant, &account, &currency)
}

/// Reads a row back.
fn with_row<R>(row: &EncodedRow, f: impl FnOnce(View, &[Value<'_>]) -> R) -> R {
    let view = View::ALL[usize::from(row[0])];
    let mut values = Vec::new();
    decode_row(view, &row[10..], &mut values).unwrap();
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
            Value::Text(transaction_id),
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
            Some(Current {
                account: (tenant.into(), account.into(), currency.into()),
                transaction: key,
                transaction_id: transaction_id.into(),
                date,
                side,
                units,
                is_pending: status == "pending",
            })
        }
        _ => None,
    })
}
