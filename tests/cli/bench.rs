//! `trueup bench`, on so few records that its figures mean nothing: what it says, and that the books
//! of all contestants were judged.

use std::fs;

use serde_json::Value;

use super::{done, fails};

#[test]
fn a_bench_has_every_run_of_every_contestant() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (work, out) = (path("work"), path("figures"));
    let few = ["--events", "2000", "--runs", "2", "--record-bytes", "1024,2048"];
    let short = ["--rates", "500", "--seconds", "1", "--corrections-after", "100,1000"];
    let rest = ["--many-accounts", "100000", "--json", "--dir", &work, "--out", &out];
    let what = ["bench", "load", "latency", "corrections", "restart", "scale"];
    let said = done(&[what.as_slice(), &few, &short, &rest].concat()).out;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["machine"]["cores"].as_u64() > Some(0), "{said}");

    let expected = [
        ("load", "records_per_second", 6),
        ("latency", "p99_us", 1),
        ("corrections", "one_us", 2),
        ("restart", "restart_us", 1),
        ("scale", "records_per_second", 4),
    ];
    for (scenario, main, contestants) in expected {
        let outcome = &said["scenarios"][scenario];
        assert_eq!(outcome["main_figure"], main);
        assert_eq!(outcome["contestants"].as_array().unwrap().len(), contestants, "{outcome}");
        for contestant in outcome["contestants"].as_array().unwrap() {
            assert_eq!(contestant["runs"].as_array().unwrap().len(), 2, "{contestant}");
            let spread = &contestant["summary"][main];
            let value = |name: &str| spread[name].as_u64().unwrap();
            assert!(0 < value("min") && value("min") <= value("median"), "{contestant}");
            assert!(value("median") <= value("max"), "{contestant}");
        }
        let first = &outcome["contestants"][0]["ratio_thousandths"];
        assert_eq!((&first["min"], &first["max"]), (&1_000.into(), &1_000.into()), "{outcome}");
        let plot = fs::read_to_string(dir.path().join(format!("figures/{scenario}.svg"))).unwrap();
        assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"), "{plot}");
    }
    let written = fs::read_to_string(dir.path().join("figures/bench.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), said);
    let latency = &said["scenarios"]["latency"]["contestants"][0]["runs"][0];
    assert_eq!(latency["records"], 500);

    // One worker, two workers and two processes, on small records and on large ones: the last stores
    // are kept, and have the same books.
    let digests = (0..6).map(|number| {
        let store = dir.path().join(format!("work/load-{number}"));
        let digest = done(&["digest", "--json", "--store", store.to_str().unwrap()]).out;
        let mut views = serde_json::from_str::<Value>(&digest).unwrap()["views"].take();
        views.as_object_mut().unwrap().remove("alerts");
        views
    });
    let digests: Vec<Value> = digests.collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn a_bench_says_what_it_cannot_do() {
    let said = fails(2, &["bench", "kafka"]).err;
    assert!(said.contains("kafka needs --kafka"), "{said}");
    let said = fails(2, &["bench", "load", "--kafka", "127.0.0.1:1"]).err;
    assert!(said.contains("is for the scenario kafka"), "{said}");
    let here = tempfile::tempdir().unwrap();
    let said = fails(2, &["bench", "load", "--dir", here.path().to_str().unwrap()]).err;
    assert!(said.contains("must not exist yet"), "{said}");
    fails(2, &["bench", "speed"]);
    fails(2, &["bench", "--memory-limit", "much"]);
}
