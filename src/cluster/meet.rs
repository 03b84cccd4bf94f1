//! How the processes meet: each listens on its own address, connects to those with lower numbers,
//! and waits for those with higher ones, until a deadline.
//!
//! One thread accepts, one connects to each lower process, and each connection that comes in is
//! heard on a thread of its own, so that nobody who is slow keeps another one waiting.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use trueup_dataflow::Connection;

use super::handshake::{self, Failure, Hello, Purpose, Refusal};
use super::opening::Opening;
use super::tls::{self, Identity};
use super::{ClusterError, HANDSHAKE_TIME, Joined, Membership, named};

/// How many connections may be open of which it is not known who they are.
const UNKNOWN_MAX: usize = 64;

/// How long is waited before a process that is not there is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How often it is said who is missing.
const TELL_AGAIN: Duration = Duration::from_secs(5);

/// Returns the generation of the store's last commit.
type Generation = dyn Fn() -> Result<u64, String> + Send + Sync;

/// What the threads tell.
enum News {
    Linked {
        remote: usize,
        purpose: Purpose,
        start: u64,
        connection: Connection,
    },
    /// Why somebody is not connected yet.
    Problem(String),
    /// Why they never will be.
    Fatal(ClusterError),
}

/// What all threads know.
struct Meeting {
    membership: Membership,
    identity: Option<Identity>,
    generation: Box<Generation>,
    /// The number of this start.
    start: u64,
    deadline: Instant,
    over: AtomicBool,
    unknown: AtomicUsize,
}

/// Connects this process to all others. Returns `None` where `stop` is set meanwhile. `generation`
/// is asked for the generation of the store's last commit with every connection.
///
/// # Errors
/// [`ClusterError`], which says who is missing or what does not agree.
pub fn join(
    membership: Membership,
    generation: Box<dyn Fn() -> Result<u64, String> + Send + Sync>,
    stop: &AtomicBool,
) -> Result<Option<Joined>, ClusterError> {
    let identity = membership.cluster.tls.as_ref().map(Identity::load).transpose();
    let identity = identity.map_err(|error| ClusterError::Configuration(error.to_string()))?;
    let start = RandomState::new().hash_one(std::process::id());
    let deadline = Instant::now() + membership.cluster.connect_timeout;
    let (over, unknown) = (AtomicBool::new(false), AtomicUsize::new(0));
    let meeting =
        Arc::new(Meeting { membership, identity, generation, start, deadline, over, unknown });
    let (news, received) = unbounded();
    let outcome = meeting.begin(&news).and_then(|()| meeting.gather(&received, stop));
    meeting.over.store(true, Ordering::Release);
    outcome
}

impl Meeting {
    fn hosts(&self) -> &[String] {
        &self.membership.cluster.hosts
    }

    fn process(&self) -> usize {
        self.membership.process
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || Instant::now() >= self.deadline
    }

    /// Returns the connections that this process needs.
    fn wanted(&self) -> Vec<(usize, Purpose)> {
        let others = (0..self.hosts().len()).filter(|other| *other != self.process());
        let purposes = |other| {
            let control = (other == 0 || self.process() == 0).then_some((other, Purpose::Control));
            [Some((other, Purpose::Data)), control].into_iter().flatten()
        };
        others.flat_map(purposes).collect()
    }

    fn begin(self: &Arc<Meeting>, news: &Sender<News>) -> Result<(), ClusterError> {
        for (remote, purpose) in self.wanted() {
            if remote < self.process() {
                let (meeting, news) = (Arc::clone(self), news.clone());
                spawn(format!("connect-{remote}"), move || meeting.dial(remote, purpose, &news))?;
            }
        }
        if self.process() + 1 < self.hosts().len() {
            let (meeting, news) = (Arc::clone(self), news.clone());
            spawn("accept".to_owned(), move || meeting.listen(&news))?;
        }
        Ok(())
    }

