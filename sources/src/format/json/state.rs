//! What is known beside the values while a record is read: where reading is, how many fields are
//! of no schema, and what was found wrong that serde cannot say.

use std::cell::Cell;

use trueup_ledger::{Reason, Rejection};

/// The object that a field is in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Scope {
    /// The record itself.
    #[default]
    Record,
    /// Its `source`.
    Source,
    /// Its `account`.
    Account,
    /// Its `statement`.
    Statement,
    /// Its `control`.
    Control,
    /// The `totals` of that.
    Totals,
    /// One of these.
    Total,
    /// An element of its `postings`, counted from 0.
    Posting(usize),
}

/// The value that is being read; an empty `field` is the object of the scope itself.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    scope: Scope,
    field: &'static str,
    wanted: &'static str,
}

/// The state of reading one record.
#[derive(Debug, Default)]
pub(super) struct State {
    place: Cell<Place>,
    duplicate: Cell<bool>,
    unknown_fields: Cell<u32>,
}

impl State {
    /// Notes which value is read next, and what it should be.
    #[inline]
    pub(super) fn enter(&self, scope: Scope, field: &'static str, wanted: &'static str) {
        self.place.set(Place { scope, field, wanted });
    }

    /// Notes that the field just met was met before.
    pub(super) fn duplicate(&self, scope: Scope, field: &'static str) {
        self.enter(scope, field, "");
        self.duplicate.set(true);
    }

    /// Counts a field of no schema.
    #[inline]
    pub(super) fn unknown_field(&self) {
        self.unknown_fields.set(self.unknown_fields.get().saturating_add(1));
    }

    pub(super) fn unknown_fields(&self) -> u32 {
        self.unknown_fields.get()
    }

    /// Returns what was found wrong by other means than serde's.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        let detail = || format!("{} is given twice", self.name());
        self.duplicate.get().then(|| Rejection::new(Reason::DuplicateField, detail()))
    }

    /// Returns the rejection for a value of another type than wanted where reading stopped.
    pub(super) fn bad_type(&self) -> Rejection {
        let detail = format!("{} must be {}", self.name(), self.place.get().wanted);
        Rejection::new(Reason::BadType, detail)
    }

    fn name(&self) -> String {
        let Place { scope, field, .. } = self.place.get();
        match (scope, field) {
            (Scope::Record, "") => "the record".to_owned(),
            (Scope::Record, field) => format!("`{field}`"),
            (Scope::Source, "") => "`source`".to_owned(),
            (Scope::Source, field) => format!("`source.{field}`"),
            (Scope::Account, "") => "`account`".to_owned(),
            (Scope::Account, field) => format!("`account.{field}`"),
            (Scope::Statement, "") => "`statement`".to_owned(),
            (Scope::Statement, field) => format!("`statement.{field}`"),
            (Scope::Control, "") => "`control`".to_owned(),
            (Scope::Control, field) => format!("`control.{field}`"),
            (Scope::Totals, _) => "a currency of `control.totals`".to_owned(),
            (Scope::Total, "") => "each of `control.totals`".to_owned(),
            (Scope::Total, field) => format!("a `{field}` of `control.totals`"),
            (Scope::Posting(line), "") => format!("`postings[{line}]`"),
            (Scope::Posting(line), field) => format!("`postings[{line}].{field}`"),
        }
    }
}
