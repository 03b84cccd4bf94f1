//! The examples run, and what they assert holds.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../examples/fold_a_transaction.rs"]
mod fold_a_transaction;
#[path = "../examples/late_correction.rs"]
mod late_correction;
#[path = "../examples/read_a_store.rs"]
mod read_a_store;

#[test]
fn fold_a_transaction() {
    fold_a_transaction::main().unwrap();
}

#[test]
fn late_correction() {
    late_correction::main().unwrap();
}

#[test]
fn read_a_store() {
    read_a_store::main().unwrap();
}

#[test]
fn every_example_is_run_and_is_short() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let this = include_str!("examples.rs");
    for example in std::fs::read_dir(dir.join("examples")).unwrap() {
        let path = example.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(this.contains(&format!("../examples/{name}")), "{name} is not run");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 60, "{name} has {lines} lines");
    }
}
