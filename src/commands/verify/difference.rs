//! Which epoch made a view wrong, and which rows of it.

use std::collections::BTreeMap;

use anyhow::Context;
use trueup_ledger::table::Rows;
use trueup_ledger::{Epoch, Row, Scale, View};
use trueup_sinks::rows_at;

use super::published::Cut;
use super::replay::{Log, Stopped};
use super::{alerts, in_epoch};
use crate::commands::meter;
use crate::commands::output::escaped;
use crate::commands::store::Opened;
use crate::exit::{self, Exit};

/// How many keys of a view are shown with their rows.
const KEYS_SHOWN: usize = 5;

/// Looks whether the rows were wrong before the epoch at which a replay stopped over a difference;
/// returns the error that names the earlier epoch.
pub(super) fn before(
    opened: &Opened,
    log: &mut Log,
    cuts: &[Cut],
    stopped: Stopped,
) -> anyhow::Result<anyhow::Error> {
    let earlier = &cuts[..stopped.place];
    let Some(last) = earlier.last() else {
        return Ok(stopped.error);
    };
    if Exit::of(&stopped.error) != Exit::Difference {
        return Ok(stopped.error);
    }
    let expected = views(opened, log, earlier)?;
    if differing(last, &expected).is_empty() {
        return Ok(stopped.error);
    }
    drop(expected);
    locate(opened, log, earlier)
}

/// Finds by bisection an epoch whose rows are wrong while those of the epoch before are right;
/// the rows at the last epoch of `cuts` are known to be wrong. Returns the error that says it.
pub(super) fn locate(
    opened: &Opened,
    log: &mut Log,
    cuts: &[Cut],
) -> anyhow::Result<anyhow::Error> {
    let (mut right, mut wrong) = (0, cuts.len());
    let steps = u64::from(cuts.len().max(1).ilog2()) + 1;
    let bar = meter::bar(steps, "looking for the first bad epoch");
    let mut known: Option<(usize, BTreeMap<View, Rows>)> = None;
    while wrong - right > 1 {
        let middle = right + (wrong - right) / 2;
        let expected = views(opened, log, &cuts[..middle])?;
        if differing(&cuts[middle - 1], &expected).is_empty() {
            right = middle;
        } else {
            wrong = middle;
            known = Some((middle, expected));
        }
        bar.inc(1);
    }
    let expected = match known {
        Some((place, expected)) if place == wrong => expected,
        _ => views(opened, log, &cuts[..wrong])?,
    };
    bar.finish_and_clear();
    let cut = &cuts[wrong - 1];
    let mut what = String::new();
    for view in differing(cut, &expected) {
        let published = rows_at(&opened.log, view, Some(cut.epoch), None)
            .with_context(|| format!("reading {} at epoch {}", view.name(), cut.epoch))?;
        what.push_str(&described(view, &published, &expected[&view], opened.scale));
    }
    let error = exit::difference(what.trim_start());
    Ok(in_epoch(cut.epoch, "bad")(error))
}

fn views(opened: &Opened, log: &mut Log, cuts: &[Cut]) -> anyhow::Result<BTreeMap<View, Rows>> {
    let hidden = indicatif::ProgressBar::hidden();
    let replayed = log.replay(cuts, false, &hidden);
    let mut views = replayed.map_err(|stopped| stopped.error)?.views();
    let last = cuts.last().map_or(Epoch(0), |cut| cut.epoch);
    views.insert(View::Alerts, alerts::at(opened, &log.rules, last)?);
    Ok(views)
}

/// Names the views that were published with another digest.
pub(super) fn differing(cut: &Cut, expected: &BTreeMap<View, Rows>) -> Vec<View> {
    let published = |view: &View| cut.digests.get(view).copied().unwrap_or_default();
    expected
        .iter()
        .filter(|(view, rows)| rows.digest() != published(view))
        .map(|(view, _)| *view)
        .collect()
}

/// Shows the rows that differ, those of one key side by side.
fn described(view: View, published: &Rows, expected: &Rows, scale: Scale) -> String {
    let mut sums: BTreeMap<&Row, (i64, i64)> = BTreeMap::new();
    for (row, sum) in &published.0 {
        sums.entry(row).or_default().0 = *sum;
    }
    for (row, sum) in &expected.0 {
        sums.entry(row).or_default().1 = *sum;
    }
    sums.retain(|_, (published, expected)| published != expected);
    let mut text = format!("\nview {}: {} rows differ", view.name(), sums.len());
    let mut keys = 0;
    let mut last = None;
    for (row, (published, expected)) in sums {
        let key = &row[..view.key_columns()];
        if last != Some(key) {
            keys += 1;
            last = Some(key);
        }
        if keys > KEYS_SHOWN {
            text.push_str("\n  …");
            break;
        }
        let cells: Vec<String> = row.iter().map(|datum| escaped(&datum.display(scale))).collect();
        let times = match (published, expected) {
            (1, 0) => "published, wrongly".to_owned(),
            (0, 1) => "not published    ".to_owned(),
            (published, expected) => format!("there {published} times, not {expected}"),
        };
        text.push_str(&format!("\n  {times}: {}", cells.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_ledger::Datum;

    fn trial(tenant: &str, units: i128) -> Row {
        let mut row: Row = [tenant, "EUR"].map(|text| Datum::Text(text.into())).to_vec();
        row.extend([units, units, 0].map(Datum::Amount));
        row
    }

    #[test]
    fn rows_of_one_key_stand_side_by_side() {
        let (mut published, mut expected) = (Rows::default(), Rows::default());
        for n in 0..9 {
            published.add(trial(&format!("t{n}"), 150), 1);
            expected.add(trial(&format!("t{n}"), 250), 1);
        }
        published.add(trial("same", 1), 1);
        expected.add(trial("same", 1), 1);
        let scale = Scale::new(2).unwrap();
        let text = described(View::TrialBalance, &published, &expected, scale);
        let lines: Vec<&str> = text.trim_start().lines().collect();
        assert_eq!(lines[0], "view trial_balance: 18 rows differ");
        assert_eq!(lines[1], "  published, wrongly: t0 | EUR | 1.5 | 1.5 | 0");
        assert_eq!(lines[2], "  not published    : t0 | EUR | 2.5 | 2.5 | 0");
        assert_eq!(lines.len(), 1 + 2 * KEYS_SHOWN + 1);
    }
}
