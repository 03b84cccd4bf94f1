//! What an alert says beside its imbalance: its name, the first offending events, and the command
//! that an operator runs next.
//!
//! The file is presentation: it decides nothing about books, so that both witnesses may share it. It
//! promises that what it returns can be pasted into a POSIX shell, whatever the names in it are.

use serde_json::Value;

use crate::Epoch;
use crate::key::name_hash;

/// Returns the name of the alert of an imbalance that lasts since an epoch: 32 hexadecimal digits.
#[must_use]
pub fn alert_id(
    tenant: &str,
    detector: &str,
    subject: &str,
    currency: &str,
    since: Epoch,
) -> String {
    let hash = name_hash(&[tenant, detector, subject, currency, &since.to_string()]);
    format!("{hash:032x}")
}

/// Returns the first offending events that a detail names, as a JSON list without blanks: its
/// `events`, else its `event_id`, else none.
///
/// ```
/// use trueup_ledger::explain::first_events;
/// assert_eq!(first_events(r#"{"events":["e1","e2"],"gross":"1"}"#), r#"["e1","e2"]"#);
/// assert_eq!(first_events(r#"{"event_id":"e1"}"#), r#"["e1"]"#);
/// assert_eq!(first_events("{}"), "[]");
/// ```
#[must_use]
pub fn first_events(detail: &str) -> String {
    let detail: Value = serde_json::from_str(detail).unwrap_or_default();
    match (detail.get("events"), detail.get("event_id")) {
        (Some(events), _) => events.to_string(),
        (None, Some(event)) => format!("[{event}]"),
        (None, None) => "[]".to_owned(),
    }
}

/// Returns the command that shows what is behind an imbalance.
///
/// ```
/// use trueup_ledger::explain::explain;
/// assert_eq!(
///     explain("acme", "orphan", "t 1", ""),
///     "trueup query postings --tenant acme --where 'transaction_id=t 1'"
/// );
/// ```
#[must_use]
pub fn explain(tenant: &str, detector: &str, subject: &str, currency: &str) -> String {
    let query = |view: &str, column: &str, value: &str| {
        let tenant = quoted(tenant, "");
        let filter = quoted(&format!("{column}={value}"), "=");
        format!("trueup query {view} --tenant {tenant} --where {filter}")
    };
    match (detector, subject.split_once('/')) {
        (
            "unbalanced_transaction"
            | "orphan"
            | "over_reversed"
            | "over_refunded"
            | "over_captured"
            | "hold_already_resolved"
            | "stuck_hold",
            _,
        ) => query("postings", "transaction_id", subject),
        // The subject of an event without a transaction begins with the `/`.
        ("conflict" | "delayed_event" | "late_into_closed_period", Some((transaction, _)))
            if !transaction.is_empty() =>
        {
            query("postings", "transaction_id", &unescaped(transaction))
        }
        ("overdraft", _) => {
            let (tenant, account) = (quoted(tenant, ""), quoted(subject, ""));
            let currency = quoted(currency, "");
            format!("trueup explain --tenant {tenant} --account {account} --currency {currency}")
        }
        ("shard_imbalance" | "trial_imbalance", _) => {
            query("imbalances", "detector", "unbalanced_transaction")
        }
        ("sequence_gap", _) => query("source_continuity", "service", subject),
        ("control_total_mismatch", Some((service, _))) => {
            query("source_continuity", "service", &unescaped(service))
        }
        ("statement_mismatch", Some((_, reference))) => {
            query("reconciliation", "reference", &unescaped(reference))
        }
        _ => query("imbalances", "detector", detector),
    }
}

/// Undoes what a subject of several names does to each: `%25` for `%`, `%2F` for `/`.
fn unescaped(name: &str) -> String {
    // In this order: an escaped `%` has its `25` between, so that no `%2F` comes of it.
    name.replace("%2F", "/").replace("%25", "%")
}

