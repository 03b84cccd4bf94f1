//! Nothing is dropped: what cannot be accepted is in the quarantine, byte for byte, with the reason
//! and the place it was read from. The files are read by pyarrow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use trueup::generate::{Generator, Poison, RecordKind, Workload};
use trueup_ledger::{Counts, Reason};
use trueup_sinks::DirectoryStore;

use crate::python::python;
use crate::records::{self, Records};
use crate::runs::Job;

/// Prints the quarantined records of every store below a directory, as JSON.
const DUMP: &str = r#"
import json, pathlib, sys
import pyarrow.parquet
for commit in sorted(pathlib.Path(sys.argv[1]).glob("*/commits/*.json")):
    store, record = commit.parent.parent, json.loads(commit.read_text())
    for file in record["files"]:
        if file["view"] != "quarantine":
            continue
        table = pyarrow.parquet.ParquetFile(store / file["path"]).read()
        assert table.num_rows == file["rows"], file
        for row in table.to_pylist():
            assert row["epoch"] == record["epoch"]
            assert row["position"] == f"{row['segment']}@{row['offset']}", row
            row["raw"] = row["raw"].hex()
            print(json.dumps({"store": store.name, **row}))
"#;

#[derive(Deserialize)]
struct Quarantined {
    store: String,
    reason: String,
    source: String,
    partition: String,
    position: String,
    raw: String,
}

/// Returns the reasons that a record broken in this way may be quarantined for.
fn reasons(poison: Poison) -> &'static [Reason] {
    use Reason as R;
    match poison {
        Poison::Truncated
        | Poison::Blank
        | Poison::TrailingGarbage
        | Poison::NotJson
        | Poison::NotAnObject => &[R::BadSyntax],
        Poison::EmptyObject | Poison::MissingField | Poison::HoldWithoutEnd => &[R::MissingField],
        Poison::InvalidUtf8 => &[R::NotUtf8],
        // A lone surrogate is a string of JSON, but no text.
        Poison::AmountNumber | Poison::LoneSurrogate => &[R::BadType],
        Poison::AmountExponent
        | Poison::AmountSigned
        | Poison::AmountSeparators
        | Poison::AmountEmpty => &[R::BadAmount],
        Poison::AmountPrecision => &[R::AmountPrecision],
        Poison::AmountHuge => &[R::AmountRange],
        // As a text it is no amount, as a bare word no JSON.
        Poison::AmountNan => &[R::BadAmount, R::BadSyntax],
        Poison::DuplicateKey => &[R::DuplicateField],
        Poison::WrongType => &[R::BadType],
        Poison::BadTime => &[R::BadTimestamp],
        Poison::UnknownKind => &[R::UnknownKind],
        Poison::VersionTwo => &[R::UnsupportedVersion],
        Poison::TooDeep => &[R::TooDeep],
        Poison::LegOnReverse => &[R::LegNotAllowed],
        Poison::PostingsOnRelease => &[R::PostingsNotAllowed],
        Poison::CorrectRevisionOne => &[R::BadRevision],
        Poison::BadCurrency => &[R::BadCurrency],
        // An escaped one is in the account's name, a bare one is no JSON.
        Poison::ControlInAccount => &[R::BadAccount, R::BadSyntax],
        Poison::BadSide => &[R::BadSide],
        Poison::TooLong => &[R::BadIdentifier, R::BadAccount],
        Poison::TooLarge => &[R::TooLarge],
        Poison::BadFact => &[R::BadDate, R::BadRange, R::BadPeriod],
    }
}

