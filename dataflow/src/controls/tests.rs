//! What was sent, in the whole engine; against a plain fold in `fold`.

#![allow(clippy::unwrap_used)]

mod fold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trueup_ledger::table::Rows;
use trueup_ledger::{
    Amount, ControlSum, ControlTotal, Epoch, Event, Fact, Kind, Posting, Rules, Side, Source,
    Timestamp,
};

use super::gather::Gathered;
use super::*;
use crate::transactions::Stateful;
use crate::{Engine, EpochOutput, Host, Hosts, Origin, Setup};

pub(crate) fn posting(side: Side, units: i128, currency: &'static str) -> Posting<'static> {
    Posting { account: "a:b".into(), side, amount: Amount(units), currency: currency.into() }
}

pub(crate) fn event(
    service: &str,
    sequence: Option<u64>,
    event_id: &str,
    postings: &[Posting<'static>],
) -> Event<'static> {
    Event {
        tenant: "acme".into(),
        transaction_id: event_id.to_owned().into(),
        event_id: event_id.to_owned().into(),
        kind: Kind::Post,
        leg: "".into(),
        revision: 1,
        effective_at: Timestamp::from_parts(0, 0).unwrap(),
        recorded_at: Timestamp::from_parts(0, 0).unwrap(),
        source: Source { service: service.to_owned().into(), sequence },
        target: None,
        expires_at: None,
        fact: None,
        postings: postings.to_vec(),
    }
}

/// An event of a debit and a credit of so many units.
fn pays(sequence: u64, event_id: &str, units: i128) -> Event<'static> {
    let lines = [posting(Side::Debit, units, "EUR"), posting(Side::Credit, units, "EUR")];
    event("s/1", Some(sequence), event_id, &lines)
}

/// A control total of service `s/1`, in EUR where units are given.
fn total(event_id: &str, at: i64, range: (u64, u64), count: u64, units: i128) -> Event<'static> {
    let sum = ControlSum { currency: "EUR".into(), debit: Amount(units), credit: Amount(units) };
    let totals = if units == 0 { Vec::new() } else { vec![sum] };
    let control = ControlTotal { from: range.0, to: range.1, count, totals };
    Event {
        transaction_id: "".into(),
        kind: Kind::ControlTotal,
        recorded_at: Timestamp::from_parts(at, 0).unwrap(),
        fact: Some(Box::new(Fact::Control(control))),
        ..event("s/1", None, event_id, &[])
    }
}

/// The rows that are looked at, each as its columns without tenant, divided by blanks.
type Shown = BTreeSet<String>;

#[derive(Default)]
struct Views(BTreeMap<View, Rows>);

impl Views {
    fn apply(&mut self, tables: &[Table]) {
        for table in tables {
            self.0.entry(table.view()).or_default().apply(table);
        }
    }

    fn shown(&self) -> Shown {
        let mut shown = Shown::new();
        for (view, rows) in &self.0 {
            assert_eq!(rows.defect(*view), None);
            for row in rows.0.keys() {
                let values: Vec<String> =
                    row[1..].iter().map(|value| value.display(Scale::DEFAULT)).collect();
                let looked_at =
                    ["control_total_mismatch", "completeness"].contains(&values[0].as_str());
                if looked_at {
                    shown.insert(values.join(" "));
                }
            }
        }
        shown
    }
}

const MISMATCH: &str = "control_total_mismatch";

