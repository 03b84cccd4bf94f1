//! Readers that know nothing of trueup: pyarrow and DuckDB sum `diff` over the Parquet files that
//! commits name, and get what `trueup query` prints, row for row and digit for digit.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

#[path = "common/program.rs"]
mod program;
#[path = "common/python.rs"]
mod python;
#[path = "common/records.rs"]
mod records;

use program::{text, trueup};
use python::python;
use records::Records;

/// Finds the files of a view in the commits up to an epoch.
const FILES: &str = r#"
import csv, datetime, decimal, json, pathlib, sys
store, view, upto = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
commits = [json.loads(path.read_text()) for path in sorted((store / "commits").glob("*.json"))]
files = [str(store / file["path"]) for commit in commits if commit["epoch"] <= upto
         for file in commit["files"] if file["view"] == view]
def show(value):
    if isinstance(value, decimal.Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime.datetime):
        text = value.strftime("%Y-%m-%dT%H:%M:%S")
        return text + (f".{value.microsecond:06}".rstrip("0") if value.microsecond else "") + "Z"
    return str(value)
def write(names, rows):
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(names)
    out.writerows([show(value) for value in row] for row in rows)
"#;

/// Sums with a dictionary: no engine is involved but the Parquet reader.
const PYARROW: &str = r#"
import collections, pyarrow.parquet
sums = collections.Counter()
for path in files:
    table = pyarrow.parquet.ParquetFile(path).read()
    names = table.column_names[2:]
    for row in zip(*(column.to_pylist() for column in table.columns)):
        sums[row[2:]] += row[1]
assert set(sums.values()) <= {0, 1}, "every row sums to 0 or 1"
write(names, [row for row, sum in sums.items() if sum])
"#;

/// Sums with SQL, as a warehouse would.
const DUCKDB: &str = r#"
import duckdb
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
rows = db.read_parquet(files)
names = rows.columns[2:]
# In Python an instant of DuckDB needs one more package; as a UTC timestamp it needs none.
cast = {"TIMESTAMP WITH TIME ZONE": "::timestamp"}
columns = ", ".join(f'"{name}"{cast.get(str(type), "")} as "{name}"'
                    for name, type in zip(names, rows.types[2:]))
rows = db.sql(f"select diff, {columns} from rows")
columns = ", ".join(f'"{name}"' for name in names)
found = db.sql(f"select {columns}, sum(diff) from rows group by {columns} having sum(diff) <> 0")
found = found.fetchall()
assert all(row[-1] == 1 for row in found), "every row sums to 0 or 1"
write(names, [row[:-1] for row in found])
"#;

struct Books {
    _dir: TempDir,
    store: PathBuf,
}

fn books() -> Books {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (log, store) = (path("log"), path("store"));
    records::write_log(&log, &Records::generate(3_000, 71).lines, 2);
    let run = ["run", "--store", text(&store), "--input", text(&log), "--workers", "2"];
    let cut = ["--until-caught-up", "--commit-max-records", "600"];
    trueup(0, &[run.as_slice(), &cut].concat());
    Books { _dir: dir, store }
}

fn query(store: &Path, view: &str, epoch: &str) -> String {
    let args = ["query", view, "--store", text(store), "--epoch", epoch, "--format", "csv"];
    trueup(0, &args).out
}

type Line = Vec<String>;

/// Returns the header, and the rows in an order that does not depend on the program.
fn parsed(csv: &str) -> (Line, Vec<Line>) {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let line = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Line>();
    let header = line(reader.headers().unwrap());
    let mut rows: Vec<Line> = reader.records().map(|record| line(&record.unwrap())).collect();
    rows.sort();
    (header, rows)
}

fn read(reader: &str, store: &Path, view: &str, epoch: &str) -> (Line, Vec<Line>) {
    let script = [FILES, reader].concat();
    parsed(&python(&script, &[store.as_os_str(), view.as_ref(), epoch.as_ref()]))
}

