//! A connection to another process as timely's network threads see it: one that never fails.
//!
//! Those threads answer a broken connection with a panic, which ends nothing by itself and says
//! little. So a [`Peer`] tells its owner that the connection broke and then blocks its thread for
//! good: the owner ends the run in its own words. Only the orderly end, for which timely sends a
//! message without content, is passed on as the end of the stream.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use timely::communication::allocator::zero_copy::stream::Stream;

/// The bytes of the message by which timely says that nothing follows: a header of six zeros.
const END_BYTES: usize = 48;

/// Is told which process a connection broke to, and why.
pub type Lost = dyn Fn(usize, &io::Error) + Send + Sync;

/// Two ways to another process: directly, or to a thread beside it that encrypts.
#[derive(Debug)]
pub enum Connection {
    /// A connection of the network.
    Tcp(TcpStream),
    /// A connection within this machine.
    Unix(UnixStream),
}

impl Connection {
    /// Returns another handle of the same connection.
    ///
    /// # Errors
    /// Where the operating system refuses.
    pub fn try_clone(&self) -> io::Result<Connection> {
        match self {
            Connection::Tcp(stream) => stream.try_clone().map(Connection::Tcp),
            Connection::Unix(stream) => stream.try_clone().map(Connection::Unix),
        }
    }

    /// Sets how long a read waits; `None` is for ever.
    ///
    /// # Errors
    /// Where the operating system refuses, as a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.set_read_timeout(timeout),
            Connection::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    /// Where the operating system refuses, as for a connection that is broken already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Connection::Tcp(stream) => stream.shutdown(how),
            Connection::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.read(buffer),
            Connection::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Connection::Tcp(stream) => stream.write(bytes),
            Connection::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to one process.
pub(super) struct Peer {
    connection: Connection,
    remote: usize,
    lost: Arc<Lost>,
    /// How many zeros were read last, which tells the orderly end from a broken connection.
    zeros: usize,
}

impl Peer {
    pub(super) fn new(connection: Connection, remote: usize, lost: Arc<Lost>) -> Peer {
        Peer { connection, remote, lost, zeros: 0 }
    }

    fn broke(&self, error: &io::Error) -> ! {
        (self.lost)(self.remote, error);
        loop {
            std::thread::park();
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.read(buffer) {
                Ok(0) if self.zeros >= END_BYTES => return Ok(0),
                Ok(0) => self.broke(&io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    let read_now = &buffer[..read];
                    let zeros = read_now.iter().rev().take_while(|byte| **byte == 0).count();
                    self.zeros = if zeros == read { self.zeros + zeros } else { zeros };
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broke(&error),
            }
        }
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.connection.write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => self.broke(&error),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Peer {
    fn try_clone(&self) -> io::Result<Peer> {
        let connection = self.connection.try_clone()?;
        Ok(Peer { connection, remote: self.remote, lost: Arc::clone(&self.lost), zeros: 0 })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match &self.connection {
            Connection::Tcp(stream) => stream.set_nonblocking(nonblocking),
            Connection::Unix(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    /// Never fails: the other process may have gone in good order already.
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let _ = self.connection.shutdown(how);
        Ok(())
    }
}
