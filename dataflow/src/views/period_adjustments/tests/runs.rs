//! Runs hand-written epochs on an engine, and compares what holds after each with what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trueup_ledger::table::{Datum, Row, Rows};
use trueup_ledger::{
    Amount, Epoch, Event, Fact, Kind, Month, Posting, Rules, Scale, Side, Source, Timestamp, View,
};

use crate::store::{Disk, Mark, Sealed, SealedChanges, Shards, StateError, WorkerState, Write};
use crate::transactions::Stateful;
use crate::{Engine, EpochOutput, Host, Hosts, Origin, Setup};

/// The events of one epoch, and the rows that hold at its end.
pub(super) type Step<'a> = (&'a [&'a str], &'a [&'a str]);

/// A start: how many epochs it does at most, of which it keeps how many, on how many workers.
type Life = (usize, usize, usize);

/// Runs the epochs without a disk on several numbers of workers, and over restarts.
pub(super) fn scenario(steps: &[Step<'_>]) {
    let epochs: Vec<Vec<Event<'static>>> =
        steps.iter().map(|(events, _)| events.iter().map(|text| event(text)).collect()).collect();
    for workers in [1, 2, 3] {
        let outputs = live(&epochs, 0, workers, None, 0);
        judge(steps, &outputs, &format!("{workers} workers"));
    }
    // The second does again what the first had done behind its checkpoint.
    for lives in [[(1, 1, 1), (1, 1, 2)], [(3, 2, 2), (2, 1, 1)], [(2, 1, 3), (3, 3, 2)]] {
        let outputs = lived(&epochs, &lives);
        judge(steps, &outputs, &format!("lives {lives:?}"));
    }
}

/// Starts again and again until all epochs are done; what is done twice must change the same rows.
fn lived(epochs: &[Vec<Event<'static>>], lives: &[Life]) -> Vec<Vec<EpochOutput>> {
    let directory = tempfile::tempdir().unwrap();
    let mut outputs: Vec<Vec<EpochOutput>> = Vec::new();
    let mut done = 0;
    for (length, keeps, workers) in lives.iter().cycle() {
        let disk = Disk::open(directory.path(), 1 << 20).unwrap();
        assert_eq!(disk.standing().unwrap().mark.map_or(0, |mark| mark.epoch.0), done as u64);
        let to = (done + length).min(epochs.len());
        let kept = (done + keeps).min(to);
        for (place, output) in (done..).zip(live(&epochs[..to], done, *workers, Some(&disk), kept))
        {
            if place < outputs.len() {
                assert_eq!(changed(&output), changed(&outputs[place]), "epoch {place} again");
            } else {
                outputs.push(output);
            }
        }
        if to == epochs.len() {
            return outputs;
        }
        done = kept;
    }
    unreachable!("lives follow each other without end")
}

#[derive(Default)]
struct Shared {
    outputs: Mutex<BTreeMap<Epoch, Vec<EpochOutput>>>,
    sealed: Mutex<Vec<Sealed>>,
}

/// Runs the epochs behind the first `from`, and takes a checkpoint after `keeps` of all.
pub(super) fn live(
    epochs: &[Vec<Event<'static>>],
    from: usize,
    workers: usize,
    disk: Option<&Disk>,
    keeps: usize,
) -> Vec<Vec<EpochOutput>> {
    let shared = Arc::new(Shared::default());
    let (sink, owned, disk) = (Arc::clone(&shared), epochs[from..].to_vec(), disk.cloned());
    let work = move |host: &mut Host<'_>| {
        let state = WorkerState::new(disk.clone(), host.index(), host.workers());
        let first = Epoch(from as u64 + 1);
        let (on_worker, on_disk, sink) = (state.clone(), disk.clone(), Arc::clone(&sink));
        let hand_over = {
            let sink = Arc::clone(&sink);
            move |output: EpochOutput| {
                if let Some(disk) = on_disk.as_ref().filter(|_| output.epoch.0 == keeps as u64) {
                    checkpoint(on_worker.seal(output.epoch), workers, disk, &sink);
                }
                sink.outputs.lock().unwrap().entry(output.epoch).or_default().push(output);
            }
        };
        let rules = Arc::new(Rules::default());
        let transactions = Stateful { scale: Scale::DEFAULT, rules: Arc::clone(&rules) };
        let setup = Setup {
            scale: Scale::DEFAULT,
            rules,
            state: &state,
            first_epoch: first,
            since_time: if from == 0 { i64::MIN } else { 0 },
        };
        let mut engine = Engine::build(host, transactions, &setup, hand_over);
        for events in &owned {
            for (ordinal, event) in events.iter().enumerate() {
                if ordinal % host.workers() == host.index() {
                    engine.push(event, Origin { partition: 0, ordinal: ordinal as u64 });
                }
            }
            host.step();
            if disk.is_some() && engine.epoch().0 == keeps as u64 {
                state.request_seal(engine.epoch());
            }
            engine.close(0);
            host.step();
        }
        let begun = Instant::now();
        let is_done = |outputs: &BTreeMap<Epoch, Vec<EpochOutput>>| {
            outputs.len() == owned.len() && outputs.values().all(|all| all.len() == workers)
        };
        while !is_done(&sink.outputs.lock().unwrap()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "an epoch never completes");
            host.step_or_park(Duration::from_millis(1));
        }
    };
    Hosts::start(workers, work).unwrap().join();
    let outputs = std::mem::take(&mut *shared.outputs.lock().unwrap());
    assert_eq!(outputs.len(), epochs.len() - from, "every epoch is handed over");
    outputs.into_values().collect()
}

/// Gathers the parts of a checkpoint; the last worker takes all to disk.
fn checkpoint(part: Sealed, workers: usize, disk: &Disk, shared: &Shared) {
    let mut sealed = shared.sealed.lock().unwrap();
    sealed.push(part);
    if sealed.len() == workers {
        let mark = Mark {
            epoch: sealed[0].epoch(),
            commit_hash: "hash".to_owned(),
            configuration: "test".to_owned(),
            shards: Shards::ALL,
        };
        let changes = SealedChanges::of(&sealed);
        let fill = |write: Write<'_, StateError>| changes.for_each(write);
        disk.ingest(&mark, fill, |(), _| Ok(())).unwrap();
    }
}

/// What all workers together changed in one epoch.
fn changed(shares: &[EpochOutput]) -> BTreeMap<(View, Row), i64> {
    let mut changed = BTreeMap::new();
    for table in shares.iter().flat_map(|share| &share.tables) {
        for (row, diff) in table.diffs().iter().enumerate() {
            let before = changed.insert((table.view(), table.row(row)), i64::from(*diff));
            assert_eq!(before, None, "a row that changes, changes once an epoch");
        }
    }
    changed
}

/// Compares what holds after every epoch with what is expected.
fn judge(steps: &[Step<'_>], outputs: &[Vec<EpochOutput>], run: &str) {
    let mut views: BTreeMap<View, Rows> = BTreeMap::new();
    for (epoch, ((_, expected), shares)) in steps.iter().zip(outputs).enumerate() {
        for ((view, row), diff) in changed(shares) {
            views.entry(view).or_default().add(row, diff);
        }
        for (view, rows) in &views {
            assert_eq!(rows.defect(*view), None, "{run}, epoch {epoch}");
        }
        let rows = |view| views.get(&view).into_iter().flat_map(|rows: &Rows| rows.0.keys());
        let adjustments = rows(View::PeriodAdjustments).map(|row| texts(row).join(" "));
        let late = rows(View::Imbalances).map(texts).filter_map(|row| {
            let [tenant, detector, subject, currency, amount, severity, detail] = &row[..] else {
                unreachable!("an imbalance has seven columns")
            };
            (detector == "late_into_closed_period").then(|| {
                let (_, period) = subject.rsplit_once('/').unwrap();
                assert_eq!(severity, "warning");
                assert_eq!(*detail, format!(r#"{{"period":"{period}"}}"#));
                format!("{tenant} late {subject} {currency} {amount}")
            })
        });
        let found: BTreeSet<String> = adjustments.chain(late).collect();
        let expected: BTreeSet<String> = expected.iter().map(|row| (*row).to_owned()).collect();
        assert_eq!(found, expected, "{run}, epoch {epoch}");
        let mut days: BTreeMap<Vec<String>, i128> = BTreeMap::new();
        for row in rows(View::DailyMovements).map(texts) {
            let key = vec![row[0].clone(), row[3][..7].to_owned(), row[1].clone(), row[2].clone()];
            *days.entry(key).or_default() += row[6].parse::<i128>().unwrap();
        }
        for row in rows(View::PeriodAdjustments).map(texts) {
            let sum = days.get(&row[..4]).copied().unwrap_or_default();
            assert_eq!(row[5], sum.to_string(), "{run}, epoch {epoch}: {row:?}");
        }
    }
}

fn texts(row: &Row) -> Vec<String> {
    let text = |datum: &Datum| match datum {
        Datum::Amount(units) => units.to_string(),
        other => other.display(Scale::DEFAULT),
    };
    row.iter().map(text).collect()
}

/// Reads an event: a tenant, a kind, and the month, event id and `@` seconds of a close or
/// reopening; or the transaction, with `=` before its target, the date, and lines.
pub(super) fn event(text: &str) -> Event<'static> {
    let words: Vec<&str> = text.split(' ').collect();
    let (tenant, kind) = (words[0], words[1]);
    let second = |seconds| Timestamp::from_parts(seconds, 0).unwrap();
    let mut event = Event {
        tenant: tenant.to_owned().into(),
        transaction_id: "".into(),
        event_id: "".into(),
        kind: Kind::Post,
        leg: "".into(),
        revision: 1,
        effective_at: second(0),
        recorded_at: second(0),
        source: Source { service: "test".into(), sequence: None },
        target: None,
        expires_at: None,
        fact: None,
        postings: Vec::new(),
    };
    if let "close" | "reopen" = kind {
        let [month, event_id, recorded] = words[2..] else { panic!("{text}") };
        event.kind = if kind == "close" { Kind::ClosePeriod } else { Kind::ReopenPeriod };
        event.event_id = event_id.to_owned().into();
        event.recorded_at = second(recorded[1..].parse().unwrap());
        event.fact = Some(Box::new(Fact::Period(Month::parse(month).unwrap())));
        return event;
    }
    let (transaction, target) = match words[2].split_once('=') {
        Some((transaction, target)) => (transaction, Some(target.to_owned().into())),
        None => (words[2], None),
    };
    let (kind, revision) = kind.split_at(kind.find(char::is_numeric).unwrap_or(kind.len()));
    event.kind = Kind::by_name(kind).unwrap();
    event.revision = revision.parse().unwrap_or(1);
    event.transaction_id = transaction.to_owned().into();
    event.event_id = format!("{transaction}-{}", event.revision).into();
    event.target = target;
    event.effective_at = Timestamp::parse(&format!("{}T12:00:00Z", words[3])).unwrap();
    event.expires_at = (event.kind == Kind::Hold).then(|| second(4_000_000_000));
    event.postings = words[4..].iter().map(|word| posting(word)).collect();
    event
}

fn posting(word: &str) -> Posting<'static> {
    let (account, signed) = word.split_at(word.find(['+', '-']).unwrap());
    let (amount, currency) = signed[1..].split_at(signed.len() - 4);
    Posting {
        account: account.to_owned().into(),
        side: if signed.starts_with('+') { Side::Debit } else { Side::Credit },
        amount: Amount(amount.parse().unwrap()),
        currency: currency.to_owned().into(),
    }
}
