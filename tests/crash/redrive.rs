//! Quarantined records are re-driven: each once, whoever asks at the same time and whatever is
//! killed, and the books are those of a log that was right from the beginning.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use trueup_ledger::{Epoch, Position, Reason};
use trueup_sinks::{
    CommitLog, CommitRecord, DirectoryStore, GENESIS, InputRange, QuarantineRecord, Store,
    write_quarantine,
};

use crate::books::{Books, PATIENCE};
use crate::judge::{self, Lines, Look};
use crate::program::{Ended, TRUEUP, started, text, trueup};
use crate::records;

/// How many good records are broken.
const BROKEN: usize = 14;

/// A log in which some records lost their last byte.
struct Scene {
    books: Books,
    /// Each broken record: its position, and what it was.
    broken: Vec<(String, Vec<u8>)>,
}

impl Scene {
    fn new() -> Scene {
        let mut books = Books::new(1_500, 71);
        let (mut broken, mut lines, mut offset) = (Vec::new(), Vec::new(), 0);
        for (place, line) in books.records.lines.iter().enumerate() {
            let mut line = line.clone();
            let good = line.starts_with(b"{") && line.ends_with(b"}") && line.len() < 5_000;
            let good = good && judge::expected([&line]) != judge::expected([]);
            if good && place % 90 == 7 && broken.len() < BROKEN {
                broken.push((format!("live.jsonl@{offset}"), line.clone()));
                line.pop();
            }
            offset += line.len() + 1;
            lines.push(line);
        }
        assert_eq!(broken.len(), BROKEN);
        records::write_lines(&books.log, &lines);
        books.appended = lines.len();
        Scene { books, broken }
    }

    fn args<'a>(&'a self, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["quarantine", command, "--store", text(&self.books.store)], more].concat()
    }

    fn list(&self, more: &[&str]) -> Vec<Value> {
        let more = [&["--format", "json"], more].concat();
        serde_json::from_str(&trueup(0, &self.args("list", &more)).out).unwrap()
    }

    /// Mends a broken record, and expects an exit code.
    fn mend(&self, code: i32, index: usize, more: &[&str]) -> Ended {
        let with = self.mended(index);
        let at = ["--partition", "input/0", "--position", &self.broken[index].0];
        let with = ["--with", &with, "--by", "ada", "--why", "the end was cut off"];
        trueup(code, &self.args("redrive", &[at.as_slice(), &with, more].concat()))
    }

    /// Writes what a broken record was into a file.
    fn mended(&self, index: usize) -> String {
        let path = self.books.dir.path().join(format!("mended-{index}"));
        records::write_lines(&path, [&self.broken[index].1]);
        text(&path).to_owned()
    }

    fn redrives(&self) -> Vec<Value> {
        let Ok(files) = fs::read_dir(self.books.store.join("redrive")) else { return Vec::new() };
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }

    /// Returns how many records are quarantined, redriven and open, and checks that they add up.
    fn account(&self) -> (u64, u64, u64) {
        let rows = self.list(&[]);
        let sum = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
        let (records, redriven, open) = (sum("records"), sum("redriven"), sum("open"));
        assert_eq!(records, redriven + open);
        assert_eq!(self.list(&["--each", "--open"]).len() as u64, open);
        (records, redriven, open)
    }

    /// Checks the store against the log and the re-drives, by the reference and by `verify`.
    fn judge(&self) {
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&self.books.store).unwrap());
        let raw = |redrive: &Value| match redrive["encoding"].as_str().unwrap() {
            "utf8" => redrive["raw"].as_str().unwrap().as_bytes().to_vec(),
            _ => b"\xff".to_vec(),
        };
        let place = |offset| Position { offset, ..Position::default() };
        let redrives = self.redrives();
        let lines: Vec<_> = (1..).map(place).zip(redrives.iter().map(raw)).collect();
        let logs = BTreeMap::from([
            ("input", judge::lines_of(&self.books.log)),
            ("redrive", Lines::from([("0".to_owned(), lines)])),
        ]);
        judge::check_lines(&store, &logs, Look::Last);
        let (store, log) = (text(&self.books.store), text(&self.books.log));
        trueup(0, &["verify", "--store", store, "--input", log]);
    }

    fn digests(&self) -> judge::Digests {
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&self.books.store).unwrap());
        judge::digests(&store)
    }
}

