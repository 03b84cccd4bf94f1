//! A proxy before the server that loses requests and replies, and counts what passes.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of a request that changes something (PUT, POST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It and its reply pass.
    Pass,
    /// The server never sees it, and the connection ends.
    LoseRequest,
    /// The server carries it out, and the connection ends before its reply.
    LoseReply,
    /// The server carries it out, and nothing more is ever said on the connection.
    Silence,
    /// The server never sees it; this status is answered.
    Answer(u16),
}

#[derive(Default)]
struct State {
    script: VecDeque<Fate>,
    /// What happens behind the script: every n-th change loses its reply.
    lose_every: Option<usize>,
    changes: usize,
}

/// A listening proxy. It ends with the test process.
pub struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy before the server on `port`.
    pub fn start(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy {
            port: listener.local_addr().unwrap().port(),
            state: Arc::new(Mutex::new(State::default())),
        };
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                // A connection that breaks is what this is for.
                thread::spawn(move || serve(client, port, &state).ok());
            }
        });
        proxy
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Says what becomes of the next changes; those behind them pass. Forgets the count.
    pub fn script(&self, fates: &[Fate]) {
        let mut state = self.state.lock().unwrap();
        state.script = fates.iter().copied().collect();
        state.changes = 0;
    }

    /// Lets every n-th change lose its reply.
    pub fn lose_every(&self, n: usize) {
        self.state.lock().unwrap().lose_every = Some(n);
    }

    /// Returns how many changes were asked for since the script was set.
    pub fn changes(&self) -> usize {
        self.state.lock().unwrap().changes
    }
}

impl State {
    fn fate(&mut self) -> Fate {
        self.changes += 1;
        match (self.script.pop_front(), self.lose_every) {
            (Some(fate), _) => fate,
            (None, Some(n)) if self.changes.is_multiple_of(n) => Fate::LoseReply,
            (None, _) => Fate::Pass,
        }
    }
}

fn serve(client: TcpStream, port: u16, state: &Mutex<State>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut requests = BufReader::new(client.try_clone()?);
    let mut replies = BufReader::new(server.try_clone()?);
    let (mut client, mut server) = (client, server);
    while let Some((request, _)) = message(&mut requests, false)? {
        let is_change = request.starts_with(b"PUT ") || request.starts_with(b"POST ");
        let fate = if is_change { state.lock().unwrap().fate() } else { Fate::Pass };
        if let Fate::Answer(status) = fate {
            let answer = format!("HTTP/1.1 {status} x\r\nETag: \"e\"\r\nContent-Length: 0\r\n\r\n");
            client.write_all(answer.as_bytes())?;
            continue;
        }
        if fate == Fate::LoseRequest {
            return Ok(());
        }
        server.write_all(&request)?;
        let is_head = request.starts_with(b"HEAD ");
        let Some((reply, closes)) = message(&mut replies, is_head)? else {
            return Ok(());
        };
        match fate {
            Fate::LoseReply => return Ok(()),
            Fate::Silence => {
                thread::sleep(Duration::from_secs(60));
                return Ok(());
            }
            _ => client.write_all(&reply)?,
        }
        if closes {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one message of HTTP/1.1 as its bytes, and whether the connection ends behind it.
fn message(from: &mut impl BufRead, no_body: bool) -> io::Result<Option<(Vec<u8>, bool)>> {
    let (mut bytes, mut length, mut closes, mut chunked) = (Vec::new(), 0, false, false);
    loop {
        let start = bytes.len();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&bytes[start..]).trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("connection", "close")) => closes = true,
            Some(("transfer-encoding", "chunked")) => chunked = true,
            _ => {}
        }
    }
    if no_body {
        return Ok(Some((bytes, closes)));
    }
    if chunked {
        chunks(from, &mut bytes)?;
    } else {
        from.take(length).read_to_end(&mut bytes)?;
    }
    Ok(Some((bytes, closes)))
}

fn chunks(from: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let start = bytes.len();
        from.read_until(b'\n', bytes)?;
        let size = String::from_utf8_lossy(&bytes[start..]).trim().to_owned();
        let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
        // The chunk, or what ends the last one, has a line break behind it.
        from.take(size + 2).read_to_end(bytes)?;
        if size == 0 {
            return Ok(());
        }
    }
}
