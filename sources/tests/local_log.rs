//! The local log: the suite of all transports, and what only files can do wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use trueup_ledger::Position;
use trueup_sources::conformance::{self, Fixture, Outcome};
use trueup_sources::local_log::append::{AppendError, append, by_target_transaction};
use trueup_sources::{LocalLog, Partition, Polled, RawBatch, SourceError, Transport};

struct Log {
    directory: TempDir,
    file: [u32; 2],
}

impl Fixture for Log {
    fn append(&mut self, partition: usize, records: &[String]) -> Outcome {
        let name = format!("p{partition}/{:04}.jsonl", self.file[partition]);
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        write(&self.directory.path().join(name), &text);
        Ok(())
    }

    fn leap(&mut self, partition: usize) -> Outcome {
        self.file[partition] += 1;
        self.append(partition, &[])
    }

    fn open(&mut self) -> Result<Box<dyn Transport>, Box<dyn Error>> {
        Ok(Box::new(LocalLog::new(self.directory.path())))
    }
}

#[test]
fn conforms() {
    conformance::run(|| {
        let directory = TempDir::new()?;
        fs::create_dir(directory.path().join("p0"))?;
        fs::create_dir(directory.path().join("p1"))?;
        Ok(Log { directory, file: [0, 0] })
    })
    .unwrap();
}

