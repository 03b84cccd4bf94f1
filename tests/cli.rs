//! The program from outside: what the binary prints, and the codes it ends with.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[path = "cli/day.rs"]
mod day;
#[path = "cli/ledger.rs"]
mod ledger;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn trueup(args: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(args)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn done(args: &[&str]) -> Ended {
    let ended = trueup(args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.out, ended.err);
    ended
}

fn fails(code: i32, args: &[&str]) -> Ended {
    let ended = trueup(args);
    assert_eq!(ended.code, Some(code), "{args:?}: {}{}", ended.out, ended.err);
    ended
}

/// A store made from a generated log in several epochs.
struct Books {
    dir: TempDir,
}

impl Books {
    fn new(events: &str) -> Books {
        let books = Books { dir: tempfile::tempdir().unwrap() };
        let (input, store) = (books.input(), books.store());
        done(&["generate", "--events", events, "--seed", "5", "--tenants", "3", "--out", &input]);
        let run = ["run", "--store", &store, "--input", &input, "--workers", "2", "--json"];
        let cut = ["--until-caught-up", "--commit-max-records", "500"];
        let ended = done(&[run.as_slice(), &cut].concat());
        let summary: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(summary["counts"]["read"].to_string(), events);
        assert!(summary["epochs"].as_u64().unwrap() >= 3, "{summary}");
        books
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn input(&self) -> String {
        self.path("events.jsonl")
    }

    fn store(&self) -> String {
        self.path("store")
    }

    fn commit(&self, epoch: u64) -> PathBuf {
        self.dir.path().join(format!("store/commits/{epoch:020}.json"))
    }

    fn verify(&self, code: i32) -> Ended {
        fails(code, &["verify", "--store", &self.store(), "--input", &self.input()])
    }
}

fn files_below(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

// spec: "carried to … quarantine"
#[test]
fn quarantined_records_are_counted_listed_and_shown_as_they_are() {
    let books = Books::new("3000");
    let (store, input) = (books.store(), books.input());
    let place = ["--store", store.as_str()];
    let list = |more: &[&str]| {
        let args = [&["quarantine", "list"], place.as_slice(), more].concat();
        serde_json::from_str::<Value>(&done(&args).out).unwrap()
    };
    let each = list(&["--each", "--format", "json"]);
    let each = each.as_array().unwrap();
    assert!(each.len() >= 5, "{each:?}");
    let by_reason = list(&["--format", "json"]);
    let counts = by_reason.as_array().unwrap().iter().map(|row| row["records"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), each.len() as u64);
    let reason = each[0]["reason"].as_str().unwrap();
    let some = list(&["--each", "--format", "json", "--reason", reason]);
    let wanted = each.iter().filter(|row| row["reason"] == reason).count();
    assert_eq!(some.as_array().unwrap().len(), wanted);
    // The bytes are those of the log at that position.
    let log = fs::read(&input).unwrap();
    for row in each {
        let position = row["position"].as_str().unwrap();
        let at = ["--partition", row["partition"].as_str().unwrap(), "--position", position];
        let show = [&["quarantine", "show"], place.as_slice(), &at].concat();
        let offset: usize = position.rsplit('@').next().unwrap().parse().unwrap();
        let length = usize::try_from(row["bytes"].as_u64().unwrap()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_trueup"))
            .args([show.as_slice(), &["--raw"]].concat())
            .output()
            .unwrap();
        assert_eq!(output.stdout, log[offset..offset + length], "{row}");
        let shown = done(&show).out;
        assert!(shown.contains(row["reason"].as_str().unwrap()), "{shown}");
    }
    // A text that could hide something is escaped for people, and as it is for machines.
    let hidden = "{\"v\":9,\"correlation_id\":\"a\u{200b}b\"}";
    let (one, log) = (books.dir.path().join("one"), books.dir.path().join("one.jsonl"));
    fs::write(&log, format!("{hidden}\n")).unwrap();
    let run = ["run", "--until-caught-up", "--input", log.to_str().unwrap()];
    let place_of_one = ["--store", one.to_str().unwrap()];
    done(&[run.as_slice(), &place_of_one].concat());
    let each = [&["quarantine", "list", "--each"], place_of_one.as_slice()].concat();
    let json = done(&[each.as_slice(), &["--format", "json"]].concat()).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["correlation_id"], "a\u{200b}b");
    let table = done(&each).out;
    assert!(table.contains("a\\u{200b}b") && !table.contains('\u{200b}'), "{table}");
    let nothing = ["quarantine", "show", "--partition", "input/9", "--position", "1"];
    let ended = fails(2, &[nothing.as_slice(), &place].concat());
    assert!(ended.err.contains("quarantine list"), "{}", ended.err);
}

#[test]
fn a_day_can_be_asked_for_beside_an_epoch() {
    let books = Books::new("1500");
    let store = books.store();
    let query = |view: &str, more: &[&str]| {
        done(&[&["query", view, "--store", &store, "--format", "csv"], more].concat()).out
    };
    for view in ["postings", "balances", "daily_movements", "trial_balance"] {
        let never = query(view, &["--as-of-date", "9999-12-31", "--epoch", "2"]);
        assert_eq!(never, query(view, &["--epoch", "2"]), "{view}");
        let before = query(view, &["--as-of-date", "1900-01-01"]);
        assert_eq!(before.lines().count(), 1, "{view}: {before}");
        let of_tenant = ["--tenant", "tenant-0001", "--where", "tenant=tenant-0000"];
        let none = query(view, &[&["--as-of-date", "9999-12-31"], of_tenant.as_slice()].concat());
        assert_eq!(none.lines().count(), 1, "{view}: {none}");
    }
    let ask = |view| ["query", view, "--store", &store, "--as-of-date", "2026-02-01"];
    let said = done(&ask("trial_balance")).err;
    assert!(said.contains("effective by 2026-02-01 (UTC), as known at epoch 3"), "{said}");
    let said = fails(2, &ask("imbalances")).err;
    assert!(said.contains("daily_movements and trial_balance"), "{said}");
    fails(2, &["query", "balances", "--store", &store, "--as-of-date", "2026-02-30"]);
}

#[test]
fn every_help_has_an_example() {
    let commands = [
        "demo",
        "generate",
        "append",
        "run",
        "query",
        "digest",
        "verify",
        "explain",
        "check",
        "ready",
        "alerts",
        "reconcile",
    ];
    let all = done(&["--help"]).out;
    for command in commands {
        assert!(all.contains(command), "{command}");
        let help = done(&[command, "--help"]).out;
        assert!(help.contains("EXAMPLE") && help.contains(&format!("trueup {command}")), "{help}");
    }
    assert!(done(&["--version"]).out.starts_with("trueup "));
    fails(2, &["nonsense"]);
    fails(2, &[]);
}

#[test]
fn generate_is_reproducible_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl").to_str().unwrap().to_owned();
    let log = dir.path().join("log").to_str().unwrap().to_owned();
    let args = ["generate", "--events", "500", "--seed", "9", "--no-poison"];
    let piped = done(&args).out;
    assert_eq!(piped.lines().count(), 500);
    let written = done(&[args.as_slice(), &["--out", &file]].concat());
    assert!(written.err.starts_with("500 records"), "{}", written.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), piped);
    done(&[args.as_slice(), &["--into", &log, "--partitions", "3"]].concat());
    let mut partitions = Vec::new();
    files_below(Path::new(&log), &mut partitions);
    let mut records = Vec::new();
    for path in partitions.iter().filter(|path| path.extension().is_some()) {
        records.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
    }
    let mut expected: Vec<String> = piped.lines().map(str::to_owned).collect();
    records.sort();
    expected.sort();
    assert_eq!(records, expected);
    let other = done(&["generate", "--events", "500", "--seed", "8", "--no-poison"]).out;
    assert_ne!(other, piped);
}

#[test]
fn append_routes_into_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (events, log) = (path("events.jsonl"), path("log"));
    done(&["generate", "--events", "300", "--out", &events]);
    let appended = done(&["append", &log, &events, "--partitions", "4"]);
    assert!(appended.err.contains("300 records") && appended.err.contains("4 partitions"));
    let missing = fails(2, &["append", &log, &events, &path("missing.jsonl")]);
    assert!(missing.err.contains("missing.jsonl"), "{}", missing.err);
}