// spec: "rows with `epoch` (u64, the commit), `diff` (+1 insert, -1 retract) and a key"
// spec: "Summing `diff` per row over all epochs ≤ E gives the view at E, exactly, every row at 0 or
// 1"
#[test]
fn pyarrow_and_duckdb_read_what_query_prints() {
    let books = books();
    let views = ["balances", "daily_movements", "trial_balance", "postings", "transaction_totals"];
    for (view, epoch) in views.map(|view| (view, "5")).into_iter().chain([("balances", "2")]) {
        let wanted = parsed(&query(&books.store, view, epoch));
        assert!(wanted.1.len() > 5, "{view}");
        for (name, reader) in [("pyarrow", PYARROW), ("duckdb", DUCKDB)] {
            let found = read(reader, &books.store, view, epoch);
            assert_eq!(found.0, wanted.0, "{name} {view}");
            let first = found.1.iter().zip(&wanted.1).find(|(found, wanted)| found != wanted);
            assert_eq!(first, None, "{name} {view} at epoch {epoch} (found, query)");
            assert_eq!(found.1.len(), wanted.1.len(), "{name} {view} at epoch {epoch}");
        }
    }
}

/// The balance and the movements are sums of the postings, by DuckDB's own exact arithmetic.
const SUMS: &str = r#"
import duckdb
db = duckdb.connect()
def live(view):
    paths = [str(store / file["path"]) for commit in commits for file in commit["files"]
             if file["view"] == view]
    rows = db.read_parquet(paths)
    columns = ", ".join(f'"{name}"' for name in rows.columns[2:])
    db.sql(f"create table {view} as select {columns} from rows group by all having sum(diff) = 1")
for view in ["postings", "balances", "daily_movements"]:
    live(view)
signed = "case side when 'debit' then amount else -amount end"
key = "tenant, account, currency"
def pending(side):
    return f"coalesce(sum(amount) filter (status = 'pending' and side = '{side}'), 0)"
posted = f"coalesce(sum({signed}) filter (status = 'posted'), 0)"
for name, (columns, wanted) in {
    "balances": (f"{key}, balance, pending_debits, pending_credits",
                 f"select {key}, {posted}, {pending('debit')}, {pending('credit')}"
                 f" from postings group by all"),
    "daily_movements": (f"{key}, effective_date, net",
                        f"select {key}, effective_at::timestamp::date, sum({signed})"
                        f" from postings where status = 'posted' group by all"),
}.items():
    db.sql(f"create table wanted as {wanted}")
    found = f"select {columns} from {name}"
    wanted = f"select * from wanted"
    for one, other in [(found, wanted), (wanted, found)]:
        rest = db.sql(f"({one}) except ({other})").fetchall()
        assert rest == [], (name, rest[:3])
    db.sql("drop table wanted")
    print(name, *db.sql(f"select count(*) from {name}").fetchall()[0])
# The balance as of the last day is the sum of all days; what is only pending has no day.
days = f"select {key}, sum(net) from daily_movements group by all"
moved = f"select {key}, balance from balances where balance <> 0"
for one, other in [(days, f"select {key}, balance from balances"), (moved, days)]:
    rest = db.sql(f"({one}) except ({other})").fetchall()
    assert rest == [], rest[:3]
# Which side is normal is declared, and declarations are no rows.
either = "available not in (balance - pending_credits, balance + pending_debits)"
assert db.sql(f"select count(*) from balances where {either}").fetchall()[0][0] == 0
print("postings", *db.sql("select count(*) from postings").fetchall()[0])
assert db.sql("select count(*) from postings where status = 'pending'").fetchall()[0][0] > 5
"#;

// spec: "and the same cut across all views"
// spec: "`balance` = posted_debits − posted_credits"
// spec: "the balance as of a day is the prefix sum"
#[test]
fn in_duckdb_the_views_agree_with_each_other() {
    let books = books();
    let script = [FILES, SUMS].concat();
    let said = python(&script, &[books.store.as_os_str(), "postings".as_ref(), "5".as_ref()]);
    let count = |line: &str| {
        let (view, rows) = line.split_once(' ').unwrap();
        (view.to_owned(), rows.parse::<usize>().unwrap())
    };
    let counts: BTreeMap<String, usize> = said.lines().map(count).collect();
    assert_eq!(counts.len(), 3);
    for (view, rows) in counts {
        assert_eq!(parsed(&query(&books.store, &view, "5")).1.len(), rows, "{view}");
    }
}
