//! Holds each sentence of SPEC §1 to §4 to a test, and writes down which: `docs/spec-coverage.md`.
//!
//! A case of `tests/cases/*.txt` or a test in Rust names what it holds by quoting it; see
//! `coverage/quotations.rs`. What is not in the specification cannot be quoted, what says nothing
//! that a test could hold is listed with the reason in `coverage/not-testable.txt`, and what
//! nobody quotes is an error. That a test holds what it quotes is for its author to see to; what is
//! known to be missing of a sentence that tests hold otherwise is listed in `coverage/missing.txt`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use quotations::{Quotation, Quotations};
use specification::{Found, Text};

#[path = "coverage/quotations.rs"]
mod quotations;
#[path = "coverage/specification.rs"]
mod specification;

/// Writes the committed file anew.
const REWRITE: &str = "TRUEUP_REWRITE=1 cargo test -p trueup-ledger --test coverage";

/// Sentence ids, each with what the list says of it.
type Listed = BTreeMap<String, String>;

struct Coverage {
    text: Text,
    /// The holders of each sentence.
    holders: Vec<BTreeSet<String>>,
    not_testable: Listed,
    missing: Listed,
    errors: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads `ID: REASON` lines; a list that has become empty may be deleted.
fn listed(name: &str) -> Listed {
    let text = std::fs::read_to_string(root().join("ledger/tests/coverage").join(name));
    let text = text.unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let entries = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (id, reason) = line.split_once(':').unwrap_or((line, ""));
        (id.trim().to_owned(), reason.trim().to_owned())
    });
    entries.collect()
}

/// Says why a quotation is none.
fn misquoted(text: &Text, quotation: &Quotation, found: &Found) -> String {
    let Quotation { holder, text: quoted } = quotation;
    if *found == Found::Often {
        return format!("{holder}: {quoted:?} is said more than once; quote more of it");
    }
    let nearest = text.nearest(quoted).map_or("", |sentence| &sentence.text);
    format!("{holder}: {quoted:?} is not said; nearest is {nearest:?}")
}

impl Coverage {
    fn of(law: &str, quotations: &[Quotation], not_testable: Listed, missing: Listed) -> Self {
        let text = Text::read(law, |section| (1..=4).contains(&section));
        let rest = Text::read(law, |section| section > 4);
        let mut holders = vec![BTreeSet::new(); text.sentences.len()];
        let mut errors = Vec::new();
        for quotation in quotations {
            match text.find(&quotation.text) {
                Found::Here(sentences) => {
                    for sentence in sentences {
                        holders[sentence].insert(quotation.holder.clone());
                    }
                }
                // Tests may quote the later sections too; nothing is made of that.
                Found::Nowhere if matches!(rest.find(&quotation.text), Found::Here(_)) => {}
                found => errors.push(misquoted(&text, quotation, &found)),
            }
        }
        let mut coverage = Coverage { text, holders, not_testable, missing, errors };
        coverage.judge();
        coverage
    }

    /// Finds what is not held, and what the lists say of it in error.
    fn judge(&mut self) {
        let mut errors = Vec::new();
        let ids: BTreeSet<_> = self.text.sentences.iter().map(|sentence| &sentence.id).collect();
        for (name, list) in
            [("not-testable.txt", &self.not_testable), ("missing.txt", &self.missing)]
        {
            let absent = list.keys().filter(|id| !ids.contains(id));
            errors.extend(absent.map(|id| format!("{name}: there is no sentence {id}")));
            let unexplained = list.iter().filter(|(_, reason)| reason.is_empty());
            errors.extend(unexplained.map(|(id, _)| format!("{name}: why {id}?")));
        }
        for (sentence, holders) in self.text.sentences.iter().zip(&self.holders) {
            let id = &sentence.id;
            match holders.first() {
                Some(holder) if self.not_testable.contains_key(id) => {
                    errors.push(format!("{id} is listed as not testable, but {holder} holds it"));
                }
                None if !self.not_testable.contains_key(id) => {
                    errors.push(format!("no test holds {id}: {}", sentence.text));
                }
                _ => {}
            }
        }
        self.errors.extend(errors);
    }

