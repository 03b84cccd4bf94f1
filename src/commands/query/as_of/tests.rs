//! What is answered for a day and an epoch, against the reference: its postings of the events of
//! the epochs up to there, folded once more by a witness of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use tempfile::TempDir;
use trueup_ledger::reference::Reference;
use trueup_ledger::{Declaration, Event, Fact, Scale, Timestamp};
use trueup_sources::{Format, Json};

use super::*;
use crate::cli::{Cli, Command};
use crate::commands::{run, store};
use crate::generate::{Workload, write_jsonl};

/// A store that was made in epochs of 200 records, and its log.
fn books(seed: u64) -> (TempDir, Opened, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = (dir.path().join("store"), dir.path().join("log.jsonl"));
    let workload = Workload { events: 900, seed, tenants: 3, ..Workload::default() };
    let mut lines = Vec::new();
    write_jsonl(&workload, &mut lines).unwrap();
    fs::write(&log, with_desks(&lines)).unwrap();
    let place = ["--store", store.to_str().unwrap(), "--input", log.to_str().unwrap()];
    let cut = ["--until-caught-up", "--commit-max-records", "200", "--commit-interval", "1h"];
    let line = [&["trueup", "run", "--workers", "2"], place.as_slice(), &cut].concat();
    let Command::Run(args) = Cli::parse_from(line).command else { panic!("not `run`") };
    run::run(&args).unwrap();
    let opened = store::open(&store::location(store.to_str().unwrap()).unwrap()).unwrap();
    (dir, opened, log)
}

/// Puts among some records holds that nothing resolves, on accounts of either normal side, one of
/// which becomes debit-normal on the way.
fn with_desks(lines: &[u8]) -> Vec<u8> {
    let common = |id: usize, kind: &str, day: usize| {
        let at = Timestamp::display_date(20_450 + i32::try_from(day).unwrap());
        format!(
            "\"v\":1,\"event_id\":\"e{id}\",\"tenant\":\"tenant-0000\",\"kind\":\"{kind}\",\
             \"effective_at\":\"{at}T23:59:59.9999999Z\",\"recorded_at\":\"{at}T00:00:00Z\",\
             \"source\":{{\"service\":\"desk\"}}"
        )
    };
    let declared = |id: usize, name: &str, side: &str| {
        let account =
            format!("{{\"name\":\"{name}\",\"normal_side\":\"{side}\",\"overdraft\":\"allowed\"}}");
        format!("{{{},\"account\":{account}}}\n", common(id, "account", id))
    };
    let hold = |id: usize| {
        let line = |desk: usize, side: &str| {
            let (account, amount) = (["desk:a", "desk:b", "desk:c"][desk % 3], id + 1);
            format!(
                "{{\"account\":\"{account}\",\"side\":\"{side}\",\"amount\":\"{amount}\",\
                 \"currency\":\"EUR\"}}"
            )
        };
        let lines = [line(id, "debit"), line(id / 3, "credit")].join(",");
        let transaction = format!("\"transaction_id\":\"hold-{id}\",\"postings\":[{lines}]");
        let expires = "\"expires_at\":\"2027-01-01T00:00:00Z\"";
        format!("{{{},{transaction},{expires}}}\n", common(id, "hold", id * 37 % 60))
    };
    let mut all = [declared(100, "desk:a", "credit"), declared(101, "desk:b", "debit")].concat();
    for (place, line) in std::str::from_utf8(lines).unwrap().lines().enumerate() {
        match place {
            700 => all += &declared(102, "desk:a", "debit"),
            _ if place % 18 == 0 => all += &hold(place / 18),
            _ => {}
        }
        all += line;
        all.push('\n');
    }
    all.into_bytes()
}

/// What the reference makes of the records of the epochs up to one.
struct Witness {
    views: BTreeMap<View, Rows>,
    /// The normal sides that the declarations give, by tenant and account.
    credit_normal: BTreeSet<(String, String)>,
}

fn declaration<'e>(event: &'e Event<'_>) -> Option<&'e Declaration<'e>> {
    match event.fact.as_deref() {
        Some(Fact::Account(declaration)) => Some(declaration),
        _ => None,
    }
}

