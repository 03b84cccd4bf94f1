//! A server starts, keeps its data and its address over a crash, and leaves nothing behind.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use trueup_testing::s3::S3Server;

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn server_lives_as_long_as_its_value() -> anyhow::Result<()> {
    let mut server = S3Server::start()?;
    server.create_bucket("books")?;
    assert!(server.create_bucket("books").is_err());
    let (first, endpoint) = (server.process_id(), server.endpoint());
    server.kill()?;
    let connect = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert!(connect(server.port()).is_err(), "a killed server does not answer");
    server.restart()?;
    assert_ne!(server.process_id(), first);
    assert_eq!(server.endpoint(), endpoint);
    let (process, bucket) = (server.process_id(), server.bucket("books"));
    assert!(bucket.is_dir() && process.is_some_and(is_alive));
    drop(server);
    assert!(!bucket.exists() && !process.is_some_and(is_alive));
    Ok(())
}
