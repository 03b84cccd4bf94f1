//! The bytes of what events without a transaction say; the kind, which comes before, says what.

use std::borrow::Cow;

use super::{CodecError, Reader, put_text, put_varint};
use crate::Amount;
use crate::event::{Kind, Side};
use crate::fact::{
    ControlSum, ControlTotal, Declaration, Fact, Month, Overdraft, StatementLine, Terms,
};

/// Appends the terms of an account.
pub fn put_terms(out: &mut Vec<u8>, terms: Terms) {
    let is_credit = u8::from(terms.normal_side == Side::Credit);
    out.push(is_credit | u8::from(terms.overdraft == Overdraft::Forbidden) << 1);
}

/// Reads what [`put_terms`] wrote.
///
/// # Errors
/// [`CodecError`] where it is something else.
pub fn read_terms(reader: &mut Reader<'_>) -> Result<Terms, CodecError> {
    let bits = reader.byte()?;
    let normal_side = if bits & 1 == 0 { Side::Debit } else { Side::Credit };
    let overdraft = if bits & 2 == 0 { Overdraft::Allowed } else { Overdraft::Forbidden };
    if bits < 4 { Ok(Terms { normal_side, overdraft }) } else { Err(CodecError) }
}

pub(super) fn put_fact(out: &mut Vec<u8>, fact: &Fact<'_>) {
    match fact {
        Fact::Account(declaration) => {
            put_terms(out, declaration.terms);
            put_text(out, &declaration.account);
        }
        Fact::Statement(line) => {
            put_text(out, &line.processor);
            put_text(out, &line.reference);
            out.extend_from_slice(&line.amount.0.to_le_bytes());
            put_text(out, &line.currency);
            out.extend_from_slice(&line.value_date.to_le_bytes());
        }
        Fact::Control(control) => {
            put_varint(out, u128::from(control.from));
            put_varint(out, u128::from(control.to));
            put_varint(out, u128::from(control.count));
            put_varint(out, control.totals.len() as u128);
            for sum in &control.totals {
                put_text(out, &sum.currency);
                put_varint(out, sum.debit.0.cast_unsigned());
                put_varint(out, sum.credit.0.cast_unsigned());
            }
        }
        Fact::Period(month) => out.extend_from_slice(&month.0.to_le_bytes()),
    }
}

pub(super) fn read_fact<'a>(
    reader: &mut Reader<'a>,
    kind: Kind,
) -> Result<Option<Fact<'a>>, CodecError> {
    Ok(Some(match kind {
        Kind::Account => {
            let terms = read_terms(reader)?;
            Fact::Account(Declaration { account: Cow::Borrowed(reader.text()?), terms })
        }
        Kind::StatementLine => Fact::Statement(StatementLine {
            processor: Cow::Borrowed(reader.text()?),
            reference: Cow::Borrowed(reader.text()?),
            amount: Amount(i128::from_le_bytes(fixed(reader)?)),
            currency: Cow::Borrowed(reader.text()?),
            value_date: i32::from_le_bytes(fixed(reader)?),
        }),
        Kind::ControlTotal => {
            let (from, to) = (reader.varint_u64()?, reader.varint_u64()?);
            let count = reader.varint_u64()?;
            let sums = (0..reader.length()?).map(|_| {
                Ok(ControlSum {
                    currency: Cow::Borrowed(reader.text()?),
                    debit: Amount(reader.varint()?.cast_signed()),
                    credit: Amount(reader.varint()?.cast_signed()),
                })
            });
            let totals = sums.collect::<Result<_, CodecError>>()?;
            Fact::Control(ControlTotal { from, to, count, totals })
        }
        Kind::ClosePeriod | Kind::ReopenPeriod => {
            Fact::Period(Month(i32::from_le_bytes(fixed(reader)?)))
        }
        _ => return Ok(None),
    }))
}

fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], CodecError> {
    reader.bytes(N)?.try_into().map_err(|_| CodecError)
}
