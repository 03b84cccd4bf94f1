//! `trueup plan` from outside, and docs/capacity.md, whose answers and tables are what the program
//! says: a block that begins with `<!-- trueup plan … -->` is that command's output, and so on.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use trueup::plan::constants::Constants;

/// Writes the blocks anew.
const REWRITE: &str = "TRUEUP_REWRITE=1 cargo test --test capacity";

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn plan(args: &[&str]) -> Ended {
    let output =
        Command::new(env!("CARGO_BIN_EXE_trueup")).arg("plan").args(args).output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns what belongs into the block of a marker.
fn block(marker: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match marker.split_once(' ').map_or((marker, ""), |(what, rest)| (what, rest)) {
        ("trueup", rest) => {
            let args: Vec<_> = rest.split(' ').skip(1).filter(|arg| !arg.is_empty()).collect();
            let ended = plan(&args);
            assert_eq!(ended.code, Some(0), "{marker}: {}", ended.err);
            format!("```text\n$ {marker}\n{}```\n", ended.out)
        }
        ("constants", _) => constants(),
        ("prices", _) => {
            let text = fs::read_to_string(root.join("src/plan/prices.toml")).unwrap();
            format!("```toml\n{text}```\n")
        }
        _ => panic!("what belongs to {marker:?}?"),
    }
}

fn constants() -> String {
    let Constants { measured, machine, sizes, ledger, hostile } = Constants::built_in().unwrap();
    let [small, large] = sizes;
    let mut text = format!(
        "Measured {measured}, between {small} and {large} records, on {machine}.\n\n\
         | constant | `ledger` | `hostile` | unit | how |\n| --- | ---: | ---: | --- | --- |\n"
    );
    for (ledger, hostile) in ledger.listed().iter().zip(hostile.listed()) {
        let (name, unit, how) = (ledger.name, ledger.unit, ledger.how);
        let (ledger, hostile) = (ledger.value, hostile.value);
        writeln!(text, "| `{name}` | {ledger} | {hostile} | {unit} | {how} |").unwrap();
    }
    text
}

/// Returns the page with all blocks as they should be. A block ends with `<!-- end -->`.
fn renewed(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, behind)) = rest.split_once("<!-- ") {
        let (marker, behind) = behind.split_once(" -->\n").unwrap();
        let (_, behind) = behind.split_once("<!-- end -->").unwrap();
        write!(text, "{before}<!-- {marker} -->\n{}<!-- end -->", block(marker)).unwrap();
        rest = behind;
    }
    text + rest
}

#[test]
fn the_document_says_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/capacity.md");
    let page = fs::read_to_string(&path).unwrap();
    let renewed = renewed(&page);
    if std::env::var_os("TRUEUP_REWRITE").is_some() {
        fs::write(path, renewed).unwrap();
    } else {
        assert!(page == renewed, "docs/capacity.md is not what the program says; run {REWRITE}");
    }
    assert_eq!(page.matches("<!-- trueup plan").count(), 2, "both worked answers are there");
}

#[test]
fn json_has_every_figure_with_unit_and_origin() {
    let ended = plan(&["--json", "--processes", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["inputs"]["events_per_day"], 1_200_000_000);
    assert_eq!(report["prices"]["put_per_1000_nanodollars"], 5_000_000);
    let figures = report["figures"].as_array().unwrap();
    for figure in figures {
        assert!(!figure["from"].as_str().unwrap().is_empty(), "{figure}");
        assert!(figure["unit"].is_string(), "{figure}");
    }
    let figure = |name: &str| figures.iter().find(|figure| figure["name"] == name).unwrap();
    assert_eq!(figure("processes")["value"], 2);
    assert!(figure("total")["value"].as_u64() <= figure("total")["later"].as_u64());
    assert!(!report["limits"].as_array().unwrap().is_empty());
    assert!(!report["not_modelled"].as_array().unwrap().is_empty());
}

#[test]
fn all_mistakes_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let prices = dir.path().join("prices.toml");
    fs::write(&prices, "[prices]\nput_per_1000 = \"cheap\"\n").unwrap();
    let prices = prices.to_str().unwrap();
    let ended = plan(&["--peak-events", "fast", "--accounts", "0", "--prices", prices]);
    assert_eq!(ended.code, Some(2), "{}{}", ended.out, ended.err);
    for told in [
        "--peak-events: \"fast\" is no whole number; write",
        "--accounts: \"0\" is out of range; write",
        "line 2: prices.put_per_1000: \"cheap\" is no price; write",
        "prices.get_per_1000: it is missing; write",
    ] {
        assert!(ended.err.contains(told), "{told:?} is not in {}", ended.err);
    }
    let ended = plan(&["--prices", "/nowhere/prices.toml"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--prices: it cannot be read"), "{}", ended.err);
}
