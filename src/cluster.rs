//! The connections between the processes of a cluster, made and checked before any of them carries
//! data.
//!
//! ```text
//!  process 0 ◀── data, control ── process 1        the higher number connects, the lower accepts
//!      ▲                              ▲
//!      └──────── data, control ───────┴── data ── process 2
//! ```
//!
//! Guarantees:
//! - A connection counts once both ends have told each other who they are and all of that agrees
//!   (`handshake`); with TLS, once both have shown a certificate of the cluster's authority
//!   before. Everything else that connects is closed within [`HANDSHAKE_TIME`] and changes nothing.
//! - Nothing is allocated by a length that somebody sent, and the number of connections that are
//!   open and unknown is bounded.
//! - What does not agree is told with its key, both values and the remedy.
//!
//! What it does not know: what is sent. Timely's messages go over data connections, those of
//! `pipeline::leader` and `pipeline::follower` over control connections.

pub(crate) mod control;
pub(crate) mod frame;
mod handshake;
mod meet;
mod opening;
mod pump;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use trueup_dataflow::Connection;

use crate::config::{ClusterConfig, ConfigError, TlsConfig};

pub use meet::join;

/// How long a connection may take to show who it is.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// What this process is in its cluster.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The `[cluster]` section.
    pub cluster: ClusterConfig,
    /// The number of this process, less than the number of hosts.
    pub process: usize,
    /// The number of worker threads, which is the same in all processes.
    pub workers: usize,
    /// The hash of everything in the configuration that all processes must agree on.
    pub configuration_hash: String,
    /// Whether the run ends once it has caught up.
    pub until_caught_up: bool,
}

/// A process that is connected to all others.
pub struct Joined {
    /// The number of this process.
    pub process: usize,
    /// The addresses of all processes.
    pub hosts: Arc<[String]>,
    /// Which start of each process this one is connected to. All processes must name the same.
    pub starts: Vec<u64>,
    /// How long another process may be silent.
    pub peer_timeout: Duration,
    /// How long the other processes may take to be connected to each other, too.
    pub connect_timeout: Duration,
    /// A connection to each other process, for timely.
    pub data: Vec<Option<Connection>>,
    /// In process 0 a connection to each other process; in the others one to process 0.
    pub control: Vec<Option<Connection>>,
}

/// Why the processes are not connected, by what the operator should do.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Correct the configuration: the processes do not fit each other. Exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// Start again: another process is not there, or this machine refuses. Exit code 4.
    #[error("{0}")]
    NotJoined(String),
}

/// Reads the certificates and the key of this process, to see whether they can be used.
///
/// # Errors
/// The first one that cannot.
pub fn check_certificates(config: &TlsConfig) -> Result<(), ConfigError> {
    tls::Identity::load(config).map(|_| ())
}

/// Returns what errors and logs call a process.
pub(crate) fn named(hosts: &[String], process: usize) -> String {
    match hosts.get(process) {
        Some(host) => format!("process {process} ({host})"),
        None => format!("process {process}"),
    }
}
