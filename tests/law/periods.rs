//! Closed months: what they held stays as it was published, and open months, closed books and
//! adjustments together are the balances, to the unit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trueup::generate::{Workload, write_jsonl};
use trueup_ledger::table::Rows;
use trueup_ledger::{Datum, Epoch, Fact, Kind, Month, Scale, View};
use trueup_sinks::{CommitLog, Store, read_delta_file, rows_at};
use trueup_sources::{Format, Json};

use crate::judge::{self, Look};
use crate::runs::{Job, memory};

fn text(datum: &Datum) -> &str {
    match datum {
        Datum::Text(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

fn units(datum: &Datum) -> i128 {
    match datum {
        Datum::Amount(units) => *units,
        other => panic!("{other:?} is no amount"),
    }
}

/// Tenant and month.
type Period = (String, String);

/// Returns the months that some record of a log opens again.
fn reopened(log: &[u8]) -> BTreeSet<Period> {
    let mut reopened = BTreeSet::new();
    for line in log.split(|byte| *byte == b'\n') {
        let event = Json.decode(line).and_then(|decoded| decoded.draft.admit(Scale::DEFAULT));
        let Ok(event) = event else { continue };
        if let (Kind::ReopenPeriod, Some(Fact::Period(month))) = (event.kind, event.fact.as_deref())
        {
            reopened.insert((event.tenant.to_string(), month.to_string()));
        }
    }
    reopened
}

/// Goes through all that was ever published of closed months; returns how often an adjustment came.
fn closed_figures_never_change(store: &Arc<dyn Store>, reopened: &BTreeSet<Period>) -> usize {
    let log = CommitLog::open(Arc::clone(store)).unwrap();
    let head = log.head().unwrap().unwrap().0;
    let view = View::PeriodAdjustments;
    let mut current: BTreeMap<Vec<Datum>, i128> = BTreeMap::new();
    let mut adjustments = 0;
    for epoch in 1..=head.0 {
        let commit = log.read(Epoch(epoch)).unwrap();
        let mut gone = BTreeMap::new();
        let mut come = BTreeMap::new();
        for file in commit.files.iter().filter(|file| file.view == view.name()) {
            let store = &**log.store();
            for table in read_delta_file(store, file, Epoch(epoch), view, Scale::DEFAULT).unwrap() {
                for (row, diff) in table.diffs().iter().enumerate() {
                    let row = table.row(row);
                    let (key, closed) = (row[..4].to_vec(), units(&row[4]));
                    if *diff < 0 { &mut gone } else { &mut come }.insert(key, closed);
                }
            }
        }
        for (key, closed) in &gone {
            assert_eq!(current.remove(key), Some(*closed), "{key:?} at epoch {epoch}");
        }
        for (key, closed) in come {
            if let Some(before) = gone.get(&key) {
                adjustments += 1;
                let period = (text(&key[0]).to_owned(), text(&key[1]).to_owned());
                let may_change = reopened.contains(&period);
                assert!(*before == closed || may_change, "{key:?} at epoch {epoch}");
            }
            current.insert(key, closed);
        }
    }
    adjustments
}

/// Sums `net` by tenant, account and currency over days that `wants` their tenant and month.
fn net_of_days(days: &Rows, wants: impl Fn(&Period) -> bool) -> BTreeMap<Vec<Datum>, i128> {
    let mut sums = BTreeMap::new();
    for row in days.0.keys() {
        let Datum::Date(date) = row[3] else { panic!("{row:?}") };
        let period = (text(&row[0]).to_owned(), Month::of_date(date).to_string());
        if wants(&period) {
            *sums.entry(row[..3].to_vec()).or_default() += units(&row[6]);
        }
    }
    sums
}

#[test]
fn open_months_closed_books_and_adjustments_make_the_balances() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let workload =
        Workload { events: 12_000, seed: 41, tenants: 4, periods: true, ..Workload::default() };
    let mut log = Vec::new();
    write_jsonl(&workload, &mut log).unwrap();
    std::fs::write(&path, &log).unwrap();
    let store: Arc<dyn Store> = memory();
    Job::new(Arc::clone(&store)).read("live", &path).max_records(400).run().unwrap();
    judge::check(&store, &[("live", &path)], Look::Last);

    let adjustments = closed_figures_never_change(&store, &reopened(&log));
    assert!(adjustments > 20, "only {adjustments} adjustments");
    let commits = CommitLog::open(Arc::clone(&store)).unwrap();
    let rows = |view| rows_at(&commits, view, None, None).unwrap();
    let closed = rows(View::PeriodAdjustments);
    let periods: BTreeSet<Period> =
        closed.0.keys().map(|row| (text(&row[0]).to_owned(), text(&row[1]).to_owned())).collect();
    assert!(periods.len() > 3, "{periods:?}");
    let days = rows(View::DailyMovements);
    let mut sums = net_of_days(&days, |period| !periods.contains(period));
    for row in closed.0.keys() {
        assert_eq!(units(&row[5]) - units(&row[4]), units(&row[6]), "{row:?}");
        let key = vec![row[0].clone(), row[2].clone(), row[3].clone()];
        *sums.entry(key).or_default() += units(&row[4]) + units(&row[6]);
    }
    // What is recomputed from the days alone, and what the balances say.
    assert_eq!(sums, net_of_days(&days, |_| true));
    for row in rows(View::Balances).0.keys() {
        let posted = sums.get(&row[..3]).copied().unwrap_or_default();
        assert_eq!(posted, units(&row[7]), "{row:?}");
    }
}