fn write(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A log of one partition in `directory` whose file `b.jsonl` has been read.
fn one_read(directory: &Path) -> (PathBuf, Box<dyn Partition>) {
    let path = directory.join("b.jsonl");
    write(&path, "one\ntwo\n");
    let mut partition = open(directory);
    assert_eq!(lines(&batch(&mut *partition)), ["one", "two"]);
    (path, partition)
}

fn open(path: &Path) -> Box<dyn Partition> {
    let mut partitions = LocalLog::new(path).partitions().unwrap();
    assert_eq!(partitions.len(), 1);
    assert_eq!(partitions[0].id(), "0");
    partitions.remove(0)
}

fn batch(partition: &mut dyn Partition) -> RawBatch {
    match partition.poll(1000, None).unwrap() {
        Polled::Batch(batch) => batch,
        Polled::Idle => panic!("idle"),
    }
}

fn lines(batch: &RawBatch) -> Vec<&str> {
    batch.records().map(|(_, raw)| std::str::from_utf8(raw).unwrap()).collect()
}

fn changed(result: Result<impl Sized, SourceError>, text: &str) {
    match result.err() {
        Some(error @ SourceError::Changed { .. }) => {
            assert!(error.to_string().contains(text), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_torn_last_line_is_no_record_yet_and_blank_lines_are() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.jsonl");
    write(&path, "one\r\n\ntor");
    let mut partition = open(&path);
    let end = partition.end().unwrap();
    assert_eq!(end, Position { segment: "events.jsonl".into(), offset: 6 });
    assert_eq!(lines(&batch(&mut *partition)), ["one\r", ""]);
    assert_eq!(partition.position(), end);
    assert_eq!(partition.poll(9, None).unwrap(), Polled::Idle);
    write(&path, "n");
    assert_eq!(partition.poll(9, None).unwrap(), Polled::Idle);
    write(&path, "\n");
    assert_eq!(lines(&batch(&mut *partition)), ["torn"]);
}

#[test]
fn long_lines_are_whole_up_to_a_bound() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.jsonl");
    let long = "x".repeat(3_000_000);
    let huge = "y".repeat((64 << 20) + (3 << 20));
    write(&path, &format!("first\n{long}\n{huge}\nlast\n"));
    let mut partition = open(directory.path());
    assert_eq!(lines(&batch(&mut *partition)), ["first"]);
    assert_eq!(lines(&batch(&mut *partition)), [long.as_str()]);
    let cut = batch(&mut *partition);
    assert_eq!(cut.frames[0].len, (1 << 20) + 1);
    assert!(cut.bytes.len() < 2 << 20);
    assert_eq!(lines(&batch(&mut *partition)), ["last"]);
    assert_eq!(partition.position(), partition.end().unwrap());
}

#[test]
fn changes_of_what_was_read_are_noticed_while_reading() {
    type Change = fn(&Path, &Path);
    let rows: [(&str, Change); 6] = [
        ("shrank to 3 bytes", |_, file| {
            fs::write(file, "one").unwrap();
        }),
        ("b.jsonl is gone", |_, file| fs::remove_file(file).unwrap()),
        ("end of the file", |_, file| {
            fs::write(file, "one\ntwu\nmore\n").unwrap();
        }),
        ("was replaced", |directory, file| {
            fs::write(directory.join("new"), "one\ntwo\n").unwrap();
            fs::rename(directory.join("new"), file).unwrap();
        }),
        ("a.jsonl is new", |directory, _| {
            fs::write(directory.join("a.jsonl"), "x\n").unwrap();
        }),
        ("b.jsonl has 12 bytes", |directory, file| {
            fs::write(directory.join("c.jsonl"), "").unwrap();
            let _ = file;
        }),
    ];
    for (text, change) in rows {
        let directory = TempDir::new().unwrap();
        let (path, mut partition) = one_read(directory.path());
        change(directory.path(), &path);
        if text.starts_with("b.jsonl has") {
            assert_eq!(partition.poll(9, None).unwrap(), Polled::Idle);
            write(&path, "two\n");
        }
        changed(partition.poll(9, None), text);
    }
}

#[test]
fn changes_of_what_was_read_are_noticed_on_resume() {
    let directory = TempDir::new().unwrap();
    let (path, mut partition) = one_read(directory.path());
    let (from, mark) = (partition.position(), partition.fingerprint());
    let mut resume = || partition.resume(&from, mark.as_deref());
    resume().unwrap();
    fs::write(&path, "one\ntwu\n").unwrap();
    changed(resume(), "end of the file");
    fs::write(&path, "one\n").unwrap();
    changed(resume(), "shrank to 4 bytes");
    fs::write(&path, "one\ntwo2\n").unwrap();
    changed(resume(), "no line begins at byte 8");
    fs::write(&path, "one\ntwo\n").unwrap();
    fs::write(directory.path().join("a.jsonl"), "x\n").unwrap();
    changed(resume(), "the files before");
    fs::remove_file(&path).unwrap();
    changed(resume(), "b.jsonl is gone");
}

#[test]
fn a_torn_line_before_another_file_stops() {
    let directory = TempDir::new().unwrap();
    let (path, mut partition) = one_read(directory.path());
    write(&path, "torn");
    write(&directory.path().join("c.jsonl"), "x\n");
    let error = partition.poll(9, None).unwrap_err();
    assert!(matches!(error, SourceError::Failed { .. }), "{error}");
}

#[test]
fn what_is_no_log_is_a_configuration_error() {
    let directory = TempDir::new().unwrap();
    let configuration = |path: &Path, text: &str| match LocalLog::new(path).partitions().err() {
        Some(SourceError::Configuration { detail, .. }) => assert!(detail.contains(text)),
        other => panic!("{other:?}"),
    };
    configuration(&directory.path().join("absent"), "no such");
    configuration(directory.path(), "no folder");
    fs::create_dir(directory.path().join("p")).unwrap();
    write(&directory.path().join("a.jsonl"), "");
    configuration(directory.path(), "both");
}

#[test]
fn append_routes_by_target_and_heals() {
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let event = |tx: &str, rest: &str| {
        format!("{{\"tenant\":\"acme\",\"transaction_id\":\"{tx}\"{rest}}}\n")
    };
    let mut input = String::from("no json\n\n");
    for n in 0..50 {
        input += &event(&format!("t{n}"), "");
        input += &event(&format!("r{n}"), &format!(",\"reverses\":\"t{n}\""));
    }
    let input = input.trim_end();
    let summary = append(&log, 4, input.as_bytes(), by_target_transaction).unwrap();
    assert_eq!((summary.records, summary.partitions, summary.healed), (102, 4, 0));
    let first = log.join("0000/00000000000000000000.jsonl");
    let text = fs::read_to_string(&first).unwrap();
    assert!(text.starts_with("no json\n\n") && text.ends_with("}\n"));
    let mut with_records = 0;
    for partition in &mut LocalLog::new(&log).partitions().unwrap() {
        let batch = batch(&mut **partition);
        with_records += 1;
        for n in 0..50 {
            let target = format!("\"t{n}\"");
            let found = lines(&batch).iter().filter(|line| line.contains(&target)).count();
            assert!(found == 0 || found == 2, "a reversal is with its target");
        }
    }
    assert_eq!(with_records, 4);

    write(&first, "torn");
    let again = append(&log, 9, &b"no json either"[..], by_target_transaction).unwrap();
    assert_eq!((again.records, again.partitions, again.healed), (1, 4, 1));
    assert!(fs::read_to_string(&first).unwrap().ends_with("}\ntorn\nno json either\n"));

    let locked = fs::File::open(log.join(".lock")).unwrap();
    locked.lock().unwrap();
    let refused = append(&log, 4, &b"x"[..], by_target_transaction);
    assert!(matches!(refused, Err(AppendError::Locked(_))));
}
