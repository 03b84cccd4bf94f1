//! The part of a `[[source]]` that is about Kafka.

use toml::de::DeValue;

use super::error::Invalid;
use super::file::{Reading, Section, kind, one_of};
use super::{Properties, TransportConfig, value};

/// Reads brokers, topic and properties.
pub(super) fn transport(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
) -> Option<TransportConfig> {
    let brokers = reading.required(section, "brokers", "brokers = \"kafka-1:9092\"");
    let brokers = brokers.and_then(|at| reading.parsed(section, at, value::brokers));
    let topic = reading.required(section, "topic", "the name of the topic");
    let topic = topic.and_then(|at| reading.parsed(section, at, value::topic));
    let start = reading.optional(section, "start");
    let start =
        start.map(|at| reading.parsed(section, at, |text| one_of(text, &["beginning", "oldest"])));
    let properties = properties(reading, section);
    Some(TransportConfig::Kafka {
        brokers: brokers?,
        topic: topic?,
        from_oldest: start.is_some_and(|start| start.as_deref() == Some("oldest")),
        properties,
    })
}

/// Reads the properties that are passed on. Values may be secrets, so none is ever shown.
fn properties(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Properties {
    const REMEDY: &str = "write properties = { \"client.id\" = \"trueup\" }";
    let mut properties = Properties::default();
    let Some(found) = section.table.get("properties") else {
        return properties;
    };
    let Some(table) = found.get_ref().as_table() else {
        let problem = format!("it is a {}", kind(found.get_ref()));
        let invalid = Invalid::new(problem, REMEDY);
        reading.report(section, "properties", Some(found.span()), invalid);
        return properties;
    };
    let inner = Section { table, path: section.key("properties"), span: Some(found.span()) };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if let Some(why) = value::forbidden_property(name) {
            let invalid = Invalid::new("it is not yours to set", format!("remove it: {why}"));
            reading.report(&inner, name, Some(key.span()), invalid);
            continue;
        }
        match scalar(value.get_ref()) {
            Some(text) => properties.0.push((name.to_owned(), text)),
            None if value.get_ref().is_table() => {
                let problem = "it is a section: dots in a bare key divide it";
                let remedy = "write the whole name in quotes: \"client.id\" = \"trueup\"";
                reading.report(&inner, name, Some(key.span()), Invalid::new(problem, remedy));
            }
            None => {
                let problem = format!("it is a {}", kind(value.get_ref()));
                let invalid = Invalid::new(problem, "write a text, a whole number or a boolean");
                reading.report(&inner, name, Some(key.span()), invalid);
            }
        }
    }
    properties.0.sort();
    properties
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        _ => None,
    }
}
