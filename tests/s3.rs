//! A store in object storage, on a real S3 server: the contract of a store, replies that get lost,
//! and the program on it. Needs Go, and fails without it: nothing is skipped.

#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub, dead_code)]

#[path = "common/judge.rs"]
mod judge;
#[path = "common/program.rs"]
mod program;
#[path = "common/records.rs"]
mod records;

#[path = "s3/books.rs"]
mod books;
#[path = "s3/lost.rs"]
mod lost;
#[path = "s3/proxy.rs"]
mod proxy;
#[path = "s3/store.rs"]
mod store;

use trueup_sinks::{BucketConfig, BucketStore, Credentials};
use trueup_testing::s3::S3Server;

const BUCKET: &str = "books";

/// Starts a server with one bucket.
fn server() -> S3Server {
    let server = S3Server::start().expect("a real S3 server is needed for this test");
    server.create_bucket(BUCKET).unwrap();
    server
}

/// Returns the configuration of a store that is reached at `endpoint`.
fn config(endpoint: &str, prefix: &str) -> BucketConfig {
    let (key_id, secret) = (S3Server::KEY_ID.to_owned(), S3Server::SECRET.to_owned());
    BucketConfig {
        endpoint: Some(endpoint.to_owned()),
        region: Some(S3Server::REGION.to_owned()),
        credentials: Some(Credentials { key_id, secret }),
        ..BucketConfig::new(BUCKET, prefix)
    }
}

fn open(server: &S3Server, prefix: &str) -> BucketStore {
    BucketStore::open(config(&server.endpoint(), prefix)).unwrap()
}
