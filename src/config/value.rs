//! The values of the configuration, from text to type. Flags and the file share these, so a value
//! is right or wrong in both, with the same words.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trueup_ledger::Timestamp;
use trueup_sinks::{BucketConfig, REDRIVE};

use super::error::Invalid;
use super::{MEMORY_LIMIT_MIN, bucket};

/// Where epochs are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// A directory of the local file system.
    Directory(PathBuf),
    /// A prefix of a bucket in S3-compatible object storage.
    Bucket(BucketConfig),
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreLocation::Directory(path) => path.display().fmt(f),
            StoreLocation::Bucket(bucket) => f.write_str(&bucket.url()),
        }
    }
}

/// Parses a directory, a `file://` or an `s3://` URL; a relative directory is taken from `base`.
///
/// # Errors
/// [`Invalid`] for every other URL.
pub fn store(text: &str, base: &Path) -> Result<StoreLocation, Invalid> {
    const REMEDY: &str = "name a directory (\"books\"), a file:// URL (\"file:///srv/books\") or an \
                          s3:// URL (\"s3://bucket/books\")";
    if text.is_empty() {
        return Err(Invalid::new("it is empty", REMEDY));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(StoreLocation::Directory(base.join(text)));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            match percent_decoded(path) {
                Some(path) if path.starts_with('/') => {
                    Ok(StoreLocation::Directory(PathBuf::from(path)))
                }
                _ => Err(Invalid::new(
                    format!("{text:?} is no file URL of this machine"),
                    "write three slashes and an absolute path: \"file:///srv/books\"",
                )),
            }
        }
        "s3" | "s3a" => bucket::location(text, rest).map(StoreLocation::Bucket),
        "gs" | "gcs" | "az" | "azure" | "abfs" | "abfss" | "http" | "https" => {
            Err(Invalid::new(format!("{text:?}: object storage other than S3 comes later"), REMEDY))
        }
        other => {
            Err(Invalid::new(format!("{text:?}: {other}:// is no store that trueup knows"), REMEDY))
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

/// The shortest and the longest commit interval.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Parses a commit interval: `250ms`, `1s`, `2m`, `1h`.
///
/// # Errors
/// [`Invalid`] where it is no duration or not 10 ms to 1 h.
pub fn commit_interval(text: &str) -> Result<Duration, Invalid> {
    const REMEDY: &str = "write a whole number and a unit, \"10ms\" to \"1h\" (units: ms, s, m, h)";
    duration(text, INTERVAL_MIN..=INTERVAL_MAX, REMEDY)
}

/// Parses how long another process may be silent: `30s`, `5m`.
///
/// # Errors
/// [`Invalid`] where it is no duration or not 3 s to 1 h. Processes say something every second.
pub fn peer_timeout(text: &str) -> Result<Duration, Invalid> {
    const REMEDY: &str = "write a whole number and a unit, \"3s\" to \"1h\" (units: ms, s, m, h)";
    duration(text, Duration::from_secs(3)..=INTERVAL_MAX, REMEDY)
}

/// Parses how long the processes wait for each other: `60s`, `5m`.
///
/// # Errors
/// [`Invalid`] where it is no duration or not 1 s to 1 h.
pub fn connect_timeout(text: &str) -> Result<Duration, Invalid> {
    const REMEDY: &str = "write a whole number and a unit, \"1s\" to \"1h\" (units: ms, s, m, h)";
    duration(text, Duration::from_secs(1)..=INTERVAL_MAX, REMEDY)
}

/// Parses how long an outage lasts: `30m`, `1h`.
///
/// # Errors
/// [`Invalid`] where it is no duration or not 1 s to 30 d.
pub fn outage(text: &str) -> Result<Duration, Invalid> {
    const REMEDY: &str =
        "write a whole number and a unit, \"1s\" to \"30d\" (units: ms, s, m, h, d)";
    duration(text, Duration::from_secs(1)..=Duration::from_secs(30 * 86_400), REMEDY)
}

pub(super) fn duration(
    text: &str,
    range: RangeInclusive<Duration>,
    remedy: &str,
) -> Result<Duration, Invalid> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(Invalid::new(format!("{text:?} is no duration"), remedy)),
    };
    let milliseconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_ms));
    match milliseconds.map(Duration::from_millis) {
        Some(time) if range.contains(&time) => Ok(time),
        Some(_) => Err(Invalid::new(format!("{text:?} is out of range"), remedy)),
        None => Err(Invalid::new(format!("{text:?} is no duration"), remedy)),
    }
}

