//! What each stage of the way from record to commit costs, a record: `cargo bench`.
//!
//! Figures are for comparing stages and versions on one machine; `docs/performance.md` has them with
//! the machine named.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use trueup::generate::{Generator, Workload};
use trueup::pipeline::{Options, Source, run};
use trueup_dataflow::names::{DatedKey, Interner};
use trueup_dataflow::store::{
    Disk, Mark, SealedChanges, Shards, Space, StateError, WorkerState, Write,
};
use trueup_dataflow::sums::Sides;
use trueup_dataflow::transactions::Stateful;
use trueup_dataflow::{Engine, Host, Hosts, Origin, Setup};
use trueup_ledger::key::name_hash;
use trueup_ledger::reference::Reference;
use trueup_ledger::table::{Row, Table};
use trueup_ledger::transaction::{Inflows, Standing, Stored, fold};
use trueup_ledger::{Epoch, Event, Scale, TransactionKey, Value, View};
use trueup_sinks::{CommitLog, CommitRecord, DeltaWriter, GENESIS, MemoryStore, ViewTotals};
use trueup_sources::{Format, Json, LocalLog};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: u64 = 20_000;

fn main() {
    divan::main();
}

fn records() -> Vec<Vec<u8>> {
    let workload = Workload { events: RECORDS, seed: 7, poison: false, ..Workload::default() };
    let mut generator = Generator::new(&workload);
    let mut records = Vec::new();
    let mut record = Vec::new();
    while generator.next_record(&mut record).is_some() {
        records.push(std::mem::take(&mut record));
    }
    records
}

fn admit(raw: &[u8]) -> Event<'_> {
    Json.decode(raw).unwrap().draft.admit(Scale::DEFAULT).unwrap()
}

fn events(records: &[Vec<u8>]) -> Vec<Event<'_>> {
    records.iter().map(|raw| admit(raw)).collect()
}

#[divan::bench]
fn decode_and_admit(bencher: Bencher<'_, '_>) {
    let records = records();
    bencher.counter(ItemsCount::new(records.len())).bench(|| events(&records).len());
}

#[divan::bench]
fn encode_and_key(bencher: Bencher<'_, '_>) {
    let records = records();
    let events = events(&records);
    let mut bytes = Vec::new();
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| {
        events.iter().fold(TransactionKey(0), |_, event| {
            bytes.clear();
            event.encode(&mut bytes);
            event.transaction()
        })
    });
}

#[divan::bench]
fn intern(bencher: Bencher<'_, '_>) {
    let records = records();
    let events = events(&records);
    let lines: usize = events.iter().map(|event| event.postings.len()).sum();
    let mut interner = Interner::default();
    bencher.counter(ItemsCount::new(lines)).bench_local(|| {
        for event in &events {
            for line in event.postings.iter() {
                let key = interner.account(&event.tenant, &line.account, &line.currency);
                divan::black_box(key);
            }
        }
        interner.take_fresh().len()
    });
}

