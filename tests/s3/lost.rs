//! Requests and replies that get lost between the store and the server.

use std::io;
use std::time::{Duration, Instant};

use trueup_sinks::{BucketConfig, BucketStore, Creation, Retry, Store, StoreError, create_exact};
use trueup_testing::s3::S3Server;

use crate::proxy::{Fate, Proxy};
use crate::{BUCKET, config, server};

const RETRY: Retry = Retry { attempts: 5, first_pause: Duration::from_millis(5) };

struct Lossy {
    server: S3Server,
    proxy: Proxy,
    store: BucketStore,
}

fn lossy() -> Lossy {
    let server = server();
    let proxy = Proxy::start(server.port());
    let patience = Duration::from_secs(2);
    let config = BucketConfig { patience, ..config(&proxy.endpoint(), "lossy") };
    let store = BucketStore::open(config).unwrap();
    Lossy { server, proxy, store }
}

impl Lossy {
    fn is_there(&self, path: &str) -> bool {
        self.server.bucket(BUCKET).join("lossy").join(path).exists()
    }
}

/// One row: what becomes of the request, and whether the object is there when nobody knows.
#[test]
fn a_lost_reply_is_unknown_and_is_resolved_by_reading() {
    let lossy = lossy();
    let rows = [
        (Fate::LoseReply, true),
        (Fate::LoseRequest, false),
        (Fate::Silence, true),
        (Fate::Answer(500), false),
        (Fate::Answer(503), false),
        (Fate::Answer(409), false),
    ];
    for (number, (fate, there)) in rows.into_iter().enumerate() {
        let path = format!("commits/{number}");
        lossy.proxy.script(&[fate]);
        let error = lossy.store.create(&path, b"ours").unwrap_err();
        assert!(error.is_unknown(), "{fate:?}: {error}");
        assert_eq!(lossy.proxy.changes(), 1, "{fate:?}: it was sent once");
        assert_eq!(lossy.is_there(&path), there, "{fate:?}");
        let again = create_exact(&lossy.store, &path, b"ours", RETRY).unwrap();
        assert_eq!(again, Creation::Ours, "{fate:?}");
        let theirs = create_exact(&lossy.store, &path, b"theirs", RETRY).unwrap();
        assert_eq!(theirs, Creation::Taken(b"ours".to_vec()), "{fate:?}");
    }
}

#[test]
fn a_creation_survives_several_losses_in_a_row() {
    let lossy = lossy();
    lossy.proxy.script(&[Fate::LoseRequest, Fate::Answer(503), Fate::LoseReply]);
    assert_eq!(create_exact(&lossy.store, "a", b"ours", RETRY).unwrap(), Creation::Ours);
    assert_eq!(lossy.proxy.changes(), 3, "the third was found by reading");
    // Nobody learns more than that it is not known.
    lossy.proxy.script(&[Fate::LoseRequest; 5]);
    assert!(create_exact(&lossy.store, "b", b"ours", RETRY).unwrap_err().is_unknown());
}

#[test]
fn silence_ends_after_the_patience() {
    let lossy = lossy();
    lossy.proxy.script(&[Fate::Silence]);
    let begun = Instant::now();
    let error = lossy.store.put("a", b"x").unwrap_err();
    let StoreError::Unknown { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(20), "{took:?}");
}

/// A refusal is certain: nothing happened, and it is not asked again.
#[test]
fn a_refusal_is_definite() {
    let lossy = lossy();
    for status in [400, 403, 501] {
        lossy.proxy.script(&[Fate::Answer(status)]);
        let error = create_exact(&lossy.store, "a", b"ours", RETRY).unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }), "{status}: {error}");
        assert_eq!(lossy.proxy.changes(), 1, "{status}");
        assert!(!lossy.is_there("a"), "{status}");
    }
}

#[test]
fn storage_that_ignores_the_condition_is_refused() {
    let server = server();
    let proxy = Proxy::start(server.port());
    proxy.script(&[Fate::Answer(200); 2]);
    let error = BucketStore::open(config(&proxy.endpoint(), "unfenced")).unwrap_err();
    assert!(error.to_string().contains("ignores If-None-Match"), "{error}");
    // A lost reply in the proof is no proof of the contrary.
    proxy.script(&[Fate::LoseReply, Fate::LoseReply]);
    BucketStore::open(config(&proxy.endpoint(), "fenced")).unwrap();
}
