//! Stripe's list of balance transactions, as its API answers it.
//!
//! Amounts are whole numbers of minor units; a fraction in them is an error.

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::event_lines::{Converted, SCALE};

/// One page of the list.
#[derive(Deserialize)]
struct List {
    object: String,
    data: Vec<BalanceTransaction>,
    #[serde(default)]
    has_more: bool,
}

/// <https://docs.stripe.com/api/balance_transactions/object>. Amounts are whole minor units.
#[derive(Deserialize)]
pub(crate) struct BalanceTransaction {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) fee: i64,
    pub(crate) net: i64,
    pub(crate) currency: String,
    pub(crate) created: i64,
    pub(crate) available_on: i64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) source: Option<Origin>,
    #[serde(default)]
    pub(crate) reporting_category: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
}

/// What a balance transaction is of: an id, or where the list was fetched so, the whole object.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Origin {
    Id(String),
    Object { id: String, charge: Option<String> },
}

/// The balance transactions of all lists in the text.
pub(crate) fn pages(text: &str, converted: &mut Converted) -> Result<Vec<BalanceTransaction>> {
    let wanted = r#"give what Stripe's API answers, {"object":"list","data":[…]}"#;
    let (mut all, mut more) = (Vec::new(), None);
    for list in serde_json::Deserializer::from_str(text).into_iter::<List>() {
        let list = list.map_err(|error| anyhow!("line {}: {error}; {wanted}", error.line()))?;
        if list.object != "list" {
            bail!("line 1: the object is {:?}, no list; {wanted}", list.object);
        }
        more = Some(list.has_more);
        all.extend(list.data);
    }
    if more.with_context(|| format!("line 1: nothing is here; {wanted}"))? {
        let last = all.last().map_or("", |last: &BalanceTransaction| &last.id);
        let note = format!("Stripe has more; fetch the next page with starting_after={last}");
        converted.notes.push(note);
    }
    Ok(all)
}

impl BalanceTransaction {
    pub(crate) fn is_charge(&self) -> bool {
        matches!(self.kind.as_str(), "charge" | "payment")
    }

    pub(crate) fn is_refund(&self) -> bool {
        matches!(self.kind.as_str(), "refund" | "payment_refund")
    }

    /// The id of the transaction: the source's for what begins with its source, and the own one for
    /// what happens to a source later, such as a payout that fails.
    pub(crate) fn key(&self) -> &str {
        match &self.source {
            Some(Origin::Id(id) | Origin::Object { id, .. })
                if self.is_charge() || self.is_refund() || self.kind == "payout" =>
            {
                id
            }
            _ => &self.id,
        }
    }

    /// The charge that a refund says it is of.
    pub(crate) fn charge(&self) -> Option<&str> {
        match &self.source {
            Some(Origin::Object { charge: Some(charge), .. }) if self.is_refund() => Some(charge),
            _ => None,
        }
    }

    /// Minor units as units of [`SCALE`], by <https://docs.stripe.com/currencies>: Stripe writes
    /// ISK and UGX with two digits, though they have none.
    pub(crate) fn units(&self, minor: i64) -> Result<i128> {
        let digits = match self.currency.as_str() {
            "bif" | "clp" | "djf" | "gnf" | "jpy" | "kmf" | "krw" | "mga" | "pyg" | "rwf"
            | "vnd" | "vuv" | "xaf" | "xof" | "xpf" => 0,
            "bhd" | "jod" | "kwd" | "omr" | "tnd" => 3,
            _ => 2,
        };
        let factor = 10_i128.pow(u32::from(SCALE.digits()) - digits);
        i128::from(minor).checked_mul(factor).context("an amount is too large")
    }
}

/// The line on which a balance transaction says its id.
pub(crate) fn line_of(text: &str, id: &str) -> usize {
    let at = text.find(&format!("\"{id}\"")).unwrap_or(0);
    text[..at].matches('\n').count() + 1
}
