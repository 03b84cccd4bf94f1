//! How many records of 1 KB one core decodes a second:
//! `cargo run --release -p trueup-sources --example decode_speed`.

use std::time::Instant;

use trueup_ledger::{Event, Scale};
use trueup_sources::{Format, Json};

const RECORDS: u32 = 2_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut raw = String::from(
        r#"{"v":1,"event_id":"01J9Z3QK8VJ2M4N6P8R0S2T4V6","tenant":"acme-europe","kind":"post","transaction_id":"invoice-2026-000123456","leg":"","revision":1,"effective_at":"2026-01-02T03:04:05.123Z","recorded_at":"2026-01-02T03:04:06.456Z","source":{"service":"billing","sequence":123456},"correlation_id":"4bf92f3577b34da6a3ce929d0e0e4736","postings":[{"account":"assets:receivable:eur","side":"debit","amount":"119.00","currency":"EUR"},{"account":"income:subscriptions","side":"credit","amount":"100.00","currency":"EUR"},{"account":"liabilities:vat:de","side":"credit","amount":"19.00","currency":"EUR"}],"metadata":{"order":{"id":"o-991","lines":[1,2,3]},"note":""#,
    );
    raw.push_str(&"x".repeat(1024 - raw.len() - 3));
    raw.push_str("\"}}");
    assert_eq!(raw.len(), 1024);

    let started = Instant::now();
    for _ in 0..RECORDS {
        let decoded = Json.decode(std::hint::black_box(raw.as_bytes()));
        let decoded = decoded.map_err(|rejection| rejection.to_string())?;
        assert_eq!(decoded.unknown_fields, 0);
    }
    report("decode", started);

    let started = Instant::now();
    for _ in 0..RECORDS {
        let decoded = Json.decode(std::hint::black_box(raw.as_bytes()));
        let event: Result<Event<'_>, _> = decoded.and_then(|d| d.draft.admit(Scale::DEFAULT));
        assert_eq!(event.map_err(|rejection| rejection.to_string())?.postings.len(), 3);
    }
    report("decode and admit", started);
    Ok(())
}

fn report(what: &str, started: Instant) {
    let per_second = u128::from(RECORDS) * 1_000_000 / started.elapsed().as_micros().max(1);
    println!("{what}: {per_second} records/s of 1 KB");
}