#[test]
fn redriven_records_count_once_whoever_asks_and_whatever_is_killed() {
    let scene = Scene::new();
    let books = &scene.books;
    books.finish();
    let (all, ..) = scene.account();
    assert!(all >= BROKEN as u64);
    assert_ne!(scene.digests(), judge::expected(&books.records.lines));

    // Two ask for one record at once: one wins, and the other hears who.
    for index in 0..6 {
        let with = scene.mended(index);
        let both = ["ada", "bob"].map(|who| {
            let at = ["--partition", "input/0", "--position", &scene.broken[index].0];
            let with = ["--with", &with, "--by", who, "--why", "both"];
            let mut command = Command::new(TRUEUP);
            command.args(scene.args("redrive", &[at.as_slice(), &with].concat()));
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        });
        let both = both.map(|child| child.wait_with_output().unwrap());
        let mut codes = both.each_ref().map(|ended| ended.status.code().unwrap());
        let winner = if codes[0] == 0 { "by ada" } else { "by bob" };
        for ended in both.iter().filter(|ended| ended.status.code() != Some(0)) {
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(said.contains("has left the quarantine already") && said.contains(winner));
        }
        codes.sort_unstable();
        assert_eq!(codes, [0, 2], "{both:?}");
        assert_eq!(scene.redrives().len(), index + 1);
    }

    // Killed between the file and the commit, and in the middle of commits.
    let cut = ["--commit-max-records", "1", "--commit-interval", "10ms"];
    let before = books.commits();
    started(&books.run(&cut), books.dir.path(), "early").kill_9().unwrap();
    let mut running = started(&books.run(&cut), books.dir.path(), "killed");
    books.await_commits(before + 3);
    running.kill_9().unwrap();
    books.finish();
    scene.judge();

    // A run that reads the source already finds what is re-driven while it runs.
    let before = books.commits();
    let mut running = started(&books.run(&cut), books.dir.path(), "follows");
    for index in 6..BROKEN {
        let ended = scene.mend(0, index, &[]);
        assert!(ended.err.contains("reads them within 1 s"), "{}", ended.err);
    }
    books.await_commits(before + BROKEN - 6);
    assert_eq!(running.stop(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(books.finish().0, 0);
    scene.judge();
    assert_eq!(scene.digests(), judge::expected(&books.records.lines));
    assert_eq!(scene.account(), (all, BROKEN as u64, all - BROKEN as u64));

    // Without its state a run derives all of it again, and finds what was published.
    fs::remove_dir_all(books.store.join("state")).unwrap();
    fs::remove_dir_all(books.store.join("checkpoints")).unwrap();
    let (new, again) = books.finish();
    assert_eq!((new, again), (0, (books.appended + BROKEN) as u64));
}

#[test]
fn what_must_not_be_redriven_is_refused_and_nothing_is_written() {
    let scene = Scene::new();
    scene.books.finish();
    let said = |ended: &Ended, parts: &[&str]| {
        assert!(parts.iter().all(|part| ended.err.contains(part)), "{parts:?}: {}", ended.err);
    };
    let by = ["--by", "ada", "--why", "a test"];
    let at = |position: &'static str| ["--partition", "input/0", "--position", position];
    let redrive = |code: i32, which: &[&str]| {
        trueup(code, &scene.args("redrive", &[which, by.as_slice()].concat()))
    };
    said(&redrive(2, &at("live.jsonl@3")), &["no record of input/0 at live.jsonl@3"]);
    said(&redrive(2, &["--reason", "no_such"]), &["no record is quarantined for the reason"]);
    said(
        &redrive(2, &["--reason", "bad_syntax"]),
        &["nothing was written", "bad_syntax: ", "--with"],
    );
    said(&redrive(2, &["--all"]), &["only be quarantined again", "bad_syntax: ", "bad_range: "]);
    for usage in
        [&["--all", "--reason", "x"][..], &[], &["--position", "1"], &["--all", "--with", "x"]]
    {
        redrive(2, usage);
    }
    let still = ["--partition", "input/0", "--position", &scene.broken[0].0];
    said(&redrive(2, &still), &["1 of 1 records would only be quarantined again"]);
    let dry = scene.mend(0, 0, &["--dry-run"]);
    said(&dry, &["1 records would be redriven; nothing was written"]);
    assert!(dry.out.contains("accepted") && dry.out.contains("tenant "), "{}", dry.out);
    said(&redrive(0, &["--all", "--accepted-only"]), &["0 records redriven"]);
    assert_eq!(scene.redrives().len(), 0);

    // What leaves is audited, and cannot leave again.
    said(&scene.mend(0, 0, &[]), &["the next `trueup run` reads them"]);
    said(&scene.mend(2, 0, &["--force"]), &["by ada", "the end was cut off", "mended"]);
    let shown = trueup(0, &scene.args("show", &still)).out;
    assert!(shown.contains("by ada as record 1") && shown.contains("the end was cut off"));
    let each = scene.list(&["--each"]);
    let row = each.iter().find(|row| row["position"] == scene.broken[0].0.as_str()).unwrap();
    assert_eq!((&row["state"], &row["redriven_by"]), (&"redriven".into(), &"ada".into()));
    let audit = &scene.redrives()[0];
    assert_eq!(
        (&audit["when"], &audit["why"]),
        (&row["redriven_at"], &"the end was cut off".into())
    );

    // By force the rest leaves, comes back as records of the source `redrive`, and can leave that.
    let (all, _, open) = scene.account();
    said(&redrive(0, &["--all", "--force"]), &[&format!("{open} records redriven")]);
    assert_eq!(scene.account(), (all, all, 0));
    scene.books.finish();
    assert_eq!(scene.account(), (all + open, all, open));
    scene.judge_without_bytes();
    let place =
        scene.redrives().iter().position(|one| one["position"] == scene.broken[1].0.as_str());
    let position = (place.unwrap() + 1).to_string();
    let with = scene.mended(1);
    redrive(0, &["--partition", "redrive/0", "--position", &position, "--with", &with]);
    scene.books.finish();
    assert_eq!(scene.account(), (all + open, all + 1, open - 1));

    // A re-drive that is not of its record shows in the account.
    let path = scene.books.store.join("redrive/00000000000000000001.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"who\":\"ada\"", "\"who\":\"eve\"")).unwrap();
    let ended = trueup(1, &scene.args("list", &[]));
    said(&ended, &["00000000000000000002.json", "does not hold the hash"]);
}

impl Scene {
    /// Only the program itself: some bytes are no UTF-8, which this judge does not decode.
    fn judge_without_bytes(&self) {
        let (store, log) = (text(&self.books.store), text(&self.books.log));
        trueup(0, &["verify", "--store", store, "--input", log]);
    }
}

/// Makes a store whose only commit quarantined the first record of the log, which this program
/// accepts; an older one would have left it so. Returns where the commit ends.
fn quarantine_the_first(books: &Books) -> Position {
    // What a commit holds beside its records is that of this program and configuration.
    books.finish();
    let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&books.store).unwrap());
    let real = judge::commits(&store).remove(0);
    drop(store);
    fs::remove_dir_all(&books.store).unwrap();
    let store = DirectoryStore::open(&books.store).unwrap();
    let raw = books.records.lines[0].clone();
    let segment = "live.jsonl";
    let to = Position { segment: segment.into(), offset: raw.len() as u64 + 1 };
    let record = QuarantineRecord {
        reason: Reason::UnsupportedKind,
        detail: "not built yet".to_owned(),
        source: "input".to_owned(),
        partition: "0".to_owned(),
        segment: segment.to_owned(),
        offset: 0,
        raw,
        correlation_id: None,
    };
    let mut commit = CommitRecord {
        configuration_hash: real.configuration_hash,
        ..CommitRecord::new(Epoch(1), GENESIS.to_owned(), real.epoch_time_micros)
    };
    commit.files.extend(write_quarantine(&store, &[record], Epoch(1), 0, 20_000).unwrap());
    let counts = trueup_ledger::Counts { read: 1, quarantined: 1, ..Default::default() };
    let (source, partition) = ("input".to_owned(), "0".to_owned());
    let (from, fingerprint) = (Position::default(), None);
    let to_of = to.clone();
    commit.inputs.push(InputRange {
        source,
        partition,
        from,
        to: to_of,
        counts,
        fingerprint,
        caught_up: true,
    });
    CommitLog::open(&store).unwrap().append(&commit).unwrap();
    to
}

