//! Rows of a tenant, and their values by the names of their columns.

use anyhow::Context;
use trueup_ledger::table::Rows;
pub(super) use trueup_ledger::timestamp::DAY_MICROS;
use trueup_ledger::{Datum, Epoch, View};
use trueup_sinks::rows_at;

use super::filter::Filter;
use super::query;
use super::store::Opened;

/// Returns the rows of a tenant at an epoch.
pub(super) fn of_tenant(
    opened: &Opened,
    view: View,
    tenant: &str,
    epoch: Epoch,
) -> anyhow::Result<Rows> {
    let filter = Filter::default().text(view, "tenant", tenant);
    let wants = |table: &_, row| filter.wants(table, row);
    let rows = rows_at(&opened.log, view, Some(epoch), Some(&wants))
        .with_context(|| format!("reading {} at epoch {epoch}", view.name()))?;
    query::check(&rows, view)?;
    Ok(rows)
}

/// A row whose view is known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) view: View,
    pub(super) row: &'a [Datum],
}

impl<'a> Fields<'a> {
    fn value(self, column: &str) -> Option<&'a Datum> {
        self.row.get(self.view.column_index(column)?)
    }

    /// Returns a text; empty where the column has none.
    pub(super) fn text(self, column: &str) -> &'a str {
        match self.value(column) {
            Some(Datum::Text(text)) => text,
            _ => "",
        }
    }

    /// Returns the units of an amount.
    pub(super) fn units(self, column: &str) -> i128 {
        match self.value(column) {
            Some(Datum::Amount(units)) => *units,
            _ => 0,
        }
    }

    /// Returns a whole number, or the microseconds of an instant.
    pub(super) fn integer(self, column: &str) -> i64 {
        match self.value(column) {
            Some(Datum::Integer(number) | Datum::Instant(number)) => *number,
            _ => 0,
        }
    }
}

/// Returns the fields of all rows.
pub(super) fn fields(view: View, rows: &Rows) -> impl Iterator<Item = Fields<'_>> {
    rows.0.keys().map(move |row| Fields { view, row })
}

/// Takes a subject of two names apart: what is before the first `/`, and what behind it. In either
/// `%` and `/` are written `%25` and `%2F`.
pub(super) fn two_names(subject: &str) -> (String, String) {
    let unescaped = |text: &str| text.replace("%2F", "/").replace("%25", "%");
    match subject.split_once('/') {
        Some((first, second)) => (unescaped(first), unescaped(second)),
        None => (unescaped(subject), String::new()),
    }
}

/// Writes a command for a POSIX shell, whatever names are in it.
pub(super) fn command(words: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c);
    let quoted = |word: &&str| match !word.is_empty() && word.chars().all(plain) {
        true => (*word).to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_as_they_are_written() {
        let names = |subject| two_names(subject);
        assert_eq!(names("t%2F1/e%252F"), ("t/1".to_owned(), "e%2F".to_owned()));
        assert_eq!(names("/account/e"), (String::new(), "account/e".to_owned()));
        assert_eq!(names("t"), ("t".to_owned(), String::new()));
    }

    #[test]
    fn commands_can_be_pasted() {
        let line = command(&["trueup", "query", "--where", "a=b c", "--tenant", "O'Neil", ""]);
        assert_eq!(line, "trueup query --where 'a=b c' --tenant 'O'\\''Neil' ''");
    }
}
