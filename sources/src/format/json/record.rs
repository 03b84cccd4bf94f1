//! The visitors that read a record straight into an [`EventDraft`].
//!
//! One visitor reads all objects of the schema; each says by [`Object`] which fields it has
//! and what becomes of them. Texts borrow from the record unless they hold an escape.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use trueup_ledger::{ControlSumDraft, EventDraft, PostingDraft};

use super::state::{Scope, State};

mod totals;

const OBJECT: &str = "an object";
const TEXT: &str = "a string of Unicode text";
const INTEGER: &str = "an integer from 0 to 18446744073709551615";

/// Reads one record into a draft that is empty.
pub(super) fn read<'de, D>(
    deserializer: D,
    state: &State,
    draft: &mut EventDraft<'de>,
) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
{
    state.enter(Scope::Record, "", OBJECT);
    let record = ObjectReader { state, scope: Scope::Record, object: draft };
    if record.deserialize(deserializer)? {
        Ok(())
    } else {
        Err(Error::invalid_type(Unexpected::Unit, &OBJECT))
    }
}

/// An object of the schema.
trait Object<'de>: Default {
    /// The names of its fields.
    type Field: Field;

    /// Reads the value of a field.
    fn read<A>(&mut self, field: Self::Field, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>;
}

/// The fields that an object may have.
trait Field: Copy {
    fn of(name: &str) -> Option<Self>;
    fn name(self) -> &'static str;
    fn bit(self) -> u32;
}

macro_rules! fields {
    ($object:ident { $($field:ident = $name:literal,)* }) => {
        #[derive(Clone, Copy)]
        pub(super) enum $object { $($field,)* }

        impl Field for $object {
            #[inline]
            fn of(name: &str) -> Option<$object> {
                match name { $($name => Some($object::$field),)* _ => None }
            }

            fn name(self) -> &'static str {
                match self { $($object::$field => $name,)* }
            }

            fn bit(self) -> u32 {
                1 << (self as u32)
            }
        }
    };
}

fields!(RecordField {
    V = "v",
    EventId = "event_id",
    Tenant = "tenant",
    Kind = "kind",
    TransactionId = "transaction_id",
    Leg = "leg",
    Revision = "revision",
    EffectiveAt = "effective_at",
    RecordedAt = "recorded_at",
    Source = "source",
    CorrelationId = "correlation_id",
    Postings = "postings",
    Reverses = "reverses",
    Refunds = "refunds",
    Captures = "captures",
    Releases = "releases",
    ExpiresAt = "expires_at",
    Statement = "statement",
    Control = "control",
    Period = "period",
    Account = "account",
    Metadata = "metadata",
});

mod objects;

impl<'de> Object<'de> for EventDraft<'de> {
    type Field = RecordField;

    fn read<A>(&mut self, field: RecordField, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            RecordField::V => self.v = values.integer()?,
            RecordField::EventId => self.event_id = values.text()?,
            RecordField::Tenant => self.tenant = values.text()?,
            RecordField::Kind => self.kind = values.text()?,
            RecordField::TransactionId => self.transaction_id = values.text()?,
            RecordField::Leg => self.leg = values.text()?,
            RecordField::Revision => self.revision = values.integer()?,
            RecordField::EffectiveAt => self.effective_at = values.text()?,
            RecordField::RecordedAt => self.recorded_at = values.text()?,
            RecordField::Source => self.source = values.object(Scope::Source)?,
            RecordField::CorrelationId => self.correlation_id = values.text()?,
            RecordField::Postings => self.postings = values.postings()?,
            RecordField::Reverses => self.reverses = values.text()?,
            RecordField::Refunds => self.refunds = values.text()?,
            RecordField::Captures => self.captures = values.text()?,
            RecordField::Releases => self.releases = values.text()?,
            RecordField::ExpiresAt => self.expires_at = values.text()?,
            RecordField::Account => self.account = values.object(Scope::Account)?,
            RecordField::Statement => self.statement = values.object(Scope::Statement)?,
            RecordField::Control => self.control = values.object(Scope::Control)?,
            RecordField::Period => self.period = values.text()?,
            RecordField::Metadata => values.skip()?,
        }
        Ok(())
    }
}

/// The values of an object: what may come next, each noting first where reading is.
struct Values<'s, A> {
    map: A,
    state: &'s State,
    scope: Scope,
    field: &'static str,
}