#[test]
fn what_an_older_program_quarantined_stays_so_until_it_is_redriven() {
    let mut books = Books::new(120, 73);
    let accepted = |line: &Vec<u8>| judge::expected([line]) != judge::expected([]);
    let first = books.records.lines.iter().position(accepted).unwrap();
    books.records.lines.swap(0, first);
    books.append(usize::MAX);
    let lines = &books.records.lines;
    let to = quarantine_the_first(&books);
    let (place, log) = (text(&books.store), text(&books.log));
    let verify = |code: i32| trueup(code, &["verify", "--store", place, "--input", log]).err;
    verify(0);
    // Derived again from the beginning, by one run and then by the next from scratch.
    let without: Vec<_> = lines[1..].to_vec();
    assert_eq!(books.finish(), (lines.len() as u64 - 1, 1));
    let digests = || {
        let store: Arc<dyn Store> = Arc::new(DirectoryStore::open(&books.store).unwrap());
        judge::digests(&store)
    };
    let scratch = || {
        fs::remove_dir_all(books.store.join("state")).unwrap();
        fs::remove_dir_all(books.store.join("checkpoints")).unwrap_or_default();
    };
    assert_eq!(digests(), judge::expected(&without));
    verify(0);
    scratch();
    assert_eq!(books.finish(), (0, lines.len() as u64));

    let at = ["--reason", "unsupported_kind", "--by", "ada", "--why", "trueup 0.2"];
    let ask = [&["quarantine", "redrive", "--store", place], at.as_slice()].concat();
    assert!(trueup(0, &ask).err.contains("1 records redriven"), "up to {to}");
    // One that is not of its record is found before anybody reads it.
    let path = books.store.join("redrive/00000000000000000001.json");
    let written = fs::read_to_string(&path).unwrap();
    let edit = |from: &str, to: &str| {
        assert!(written.contains(from), "{written}");
        fs::write(&path, written.replace(from, to)).unwrap();
        let said = verify(1);
        assert!(said.contains("redrive/00000000000000000001.json"), "{said}");
        fs::write(&path, &written).unwrap();
    };
    edit("\"epoch\":1,", "\"epoch\":2,");
    edit("\"position\":\"live.jsonl@0\"", "\"position\":\"live.jsonl@1\"");
    verify(0);
    assert_eq!(books.finish().0, 1);
    assert_eq!(digests(), judge::expected(lines));
    verify(0);
    scratch();
    assert_eq!(books.finish(), (0, lines.len() as u64 + 1));
    // Nor can its words be changed once a commit has read it.
    edit("\"why\":\"trueup 0.2\"", "\"why\":\"trueup 0.3\"");
}

