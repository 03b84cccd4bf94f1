//! Object storage: where a store in it is. The store itself, and with it an HTTP client, is there
//! with the feature `s3` only; a configuration can be read and checked without.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

#[cfg(feature = "s3")]
mod answer;
#[cfg(feature = "s3")]
mod bucket;

#[cfg(feature = "s3")]
pub use bucket::BucketStore;

/// Where a store in object storage is, and how to talk to it.
///
/// What is `None` comes from the environment (`AWS_REGION`, `AWS_ENDPOINT_URL`); credentials also from
/// a web identity, the container or the instance, whichever is found first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket, which must exist.
    pub bucket: String,
    /// Where in it: empty, or components with `/` between and none at either end.
    pub prefix: String,
    /// `https://host[:port]` of a storage other than AWS.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Credentials that are not those of the environment.
    pub credentials: Option<Credentials>,
    /// Whether an `http://` endpoint that is not on this machine may be used.
    pub allow_http: bool,
    /// How long an answer is waited for, besides the time that the bytes take.
    pub patience: Duration,
}

/// A key of the storage.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the key, `AWS_ACCESS_KEY_ID`.
    pub key_id: String,
    /// The key, `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl BucketConfig {
    /// The patience where nothing is said.
    pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(30);

    /// Returns the configuration that leaves everything else to the environment.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>) -> BucketConfig {
        BucketConfig {
            bucket: bucket.into(),
            prefix: prefix.into(),
            endpoint: None,
            region: None,
            credentials: None,
            allow_http: false,
            patience: BucketConfig::PATIENCE_DEFAULT,
        }
    }

    /// Returns `s3://bucket/prefix`.
    #[must_use]
    pub fn url(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }
}

/// Says whether an endpoint is `http://` on this machine, where nobody can listen in.
#[must_use]
pub fn is_plain_loopback(endpoint: &str) -> bool {
    let Some(rest) = endpoint.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:7070", true),
            ("http://127.8.8.8", true),
            ("http://localhost:9000/x", true),
            ("http://[::1]:9000", true),
            ("https://127.0.0.1:7070", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com:80", false),
            ("http://10.0.0.1:80", false),
            ("http://user@127.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_plain_loopback(endpoint), expected, "{endpoint}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials { key_id: "key".to_owned(), secret: "hunter2".to_owned() };
        let config = BucketConfig { credentials: Some(credentials), ..BucketConfig::new("b", "") };
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_location_is_a_url() {
        assert_eq!(BucketConfig::new("b", "").url(), "s3://b");
        assert_eq!(BucketConfig::new("b", "x/y").url(), "s3://b/x/y");
    }
}