impl<'de, A: MapAccess<'de>> Values<'_, A> {
    fn text(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        self.state.enter(self.scope, self.field, TEXT);
        self.map.next_value_seed(TextReader)
    }

    fn integer(&mut self) -> Result<Option<u64>, A::Error> {
        self.state.enter(self.scope, self.field, INTEGER);
        self.map.next_value_seed(IntegerReader)
    }

    fn object<T: Object<'de>>(&mut self, scope: Scope) -> Result<Option<T>, A::Error> {
        self.state.enter(self.scope, self.field, OBJECT);
        let mut object = T::default();
        let reader = ObjectReader { state: self.state, scope, object: &mut object };
        Ok(self.map.next_value_seed(reader)?.then_some(object))
    }

    fn postings(&mut self) -> Result<Option<Vec<PostingDraft<'de>>>, A::Error> {
        self.state.enter(self.scope, self.field, "a list of objects");
        self.map.next_value_seed(PostingsReader { state: self.state })
    }

    fn totals(&mut self) -> Result<Option<Vec<(Cow<'de, str>, ControlSumDraft<'de>)>>, A::Error> {
        self.state.enter(self.scope, self.field, "an object of objects");
        self.map.next_value_seed(totals::TotalsReader { state: self.state })
    }

    fn skip(&mut self) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>().map(drop)
    }
}

/// Reads an object of the schema where it is to be, which is large; says whether there is one, and not
/// `null`.
struct ObjectReader<'s, 'o, T> {
    state: &'s State,
    scope: Scope,
    object: &'o mut T,
}

impl<'de, T: Object<'de>> Visitor<'de> for ObjectReader<'_, '_, T> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OBJECT)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        let mut values = Values { map, state: self.state, scope: self.scope, field: "" };
        let mut seen = 0;
        loop {
            self.state.enter(self.scope, "", "an object whose field names are Unicode text");
            let key = KeyReader::<T::Field>(PhantomData);
            let Some(field) = values.map.next_key_seed(key)? else {
                return Ok(true);
            };
            let Some(field) = field else {
                self.state.unknown_field();
                values.skip()?;
                continue;
            };
            if seen & field.bit() != 0 {
                self.state.duplicate(self.scope, field.name());
                return Err(Error::duplicate_field(field.name()));
            }
            seen |= field.bit();
            values.field = field.name();
            self.object.read(field, &mut values)?;
        }
    }
}

impl<'de, T: Object<'de>> DeserializeSeed<'de> for ObjectReader<'_, '_, T> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Reads the list of postings, or `null`.
struct PostingsReader<'s> {
    state: &'s State,
}

impl<'de> Visitor<'de> for PostingsReader<'_> {
    type Value = Option<Vec<PostingDraft<'de>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut postings = Vec::with_capacity(4);
        loop {
            let scope = Scope::Posting(postings.len());
            self.state.enter(scope, "", OBJECT);
            let place = postings.len();
            postings.push(PostingDraft::default());
            let object = &mut postings[place];
            match list.next_element_seed(ObjectReader { state: self.state, scope, object })? {
                Some(true) => {}
                Some(false) => return Err(Error::invalid_type(Unexpected::Unit, &OBJECT)),
                None => {
                    postings.truncate(place);
                    return Ok(Some(postings));
                }
            }
        }
    }
}

/// Reads a field's name; `None` is one of no schema.
struct KeyReader<F>(PhantomData<F>);

impl<F: Field> Visitor<'_> for KeyReader<F> {
    type Value = Option<F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<F>, E> {
        Ok(F::of(name))
    }
}

/// Reads a string, borrowed where it has no escapes, or `null`.
struct TextReader;

impl<'de> Visitor<'de> for TextReader {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TEXT)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
}

/// Reads an integer without sign, fraction or exponent, or `null`.
struct IntegerReader;

impl Visitor<'_> for IntegerReader {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(INTEGER)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u64>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<u64>, E> {
        Ok(Some(value))
    }
}

macro_rules! seeds {
    ($($reader:ty => $value:ty,)*) => {$(
        impl<'de> DeserializeSeed<'de> for $reader {
            type Value = $value;

            #[inline]
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<$value, D::Error> {
                from.deserialize_any(self)
            }
        }
    )*};
}

seeds! {
    PostingsReader<'_> => Option<Vec<PostingDraft<'de>>>,
    TextReader => Option<Cow<'de, str>>,
    IntegerReader => Option<u64>,
}

impl<'de, F: Field> DeserializeSeed<'de> for KeyReader<F> {
    type Value = Option<F>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<F>, D::Error> {
        from.deserialize_str(self)
    }
}
