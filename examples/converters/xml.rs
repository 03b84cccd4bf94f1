//! An XML document as a tree of elements by their local names, each with the line it begins on.
//!
//! Namespaces are left aside, since each version of a bank's message has its own. A document type
//! is refused, so that no entity can be declared.

use anyhow::{Context, Result, anyhow, bail};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Deeper than any bank statement.
const DEPTH_MAX: usize = 64;

/// An element.
#[derive(Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) text: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
}

impl Element {
    /// The elements of a name within this one.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element on a path of names.
    pub(crate) fn at(&self, path: &str) -> Option<&Element> {
        let mut names = path.split('/');
        names.try_fold(self, |found, name| found.children.iter().find(|child| child.name == name))
    }

    /// The text on a path, unless it is blank.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path).map(|found| found.text.trim()).filter(|text| !text.is_empty())
    }

    /// The text on a path that every such element must have.
    pub(crate) fn required(&self, path: &str) -> Result<&str> {
        let line = self.line;
        self.text(path).with_context(|| format!("line {line}: <{}> has no <{path}>", self.name))
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a document.
///
/// # Errors
/// If it is not well-formed, with the line.
pub(crate) fn read(text: &str) -> Result<Element> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    let (mut line, mut counted) = (1, 0);
    loop {
        let at = usize::try_from(reader.buffer_position())?.min(text.len());
        line += text.as_bytes()[counted..at].iter().filter(|byte| **byte == b'\n').count();
        counted = at;
        let event = reader.read_event().map_err(|error| anyhow!("line {line}: {error}"))?;
        let end = event == Event::Eof;
        take(event, line, &mut open).map_err(|error| anyhow!("line {line}: {error}"))?;
        if end {
            break;
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(root), true) => Ok(root),
        (Some(unclosed), false) => {
            bail!("line {}: <{}> is not closed; the file is cut off", unclosed.line, unclosed.name)
        }
        (None, _) => bail!("line {line}: an element is closed that is not open"),
    }
}

fn take(event: Event<'_>, line: usize, open: &mut Vec<Element>) -> Result<()> {
    let depth = open.len();
    let current = open.last_mut().context("an element is closed that is not open")?;
    match event {
        Event::Start(start) if depth <= DEPTH_MAX => open.push(element(&start, line)?),
        Event::Start(_) => bail!("nested deeper than {DEPTH_MAX}"),
        Event::Empty(start) => current.children.push(element(&start, line)?),
        Event::End(_) => {
            let closed = open.pop().context("an element is closed that is not open")?;
            let parent = open.last_mut().context("an element is closed that is not open")?;
            parent.children.push(closed);
        }
        Event::Text(text) => current.text.push_str(&text.xml10_content()?),
        Event::CData(text) => current.text.push_str(&text.xml10_content()?),
        Event::GeneralRef(reference) => match reference.resolve_char_ref()? {
            Some(character) => current.text.push(character),
            None => {
                let name = reference.decode()?;
                let text =
                    resolve_xml_entity(&name).with_context(|| format!("unknown &{name};"))?;
                current.text.push_str(text);
            }
        },
        Event::DocType(_) => bail!("a document type, which no bank statement has"),
        Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Eof => {}
    }
    Ok(())
}

fn element(start: &BytesStart<'_>, line: usize) -> Result<Element> {
    let local = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute?;
        let value = attribute.unescape_value()?.into_owned();
        attributes.push((local(attribute.key.local_name().as_ref()), value));
    }
    let name = local(start.local_name().as_ref());
    Ok(Element { name, line, attributes, ..Element::default() })
}
