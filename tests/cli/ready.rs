//! `ready`: what makes a day not ready, and what does not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Books, day, event, lines, owned, sale, statement};
use crate::{done, fails};

#[test]
fn a_later_day_excuses_no_more_than_what_is_of_it() {
    let books = Books::new();
    let yesterday = day(-1);
    // The statement of what is posted later may be of the day.
    books.append(&(sale("t1", 0, "10") + &statement("t1", -1, "9") + &sale("t2", 0, "3")));
    let unmatched = ("unmatched", "acmepay", 1);
    assert_eq!(books.reasons(1, "acme", &yesterday), owned(&[unmatched]));
    books.append(&sale("t2", 0, "4"));
    let conflict = ("open_imbalance", "conflict", 1);
    assert_eq!(books.reasons(1, "acme", &yesterday), owned(&[conflict, unmatched]));

    let books = Books::new();
    let now = format!("{}T00:00:00Z", day(0));
    let old = |kind: &str, id: &str, more: Value| {
        let mut more = more;
        more["recorded_at"] = json!(now);
        event("acme", kind, id, 0, &more)
    };
    let close = |month: &str| old("close_period", month, json!({ "period": month }));
    let sale = |id: &str, at: &str| {
        let postings = lines(&[("cash", "debit", "1"), ("sales", "credit", "1")]);
        let more = json!({ "transaction_id": id, "postings": postings, "effective_at": at });
        old("post", id, more)
    };
    books.append(&(sale("t1", "2024-05-01T00:00:00Z") + &close("2024-05") + &close("2024-07")));
    books.append(&sale("t2", "2024-07-02T00:00:00Z"));
    assert_eq!(books.reasons(0, "acme", "2024-05-10"), []);
    // Of a later day, and yet of the month that the day is in.
    books.append(&sale("t3", "2024-05-20T00:00:00Z"));
    let late = owned(&[("open_imbalance", "late_into_closed_period", 1)]);
    assert_eq!(books.reasons(1, "acme", "2024-05-10"), late);
}

#[test]
fn what_can_not_be_cured_can_be_accepted() {
    let books = Books::new();
    let yesterday = day(-1);
    // Which of the two counts is said by their hashes, and so by the date: the statement matches either.
    let other = sale("t1", -1, "10").replace("sales", "fees");
    books.append(&(sale("t1", -1, "10") + &statement("t1", -1, "10") + &other));
    let conflict = owned(&[("open_imbalance", "conflict", 1)]);
    assert_eq!(books.reasons(1, "acme", &yesterday), conflict);
    let accept = ["--accept", "orphan", "--accept", "conflict"];
    assert_eq!(books.reasons_with(1, ("acme", &yesterday), &accept[..2]), conflict);
    assert_eq!(books.reasons_with(0, ("acme", &yesterday), &accept), []);
    let store = books.store();
    let ask = ["ready", "--store", &store, "--tenant", "acme", "--date", &yesterday];
    let json = done(&[ask.as_slice(), &accept, &["--format", "json"]].concat());
    let answer: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(answer["accepted"], json!({ "conflict": 1, "orphan": 0 }));
    let table = done(&[ask.as_slice(), &accept].concat());
    assert!(table.err.contains("accepted: conflict 1, orphan 0"), "{}", table.err);
    // What other reasons tell, and what nothing finds, is not accepted silently.
    for name in ["conflicts", "sequence_gap"] {
        let ended = fails(2, &[ask.as_slice(), &["--accept", name]].concat());
        assert!(ended.err.contains("unbalanced_transaction"), "{}", ended.err);
    }
}

