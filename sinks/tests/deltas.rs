//! Rows that are written as deltas are the rows that are read back.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use trueup_ledger::table::{Rows, Value};
use trueup_ledger::{ColumnType, Datum, Epoch, Reason, Row, Scale, Table, View};
use trueup_sinks::record::{CommitRecord, GENESIS};
use trueup_sinks::{
    CommitLog, DeltaWriter, MemoryStore, QuarantineRecord, SinkError, Store, digest_at,
    read_delta_file, rows_at, write_quarantine,
};

const MAX: i128 = 10_i128.pow(38) - 1;
const DAY: i32 = 20_454;

fn table(view: View, rows: &[(Row, i8)]) -> Table {
    let mut table = Table::new(view);
    for (row, diff) in rows {
        let values: Vec<Value<'_>> = row.iter().map(Datum::as_value).collect();
        table.push(&values, *diff);
    }
    table
}

fn commit(log: &CommitLog<&MemoryStore>, tables: Vec<Table>, scale: Scale) -> CommitRecord {
    let (head, previous) = log.head().unwrap().unwrap_or((Epoch(0), GENESIS.to_owned()));
    let mut record = CommitRecord::new(Epoch(head.0 + 1), previous, 0);
    let (files, views) =
        DeltaWriter::default().write(log.store(), tables, (record.epoch, 0), DAY, scale).unwrap();
    record.files = files;
    record.views = views.into_iter().map(|(view, sum)| (view.name().to_owned(), sum)).collect();
    record.amount_scale = scale.digits();
    log.append(&record).unwrap();
    record
}

fn datum(ty: ColumnType) -> BoxedStrategy<Datum> {
    match ty {
        ColumnType::Text => prop_oneof![Just(String::new()), "\\PC{0,6}", "[ab]"]
            .prop_map(|text| Datum::Text(text.into()))
            .boxed(),
        ColumnType::Amount => prop_oneof![Just(MAX), Just(-MAX), -MAX..=MAX, -9_i128..9]
            .prop_map(Datum::Amount)
            .boxed(),
        ColumnType::Integer => any::<i64>().prop_map(Datum::Integer).boxed(),
        ColumnType::Date => any::<i32>().prop_map(Datum::Date).boxed(),
        ColumnType::Instant => any::<i64>().prop_map(Datum::Instant).boxed(),
    }
}

