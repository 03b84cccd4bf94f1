//! What is said of the outcomes: tables for people, JSON with every run, files for the docs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::figures::{Contestant, Outcome, Run, Spread, thousandths};
use super::machine::Machine;
use super::plot;
use crate::cli::OutputFormat;
use crate::commands::output::{self, Column, Kind};

/// Prints an outcome as a table: of the main figure median, least and most, and how it compares with
/// the first contestant's, round by round; of the others the median.
pub(super) fn print(outcome: &Outcome) -> anyhow::Result<()> {
    let (main, others) = (outcome.main(), &outcome.figures[1..]);
    let number = |name| Column { name, kind: Kind::Amount };
    let mut columns = vec![Column { name: outcome.scenario, kind: Kind::Text }];
    columns.extend([main.title, "min", "max", "of the first"].map(number));
    columns.extend(others.iter().map(|figure| number(figure.title)));
    let row = |contestant: &Contestant| {
        let mut row = vec![contestant.name.clone()];
        let text = |spread: Option<Spread>, of: fn(Spread) -> u64| {
            spread.map_or_else(String::new, |spread| main.shown.text(of(spread)))
        };
        let spread = contestant.spread(main.name);
        row.extend([text(spread, |s| s.median), text(spread, |s| s.min), text(spread, |s| s.max)]);
        let ratio = contestant.ratio(&outcome.contestants[0], main.name);
        row.push(ratio.map_or_else(String::new, |ratio| thousandths(ratio.median)));
        row.extend(others.iter().map(|figure| {
            let spread = contestant.spread(figure.name);
            spread.map_or_else(String::new, |spread| figure.shown.text(spread.median))
        }));
        row
    };
    output::line(&format!("\n{}", outcome.about))?;
    output::print(OutputFormat::Table, &columns, outcome.contestants.iter().map(row))
}

/// Everything, as JSON has it.
#[derive(Serialize)]
struct Bench<'a> {
    machine: &'a Machine,
    seed: u64,
    scenarios: BTreeMap<&'a str, Measured<'a>>,
}

/// What came of a scenario.
#[derive(Serialize)]
struct Measured<'a> {
    about: &'a str,
    main_figure: &'a str,
    contestants: Vec<Judged<'a>>,
}

/// A contestant: each run, and what the tables show.
#[derive(Serialize)]
struct Judged<'a> {
    name: &'a str,
    runs: &'a [Run],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    records_per_second_by_tenth: &'a [Vec<u64>],
    summary: BTreeMap<&'a str, Spread>,
    /// Of the main figure to the first contestant's, in thousandths, round by round.
    ratio_thousandths: Option<Spread>,
}

/// Returns everything as JSON.
pub(super) fn json(machine: &Machine, seed: u64, outcomes: &[Outcome]) -> anyhow::Result<String> {
    let scenarios = outcomes.iter().map(|outcome| (outcome.scenario, measured(outcome))).collect();
    serde_json::to_string(&Bench { machine, seed, scenarios }).context("writing JSON")
}

fn measured(outcome: &Outcome) -> Measured<'_> {
    let main_figure = outcome.main().name;
    let contestants = outcome.contestants.iter().map(|one| Judged {
        name: &one.name,
        runs: &one.runs,
        records_per_second_by_tenth: &one.tenths,
        summary: one
            .runs
            .iter()
            .flat_map(Run::keys)
            .filter_map(|figure| Some((*figure, one.spread(figure)?)))
            .collect(),
        ratio_thousandths: one.ratio(&outcome.contestants[0], main_figure),
    });
    Measured { about: &outcome.about, main_figure, contestants: contestants.collect() }
}

/// Writes `bench.json` and a plot of each scenario.
pub(super) fn write(out: &Path, json: &str, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let place = |name: &str| out.join(name);
    let failed = || format!("writing into {}", out.display());
    fs::create_dir_all(out).with_context(failed)?;
    fs::write(place("bench.json"), format!("{json}\n")).with_context(failed)?;
    for outcome in outcomes {
        let plot = place(&format!("{}.svg", outcome.scenario));
        fs::write(plot, plot::svg(outcome)).with_context(failed)?;
    }
    Ok(())
}
