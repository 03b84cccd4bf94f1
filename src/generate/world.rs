//! The world the events are about: tenants, services, currencies, accounts, and how they are named.

use super::draw::scatter;
use super::event::{Event, Lines};
use super::text;

/// A currency or other unit of account, and its decimals.
pub(super) struct Currency {
    pub(super) code: &'static str,
    pub(super) decimals: usize,
}

const fn currency(code: &'static str, decimals: usize) -> Currency {
    Currency { code, decimals }
}

/// Every number of decimals from 0 to 8, ISO 4217 and what is not.
pub(super) const CURRENCIES: [Currency; 12] = [
    currency("EUR", 2),
    currency("USD", 2),
    currency("JPY", 0),
    currency("GBP", 2),
    currency("KWD", 3),
    currency("BTC", 8),
    currency("POINTS", 0),
    currency("X-MILES.V2", 1),
    currency("CLF", 4),
    currency("XAU/OZ", 5),
    currency("USDC", 6),
    currency("FUND_A.UNITS", 7),
];

/// The services whose outboxes feed the log. The last numbers nothing.
pub(super) const SERVICES: [&str; 6] =
    ["payments-api", "ledger-core", "card-processor", "billing", "back-office", "legacy-import"];
/// Services before this one give their events a sequence.
pub(super) const SEQUENCED: usize = 5;

/// The legs of transactions that two services report.
pub(super) const LEGS: [&str; 3] = ["", "payer", "empfänger"];

/// The accounts that every tenant has, besides those of its customers.
const CHART: [&str; 24] = [
    "assets:cash:eur",
    "assets:cash:usd",
    "assets:bank:hsbc:operating",
    "assets:банк:münchen",
    "assets:clearing:stripe",
    "assets:clearing:adyen",
    "assets:clearing:sepa",
    "assets:🏦:vault",
    "assets:crypto:hot-wallet",
    "liabilities:payable:suppliers",
    "liabilities:tax:vat:de",
    "liabilities:tax:gst",
    "liabilities:loyalty:points",
    "equity:retained",
    "equity:fx-conversion",
    "income:fees:card",
    "income:fees:transfer",
    "income:interest",
    "収入:売上",
    "revenue:subscriptions:café",
    "expenses:fees:\"interchange\"",
    "expenses:legacy\\batch\\import",
    "expenses:a/b:👩‍💻:contractors",
    "suspense:unmatched",
];

/// The account that takes what has no better place.
pub(super) const SUSPENSE: u64 = CHART.len() as u64 - 1;

/// How many accounts of the chart there are; numbers from here on are customers.
pub(super) const CUSTOMERS: u64 = CHART.len() as u64;

const REGIONS: [&[u8]; 5] = [b"emea", b"apac", b"amer", b"dach", b"nordics"];

/// Writes an account name as a JSON string.
pub(super) fn account(out: &mut Vec<u8>, number: u64, escaped: bool) {
    let chart = usize::try_from(number).ok().and_then(|n| CHART.get(n));
    if let Some(name) = chart {
        return text::string(out, name, escaped);
    }
    let customer = number - CUSTOMERS;
    let tree: &[u8] =
        if customer % 4 == 3 { b"\"assets:receivable:" } else { b"\"liabilities:customers:" };
    out.extend_from_slice(tree);
    out.extend_from_slice(REGIONS[(customer % 5) as usize]);
    out.extend_from_slice(b":c");
    text::padded(out, customer + 1, 6);
    out.push(b'"');
}

/// The processors and the number of the account of the chart on which each clears.
pub(super) const PROCESSORS: [(&str, u64); 3] = [("stripe", 4), ("adyen", 5), ("sepa", 6)];

/// What a service has sent behind a sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) after: u64,
    pub(super) count: u64,
    /// Debits and credits by currency, in its smallest unit.
    pub(super) sums: [(u64, u64); CURRENCIES.len()],
}

impl Sent {
    pub(super) fn add(&mut self, event: &Event) {
        if event.sequence <= self.after {
            return;
        }
        self.count += 1;
        for line in event.lines.iter().flat_map(Lines::as_slice) {
            let (debits, credits) = &mut self.sums[line.currency];
            let side = if line.credit { credits } else { debits };
            *side = side.saturating_add(line.amount);
        }
    }
}

/// One tenant, and how far its numbers have come.
pub(super) struct Tenant {
    /// The name, written as it is inside a JSON string.
    pub(super) name: String,
    /// How many customer accounts it has: a few hundred to a few thousand.
    pub(super) customers: u64,
    /// The currency of most of its transactions.
    pub(super) currency: usize,
    /// The number of its last transaction.
    pub(super) transactions: u64,
    /// The last sequence of each service.
    pub(super) sequences: [u64; SEQUENCED],
    /// What each service has sent since its last control total.
    pub(super) sent: [Sent; SEQUENCED],
    scatter: u64,
}

impl Tenant {
    /// Describes the tenant of a number; the same one in every workload.
    pub(super) fn new(number: u64) -> Tenant {
        let name = match number % 8 {
            3 => format!("müller-gmbh-{number}"),
            5 => format!("株式会社-{number}"),
            _ => format!("tenant-{number:04}"),
        };
        let scattered = scatter(number);
        Tenant {
            name,
            customers: 200 + scattered % 2_800,
            currency: usize::try_from(scattered >> 32).unwrap_or(0) % CURRENCIES.len(),
            transactions: 0,
            sequences: [0; SEQUENCED],
            sent: [Sent::default(); SEQUENCED],
            scatter: scattered,
        }
    }

    /// Writes the id of a transaction as a JSON string: invoices are numbered alike in every
    /// tenant, so that a match across tenants would show; other ids differ.
    pub(super) fn transaction_id(&self, out: &mut Vec<u8>, number: u64, escaped: bool) {
        match number % 8 {
            0 | 1 => {
                out.extend_from_slice(b"\"INV-2026-");
                text::padded(out, number, 9);
                out.push(b'"');
            }
            2 if number % 64 == 2 => {
                text::string(out, &format!("Überweisung \"№ {number}\""), escaped);
            }
            2..=4 => {
                out.extend_from_slice(b"\"pay_");
                text::hex(out, scatter(number ^ self.scatter), 16);
                out.push(b'"');
            }
            _ => {
                let random = scatter(number.wrapping_add(self.scatter));
                out.push(b'"');
                text::hex(out, random >> 32, 8);
                out.push(b'-');
                text::hex(out, random >> 16, 4);
                out.extend_from_slice(b"-4");
                text::hex(out, random, 3);
                out.extend_from_slice(b"-a");
                text::hex(out, random >> 12, 3);
                out.push(b'-');
                // The number itself keeps the id unique, whatever is lost above.
                text::hex(out, number, 12);
                out.push(b'"');
            }
        }
    }
}
