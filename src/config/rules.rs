//! The rules that rows depend on: the sections `[[processor]]` and `[detectors]`, and the flags that
//! stand in for them.

use std::collections::BTreeMap;
use std::time::Duration;

use trueup_ledger::draft::{ACCOUNT_BYTES_MAX, IDENTIFIER_CHARS_MAX, is_account};
use trueup_ledger::{Delayed, Rules, Timestamp};

use super::cluster::inner;
use super::error::{ConfigError, Invalid};
use super::file::{Reading, Section, kind};
use super::value::duration;

const PROCESSOR_KEYS: &[&str] = &["name", "clearing_account"];
const DETECTOR_KEYS: &[&str] =
    &["delayed_event_after", "delayed_event_since", "statement_mismatch_after", "alert_grace"];

const DAY: Duration = Duration::from_secs(86_400);

/// The flags that stand in for the sections.
#[derive(Clone, Debug, Default)]
pub struct RuleFlags {
    /// `--clearing`, processors and their accounts
    pub clearing: Vec<(String, String)>,
    /// `--delayed-event-after`
    pub delayed_event_after: Option<Duration>,
    /// `--delayed-event-since`
    pub delayed_event_since: Option<Timestamp>,
    /// `--statement-mismatch-after`
    pub statement_mismatch_after: Option<Duration>,
    /// `--alert-grace`
    pub alert_grace: Option<Duration>,
}

impl RuleFlags {
    /// Builds the rules.
    ///
    /// # Errors
    /// A processor that is named twice, or a `--delayed-event-since` without what it limits.
    pub(super) fn rules(self) -> Result<Rules, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut report = |key: &str, invalid: Invalid| {
            let (problem, remedy) = (invalid.problem, invalid.remedy);
            errors.push(ConfigError { key: key.to_owned(), line: None, problem, remedy });
        };
        let mut clearing = BTreeMap::new();
        for (processor, account) in self.clearing {
            if clearing.insert(processor.as_str().into(), account.into()).is_some() {
                report("--clearing", named_twice(&processor));
            }
        }
        if self.delayed_event_since.is_some() && self.delayed_event_after.is_none() {
            let remedy = "give --delayed-event-after, or leave it out";
            report("--delayed-event-since", Invalid::new(LIMITS_NOTHING, remedy));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(rules(
            clearing,
            &Times {
                delayed_after: self.delayed_event_after,
                delayed_since: self.delayed_event_since,
                mismatch_after: self.statement_mismatch_after,
                grace: self.alert_grace,
            },
        ))
    }
}

const LIMITS_NOTHING: &str = "it limits nothing: no event is too late";

fn named_twice(processor: &str) -> Invalid {
    let problem = format!("{processor:?} is the name of another processor too");
    Invalid::new(problem, "give each processor a name of its own")
}

/// What detectors are told of time.
#[derive(Default)]
struct Times {
    delayed_after: Option<Duration>,
    delayed_since: Option<Timestamp>,
    mismatch_after: Option<Duration>,
    grace: Option<Duration>,
}

fn rules(clearing: BTreeMap<Box<str>, Box<str>>, times: &Times) -> Rules {
    let default = Rules::default();
    // Ten years of microseconds are well within 64 bits.
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let after = times.delayed_after.map(micros);
    Rules {
        clearing,
        delayed: after.map(|after| Delayed { after, since: times.delayed_since }),
        statement_mismatch_after: times
            .mismatch_after
            .map_or(default.statement_mismatch_after, micros),
        alert_grace: times.grace.map_or(default.alert_grace, micros),
    }
}

