//! Compares the rows of views with expectations.

use std::collections::BTreeMap;

use super::{Expectation, Extent, Pattern};
use crate::table::{Row, Rows};
use crate::{Scale, View};

/// Holds one expectation against the views. Each row may satisfy one listed row only.
pub(super) fn check(expectation: &Expectation, views: &BTreeMap<View, Rows>) -> Result<(), String> {
    let view = expectation.view;
    let rows = views.get(&view).ok_or_else(|| format!("there is no view {}", view.name()))?;
    if let Some(defect) = rows.defect(view) {
        return Err(defect);
    }
    let mut left: Vec<&Row> =
        rows.0.keys().filter(|row| is_match(&expectation.filter, row)).collect();
    let mut missing = Vec::new();
    // The most exact rows choose first, so that a `*` takes what is left.
    let mut wanted: Vec<_> = expectation.rows.iter().collect();
    wanted.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
    for pattern in wanted {
        match left.iter().position(|row| is_match(pattern, row)) {
            Some(found) => {
                left.remove(found);
            }
            None => missing.push(pattern),
        }
    }
    let is_more = expectation.extent == Extent::All && !left.is_empty();
    if missing.is_empty() && !is_more {
        return Ok(());
    }
    let mut message = format!("line {}: {} differs", expectation.line, view.name());
    for pattern in missing {
        message.push_str(&format!("\n  missing: {}", describe(view, pattern)));
    }
    for row in left {
        let values: Vec<_> = row.iter().map(|value| value.display(Scale::DEFAULT)).collect();
        let label = if expectation.extent == Extent::All { "surplus" } else { "there is" };
        message.push_str(&format!("\n  {label}: {}", values.join(" | ")));
    }
    Err(message)
}

fn is_match(pattern: &Pattern, row: &Row) -> bool {
    pattern.iter().all(|(column, value)| row.get(*column) == Some(value))
}

fn describe(view: View, pattern: &Pattern) -> String {
    let values: Vec<_> = pattern
        .iter()
        .map(|(column, value)| {
            let name = view.columns()[*column].name;
            format!("{name}={}", value.display(Scale::DEFAULT))
        })
        .collect();
    values.join(" | ")
}
