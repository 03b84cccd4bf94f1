//! `completeness`: how far the sequence of a service has arrived, and is what its control totals say.

use trueup_ledger::Table;
use trueup_ledger::table::Value;

use crate::views::source_continuity::{Service, integer};

/// A row of `data_quality`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completeness {
    /// The last sequence of the unbroken run from the first, but not beyond the one before the first
    /// range that mismatches.
    pub(super) complete_through: u64,
    /// How far control totals that match cover the sequences from the first on.
    pub(super) verified_through: u64,
    /// The largest sequence seen.
    pub(super) max: u64,
}

impl Completeness {
    pub(super) fn push(self, (tenant, service): &Service, table: &mut Table, diff: i8) {
        let Completeness { complete_through, verified_through, max } = self;
        let state = if complete_through == max { "ok" } else { "open" };
        let detail =
            format!(r#"{{"max_sequence":"{max}","verified_through":"{verified_through}"}}"#);
        let row = [
            Value::Text(tenant),
            Value::Text("completeness"),
            Value::Text(service),
            Value::Text(state),
            integer(complete_through),
            Value::Text(&detail),
        ];
        table.push(&row, diff);
    }
}
