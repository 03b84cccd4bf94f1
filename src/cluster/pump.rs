//! Two threads that encrypt and decrypt, between a socket of this machine and one of the network.
//!
//! Timely reads and writes a connection from two threads, each with a handle of its own, which a
//! TLS connection does not have.
//!
//! ```text
//!  timely ──▶ unix ──▶ tls-out: lock(order) { lock(tls) { encrypt } ; write } ──▶ tcp
//!  timely ◀── unix ◀── tls-in:  read ; lock(tls) { decrypt } ◀─────────────────── tcp
//! ```
//!
//! No thread holds the lock of the TLS state while it waits for the network. So a peer that does
//! not read never keeps this process from reading, and two ends cannot wait for each other.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

type Tls = Arc<Mutex<rustls::Connection>>;

/// The largest piece that is read at once: some records of TLS.
const PIECE: usize = 64 << 10;

/// Starts the threads, and returns the end whose bytes are plain.
pub(super) fn start(
    tcp: TcpStream,
    mut tls: rustls::Connection,
    name: &str,
) -> io::Result<UnixStream> {
    // What is encrypted and not yet sent is bounded by the size of a piece already.
    tls.set_buffer_limit(None);
    let (ours, plain) = UnixStream::pair()?;
    let tls: Tls = Arc::new(Mutex::new(tls));
    let (tcp_out, plain_out, tls_out) = (tcp.try_clone()?, plain.try_clone()?, Arc::clone(&tls));
    let spawn = |direction: &str| thread::Builder::new().name(format!("tls-{direction}-{name}"));
    spawn("out").spawn(move || {
        if let Err(error) = encrypt(&plain_out, &tcp_out, &tls_out) {
            end(&plain_out, &tcp_out, "sending", &error);
        }
    })?;
    spawn("in").spawn(move || {
        if let Err(error) = decrypt(&tcp, &plain, &tls) {
            end(&plain, &tcp, "receiving", &error);
        }
    })?;
    Ok(ours)
}

/// Ends both directions of both sockets; whoever uses them notices.
fn end(plain: &UnixStream, tcp: &TcpStream, doing: &str, error: &io::Error) {
    tracing::debug!(%error, "an encrypted connection broke while {doing}");
    let _ = plain.shutdown(Shutdown::Both);
    let _ = tcp.shutdown(Shutdown::Both);
}

fn lock(tls: &Tls) -> MutexGuard<'_, rustls::Connection> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn encrypt(mut plain: &UnixStream, mut tcp: &TcpStream, tls: &Tls) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut encrypted = Vec::new();
    loop {
        let read = match plain.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        {
            let mut tls = lock(tls);
            tls.writer().write_all(&piece[..read])?;
            if read == 0 {
                tls.send_close_notify();
            }
            while tls.wants_write() {
                tls.write_tls(&mut encrypted)?;
            }
        }
        tcp.write_all(&encrypted)?;
        encrypted.clear();
        if read == 0 {
            // The other end may have gone in good order already.
            let _ = tcp.shutdown(Shutdown::Write);
            return Ok(());
        }
    }
}

fn decrypt(mut tcp: &TcpStream, mut plain: &UnixStream, tls: &Tls) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut decrypted = Vec::new();
    let mut received: &[u8] = &[];
    let mut closed = false;
    loop {
        {
            let mut tls = lock(tls);
            // First what came with the end of the handshake.
            loop {
                closed |= drain(&mut tls, &mut decrypted)?;
                if received.is_empty() {
                    break;
                }
                tls.read_tls(&mut received)?;
                tls.process_new_packets().map_err(io::Error::other)?;
            }
        }
        plain.write_all(&decrypted)?;
        decrypted.clear();
        if closed {
            let _ = plain.shutdown(Shutdown::Write);
            return Ok(());
        }
        let read = loop {
            match tcp.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received = &piece[..read];
    }
}

/// Takes what is decrypted; returns whether the other end has said that nothing follows.
fn drain(tls: &mut rustls::Connection, decrypted: &mut Vec<u8>) -> io::Result<bool> {
    match tls.reader().read_to_end(decrypted) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
