//! What the twin's collections are made of: values that can be ordered and sent.

use std::borrow::Cow;

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use serde::{Deserialize, Serialize};
use trueup_ledger::transaction::{self, Fold, OrphanCause, Stored, checked_sum, fold};
use trueup_ledger::{Amount, Event, Kind, Posting, Side, Timestamp, TransactionKey};

/// The canonical bytes of an event.
pub(crate) type Content = Box<[u8]>;

/// Money as a difference: checked, and with the negation that retraction needs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Money(pub(crate) i128);

impl IsZero for Money {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Semigroup for Money {
    fn plus_equals(&mut self, other: &Money) {
        self.0 = checked_sum(self.0, other.0);
    }
}

impl Monoid for Money {
    fn zero() -> Money {
        Money(0)
    }
}

impl Abelian for Money {
    fn negate(&mut self) {
        self.0 = -self.0;
    }
}

impl Multiply<isize> for Money {
    type Output = Money;

    fn multiply(self, times: &isize) -> Money {
        Money(self.0 * *times as i128)
    }
}

/// A line of the current postings, as far as what derives from it needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) account: Box<str>,
    pub(crate) side: Side,
    pub(crate) units: i128,
    pub(crate) currency: Box<str>,
}

impl Line {
    /// Returns what a transaction of this kind derives from the line.
    pub(crate) fn derived(&self, kind: Kind) -> Line {
        match kind {
            Kind::Reverse => Line { side: self.side.opposite(), ..self.clone() },
            _ => self.clone(),
        }
    }

    fn to_posting(&self) -> Posting<'static> {
        Posting {
            account: Cow::Owned(self.account.to_string()),
            side: self.side,
            amount: Amount(self.units),
            currency: Cow::Owned(self.currency.to_string()),
        }
    }
}

/// What decides among the rivals for one target: the smallest counts.
pub(crate) type Seniority = (Timestamp, Box<str>, Box<str>);

/// The link of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) target: TransactionKey,
    pub(crate) kind: Kind,
    pub(crate) derives: bool,
    pub(crate) seniority: Seniority,
}

/// A transaction's events folded: what matters to others before links are followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Head {
    /// `None` without an opening.
    pub(crate) kind: Option<Kind>,
    pub(crate) claim: Option<Claim>,
    /// The lines that it carries itself.
    pub(crate) carried: Vec<Line>,
}

impl Head {
    pub(crate) fn of(fold: &Fold<'_, '_>) -> Head {
        let claim = fold.link().map(|opening| Claim {
            target: TransactionKey::of(fold.tenant, opening.target.as_deref().unwrap()),
            kind: opening.kind,
            derives: fold.derives(),
            seniority: (
                opening.recorded_at,
                opening.event_id.as_ref().into(),
                fold.transaction_id.into(),
            ),
        });
        let postings = fold.legs.iter().flat_map(|leg| &leg.current.postings);
        let carried = postings.map(|posting| Line {
            account: posting.account.as_ref().into(),
            side: posting.side,
            units: posting.amount.0,
            currency: posting.currency.as_ref().into(),
        });
        Head { kind: fold.opening.map(|opening| opening.kind), claim, carried: carried.collect() }
    }
}

/// Why a link is an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Cause {
    TargetMissing,
    TargetKind,
    Circle,
}

/// How a transaction stands towards its target.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Standing {
    #[default]
    Clear,
    Orphan(Cause),
    /// The target's lines.
    Derives(Vec<Line>),
    /// The target's gross, where it is not 0.
    WithoutEffect(Vec<(Box<str>, i128)>),
    /// The transaction that resolved the hold before.
    Late(Box<str>),
}

impl Standing {
    pub(crate) fn to_ledger(&self) -> transaction::Standing {
        match self {
            Standing::Clear => transaction::Standing::Clear,
            Standing::Orphan(cause) => transaction::Standing::Orphan(match cause {
                Cause::TargetMissing => OrphanCause::TargetMissing,
                Cause::TargetKind => OrphanCause::TargetKind,
                Cause::Circle => OrphanCause::Circle,
            }),
            Standing::Derives(lines) => {
                transaction::Standing::Derives(lines.iter().map(Line::to_posting).collect())
            }
            Standing::WithoutEffect(gross) => transaction::Standing::WithoutEffect(gross.clone()),
            Standing::Late(resolver) => transaction::Standing::Late(resolver.clone()),
        }
    }
}

/// What the rows of a transaction are made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Part {
    /// With the time by which it is late, if it is.
    Content(Content, Option<i64>),
    /// Never `Clear`, which is what it is without this part.
    Standing(Standing),
    /// What all effective links of one kind add up to in one currency.
    Inflow(Kind, Box<str>, Money),
    /// What resolves the hold.
    Resolved(Kind),
}

/// Folds the distinct contents of one transaction.
pub(crate) fn with_fold<R>(
    contents: &[(&[u8], Option<i64>)],
    f: impl FnOnce(&Fold<'_, '_>) -> R,
) -> R {
    let stored = |&(canonical, delay): &(_, _)| Stored {
        event: Event::decode(canonical).unwrap(),
        canonical,
        delay,
    };
    let events: Vec<_> = contents.iter().map(stored).collect();
    f(&fold(&events).expect("a transaction has events"))
}
