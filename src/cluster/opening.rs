//! A connection before it is known who is at the other end: every step has a deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use trueup_dataflow::Connection;

use super::pump;

/// A connection that is being opened, encrypted or not.
pub(super) struct Opening {
    tcp: TcpStream,
    tls: Option<rustls::Connection>,
    deadline: Instant,
}

impl Opening {
    pub(super) fn new(tcp: TcpStream, deadline: Instant) -> io::Result<Opening> {
        // Accepted sockets inherit it from the listener on some systems.
        tcp.set_nonblocking(false)?;
        tcp.set_nodelay(true)?;
        Ok(Opening { tcp, tls: None, deadline })
    }

    /// Encrypts from here on; both ends prove who they are.
    pub(super) fn secure(&mut self, mut tls: rustls::Connection) -> io::Result<()> {
        let mut timed = Timed { tcp: &self.tcp, deadline: self.deadline };
        while tls.is_handshaking() {
            tls.complete_io(&mut timed)?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// Returns the certificate that the other end has shown.
    pub(super) fn certificate(&self) -> Option<CertificateDer<'static>> {
        let shown = self.tls.as_ref()?.peer_certificates()?;
        shown.first().map(|certificate| certificate.clone().into_owned())
    }

    /// Returns the connection for use, without the deadline: a peer that is gone without a word is
    /// noticed by the operating system after `peer_timeout`.
    pub(super) fn finish(self, name: &str, peer_timeout: Duration) -> io::Result<Connection> {
        self.tcp.set_read_timeout(None)?;
        self.tcp.set_write_timeout(None)?;
        let socket = SockRef::from(&self.tcp);
        let probes = (peer_timeout / 6).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(probes * 3).with_interval(probes);
        socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(peer_timeout))?;
        match self.tls {
            None => Ok(Connection::Tcp(self.tcp)),
            Some(tls) => pump::start(self.tcp, tls, name).map(Connection::Unix),
        }
    }
}

impl Read for Opening {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut timed = Timed { tcp: &self.tcp, deadline: self.deadline };
        match &mut self.tls {
            None => timed.read(buffer),
            Some(tls) => loop {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
                if tls.read_tls(&mut timed)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                tls.process_new_packets().map_err(io::Error::other)?;
            },
        }
    }
}

impl Write for Opening {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut timed = Timed { tcp: &self.tcp, deadline: self.deadline };
        match &mut self.tls {
            None => timed.write(bytes),
            Some(tls) => tls.writer().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut timed = Timed { tcp: &self.tcp, deadline: self.deadline };
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => {
                while tls.wants_write() {
                    tls.write_tls(&mut timed)?;
                }
                Ok(())
            }
        }
    }
}

/// A socket whose calls end at a deadline, however slowly bytes trickle in.
struct Timed<'a> {
    tcp: &'a TcpStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(too_slow()),
            left => Ok(Some(left)),
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it took too long to say who it is")
}

fn told(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { too_slow() } else { error }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer).map_err(told)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
