//! The detectors of single transactions, one file a detector, found by its name. Each is a pure function
//! of a transaction's meaning; those that look across transactions are in `dataflow/src/detectors`.
//!
//! `docs/adding-a-view.md` shows how one is added: a file here, its name in the list below, cases.

use super::{ByCurrency, Meaning};
use crate::amount::{Amount, Scale};
use crate::transaction::json_text;

/// What a detector says of a transaction: one row of `imbalances`.
pub(super) struct Finding<'a> {
    pub(super) subject: &'a str,
    /// Empty where nothing is said of one.
    pub(super) currency: &'a str,
    pub(super) amount: i128,
    /// JSON with sorted keys and no blanks.
    pub(super) detail: String,
    /// The instant behind which the row is in the view, in microseconds since 1970; `None` at once.
    pub(super) due: Option<i64>,
}

/// Takes what is found.
pub(super) type Found<'f> = &'f mut dyn FnMut(Finding<'_>);

/// A detector.
pub(super) struct Detector {
    pub(super) name: &'static str,
    pub(super) severity: &'static str,
    /// Gives what there is to be found in a transaction, each row once.
    pub(super) detect: fn(&Meaning<'_, '_>, Scale, Found<'_>),
}

pub(super) const CRITICAL: &str = "critical";
pub(super) const WARNING: &str = "warning";

macro_rules! detectors {
    ($($name:ident,)*) => {
        $(mod $name;)*

        /// All of them, in the order in which their rows are made.
        pub(super) const ALL: &[Detector] = &[
            $(Detector {
                name: stringify!($name),
                severity: $name::SEVERITY,
                detect: $name::detect,
            },)*
        ];
    };
}

detectors! {
    unbalanced_transaction,
    orphan,
    conflict,
    over_reversed,
    over_refunded,
    over_captured,
    hold_already_resolved,
    stuck_hold,
    delayed_event,
}

impl Meaning<'_, '_> {
    /// The member of a detail that names the first events.
    fn events(&self) -> String {
        format!(r#""events":{}"#, json_texts(&self.fold.first_events()))
    }

    /// Returns what an event is called as a subject.
    fn event_subject(&self, event_id: &str) -> String {
        let whose = match self.alone() {
            // No transaction's name is empty, so nothing else begins with the dividing line.
            Some(kind) => format!("/{}", kind.name()),
            None => escape_subject(self.fold.transaction_id),
        };
        format!("{whose}/{}", escape_subject(event_id))
    }

    fn gross_of(&self, currency: &str) -> i128 {
        self.total(currency).map_or(0, |total| total.gross)
    }

    /// Finds the currencies in which more was taken of the transaction than it amounts to.
    fn exceeded(&self, name: &str, taken: &ByCurrency, scale: Scale, found: Found<'_>) {
        for (currency, taken) in taken {
            let gross = self.gross_of(currency);
            if *taken > gross {
                let mut members =
                    [money("gross", gross, scale), money(name, *taken, scale), self.events()];
                members.sort_unstable();
                found(Finding {
                    subject: self.fold.transaction_id,
                    currency,
                    amount: taken - gross,
                    detail: format!("{{{}}}", members.join(",")),
                    due: None,
                });
            }
        }
    }
}

/// The member of a detail that is an amount.
fn money(name: &str, units: i128, scale: Scale) -> String {
    format!(r#""{name}":"{}""#, Amount(units).display(scale))
}

/// Quotes a list of texts as JSON.
fn json_texts(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| json_text(text)).collect();
    format!("[{}]", quoted.join(","))
}

/// Writes a name within a composite subject, whose parts `/` divides.
#[must_use]
pub fn escape_subject(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

/// The detail of a difference between debits and credits.
#[must_use]
pub fn sides_detail(debits: i128, credits: i128, scale: Scale) -> String {
    format!("{{{},{}}}", money("credits", credits, scale), money("debits", debits, scale))
}
