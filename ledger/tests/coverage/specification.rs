//! A text of Markdown as sentences that can be quoted.
//!
//! A block is a paragraph, an item of a list or a row of a table; a quotation is found within one
//! block. A block is cut into sentences at its full stops and semicolons, but not inside brackets
//! or code. A row is one sentence. A sentence that lists five or more names of code is one sentence
//! for each name, so that a list is not held by a test of its first entry.
//!
//! Quotations are compared as plain text: without emphasis and code marks, and with single blanks.

use std::collections::BTreeSet;
use std::ops::Range;

/// How many names make a list that is read name by name.
const NAMES_MIN: usize = 5;

/// One sentence, or one clause of it.
#[derive(Debug)]
pub(crate) struct Sentence {
    /// The section and the first words, as many as it takes to be unique; stable while they are.
    pub(crate) id: String,
    /// The number of its section.
    pub(crate) section: u8,
    /// The text as it is written.
    pub(crate) text: String,
}

#[derive(Debug)]
struct Block {
    plain: String,
    /// Where which sentence is in the plain text.
    sentences: Vec<(Range<usize>, usize)>,
}

/// The sentences of some sections of a text.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) sentences: Vec<Sentence>,
    blocks: Vec<Block>,
}

/// What became of a quotation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is in one place and touches these sentences.
    Here(BTreeSet<usize>),
    /// It is in several places, so that it does not say which is meant.
    Often,
    Nowhere,
}

impl Text {
    /// Reads the sections whose number is wanted; what is before the first `## N.` has number 0.
    pub(crate) fn read(markdown: &str, wanted: impl Fn(u8) -> bool) -> Text {
        let mut text = Text::default();
        let mut section = 0;
        let mut block = String::new();
        for line in markdown.lines() {
            let line = line.trim();
            let (marker, rest) = item(line);
            if line.is_empty() || line.starts_with('#') || line.starts_with('|') || marker {
                text.block(section, &std::mem::take(&mut block), &wanted);
            }
            if let Some(heading) = line.strip_prefix("## ") {
                let number = heading.split('.').next().and_then(|number| number.parse().ok());
                section = number.unwrap_or(section);
            } else if line.starts_with('|') {
                text.block(section, line, &wanted);
            } else if !line.starts_with('#') {
                block.push(' ');
                block.push_str(rest);
            }
        }
        text.block(section, &block, &wanted);
        text.name();
        text
    }

    /// Finds a quotation, in which `…` or `...` leaves words out.
    pub(crate) fn find(&self, quotation: &str) -> Found {
        let quotation = plain(quotation);
        let mut places: Vec<BTreeSet<usize>> = Vec::new();
        for block in &self.blocks {
            let starts = occurrences(&block.plain, &quotation);
            places.extend(starts.map(|at| block.touched(at..at + quotation.len()).collect()));
        }
        if places.is_empty() {
            let parts: Vec<_> = quotation.split("...").flat_map(|part| part.split('…')).collect();
            let parts: Vec<_> = parts.into_iter().map(str::trim).collect();
            places.extend(self.blocks.iter().filter_map(|block| in_order(block, &parts)));
        }
        // What only introduces a list of names is no sentence of its own.
        places.retain(|sentences| !sentences.is_empty());
        match places.pop() {
            None => Found::Nowhere,
            Some(sentences) if places.is_empty() => Found::Here(sentences),
            Some(_) => Found::Often,
        }
    }

    /// Returns the sentence that has most words in common with a quotation.
    pub(crate) fn nearest(&self, quotation: &str) -> Option<&Sentence> {
        let words = |text: &str| -> BTreeSet<String> { words(&plain(text)).collect() };
        let quoted = words(quotation);
        self.sentences.iter().max_by_key(|sentence| {
            let own = words(&sentence.text);
            (2000 * own.intersection(&quoted).count()) / (own.len() + quoted.len()).max(1)
        })
    }

