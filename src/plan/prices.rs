//! Prices: what a request, a byte that is kept, a core and a byte between zones cost.

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::inputs::decimal;
use crate::config::{ConfigError, ConfigErrors, value};

/// The prices where none are given.
const BUILT_IN: &str = include_str!("prices.toml");

/// Digits behind the point of a price: prices are billionths of a dollar.
const DIGITS: usize = 9;

/// Prices in billionths of a dollar, and whose they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Prices {
    /// Of when they are.
    pub as_of: String,
    /// Whose they are.
    pub source: String,
    /// A thousand PUT requests.
    pub put_per_1000_nanodollars: u64,
    /// A thousand GET requests.
    pub get_per_1000_nanodollars: u64,
    /// A thousand LIST requests.
    pub list_per_1000_nanodollars: u64,
    /// 10^9 bytes in the object store, for a month.
    pub store_gb_month_nanodollars: u64,
    /// A core for an hour.
    pub vcpu_hour_nanodollars: u64,
    /// 10^9 bytes of memory for an hour.
    pub ram_gb_hour_nanodollars: u64,
    /// 10^9 bytes of disk for a month.
    pub ssd_gb_month_nanodollars: u64,
    /// 10^9 bytes from one zone to another.
    pub cross_zone_gb_nanodollars: u64,
}

impl Prices {
    /// Reads the section `[prices]` of a file; `origin` names it in errors.
    ///
    /// # Errors
    /// Every key that is missing, not known or wrong.
    pub fn parse(text: &str, origin: &str) -> Result<Prices, ConfigErrors> {
        let mut reading = Reading { text, errors: Vec::new() };
        let prices = reading.prices();
        if reading.errors.is_empty() {
            return Ok(prices);
        }
        Err(ConfigErrors { origin: origin.to_owned(), errors: reading.errors })
    }

    /// Returns the prices that come with the program.
    ///
    /// # Errors
    /// None in a program that was tested.
    pub fn built_in() -> Result<Prices, ConfigErrors> {
        Prices::parse(BUILT_IN, "the built-in prices")
    }
}

struct Reading<'t> {
    text: &'t str,
    errors: Vec<ConfigError>,
}

impl Reading<'_> {
    fn prices(&mut self) -> Prices {
        let mut prices = Prices::default();
        let document = match DeTable::parse(self.text) {
            Ok(document) => document,
            Err(error) => {
                let problem = format!("this is no TOML: {}", error.message());
                self.report("", error.span().map(|span| span.start), problem, FORM);
                return prices;
            }
        };
        for (key, found) in document.get_ref().iter().filter(|(key, _)| key.get_ref() != "prices") {
            let problem = "this key is not known".to_owned();
            self.report(key.get_ref(), Some(found.span().start), problem, FORM);
        }
        let table = document.get_ref().get("prices").and_then(|found| found.get_ref().as_table());
        let Some(table) = table else {
            self.report("prices", None, "there is no such section".to_owned(), FORM);
            return prices;
        };
        prices.as_of = self.text_of(table, "as_of");
        prices.source = self.text_of(table, "source");
        let mut known = vec!["as_of", "source"];
        for (key, price) in prices.listed_mut() {
            known.push(key);
            *price = self.price(table, key);
        }
        for (key, found) in table.iter().filter(|(key, _)| !known.contains(&&**key.get_ref())) {
            let remedy = value::nearest(key.get_ref(), known.iter().copied());
            let remedy = remedy.map_or(FORM.to_owned(), |near| format!("did you mean {near}?"));
            let path = format!("prices.{}", key.get_ref());
            let problem = "this key is not known".to_owned();
            self.report(&path, Some(found.span().start), problem, &remedy);
        }
        prices
    }

    fn text_of(&mut self, table: &DeTable<'_>, key: &str) -> String {
        let remedy = "write a text: of when the prices are, and whose";
        let Some(found) = self.found(table, key, remedy) else { return String::new() };
        if let Some(text) = found.get_ref().as_str() {
            return text.to_owned();
        }
        let problem = format!("{} is no text", self.shown(found));
        self.report(&format!("prices.{key}"), Some(found.span().start), problem, remedy);
        String::new()
    }

    fn price(&mut self, table: &DeTable<'_>, key: &str) -> u64 {
        let remedy =
            "write dollars, up to 1000000 with at most 9 digits behind the point, as in 0.005";
        let Some(found) = self.found(table, key, remedy) else { return 0 };
        let text = match found.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => self.shown(found),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        // No more than a million dollars keeps every product far from overflow.
        let most = 1_000_000 * 1_000_000_000;
        let price = decimal(&text, DIGITS).filter(|price| *price <= most);
        if let Some(price) = price.and_then(|price| u64::try_from(price).ok()) {
            return price;
        }
        let problem = format!("{} is no price", self.shown(found));
        self.report(&format!("prices.{key}"), Some(found.span().start), problem, remedy);
        0
    }

    fn found<'d, 'i>(
        &mut self,
        table: &'d DeTable<'i>,
        key: &str,
        remedy: &str,
    ) -> Option<&'d Spanned<DeValue<'i>>> {
        let found = table.get(key);
        if found.is_none() {
            self.report(&format!("prices.{key}"), None, "it is missing".to_owned(), remedy);
        }
        found
    }

    fn shown(&self, value: &Spanned<DeValue<'_>>) -> String {
        self.text.get(value.span()).unwrap_or_default().chars().take(60).collect()
    }

    fn report(&mut self, key: &str, place: Option<usize>, problem: String, remedy: &str) {
        let before = |place| self.text.as_bytes().get(..place).unwrap_or_default();
        let line = place.map(|place| 1 + before(place).iter().filter(|b| **b == b'\n').count());
        let (key, remedy) = (key.to_owned(), remedy.to_owned());
        self.errors.push(ConfigError { key, line, problem, remedy });
    }
}