/// Makes a store whose quarantine holds what this program accepts, as an older one would have left.
#[test]
fn after_a_fix_all_of_a_reason_are_redriven_and_the_others_stay() {
    let mut books = Books::new(400, 72);
    books.append(400);
    let accepted = |line: &&Vec<u8>| judge::expected([*line]) != judge::expected([]);
    let good: Vec<&Vec<u8>> = books.records.lines.iter().filter(accepted).take(5).collect();
    let store = DirectoryStore::open(&books.store).unwrap();
    let record = |offset: u64, raw: &[u8]| QuarantineRecord {
        reason: if offset < 4 { Reason::UnsupportedKind } else { Reason::BadSyntax },
        detail: "not built yet".to_owned(),
        source: "input".to_owned(),
        partition: "0".to_owned(),
        segment: String::new(),
        offset,
        raw: raw.to_vec(),
        correlation_id: None,
    };
    let mut rows: Vec<_> = (0..).zip(&good).map(|(offset, raw)| record(offset, raw)).collect();
    rows.push(QuarantineRecord { reason: Reason::UnsupportedKind, ..record(9, b"{}") });
    let file = write_quarantine(&store, &rows, Epoch(1), 0, 20_000).unwrap();
    let mut commit = CommitRecord::new(Epoch(1), GENESIS.to_owned(), 0);
    commit.files.extend(file);
    let counts = trueup_ledger::Counts { read: 6, quarantined: 6, ..Default::default() };
    let to = Position { offset: 10, ..Position::default() };
    let (source, partition) = ("input".to_owned(), "0".to_owned());
    let from = Position::default();
    commit.inputs.push(InputRange {
        source,
        partition,
        from,
        to,
        counts,
        fingerprint: None,
        caught_up: false,
    });
    CommitLog::open(&store).unwrap().append(&commit).unwrap();

    let place = ["quarantine", "redrive", "--store", text(&books.store), "--by", "ada"];
    let all = ["--reason", "unsupported_kind", "--why", "trueup 0.2"];
    let redrive =
        |code: i32, more: &[&str]| trueup(code, &[place.as_slice(), &all, more].concat()).err;
    let each = "partition,position,reason,now,says";
    let dry =
        [place.as_slice(), &all, &["--dry-run", "--accepted-only", "--format", "csv"]].concat();
    let dry = trueup(0, &dry);
    assert!(dry.out.starts_with(each) && dry.out.lines().count() == 6, "{}", dry.out);
    assert!(redrive(2, &[]).contains("1 of 5 records would only be quarantined again"));
    // Of many records only what they come to is printed.
    let more = ["--accepted-only", "--format", "csv"];
    let ended = trueup(0, &[place.as_slice(), &all, &more].concat());
    assert_eq!(ended.out, "reason,open,accepted,quarantined_again\nunsupported_kind,5,4,1\n");
    let said = ended.err;
    assert!(said.contains("4 records redriven") && said.contains("1 stay open"), "{said}");
    assert!(redrive(0, &["--accepted-only"]).contains("0 records redriven"));
    let list = ["quarantine", "list", "--store", text(&books.store), "--format", "csv"];
    let rows = trueup(0, &list).out;
    for row in ["bad_syntax,1,0,1,", "unsupported_kind,5,4,1,"] {
        assert!(rows.contains(row), "{rows}");
    }
}