impl Witness {
    fn at(opened: &Opened, log: &Path, epoch: Epoch) -> Witness {
        let end = opened.log.read(epoch).unwrap().inputs[0].to.offset;
        let bytes = fs::read(log).unwrap();
        let read = &bytes[..usize::try_from(end).unwrap()];
        let mut reference = Reference::new(Scale::DEFAULT);
        let mut declared: BTreeMap<(String, String), Event<'_>> = BTreeMap::new();
        for line in read.split(|byte| *byte == b'\n') {
            let event = Json.decode(line).and_then(|decoded| decoded.draft.admit(Scale::DEFAULT));
            let Ok(event) = event else { continue };
            reference.insert(event.clone());
            if declaration(&event).is_some() {
                // Of two contents of one event the older counts.
                let identity = (event.tenant.to_string(), event.event_id.to_string());
                let known = declared.entry(identity).or_insert_with(|| event.clone());
                if event.recorded_at < known.recorded_at {
                    *known = event;
                }
            }
        }
        let mut newest: BTreeMap<(String, String), &Event<'_>> = BTreeMap::new();
        for event in declared.values() {
            let account = declaration(event).unwrap().account.to_string();
            let known = newest.entry((event.tenant.to_string(), account)).or_insert(event);
            // Equally new ones come by event id here, and the smaller counts.
            if event.recorded_at > known.recorded_at {
                *known = event;
            }
        }
        let credit =
            |event: &Event<'_>| declaration(event).unwrap().terms.normal_side == Side::Credit;
        let credit_normal =
            newest.into_iter().filter(|(_, event)| credit(event)).map(|(key, _)| key).collect();
        Witness { views: reference.views(), credit_normal }
    }

    /// Returns the lines effective by a day, of one tenant if there is one.
    fn lines(&self, date: i32, tenant: Option<&str>) -> Vec<&Row> {
        let lines = self.views[&View::Postings].0.keys();
        let wanted = |line: &&Row| {
            day(line) <= date && tenant.is_none_or(|tenant| named(line, "tenant") == tenant)
        };
        lines.filter(wanted).collect()
    }

    fn rows(&self, view: View, date: i32, tenant: Option<&str>) -> Rows {
        let mut sums: BTreeMap<Row, Vec<i128>> = BTreeMap::new();
        for line in self.lines(date, tenant) {
            let posted = named(line, "status") == "posted";
            let mut key: Row = vec![line[0].clone()];
            match view {
                View::Postings => key.clone_from(line),
                View::Balances => key.extend([line[4].clone(), line[7].clone()]),
                View::TrialBalance => key.push(line[7].clone()),
                _ => key.extend([line[4].clone(), line[7].clone(), Datum::Date(day(line))]),
            }
            if !posted && matches!(view, View::TrialBalance | View::DailyMovements) {
                continue;
            }
            let place = 2 * usize::from(!posted) + usize::from(named(line, "side") == "credit");
            let Datum::Amount(amount) = line[6] else { panic!("{line:?}") };
            sums.entry(key).or_insert_with(|| vec![0; 4])[place] += amount;
        }
        let mut rows = Rows::default();
        for (mut key, sum) in sums {
            let net = sum[0] - sum[1];
            let of_account = || (named(&key, "tenant").to_owned(), account(&key));
            let amounts = match view {
                View::Postings => vec![],
                View::Balances if self.credit_normal.contains(&of_account()) => {
                    vec![sum[0], sum[1], sum[2], sum[3], net, net + sum[2]]
                }
                View::Balances => vec![sum[0], sum[1], sum[2], sum[3], net, net - sum[3]],
                _ => vec![sum[0], sum[1], net],
            };
            key.extend(amounts.into_iter().map(Datum::Amount));
            rows.add(key, 1);
        }
        rows
    }
}

fn named<'a>(line: &'a Row, column: &str) -> &'a str {
    Fields { view: View::Postings, row: line }.text(column)
}

fn account(balance: &Row) -> String {
    Fields { view: View::Balances, row: balance }.text("account").to_owned()
}

