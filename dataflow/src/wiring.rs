//! Which views and detectors there are, and what each is made of: the registry of the dataflow.
//!
//! ```text
//!  events ─▶ transactions ─▶ Streams ─▶ MADE_OF_TRANSACTIONS ─┬─▶ tables of all views ─────────────┐
//!                               ▲              │ due rows ─▶ when_due ┘      │ imbalances            ├─▶ publish
//!  sequences, periods ──────────┘              │ counts of open rows ────────┴▶ MADE_OF_IMBALANCES ──┘
//! ```
//!
//! A view or a detector across transactions is a file under `views` or `detectors` and one line here.
//! `docs/adding-a-view.md` shows how.

use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use timely::dataflow::operators::vec::{Branch, Map};
use timely::dataflow::operators::{Concat, Concatenate};
use timely::dataflow::{Scope, Stream};
use trueup_ledger::{Rules, Scale, Table, View};

use crate::accounts::Declared;
use crate::books::{Book, OfRanges};
use crate::controls::sent;
use crate::detectors::late_into_closed_period::late_into_closed_period;
use crate::detectors::sequence_gap::sequence_gap;
use crate::detectors::shard_imbalance::shard_imbalance;
use crate::detectors::statement_mismatch::statement_mismatch;
use crate::detectors::trial_imbalance::trial_imbalance;
use crate::due::{DueRow, when_due};
use crate::facts::{Control, FactRecord, Statement};
use crate::names::{AccountKey, DatedKey, Directory};
use crate::periods::Closing;
use crate::record::{LateLine, SequenceRecord};
use crate::store::WorkerState;
use crate::sums::Sides;
use crate::time::EpochClock;
use crate::totals::{SharedDirectory, record_names};
use crate::transactions::{Batch, Changes, Tables};
use crate::views::accounts::{Inputs, accounts};
use crate::views::alerts::alerts;
use crate::views::data_quality::{Counts, data_quality, open_imbalances, unmatched};
use crate::views::reconciliation::{Reconciliations, reconciliation, reconciliations};
use crate::views::source_continuity::{Continuity, Service, source_continuity};
use crate::views::trial_balance::{books, trial_balance};

/// What everything is built under.
pub(crate) struct Context<'a> {
    pub(crate) scale: Scale,
    pub(crate) rules: &'a Arc<Rules>,
    pub(crate) state: &'a WorkerState,
    /// The epoch that the state is of.
    pub(crate) since: u64,
    pub(crate) clock: &'a EpochClock,
}

/// What views and detectors are made of. Each takes clones of what it needs.
pub(crate) struct Streams<'s> {
    /// Changes of posted sums by account, currency and date.
    movements: Stream<'s, u64, Vec<Batch<DatedKey>>>,
    /// Changes of pending sums by account and currency.
    pending: Stream<'s, u64, Vec<Batch<AccountKey>>>,
    declarations: Stream<'s, u64, Vec<(Declared, i8)>>,
    /// Changes of sums by book and hash range, of posted and pending lines together.
    ranges: Stream<'s, u64, Vec<(Book, OfRanges)>>,
    /// The posted sums of every book.
    books: VecCollection<'s, u64, (Book, Sides), isize>,
    closings: Stream<'s, u64, Vec<Closing>>,
    late: Stream<'s, u64, Vec<LateLine>>,
    /// The rows of `reconciliation`.
    payments: Reconciliations<'s>,
    continuities: VecCollection<'s, u64, (Service, Continuity), isize>,
    /// What control totals come to.
    judged: Tables<'s>,
    /// Empty; its frontier says through which epoch the names of accounts are known.
    names: Stream<'s, u64, Vec<()>>,
    directory: SharedDirectory,
}

/// What one view or detector gives.
struct Made<'s> {
    tables: Option<Tables<'s>>,
    due: Option<Stream<'s, u64, Vec<(DueRow, i8)>>>,
    open: Option<Counts<'s>>,
}

