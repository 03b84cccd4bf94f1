//! The rules that rows depend on, as commits keep them: a text that says what is not the rule anyway.
//!
//! Guarantee: equal rules have equal texts, and what a text leaves out has one meaning for ever, that
//! of `unsaid`. Whoever has the store alone can read it: nobody needs to find the configuration of
//! the time to verify it.
//!
//! Left out: whether a store can be gone on with. One that an earlier build wrote has equal rules and
//! needs to be made anew all the same, since it lacks the views that were added.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use trueup_ledger::timestamp::DAY_MICROS;
use trueup_ledger::{Delayed, Rules, Timestamp};

use crate::exit;

/// What is not as `unsaid`, in this order. Times are in microseconds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    clearing: BTreeMap<Box<str>, Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delayed_event_after: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delayed_event_since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    statement_mismatch_after: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alert_grace: Option<i64>,
}

/// What a text means that does not say it. These are part of the format of commits and never change,
/// not even where an empty configuration comes to mean something else: the rows of a store would
/// change under an equal hash.
const UNSAID_STATEMENT_MISMATCH_AFTER: i64 = 3 * DAY_MICROS;
const UNSAID_ALERT_GRACE: i64 = 5 * 60_000_000;

/// Returns the rules of a commit that says nothing of them.
fn unsaid() -> Rules {
    Rules {
        clearing: BTreeMap::new(),
        delayed: None,
        statement_mismatch_after: UNSAID_STATEMENT_MISMATCH_AFTER,
        alert_grace: UNSAID_ALERT_GRACE,
    }
}

/// Returns the text of rules, `None` where it has nothing to say.
#[must_use]
pub fn text(rules: &Rules) -> Option<String> {
    if *rules == unsaid() {
        return None;
    }
    let unless = |value: i64, unsaid: i64| (value != unsaid).then_some(value);
    let since = rules.delayed.and_then(|delayed| delayed.since);
    let kept = Kept {
        clearing: rules.clearing.clone(),
        delayed_event_after: rules.delayed.map(|delayed| delayed.after),
        delayed_event_since: since.map(|since| since.to_string()),
        statement_mismatch_after: unless(
            rules.statement_mismatch_after,
            UNSAID_STATEMENT_MISMATCH_AFTER,
        ),
        alert_grace: unless(rules.alert_grace, UNSAID_ALERT_GRACE),
    };
    // A map of texts and numbers can always be written.
    serde_json::to_string(&kept).ok()
}

/// Reads the rules of a commit.
///
/// # Errors
/// Where another version of the program wrote what this one does not know.
pub fn read(text: Option<&str>) -> anyhow::Result<Rules> {
    let Some(text) = text else { return Ok(unsaid()) };
    let unknown = || format!("the rules of the commits, {text}, are not known to this version");
    let kept: Kept = serde_json::from_str(text).with_context(unknown)?;
    let since = match kept.delayed_event_since.as_deref() {
        None => None,
        Some(since) => Some(Timestamp::parse(since).ok_or_else(|| exit::failed(unknown()))?),
    };
    Ok(Rules {
        clearing: kept.clearing,
        delayed: kept.delayed_event_after.map(|after| Delayed { after, since }),
        statement_mismatch_after: kept
            .statement_mismatch_after
            .unwrap_or(UNSAID_STATEMENT_MISMATCH_AFTER),
        alert_grace: kept.alert_grace.unwrap_or(UNSAID_ALERT_GRACE),
    })
}

/// Says in which rules a store and a configuration differ.
#[must_use]
pub fn differences(store: &Rules, configuration: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |name: &str, store: Option<String>, configuration: Option<String>| {
        if store != configuration {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
            let (store, configuration) = (shown(store), shown(configuration));
            found.push(format!("{name} is {store} in the store, {configuration} here"));
        }
    };
    let of = |rules: &Rules| {
        let since = rules.delayed.and_then(|delayed| delayed.since);
        [
            ("delayed_event_after", rules.delayed.map(|delayed| duration(delayed.after))),
            ("delayed_event_since", since.map(|since| since.to_string())),
            ("statement_mismatch_after", Some(duration(rules.statement_mismatch_after))),
            ("alert_grace", Some(duration(rules.alert_grace))),
        ]
    };
    for ((name, store), (_, configuration)) in of(store).into_iter().zip(of(configuration)) {
        compare(name, store, configuration);
    }
    let mut processors: Vec<_> =
        store.clearing.keys().chain(configuration.clearing.keys()).collect();
    processors.sort();
    processors.dedup();
    for processor in processors {
        let account = |rules: &Rules| rules.clearing.get(processor).map(ToString::to_string);
        let name = format!("the clearing account of processor {processor:?}");
        compare(&name, account(store), account(configuration));
    }
    found
}

/// Writes a time as a configuration does: in the largest unit of which it is a whole number.
#[must_use]
pub fn duration(micros: i64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    let unit = units.into_iter().find(|(unit, _)| micros != 0 && micros % unit == 0);
    match unit {
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None if micros == 0 => "0s".to_owned(),
        None => format!("{micros}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Rules {
        Rules {
            clearing: BTreeMap::from([("acme \"pay\"".into(), "assets:clearing:acme".into())]),
            delayed: Some(Delayed {
                after: 3_600_000_000,
                since: Timestamp::parse("2026-01-01T01:00:00.5+01:00"),
            }),
            statement_mismatch_after: 0,
            alert_grace: 1_500_000,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let off = Rules { delayed: Some(Delayed { after: 0, since: None }), ..Rules::default() };
        for rules in [Rules::default(), all(), off] {
            assert_eq!(read(text(&rules).as_deref()).unwrap(), rules);
        }
        // What a commit means that says nothing, whatever the configuration's defaults become.
        let silent = read(None).unwrap();
        assert_eq!(
            (silent.statement_mismatch_after, silent.alert_grace),
            (259_200_000_000, 300_000_000)
        );
        assert_eq!((text(&silent), silent.delayed, silent.clearing.len()), (None, None, 0));
        assert_eq!(read(Some("{}")).unwrap(), silent);
        // Commits hold this text.
        assert_eq!(
            text(&all()).unwrap(),
            "{\"clearing\":{\"acme \\\"pay\\\"\":\"assets:clearing:acme\"},\
             \"delayed_event_after\":3600000000,\"delayed_event_since\":\"2026-01-01T00:00:00.5Z\",\
             \"statement_mismatch_after\":0,\"alert_grace\":1500000}"
        );
        assert!(read(Some("{\"colour\":1}")).unwrap_err().to_string().contains("not known"));
    }

    #[test]
    fn differences_are_told_as_they_are_configured() {
        assert!(differences(&all(), &all()).is_empty());
        let expected = [
            "delayed_event_after is 1h in the store, not set here",
            "delayed_event_since is 2026-01-01T00:00:00.5Z in the store, not set here",
            "statement_mismatch_after is 0s in the store, 3d here",
            "alert_grace is 1500ms in the store, 5m here",
            "the clearing account of processor \"acme \\\"pay\\\"\" is assets:clearing:acme in the \
             store, not set here",
        ];
        assert_eq!(differences(&all(), &Rules::default()), expected);
        assert_eq!(duration(7), "7us");
    }
}
