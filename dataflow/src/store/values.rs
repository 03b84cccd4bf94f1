//! How the keys and values of the spaces are written.

use trueup_ledger::codec::{
    CodecError, Reader, put_signed, put_signed_64, put_terms, put_text, read_terms,
};
use trueup_ledger::{Terms, TransactionKey};

use differential_dataflow::difference::IsZero;

use super::{Encode, KeyBytes, Space, StateKey, StateValue};
use crate::names::{AccountKey, AccountName, DatedKey, PathKey};
use crate::sums::{Balance, CompactSides, Holding, Sides};

fn wide(bytes: &[u8]) -> Result<u128, CodecError> {
    Ok(u128::from_be_bytes(bytes.try_into().map_err(|_| CodecError)?))
}

impl StateKey for TransactionKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn shard(&self) -> u8 {
        (*self).shard()
    }

    fn decode(bytes: &[u8]) -> Result<TransactionKey, CodecError> {
        wide(bytes).map(TransactionKey)
    }
}

impl StateKey for AccountKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn shard(&self) -> u8 {
        (*self).shard()
    }

    fn decode(bytes: &[u8]) -> Result<AccountKey, CodecError> {
        wide(bytes).map(AccountKey)
    }
}

impl StateKey for PathKey {
    fn encode(&self, space: Space) -> KeyBytes {
        KeyBytes::new(space, &[&self.0.to_be_bytes()])
    }

    fn shard(&self) -> u8 {
        (*self).shard()
    }

    fn decode(bytes: &[u8]) -> Result<PathKey, CodecError> {
        wide(bytes).map(PathKey)
    }
}

/// The shard first, then tenant and time, then the rest of the key, so that what belongs together lies
/// together. Times are shifted so that their bytes are in their order.
impl StateKey for DatedKey {
    fn encode(&self, space: Space) -> KeyBytes {
        let key = self.key.to_be_bytes();
        let at = (self.at.cast_unsigned() ^ (1 << 31)).to_be_bytes();
        KeyBytes::new(space, &[&key[..1], &self.tenant.to_be_bytes(), &at, &key[1..]])
    }

    fn shard(&self) -> u8 {
        (*self).shard()
    }

