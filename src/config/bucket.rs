//! The part of the configuration that is about a store in object storage: the URL, and the
//! `[store_options]`. Credentials are never here; see [`super`].

use trueup_sinks::BucketConfig;
use trueup_sinks::object::is_plain_loopback;

use super::error::Invalid;
use super::file::{Reading, Section, kind};
use super::value::StoreLocation;

const KEYS: &[&str] = &["endpoint", "region", "allow_http"];

/// Parses what follows `s3://` in `url`.
///
/// # Errors
/// [`Invalid`] where it is no bucket (S3 user guide, bucket naming rules), or no prefix of plain
/// components.
pub(super) fn location(url: &str, rest: &str) -> Result<BucketConfig, Invalid> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(allowed) {
        return Err(Invalid::new(
            format!("{bucket:?} is no name of a bucket"),
            "write 3 to 63 of a-z, 0-9, - and ., and the prefix behind a slash: \
             \"s3://bucket/books\"",
        ));
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with(".tmp-");
    let odd = |c: char| c.is_control() || matches!(c, '\\' | '?' | '#');
    let good = prefix.is_empty() || (prefix.split('/').all(plain) && !prefix.contains(odd));
    if !good || (prefix.is_empty() && url.ends_with("//")) {
        return Err(Invalid::new(
            format!("{prefix:?} is no prefix within a bucket"),
            "write names with one slash between, as in \"s3://bucket/books/2026\"",
        ));
    }
    Ok(BucketConfig::new(bucket, prefix))
}

/// Reads the `[store_options]` into the store that they are of.
pub(super) fn with_options(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    store: Option<StoreLocation>,
) -> Option<StoreLocation> {
    let Some(found) = root.table.get("store_options") else {
        return store;
    };
    let Some(table) = found.get_ref().as_table() else {
        let problem = format!("it is a {}, no section", kind(found.get_ref()));
        let invalid = Invalid::new(problem, "write [store_options], and each option on its line");
        reading.report(root, "store_options", Some(found.span()), invalid);
        return store;
    };
    let span = Some(found.span());
    if let Some(StoreLocation::Directory(_)) = store {
        let invalid = Invalid::new(
            "they are for a store in object storage",
            "remove them, or write store = \"s3://bucket/books\"",
        );
        reading.report(root, "store_options", span, invalid);
        return store;
    }
    let section = Section { table, path: root.key("store_options"), span };
    reading.known_keys(&section, KEYS);
    let allow_http = reading.boolean(&section, "allow_http").unwrap_or(false);
    let endpoint = reading.optional(&section, "endpoint");
    let endpoint = endpoint
        .and_then(|at| reading.parsed(&section, at, |text| parsed_endpoint(text, allow_http)));
    let region = reading.optional(&section, "region");
    let region = region.and_then(|at| reading.parsed(&section, at, parsed_region));
    match store {
        Some(StoreLocation::Bucket(bucket)) => {
            Some(StoreLocation::Bucket(BucketConfig { endpoint, region, allow_http, ..bucket }))
        }
        other => other,
    }
}

fn parsed_endpoint(text: &str, allow_http: bool) -> Result<String, Invalid> {
    let endpoint = text.strip_suffix('/').unwrap_or(text);
    let host = endpoint.split_once("://").filter(|(scheme, authority)| {
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@');
        matches!(*scheme, "http" | "https") && !authority.is_empty() && !authority.contains(odd)
    });
    match host {
        None => Err(Invalid::new(
            format!("{text:?} is no endpoint"),
            "write a URL without a bucket, as in \"https://minio.example.com:9000\"",
        )),
        Some(("http", _)) if !allow_http && !is_plain_loopback(endpoint) => Err(Invalid::new(
            format!("{text:?} is not encrypted"),
            "write https://, or allow_http = true where the network is trusted",
        )),
        Some(_) => Ok(endpoint.to_owned()),
    }
}

fn parsed_region(text: &str) -> Result<String, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    let problem = format!("{text:?} is no region");
    Err(Invalid::new(problem, "write its code, as in \"eu-central-1\""))
}