#[test]
fn a_bad_configuration_lists_every_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trueup.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, "stor = \"x\"\nworkers = 0\n[[source]]\nname = \"A\"\n").unwrap();
    for args in [["check", "-c", file], ["run", "-c", file]] {
        let ended = fails(2, &args);
        for error in [
            "4 errors",
            "line 1: stor: this key is not known; did you mean `store`?",
            "line 2: workers: 0 is out of range",
            "line 4: source[0].name: \"A\"",
            "store: it is missing",
            "source[0].type: it is missing",
        ] {
            let error = if error == "4 errors" { "errors" } else { error };
            assert!(ended.err.contains(error), "{error}: {}", ended.err);
        }
    }
    let good =
        "store = \"s\"\n[[source]]\nname = \"a\"\ntype = \"local_log\"\npath = \"l.jsonl\"\n";
    fs::write(&path, good).unwrap();
    let ended = fails(2, &["check", "-c", file]);
    assert!(ended.err.contains("source[0].path") && ended.err.contains("l.jsonl"), "{}", ended.err);
    fs::write(dir.path().join("l.jsonl"), "").unwrap();
    assert!(done(&["check", "-c", file]).out.contains("is right"));
    assert!(!dir.path().join("s").exists());
    fails(2, &["check", "-c", dir.path().join("none.toml").to_str().unwrap()]);
}