const FORM: &str = "see docs/capacity.md for the form";

impl Prices {
    /// Returns the prices by their key in a file.
    fn listed_mut(&mut self) -> [(&'static str, &mut u64); 8] {
        [
            ("put_per_1000", &mut self.put_per_1000_nanodollars),
            ("get_per_1000", &mut self.get_per_1000_nanodollars),
            ("list_per_1000", &mut self.list_per_1000_nanodollars),
            ("store_gb_month", &mut self.store_gb_month_nanodollars),
            ("vcpu_hour", &mut self.vcpu_hour_nanodollars),
            ("ram_gb_hour", &mut self.ram_gb_hour_nanodollars),
            ("ssd_gb_month", &mut self.ssd_gb_month_nanodollars),
            ("cross_zone_gb", &mut self.cross_zone_gb_nanodollars),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_complete() {
        let prices = Prices::built_in().unwrap();
        assert_eq!(prices.put_per_1000_nanodollars, 5_000_000);
        assert_eq!(prices.get_per_1000_nanodollars, 400_000);
        assert_eq!(prices.cross_zone_gb_nanodollars, 20_000_000);
        assert!(!prices.as_of.is_empty() && !prices.source.is_empty());
    }

    #[test]
    fn all_mistakes_at_once() {
        let text = BUILT_IN
            .replace("put_per_1000 = 0.005", "put_per_1000 = -1")
            .replace("get_per_1000", "get_per_100")
            .replace("vcpu_hour = 0.04048", "vcpu_hour = \"4 cents\"")
            .replace("ssd_gb_month = 0.08", "ssd_gb_month = 0.0800000001");
        let errors = Prices::parse(&text, "p.toml").unwrap_err().to_string();
        let price =
            "write dollars, up to 1000000 with at most 9 digits behind the point, as in 0.005";
        let expected = format!(
            "p.toml: 5 errors\n  \
             line 8: prices.put_per_1000: -1 is no price; {price}\n  \
             prices.get_per_1000: it is missing; {price}\n  \
             line 14: prices.vcpu_hour: \"4 cents\" is no price; {price}\n  \
             line 16: prices.ssd_gb_month: 0.0800000001 is no price; {price}\n  \
             line 9: prices.get_per_100: this key is not known; did you mean get_per_1000?"
        );
        assert_eq!(errors, expected);
        let errors = Prices::parse("x = 1", "p.toml").unwrap_err().to_string();
        assert!(errors.contains("x: this key is not known"), "{errors}");
        assert!(errors.contains("there is no such section"), "{errors}");
        assert!(Prices::parse("[prices", "p.toml").unwrap_err().to_string().contains("no TOML"));
    }
}
