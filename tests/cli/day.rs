//! The end of a day: `ready`, `alerts` and `reconcile`, and the rules that they depend on.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use trueup_ledger::Timestamp;
use trueup_sinks::record::sha256_hex;

use crate::{done, fails, trueup};

mod ready;

const RULES: [&str; 6] =
    ["--clearing", "acmepay=clearing", "--statement-mismatch-after", "0s", "--alert-grace", "0s"];

/// Returns a date so many days from today.
fn day(offset: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let micros = i64::try_from(now.as_micros()).unwrap() + offset * 86_400_000_000;
    Timestamp::display_micros(micros)[..10].to_owned()
}

fn event(tenant: &str, kind: &str, id: &str, offset: i64, more: &Value) -> String {
    let at = format!("{}T00:00:00Z", day(offset));
    let mut event = json!({
        "v": 1, "event_id": format!("{kind}-{id}"), "tenant": tenant, "kind": kind,
        "effective_at": at, "recorded_at": at, "source": { "service": "pay" },
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    format!("{event}\n")
}

fn lines(lines: &[(&str, &str, &str)]) -> Value {
    let line = |(account, side, amount): &(&str, &str, &str)| json!({ "account": account, "side": side, "amount": amount, "currency": "EUR" });
    lines.iter().map(line).collect()
}

fn sale(id: &str, offset: i64, amount: &str) -> String {
    let postings = lines(&[("clearing", "debit", amount), ("sales", "credit", amount)]);
    event("acme", "post", id, offset, &json!({ "transaction_id": id, "postings": postings }))
}

fn leg(id: &str, leg: &str, offset: i64, posting: (&str, &str, &str)) -> String {
    let more = json!({ "transaction_id": id, "leg": leg, "postings": lines(&[posting]) });
    event("acme", "post", &format!("{id}-{leg}"), offset, &more)
}

fn statement(reference: &str, offset: i64, amount: &str) -> String {
    let statement = json!({
        "processor": "acmepay", "reference": reference, "amount": amount, "currency": "EUR",
        "value_date": day(offset),
    });
    event("acme", "statement_line", reference, offset, &json!({ "statement": statement }))
}

struct Books {
    dir: TempDir,
}

impl Books {
    fn new() -> Books {
        Books { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn store(&self) -> String {
        self.path("store")
    }

    fn run<'a>(&'a self, store: &'a str, log: &'a str) -> Vec<&'a str> {
        let place = ["run", "--store", store, "--input", log, "--until-caught-up"];
        [place.as_slice(), &RULES].concat()
    }

    fn append(&self, records: &str) {
        use std::io::Write;
        let log = self.path("log.jsonl");
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        file.write_all(records.as_bytes()).unwrap();
        done(&self.run(&self.store(), &log));
    }

    /// Asks whether a day is ready; returns the reasons, without those of completeness.
    fn reasons(&self, code: i32, tenant: &str, date: &str) -> Vec<(String, String, u64)> {
        self.reasons_with(code, (tenant, date), &[])
    }

    fn reasons_with(
        &self,
        code: i32,
        (tenant, date): (&str, &str),
        more: &[&str],
    ) -> Vec<(String, String, u64)> {
        let store = self.store();
        let ask = ["ready", "--store", &store, "--tenant", tenant, "--date", date];
        let ended = fails(code, &[ask.as_slice(), &["--format", "json"], more].concat());
        let answer: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(answer["ready"], code == 0);
        let reasons = answer["reasons"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let reason = |reason: &Value| {
            assert!(text(&reason["show"]).starts_with("trueup "), "{reason}");
            let count = reason["count"].as_u64().unwrap();
            (text(&reason["reason"]), text(&reason["subject"]), count)
        };
        // Completeness says again what gaps say.
        reasons.iter().map(reason).filter(|(code, ..)| code != "incomplete").collect()
    }
}

fn owned(reasons: &[(&str, &str, u64)]) -> Vec<(String, String, u64)> {
    let own = |(code, subject, count): &(&str, &str, u64)| {
        ((*code).to_owned(), (*subject).to_owned(), *count)
    };
    reasons.iter().map(own).collect()
}

#[test]
fn a_day_is_ready_or_every_reason_why_not_is_told() {
    let books = Books::new();
    let (yesterday, today) = (day(-1), day(0));
    books.append(&(sale("t1", -1, "10") + &statement("t1", -1, "10")));
    assert_eq!(books.reasons(0, "acme", &yesterday), []);
    let store = books.store();
    let ask = ["ready", "--store", &store, "--tenant", "acme", "--date", &yesterday];
    assert!(done(&ask).out.contains("is ready at epoch"));
    assert_eq!(books.reasons(1, "acme", &today), owned(&[("day_not_over", &today, 1)]));
    let nobody = books.reasons(1, "nobody", &yesterday);
    assert_eq!(nobody, owned(&[("unknown_tenant", "nobody", 1)]));

    // What is of a later day does not count, nor what all transactions sum to because of it.
    books.append(&leg("t2", "a", 0, ("cash", "debit", "5")));
    assert_eq!(books.reasons(0, "acme", &yesterday), []);
    let later = owned(&[
        ("day_not_over", &today, 1),
        ("open_imbalance", "shard_imbalance", 1),
        ("open_imbalance", "trial_imbalance", 1),
        ("open_imbalance", "unbalanced_transaction", 1),
    ]);
    assert_eq!(books.reasons(1, "acme", &today), later);

    let numbered = |id: &str, sequence: u64| {
        let postings = lines(&[("cash", "debit", "1"), ("sales", "credit", "1")]);
        let source = json!({ "service": "pay", "sequence": sequence });
        let more = json!({ "transaction_id": id, "postings": postings, "source": source });
        event("acme", "post", id, -1, &more)
    };
    let broken = "{\"tenant\":\"acme\",\"v\":1,}\n{\"tenant\":\"beta\",\"v\":1}\nnonsense\n";
    books.append(
        &[
            numbered("t3", 1),
            numbered("t4", 4),
            leg("t5", "a", -2, ("cash", "debit", "7")),
            sale("t6", -2, "3"),
            statement("t7", -1, "4"),
            broken.to_owned(),
        ]
        .concat(),
    );
    let all = owned(&[
        ("sequence_gap", "pay", 2),
        ("open_imbalance", "shard_imbalance", 2),
        ("open_imbalance", "trial_imbalance", 1),
        ("open_imbalance", "unbalanced_transaction", 1),
        ("unmatched", "acmepay", 2),
        ("quarantined", "acme", 1),
        ("quarantined_of_anybody", "", 1),
    ]);
    let found = books.reasons(1, "acme", &yesterday);
    // Two transactions may share a hash range.
    let shards = |reasons: &[(String, String, u64)]| {
        reasons.iter().filter(|(_, subject, _)| subject != "shard_imbalance").cloned().collect()
    };
    let (found_rest, all_rest): (Vec<_>, Vec<_>) = (shards(&found), shards(&all));
    assert_eq!(found_rest, all_rest);
    let table = fails(1, &ask);
    assert!(table.out.contains("1 ledger_only, 1 statement_only"), "{}", table.out);
    assert!(table.err.contains("is not ready at epoch"), "{}", table.err);
    assert!(table.out.contains("quarantine list --each --open"), "{}", table.out);
    let beta = owned(&[("unknown_tenant", "beta", 1), ("quarantined", "beta", 1)]);
    assert_eq!(books.reasons(1, "beta", &yesterday)[..2], beta);
    // At an earlier epoch it was ready.
    done(&[ask.as_slice(), &["--epoch", "1"]].concat());
    fails(2, &[ask.as_slice(), &["--epoch", "999"]].concat());
    fails(2, &["ready", "--store", &store, "--tenant", "acme", "--date", "2026-02-30"]);
    fails(2, &["ready", "--store", &books.path("none"), "--tenant", "a", "--date", "2026-02-03"]);
}

fn alerts(store: &str, more: &[&str]) -> Vec<Value> {
    let ended = done(&[&["alerts", "--store", store, "--format", "json"], more].concat());
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn alerts_are_raised_and_resolved_commit_by_commit() {
    let books = Books::new();
    let store = books.store();
    books.append(&leg("t1", "a", -1, ("cash", "debit", "5")));
    let raised = alerts(&store, &["--tenant", "acme"]);
    assert!(raised.len() >= 3, "{raised:?}");
    assert!(raised.iter().all(|alert| alert["change"] == "raised" && alert["epoch"] == 2));
    let of = |alerts: &[Value], detector: &str| -> Value {
        alerts.iter().find(|alert| alert["detector"] == detector).unwrap().clone()
    };
    let one = of(&raised, "unbalanced_transaction");
    assert_eq!((&one["subject"], &one["amount"]), (&json!("t1"), &json!("5")));
    books.append(&leg("t1", "b", -1, ("sales", "credit", "5")));
    let all = alerts(&store, &[]);
    assert_eq!(all.len(), 2 * raised.len());
    assert_eq!(all[..raised.len()], raised);
    let resolved = of(&all[raised.len()..], "unbalanced_transaction");
    assert_eq!((&resolved["change"], &resolved["epoch"]), (&json!("resolved"), &json!(3)));
    assert_eq!(resolved["alert_id"], one["alert_id"]);
    assert_eq!(alerts(&store, &["--from", "3"]).len(), raised.len());
    assert!(alerts(&store, &["--tenant", "other"]).is_empty());
    let table = done(&["alerts", "--store", &store, "--from", "3"]);
    assert_eq!(table.out.lines().count(), raised.len());
    assert!(table.out.starts_with("resolved"), "{}", table.out);
    assert!(table.err.contains("--from 4"), "{}", table.err);
    assert!(alerts(&store, &["--from", "4"]).is_empty());
    fails(2, &["alerts", "--store", &store, "--from", "9"]);
    follow(&books, &store);
    // Whoever hears of an error hears where to go on.
    fs::write(Path::new(&store).join("commits/00000000000000000004.json"), "{}").unwrap();
    let ended = trueup(&["alerts", "--store", &store, "--from", "3"]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.out.starts_with("resolved"), "{}", ended.out);
    assert!(ended.err.contains("read through commit 3; go on with --from 4"), "{}", ended.err);
}

/// A follower hears of a commit that is made while it waits, and says where to go on.
fn follow(books: &Books, store: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(["alerts", "--store", store, "--from", "4", "--follow", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    books.append(&leg("t2", "a", -1, ("cash", "debit", "6")));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let alert: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&alert["change"], &alert["epoch"]), (&json!("raised"), &json!(5)));
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("read through commit 5; go on with --from 6"), "{said}");
}

#[test]
fn differences_are_carried_forward_with_their_age() {
    let books = Books::new();
    let store = books.store();
    books.append(
        &[
            sale("ledger", -3, "10"),
            statement("state/ment", -2, "5"),
            sale("same", -2, "7"),
            statement("same", -1, "7"),
            sale("other", -1, "7"),
            statement("other", -4, "6"),
        ]
        .concat(),
    );
    let ask = ["reconcile", "--store", &store, "--tenant", "acme", "--format", "csv"];
    let out = done(&ask).out;
    let since = |offset| day(offset);
    let expected = [
        "processor,reference,currency,ledger,statement,difference,state,since,age".to_owned(),
        format!("acmepay,other,EUR,7,6,1,differs,{},4", since(-4)),
        format!("acmepay,ledger,EUR,10,0,10,ledger_only,{},3", since(-3)),
        format!("acmepay,state/ment,EUR,0,5,-5,statement_only,{},2", since(-2)),
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    // What is open since a later day is not carried forward yet.
    let out = done(&[ask.as_slice(), &["--date", &day(-3)]].concat()).out;
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(out.lines().nth(1).unwrap().ends_with(",1"), "{out}");
    assert!(out.lines().nth(2).unwrap().ends_with(",0"), "{out}");
    let table = done(&["reconcile", "--store", &store, "--tenant", "acme"]);
    assert!(table.out.contains("ledger_only EUR: 1, difference 10"), "{}", table.out);
    assert!(table.err.contains("3 open differences"), "{}", table.err);
    let none = done(&[ask.as_slice(), &["--processor", "none"]].concat()).out;
    assert_eq!(none.lines().count(), 1);
}

#[test]
fn a_difference_is_not_left_out_for_a_date_that_nobody_told() {
    let books = Books::new();
    let (store, log) = (books.store(), books.path("log.jsonl"));
    let records = [
        sale("ledger", 0, "1"),
        sale("differs", 0, "7"),
        statement("differs", -1, "6"),
        sale("both", -1, "7"),
        statement("both", -2, "6"),
    ];
    fs::write(&log, records.concat()).unwrap();
    // The detector is not due, so that only the dates of the ledger are known.
    let rules = ["--clearing", "acmepay=clearing", "--statement-mismatch-after", "30d"];
    let run = ["run", "--store", &store, "--input", &log, "--until-caught-up"];
    done(&[run.as_slice(), &rules].concat());
    let ask = ["reconcile", "--store", &store, "--tenant", "acme", "--format", "csv", "--date"];
    let out = done(&[ask.as_slice(), &[&day(-1)]].concat()).out;
    let expected = ["acmepay,both,EUR,7,6,1,differs,,", "acmepay,differs,EUR,7,6,1,differs,,"];
    assert_eq!(out.lines().skip(1).collect::<Vec<_>>(), expected);
}

#[test]
fn verify_knows_the_rules_of_the_store_and_judges_alerts_by_them() {
    let books = Books::new();
    let (store, log) = (books.store(), books.path("log.jsonl"));
    books.append(&(leg("t1", "a", -1, ("cash", "debit", "5")) + &statement("t2", -1, "3")));
    books.append(&leg("t1", "b", -1, ("sales", "credit", "5")));
    let verify = ["verify", "--store", &store, "--input", &log];
    done(&verify);
    // By other rules no alert would have been raised; a chain that says so is consistent in itself.
    let mut previous = "0".repeat(64);
    let mut paths: Vec<_> = fs::read_dir(Path::new(&store).join("commits")).unwrap().collect();
    paths.sort_by_key(|path| path.as_ref().unwrap().file_name());
    for path in paths.into_iter().map(|path| path.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap();
        let commit: Value = serde_json::from_str(&text).unwrap();
        assert!(text.contains(r#",\"alert_grace\":0}"#), "{text}");
        let text = text
            .replace(r#",\"alert_grace\":0}"#, "}")
            .replace(commit["previous"].as_str().unwrap(), &previous);
        previous = sha256_hex(text.as_bytes());
        fs::write(&path, text).unwrap();
    }
    let ended = fails(1, &verify);
    assert!(ended.err.contains("epoch 2 is the first bad one: view alerts"), "{}", ended.err);
}

#[test]
fn a_store_is_not_continued_under_other_rules() {
    let books = Books::new();
    let (store, log) = (books.store(), books.path("log.jsonl"));
    books.append(&sale("t1", -1, "10"));
    let run = ["run", "--store", &store, "--input", &log, "--until-caught-up"];
    let ended = fails(2, &run);
    for said in [
        "alert_grace is 0s in the store, 5m here",
        "statement_mismatch_after is 0s in the store, 3d here",
        "the clearing account of processor \"acmepay\" is clearing in the store, not set here",
        "put them back",
    ] {
        assert!(ended.err.contains(said), "{said}: {}", ended.err);
    }
    let twice = ["--clearing", "a=b", "--clearing", "a=c"];
    let ended = fails(2, &[run.as_slice(), &twice].concat());
    assert!(ended.err.contains("another processor too"), "{}", ended.err);
    fails(2, &[run.as_slice(), &["--clearing", "a"]].concat());
    fails(2, &[run.as_slice(), &["--alert-grace", "31d"]].concat());
}
