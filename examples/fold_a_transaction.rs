//! The specification as a plain fold: records become events, events a set, and the set the views.
//! A sale is posted, delivered twice, and corrected by a later revision; order does not matter.

use trueup_ledger::reference::Reference;
use trueup_ledger::{Scale, View};
use trueup_sources::{Format, Json};

const POSTED: &str = r#"{"v":1,"event_id":"e1","tenant":"acme","kind":"post",
    "transaction_id":"inv-1","effective_at":"2026-03-01T09:00:00Z",
    "recorded_at":"2026-03-01T09:00:01Z","source":{"service":"billing","sequence":1},
    "postings":[{"account":"cash","side":"debit","amount":"119.00","currency":"EUR"},
                {"account":"sales","side":"credit","amount":"119.00","currency":"EUR"}]}"#;
const CORRECTED: &str = r#"{"v":1,"event_id":"e2","tenant":"acme","kind":"correct","revision":2,
    "transaction_id":"inv-1","effective_at":"2026-03-01T09:00:00Z",
    "recorded_at":"2026-03-02T08:00:00Z","source":{"service":"billing","sequence":2},
    "postings":[{"account":"cash","side":"debit","amount":"119.00","currency":"EUR"},
                {"account":"sales","side":"credit","amount":"100.00","currency":"EUR"},
                {"account":"vat","side":"credit","amount":"19.00","currency":"EUR"}]}"#;

/// Folds the records and returns the balances as text.
fn balances(records: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut reference = Reference::new(Scale::DEFAULT);
    for record in records {
        let event =
            Json.decode(record.as_bytes()).and_then(|found| found.draft.admit(Scale::DEFAULT));
        let event = event.map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
        let applied = reference.insert(event);
        println!("{}", if applied { "applied" } else { "a duplicate" });
    }
    let rows = reference.views().remove(&View::Balances).unwrap_or_default();
    let show = |column: usize, row: &[trueup_ledger::Datum]| row[column].display(Scale::DEFAULT);
    Ok(rows.0.keys().map(|row| format!("{} {}", show(1, row), show(7, row))).collect())
}

/// Runs the example.
pub fn main() -> anyhow::Result<()> {
    let found = balances(&[POSTED, POSTED, CORRECTED])?;
    println!("{found:#?}");
    assert_eq!(found, ["cash 119", "sales -100", "vat -19"]);
    // Same set, same books: the correction may come first.
    assert_eq!(balances(&[CORRECTED, POSTED])?, found);
    // Alone it is an orphan, without effect until its opening is there.
    assert_eq!(balances(&[CORRECTED])?, [""; 0]);
    Ok(())
}