    fn render(&self) -> String {
        let mut page = format!(
            "# Which test holds which sentence\n\n\
            The sentences of [specification.md](specification.md), §1 to §4, and the cases \
            (`tests/cases/*.txt`) and tests\nthat quote them. Written by \
            `ledger/tests/coverage.rs`; do not edit, but run\n`{REWRITE}`.\n"
        );
        let mut section = 0;
        for (sentence, holders) in self.text.sentences.iter().zip(&self.holders) {
            if sentence.section != section {
                section = sentence.section;
                write!(page, "\n## Section {section}\n").unwrap();
            }
            write!(page, "\n**{}** — {}\n\n", sentence.id, sentence.text).unwrap();
            for holder in holders {
                writeln!(page, "- {holder}").unwrap();
            }
            if let Some(reason) = self.not_testable.get(&sentence.id) {
                writeln!(page, "- *nothing to test:* {reason}").unwrap();
            }
            if let Some(missing) = self.missing.get(&sentence.id) {
                writeln!(page, "- ***not done:*** {missing}").unwrap();
            }
        }
        page
    }
}

#[test]
fn every_sentence_is_held_by_a_test() {
    let quotations = Quotations::read(&root()).unwrap_or_else(|error| panic!("{error}"));
    let (not_testable, missing) = (listed("not-testable.txt"), listed("missing.txt"));
    let law = read("docs/specification.md");
    let coverage = Coverage::of(&law, &quotations.spec, not_testable, missing);
    let (page, path) = (coverage.render(), root().join("docs/spec-coverage.md"));
    if std::env::var_os("TRUEUP_REWRITE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(coverage.errors.is_empty(), "\n{}\n", coverage.errors.join("\n"));
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(old, new)| old != new);
    assert!(committed == page, "docs/spec-coverage.md is not current: {differs:?}; run {REWRITE}");
}

#[test]
fn every_quoted_decision_was_made() {
    let quotations = Quotations::read(&root()).unwrap_or_else(|error| panic!("{error}"));
    let decisions = Text::read(&read("docs/spec-decisions.md"), |_| true);
    let mut errors = String::new();
    for quotation in &quotations.decisions {
        let found = decisions.find(&quotation.text);
        if !matches!(found, Found::Here(_)) {
            writeln!(errors, "{}", misquoted(&decisions, quotation, &found)).unwrap();
        }
    }
    assert!(errors.is_empty(), "\n{errors}");
}

#[test]
fn what_is_not_held_misquoted_or_listed_in_error_is_told() {
    let law = "## 1. Law\nThe first. The second. The third.\n## 5. Later\nThe fifth.";
    let quote = |text: &str| Quotation { holder: "a test".to_owned(), text: text.to_owned() };
    let list = |entries: &[&str]| -> Listed {
        entries.iter().map(|id| ((*id).to_owned(), "why".to_owned())).collect()
    };
    let errors = |quotations: &[Quotation], not_testable: &[&str]| {
        Coverage::of(law, quotations, list(not_testable), list(&[])).errors
    };
    let all = [quote("The first"), quote("second. The third"), quote("The fifth")];
    assert_eq!(errors(&all, &[]), [""; 0]);
    assert_eq!(errors(&all[..1], &["1.the-second", "1.the-third"]), [""; 0]);
    assert_eq!(errors(&all[1..], &[]), ["no test holds 1.the-first: The first."]);
    let misquoted = errors(&[quote("The last third"), quote("The")], &[]);
    assert_eq!(misquoted[0], r#"a test: "The last third" is not said; nearest is "The third.""#);
    assert_eq!(misquoted[1], r#"a test: "The" is said more than once; quote more of it"#);
    let held = "1.the-first is listed as not testable, but a test holds it";
    assert_eq!(errors(&all, &["1.the-first"]), [held]);
    let absent = "not-testable.txt: there is no sentence 1.the-fourth";
    assert_eq!(errors(&all, &["1.the-fourth"]), [absent]);
    let missing = |id: &str| Coverage::of(law, &all, list(&[]), list(&[id]));
    let absent = "missing.txt: there is no sentence 1.the-fourth";
    assert_eq!(missing("1.the-fourth").errors, [absent]);
    assert!(missing("1.the-second").render().contains("- a test\n- ***not done:*** why\n"));
}