impl<'s> Made<'s> {
    fn tables(tables: Tables<'s>) -> Made<'s> {
        Made { tables: Some(tables), due: None, open: None }
    }

    fn due(due: Stream<'s, u64, Vec<(DueRow, i8)>>) -> Made<'s> {
        Made { tables: None, due: Some(due), open: None }
    }

    fn open(open: Counts<'s>) -> Made<'s> {
        Made { tables: None, due: None, open: Some(open) }
    }
}

type Make = for<'s> fn(&Streams<'s>, &Context<'_>) -> Made<'s>;

/// The views and detectors that are made of what the transactions change.
const MADE_OF_TRANSACTIONS: &[Make] = &[
    |s, c| {
        let inputs = Inputs {
            movements: s.movements.clone(),
            pending: s.pending.clone(),
            declarations: s.declarations.clone(),
            closings: s.closings.clone(),
            names: s.names.clone(),
        };
        let state = (c.state, c.since, c.scale);
        Made::tables(accounts(inputs, Rc::clone(&s.directory), state))
    },
    |s, c| {
        Made::tables(late_into_closed_period(s.late.clone(), s.closings.clone(), c.state, c.since))
    },
    |s, _| Made::tables(trial_balance(s.books.clone())),
    |s, c| Made::tables(trial_imbalance(s.books.clone(), c.scale)),
    |s, c| Made::tables(shard_imbalance(s.ranges.clone(), c.state, c.scale)),
    |s, _| Made::tables(source_continuity(s.continuities.clone())),
    |s, c| Made::tables(sequence_gap(s.continuities.clone(), c.scale)),
    |s, _| Made::tables(s.judged.clone()),
    |s, _| Made::tables(reconciliation(s.payments.clone())),
    |s, c| {
        let after = c.rules.statement_mismatch_after;
        Made::due(statement_mismatch(s.payments.clone(), after, c.scale))
    },
    |s, _| Made::open(unmatched(s.payments.clone())),
];

/// What is made of all imbalances, whichever detector's, and of the counts of open rows.
type MakeOfImbalances = for<'s> fn(Tables<'s>, Counts<'s>, &Context<'_>) -> Tables<'s>;

const MADE_OF_IMBALANCES: &[MakeOfImbalances] = &[
    |imbalances, _, c| alerts(imbalances, c.clock, c.rules, c.state, c.since),
    |imbalances, open, c| data_quality(open_imbalances(imbalances).concat(open), c.state, c.since),
];

/// Puts everything together: the tables of all views.
pub(crate) fn all_tables<'s>(
    scope: Scope<'s, u64>,
    changes: Changes<'s>,
    closings: Stream<'s, u64, Vec<Closing>>,
    sequences: Stream<'s, u64, Vec<SequenceRecord>>,
    context: &Context<'_>,
) -> Tables<'s> {
    let (tables, due, streams) = streams(changes, closings, sequences, context);
    let (mut all, mut all_due, mut all_open) = (vec![tables], vec![due], Vec::new());
    for make in MADE_OF_TRANSACTIONS {
        let Made { tables, due, open } = make(&streams, context);
        all.extend(tables);
        all_due.extend(due);
        all_open.extend(open);
    }
    all.push(when_due(scope.concatenate(all_due), context.clock, context.state, context.since));
    let (others, imbalances) =
        scope.concatenate(all).branch(|_, table: &Table| table.view() == View::Imbalances);
    let open = scope.concatenate(all_open);
    let made = MADE_OF_IMBALANCES.iter();
    let made: Vec<_> = made.map(|make| make(imbalances.clone(), open.clone(), context)).collect();
    scope.concatenate([others, imbalances].into_iter().chain(made))
}

/// Divides what comes from the transactions, and what is said beside them, into what views need.
fn streams<'s>(
    changes: Changes<'s>,
    closings: Stream<'s, u64, Vec<Closing>>,
    sequences: Stream<'s, u64, Vec<SequenceRecord>>,
    context: &Context<'_>,
) -> (Tables<'s>, Stream<'s, u64, Vec<(DueRow, i8)>>, Streams<'s>) {
    let Context { scale, state, since, .. } = *context;
    let facts = changes.facts;
    let statements = facts.clone().flat_map(statement);
    let (continuities, judged) = sent(sequences, facts.clone().flat_map(control), state, scale);
    let directory = SharedDirectory::new(Directory::new(state));
    let names = record_names(changes.names, Rc::clone(&directory));
    let streams = Streams {
        movements: changes.movements,
        pending: changes.pending,
        declarations: facts.flat_map(declaration),
        books: books(changes.books, state, since),
        ranges: changes.ranges,
        closings,
        late: changes.late,
        payments: reconciliations(changes.clearing, statements, state),
        continuities,
        judged,
        names,
        directory,
    };
    (changes.tables, changes.due, streams)
}

fn declaration((fact, diff): (FactRecord, i8)) -> Option<(Declared, i8)> {
    match fact {
        FactRecord::Account(declared) => Some((declared, diff)),
        _ => None,
    }
}

fn statement((fact, diff): (FactRecord, i8)) -> Option<(Statement, i8)> {
    match fact {
        FactRecord::Statement(statement) => Some((statement, diff)),
        _ => None,
    }
}

fn control((fact, diff): (FactRecord, i8)) -> Option<(Control, i8)> {
    match fact {
        FactRecord::Control(control) => Some((control, diff)),
        _ => None,
    }
}
