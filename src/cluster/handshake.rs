//! The handshake: the first words on a connection, by which both ends know that they belong together.
//!
//! The end that connects says magic, protocol and its [`Hello`]; the end that accepts compares, and
//! answers with its own or with what does not agree; the first end compares too.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::frame;

/// The first bytes on a connection. Text with line ends of two kinds, so that what changes line ends
/// on the way is found out.
const MAGIC: [u8; 8] = *b"tru\r\nup\n";

/// The version of what is said between processes.
const PROTOCOL: u16 = 1;

/// The longest hello or answer.
const BYTES_MAX: usize = 4096;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Messages of timely.
    Data,
    /// Messages between the leader and a follower.
    Control,
}

/// Who connects to whom, and what they must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// `cluster.id`.
    pub(crate) cluster: String,
    /// The version of the program.
    pub(crate) version: String,
    /// The number of processes.
    pub(crate) processes: usize,
    /// The number of this process.
    pub(crate) process: usize,
    /// The number of the process that this one means to talk to.
    pub(crate) to: usize,
    /// The number of workers of a process.
    pub(crate) workers: usize,
    /// The hash of what else the configurations must agree on.
    pub(crate) configuration: String,
    /// Whether `--until-caught-up` is given.
    pub(crate) until_caught_up: bool,
    /// The generation of the store's last commit.
    pub(crate) generation: u64,
    /// A number that each start draws anew.
    pub(crate) start: u64,
    /// What the connection is for.
    pub(crate) purpose: Purpose,
}

/// What does not agree, as both ends tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// The whole message.
    pub(crate) text: String,
    /// Whether it may be different soon, so that asking again is worth it.
    pub(crate) again: bool,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Welcome(Hello),
    Refused(Refusal),
}

/// How a handshake ends that does not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The other end is one of ours, and something does not agree.
    Refused(Refusal),
    /// The other end is none of ours, too slow, or gone.
    Broken(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Broken(error)
    }
}

/// Says hello and compares the answer; returns the other end's hello.
pub(crate) fn introduce(stream: &mut (impl Read + Write), ours: &Hello) -> Result<Hello, Failure> {
    send(stream, ours)?;
    match receive(stream)? {
        Answer::Welcome(theirs) => match disagreement(ours, &theirs) {
            Some(refusal) => Err(Failure::Refused(refusal)),
            None => Ok(theirs),
        },
        Answer::Refused(refusal) => Err(Failure::Refused(refusal)),
    }
}

/// Waits for a hello, compares it and answers. `ours` is asked for the hello that belongs to the
/// purpose and number of the other end, or for why there is none.
pub(crate) fn answer(
    stream: &mut (impl Read + Write),
    ours: impl FnOnce(&Hello) -> Result<Hello, Refusal>,
) -> Result<Hello, Failure> {
    let heard = receive::<Hello>(stream).and_then(|theirs| match ours(&theirs) {
        Ok(ours) => Ok((ours, theirs)),
        Err(refusal) => Err(Failure::Refused(refusal)),
    });
    let (ours, theirs) = match heard {
        Ok(both) => both,
        Err(Failure::Refused(refusal)) => {
            send(stream, &Answer::Refused(refusal.clone()))?;
            return Err(Failure::Refused(refusal));
        }
        Err(broken) => return Err(broken),
    };
    if let Some(refusal) = disagreement(&ours, &theirs) {
        // It is told in the words of the end that reads it.
        let told = disagreement(&theirs, &ours).unwrap_or_else(|| refusal.clone());
        send(stream, &Answer::Refused(told))?;
        return Err(Failure::Refused(refusal));
    }
    send(stream, &Answer::Welcome(ours))?;
    Ok(theirs)
}

fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&PROTOCOL.to_be_bytes());
    frame::write(&mut bytes, BYTES_MAX + MAGIC.len() + 2, message)?;
    stream.write_all(&bytes)?;
    stream.flush()
}

