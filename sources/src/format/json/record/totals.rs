//! The totals of a control total: an object whose field names are currencies.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Unexpected, Visitor};
use trueup_ledger::ControlSumDraft;

use super::{OBJECT, ObjectReader};
use crate::format::json::state::{Scope, State};

/// Reads the totals, or `null`. A currency that is given twice stops the reading.
pub(super) struct TotalsReader<'s> {
    pub(super) state: &'s State,
}

impl<'de> Visitor<'de> for TotalsReader<'_> {
    type Value = Option<Vec<(Cow<'de, str>, ControlSumDraft<'de>)>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of objects")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut totals: Vec<(Cow<'de, str>, ControlSumDraft<'de>)> = Vec::new();
        loop {
            self.state.enter(Scope::Totals, "", "an object whose field names are Unicode text");
            let Some(currency) = map.next_key_seed(CurrencyReader)? else {
                return Ok(Some(totals));
            };
            if totals.iter().any(|(known, _)| *known == currency) {
                self.state.duplicate(Scope::Totals, "");
                return Err(Error::custom("a currency is given twice"));
            }
            self.state.enter(Scope::Total, "", OBJECT);
            let mut sum = ControlSumDraft::default();
            let (state, scope) = (self.state, Scope::Total);
            if !map.next_value_seed(ObjectReader { state, scope, object: &mut sum })? {
                return Err(Error::invalid_type(Unexpected::Unit, &OBJECT));
            }
            totals.push((currency, sum));
        }
    }
}

impl<'de> DeserializeSeed<'de> for TotalsReader<'_> {
    type Value = Option<Vec<(Cow<'de, str>, ControlSumDraft<'de>)>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

/// Reads the name of a field, borrowed where it has no escapes.
struct CurrencyReader;

impl<'de> Visitor<'de> for CurrencyReader {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a currency")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> DeserializeSeed<'de> for CurrencyReader {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}