    fn block(&mut self, section: u8, markdown: &str, wanted: impl Fn(u8) -> bool) {
        let markdown = markdown.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_rule = markdown.chars().all(|letter| matches!(letter, '|' | '-' | ' '));
        if is_rule || !wanted(section) {
            // The row above a rule is the heading of its table.
            if markdown.starts_with('|') && wanted(section) {
                self.blocks.pop();
                self.sentences.pop();
            }
            return;
        }
        let mut block = Block { plain: String::new(), sentences: Vec::new() };
        let mut last_lead = "";
        for (lead, piece) in pieces(&markdown) {
            if lead != last_lead {
                block.plain.push_str(&plain(lead));
                block.plain.push(' ');
                last_lead = lead;
            }
            let start = block.plain.len();
            block.plain.push_str(&plain(piece));
            block.sentences.push((start..block.plain.len(), self.sentences.len()));
            block.plain.push(' ');
            let text = format!("{lead}{piece}");
            self.sentences.push(Sentence { id: String::new(), section, text });
        }
        self.blocks.push(block);
    }

    /// Gives each sentence an id that no other has.
    fn name(&mut self) {
        let all: Vec<Vec<String>> =
            self.sentences.iter().map(|sentence| words(&plain(&sentence.text)).collect()).collect();
        let mut taken = BTreeSet::new();
        for (sentence, words) in self.sentences.iter_mut().zip(&all) {
            let names = (words.len().min(4)..=words.len())
                .map(|count| format!("{}.{}", sentence.section, words[..count].join("-")));
            let numbered = (2..).map(|n| format!("{}.{}-{n}", sentence.section, words.join("-")));
            let name = names.chain(numbered).find(|name| !taken.contains(name));
            sentence.id = name.unwrap_or_default();
            taken.insert(sentence.id.clone());
        }
    }
}

impl Block {
    fn touched(&self, range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        let overlap = move |own: &Range<usize>| own.start < range.end && range.start < own.end;
        self.sentences.iter().filter(move |(own, _)| overlap(own)).map(|(_, sentence)| *sentence)
    }
}