fn receive<T: serde::de::DeserializeOwned>(stream: &mut impl Read) -> Result<T, Failure> {
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic)?;
    if magic != MAGIC {
        let text = "it does not speak as trueup does";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text).into());
    }
    let mut protocol = [0; 2];
    stream.read_exact(&mut protocol)?;
    let protocol = u16::from_be_bytes(protocol);
    if protocol != PROTOCOL {
        let remedy = "run the same version of trueup in all processes";
        return Err(Failure::Refused(refusal("protocol", PROTOCOL, protocol, remedy, false)));
    }
    Ok(frame::read(stream, BYTES_MAX)?)
}

fn refusal(
    key: &str,
    ours: impl std::fmt::Display,
    theirs: impl std::fmt::Display,
    remedy: &str,
    again: bool,
) -> Refusal {
    Refusal { text: format!("{key} is {ours} here and {theirs} there; {remedy}"), again }
}

/// Returns the first thing that two ends do not agree on, as the end of `ours` tells it.
fn disagreement(ours: &Hello, theirs: &Hello) -> Option<Refusal> {
    const FILE: &str = "give all processes the same configuration file";
    let differ = |key: &str,
                  ours: &dyn std::fmt::Display,
                  theirs: &dyn std::fmt::Display,
                  remedy| { Some(refusal(key, ours, theirs, remedy, false)) };
    if ours.cluster != theirs.cluster {
        let (ours, theirs) = (format!("{:?}", ours.cluster), format!("{:?}", theirs.cluster));
        let remedy = "let cluster.hosts name processes of one cluster only";
        return differ("cluster.id", &ours, &theirs, remedy);
    }
    if ours.version != theirs.version {
        let remedy = "run the same version of trueup in all processes";
        return differ("the program's version", &ours.version, &theirs.version, remedy);
    }
    if ours.processes != theirs.processes {
        return differ("the length of cluster.hosts", &ours.processes, &theirs.processes, FILE);
    }
    if ours.process != theirs.to || ours.to != theirs.process {
        let ours_said = format!("process {} talking to {}", ours.process, ours.to);
        let theirs_said = format!("process {} talking to {}", theirs.process, theirs.to);
        let remedy = "start each process with its own --process, its place in cluster.hosts";
        return differ("--process", &ours_said, &theirs_said, remedy);
    }
    if ours.workers != theirs.workers {
        let remedy = "set `workers` to the same number for all processes";
        return differ("workers", &ours.workers, &theirs.workers, remedy);
    }
    if ours.configuration != theirs.configuration {
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        let (ours, theirs) = (short(&ours.configuration), short(&theirs.configuration));
        return differ("the configuration's hash", &ours, &theirs, FILE);
    }
    if ours.until_caught_up != theirs.until_caught_up {
        let (ours, theirs) = (ours.until_caught_up, theirs.until_caught_up);
        let remedy = "give it to all processes or to none";
        return differ("--until-caught-up", &ours, &theirs, remedy);
    }
    if ours.generation != theirs.generation {
        // One end has looked at the store while an earlier run still committed.
        let remedy = "let all processes see the same store, and nobody else write to it";
        let (ours, theirs) = (ours.generation, theirs.generation);
        return Some(refusal("the store's generation", ours, theirs, remedy, true));
    }
    (ours.purpose != theirs.purpose).then(|| {
        let remedy = "run the same version of trueup in all processes";
        let purpose = |purpose| format!("{purpose:?}");
        let (ours, theirs) = (purpose(ours.purpose), purpose(theirs.purpose));
        refusal("the purpose", ours, theirs, remedy, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn hello(process: usize, to: usize) -> Hello {
        Hello {
            cluster: "books".to_owned(),
            version: "1.0.0".to_owned(),
            processes: 2,
            process,
            to,
            workers: 2,
            configuration: "0123456789abcdef".to_owned(),
            until_caught_up: false,
            generation: 7,
            start: 1,
            purpose: Purpose::Data,
        }
    }

    fn both(client: &Hello, server: &Hello) -> (Result<Hello, Failure>, Result<Hello, Failure>) {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let server = server.clone();
        let serving = std::thread::spawn(move || answer(&mut other, |_| Ok(server)));
        let introduced = introduce(&mut one, client);
        (introduced, serving.join().unwrap())
    }

    fn text(outcome: &Result<Hello, Failure>) -> (&str, bool) {
        match outcome {
            Err(Failure::Refused(refusal)) => (&refusal.text, refusal.again),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_that_agree_learn_each_others_hello() {
        let (client, server) = (hello(1, 0), hello(0, 1));
        let (introduced, answered) = both(&client, &server);
        assert_eq!(introduced.unwrap(), server);
        assert_eq!(answered.unwrap(), client);
    }

    #[test]
    fn each_end_tells_what_does_not_agree_in_its_own_words() {
        type Change = fn(&mut Hello);
        let rows: &[(Change, &str, &str, bool)] = &[
            (
                |hello| hello.cluster = "other".to_owned(),
                "cluster.id is \"other\" here and \"books\" there",
                "cluster.id is \"books\" here and \"other\" there",
                false,
            ),
            (
                |hello| hello.version = "0.9.0".to_owned(),
                "the program's version is 0.9.0 here and 1.0.0 there",
                "the program's version is 1.0.0 here and 0.9.0 there",
                false,
            ),
            (
                |hello| hello.processes = 3,
                "the length of cluster.hosts is 3 here and 2 there",
                "the length of cluster.hosts is 2 here and 3 there",
                false,
            ),
            (
                |hello| hello.to = 2,
                "--process is process 1 talking to 2 here and process 0 talking to 1 there",
                "--process is process 0 talking to 1 here and process 1 talking to 2 there",
                false,
            ),
            (|hello| hello.workers = 3, "workers is 3 here", "workers is 2 here", false),
            (
                |hello| hello.configuration = "fedc".to_owned(),
                "the configuration's hash is fedc here and 0123456789ab there",
                "the configuration's hash is 0123456789ab here and fedc there",
                false,
            ),
            (
                |hello| hello.until_caught_up = true,
                "--until-caught-up is true here and false there",
                "--until-caught-up is false here and true there",
                false,
            ),
            (
                |hello| hello.generation = 6,
                "the store's generation is 6 here and 7 there",
                "the store's generation is 7 here and 6 there",
                true,
            ),
            (
                |hello| hello.purpose = Purpose::Control,
                "the purpose is Control",
                "the purpose",
                false,
            ),
        ];
        for (change, at_client, at_server, again) in rows {
            let mut client = hello(1, 0);
            change(&mut client);
            let (introduced, answered) = both(&client, &hello(0, 1));
            assert!(text(&introduced).0.starts_with(at_client), "{introduced:?}");
            assert!(text(&answered).0.starts_with(at_server), "{answered:?}");
            assert!(text(&answered).0.contains("; "), "{answered:?} has no remedy");
            assert_eq!((text(&introduced).1, text(&answered).1), (*again, *again));
        }
    }

    #[test]
    fn another_protocol_is_told_and_garbage_is_not_answered() {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(&MAGIC).unwrap();
        one.write_all(&2_u16.to_be_bytes()).unwrap();
        let answered = answer(&mut other, |_| Ok(hello(0, 1)));
        assert!(text(&answered).0.starts_with("protocol is 1 here and 2 there"), "{answered:?}");
        assert!(matches!(receive(&mut one), Ok(Answer::Refused(_))));

        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert!(matches!(answer(&mut other, |_| Ok(hello(0, 1))), Err(Failure::Broken(_))));
        drop(other);
        let mut said = Vec::new();
        // What lay unread makes the end a reset, which is as good.
        let _ = one.read_to_end(&mut said);
        assert_eq!(said, b"");
    }
}