fn day(line: &Row) -> i32 {
    let Datum::Instant(micros) = line[8] else { panic!("{line:?}") };
    let text = Timestamp::display_micros(micros);
    Timestamp::parse(&text).unwrap().utc_date()
}

const ASKED: [View; 4] = [View::Postings, View::Balances, View::DailyMovements, View::TrialBalance];

#[test]
fn every_day_and_epoch_is_what_the_reference_says() {
    let (mut held, mut told) = (0, BTreeSet::new());
    for seed in [81, 82] {
        let (_dir, opened, log) = books(seed);
        assert!(opened.head >= Epoch(4));
        for epoch in [Epoch(1), Epoch(opened.head.0 / 2), opened.head] {
            let witness = Witness::at(&opened, &log, epoch);
            let days: BTreeSet<i32> = witness.views[&View::Postings].0.keys().map(day).collect();
            let days: Vec<i32> = days.into_iter().collect();
            let (first, last) = (days[0], days[days.len() - 1]);
            let some = (1..4).map(|part| days[part * (days.len() - 1) / 4]);
            for date in some.chain([first - 1, first, last, i32::MAX]) {
                let tenants = ["", named(witness.lines(last, None)[0], "tenant")];
                for tenant in tenants.map(|name| Some(name).filter(|name| !name.is_empty())) {
                    for view in ASKED {
                        let found = rows(&opened, view, AsOf { epoch, date, tenant }).unwrap();
                        let wanted = witness.rows(view, date, tenant);
                        assert_eq!(found, wanted, "{view:?} {seed} {epoch} {date} {tenant:?}");
                        assert_eq!(found.defect(view), None);
                    }
                }
            }
            for view in ASKED {
                let asked = AsOf { epoch, date: last, tenant: None };
                let all = rows(&opened, view, asked).unwrap();
                assert_eq!(all, witness.views[&view], "after the last day all of {view:?}");
            }
            for row in witness.rows(View::Balances, days[days.len() / 2], None).0.keys() {
                let amount = |column| Fields { view: View::Balances, row }.units(column);
                if (amount("pending_debits"), amount("pending_credits")) != (0, 0) {
                    let key = (
                        Fields { view: View::Balances, row }.text("tenant").to_owned(),
                        account(row),
                    );
                    held += 1;
                    told.insert(witness.credit_normal.contains(&key));
                }
            }
        }
    }
    assert!(held >= 12 && told.len() == 2, "{held} balances with something pending, {told:?}");
}

#[test]
fn views_without_days_are_refused_by_name() {
    let (_dir, opened, _log) = books(84);
    for view in View::ALL.into_iter().filter(|view| !ASKED.contains(view)) {
        let asked = AsOf { epoch: opened.head, date: 0, tenant: None };
        let said = rows(&opened, view, asked).unwrap_err();
        assert_eq!(exit::Exit::of(&said).code(), 2);
        let said = said.to_string();
        for part in [view.name(), "postings, balances, daily_movements and trial_balance"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn the_normal_side_is_told_by_whatever_is_pending() {
    let balance = |pending: [i128; 2], available: i128| {
        let mut rows = Rows::default();
        let amounts = [100, 30, pending[0], pending[1], 70, available];
        rows.add(row(&["acme", "cash", "EUR"], &amounts), 1);
        normal_sides(&rows).map(|sides| sides.into_values().next())
    };
    let rows = [
        ([5, 0], 70, Some(Side::Debit)),
        ([5, 0], 75, Some(Side::Credit)),
        ([0, 5], 65, Some(Side::Debit)),
        ([0, 5], 70, Some(Side::Credit)),
        ([5, 5], 65, Some(Side::Debit)),
        ([5, 5], 75, Some(Side::Credit)),
        ([5, 9], 61, Some(Side::Debit)),
        ([5, 9], 75, Some(Side::Credit)),
    ];
    for (pending, available, side) in rows {
        assert_eq!(balance(pending, available).unwrap(), side, "{pending:?} {available}");
    }
    assert_eq!(exit::Exit::of(&balance([5, 9], 70).unwrap_err()).code(), 1);
}
