//! A control connection in use: messages in both directions, and a heartbeat.
//!
//! - An [`Outbox`] never blocks whoever sends; its thread writes, and writes a heartbeat where there
//!   is nothing else to write for [`HEARTBEAT`].
//! - An [`Inbox`] blocks until a message comes, and fails once nothing, not even a heartbeat, has come
//!   for the time it was given. So a process that is stopped, or cut off, is noticed as well as one
//!   that is gone.

use std::io;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trueup_dataflow::Connection;

use super::frame;

/// How often a process says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The longest message: the files and totals of one worker's share of an epoch.
const BYTES_MAX: usize = 64 << 20;

/// The sending end.
pub(crate) struct Outbox<M> {
    slot: Slot<M>,
    finished: Receiver<()>,
}

/// Where messages are put in; there may be several for one outbox.
pub(crate) struct Slot<M>(Sender<Option<M>>);

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Slot<M> {
        Slot(self.0.clone())
    }
}

impl<M> Slot<M> {
    /// Puts a message into the queue. Where the connection is broken it is dropped: the inbox of the
    /// same connection says so.
    pub(crate) fn send(&self, message: M) {
        let _ = self.0.send(Some(message));
    }
}

impl<M: Serialize + Send + 'static> Outbox<M> {
    /// Starts the thread that writes.
    pub(crate) fn start(connection: Connection, name: &str) -> io::Result<Outbox<M>> {
        let (messages, received) = unbounded();
        let (done, finished) = bounded(1);
        thread::Builder::new().name(format!("control-out-{name}")).spawn(move || {
            if let Err(error) = write_all(connection, &received) {
                // Whoever reads from this process tells why.
                tracing::debug!(%error, "a control connection cannot be written");
            }
            let _ = done.send(());
        })?;
        Ok(Outbox { slot: Slot(messages), finished })
    }

    /// As [`Slot::send`].
    pub(crate) fn send(&self, message: M) {
        self.slot.send(message);
    }

    /// Returns another place to put messages in.
    pub(crate) fn slot(&self) -> Slot<M> {
        self.slot.clone()
    }

    /// Waits until everything is written and the other end knows that nothing follows, for
    /// `patience` at most.
    pub(crate) fn finish(self, patience: Duration) {
        let _ = self.slot.0.send(None);
        let _ = self.finished.recv_timeout(patience);
    }
}

fn write_all<M: Serialize>(
    mut connection: Connection,
    messages: &Receiver<Option<M>>,
) -> io::Result<()> {
    loop {
        let message = match messages.recv_timeout(HEARTBEAT) {
            Ok(Some(message)) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                return connection.shutdown(Shutdown::Write);
            }
        };
        frame::write(&mut connection, BYTES_MAX, &message)?;
    }
}

/// The receiving end.
pub(crate) struct Inbox<M> {
    connection: Connection,
    silence_max: Duration,
    message: PhantomData<M>,
}

/// Why no message comes any more.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The other process has ended, or was ended.
    Closed,
    /// It is there, perhaps, and says nothing.
    Silent(Duration),
    /// The connection failed, or carries what is no message.
    Broken(io::Error),
}

impl<M: DeserializeOwned> Inbox<M> {
    /// Reads from a connection. Until the first message the other end may be silent for
    /// `silence_max`.
    pub(crate) fn new(connection: Connection, silence_max: Duration) -> Inbox<M> {
        Inbox { connection, silence_max, message: PhantomData }
    }

    /// Sets how long the other end may be silent from now on.
    pub(crate) fn allow_silence(&mut self, silence_max: Duration) {
        self.silence_max = silence_max;
    }

    /// Waits for a message. `None` is a heartbeat.
    pub(crate) fn receive(&mut self) -> Result<Option<M>, Lost> {
        let silence = Some(self.silence_max);
        self.connection.set_read_timeout(silence).map_err(Lost::Broken)?;
        frame::read(&mut self.connection, BYTES_MAX).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Lost::Silent(self.silence_max),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Lost::Closed,
            _ => Lost::Broken(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    fn ends(silence_max: Duration) -> (UnixStream, Inbox<u32>) {
        let (one, other) = UnixStream::pair().unwrap();
        (one, Inbox::new(Connection::Unix(other), silence_max))
    }

    #[test]
    fn messages_come_in_order_and_the_end_is_told() {
        let (one, mut inbox) = ends(Duration::from_secs(60));
        let outbox = Outbox::start(Connection::Unix(one), "test").unwrap();
        (0..100).for_each(|number| outbox.send(number));
        outbox.finish(Duration::from_secs(60));
        let mut received = Vec::new();
        let end = loop {
            match inbox.receive() {
                Ok(message) => received.extend(message),
                Err(lost) => break lost,
            }
        };
        assert_eq!(received, (0..100).collect::<Vec<_>>());
        assert!(matches!(end, Lost::Closed), "{end:?}");
    }

    #[test]
    fn heartbeats_come_where_nothing_else_does_and_silence_is_noticed() {
        let (one, mut inbox) = ends(HEARTBEAT * 5);
        let silent = one.try_clone().unwrap();
        let outbox: Outbox<u32> = Outbox::start(Connection::Unix(one), "test").unwrap();
        assert!(matches!(inbox.receive(), Ok(None)));
        assert!(matches!(inbox.receive(), Ok(None)));
        outbox.finish(Duration::from_secs(60));
        drop(silent);
        assert!(matches!(inbox.receive(), Err(Lost::Closed)));

        let (_open, mut inbox) = ends(Duration::from_millis(50));
        let begun = Instant::now();
        assert!(matches!(inbox.receive(), Err(Lost::Silent(_))));
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }
}
