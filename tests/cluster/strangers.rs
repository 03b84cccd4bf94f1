//! Who does not belong here: refused, told why where they are one of ours, and harmless.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

use crate::fixture::{Cluster, PATIENCE, expect, send};
use crate::program::{text, trueup};

/// What the processes give strangers, and some more for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(12);

fn connect(address: &str) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the other end closes, and returns what it said before.
fn said_before_closing(stream: &mut TcpStream) -> Vec<u8> {
    let begun = Instant::now();
    stream.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    let closed = ended.is_ok_and(|_| true) || begun.elapsed() < CLOSED_WITHIN;
    assert!(closed, "the connection stays open");
    said
}

/// The first bytes of the protocol, and a frame.
fn framed(protocol: u16, body: &str) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    let parts = [b"tru\r\nup\n".as_slice(), &protocol.to_be_bytes(), &length.to_be_bytes()];
    [parts.concat().as_slice(), body.as_bytes()].concat()
}

fn hello(version: &str) -> String {
    serde_json::json!({
        "cluster": "books", "version": version, "processes": 2, "process": 1, "to": 0,
        "workers": 1, "configuration": "x", "until_caught_up": false, "generation": 0,
        "start": 1, "purpose": "Data",
    })
    .to_string()
}

#[test]
fn garbage_before_and_during_a_run_is_harmless() {
    let mut cluster = Cluster::new(2, 2, 2_000, 31);
    cluster.append(1_000);
    let address = cluster.hosts[0].clone();
    let first = cluster.start(0, &[]);
    let mut endless = framed(1, "");
    endless.truncate(10);
    endless.extend([0xff; 4]);
    let garbage: &[&[u8]] = &[
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        &[0; 10_000],
        &[0xff; 10_000],
        &endless,
        &framed(1, "{}"),
        &framed(1, "[[[["),
    ];
    for bytes in garbage {
        let mut stream = connect(&address);
        // It may be closed while this is still written.
        let _ = stream.write_all(bytes);
        assert_eq!(said_before_closing(&mut stream), b"", "{bytes:?}");
    }
    // More than are heard at once, which say nothing; and one that never stops saying little.
    let silent: Vec<_> = (0..80).map(|_| connect(&address)).collect();
    let mut slow = connect(&address);
    let trickle = std::thread::spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < CLOSED_WITHIN {
            if slow.write_all(b"t").is_err() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    });
    let second = cluster.start(1, &[]);
    let mut running = [first, second];
    cluster.await_commits(2, &running);
    assert!(trickle.join().unwrap(), "whoever is slow is cut off");
    drop(silent);
    // While they work nobody listens any more.
    for host in &cluster.hosts {
        let refused = TcpStream::connect(host).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    cluster.append(1_000);
    cluster.await_commits(8, &running);
    send(&running[0], Signal::TERM);
    running.iter_mut().for_each(|process| drop(expect(process, 0, PATIENCE)));
    cluster.finish();
    cluster.judge();
}

#[test]
fn who_does_not_fit_is_told_and_the_others_go_on() {
    let mut cluster = Cluster::new(2, 2, 500, 32);
    cluster.append(500);
    cluster.configure("other.toml", "other", "");
    let mut first = cluster.start(0, &["--until-caught-up"]);
    let mut wrong = cluster.start_with("other.toml", 1, &["--until-caught-up"]);
    let said = expect(&mut wrong, 2, PATIENCE);
    assert!(said.contains("cluster.id is \"other\" here and \"books\" there; let"), "{said}");
    let mut endless = cluster.start(1, &[]);
    let said = expect(&mut endless, 2, PATIENCE);
    assert!(said.contains("--until-caught-up is false here and true there; give"), "{said}");

    for (bytes, expected) in [
        (framed(1, &hello("0.0.1")), "the program's version is 0.0.1 here and "),
        (framed(2, "{}"), "protocol is 1 here and 2 there; run the same version"),
    ] {
        let mut stranger = connect(&cluster.hosts[0]);
        stranger.write_all(&bytes).unwrap();
        let answer = said_before_closing(&mut stranger);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(expected), "{answer}");
    }
    let said = first.wait_for_output("protocol is 1 here", PATIENCE).unwrap();
    assert!(said.contains("cluster.id is \"books\" here and \"other\" there"), "{said}");
    let mut second = cluster.start(1, &["--until-caught-up"]);
    expect(&mut first, 0, PATIENCE);
    expect(&mut second, 0, PATIENCE);
    cluster.judge();
}