/// Takes the mark of a list's item off a line.
fn item(line: &str) -> (bool, &str) {
    if let Some(rest) = line.strip_prefix("- ") {
        return (true, rest);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    match line[digits..].strip_prefix(". ") {
        Some(rest) if digits > 0 => (true, rest),
        _ => (false, line),
    }
}

/// Cuts a block into sentences, each with what leads its list.
fn pieces(markdown: &str) -> Vec<(&str, &str)> {
    if markdown.starts_with('|') {
        return vec![("", markdown.trim_matches(['|', ' ']))];
    }
    let stop = |mark: char, next: Option<char>| match mark {
        '.' => next.is_some_and(|c| c.is_uppercase() || matches!(c, '`' | '*')),
        ';' => true,
        _ => false,
    };
    let mut pieces = Vec::new();
    for sentence in cut(markdown, stop) {
        let names = cut(sentence, |mark, _| mark == ',');
        let (lead, first) = names.first().map_or(("", ""), |first| lead_of(first));
        let are_names = first.starts_with('`')
            && names.iter().skip(1).all(|name| name.starts_with('`'))
            && names.len() >= NAMES_MIN;
        if are_names {
            pieces.push((lead, first));
            pieces.extend(names[1..].iter().map(|name| (lead, *name)));
        } else {
            pieces.push(("", sentence));
        }
    }
    pieces
}

/// Splits `Detectors: ` and the like off the first of the names that it introduces.
fn lead_of(first: &str) -> (&str, &str) {
    match first.split_once(": ") {
        Some((lead, _)) if !lead.contains(['(', ' ']) => first.split_at(lead.len() + 2),
        _ => ("", first),
    }
}

/// Cuts behind each mark that a blank follows, outside of brackets and code.
fn cut(text: &str, is_end: impl Fn(char, Option<char>) -> bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut is_code, mut start) = (0_i32, false, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '`' => is_code = !is_code,
            '(' if !is_code => depth += 1,
            ')' if !is_code => depth -= 1,
            _ => {}
        }
        let after = at + letter.len_utf8();
        if depth == 0
            && !is_code
            && let Some(rest) = text[after..].strip_prefix(' ')
            && is_end(letter, rest.chars().next())
        {
            parts.push(&text[start..after]);
            start = after + 1;
        }
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

/// Returns the text without emphasis and code marks, and with single blanks.
pub(crate) fn plain(markdown: &str) -> String {
    let bare: String = markdown.chars().filter(|letter| !matches!(letter, '*' | '`')).collect();
    bare.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn words(plain: &str) -> impl Iterator<Item = String> + '_ {
    plain.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Returns where a part begins in a text, as whole words.
fn occurrences<'a>(text: &'a str, part: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts = text.match_indices(part).map(|(at, _)| at);
    starts.filter(move |at| {
        let joins = |left: Option<char>, right: Option<char>| {
            left.is_some_and(is_word) && right.is_some_and(is_word)
        };
        let (before, after) = (&text[..*at], &text[at + part.len()..]);
        !part.is_empty()
            && !joins(before.chars().next_back(), part.chars().next())
            && !joins(part.chars().next_back(), after.chars().next())
    })
}

/// Finds all parts in a block, each behind the one before, and returns the sentences they touch.
fn in_order(block: &Block, parts: &[&str]) -> Option<BTreeSet<usize>> {
    if parts.len() < 2 {
        return None;
    }
    let mut sentences = BTreeSet::new();
    let mut from = 0;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let start = occurrences(&block.plain, part).find(|start| *start >= from)?;
        from = start + part.len();
        sentences.extend(block.touched(start..from));
    }
    (!sentences.is_empty()).then_some(sentences)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\nBefore.\n## 1. One\n1. **Bold lead.** First of\n   *two*; the `second; \
        part` (a. B; c). Last. lower.\n2. Next: `a`, `b` (x, y), `c`, `d`, `e`.\n\n| h | g |\n\
        | --- | --- |\n| `row` | a. B; c |\n## 2. Two\nFirst of all, again `a`.";

    fn found<'a>(text: &'a Text, quotation: &str) -> Option<Vec<&'a str>> {
        match text.find(quotation) {
            Found::Here(all) => {
                Some(all.iter().map(|index| &*text.sentences[*index].text).collect())
            }
            Found::Often | Found::Nowhere => None,
        }
    }

    #[test]
    fn a_text_is_cut_at_stops_outside_of_brackets_and_code() {
        let text = Text::read(TEXT, |section| section == 1);
        let all: Vec<_> = text.sentences.iter().map(|s| (&*s.id, &*s.text)).collect();
        let expected = [
            ("1.bold-lead-first-of", "**Bold lead.** First of *two*;"),
            ("1.the-second-part-a", "the `second; part` (a. B; c)."),
            ("1.last-lower", "Last. lower."),
            ("1.next-a", "Next: `a`,"),
            ("1.next-b-x-y", "Next: `b` (x, y),"),
            ("1.next-c", "Next: `c`,"),
            ("1.next-d", "Next: `d`,"),
            ("1.next-e", "Next: `e`."),
            ("1.row-a-b-c", "`row` | a. B; c"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn quotations_are_found_as_plain_whole_words_in_one_place() {
        let text = Text::read(TEXT, |section| section > 0);
        let first = Some(vec!["**Bold lead.** First of *two*;"]);
        assert_eq!(found(&text, "First  of two"), first);
        assert_eq!(found(&text, "Bold lead. … `two`"), first);
        assert_eq!(found(&text, "two; the second").map(|all| all.len()), Some(2));
        assert_eq!(found(&text, "Next: … c"), Some(vec!["Next: `c`,"]));
        assert_eq!(found(&text, "row ... B"), Some(vec!["`row` | a. B; c"]));
        assert_eq!(text.find("First of"), Found::Often);
        for absent in ["irst of two", "two … First", "Bold lead. Second", "Next:", "", "…", "h | g"]
        {
            assert_eq!(text.find(absent), Found::Nowhere, "{absent:?}");
        }
        let nearest = text.nearest("the second parts").map(|sentence| &*sentence.id);
        assert_eq!(nearest, Some("1.the-second-part-a"));
    }
}
