//! The rows of a transaction as bytes, and what two states of it differ in.

use trueup_ledger::codec::{CodecError, Reader};
use trueup_ledger::table::{Value, decode_row, encode_row};
use trueup_ledger::transaction::RowSink;
use trueup_ledger::{TransactionKey, View};

use super::emitter::Emitter;

/// Set in the number of a view whose row is due at an instant, which follows.
const IS_DUE: u8 = 0x80;

/// A transaction's rows as bytes, so that two states can be compared: one buffer for all rows, each
/// with its view's number in front.
#[derive(Debug, Default)]
pub(crate) struct EncodedRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowSink for EncodedRows {
    fn row(&mut self, view: View, values: &[Value<'_>], due: Option<i64>) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(1024);
        }
        match due {
            None => self.bytes.push(view as u8),
            Some(due) => {
                self.bytes.push(view as u8 | IS_DUE);
                self.bytes.extend_from_slice(&due.to_le_bytes());
            }
        }
        encode_row(values, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }
}

impl EncodedRows {
    fn sorted(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let rows = starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end]);
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        rows
    }
}

/// Emits what is in `new` and not in `old`, and retracts what is in `old` and not in `new`.
pub(crate) fn emit_difference(
    old: &EncodedRows,
    new: &EncodedRows,
    key: TransactionKey,
    emitter: &mut Emitter,
) {
    let (old, new) = (old.sorted(), new.sorted());
    let gone = old.iter().filter(|row| new.binary_search(row).is_err()).map(|row| (*row, -1));
    let come = new.iter().filter(|row| old.binary_search(row).is_err()).map(|row| (*row, 1));
    let mut values = Vec::with_capacity(16);
    for (row, diff) in gone.chain(come) {
        match decoded(row, &mut values) {
            Ok((view, due)) => emitter.change(view, &values, due, diff, key),
            Err(error) => unreachable!("a row cannot be read back: {error}"),
        }
    }
}

fn decoded<'a>(
    row: &'a [u8],
    values: &mut Vec<Value<'a>>,
) -> Result<(View, Option<i64>), CodecError> {
    let mut reader = Reader::new(row);
    let number = reader.byte()?;
    let due = if number & IS_DUE == 0 {
        None
    } else {
        Some(i64::from_le_bytes(reader.bytes(8)?.try_into().map_err(|_| CodecError)?))
    };
    let view = View::ALL[usize::from(number & !IS_DUE)];
    decode_row(view, reader.rest(), values)?;
    Ok((view, due))
}