    fn decode(bytes: &[u8]) -> Result<DatedKey, CodecError> {
        let mut reader = Reader::new(bytes);
        let shard = reader.bytes(1)?;
        let tenant = reader.bytes(4)?.try_into().map_err(|_| CodecError)?;
        let at = reader.bytes(4)?.try_into().map_err(|_| CodecError)?;
        let key = wide(&[shard, reader.rest()].concat())?;
        let at = (u32::from_be_bytes(at) ^ (1 << 31)).cast_signed();
        Ok(DatedKey { key, at, tenant: u32::from_be_bytes(tenant) })
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

    fn apart(&self) -> &[u8] {
        self
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

/// Sums are short beside the 128 bits that they may take, and a checkpoint writes millions of them.
impl Encode for Sides {
    fn encode(&self, out: &mut Vec<u8>) {
        for sum in [self.debits, self.credits, i128::from(self.lines)] {
            put_signed(out, sum);
        }
    }
}

impl StateValue for Sides {
    fn decode(reader: &mut Reader<'_>) -> Result<Sides, CodecError> {
        let (debits, credits) = (reader.signed()?, reader.signed()?);
        let lines = i64::try_from(reader.signed()?).map_err(|_| CodecError)?;
        Ok(Sides { debits, credits, lines })
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// As [`Sides`] are written.
impl Encode for CompactSides {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            CompactSides::Narrow { debits, credits, lines } => {
                for sum in [*debits, *credits, i64::from(*lines)] {
                    put_signed_64(out, sum);
                }
            }
            CompactSides::Wide(sides) => sides.encode(out),
        }
    }
}

impl StateValue for CompactSides {
    fn decode(reader: &mut Reader<'_>) -> Result<CompactSides, CodecError> {
        Sides::decode(reader).map(CompactSides::from)
    }

    fn heap_bytes(&self) -> usize {
        match self {
            CompactSides::Narrow { .. } => 0,
            CompactSides::Wide(sides) => size_of_val(&**sides),
        }
    }
}

/// What follows the posted sums of a holding.
const HAS_PENDING: u8 = 1;
const HAS_TERMS: u8 = 2;

/// Few accounts have anything pending at a time, and not all are declared; only these pay for it.
impl Encode for Holding {
    fn encode(&self, out: &mut Vec<u8>) {
        let has_pending = !self.balance.pending.is_zero();
        let has_terms = self.terms != Terms::default();
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(flag(has_pending, HAS_PENDING) | flag(has_terms, HAS_TERMS));
        self.balance.posted.encode(out);
        if has_pending {
            self.balance.pending.encode(out);
        }
        if has_terms {
            put_terms(out, self.terms);
        }
    }
}

impl StateValue for Holding {
    fn decode(reader: &mut Reader<'_>) -> Result<Holding, CodecError> {
        let flags = reader.byte()?;
        let posted = Sides::decode(reader)?;
        let mut balance = Balance { posted, pending: Sides::default() };
        if flags & HAS_PENDING != 0 {
            balance.pending = Sides::decode(reader)?;
        }
        let terms = if flags & HAS_TERMS != 0 { read_terms(reader)? } else { Terms::default() };
        let holding = Holding { balance, terms };
        if reader.is_empty() && flags <= HAS_PENDING | HAS_TERMS {
            Ok(holding)
        } else {
            Err(CodecError)
        }
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Encode for AccountName {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, self.tenant());
        put_text(out, self.account());
        put_text(out, self.currency());
    }
}

impl StateValue for AccountName {
    fn decode(reader: &mut Reader<'_>) -> Result<AccountName, CodecError> {
        let (tenant, account) = (reader.text()?, reader.text()?);
        Ok(AccountName::new(tenant, account, reader.text()?))
    }

    fn heap_bytes(&self) -> usize {
        self.bytes() + size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use trueup_ledger::{Overdraft, Side};

    use super::*;

    #[test]
    fn dated_keys_lie_in_the_order_of_time() {
        let key = |at| DatedKey { key: (7 << 120) | 5, at, tenant: 9 };
        let encoded = |at| key(at).encode(Space::Days);
        for (earlier, later) in [(-2, -1), (-1, 0), (0, 1), (30, 31), (i32::MIN, i32::MAX)] {
            assert!(encoded(earlier) < encoded(later));
            assert_eq!(DatedKey::decode(&encoded(later).as_bytes()[1..]), Ok(key(later)));
        }
        let (from, to) = DatedKey::range(Space::Days, 7, 9, 0..31);
        for (at, is_in) in [(-1, false), (0, true), (30, true), (31, false)] {
            assert_eq!((from..to).contains(&encoded(at)), is_in, "{at}");
        }
        assert!(!(from..to).contains(&DatedKey { tenant: 10, ..key(3) }.encode(Space::Days)));
    }

    #[test]
    fn sums_are_written_alike_in_few_bytes_and_many() {
        let units = [0, 1, -64, 1 << 40, i128::from(i64::MIN), 1 << 70, i128::MIN];
        for (debits, credits) in units.iter().flat_map(|one| units.map(|other| (*one, other))) {
            let sides = Sides { debits, credits, lines: 3 };
            let (mut bytes, mut as_compact) = (Vec::new(), Vec::new());
            sides.encode(&mut bytes);
            CompactSides::from(sides).encode(&mut as_compact);
            assert_eq!(bytes, as_compact, "{sides:?}");
            let read =
                CompactSides::decode(&mut Reader::new(&bytes)).map(|read| Sides::from(&read));
            assert_eq!(read, Ok(sides));
        }
    }

    #[test]
    fn a_holding_is_read_as_it_was_written() {
        let sides = Sides { debits: 7, credits: -1, lines: 2 };
        let declared = Terms { normal_side: Side::Credit, overdraft: Overdraft::Forbidden };
        for pending in [Sides::default(), sides] {
            for terms in [Terms::default(), declared] {
                let holding = Holding { balance: Balance { posted: sides, pending }, terms };
                let mut bytes = Vec::new();
                holding.encode(&mut bytes);
                assert_eq!(Holding::decode(&mut Reader::new(&bytes)), Ok(holding));
                bytes.extend([0, 0]);
                assert!(Holding::decode(&mut Reader::new(&bytes)).is_err());
            }
        }
    }
}