#[test]
fn a_store_without_commits_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().to_str().unwrap();
    let missing = dir.path().join("missing");
    for store in [store, missing.to_str().unwrap()] {
        for command in [vec!["query", "balances"], vec!["digest"]] {
            let ended = fails(2, &[command.as_slice(), &["--store", store]].concat());
            assert!(ended.err.contains("no commits in"), "{}", ended.err);
            assert!(ended.err.contains("trueup run"), "{}", ended.err);
        }
    }
    assert!(!missing.exists());
    let unknown = fails(2, &["query", "balance", "--store", store]);
    assert!(unknown.err.contains("trial_balance"), "{}", unknown.err);
    let remote = fails(2, &["digest", "--store", "gs://bucket/books"]);
    assert!(remote.err.contains("object storage other than S3 comes later"), "{}", remote.err);
}

#[test]
fn books_can_be_queried_explained_and_verified() {
    let books = Books::new("2000");
    let store = books.store();
    let csv = done(&["query", "balances", "--store", &store, "--format", "csv"]).out;
    assert!(csv.starts_with(
        "tenant,account,currency,posted_debits,posted_credits,pending_debits,pending_credits,\
         balance,available\n"
    ));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let key = |row: &csv::StringRecord| [0, 1, 2].map(|n| row[n].to_owned());
    assert!(rows.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])));
    assert!(rows.iter().all(|row| !row[7].contains('e') && !row[7].ends_with(".0")));

    let (tenant, account) = (&rows[0][0], &rows[0][1]);
    let one = ["query", "balances", "--store", &store, "--tenant", tenant, "--format", "json"];
    let condition = format!("account={account}");
    let json: Value =
        serde_json::from_str(&done(&[one.as_slice(), &["--where", &condition]].concat()).out)
            .unwrap();
    assert_eq!(json[0]["balance"], rows[0][7]);

    let explain = ["explain", "--store", &store, "--tenant", tenant, "--account", account];
    let explained = done(&explain).out;
    assert!(explained.contains("adds up"), "{explained}");
    let lost = fails(2, &["explain", "--store", &store, "--tenant", tenant, "--account", "none"]);
    assert!(lost.err.contains("no current posting"), "{}", lost.err);

    let beyond = fails(2, &["query", "balances", "--store", &store, "--epoch", "999"]);
    assert!(beyond.err.contains("epoch 999 is not committed"), "{}", beyond.err);
    let digest = done(&["digest", "--store", &store]).out;
    assert_eq!(digest.lines().count(), 11);
    let json: Value =
        serde_json::from_str(&done(&["digest", "--store", &store, "--json"]).out).unwrap();
    assert_eq!(json["views"]["balances"]["rows"], rows.len());

    let verified = books.verify(0);
    assert!(verified.out.contains("2,000 records"), "{}", verified.out);
    done(&["verify", "--store", &store, "--input", &books.input(), "--epoch", "2"]);
    let wrong = books.path("other.jsonl");
    fs::write(&wrong, "{}\n").unwrap();
    fails(1, &["verify", "--store", &store, "--input", &wrong]);
}