#[test]
fn a_redriven_record_counts_until_a_commit_has_read_it() {
    let books = Books::new();
    let (yesterday, store) = (day(-1), books.store());
    let mended = sale("t2", -1, "3").replace("clearing", "cash");
    books.append(&(sale("t1", -1, "10") + &statement("t1", -1, "10") + "{\"tenant\":\"acme\",}\n"));
    let quarantined = owned(&[("quarantined", "acme", 1)]);
    assert_eq!(books.reasons(1, "acme", &yesterday), quarantined);
    let listed = done(&["quarantine", "list", "--store", &store, "--each", "--format", "csv"]);
    let row = listed.out.lines().nth(1).unwrap();
    let cells: Vec<&str> = row.split(',').collect();
    let with = books.path("mended.json");
    fs::write(&with, mended).unwrap();
    done(&[
        "quarantine",
        "redrive",
        "--store",
        &store,
        "--partition",
        cells[1],
        "--position",
        cells[2],
        "--with",
        &with,
        "--by",
        "ada",
        "--why",
        "mended",
    ]);
    let unread = owned(&[("redriven_not_read", "acme", 1)]);
    assert_eq!(books.reasons(1, "acme", &yesterday), unread);
    books.append("");
    assert_eq!(books.reasons(0, "acme", &yesterday), []);
    // What came later changes nothing about an earlier epoch.
    let first = books.reasons_with(1, ("acme", &yesterday), &["--epoch", "1"]);
    assert_eq!(first, quarantined);
    let list = ["quarantine", "list", "--store", &store, "--open"];
    assert_eq!(done(&[list.as_slice(), &["--format", "csv"]].concat()).out.lines().count(), 1);
}

#[test]
fn a_run_that_is_behind_has_not_read_the_day() {
    let books = Books::new();
    let (store, yesterday, log) = (books.store(), day(-1), books.path("log.jsonl"));
    let sale = |id: &str| sale(id, -1, "3").replace("clearing", "cash");
    fs::write(&log, sale("t1") + &sale("t2") + &sale("t3")).unwrap();
    done(&[books.run(&store, &log).as_slice(), &["--commit-max-records", "1"]].concat());
    let at = |code, epoch| books.reasons_with(code, ("acme", &yesterday), &["--epoch", epoch]);
    let behind = owned(&[("behind", "input", 1)]);
    assert_eq!(at(1, "1"), behind);
    assert_eq!(at(1, "2"), behind);
    assert_eq!(at(0, "3"), []);
    let ask = ["ready", "--store", &store, "--tenant", "acme", "--date", &yesterday];
    let table = fails(1, &[ask.as_slice(), &["--epoch", "1"]].concat());
    assert!(table.out.contains("since the day was over: input/0"), "{}", table.out);
    done(&["verify", "--store", &store, "--input", &log]);
    // What earlier programs have written says nothing.
    let path = Path::new(&store).join("commits/00000000000000000003.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(",\"caught_up\":true", "")).unwrap();
    assert_eq!(at(1, "3"), behind);
    fs::write(&path, text).unwrap();

    // A run that goes on says it where a poll has found nothing more.
    let mut run = books.run(&store, &log);
    run.retain(|word| *word != "--until-caught-up");
    let mut child = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(&run)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    fs::write(&log, sale("t1") + &sale("t2") + &sale("t3") + &sale("t4")).unwrap();
    let commit = Path::new(&store).join("commits/00000000000000000004.json");
    let started = Instant::now();
    while !commit.exists() && started.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(20));
    }
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    child.wait().unwrap();
    let commit: Value = serde_json::from_str(&fs::read_to_string(&commit).unwrap()).unwrap();
    assert_eq!(commit["inputs"][0]["caught_up"], json!(true));
}

#[test]
fn quarantine_files_that_are_not_there_are_no_empty_quarantine() {
    let books = Books::new();
    let store = books.store();
    books.append(&(sale("t1", -1, "10") + &statement("t1", -1, "10") + "{\"tenant\":\"acme\",}\n"));
    // A commit that does not name the file, and counts what is in it all the same.
    let path = Path::new(&store).join("commits/00000000000000000001.json");
    let mut commit: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    commit["files"].as_array_mut().unwrap().retain(|file| file["view"] != "quarantine");
    fs::write(&path, commit.to_string()).unwrap();
    let ask = ["ready", "--store", &store, "--tenant", "acme", "--date", &day(-1)];
    let ended = fails(1, &ask);
    assert!(ended.err.contains("count 1 quarantined"), "{}", ended.err);
}
