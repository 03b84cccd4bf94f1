//! The `[cluster]` section: the processes that work together, and how they know each other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::error::Invalid;
use super::file::{Reading, Section, kind};
use super::value;

const KEYS: &[&str] = &["id", "hosts", "tls", "peer_timeout", "connect_timeout"];
const TLS_KEYS: &[&str] = &["ca", "certificate", "key"];

/// How long another process may be silent, where nothing is said.
const PEER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long the processes wait for each other at a start, where nothing is said.
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// The largest number of processes.
const HOSTS_MAX: usize = 256;

/// The processes that work together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// What the cluster is called, so that a process of another one is not taken for one of it.
    pub id: String,
    /// The address of each process, `host:port`, in the order of their numbers.
    pub hosts: Vec<String>,
    /// How they prove who they are; always there where a host is not this machine.
    pub tls: Option<TlsConfig>,
    /// How long another process may be silent, 3 s to 1 h.
    pub peer_timeout: Duration,
    /// How long the processes wait for each other at a start, 1 s to 1 h.
    pub connect_timeout: Duration,
}

/// The PEM files by which a process proves that it belongs to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificates of the cluster's own authority.
    pub ca: PathBuf,
    /// This process' certificate, with those between it and the authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
}

/// Reads the section, if there is one.
pub(super) fn cluster(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> Option<ClusterConfig> {
    const REMEDY: &str = "write a section [cluster] with id and hosts";
    let section = inner(reading, root, "cluster", REMEDY)?;
    reading.known_keys(&section, KEYS);
    let id = reading.required(&section, "id", "the name of the cluster, as in id = \"ledger\"");
    let id = id.and_then(|at| reading.parsed(&section, at, value::cluster_id));
    let hosts = hosts(reading, &section);
    let tls = tls(reading, &section);
    let peer_timeout = reading.optional(&section, "peer_timeout");
    let peer_timeout =
        peer_timeout.and_then(|at| reading.parsed(&section, at, value::peer_timeout));
    let connect_timeout = reading.optional(&section, "connect_timeout");
    let connect_timeout =
        connect_timeout.and_then(|at| reading.parsed(&section, at, value::connect_timeout));
    let (id, hosts) = (id?, hosts?);
    let outside = hosts.iter().find(|host| !is_this_machine(host));
    if let Some(host) = outside.filter(|_| !section.table.contains_key("tls")) {
        let problem = format!("it is missing, and {host:?} is not an address of this machine");
        let remedy = "write tls = { ca = \"ca.pem\", certificate = \"node.pem\", key = \
                      \"node.key\" }, or give all hosts loopback addresses (127.0.0.1)";
        reading.report(&section, "tls", section.span.clone(), Invalid::new(problem, remedy));
    }
    Some(ClusterConfig {
        id,
        hosts,
        tls,
        peer_timeout: peer_timeout.unwrap_or(PEER_TIMEOUT_DEFAULT),
        connect_timeout: connect_timeout.unwrap_or(CONNECT_TIMEOUT_DEFAULT),
    })
}

fn hosts(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<Vec<String>> {
    const REMEDY: &str =
        "list the address of each process: hosts = [\"ledger-0:7711\", \"ledger-1:7711\"]";
    let Some(found) = section.table.get("hosts") else {
        let invalid = Invalid::new("it is missing", REMEDY);
        reading.report(section, "hosts", section.span.clone(), invalid);
        return None;
    };
    let array = found.get_ref().as_array();
    let Some(array) = array.filter(|array| (1..=HOSTS_MAX).contains(&array.len())) else {
        let problem = match array {
            Some(array) => format!("it has {} hosts, not 1 to {HOSTS_MAX}", array.len()),
            None => format!("it is a {}, no list", kind(found.get_ref())),
        };
        reading.report(section, "hosts", Some(found.span()), Invalid::new(problem, REMEDY));
        return None;
    };
    let (mut hosts, mut seen) = (Vec::new(), BTreeSet::new());
    for element in array {
        let problem = match element.get_ref() {
            DeValue::String(host) if !is_address(host) => format!("{host:?} is no host:port"),
            DeValue::String(host) if !seen.insert(host.to_string()) => {
                format!("{host:?} is there twice")
            }
            DeValue::String(host) => {
                hosts.push(host.to_string());
                continue;
            }
            other => format!("a host is a {}", kind(other)),
        };
        reading.report(section, "hosts", Some(element.span()), Invalid::new(problem, REMEDY));
    }
    (hosts.len() == array.len()).then_some(hosts)
}

fn tls(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<TlsConfig> {
    const REMEDY: &str =
        "write tls = { ca = \"ca.pem\", certificate = \"node.pem\", key = \"node.key\" }";
    let section = inner(reading, section, "tls", REMEDY)?;
    reading.known_keys(&section, TLS_KEYS);
    let base = reading.base();
    let mut file = |key, what| {
        let at = reading.required(&section, key, what)?;
        reading.parsed(&section, at, |text| match text {
            "" => Err(Invalid::new("it is empty", "name a PEM file")),
            text => Ok(base.join(text)),
        })
    };
    let ca = file("ca", "the PEM file of the authority's certificates");
    let certificate = file("certificate", "the PEM file of this process' certificate");
    let key = file("key", "the PEM file of the certificate's key");
    Some(TlsConfig { ca: ca?, certificate: certificate?, key: key? })
}

/// Finds a section within another one.
pub(super) fn inner<'a, 'i>(
    reading: &mut Reading<'_>,
    section: &Section<'a, 'i>,
    key: &str,
    remedy: &str,
) -> Option<Section<'a, 'i>> {
    let found = section.table.get(key)?;
    let Some(table) = found.get_ref().as_table() else {
        let problem = format!("it is a {}, no section", kind(found.get_ref()));
        reading.report(section, key, Some(found.span()), Invalid::new(problem, remedy));
        return None;
    };
    Some(Section { table, path: section.key(key), span: Some(found.span()) })
}

/// Says whether a text is `host:port`, with IPv6 addresses in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(allowed)
        }
    };
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Says whether an address cannot be reached from outside this machine.
fn is_this_machine(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