#[test]
fn a_closed_pipe_is_a_silent_end() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(["generate", "--events", "20000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert_eq!(said, "");
}

#[test]
fn verify_names_the_epoch_of_a_damaged_file() {
    let books = Books::new("2000");
    let mut files = Vec::new();
    files_below(&books.dir.path().join("store/deltas"), &mut files);
    let of_epoch = |path: &&PathBuf| path.to_str().unwrap().contains("/00000000000000000002-");
    let file = files.iter().find(of_epoch).unwrap();
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, &bytes).unwrap();
    let ended = books.verify(1);
    assert!(ended.err.contains("epoch 2 is the first damaged one"), "{}", ended.err);
    assert!(ended.err.contains("SHA-256"), "{}", ended.err);
    fs::remove_file(file).unwrap();
    let ended = books.verify(1);
    assert!(ended.err.contains("epoch 2 is the first damaged one"), "{}", ended.err);
}

#[test]
fn verify_names_an_edited_commit() {
    let books = Books::new("2000");
    let path = books.commit(2);
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.replacen("\"generation\":1", "\"generation\":2", 1);
    assert_ne!(edited, text);
    fs::write(&path, edited).unwrap();
    let ended = books.verify(1);
    assert!(ended.err.contains("epoch 2 is the first damaged one"), "{}", ended.err);
    fs::remove_file(&path).unwrap();
    let ended = books.verify(1);
    assert!(ended.err.contains("commit 2 is broken"), "{}", ended.err);
}

/// Finds a record of the log that has no duplicate, and the same with another amount.
fn to_falsify(input: &str) -> (u64, String, String) {
    let text = fs::read_to_string(input).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let events: Vec<Value> = lines.iter().map(|line| event(line)).collect();
    for (place, line) in lines.iter().enumerate().skip(1000) {
        let same = |other: &&Value| other["event_id"] == events[place]["event_id"];
        let alone = events.iter().filter(same).count() == 1;
        let amount = line.find("\"amount\":\"").map(|at| at + 10);
        let Some((at, digit)) = amount.map(|at| (at, line.as_bytes()[at])) else {
            continue;
        };
        if alone && events[place]["kind"] == "post" && digit.is_ascii_digit() {
            let other = if digit == b'7' { "8" } else { "7" };
            let changed = format!("{}{other}{}", &line[..at], &line[at + 1..]);
            return (place as u64, (*line).to_owned(), changed);
        }
    }
    panic!("no event to falsify");
}

/// A changed log is found in the epoch that read the changed record, though the first count that
/// differs may be that of a later one: of a duplicate that no longer is one.
#[test]
fn verify_names_the_epoch_whose_rows_are_not_those_of_the_log() {
    for with_duplicate in [false, true] {
        let books = Books { dir: tempfile::tempdir().unwrap() };
        let (input, store) = (books.input(), books.store());
        let generate = ["generate", "--events", "2500", "--no-poison", "--tenants", "3"];
        done(&[generate.as_slice(), &["--out", &input]].concat());
        let (place, line, changed) = to_falsify(&input);
        let mut text = fs::read_to_string(&input).unwrap();
        if with_duplicate {
            text.push_str(&format!("{line}\n"));
            fs::write(&input, &text).unwrap();
        }
        let run = ["run", "--store", &store, "--input", &input, "--until-caught-up"];
        done(&[run.as_slice(), &["--commit-max-records", "300"]].concat());
        books.verify(0);
        fs::write(&input, text.replacen(&line, &changed, 1)).unwrap();
        let (mut epoch, mut read) = (0, 0);
        while read <= place {
            epoch += 1;
            let commit = fs::read(books.commit(epoch)).unwrap();
            let commit: Value = serde_json::from_slice(&commit).unwrap();
            read += commit["inputs"][0]["counts"]["read"].as_u64().unwrap();
        }
        let ended = books.verify(1);
        let named = format!("epoch {epoch} is the first bad one: view postings");
        assert!(ended.err.contains(&named), "{named}: {}", ended.err);
        assert!(ended.err.contains("published, wrongly"), "{}", ended.err);
    }
}