fn changes() -> impl Strategy<Value = (View, Vec<Vec<(Row, i8)>>)> {
    prop::sample::select(View::ALL.to_vec()).prop_flat_map(|view| {
        let row: Vec<_> = view.columns().iter().map(|column| datum(column.ty)).collect();
        let change = (row, prop_oneof![Just(1_i8), Just(-1)]);
        let tables = prop::collection::vec(prop::collection::vec(change, 0..12), 1..4);
        (Just(view), tables)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    // spec: "Every view is published as a delta stream"
    #[test]
    fn every_type_survives((view, parts) in changes(), digits in 0_u8..=18) {
        let scale = Scale::new(digits).unwrap();
        let store = MemoryStore::new();
        let log = CommitLog::open(&store).unwrap();
        let mut expected = Rows::default();
        for part in parts.chunks(2) {
            let tables: Vec<_> = part.iter().map(|rows| table(view, rows)).collect();
            tables.iter().for_each(|table| expected.apply(table));
            let record = commit(&log, tables, scale);
            for file in &record.files {
                let read = read_delta_file(&store, file, record.epoch, view, scale).unwrap();
                let tenants: Vec<_> = read.iter()
                    .flat_map(|table| (0..table.len()).map(|row| table.row(row)[0].clone()))
                    .collect();
                prop_assert!(tenants.is_sorted());
            }
        }
        prop_assert_eq!(digest_at(&log, view, None).unwrap(), expected.digest());
        prop_assert_eq!(rows_at(&log, view, None, None).unwrap(), expected);
    }
}

fn trial(tenant: &str, currency: &str, units: [i128; 3]) -> Row {
    let mut row = vec![Datum::Text(tenant.into()), Datum::Text(currency.into())];
    row.extend(units.map(Datum::Amount));
    row
}

#[test]
fn totals_are_signed_and_never_overflow() {
    let rows: Vec<_> =
        (0..5).map(|n| (trial(&format!("t{n}"), "EUR", [MAX, -MAX, 1]), 1)).collect();
    let mut tables = vec![table(View::TrialBalance, &rows)];
    tables.push(table(View::TrialBalance, &[(trial("t", "USD", [-1_500_000_000, 5, 0]), -1)]));
    let store = MemoryStore::new();
    let scale = Scale::DEFAULT;
    let (files, views) =
        DeltaWriter::default().write(&store, tables, (Epoch(7), 3), DAY, scale).unwrap();
    assert_eq!(files[0].path, "deltas/trial_balance/2026-01-01/00000000000000000007-3.parquet");
    let totals = &views[&View::TrialBalance];
    assert_eq!((totals.inserted, totals.retracted), (5, 1));
    let pairs = |currency: &str| -> BTreeMap<&str, &str> {
        totals.totals[currency].iter().map(|(a, b)| (a.as_str(), b.as_str())).collect()
    };
    let five_times_max = format!("4{}.999999995", "9".repeat(29));
    let minus = format!("-{five_times_max}");
    assert_eq!(
        pairs("EUR"),
        [("debits", &*five_times_max), ("credits", &*minus), ("difference", "0.000000005")].into()
    );
    assert_eq!(
        pairs("USD"),
        [("debits", "1.5"), ("credits", "-0.000000005"), ("difference", "0")].into()
    );
}

// spec: "never rounded, wrapped or nulled"
#[test]
fn what_does_not_fit_is_named() {
    for units in [MAX + 1, -MAX - 1, i128::MAX, i128::MIN] {
        let tables = vec![table(View::TrialBalance, &[(trial("ten", "EUR", [0, units, 0]), 1)])];
        let store = MemoryStore::new();
        let error = DeltaWriter::default()
            .write(&store, tables, (Epoch(1), 0), DAY, Scale::DEFAULT)
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("trial_balance: column credits of row ten / EUR"), "{text}");
        assert!(store.list("").unwrap().is_empty());
    }
}

#[test]
fn many_rows_keep_their_order_within_a_tenant_and_equal_rows_make_equal_bytes() {
    let mut rows = Table::new(View::SourceContinuity);
    for n in 0..40_000_i64 {
        let (tenant, service) = (format!("t{}", n % 3), format!("s{n:06}"));
        let numbers = [n, n, n, 0].map(Value::Integer);
        let mut values = vec![Value::Text(&tenant), Value::Text(&service)];
        values.extend(numbers);
        rows.push(&values, 1);
    }
    let write = || {
        let store = MemoryStore::new();
        let tables = vec![rows.clone()];
        let (files, _) = DeltaWriter::default()
            .write(&store, tables, (Epoch(1), 0), DAY, Scale::DEFAULT)
            .unwrap();
        (store, files)
    };
    let ((store, files), (_, again)) = (write(), write());
    assert_eq!(files, again);
    let view = View::SourceContinuity;
    let read = read_delta_file(&store, &files[0], Epoch(1), view, Scale::DEFAULT).unwrap();
    let keys: Vec<_> = read
        .iter()
        .flat_map(|table| (0..table.len()).map(|row| table.row(row)[..2].to_vec()))
        .collect();
    assert_eq!(keys.len(), 40_000);
    assert!(keys.is_sorted());
}

#[test]
fn damage_is_found_and_named() {
    let store = MemoryStore::new();
    let log = CommitLog::open(&store).unwrap();
    let rows = [(trial("a", "EUR", [1, 2, 3]), 1)];
    let record = commit(&log, vec![table(View::TrialBalance, &rows)], Scale::DEFAULT);
    let (file, view, nine) = (&record.files[0], View::TrialBalance, Scale::DEFAULT);
    let read = |file, epoch, view, scale| -> String {
        match read_delta_file(&store, file, epoch, view, scale).unwrap_err() {
            error @ SinkError::Damaged { .. } => error.to_string(),
            error => panic!("{error}"),
        }
    };
    let two = Scale::new(2).unwrap();
    assert!(read(file, Epoch(2), view, nine).contains("rows of epoch 1"));
    assert!(read(file, Epoch(1), View::Balances, nine).contains("has column"));
    assert!(read(file, Epoch(1), view, two).contains("has column"));
    let mut other = file.clone();
    other.rows = 2;
    assert!(read(&other, Epoch(1), view, nine).contains("1 rows, 2 committed"));
    let whole = store.get(&file.path).unwrap();
    let mut flipped = whole.clone();
    flipped[10] ^= 1;
    store.put(&file.path, &flipped).unwrap();
    assert!(read(file, Epoch(1), view, nine).contains("SHA-256"));
    store.put(&file.path, &whole[1..]).unwrap();
    assert!(read(file, Epoch(1), view, nine).contains("bytes"));
    store.delete(&file.path).unwrap();
    assert!(read(file, Epoch(1), view, nine).starts_with(&file.path));
    assert!(matches!(
        rows_at(&log, view, Some(Epoch(2)), None),
        Err(SinkError::NotCommitted { .. })
    ));
}

#[test]
fn a_file_left_by_another_attempt_is_not_replaced() {
    let store = MemoryStore::new();
    let write = |units| {
        let rows = [(trial("a", "EUR", [units, 0, 0]), 1)];
        let tables = vec![table(View::TrialBalance, &rows)];
        DeltaWriter::default()
            .write(&store, tables, (Epoch(1), 0), DAY, Scale::DEFAULT)
            .unwrap()
            .0
            .remove(0)
    };
    let (first, second, third) = (write(1), write(2), write(2));
    assert_ne!(first.path, second.path);
    assert_eq!(second, third);
    for file in [&first, &second] {
        let view = View::TrialBalance;
        assert!(read_delta_file(&store, file, Epoch(1), view, Scale::DEFAULT).is_ok());
    }
}

// spec: "Summing `diff` per row over all epochs ≤ E gives the view at E"
// spec: "older ones stay auditable"
#[test]
fn a_filter_and_an_older_epoch_choose_rows() {
    let store = MemoryStore::new();
    let log = CommitLog::open(&store).unwrap();
    let (old, new) = (trial("a", "EUR", [1, 0, 0]), trial("a", "EUR", [2, 0, 0]));
    let other = trial("b", "EUR", [5, 0, 0]);
    let view = View::TrialBalance;
    commit(&log, vec![table(view, &[(old.clone(), 1), (other.clone(), 1)])], Scale::DEFAULT);
    commit(&log, vec![table(view, &[(old.clone(), -1), (new.clone(), 1)])], Scale::DEFAULT);
    let keys = |epoch, filter| -> Vec<Row> {
        rows_at(&log, view, epoch, filter).unwrap().0.into_keys().collect()
    };
    assert_eq!(keys(Some(Epoch(0)), None), Vec::<Row>::new());
    assert_eq!(keys(Some(Epoch(1)), None), [old, other.clone()]);
    assert_eq!(keys(None, None), [new, other.clone()]);
    let only_b = |table: &Table, row| table.columns()[0].value(row) == Value::Text("b");
    assert_eq!(keys(None, Some(&only_b)), [other]);
}

// spec: "*quarantined* (with reason and raw bytes)"
// spec: "carried to … quarantine"
#[test]
fn quarantine_keeps_raw_bytes() {
    let record = |n: usize| QuarantineRecord {
        reason: Reason::ALL[n % Reason::ALL.len()],
        detail: "größer".to_owned(),
        source: "live".to_owned(),
        partition: n.to_string(),
        segment: if n == 0 { String::new() } else { "x.jsonl".to_owned() },
        offset: n as u64,
        raw: vec![0xff; n],
        correlation_id: (n > 0).then(|| "c".to_owned()),
    };
    let store = MemoryStore::new();
    assert_eq!(write_quarantine(&store, &[], Epoch(1), 0, DAY).unwrap(), None);
    let records: Vec<_> = (0..3).map(record).collect();
    let file = write_quarantine(&store, &records, Epoch(1), 0, DAY).unwrap().unwrap();
    assert_eq!(file.path, "quarantine/2026-01-01/00000000000000000001-0.parquet");
    let bytes = bytes::Bytes::from(store.get(&file.path).unwrap());
    let mut reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 100).unwrap();
    let batch = reader.next().unwrap().unwrap();
    use arrow::array::AsArray;
    let positions = batch.column_by_name("position").unwrap().as_string::<i32>();
    assert_eq!(positions.iter().flatten().collect::<Vec<_>>(), ["0", "x.jsonl@1", "x.jsonl@2"]);
    let raw = batch.column_by_name("raw").unwrap().as_binary::<i32>();
    assert_eq!(raw.value(2), [0xff, 0xff]);
    let correlations = batch.column_by_name("correlation_id").unwrap().as_string::<i32>();
    assert_eq!(correlations.iter().collect::<Vec<_>>(), [None, Some("c"), Some("c")]);
}