/// Quotes a word for a shell, unless it is of characters only that mean nothing to one.
fn quoted(word: &str, also_plain: &str) -> String {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || ":._-/@%".contains(c) || also_plain.contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detector_has_its_command() {
        let postings = "trueup query postings --tenant acme --where transaction_id=";
        let imbalances = "trueup query imbalances --tenant acme --where detector=";
        let continuity = "trueup query source_continuity --tenant acme --where ";
        let rows = [
            ("unbalanced_transaction", "t1", postings, "t1"),
            ("shard_imbalance", "007", imbalances, "unbalanced_transaction"),
            ("trial_imbalance", "EUR", imbalances, "unbalanced_transaction"),
            ("orphan", "a/b%c", postings, "a/b%c"),
            ("conflict", "a%2Fb%25c/e1", postings, "a/b%c"),
            ("conflict", "a%252F/e1", postings, "a%2F"),
            ("conflict", "/account/e1", imbalances, "conflict"),
            ("over_reversed", "t1", postings, "t1"),
            ("over_refunded", "t1", postings, "t1"),
            ("over_captured", "h1", postings, "h1"),
            ("hold_already_resolved", "c1", postings, "c1"),
            ("overdraft", "cash", "trueup explain --tenant acme --account cash", " --currency EUR"),
            ("sequence_gap", "a/b%2F", continuity, "service=a/b%2F"),
            ("control_total_mismatch", "a%2Fb%252F/1-7", continuity, "service=a/b%2F"),
            (
                "statement_mismatch",
                "p%2Fq/t%2F1",
                "trueup query reconciliation --tenant acme --where ",
                "reference=t/1",
            ),
            ("stuck_hold", "h1", postings, "h1"),
            ("delayed_event", "t1/e1", postings, "t1"),
            ("delayed_event", "/statement_line/s1", imbalances, "delayed_event"),
            ("late_into_closed_period", "t%2F1/2026-10", postings, "t/1"),
            ("of_a_later_version", "x", imbalances, "of_a_later_version"),
        ];
        for (detector, subject, command, rest) in rows {
            let expected = format!("{command}{rest}");
            assert_eq!(explain("acme", detector, subject, "EUR"), expected, "{detector} {subject}");
        }
    }

    #[test]
    fn names_are_quoted_for_a_shell() {
        assert_eq!(
            explain("a'b", "overdraft", "assets:cash é", ""),
            r"trueup explain --tenant 'a'\''b' --account 'assets:cash é' --currency ''"
        );
        assert_eq!(
            explain("a=b", "orphan", "t=1", ""),
            "trueup query postings --tenant 'a=b' --where transaction_id=t=1"
        );
        assert_eq!(
            explain("$(x)", "orphan", "t'1\n", ""),
            "trueup query postings --tenant '$(x)' --where 'transaction_id=t'\\''1\n'"
        );
    }

    #[test]
    fn first_events_are_read_from_the_detail() {
        let rows = [
            (r#"{"events":["e\"1","é"],"event_id":"x"}"#, r#"["e\"1","é"]"#),
            (r#"{"events":[]}"#, "[]"),
            (r#"{"event_id":"e\\1","kind":"account"}"#, r#"["e\\1"]"#),
            (r#"{"gross":"1"}"#, "[]"),
            ("", "[]"),
        ];
        for (detail, events) in rows {
            assert_eq!(first_events(detail), events, "{detail}");
        }
    }

    #[test]
    fn an_alert_is_named_by_its_key_and_since_when_it_lasts() {
        let id = |currency, epoch| alert_id("acme", "orphan", "t1", currency, Epoch(epoch));
        let named = name_hash(&["acme", "orphan", "t1", "EUR", "12"]);
        assert_eq!(id("EUR", 12), format!("{named:032x}"));
        assert_eq!(id("EUR", 12).len(), 32);
        assert_ne!(id("EUR", 12), id("EUR", 13));
        assert_ne!(id("EUR", 12), id("", 12));
    }
}
