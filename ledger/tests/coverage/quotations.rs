//! Who quotes which sentence: the case tables by `spec:` and `decision:`, tests in Rust by a comment
//! `// spec: "…"` above them or in their body.
//!
//! A quotation in Rust may go on in further comment lines until its closing mark. It belongs to the
//! test that follows it, or else to the one it is in; one that belongs to no test, or to one that is
//! ignored and so not run, is an error.

use std::path::{Path, PathBuf};

use trueup_ledger::cases::parse;

/// The folders that are searched for tests.
const FOLDERS: &[&str] = &["dataflow", "ledger", "sinks", "sources", "src", "testing", "tests"];

/// A quotation of the specification or of the decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quotation {
    /// The file and the case or test.
    pub(crate) holder: String,
    pub(crate) text: String,
}

/// All quotations of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Quotations {
    pub(crate) spec: Vec<Quotation>,
    pub(crate) decisions: Vec<Quotation>,
}

impl Quotations {
    /// Reads the case tables and the tests below `root`, in an order that does not change.
    pub(crate) fn read(root: &Path) -> Result<Quotations, String> {
        let mut all = Quotations::default();
        for path in files(&root.join("tests/cases"), "txt")? {
            let name = name_of(root, &path);
            for case in parse(&read(&path)?).map_err(|error| format!("{name}: {error}"))? {
                let holder = format!("{name}: {}", case.name);
                let quote = |text| Quotation { holder: holder.clone(), text };
                all.spec.extend(case.spec.into_iter().map(quote));
                all.decisions.extend(case.decisions.into_iter().map(quote));
            }
        }
        for folder in FOLDERS {
            for path in files(&root.join(folder), "rs")? {
                all.spec.extend(in_rust(&name_of(root, &path), &read(&path)?)?);
            }
        }
        Ok(all)
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn name_of(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Returns the files below a folder whose name ends so, sorted.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What the lines above a function say of it.
#[derive(Clone, Copy, Default)]
struct Attributes {
    is_test: bool,
    is_ignored: bool,
}

fn in_rust(file: &str, source: &str) -> Result<Vec<Quotation>, String> {
    let mut quotations = Vec::new();
    let mut waiting: Vec<(usize, String)> = Vec::new();
    // The last function, if it is a test that is run.
    let mut test: Option<String> = None;
    let mut attributes = Attributes::default();
    let mut lines = source.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("// spec: \"") {
            let mut text = text.to_owned();
            while !text.ends_with('"') {
                let more = lines.next().and_then(|(_, line)| line.trim().strip_prefix("//"));
                let more = more.ok_or(format!("{file}:{}: a quotation has no end", index + 1))?;
                text.push_str(more);
            }
            text.pop();
            waiting.push((index + 1, text));
        } else if line.starts_with("// spec:") {
            return Err(format!("{file}:{}: a quotation is in quotation marks", index + 1));
        } else if line.starts_with("#[") {
            attributes.is_test |= line.starts_with("#[test]");
            attributes.is_ignored |= line.starts_with("#[ignore");
        } else if !line.is_empty() && !line.starts_with("//") {
            if let Some(name) = function(line) {
                let is_run = attributes.is_test && !attributes.is_ignored;
                test = is_run.then(|| name.to_owned());
            }
            attributes = Attributes::default();
            for (line, text) in waiting.drain(..) {
                let test = test.as_ref();
                let test = test.ok_or(format!("{file}:{line}: of no test that is run"))?;
                quotations.push(Quotation { holder: format!("{file}::{test}"), text });
            }
        }
    }
    match waiting.first() {
        Some((line, _)) => Err(format!("{file}:{line}: a quotation behind all tests")),
        None => Ok(quotations),
    }
}

/// Returns the name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let is_start = before.split_whitespace().all(|word| {
        matches!(word, "pub" | "pub(crate)" | "pub(super)" | "const" | "async" | "unsafe")
    });
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (is_start && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_of_the_test_below_it_or_around_it() {
        // Were these lines of their own, they would be read as quotations of this test.
        let source = [
            "// spec: \"above\"",
            "#[test]",
            "// spec: \"goes",
            "// on \"quoted\"\"",
            "fn first() {",
            "    // spec: \"inside\"",
            "    let a = 1;",
            "}",
            "proptest! {",
            "    // spec: \"a property\"",
            "    #[test]",
            "    fn second(a in 0..1) {",
        ];
        let quotations = in_rust("x.rs", &source.join("\n")).unwrap();
        let all: Vec<_> = quotations.iter().map(|q| (&*q.holder, &*q.text)).collect();
        let expected = [
            ("x.rs::first", "above"),
            ("x.rs::first", "goes on \"quoted\""),
            ("x.rs::first", "inside"),
            ("x.rs::second", "a property"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_holds_nothing_is_an_error() {
        let rows = [
            ("// spec: \"a\"\nfn plain() {", "x.rs:1: of no test that is run"),
            ("// spec: \"a\"\n#[test]\n#[ignore = \"slow\"]\nfn t() {", "x.rs:1: of no test"),
            ("#[test]\nfn t() {}\nfn other() {\n// spec: \"a\"\n}", "x.rs:4: of no test"),
            ("// spec: a\n#[test]\nfn t() {", "x.rs:1: a quotation is in quotation marks"),
            ("// spec: \"a\n#[test]\nfn t() {", "x.rs:1: a quotation has no end"),
            ("#[test]\nfn t() {}\n// spec: \"a\"", "x.rs:3: a quotation behind all tests"),
        ];
        for (source, message) in rows {
            let error = in_rust("x.rs", source).unwrap_err();
            assert!(error.starts_with(message), "{source}: {error}");
        }
    }
}
