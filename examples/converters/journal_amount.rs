//! Amounts of a journal: `-12.50 EUR`, `$1,000.00`, `10 ACME @ 4.20 USD`, exactly or not at all.
//!
//! A number whose comma could mean either is refused. Symbols become currency codes, other
//! commodities are written in capitals; two commodities that would become one are refused.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};

use super::event_lines::{SCALE, units};

/// So many units of a currency; debits are positive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Money {
    pub(crate) units: i128,
    pub(crate) currency: String,
}

/// Which commodity of the journal each currency stands for.
#[derive(Default)]
pub(crate) struct Spelling(BTreeMap<String, String>);

const SYMBOLS: &[(&str, &str)] = &[("$", "USD"), ("€", "EUR"), ("£", "GBP"), ("¥", "JPY")];

impl Spelling {
    /// An amount, and what it is worth where it has a price or a cost. A cost goes before a price,
    /// as in beancount.
    pub(crate) fn price(&mut self, text: &str, beancount: bool) -> Result<(Money, Option<Money>)> {
        let (rest, price) = text.split_once('@').map_or((text, None), |(a, p)| (a, Some(p)));
        let (amount, cost) = rest.split_once('{').map_or((rest, None), |(a, c)| (a, Some(c)));
        let amount = self.money(amount, beancount)?;
        let price = price.map(|p| p.strip_prefix('@').map_or((p, false), |total| (total, true)));
        let (each, total) = match (cost, price) {
            (None, None) => return Ok((amount, None)),
            (Some(cost), _) => {
                let close = cost.find('}').context("a cost that is not closed; write `}`")?;
                let (inner, total) = match cost[..close].strip_prefix('{') {
                    Some(inner) => (inner, true),
                    None => (&cost[..close], false),
                };
                // The date and the label of a lot come behind the cost.
                (inner.split(", ").next().unwrap_or_default(), total)
            }
            (None, Some(price)) => price,
        };
        let each =
            self.money(each, beancount).map_err(|error| anyhow!("price or cost: {error}"))?;
        let units = if total { amount.units.signum().checked_mul(each.units) } else { None };
        let units = match units {
            Some(units) => units,
            None => product(amount.units, each.units)?,
        };
        Ok((amount, Some(Money { units, currency: each.currency })))
    }

    fn money(&mut self, text: &str, beancount: bool) -> Result<Money> {
        let text = text.trim();
        let wrong = || format!("{text:?} is no amount; write it as `-12.50 EUR`");
        let (bare, quoted) = match text.split_once('"') {
            None => (text.to_owned(), None),
            Some((before, rest)) => {
                let (name, after) = rest.split_once('"').with_context(wrong)?;
                (format!("{before} {after}"), Some(name))
            }
        };
        let digit = bare.find(|c: char| c.is_ascii_digit()).with_context(wrong)?;
        let start = if bare[..digit].ends_with('.') { digit - 1 } else { digit };
        let of_number = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
        let end = bare[start..].find(|c| !of_number(c)).map_or(bare.len(), |at| start + at);
        let (before, number, after) = (bare[..start].trim(), &bare[start..end], &bare[end..]);
        let attached = after.split(' ').next().unwrap_or_default();
        if attached.strip_prefix(['e', 'E']).is_some_and(|e| e.parse::<i32>().is_ok()) {
            bail!("{text:?} has an exponent; write the number out");
        }
        let (before, sign) = match (before.strip_prefix('-'), before.strip_suffix('-')) {
            (Some(rest), _) | (None, Some(rest)) => (rest.trim(), -1),
            (None, None) => (before.trim_matches('+').trim(), 1),
        };
        let commodity = match (before, after.trim(), quoted) {
            ("", "", Some(name)) | (name, "", None) | ("", name, None) => name,
            _ => bail!("{}", wrong()),
        };
        if commodity.is_empty() {
            bail!("{text:?} has no commodity; write the currency, as in `12.50 EUR`");
        }
        let units = sign * units(&plain_number(number, beancount)?)?;
        Ok(Money { units, currency: self.currency(commodity)? })
    }

    fn currency(&mut self, commodity: &str) -> Result<String> {
        let symbol = SYMBOLS.iter().find(|(symbol, _)| *symbol == commodity);
        let currency = symbol.map_or(commodity.to_uppercase(), |(_, code)| (*code).to_owned());
        let of_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "._-/".contains(c);
        let first = currency.starts_with(|c: char| c.is_ascii_uppercase());
        if !first || currency.len() > 24 || !currency.chars().all(of_code) {
            bail!(
                "commodity {commodity:?} can be no currency; \
                 rename it to at most 24 of A-Z 0-9 . _ - /, a letter first"
            );
        }
        if symbol.is_none() {
            let known = self.0.entry(currency.clone()).or_insert_with(|| commodity.to_owned());
            if known != commodity {
                bail!("{known:?} and {commodity:?} would both be {currency}; rename one of them");
            }
        }
        Ok(currency)
    }

    /// The commodities that are written otherwise than in the journal.
    pub(crate) fn renamed(&self) -> impl Iterator<Item = (&str, &str)> {
        let renamed = self.0.iter().filter(|(currency, commodity)| currency != commodity);
        renamed.map(|(currency, commodity)| (commodity.as_str(), currency.as_str()))
    }
}

/// The product of two decimals.
fn product(left: i128, right: i128) -> Result<i128> {
    let product =
        left.checked_mul(right).context("a price times its amount has too many digits")?;
    if product % SCALE.one() != 0 {
        bail!(
            "a price times its amount has more than {} fraction digits; write the total with `@@`",
            SCALE.digits()
        );
    }
    Ok(product / SCALE.one())
}

/// A number without separators of thousands. In beancount a comma always is one.
fn plain_number(text: &str, beancount: bool) -> Result<String> {
    let (points, commas) = (text.matches('.').count(), text.matches(',').count());
    let last =
        text.rfind(['.', ',']).map_or(' ', |at| if &text[at..=at] == "," { ',' } else { '.' });
    let (mark, thousands) = match (points, commas) {
        (0 | 1, 0) => ('.', ','),
        (0, 1) if !beancount => {
            if text.len() - text.find(',').unwrap_or(0) == 4 && !text.starts_with("0,") {
                bail!("{text:?} could have a decimal or a thousands comma; write it with a point");
            }
            (',', '.')
        }
        (0, _) => ('.', ','),
        (1, _) if last == '.' => ('.', ','),
        (_, 1) if last == ',' && !beancount => (',', '.'),
        (_, 0) if !beancount => (',', '.'),
        _ => bail!("{text:?} is no number; write it as `1234.50`"),
    };
    let (whole, fraction) = text.split_once(mark).unwrap_or((text, ""));
    let mut groups = whole.split(thousands).skip(1);
    if groups.any(|group| !(2..=3).contains(&group.len())) {
        bail!("{text:?} has odd thousands; write it as `1234.50`");
    }
    let whole = whole.replace(thousands, "");
    let whole = if whole.is_empty() { "0" } else { &whole };
    Ok(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}