/// Parses a size in bytes: a whole number and `MiB` or `GiB`.
///
/// # Errors
/// [`Invalid`] for everything else, and below [`MEMORY_LIMIT_MIN`].
pub fn memory_limit(text: &str) -> Result<u64, Invalid> {
    const REMEDY: &str = "write a whole number and MiB or GiB, \"64MiB\" or more, as in \"4GiB\"";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(Invalid::new(format!("{text:?} is no size"), REMEDY)),
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if bytes >= MEMORY_LIMIT_MIN => Ok(bytes),
        Some(_) => Err(Invalid::new(format!("{text:?} is too little to work with"), REMEDY)),
        None => Err(Invalid::new(format!("{text:?} is no size"), REMEDY)),
    }
}

/// Parses a date, as 2026-10-31, to days since 1970.
#[must_use]
pub fn date(text: &str) -> Option<i32> {
    Timestamp::parse(&format!("{text}T00:00:00Z")).map(Timestamp::utc_date)
}

/// Checks the name of a source, under which commits keep its positions.
///
/// # Errors
/// [`Invalid`] where it is not 1 to 64 of `a-z 0-9 _ -`, or is the reserved [`REDRIVE`].
pub fn source_name(text: &str) -> Result<String, Invalid> {
    if text == REDRIVE {
        let problem = format!("{text:?} is the name of the source that reads re-driven records");
        return Err(Invalid::new(problem, "give this source another name"));
    }
    name(text, "source", "write 1 to 64 of a-z, 0-9, _ and -, as in \"payments\"")
}

/// Checks the name of a cluster.
///
/// # Errors
/// [`Invalid`] where it is not 1 to 64 of `a-z 0-9 _ -`.
pub fn cluster_id(text: &str) -> Result<String, Invalid> {
    name(text, "cluster", "write 1 to 64 of a-z, 0-9, _ and -, as in \"ledger-eu\"")
}

fn name(text: &str, of: &str, remedy: &str) -> Result<String, Invalid> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Invalid::new(format!("{text:?} is no name of a {of}"), remedy))
}

/// Checks the name of a Kafka topic.
///
/// # Errors
/// [`Invalid`] where Kafka would refuse it.
pub fn topic(text: &str) -> Result<String, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reserved = matches!(text, "." | "..");
    if (1..=249).contains(&text.len()) && text.chars().all(allowed) && !reserved {
        return Ok(text.to_owned());
    }
    Err(Invalid::new(
        format!("{text:?} is no name of a Kafka topic"),
        "write 1 to 249 of a-z, A-Z, 0-9, ., _ and -",
    ))
}

/// Checks a list of brokers, `host:port` with commas between.
///
/// # Errors
/// [`Invalid`] names the first that is not of that form.
pub fn brokers(text: &str) -> Result<String, Invalid> {
    const REMEDY: &str = "write host:port, with commas between: \"kafka-1:9092,kafka-2:9092\"";
    if text.trim().is_empty() {
        return Err(Invalid::new("it is empty", REMEDY));
    }
    let mut all = Vec::new();
    for broker in text.split(',').map(str::trim) {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) || broker.contains(char::is_whitespace) {
            return Err(Invalid::new(format!("{broker:?} is no broker"), REMEDY));
        }
        all.push(broker);
    }
    Ok(all.join(","))
}

