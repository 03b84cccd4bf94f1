//! Re-drives: written once each, by any number of writers, over any lost reply; damage is named.

use std::sync::{Arc, Barrier};
use std::thread;

use super::*;
use crate::fault::{FaultPlan, FaultyStore};
use crate::memory::MemoryStore;

const REQUEST: Request<'static> = Request {
    who: "ada",
    when: "2026-11-01T00:00:00Z",
    why: "the amount was a number",
    source: "live",
    partition: "0",
    position: "events.jsonl@7",
    epoch: Epoch(3),
    reason: "bad_type",
    quarantined: b"{\"v\":9}",
    replacement: None,
};

fn written(outcome: Outcome) -> Audit {
    match outcome {
        Outcome::Written(audit) => audit,
        Outcome::Before(audit) => panic!("there before: {audit:?}"),
    }
}

fn damage(outcome: Result<impl Sized, SinkError>) -> String {
    match outcome.map(|_| ()) {
        Err(error @ SinkError::Damaged { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_written_is_read_back_byte_for_byte() {
    let store = MemoryStore::new();
    let every_byte: Vec<u8> = (0..=255).collect();
    let requests = [
        (REQUEST, REQUEST.quarantined),
        (Request { position: "8", replacement: Some(b"mended\n\0"), ..REQUEST }, b"mended\n\0"),
        (Request { position: "9", quarantined: &every_byte, ..REQUEST }, every_byte.as_slice()),
        (Request { position: "10", quarantined: b"", ..REQUEST }, b""),
    ];
    let mut redrives = Redrives::open(&store).unwrap();
    let mut previous = GENESIS.to_owned();
    for ((request, raw), number) in requests.iter().zip(1..) {
        let audit = written(redrives.append(request).unwrap());
        assert_eq!((audit.number, audit.replaced), (number, request.replacement.is_some()));
        let read = read_redrive(&store, number, Retry::default()).unwrap().unwrap();
        assert_eq!((&read.audit, read.raw.as_slice()), (&audit, *raw));
        assert_eq!(read.audit.sha256, sha256_hex(request.quarantined));
        assert_eq!(std::mem::replace(&mut previous, read.hash), read.previous);
    }
    assert_eq!(read_redrive(&store, 5, Retry::default()).unwrap(), None);
    let again = Redrives::open(&store).unwrap();
    assert_eq!(again.of("live", "0", "8").unwrap().number, 2);
    assert_eq!(again.of("live", "1", "8"), None);
    assert_eq!(again.audits().count(), 4);
}

#[test]
fn of_many_writers_one_wins_each_record() {
    let (writers, records) = (6, 25);
    let store = Arc::new(MemoryStore::new());
    let start = Arc::new(Barrier::new(writers));
    let threads = (0..writers).map(|writer| {
        let (store, start) = (Arc::clone(&store), Arc::clone(&start));
        thread::spawn(move || {
            let mut redrives = Redrives::open(store).unwrap();
            start.wait();
            let who = format!("writer {writer}");
            let won = (0..records).filter(|record| {
                let position = record.to_string();
                let request = Request { who: &who, position: &position, ..REQUEST };
                matches!(redrives.append(&request).unwrap(), Outcome::Written(_))
            });
            won.count()
        })
    });
    let threads: Vec<_> = threads.collect();
    let won: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(won, records);
    let redrives = Redrives::open(&*store).unwrap();
    assert_eq!(redrives.audits().count(), records);
}

#[test]
fn lost_requests_and_replies_neither_lose_nor_double() {
    for seed in 0..40 {
        let store = FaultyStore::new(MemoryStore::new(), FaultPlan::seeded(seed, 20, 20));
        let mut redrives = Redrives::open_with(&store, Retry::immediate(50)).unwrap();
        for record in 0..20 {
            let position = record.to_string();
            written(redrives.append(&Request { position: &position, ..REQUEST }).unwrap());
        }
        let found = Redrives::open(store.inner()).unwrap();
        assert_eq!(found.audits().count(), 20, "seed {seed}");
        assert_eq!(count_redrives(store.inner(), Retry::default()).unwrap(), 20, "seed {seed}");
    }
}

#[test]
fn damage_names_the_file() {
    let whole = MemoryStore::new();
    let mut redrives = Redrives::open(&whole).unwrap();
    for position in ["1", "2", "3"] {
        written(redrives.append(&Request { position, ..REQUEST }).unwrap());
    }
    type Change = fn(&str) -> Option<String>;
    let changes: [(u64, Change, &str); 8] = [
        (2, |_| None, "00000000000000000002.json: it is missing"),
        (1, |_| None, "00000000000000000001.json: it is missing"),
        (2, |text| Some(text[1..].to_owned()), "00000000000000000002.json: it is no re-drive"),
        (2, |text| Some(text.replace("ada", "eve")), "00000000000000000003.json: it does not hold"),
        (
            2,
            |text| Some(text.replace(":9}", ":8}")),
            "00000000000000000002.json: its bytes are not",
        ),
        (3, |text| Some(text.replace("\"number\":3", "\"number\":4")), "3.json: it says it is"),
        (3, |text| Some(text.replace("\"3\"", "\"1\"")), "3.json: it re-drives the record that"),
        (3, |text| Some(text.replace("_version\":1", "_version\":2")), "3.json: it has format 2"),
    ];
    for (number, change, expected) in changes {
        let store = MemoryStore::new();
        for path in whole.list("").unwrap() {
            let text = String::from_utf8(whole.get(&path).unwrap()).unwrap();
            let text = if path == redrive_path(number) { change(&text) } else { Some(text) };
            if let Some(text) = text {
                store.create(&path, text.as_bytes()).unwrap();
            }
        }
        let said = damage(Redrives::open(&store));
        assert!(said.contains(expected), "{said}, not {expected}");
    }
}
