//! How far the books of each tenant can be relied on (`data_quality`): counted from the finished rows
//! of other views, and from how complete each service is.

use std::collections::BTreeMap;

use serde_json::json;

use super::books::{integer, rows, text};
use super::controls::Completeness;
use crate::View;
use crate::table::{Datum, Row, Rows};

pub(super) fn data_quality(
    imbalances: &Rows,
    reconciliation: &Rows,
    completeness: &[Completeness<'_>],
) -> Rows {
    let matched = Datum::Text("matched".into());
    let state = View::Reconciliation.column_index("state").unwrap_or_default();
    let unmatched = reconciliation.0.keys().filter(|row| row[state] != matched);
    let mut all = counted("open_imbalances", imbalances.0.keys());
    all.extend(counted("unmatched", unmatched));
    for service in completeness {
        let through = service.complete_through;
        let detail = json!({
            "max_sequence": service.max_sequence.to_string(),
            "verified_through": service.verified_through.to_string(),
        });
        all.push(vec![
            text(service.tenant),
            text("completeness"),
            text(service.service),
            text(if through == service.max_sequence { "ok" } else { "open" }),
            integer(through),
            text(&detail.to_string()),
        ]);
    }
    rows(all)
}

/// Counts rows by their first two columns: the tenant, and the detector or processor.
fn counted<'a>(measure: &str, rows: impl Iterator<Item = &'a Row>) -> Vec<Row> {
    let mut counts: BTreeMap<&[Datum], u64> = BTreeMap::new();
    for row in rows {
        *counts.entry(&row[..2]).or_default() += 1;
    }
    let row = |(key, count): (&[Datum], u64)| {
        vec![
            key[0].clone(),
            text(measure),
            key[1].clone(),
            text("open"),
            integer(count),
            text("{}"),
        ]
    };
    counts.into_iter().map(row).collect()
}