/// Returns up to five records of every poison.
fn samples() -> BTreeMap<Poison, Vec<Vec<u8>>> {
    let workload = Workload { events: 150_000, seed: 2, ..Workload::default() };
    let mut generator = Generator::new(&workload);
    let mut samples: BTreeMap<Poison, Vec<Vec<u8>>> = BTreeMap::new();
    let mut line = Vec::new();
    while let Some(kind) = generator.next_record(&mut line) {
        if let RecordKind::Poison(poison) = kind {
            let found = samples.entry(poison).or_default();
            if found.len() < 5 {
                found.push(line.clone());
            }
        }
        line.clear();
    }
    assert_eq!(samples.len(), Poison::ALL.len());
    samples
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What must be found: store, partition, position, bytes, and the poison that they are.
type Expected = BTreeSet<(String, String, String, String, Poison)>;

/// Puts each poison alone into a log and a store of its own.
fn each_alone(dir: &Path, samples: &BTreeMap<Poison, Vec<Vec<u8>>>, expected: &mut Expected) {
    for (poison, lines) in samples {
        let name = format!("{poison:?}");
        let log = dir.join(format!("{name}.jsonl"));
        records::write_lines(&log, &lines[..1]);
        let store = DirectoryStore::open(dir.join(&name)).unwrap();
        let summary = Job::new(Arc::new(store)).read("alone", &log).workers(1).run().unwrap();
        let wanted = Counts { read: 1, quarantined: 1, ..Counts::default() };
        assert_eq!((summary.counts, summary.epochs), (wanted, 1), "{name}");
        let position = format!("{name}.jsonl@0");
        expected.insert((name, "0".to_owned(), position, hex(&lines[0]), *poison));
    }
}

/// Puts all of them among good records, and returns how many good ones there are.
fn all_amid(
    dir: &Path,
    samples: &BTreeMap<Poison, Vec<Vec<u8>>>,
    expected: &mut Expected,
) -> Vec<Vec<u8>> {
    let good = Records::generate(2_000, 24);
    let sound = good.lines.iter().zip(&good.kinds);
    let sound: Vec<Vec<u8>> = sound
        .filter(|(_, kind)| !matches!(kind, RecordKind::Poison(_)))
        .map(|(line, _)| line.clone())
        .collect();
    let poison: Vec<_> =
        samples.iter().flat_map(|(of, lines)| lines.iter().map(|l| (*of, l))).collect();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut offset = 0;
    let mut rest = poison.iter();
    for line in &sound {
        lines.push(line.clone());
        offset += line.len() + 1;
        if lines.len().is_multiple_of(7)
            && let Some((poison, line)) = rest.next()
        {
            let position = format!("amid.jsonl@{offset}");
            expected.insert(("amid".to_owned(), "0".to_owned(), position, hex(line), *poison));
            lines.push((*line).clone());
            offset += line.len() + 1;
        }
    }
    assert_eq!(rest.next(), None, "too few good records");
    records::write_lines(&dir.join("amid.jsonl"), &lines);
    sound
}

// spec: "*quarantined* (with reason and raw bytes)"
// spec: "A field of this table given twice, NaN, exponents, signs, `1_000`, more than S fraction
// digits, trailing garbage, nesting > 32, a record > 1 MiB: quarantined."
#[test]
fn every_poison_is_quarantined_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let samples = samples();
    let mut expected = Expected::new();
    each_alone(dir.path(), &samples, &mut expected);
    let sound = all_amid(dir.path(), &samples, &mut expected);
    let store = Arc::new(DirectoryStore::open(dir.path().join("amid")).unwrap());
    let log = dir.path().join("amid.jsonl");
    let summary = Job::new(store.clone()).read("amid", &log).max_records(300).run().unwrap();
    let amid: usize = samples.values().map(Vec::len).sum();
    assert_eq!(summary.counts.quarantined, amid as u64);
    let store: Arc<dyn trueup_sinks::Store> = store;
    assert_eq!(crate::judge::digests(&store), crate::judge::expected(&sound));

    let poison: BTreeMap<_, _> = expected
        .iter()
        .map(|(store, partition, position, raw, poison)| {
            ((store.clone(), partition.clone(), position.clone()), (raw.clone(), *poison))
        })
        .collect();
    let mut found = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in python(DUMP, &[dir.path().as_os_str()]).lines() {
        let row: Quarantined = serde_json::from_str(line).unwrap();
        let place = (row.store.clone(), row.partition, row.position);
        let (raw, poison) = &poison[&place];
        assert_eq!(&row.raw, raw, "{place:?}");
        assert_eq!(row.source == "amid", row.store == "amid");
        let allowed = reasons(*poison);
        if !allowed.iter().any(|reason| reason.code() == row.reason) {
            wrong.push((*poison, row.reason));
        }
        assert!(found.insert(place), "a record is in the quarantine twice");
    }
    assert_eq!(wrong, [], "quarantined for another reason");
    assert_eq!(found.len(), poison.len());
}
