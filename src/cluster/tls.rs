//! Mutual TLS: both ends show a certificate of the cluster's authority.
//!
//! Only TLS 1.3. Each end also checks that the certificate is for the host that `cluster.hosts` has for
//! the process that the other end is. Whoever holds a certificate of the authority for one of them is
//! a member of the cluster, so the authority has to be the cluster's own.

use std::path::Path;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::config::{ConfigError, TlsConfig};

/// What this process shows and accepts.
pub(super) struct Identity {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Identity {
    /// Reads the files.
    pub(super) fn load(config: &TlsConfig) -> Result<Identity, ConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("cluster.tls.ca", &config.ca)? {
            let added = roots.add(certificate);
            added.map_err(|error| wrong("cluster.tls.ca", &config.ca, &error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates("cluster.tls.certificate", &config.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&config.key)
            .map_err(|error| wrong("cluster.tls.key", &config.key, &error.to_string()))?;
        let provider = Arc::new(ring::default_provider());
        let bad = |error: &dyn std::fmt::Display| {
            wrong("cluster.tls.certificate", &config.certificate, &error.to_string())
        };
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| bad(&error))?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| bad(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| wrong("cluster.tls.ca", &config.ca, &error.to_string()))?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| bad(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| bad(&error))?;
        Ok(Identity { client: Arc::new(client), server: Arc::new(server) })
    }

    /// Begins as the end that connects to `host`.
    pub(super) fn connect(&self, host: &str) -> Result<rustls::Connection, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let client = ClientConnection::new(Arc::clone(&self.client), name);
        client.map(Into::into).map_err(|error| error.to_string())
    }

    /// Begins as the end that accepts.
    pub(super) fn accept(&self) -> Result<rustls::Connection, String> {
        let server = ServerConnection::new(Arc::clone(&self.server));
        server.map(Into::into).map_err(|error| error.to_string())
    }
}

/// Checks that a certificate, whose authority is checked already, is for a host.
pub(super) fn check_host(certificate: &CertificateDer<'_>, host: &str) -> Result<(), String> {
    let name = ServerName::try_from(host).map_err(|error| format!("{host}: {error}"))?;
    ParsedCertificate::try_from(certificate)
        .and_then(|parsed| verify_server_name(&parsed, &name))
        .map_err(|error| {
            format!(
                "the certificate is not for {host} ({error}); give each process a certificate for \
                 its host in cluster.hosts"
            )
        })
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(key, path, &error.to_string()))?;
    if read.is_empty() {
        return Err(wrong(key, path, "there is no certificate in it"));
    }
    Ok(read)
}

fn wrong(key: &str, path: &Path, problem: &str) -> ConfigError {
    ConfigError {
        key: key.to_owned(),
        line: None,
        problem: format!("{}: {problem}", path.display()),
        remedy: "name a PEM file that this user may read; certificate and key belong together"
            .to_owned(),
    }
}
