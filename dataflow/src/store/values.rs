//! How the keys and values of the spaces are written.

use trueup_ledger::TransactionKey;
use trueup_ledger::codec::{CodecError, Reader, put_text};

use differential_dataflow::difference::IsZero;

use super::{Encode, KeyBytes, Space, StateKey, StateValue};
use crate::names::{AccountKey, AccountName};
use crate::sums::{Balance, Sides};

fn wide(bytes: &[u8]) -> Result<u128, CodecError> {
    Ok(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?))
}

impl StateKey for TransactionKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<TransactionKey, CodecError> {
        wide(bytes).map(TransactionKey)
    }
}

impl StateKey for AccountKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<AccountKey, CodecError> {
        wide(bytes).map(AccountKey)
    }
}

impl StateKey for (AccountKey, i32) {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.0.to_be_bytes(), &self.1.to_be_bytes()])
    }

    fn decode(bytes: &[u8]) -> Result<(AccountKey, i32), CodecError> {
        let (key, date) = bytes.split_at_checked(16).ok_or(CodecError)?;
        let date = date.try_into().map_err(|_| CodecError)?;
        Ok((AccountKey(wide(key)?), i32::from_be_bytes(date)))
    }
}

impl StateKey for (AccountKey, u8) {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.0.to_be_bytes(), &[self.1]])
    }

    fn decode(bytes: &[u8]) -> Result<(AccountKey, u8), CodecError> {
        let (key, shard) = bytes.split_at_checked(16).ok_or(CodecError)?;
        let [shard] = shard else { return Err(CodecError) };
        Ok((AccountKey(wide(key)?), *shard))
    }
}

impl Encode for Box<[u8]> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl StateValue for Box<[u8]> {
    fn decode(reader: &mut Reader<'_>) -> Result<Box<[u8]>, CodecError> {
        Ok(reader.rest().into())
    }

    fn heap_bytes(&self) -> usize {
        self.len() + size_of::<usize>()
    }
}

impl Encode for Sides {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.debits.to_le_bytes());
        out.extend_from_slice(&self.credits.to_le_bytes());
        out.extend_from_slice(&self.lines.to_le_bytes());
    }
}

impl StateValue for Sides {
    fn decode(reader: &mut Reader<'_>) -> Result<Sides, CodecError> {
        let mut sum = || reader.bytes(16)?.try_into().map_err(|_| CodecError);
        let (debits, credits) = (i128::from_le_bytes(sum()?), i128::from_le_bytes(sum()?));
        let lines = reader.bytes(8)?.try_into().map_err(|_| CodecError)?;
        Ok(Sides { debits, credits, lines: i64::from_le_bytes(lines) })
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Few accounts have anything pending at a time, and only these pay for it.
impl Encode for Balance {
    fn encode(&self, out: &mut Vec<u8>) {
        self.posted.encode(out);
        if !self.pending.is_zero() {
            self.pending.encode(out);
        }
    }
}

impl StateValue for Balance {
    fn decode(reader: &mut Reader<'_>) -> Result<Balance, CodecError> {
        let posted = Sides::decode(reader)?;
        let pending = if reader.is_empty() { Sides::default() } else { Sides::decode(reader)? };
        Ok(Balance { posted, pending })
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Encode for AccountName {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.tenant);
        put_text(out, &self.account);
        put_text(out, &self.currency);
    }
}

impl StateValue for AccountName {
    fn decode(reader: &mut Reader<'_>) -> Result<AccountName, CodecError> {
        let tenant = reader.text()?.into();
        let account = reader.text()?.into();
        Ok(AccountName { tenant, account, currency: reader.text()?.into() })
    }

    fn heap_bytes(&self) -> usize {
        self.tenant.len() + self.account.len() + self.currency.len() + 3 * size_of::<usize>()
    }
}
