//! What is measured: figures of runs, in whole numbers of their unit, and how they spread.

use std::collections::BTreeMap;

use serde::Serialize;

/// A figure that each run of a scenario has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// Its name in JSON, which ends with the unit.
    pub(super) name: &'static str,
    /// The head of its column.
    pub(super) title: &'static str,
    pub(super) shown: Shown,
}

/// How a figure is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Count,
    /// A thousandth of the unit of its title.
    Thousandths,
    /// Bytes as megabytes.
    Megabytes,
    /// 1 or 0.
    YesNo,
}

impl Shown {
    pub(super) fn text(self, value: u64) -> String {
        match self {
            Shown::Count => crate::commands::output::grouped(value),
            Shown::Thousandths => thousandths(value),
            Shown::Megabytes => crate::commands::output::grouped(value / 1_000_000),
            Shown::YesNo => if value == 0 { "no" } else { "yes" }.to_owned(),
        }
    }
}

/// Writes thousandths with as many digits behind the point as matter.
pub(super) fn thousandths(value: u64) -> String {
    let (whole, rest) = (value / 1_000, value % 1_000);
    match whole {
        0..10 => format!("{whole}.{rest:03}"),
        10..100 => format!("{whole}.{}", rest / 100),
        _ => crate::commands::output::grouped(whole),
    }
}

/// The figures of one run, by name.
pub(super) type Run = BTreeMap<&'static str, u64>;

/// One who runs, and the runs.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) name: String,
    /// In the order of the rounds.
    pub(super) runs: Vec<Run>,
    /// What the main figure was in each tenth of a run, run by run.
    pub(super) tenths: Vec<Vec<u64>>,
}

impl Contestant {
    pub(super) fn new(name: impl Into<String>) -> Contestant {
        Contestant { name: name.into(), runs: Vec::new(), tenths: Vec::new() }
    }

    /// Returns how a figure spreads over the runs, if any has it.
    pub(super) fn spread(&self, figure: &str) -> Option<Spread> {
        spread(self.runs.iter().filter_map(|run| run.get(figure)).copied())
    }

    /// Returns how a figure compares with another contestant's, in thousandths, round by round.
    pub(super) fn ratio(&self, first: &Contestant, figure: &str) -> Option<Spread> {
        let pairs = self.runs.iter().zip(&first.runs);
        spread(
            pairs.filter_map(|(own, other)| {
                (own.get(figure)? * 1_000).checked_div(*other.get(figure)?)
            }),
        )
    }

    /// Returns the median of each tenth.
    pub(super) fn curve(&self) -> Vec<u64> {
        let tenths = self.tenths.first().map_or(0, Vec::len);
        let of = |tenth: usize| self.tenths.iter().filter_map(move |run| run.get(tenth)).copied();
        (0..tenths).filter_map(|tenth| spread(of(tenth))).map(|spread| spread.median).collect()
    }
}

/// The least, the middle and the most of some values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Spread {
    pub(super) min: u64,
    pub(super) median: u64,
    pub(super) max: u64,
}

pub(super) fn spread(values: impl Iterator<Item = u64>) -> Option<Spread> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    // Of an even number the two in the middle share.
    let even = values.len().is_multiple_of(2);
    let median = if even { values[middle - 1].midpoint(upper) } else { upper };
    Some(Spread { min: values[0], median, max: values[values.len() - 1] })
}

/// Returns the value below which so many thousandths of sorted values lie, by nearest rank.
pub(super) fn percentile(sorted: &[u64], thousandths: usize) -> u64 {
    let rank = (sorted.len() * thousandths).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// What came of a scenario.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) scenario: &'static str,
    /// What was done, in a sentence or two.
    pub(super) about: String,
    /// What contestants are compared by first; the rest follow.
    pub(super) figures: Vec<Figure>,
    /// How many of the figures, all of one unit, are plotted.
    pub(super) plotted: usize,
    pub(super) contestants: Vec<Contestant>,
}

impl Outcome {
    pub(super) fn main(&self) -> Figure {
        self.figures[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contestant(values: &[u64]) -> Contestant {
        let runs = values.iter().map(|value| Run::from([("speed", *value)])).collect();
        Contestant { runs, ..Contestant::new("it") }
    }

    #[test]
    fn a_spread_is_of_the_values_in_any_order() {
        let rows: [(&[u64], (u64, u64, u64)); 4] = [
            (&[5], (5, 5, 5)),
            (&[9, 1, 4], (1, 4, 9)),
            (&[1, 4, 9, 6], (1, 5, 9)),
            (&[7, 7], (7, 7, 7)),
        ];
        for (values, (min, median, max)) in rows {
            assert_eq!(contestant(values).spread("speed"), Some(Spread { min, median, max }));
        }
        assert_eq!(contestant(&[]).spread("speed"), None);
        assert_eq!(contestant(&[1]).spread("size"), None);
    }

    #[test]
    fn ratios_are_of_one_round_each() {
        // Both are as fast in each round, however much the rounds differ.
        let ratio = contestant(&[100, 50, 10]).ratio(&contestant(&[100, 50, 10]), "speed");
        assert_eq!(ratio, Some(Spread { min: 1_000, median: 1_000, max: 1_000 }));
        let ratio = contestant(&[100, 100]).ratio(&contestant(&[50, 0]), "speed");
        assert_eq!(ratio, Some(Spread { min: 2_000, median: 2_000, max: 2_000 }));
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=1_000).collect();
        let rows = [(500, 500), (950, 950), (990, 990), (999, 999), (1_000, 1_000)];
        for (thousandths, value) in rows {
            assert_eq!(percentile(&values, thousandths), value);
        }
        assert_eq!(percentile(&[3], 500), 3);
        assert_eq!(percentile(&[], 500), 0);
    }

    #[test]
    fn figures_have_the_digits_that_matter() {
        let rows = [(0, "0.000"), (1_234, "1.234"), (12_345, "12.3"), (1_234_567, "1,234")];
        for (value, text) in rows {
            assert_eq!(thousandths(value), text);
        }
    }
}