/// Runs the engine and returns what it shows after every epoch.
fn engine(epochs: &[Vec<Event<'static>>], workers: usize) -> Vec<Shown> {
    let outputs: Arc<Mutex<BTreeMap<Epoch, Vec<EpochOutput>>>> = Arc::default();
    let (sink, owned) = (Arc::clone(&outputs), epochs.to_vec());
    let hosts = Hosts::start(workers, move |host| work(host, &owned, &sink)).unwrap();
    hosts.join();
    let outputs = std::mem::take(&mut *outputs.lock().unwrap());
    assert_eq!(outputs.len(), epochs.len(), "every epoch is handed over");
    let mut views = Views::default();
    let shown = outputs.into_values().map(|shares| {
        assert_eq!(shares.len(), workers);
        shares.iter().for_each(|share| views.apply(&share.tables));
        views.shown()
    });
    shown.collect()
}

fn work(
    host: &mut Host<'_>,
    epochs: &[Vec<Event<'static>>],
    outputs: &Arc<Mutex<BTreeMap<Epoch, Vec<EpochOutput>>>>,
) {
    let (index, workers) = (host.index(), host.workers());
    let state = WorkerState::new(None, index, workers);
    let rules = Arc::new(Rules::default());
    let scale = Scale::DEFAULT;
    let setup = Setup {
        scale,
        rules: Arc::clone(&rules),
        state: &state,
        first_epoch: Epoch(1),
        since_time: i64::MIN,
    };
    let sink = Arc::clone(outputs);
    let mut engine = Engine::build(host, Stateful { scale, rules }, &setup, move |output| {
        sink.lock().unwrap().entry(output.epoch).or_default().push(output);
    });
    for (time, events) in (0..).zip(epochs) {
        for (ordinal, event) in events.iter().enumerate().filter(|(n, _)| n % workers == index) {
            engine.push(event, Origin { partition: 0, ordinal: ordinal as u64 });
        }
        host.step();
        engine.close(time);
        host.step();
    }
    let started = Instant::now();
    let complete = |outputs: &BTreeMap<Epoch, Vec<EpochOutput>>| {
        outputs.len() == epochs.len() && outputs.values().all(|shares| shares.len() == workers)
    };
    while !complete(&outputs.lock().unwrap()) {
        assert!(started.elapsed() < Duration::from_secs(30), "an epoch never completes");
        host.step_or_park(Duration::from_millis(1));
    }
}

/// A row that says by how many the count is wrong.
fn count(range: &str, applied: u64, control: u64) -> String {
    format!(
        r#"{MISMATCH} s%2F1/{range}  {} critical {{"applied":"{applied}","control":"{control}"}}"#,
        applied.abs_diff(control)
    )
}

/// A row that says by how much EUR are wrong, debits and credits being the same.
fn euros(range: &str, off: &str, applied: &str, control: &str) -> String {
    format!(
        r#"{MISMATCH} s%2F1/{range} EUR {off} critical {{"applied_credit":"{applied}","applied_debit":"{applied}","control_credit":"{control}","control_debit":"{control}"}}"#
    )
}

fn complete(state: &str, through: u64, max: u64, verified: u64) -> String {
    format!(
        r#"completeness s/1 {state} {through} {{"max_sequence":"{max}","verified_through":"{verified}"}}"#
    )
}

const ONE: i128 = 1_000_000_000;

#[test]
fn control_totals_are_judged_in_the_engine() {
    let far = i64::MAX.unsigned_abs();
    let other = Event { effective_at: Timestamp::from_parts(9, 0).unwrap(), ..pays(3, "c", ONE) };
    let epochs = [
        // Two of three have come when the service says what it has sent.
        vec![pays(1, "a", ONE), pays(2, "b", 2 * ONE), total("t1", 1, (1, 3), 3, 6 * ONE)],
        // The third is late, and comes with copies of it and of one before.
        vec![pays(3, "c", 3 * ONE), pays(3, "c", 3 * ONE), pays(1, "a", ONE)],
        // Another content of one event is another record, though it loses.
        vec![other],
        // A newer control total counts it; one that is older than that says nothing.
        vec![total("t2", 3, (1, 3), 4, 7 * ONE), total("t3", 2, (1, 3), 9, 0)],
        // Ranges that overlap are judged each, up to the last sequence there can be.
        vec![
            total("u", 1, (2, far), 3, 6 * ONE),
            total("v", 1, (3, 4), 2, 4 * ONE),
            total("w", 1, (far, far), 0, 0),
        ],
        // What a control total says is a record of the service too, if it has a sequence.
        vec![Event {
            source: Source { service: "s/1".into(), sequence: Some(4) },
            ..total("x", 1, (5, 9), 1, 0)
        }],
        // Of two contents of one control total the one recorded earlier counts.
        vec![total("u", 0, (2, far), 4, 6 * ONE)],
    ];
    let expected: Vec<Shown> = vec![
        [count("1-3", 2, 3), euros("1-3", "6", "3", "6"), complete("open", 0, 2, 0)].into(),
        [complete("ok", 3, 3, 3)].into(),
        [count("1-3", 4, 3), euros("1-3", "2", "7", "6"), complete("open", 0, 3, 0)].into(),
        [complete("ok", 3, 3, 3)].into(),
        [complete("ok", 3, 3, far)].into(),
        [
            count(&format!("2-{far}"), 4, 3),
            count("3-4", 3, 2),
            count("5-9", 0, 1),
            complete("open", 1, 4, 3),
        ]
        .into(),
        [count("3-4", 3, 2), count("5-9", 0, 1), complete("open", 2, 4, far)].into(),
    ];
    for workers in [1, 2] {
        let shown = engine(&epochs, workers);
        for (epoch, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
            assert_eq!(shown, expected, "epoch {epoch} on {workers} workers");
        }
    }
}

#[test]
fn a_service_with_many_control_totals_is_followed() {
    let state = WorkerState::new(None, 0, 1);
    let services = Services::new(&state, Scale::DEFAULT);
    let many = 20_000;
    let hour = |n: u64| Control {
        tenant: "acme".into(),
        service: "s/1".into(),
        from: n * 10 + 1,
        to: n * 10 + 10,
        recorded_at: Timestamp::from_parts(0, 0).unwrap(),
        event_id: n.to_string().into(),
        count: 10,
        totals: Vec::new(),
    };
    let said = (0..many).map(|n| (hour(n), 1)).collect();
    services.epoch(1, Vec::new(), said);
    let mut views = Views::default();
    for epoch in 0..many / 100 {
        let mut gathered = Gathered::default();
        for sequence in epoch * 1000 + 1..=epoch * 1000 + 1000 {
            gathered.add(&event("s/1", Some(sequence), "e", &[]), &sequence.to_le_bytes());
        }
        let records = gathered.take().collect();
        let changes = services.epoch(epoch + 2, records, Vec::new());
        let quality = changes.tables.iter().filter(|table| table.view() == View::DataQuality);
        views.apply(&quality.cloned().collect::<Vec<_>>());
        let through = epoch * 1000 + 1000;
        assert_eq!(views.shown(), [complete("ok", through, through, through)].into());
    }
}
