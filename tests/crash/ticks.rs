//! A tick of the epoch clock, and kills around it.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use trueup_ledger::Timestamp;

use crate::books::Books;
use crate::program::{started, text, trueup};

#[test]
fn a_killed_run_ticks_once_for_what_fell_due() {
    let books = Books::new(1, 65);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let expires = i64::try_from(now.as_micros()).unwrap() + 3_000_000;
    let expires = Timestamp::display_micros(expires);
    let hold = format!(
        r#"{{"v":1,"event_id":"e","tenant":"acme","kind":"hold","transaction_id":"t","effective_at":"2026-03-01T09:00:00Z","recorded_at":"2026-03-01T09:00:00Z","expires_at":"{expires}","source":{{"service":"cards"}},"postings":[{{"account":"cash","side":"debit","amount":"10","currency":"EUR"}},{{"account":"cards","side":"credit","amount":"10","currency":"EUR"}}]}}"#
    );
    fs::write(&books.log, hold + "\n").unwrap();
    let query = |more: &[&str]| {
        let stuck = ["query", "imbalances", "--where", "detector=stuck_hold", "--format", "csv"];
        let place = ["--store", text(&books.store)];
        trueup(0, &[stuck.as_slice(), &place, more].concat()).out.lines().count() - 1
    };
    let args = books.run(&["--commit-interval", "20ms", "--checkpoint-interval", "1h"]);
    let mut before = started(&args, books.dir.path(), "before");
    books.await_commits(1);
    before.kill_9().unwrap();
    assert_eq!(query(&[]), 0);
    let mut after = started(&args, books.dir.path(), "after");
    books.await_commits(2);
    after.kill_9().unwrap();
    assert_eq!(query(&["--epoch", "2"]), 1);
    // Read again from the beginning, the tick is derived as it was and nothing is due any more.
    for state in ["kept", "lost"] {
        if state == "lost" {
            fs::remove_dir_all(books.store.join("state")).unwrap();
            fs::remove_dir_all(books.store.join("checkpoints")).unwrap_or_default();
        }
        let mut again = started(&args, books.dir.path(), state);
        thread::sleep(Duration::from_millis(1_500));
        again.interrupt().unwrap();
        let status = again.wait(crate::books::PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{}", again.tail(20));
        assert_eq!(books.commits(), 2, "{state}");
    }
    trueup(0, &["verify", "--store", text(&books.store), "--input", text(&books.log)]);
}
