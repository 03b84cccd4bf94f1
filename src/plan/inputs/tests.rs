//! What is taken of the texts that `plan` is given, and what is refused.

use super::*;

pub(in crate::plan) const TEXTS: Texts<'static> = Texts {
    peak_events: "25000",
    events_per_day: "1.2B",
    record_bytes: "1200",
    hot_days: "90",
    history_days: "2557",
    accounts: "10M",
    corrections_percent: "3",
    processes: None,
    cores_per_process: "8",
    commit_interval: "1s",
    checkpoint_interval: "15s",
    memory_limit: "2GiB",
    target_utilisation: "60",
    outage: "1h",
    restarts_per_month: "4",
    cross_zone_percent: "67",
    request_ms: "50",
};

#[test]
fn whole_numbers() {
    let rows: &[(&str, Option<u64>)] = &[
        ("1", Some(1)),
        ("1200000000", Some(1_200_000_000)),
        ("1_200_000_000", Some(1_200_000_000)),
        ("1.2B", Some(1_200_000_000)),
        ("1.2b", Some(1_200_000_000)),
        ("25K", Some(25_000)),
        ("0.5M", Some(500_000)),
        ("1.500K", Some(1500)),
        ("1.2", None),
        ("1.23456K", None),
        ("", None),
        ("K", None),
        (".5M", None),
        ("5.M", None),
        ("-1", None),
        ("1e9", None),
        ("1,000", None),
        ("_1", None),
        ("1_", None),
        ("1 B", None),
        ("0", None),
        ("99999999999999999999999999999999999999999999", None),
        ("2B", Some(2_000_000_000)),
        ("2.000000001B", None),
        ("20B", None),
    ];
    for (text, expected) in rows {
        assert_eq!(whole(text, (1, 2_000_000_000)).ok(), *expected, "{text:?}");
    }
}

#[test]
fn what_is_asked() {
    let inputs = Inputs::read(Workload::Ledger, &TEXTS).unwrap();
    assert_eq!(inputs.events_per_day, 1_200_000_000);
    assert_eq!(inputs.accounts, 10_000_000);
    assert_eq!(inputs.memory_limit_bytes, 2 << 30);
    assert_eq!(inputs.commit_interval_ms, 1000);
    assert_eq!(inputs.processes, None);
    let two = Texts { processes: Some("2"), ..TEXTS };
    assert_eq!(Inputs::read(Workload::Ledger, &two).unwrap().processes, Some(2));
}

#[test]
fn all_mistakes_at_once() {
    let wrong = Texts {
        peak_events: "many",
        record_bytes: "2M",
        processes: Some("0"),
        commit_interval: "1",
        memory_limit: "1GB",
        target_utilisation: "101",
        outage: "31d",
        ..TEXTS
    };
    let errors = Inputs::read(Workload::Ledger, &wrong).unwrap_err();
    let expected = "\
the plan: 7 errors
  --peak-events: \"many\" is no whole number; write a whole number, 1 to 10000000000, as in 25000, 25_000, 25K, 1.2M or 1.2B
  --record-bytes: \"2M\" is out of range; write a whole number, 1 to 1048576, as in 25000, 25_000, 25K, 1.2M or 1.2B
  --commit-interval: \"1\" is no duration; write a whole number and a unit, \"10ms\" to \"1h\" (units: ms, s, m, h)
  --memory-limit: \"1GB\" is no size; write a whole number and MiB or GiB, \"64MiB\" or more, as in \"4GiB\"
  --target-utilisation: \"101\" is out of range; write a whole number, 1 to 100, as in 25000, 25_000, 25K, 1.2M or 1.2B
  --outage: \"31d\" is out of range; write a whole number and a unit, \"1s\" to \"30d\" (units: ms, s, m, h, d)
  --processes: \"0\" is out of range; write a whole number, 1 to 256, as in 25000, 25_000, 25K, 1.2M or 1.2B";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn values_that_do_not_fit_each_other() {
    let wrong = Texts { peak_events: "10K", history_days: "30", ..TEXTS };
    let errors = Inputs::read(Workload::Ledger, &wrong).unwrap_err();
    let expected = "\
the plan: 2 errors
  --peak-events: \"10K\" is less than the average of a day, 13889 a second; write 13889 or more, or fewer --events-per-day
  --history-days: \"30\" is less than --hot-days; write 90 or more";
    assert_eq!(errors.to_string(), expected);
}
