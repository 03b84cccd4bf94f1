//! Ports for servers on loopback.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::bail;

/// Where ports are looked for: below those that Linux hands out to outgoing connections (32768 and
/// up), because a client that keeps calling a server that is down can otherwise be given, as its
/// own port, the one it calls, and the restarted server then finds it taken.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Finds ports on which nothing listens now. Until its server listens another program may take one.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let random = RandomState::new();
    let mut held: Vec<(u16, TcpListener)> = Vec::new();
    // Each is held until all are found, so that they differ.
    for candidate in 0..1_000_u32 {
        let step = random.hash_one(candidate) % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(step)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
        if held.len() == N {
            let mut ports = [0; N];
            ports.iter_mut().zip(&held).for_each(|(port, (found, _))| *port = *found);
            return Ok(ports);
        }
    }
    bail!("found no {N} free ports between {} and {}", PORTS.start, PORTS.end)
}