#[divan::bench]
fn rows_of_one_event(bencher: Bencher<'_, '_>) {
    let records = records();
    let encoded: Vec<Vec<u8>> = events(&records)
        .iter()
        .map(|event| {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            bytes
        })
        .collect();
    bencher.counter(ItemsCount::new(encoded.len())).bench(|| {
        let mut rows = 0;
        for canonical in &encoded {
            let events =
                [Stored { event: Event::decode(canonical).unwrap(), canonical, delay: None }];
            let fold = fold(&events).unwrap();
            let (standing, inflows) = (Standing::Clear, Inflows::default());
            let mut count = |_: View, _: &[Value<'_>], _: Option<i64>| rows += 1;
            fold.meaning(&standing, &inflows).rows(Scale::DEFAULT, &mut count);
        }
        rows
    });
}

#[divan::bench(sample_count = 10)]
fn reference_fold(bencher: Bencher<'_, '_>) {
    let records = records();
    let events = events(&records);
    bencher.counter(ItemsCount::new(events.len())).bench(|| {
        let mut reference = Reference::new(Scale::DEFAULT);
        for event in &events {
            reference.insert(event.clone());
        }
        reference.views().len()
    });
}

/// The postings of all records.
fn postings() -> Table {
    let records = records();
    let mut reference = Reference::new(Scale::DEFAULT);
    for event in events(&records) {
        reference.insert(event);
    }
    let mut table = Table::new(View::Postings);
    for row in reference.views()[&View::Postings].0.keys().cloned() {
        let row: Row = row;
        let values: Vec<_> = row.iter().map(trueup_ledger::Datum::as_value).collect();
        table.push(&values, 1);
    }
    table
}

#[divan::bench(sample_count = 20)]
fn write_postings(bencher: Bencher<'_, '_>) {
    let table = postings();
    bencher
        .counter(ItemsCount::new(table.len()))
        .with_inputs(|| (MemoryStore::new(), vec![table.clone()]))
        .bench_values(|(store, tables)| {
            DeltaWriter::default()
                .write(&store, tables, (Epoch(1), 0), 20_000, Scale::DEFAULT)
                .unwrap()
                .0
                .len()
        });
}

#[divan::bench(sample_count = 20)]
fn control_totals(bencher: Bencher<'_, '_>) {
    let table = postings();
    bencher
        .counter(ItemsCount::new(table.len()))
        .bench(|| ViewTotals::of(&table, Scale::DEFAULT).unwrap().inserted);
}

/// Sums by account and day, as many as an epoch changes.
fn days() -> Vec<(DatedKey, Sides)> {
    let day = |number: u32| {
        let key = name_hash(&["tenant", &format!("assets:{number}"), "EUR"]);
        let at = 20_000 + i32::try_from(number % 90).unwrap();
        let sides = Sides { debits: i128::from(number), credits: 0, lines: 1 };
        (DatedKey { key, at, tenant: number % 10 }, sides)
    };
    (0..100_000).map(day).collect()
}

/// What an operator does to a key: look for it, and put it.
#[divan::bench(sample_count = 20)]
fn store_get_and_put(bencher: Bencher<'_, '_>) {
    let days = days();
    bencher.counter(ItemsCount::new(days.len())).bench(|| {
        let state = WorkerState::new(None, 0, 1);
        let kept = state.kept::<DatedKey, Sides>(Space::Days);
        let mut kept = kept.borrow_mut();
        days.iter().for_each(|(key, sides)| {
            let known = kept.get(key).is_some();
            divan::black_box(known);
            kept.put(*key, *sides);
        });
    });
}

/// A checkpoint: sorted, encoded, taken in by the tree on disk and durable.
#[divan::bench(sample_count = 10)]
fn store_checkpoint(bencher: Bencher<'_, '_>) {
    let days = days();
    bencher
        .counter(ItemsCount::new(days.len()))
        .with_inputs(|| {
            let folder = tempfile::tempdir().unwrap();
            let disk = Disk::open(folder.path(), 64 << 20).unwrap();
            let state = WorkerState::new(Some(disk.clone()), 0, 1);
            let kept = state.kept(Space::Days);
            kept.borrow_mut().begin(1);
            days.iter().for_each(|(key, sides)| kept.borrow_mut().put(*key, *sides));
            state.request_seal(Epoch(1));
            (folder, disk, state.seal(Epoch(1)))
        })
        .bench_local_values(|(folder, disk, sealed)| {
            let (commit_hash, configuration) = (String::new(), String::new());
            let mark = Mark { epoch: Epoch(1), commit_hash, configuration, shards: Shards::ALL };
            let parts = [sealed];
            let fill = |write: Write<'_, StateError>| SealedChanges::of(&parts).for_each(write);
            let ingested = disk.ingest(&mark, fill, |(), _| Ok(())).unwrap();
            (folder, disk, ingested.changes)
        });
}

/// The dataflow alone: transactions, aggregates and views, on one worker without a disk.
#[divan::bench(sample_count = 10)]
fn engine(bencher: Bencher<'_, '_>) {
    let records = Arc::new(records());
    bencher.counter(ItemsCount::new(records.len())).bench(|| {
        let (records, rows) = (Arc::clone(&records), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&rows);
        let hosts = Hosts::start(1, move |host| derive(host, &records, &counted)).unwrap();
        hosts.join();
        rows.load(Ordering::Relaxed)
    });
}

/// Pushes all records as one epoch and works until its rows are there.
fn derive(host: &mut Host<'_>, records: &[Vec<u8>], rows: &Arc<AtomicU64>) {
    let state = WorkerState::new(None, 0, 1);
    let (scale, rules) = (Scale::DEFAULT, Arc::default());
    let transactions = Stateful { scale, rules: Arc::clone(&rules) };
    let first_epoch = Epoch(1);
    let setup = Setup { scale, rules, state: &state, first_epoch, since_time: i64::MIN };
    let counted = Arc::clone(rows);
    let mut engine = Engine::build(host, transactions, &setup, move |output| {
        let rows: usize = output.tables.iter().map(Table::len).sum();
        counted.store(rows as u64, Ordering::Relaxed);
    });
    for (raw, ordinal) in records.iter().zip(0..) {
        engine.push(&admit(raw), Origin { partition: 0, ordinal });
        if ordinal % 1_000 == 0 {
            host.step();
        }
    }
    engine.close(0);
    while rows.load(Ordering::Relaxed) == 0 {
        host.step_or_park(Duration::from_millis(1));
    }
}

#[divan::bench]
fn commit_record(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| CommitLog::open(MemoryStore::new()).unwrap()).bench_values(|log| {
        log.append(&CommitRecord::new(Epoch(1), GENESIS.to_owned(), 0)).unwrap()
    });
}

#[divan::bench(sample_count = 10, args = [1, 2])]
fn log_to_commits(bencher: Bencher<'_, '_>, workers: usize) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let mut lines = Vec::new();
    for record in records() {
        lines.extend_from_slice(&record);
        lines.push(b'\n');
    }
    std::fs::write(&log, lines).unwrap();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let options = Options {
            store: Arc::new(MemoryStore::new()),
            scale: Scale::DEFAULT,
            rules: Arc::default(),
            workers,
            commit_interval: Duration::from_secs(1),
            commit_max_records: 10_000,
            sources: vec![Source {
                name: "log".into(),
                transport: Box::new(LocalLog::new(&log)),
                format: Arc::new(Json),
                backfill: false,
            }],
            until_caught_up: true,
            cluster: None,
            state: None,
            configuration_hash: String::new(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        run(options, |_| ()).unwrap().epochs
    });
}