/// Reads the sections, where there are any.
pub(super) fn of_file(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> Rules {
    let clearing = processors(reading, root);
    let times = detectors(reading, root).unwrap_or_default();
    rules(clearing, &times)
}

fn processors(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> BTreeMap<Box<str>, Box<str>> {
    const REMEDY: &str = "add a section [[processor]] with name and clearing_account";
    let mut clearing = BTreeMap::new();
    let Some(found) = root.table.get("processor") else { return clearing };
    let Some(array) = found.get_ref().as_array() else {
        let problem = format!("it is a {}, no list of sections", kind(found.get_ref()));
        reading.report(root, "processor", Some(found.span()), Invalid::new(problem, REMEDY));
        return clearing;
    };
    for (index, element) in array.iter().enumerate() {
        let path = format!("processor[{index}]");
        let span = Some(element.span());
        let Some(table) = element.get_ref().as_table() else {
            let problem = format!("it is a {}, no section", kind(element.get_ref()));
            reading.report(root, &path, span, Invalid::new(problem, REMEDY));
            continue;
        };
        let section = Section { table, path, span };
        reading.known_keys(&section, PROCESSOR_KEYS);
        let name = reading.required(&section, "name", "the name that its statement lines have");
        let name = name.and_then(|at| {
            reading.parsed(&section, at, |text| {
                let name = processor(text)?;
                if clearing.contains_key(name.as_str()) { Err(named_twice(text)) } else { Ok(name) }
            })
        });
        let at = reading.required(&section, "clearing_account", "the account that it settles");
        let account = at.and_then(|at| reading.parsed(&section, at, account));
        if let Some(name) = name {
            // The name is taken though its account is wrong.
            clearing.insert(name.into(), account.unwrap_or_default().into());
        }
    }
    clearing
}

fn detectors(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> Option<Times> {
    const REMEDY: &str = "write a section [detectors], as in trueup.example.toml";
    let section = inner(reading, root, "detectors", REMEDY)?;
    reading.known_keys(&section, DETECTOR_KEYS);
    let mut delay = |key, parse: fn(&str) -> Result<Duration, Invalid>| {
        reading.optional(&section, key).and_then(|at| reading.parsed(&section, at, parse))
    };
    let delayed_after = delay("delayed_event_after", self::delay);
    let mismatch_after = delay("statement_mismatch_after", self::delay);
    let alert_grace = delay("alert_grace", grace);
    let since = reading.optional(&section, "delayed_event_since");
    let delayed_since = since.and_then(|at| reading.parsed(&section, at, instant));
    if let Some(since) = section.table.get("delayed_event_since")
        && !section.table.contains_key("delayed_event_after")
    {
        let invalid = Invalid::new(LIMITS_NOTHING, "write delayed_event_after, or leave it out");
        reading.report(&section, "delayed_event_since", Some(since.span()), invalid);
    }
    Some(Times { delayed_after, delayed_since, mismatch_after, grace: alert_grace })
}

/// Parses how late an event, or how old a difference, may be: `0s`, `90m`, `3d`.
///
/// # Errors
/// [`Invalid`] where it is no duration, or more than ten years.
pub fn delay(text: &str) -> Result<Duration, Invalid> {
    const REMEDY: &str =
        "write a whole number and a unit, \"0s\" to \"3650d\" (units: ms, s, m, h, d)";
    duration(text, Duration::ZERO..=3650 * DAY, REMEDY)
}

/// Parses how long an imbalance must last: `0s`, `5m`.
///
/// # Errors
/// [`Invalid`] where it is no duration, or more than 30 days.
pub fn grace(text: &str) -> Result<Duration, Invalid> {
    const REMEDY: &str =
        "write a whole number and a unit, \"0s\" to \"30d\" (units: ms, s, m, h, d)";
    duration(text, Duration::ZERO..=30 * DAY, REMEDY)
}

/// Parses an instant.
///
/// # Errors
/// [`Invalid`] where it is not one of RFC 3339.
pub fn instant(text: &str) -> Result<Timestamp, Invalid> {
    // Commits keep it in UTC, where its year must have four digits too.
    let found = Timestamp::parse(text);
    let found = found.filter(|instant| Timestamp::parse(&instant.to_string()) == Some(*instant));
    found.ok_or_else(|| {
        let problem = format!("{text:?} is no instant");
        Invalid::new(problem, "write an RFC 3339 date and time: \"2026-01-01T00:00:00Z\"")
    })
}

/// Checks the name of a processor, by the rule for those of statement lines.
///
/// # Errors
/// [`Invalid`] where it is not 1 to 128 characters.
pub fn processor(text: &str) -> Result<String, Invalid> {
    if (1..=IDENTIFIER_CHARS_MAX).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    let remedy =
        format!("write 1 to {IDENTIFIER_CHARS_MAX} characters, as statement lines have it");
    Err(Invalid::new(format!("{text:?} is no name of a processor"), remedy))
}

/// Checks the name of an account, by the rule for those of postings.
///
/// # Errors
/// [`Invalid`] where no posting can have it.
pub fn account(text: &str) -> Result<String, Invalid> {
    if is_account(text) {
        return Ok(text.to_owned());
    }
    let remedy = format!("write 1 to {ACCOUNT_BYTES_MAX} bytes and no control characters");
    Err(Invalid::new(format!("{text:?} is no name of an account"), remedy))
}

/// Parses a processor and its account, `PROCESSOR=ACCOUNT`.
///
/// # Errors
/// [`Invalid`] where either is wrong.
pub fn clearing(text: &str) -> Result<(String, String), Invalid> {
    let Some((name, of)) = text.split_once('=') else {
        let remedy = "write PROCESSOR=ACCOUNT, as in acmepay=assets:clearing:acmepay";
        return Err(Invalid::new(format!("{text:?} names no account"), remedy));
    };
    Ok((processor(name)?, account(of)?))
}