/// Says why a property of librdkafka is not the operator's to set; `None` where it is.
#[must_use]
pub fn forbidden_property(name: &str) -> Option<&'static str> {
    match name {
        "bootstrap.servers" | "metadata.broker.list" => Some("`brokers` says which servers to ask"),
        "isolation.level" => Some("trueup always reads committed Kafka transactions only"),
        "auto.offset.reset" => Some("a missing offset always stops the run; nothing is skipped"),
        "allow.auto.create.topics" => Some("a topic that is not there stops the run"),
        "queued.max.messages.kbytes" => Some("trueup bounds what is read ahead itself"),
        "enable.partition.eof" | "partition.assignment.strategy" => {
            Some("trueup assigns and reads partitions itself")
        }
        _ if name.starts_with("group.")
            || name.starts_with("enable.auto.")
            || name.starts_with("auto.commit.")
            || name.starts_with("offset.") =>
        {
            Some("the commit log keeps the positions, no consumer group does")
        }
        _ => None,
    }
}

/// Finds the known word that `text` was probably meant to be.
#[must_use]
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two letters that changed places count as two.
    let tolerance = match text.chars().count() {
        0..=3 => 1,
        length => (length / 3).clamp(2, 3),
    };
    known
        .into_iter()
        .map(|word| (distance(text, word), word))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Counts the letters to insert, delete or replace to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores() {
        let base = Path::new("/etc/trueup");
        let directory = |path: &str| Some(StoreLocation::Directory(PathBuf::from(path)));
        let rows = [
            ("books", directory("/etc/trueup/books")),
            ("/srv/books", directory("/srv/books")),
            ("file:///srv/my%20books", directory("/srv/my books")),
            ("file://localhost/srv", directory("/srv")),
            ("file://srv/books", None),
            ("file:///srv/%zz", None),
            (
                "s3://bucket/books",
                Some(StoreLocation::Bucket(BucketConfig::new("bucket", "books"))),
            ),
            ("gs://bucket/books", None),
            ("ftp://host/books", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(store(text, base).ok(), expected, "{text:?}");
        }
        let error = store("gs://b", base).unwrap_err();
        assert!(error.problem.contains("comes later"));
        assert_eq!(store("s3://bbb/x/", base).unwrap().to_string(), "s3://bbb/x");
    }

    #[test]
    fn intervals() {
        let rows = [
            ("1s", Some(1000)),
            ("250ms", Some(250)),
            ("10ms", Some(10)),
            ("1h", Some(3_600_000)),
            ("60m", Some(3_600_000)),
            ("9ms", None),
            ("61m", None),
            ("1d", None),
            ("1", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("1 s", None),
            ("99999999999999999999s", None),
        ];
        for (text, expected) in rows {
            let found = commit_interval(text).ok().map(|d| d.as_millis());
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        let rows: &[(&str, Option<u64>)] = &[
            ("64MiB", Some(64 << 20)),
            ("1 GiB", Some(1 << 30)),
            ("63MiB", None),
            ("1GB", None),
            ("1.5GiB", None),
            ("-1GiB", None),
            ("99999999999999999999GiB", None),
            ("18014398509481984GiB", None),
            ("GiB", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(memory_limit(text).ok(), *expected, "{text:?}");
        }
    }

    #[test]
    fn brokers_are_host_and_port() {
        assert_eq!(brokers("a:1, b:2").as_deref(), Ok("a:1,b:2"));
        assert_eq!(brokers("[::1]:9092").as_deref(), Ok("[::1]:9092"));
        for text in ["", "a", "a:", ":9092", "a:1,,b:2", "a:0", "a:70000", "a b:1"] {
            assert!(brokers(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_nearest_word() {
        let known = ["workers", "store", "source"];
        assert_eq!(nearest("worker", known), Some("workers"));
        assert_eq!(nearest("sotre", known), Some("store"));
        assert_eq!(nearest("colour", known), None);
    }
}
