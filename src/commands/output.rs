//! What commands print: grids of cells as a table, CSV or JSON, and notes beside them.
//!
//! Guarantees: CSV and JSON hold the data as it is (amounts as plain decimals, in JSON as texts,
//! so that no reader makes floats of them). Tables are for eyes: control characters and those that
//! turn the direction of text are escaped, so no account name can paint over another.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell, CellAlignment, Table};
use trueup_ledger::{ColumnType, View};

use crate::cli::OutputFormat;
use crate::exit::OutputClosed;
pub(super) use crate::numbers::grouped;

/// A column of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// How cells of a column look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To the left; a text in JSON.
    Text,
    /// To the right; a text in JSON.
    Amount,
    /// To the right; a number in JSON.
    Integer,
}

/// Returns the columns of a view.
pub(super) fn columns_of(view: View) -> Vec<Column> {
    let column = |column: &trueup_ledger::Column| Column {
        name: column.name,
        kind: match column.ty {
            ColumnType::Text | ColumnType::Date | ColumnType::Instant => Kind::Text,
            ColumnType::Amount => Kind::Amount,
            ColumnType::Integer => Kind::Integer,
        },
    };
    view.columns().iter().map(column).collect()
}

/// Standard output, for which a reader that went away is a silent end.
pub(super) struct Output(io::BufWriter<io::StdoutLock<'static>>);

impl Output {
    pub(super) fn open() -> Output {
        Output(io::BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, OutputClosed),
        _ => error,
    }
}

/// Prints a line on standard output.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = Output::open();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.context("writing to standard output")
}

/// Prints a line on standard error, whether somebody reads it or not.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints rows on standard output.
pub(super) fn print(
    format: OutputFormat,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> anyhow::Result<()> {
    let mut out = Output::open();
    let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    write(&mut out, format, columns, rows, coloured)
        .and_then(|()| out.flush())
        .context("writing to standard output")
}

/// Writes rows in a format. A row of a table is one line, however long: broken in the middle, an
/// amount or a name is read wrongly.
pub(super) fn write(
    out: &mut dyn Write,
    format: OutputFormat,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
    coloured: bool,
) -> io::Result<()> {
    match format {
        OutputFormat::Table => write_table(out, columns, rows, coloured),
        OutputFormat::Csv => write_csv(out, columns, rows),
        OutputFormat::Json => write_json(out, columns, rows),
    }
}

fn write_table(
    out: &mut dyn Write,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
    coloured: bool,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(columns.iter().map(|column| {
        let cell = Cell::new(column.name);
        if coloured { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    if coloured {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| Cell::new(escaped(cell))));
    }
    for (place, column) in columns.iter().enumerate() {
        if column.kind != Kind::Text
            && let Some(shown) = table.column_mut(place)
        {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{}", table.trim_fmt())
}

fn write_csv(
    out: &mut dyn Write,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().from_writer(out);
    let plain = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    };
    writer.write_record(columns.iter().map(|column| column.name)).map_err(plain)?;
    for row in rows {
        writer.write_record(&row).map_err(plain)?;
    }
    writer.flush()
}

fn write_json(
    out: &mut dyn Write,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut before = "[\n ";
    for row in rows {
        out.write_all(before.as_bytes())?;
        write_object(out, columns, &row)?;
        before = ",\n ";
    }
    let end = if before.starts_with('[') { "[]\n" } else { "\n]\n" };
    out.write_all(end.as_bytes())
}

/// Writes a row as a JSON object, without a line's end.
pub(super) fn write_object(
    out: &mut dyn Write,
    columns: &[Column],
    row: &[String],
) -> io::Result<()> {
    let mut between = "{";
    for (column, cell) in columns.iter().zip(row) {
        write!(out, "{between}\"{}\":", column.name)?;
        match column.kind {
            Kind::Integer => out.write_all(cell.as_bytes())?,
            Kind::Text | Kind::Amount => serde_json::to_writer(&mut *out, cell)?,
        }
        between = ",";
    }
    out.write_all(b"}")
}

/// Escapes what would not be shown as one character of a line from left to right.
pub(super) fn escaped(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
    };
    if !text.contains(hidden) {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut shown, c| {
        if hidden(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "account", kind: Kind::Text },
        Column { name: "amount", kind: Kind::Amount },
        Column { name: "line", kind: Kind::Integer },
    ];

    fn rendered(format: OutputFormat, rows: &[[&str; 3]]) -> String {
        let mut out = Vec::new();
        let cells = rows.iter().map(|row| row.map(str::to_owned).to_vec());
        write(&mut out, format, COLUMNS, cells, false).unwrap();
        String::from_utf8(out).unwrap()
    }

    const ROWS: &[[&str; 3]] =
        &[["cash, \"petty\"", "-1.5", "0"], ["a\nb\u{1b}[2J\u{202e}", "10000", "12"]];

    #[test]
    fn csv_keeps_the_data() {
        assert_eq!(
            rendered(OutputFormat::Csv, ROWS),
            "account,amount,line\n\"cash, \"\"petty\"\"\",-1.5,0\n\
             \"a\nb\u{1b}[2J\u{202e}\",10000,12\n"
        );
        assert_eq!(rendered(OutputFormat::Csv, &[]), "account,amount,line\n");
    }

    #[test]
    fn json_has_amounts_as_texts() {
        let text = rendered(OutputFormat::Json, ROWS);
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[0]["amount"], "-1.5");
        assert_eq!(parsed[1]["line"], 12);
        assert_eq!(parsed[1]["account"], ROWS[1][0]);
        assert_eq!(text.lines().count(), 4);
        assert_eq!(rendered(OutputFormat::Json, &[]), "[]\n");
    }

    #[test]
    fn tables_align_amounts_and_escape() {
        let text = rendered(OutputFormat::Table, ROWS);
        assert!(text.contains("a\\nb\\u{1b}[2J\\u{202e}"), "{text}");
        assert!(!text.contains('\u{1b}'));
        let lines: Vec<&str> = text.lines().collect();
        let end = |line: &str, cell: &str| line.find(cell).unwrap() + cell.len();
        let rows: Vec<&&str> =
            lines.iter().filter(|line| line.contains("00") || line.contains("-1.5")).collect();
        assert_eq!(end(rows[0], "-1.5"), end(rows[1], "10000"), "{text}");
    }
}