/// Makes an authority and certificates of it for this machine and for another one, and returns the
/// keys of the configuration.
fn certify(dir: &Path, name: &str) -> String {
    let write =
        |file: &str, text: &str| fs::write(dir.join(format!("{name}-{file}")), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", &params.self_signed(&key).unwrap().pem());
    let authority = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    write("node.pem", &params.signed_by(&key, &authority).unwrap().pem());
    let params = CertificateParams::new(["10.0.0.1".to_owned()]).unwrap();
    write("far.pem", &params.signed_by(&key, &authority).unwrap().pem());
    write("node.key", &key.serialize_pem());
    format!(
        "tls = {{ ca = \"{name}-ca.pem\", certificate = \"{name}-node.pem\", key = \
         \"{name}-node.key\" }}"
    )
}

/// Connects with the right authority and no certificate.
fn without_certificate(cluster: &Cluster, authority: &Path) -> std::io::Error {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = connect(&cluster.hosts[0]);
    tcp.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    let mut stream = Stream::new(&mut client, &mut tcp);
    let written = stream.write_all(&framed(1, &hello("0.0.1")));
    written.and_then(|()| stream.read_exact(&mut [0])).unwrap_err()
}

#[test]
fn with_tls_only_those_with_a_certificate_of_the_authority_come_in() {
    let mut cluster = Cluster::new(2, 3, 1_500, 33);
    cluster.append(500);
    let ours = certify(cluster.dir.path(), "ours");
    let theirs = certify(cluster.dir.path(), "theirs");
    cluster.configure("trueup.toml", "books", &ours);
    cluster.configure("wrong.toml", "books", &theirs);
    cluster.configure("plain.toml", "books", "");
    for file in ["wrong.toml", "plain.toml"] {
        let path = cluster.path(file);
        let config = fs::read_to_string(&path).unwrap();
        let hurried = "connect_timeout = \"3s\"";
        fs::write(&path, config.replace("connect_timeout = \"60s\"", hurried)).unwrap();
    }
    let first = cluster.start(0, &[]);
    let refused = without_certificate(&cluster, &cluster.path("ours-ca.pem"));
    assert!(refused.to_string().contains("CertificateRequired"), "{refused}");
    let mut wrong = cluster.start_with("wrong.toml", 1, &[]);
    let said = expect(&mut wrong, 4, PATIENCE);
    assert!(said.contains("invalid peer certificate"), "{said}");
    let mut plain = cluster.start_with("plain.toml", 1, &[]);
    let said = expect(&mut plain, 4, PATIENCE);
    let named = format!("no connection to process 0 ({}) within 3s", cluster.hosts[0]);
    assert!(said.contains(&named), "{said}");

    cluster.configure("far.toml", "books", &ours.replace("ours-node.pem", "ours-far.pem"));
    let mut far = cluster.start_with("far.toml", 1, &[]);
    let said = expect(&mut far, 2, PATIENCE);
    assert!(said.contains("the certificate is not for 127.0.0.1"), "{said}");

    let mut running = [first, cluster.start(1, &[])];
    cluster.await_commits(2, &running);
    cluster.append(500);
    running[1].kill_9().unwrap();
    let said = expect(&mut running[0], 4, PATIENCE);
    assert!(said.contains("lost process 1"), "{said}");
    assert!(said.contains("peer sent no certificates"), "{said}");
    cluster.append(500);
    cluster.finish();
    cluster.judge();
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let cluster = Cluster::new(2, 1, 10, 34);
    let tls = certify(cluster.dir.path(), "ours");
    cluster.configure("trueup.toml", "books", &tls);
    for (file, key) in [
        ("ours-ca.pem", "tls.ca"),
        ("ours-node.pem", "tls.certificate"),
        ("ours-node.key", "tls.key"),
    ] {
        let good = fs::read(cluster.path(file)).unwrap();
        for bad in [b"".as_slice(), b"-----BEGIN"] {
            fs::write(cluster.path(file), bad).unwrap();
            let said = expect(&mut cluster.start(1, &[]), 2, PATIENCE);
            let checked = trueup(2, &["check", "-c", text(&cluster.path("trueup.toml"))]).err;
            for said in [said, checked] {
                assert!(
                    said.contains(&format!("cluster.{key}: ")) && said.contains(file),
                    "{said}"
                );
            }
        }
        fs::write(cluster.path(file), good).unwrap();
    }
}
