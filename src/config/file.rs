//! `trueup.toml` to [`Config`], collecting every mistake on the way.
//!
//! The text is parsed to a tree that knows where each value stands. A value that is wrong is
//! reported and stands in as absent, so that one mistake never hides another.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use trueup_ledger::Scale;

use super::error::{ConfigError, Invalid};
use super::{
    COMMIT_INTERVAL_DEFAULT, COMMIT_MAX_RECORDS_DEFAULT, COMMIT_MAX_RECORDS_MAX, Config,
    FormatConfig, SourceConfig, StateConfig, TransportConfig, WORKERS_MAX, bucket, cluster, kafka,
    rules, value, workers_default,
};

const ROOT_KEYS: &[&str] = &[
    "store",
    "store_options",
    "amount_scale",
    "workers",
    "commit_interval",
    "commit_max_records",
    "state",
    "source",
    "cluster",
    "processor",
    "detectors",
];
const STATE_KEYS: &[&str] = &["directory", "memory_limit", "checkpoint_interval"];
const LOCAL_LOG_KEYS: &[&str] = &["name", "type", "path", "format", "backfill"];
const KAFKA_KEYS: &[&str] =
    &["name", "type", "brokers", "topic", "start", "properties", "format", "backfill"];
const ANY_SOURCE_KEYS: &[&str] =
    &["name", "type", "path", "brokers", "topic", "start", "properties", "format", "backfill"];

/// Parses a file; see [`Config::parse`].
pub(super) fn parse(text: &str, base: &Path) -> Result<Config, Vec<ConfigError>> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading { text, base, errors: Vec::new() };
    let config = reading.config(document.get_ref());
    let errors = reading.with_syntax_errors(&syntax_errors);
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors),
    }
}

/// A table of the file and its dotted path.
pub(super) struct Section<'a, 'i> {
    pub(super) table: &'a DeTable<'i>,
    pub(super) path: String,
    /// Where it begins; `None` for the whole file.
    pub(super) span: Option<Range<usize>>,
}

impl Section<'_, '_> {
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// The state of reading: what is wrong so far.
pub(super) struct Reading<'t> {
    text: &'t str,
    base: &'t Path,
    errors: Vec<ConfigError>,
}

