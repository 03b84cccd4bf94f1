//! The validity of what events without a transaction say.

use std::borrow::Cow;

use super::{
    IDENTIFIER_CHARS_MAX, bad_amount, check_account, check_currency, excerpt, identifier, required,
    side,
};
use crate::event::Kind;
use crate::fact::{
    ControlSum, ControlTotal, Declaration, Fact, Month, Overdraft, StatementLine, Terms,
};
use crate::{Amount, Reason, Rejection, Scale, Timestamp};

/// The `account` object of a record.
#[derive(Clone, Debug, Default)]
pub struct AccountDraft<'a> {
    /// `name`
    pub name: Option<Cow<'a, str>>,
    /// `normal_side`
    pub normal_side: Option<Cow<'a, str>>,
    /// `overdraft`
    pub overdraft: Option<Cow<'a, str>>,
}

/// The `statement` object of a record.
#[derive(Clone, Debug, Default)]
pub struct StatementDraft<'a> {
    /// `processor`
    pub processor: Option<Cow<'a, str>>,
    /// `reference`
    pub reference: Option<Cow<'a, str>>,
    /// `amount`, a decimal string that may have a `-` in front
    pub amount: Option<Cow<'a, str>>,
    /// `currency`
    pub currency: Option<Cow<'a, str>>,
    /// `value_date`
    pub value_date: Option<Cow<'a, str>>,
}

/// The `control` object of a record.
#[derive(Clone, Debug, Default)]
pub struct ControlDraft<'a> {
    /// `from_sequence`
    pub from_sequence: Option<u64>,
    /// `to_sequence`
    pub to_sequence: Option<u64>,
    /// `count`
    pub count: Option<u64>,
    /// `totals`, by currency; a decoder refuses a currency that is given twice.
    pub totals: Option<Vec<(Cow<'a, str>, ControlSumDraft<'a>)>>,
}

/// One of the `totals`.
#[derive(Clone, Debug, Default)]
pub struct ControlSumDraft<'a> {
    /// `debit`, a decimal string
    pub debit: Option<Cow<'a, str>>,
    /// `credit`, a decimal string
    pub credit: Option<Cow<'a, str>>,
}

/// The fields of a record of which its kind uses one at most.
pub(super) struct Said<'a> {
    pub(super) account: Option<AccountDraft<'a>>,
    pub(super) statement: Option<StatementDraft<'a>>,
    pub(super) control: Option<ControlDraft<'a>>,
    pub(super) period: Option<Cow<'a, str>>,
}

impl<'a> Said<'a> {
    pub(super) fn admit(
        self,
        kind: Kind,
        scale: Scale,
    ) -> Result<Option<Box<Fact<'a>>>, Rejection> {
        let fact = match kind {
            Kind::Account => Fact::Account(required(self.account, "account")?.admit()?),
            Kind::StatementLine => {
                Fact::Statement(required(self.statement, "statement")?.admit(scale)?)
            }
            Kind::ControlTotal => Fact::Control(required(self.control, "control")?.admit(scale)?),
            Kind::ClosePeriod | Kind::ReopenPeriod => {
                Fact::Period(month(&required(self.period, "period")?)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(Box::new(fact)))
    }
}

fn month(text: &str) -> Result<Month, Rejection> {
    Month::parse(text).ok_or_else(|| {
        let detail = format!("`period` {} is no month, as 2026-10", excerpt(text));
        Rejection::new(Reason::BadPeriod, detail)
    })
}

impl<'a> AccountDraft<'a> {
    fn admit(self) -> Result<Declaration<'a>, Rejection> {
        let account = required(self.name, "account.name")?;
        check_account(&account, || "account.name".to_owned())?;
        let normal_side = required(self.normal_side, "account.normal_side")?;
        let normal_side = side(&normal_side, || "account.normal_side".to_owned())?;
        let overdraft = match required(self.overdraft, "account.overdraft")?.as_ref() {
            "allowed" => Overdraft::Allowed,
            "forbidden" => Overdraft::Forbidden,
            other => {
                let detail = format!(
                    "`account.overdraft` {} is neither `allowed` nor `forbidden`",
                    excerpt(other)
                );
                return Err(Rejection::new(Reason::BadOverdraft, detail));
            }
        };
        Ok(Declaration { account, terms: Terms { normal_side, overdraft } })
    }
}

impl<'a> StatementDraft<'a> {
    fn admit(self, scale: Scale) -> Result<StatementLine<'a>, Rejection> {
        let processor = identifier(self.processor, "statement.processor", IDENTIFIER_CHARS_MAX)?;
        let reference = identifier(self.reference, "statement.reference", IDENTIFIER_CHARS_MAX)?;
        let amount = required(self.amount, "statement.amount")?;
        let unsigned = amount.strip_prefix('-').unwrap_or(&amount);
        let units = Amount::parse(unsigned, scale)
            .map_err(|error| bad_amount(error, &amount, "statement.amount"))?;
        let is_negative = unsigned.len() < amount.len();
        let amount = if is_negative { Amount(-units.0) } else { units };
        let currency = required(self.currency, "statement.currency")?;
        check_currency(&currency, || "statement.currency".to_owned())?;
        let date = required(self.value_date, "statement.value_date")?;
        let value_date = Timestamp::parse_date(&date).ok_or_else(|| {
            let detail = format!("`statement.value_date` {} is no date", excerpt(&date));
            Rejection::new(Reason::BadDate, detail)
        })?;
        Ok(StatementLine { processor, reference, amount, currency, value_date })
    }
}

impl<'a> ControlDraft<'a> {
    fn admit(self, scale: Scale) -> Result<ControlTotal<'a>, Rejection> {
        let from = required(self.from_sequence, "control.from_sequence")?;
        let to = required(self.to_sequence, "control.to_sequence")?;
        if from == 0 || to < from || i64::try_from(to).is_err() {
            let detail = format!(
                "`control` is of the sequences {from} to {to}; a range begins at 1 or more, ends \
                 where it begins or later, and fits 63 bits"
            );
            return Err(Rejection::new(Reason::BadRange, detail));
        }
        let count = required(self.count, "control.count")?;
        if i64::try_from(count).is_err() {
            let detail = "`control.count` must fit 63 bits";
            return Err(Rejection::new(Reason::BadRange, detail));
        }
        let mut totals = Vec::new();
        for (currency, sum) in required(self.totals, "control.totals")? {
            check_currency(&currency, || "control.totals".to_owned())?;
            let side = |text: Option<Cow<'_, str>>, name: &str| {
                let field = format!("control.totals.{currency}.{name}");
                let text = required(text, &field)?;
                Amount::parse_sum(&text, scale).map_err(|error| bad_amount(error, &text, &field))
            };
            let (debit, credit) = (side(sum.debit, "debit")?, side(sum.credit, "credit")?);
            totals.push(ControlSum { currency, debit, credit });
        }
        totals.sort_by(|a, b| a.currency.cmp(&b.currency));
        if totals.windows(2).any(|pair| pair[0].currency == pair[1].currency) {
            let detail = "a currency of `control.totals` is given twice";
            return Err(Rejection::new(Reason::DuplicateField, detail));
        }
        // A currency of which nothing was sent says no more than one that is not named.
        totals.retain(|sum| sum.debit != Amount(0) || sum.credit != Amount(0));
        Ok(ControlTotal { from, to, count, totals })
    }
}