    fn gather(
        &self,
        news: &Receiver<News>,
        stop: &AtomicBool,
    ) -> Result<Option<Joined>, ClusterError> {
        let wanted = self.wanted();
        let mut links: HashMap<(usize, Purpose), (u64, Connection)> = HashMap::new();
        let mut problem = String::new();
        let mut told = Instant::now();
        while links.len() < wanted.len() {
            match news.recv_timeout(Duration::from_millis(50)) {
                Ok(News::Linked { remote, purpose, start, connection }) => {
                    // A process that was started again replaces what it was before.
                    links.insert((remote, purpose), (start, connection));
                }
                Ok(News::Problem(text)) => problem = text,
                Ok(News::Fatal(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if stop.load(Ordering::Acquire) {
                return Ok(None);
            }
            let missing = wanted.iter().filter(|link| !links.contains_key(link));
            let mut missing: Vec<_> =
                missing.map(|(other, _)| named(self.hosts(), *other)).collect();
            missing.dedup();
            let missing = missing.join(", ");
            if !missing.is_empty() && Instant::now() >= self.deadline {
                return Err(self.too_late(&missing, &problem));
            }
            if told.elapsed() >= TELL_AGAIN {
                tracing::warn!(last_problem = problem, "still waiting for {missing}");
                told = Instant::now();
            }
        }
        self.joined(links).map(Some)
    }

    fn too_late(&self, missing: &str, problem: &str) -> ClusterError {
        let waited = self.membership.cluster.connect_timeout;
        let problem = match problem {
            "" => String::new(),
            problem => format!(" (the last problem: {problem})"),
        };
        ClusterError::NotJoined(format!(
            "no connection to {missing} within {waited:?}{problem}; start all processes of the \
             cluster and let each reach the others' addresses in cluster.hosts"
        ))
    }

    fn joined(
        &self,
        links: HashMap<(usize, Purpose), (u64, Connection)>,
    ) -> Result<Joined, ClusterError> {
        let count = self.hosts().len();
        let mut starts = vec![0; count];
        starts[self.process()] = self.start;
        let none = || (0..count).map(|_| None).collect::<Vec<_>>();
        let (mut data, mut control) = (none(), none());
        for ((remote, purpose), (start, connection)) in links {
            if starts[remote] != 0 && starts[remote] != start {
                let remote = named(self.hosts(), remote);
                return Err(ClusterError::NotJoined(format!(
                    "{remote} was started again while the processes met; start again"
                )));
            }
            starts[remote] = start;
            let place = match purpose {
                Purpose::Data => &mut data[remote],
                Purpose::Control => &mut control[remote],
            };
            *place = Some(connection);
        }
        let cluster = &self.membership.cluster;
        Ok(Joined {
            process: self.process(),
            hosts: cluster.hosts.clone().into(),
            starts,
            peer_timeout: cluster.peer_timeout,
            connect_timeout: cluster.connect_timeout,
            data,
            control,
        })
    }

    fn hello(&self, to: usize, purpose: Purpose) -> Result<Hello, String> {
        Ok(Hello {
            cluster: self.membership.cluster.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processes: self.hosts().len(),
            process: self.process(),
            to,
            workers: self.membership.workers,
            configuration: self.membership.configuration_hash.clone(),
            until_caught_up: self.membership.until_caught_up,
            generation: (self.generation)()?,
            start: self.start,
            purpose,
        })
    }

    /// Connects to a process, again and again until it is there.
    fn dial(&self, remote: usize, purpose: Purpose, news: &Sender<News>) {
        let name = named(self.hosts(), remote);
        while !self.is_over() {
            let outcome = self.dial_once(remote, purpose);
            let told = match outcome {
                Ok((start, connection)) => {
                    tracing::debug!("connected to {name} for {purpose:?}");
                    let _ = news.send(News::Linked { remote, purpose, start, connection });
                    return;
                }
                Err(Failure::Refused(refusal)) if !refusal.again => {
                    let text = format!("{name} does not fit this process: {}", refusal.text);
                    let _ = news.send(News::Fatal(ClusterError::Configuration(text)));
                    return;
                }
                Err(Failure::Refused(refusal)) => refusal.text,
                Err(Failure::Broken(error)) => error.to_string(),
            };
            let _ = news.send(News::Problem(format!("{name}: {told}")));
            thread::sleep(ASK_AGAIN);
        }
    }

    fn dial_once(&self, remote: usize, purpose: Purpose) -> Result<(u64, Connection), Failure> {
        let address = &self.hosts()[remote];
        let deadline = (Instant::now() + HANDSHAKE_TIME).min(self.deadline);
        let mut opening = Opening::new(connect(address, deadline)?, deadline)?;
        if let Some(identity) = &self.identity {
            let tls = identity.connect(host_of(address)).map_err(io::Error::other)?;
            opening.secure(tls)?;
        }
        let ours = self.hello(remote, purpose).map_err(io::Error::other)?;
        let theirs = handshake::introduce(&mut opening, &ours)?;
        let timeout = self.membership.cluster.peer_timeout;
        Ok((theirs.start, opening.finish(&remote.to_string(), timeout)?))
    }

    /// Accepts connections until the meeting is over.
    fn listen(self: &Arc<Meeting>, news: &Sender<News>) {
        let Some(listener) = self.bound(news) else { return };
        while !self.is_over() {
            let Ok((tcp, from)) = listener.accept() else {
                // Nobody, or an error that is that of one connection.
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            if self.unknown.fetch_add(1, Ordering::AcqRel) >= UNKNOWN_MAX {
                self.unknown.fetch_sub(1, Ordering::AcqRel);
                tracing::warn!(%from, "closed a connection: too many are open and say nothing");
                continue;
            }
            let (meeting, on_thread) = (Arc::clone(self), news.clone());
            let spawned = spawn(format!("hear-{from}"), move || {
                let heard = meeting.hear(tcp);
                meeting.unknown.fetch_sub(1, Ordering::AcqRel);
                let text = match heard {
                    Ok(linked) => return drop(on_thread.send(linked)),
                    Err(Failure::Refused(refusal)) => refusal.text,
                    Err(Failure::Broken(error)) => error.to_string(),
                };
                tracing::warn!("refused a connection from {from}: {text}");
                let _ = on_thread.send(News::Problem(format!("refused {from}: {text}")));
            });
            if let Err(error) = spawned {
                self.unknown.fetch_sub(1, Ordering::AcqRel);
                let _ = news.send(News::Problem(error.to_string()));
            }
        }
    }

    /// Listens on this process' address. The name may not be known yet, or the one who had the
    /// address before may not be gone, so this is tried until the deadline too.
    fn bound(&self, news: &Sender<News>) -> Option<TcpListener> {
        let address = &self.hosts()[self.process()];
        while !self.is_over() {
            let bound = TcpListener::bind(address.as_str());
            match bound.and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
                Ok(listener) => return Some(listener),
                Err(error) => {
                    let text = format!("cannot listen on {address}: {error}");
                    let _ = news.send(News::Problem(text));
                    thread::sleep(ASK_AGAIN);
                }
            }
        }
        None
    }

    fn hear(&self, tcp: TcpStream) -> Result<News, Failure> {
        let deadline = Instant::now() + HANDSHAKE_TIME;
        let mut opening = Opening::new(tcp, deadline)?;
        if let Some(identity) = &self.identity {
            opening.secure(identity.accept().map_err(io::Error::other)?)?;
        }
        let certificate = opening.certificate();
        let theirs = handshake::answer(&mut opening, |theirs| {
            // Only a higher number may connect, and only to process 0 for control.
            let host = self.hosts().get(theirs.process);
            let host = host.filter(|_| theirs.process > self.process());
            let control = self.process() == 0 && theirs.purpose == Purpose::Control;
            let purpose = if control { Purpose::Control } else { Purpose::Data };
            let to = if host.is_some() { theirs.process } else { self.process() + 1 };
            if let (Some(host), Some(certificate)) = (host, &certificate) {
                tls::check_host(certificate, host_of(host))
                    .map_err(|text| Refusal { text, again: false })?;
            }
            self.hello(to, purpose).map_err(|text| Refusal { text, again: true })
        })?;
        let timeout = self.membership.cluster.peer_timeout;
        let connection = opening.finish(&theirs.process.to_string(), timeout)?;
        let Hello { process: remote, purpose, start, .. } = theirs;
        Ok(News::Linked { remote, purpose, start, connection })
    }
}

fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in address.to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Returns the host of `host:port`, without the brackets of IPv6.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<(), ClusterError> {
    match thread::Builder::new().name(name).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(ClusterError::NotJoined(format!("cannot start a thread: {error}"))),
    }
}