impl Reading<'_> {
    fn config(&mut self, table: &DeTable<'_>) -> Option<Config> {
        let root = Section { table, path: String::new(), span: None };
        self.known_keys(&root, ROOT_KEYS);
        let base = self.base;
        let store = self.required(&root, "store", "a directory, as in store = \"books\"");
        let store = store.and_then(|at| self.parsed(&root, at, |text| value::store(text, base)));
        let store = bucket::with_options(self, &root, store);
        let scale_max = u64::from(Scale::MAX);
        let scale = self.integer(&root, "amount_scale", 0..=scale_max);
        let workers = self.integer(&root, "workers", 1..=WORKERS_MAX as u64);
        let interval = self
            .optional(&root, "commit_interval")
            .and_then(|at| self.parsed(&root, at, value::commit_interval));
        let records = self.integer(&root, "commit_max_records", 1..=COMMIT_MAX_RECORDS_MAX);
        let state = store.as_ref().map(|store| self.state(&root, StateConfig::beside(store, base)));
        let sources = self.sources(&root);
        let cluster = cluster::cluster(self, &root);
        let rules = rules::of_file(self, &root);
        Some(Config {
            store: store?,
            state: state?,
            amount_scale: scale
                .and_then(|digits| u8::try_from(digits).ok())
                .and_then(Scale::new)
                .unwrap_or_default(),
            workers: workers
                .and_then(|workers| usize::try_from(workers).ok())
                .unwrap_or_else(workers_default),
            commit_interval: interval.unwrap_or(COMMIT_INTERVAL_DEFAULT),
            commit_max_records: records.unwrap_or(COMMIT_MAX_RECORDS_DEFAULT),
            sources,
            cluster,
            rules,
        })
    }

    /// Returns where relative paths are taken from.
    pub(super) fn base(&self) -> PathBuf {
        self.base.to_owned()
    }

    fn state(&mut self, root: &Section<'_, '_>, mut state: StateConfig) -> StateConfig {
        let Some(found) = root.table.get("state") else { return state };
        let Some(table) = found.get_ref().as_table() else {
            let problem = format!("it is a {}, no section", kind(found.get_ref()));
            let remedy = "write a section [state] with directory or memory_limit";
            self.report(root, "state", Some(found.span()), Invalid::new(problem, remedy));
            return state;
        };
        let section = Section { table, path: "state".to_owned(), span: Some(found.span()) };
        self.known_keys(&section, STATE_KEYS);
        let base = self.base;
        let directory = self.optional(&section, "directory").and_then(|at| {
            self.parsed(&section, at, |text| match text {
                "" => Err(Invalid::new("it is empty", "name a directory of a local disk")),
                text => Ok(base.join(text)),
            })
        });
        let limit = self.optional(&section, "memory_limit");
        let limit = limit.and_then(|at| self.parsed(&section, at, value::memory_limit));
        let interval = self.optional(&section, "checkpoint_interval");
        let interval = interval.and_then(|at| self.parsed(&section, at, value::commit_interval));
        state.directory = directory.unwrap_or(state.directory);
        state.memory_limit = limit.unwrap_or(state.memory_limit);
        state.checkpoint_interval = interval.unwrap_or(state.checkpoint_interval);
        state
    }

    fn sources(&mut self, root: &Section<'_, '_>) -> Vec<SourceConfig> {
        const REMEDY: &str = "add a section [[source]] with name, type and, for type = \
                              \"local_log\", path";
        let Some(found) = root.table.get("source") else {
            self.report(root, "source", None, Invalid::new("there is no source", REMEDY));
            return Vec::new();
        };
        let tables = found.get_ref().as_array().filter(|array| !array.is_empty());
        let Some(array) = tables else {
            let problem = format!("it is a {}, no list of sections", kind(found.get_ref()));
            self.report(root, "source", Some(found.span()), Invalid::new(problem, REMEDY));
            return Vec::new();
        };
        let mut sources = Vec::new();
        let mut names = BTreeSet::new();
        for (index, element) in array.iter().enumerate() {
            let path = format!("source[{index}]");
            let span = Some(element.span());
            let Some(table) = element.get_ref().as_table() else {
                let problem = format!("it is a {}, no section", kind(element.get_ref()));
                self.report(root, &path, span, Invalid::new(problem, REMEDY));
                continue;
            };
            let section = Section { table, path, span };
            let source = self.source(&section, &mut names);
            sources.extend(source);
        }
        sources
    }

    fn source(
        &mut self,
        section: &Section<'_, '_>,
        names: &mut BTreeSet<String>,
    ) -> Option<SourceConfig> {
        let name = self.required(section, "name", "a name that stays, as in name = \"payments\"");
        let name = name.and_then(|at| {
            self.parsed(section, at, |text| {
                let name = value::source_name(text)?;
                if names.insert(name.clone()) {
                    return Ok(name);
                }
                let problem = format!("{text:?} is the name of another source too");
                Err(Invalid::new(problem, "give each source a name of its own"))
            })
        });
        let ty = self.required(section, "type", "type = \"local_log\" or \"kafka\"");
        let ty = ty
            .and_then(|at| self.parsed(section, at, |text| one_of(text, &["local_log", "kafka"])));
        let known = match ty.as_deref() {
            Some("local_log") => LOCAL_LOG_KEYS,
            Some("kafka") => KAFKA_KEYS,
            _ => ANY_SOURCE_KEYS,
        };
        self.known_keys(section, known);
        let transport = match ty.as_deref() {
            Some("local_log") => self.local_log(section),
            Some("kafka") => kafka::transport(self, section),
            _ => None,
        };
        let format = self.optional(section, "format");
        format.and_then(|at| self.parsed(section, at, |text| one_of(text, &["json"])));
        let backfill = self.boolean(section, "backfill");
        Some(SourceConfig {
            name: name?,
            transport: transport?,
            format: FormatConfig::Json,
            backfill: backfill.unwrap_or(false),
        })
    }

    fn local_log(&mut self, section: &Section<'_, '_>) -> Option<TransportConfig> {
        let base = self.base;
        let at = self.required(section, "path", "the directory of the log, or a .jsonl file")?;
        let path = self.parsed(section, at, |text| {
            if text.is_empty() {
                let remedy = "name the directory of the log, or a .jsonl file";
                return Err(Invalid::new("it is empty", remedy));
            }
            Ok(base.join(text))
        })?;
        Some(TransportConfig::LocalLog { path })
    }

    /// Reports the keys that are not `known`, each with the one that was probably meant.
    pub(super) fn known_keys(&mut self, section: &Section<'_, '_>, known: &[&str]) {
        for key in section.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let remedy = match value::nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let invalid = Invalid::new("this key is not known", remedy);
            self.report(section, name, Some(key.span()), invalid);
        }
    }

    /// Finds a text that must be there; `what` says what to write.
    pub(super) fn required<'a>(
        &mut self,
        section: &Section<'a, '_>,
        key: &'a str,
        what: &str,
    ) -> Option<Found<'a>> {
        if section.table.get(key).is_none() {
            let invalid = Invalid::new(MISSING, format!("write {what}"));
            self.report(section, key, section.span.clone(), invalid);
            return None;
        }
        self.optional(section, key)
    }

    /// Finds a text that may be there.
    pub(super) fn optional<'a>(
        &mut self,
        section: &Section<'a, '_>,
        key: &'a str,
    ) -> Option<Found<'a>> {
        let found = section.table.get(key)?;
        match found.get_ref().as_str() {
            Some(text) => Some(Found { key, text, span: found.span() }),
            None => {
                let problem = format!("{} is a {}", self.shown(found), kind(found.get_ref()));
                let invalid = Invalid::new(problem, "write a text in quotes");
                self.report(section, key, Some(found.span()), invalid);
                None
            }
        }
    }

    /// Parses a text, and reports why where that fails.
    pub(super) fn parsed<T>(
        &mut self,
        section: &Section<'_, '_>,
        found: Found<'_>,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        match parse(found.text) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.report(section, found.key, Some(found.span), invalid);
                None
            }
        }
    }

    fn integer(
        &mut self,
        section: &Section<'_, '_>,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let found = section.table.get(key)?;
        let number = found.get_ref().as_integer();
        let number = number.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let remedy = format!("write a whole number, {} to {}", range.start(), range.end());
        let problem = match found.get_ref() {
            DeValue::Integer(_) => format!("{} is out of range", self.shown(found)),
            other => format!("{} is a {}", self.shown(found), kind(other)),
        };
        self.report(section, key, Some(found.span()), Invalid::new(problem, remedy));
        None
    }

    pub(super) fn boolean(&mut self, section: &Section<'_, '_>, key: &str) -> Option<bool> {
        let found = section.table.get(key)?;
        let boolean = found.get_ref().as_bool();
        if boolean.is_none() {
            let problem = format!("{} is a {}", self.shown(found), kind(found.get_ref()));
            let invalid = Invalid::new(problem, "write true or false");
            self.report(section, key, Some(found.span()), invalid);
        }
        boolean
    }

    pub(super) fn report(
        &mut self,
        section: &Section<'_, '_>,
        key: &str,
        span: Option<Range<usize>>,
        invalid: Invalid,
    ) {
        self.errors.push(ConfigError {
            key: section.key(key),
            line: span.map(|span| line_of(self.text, span.start)),
            problem: invalid.problem,
            remedy: invalid.remedy,
        });
    }

    /// Returns a value as it is written in the file, cut short.
    fn shown(&self, value: &Spanned<DeValue<'_>>) -> String {
        let text = self.text.get(value.span()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(60).collect();
        if short.len() < text.len() { format!("{short}…") } else { short }
    }

    /// Adds what is no TOML. A key may be missing and a line may be odd because of that, so such
    /// errors are left out then: they may not be mistakes at all.
    fn with_syntax_errors(mut self, syntax_errors: &[toml::de::Error]) -> Vec<ConfigError> {
        let mut syntax = BTreeMap::new();
        for error in syntax_errors {
            let line = error.span().map(|span| line_of(self.text, span.start));
            // The first error of a line explains the others.
            syntax.entry(line).or_insert_with(|| ConfigError {
                key: String::new(),
                line,
                problem: format!("this is no TOML: {}", error.message()),
                remedy: "see trueup.example.toml for the form".to_owned(),
            });
        }
        if !syntax.is_empty() {
            self.errors.retain(|error| {
                error.problem != MISSING
                    && error.line.is_some()
                    && !syntax.contains_key(&error.line)
            });
        }
        self.errors.extend(syntax.into_values());
        self.errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
        self.errors
    }
}

const MISSING: &str = "it is missing";

/// A text of the file and where it stands.
pub(super) struct Found<'a> {
    key: &'a str,
    text: &'a str,
    span: Range<usize>,
}

pub(super) fn one_of(text: &str, known: &[&str]) -> Result<String, Invalid> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    let remedy = match value::nearest(text, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("write \"{}\"", known.join("\" or \"")),
    };
    Err(Invalid::new(format!("{text:?} is not known"), remedy))
}

/// Names the type of a value, for a person.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "whole number",
        DeValue::Float(_) => "number with a fraction",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date or time",
        DeValue::Array(_) => "list",
        DeValue::Table(_) => "section",
    }
}

fn line_of(text: &str, place: usize) -> usize {
    let before = text.as_bytes().get(..place).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
