//! The few Kafka requests that the broker's tests need, spoken directly over TCP.
//!
//! Kafka's own command-line tools do the same but start a Java machine for each call, which takes
//! a second; these calls take milliseconds. Layouts are those of
//! <https://kafka.apache.org/protocol>, in the oldest version that Kafka 4 still answers.
//!
//! Absent: records. Producing and consuming is for a real client.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer larger than this is not one to the requests made here.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How long the broker may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// How long the broker may itself wait for the request to take effect, in milliseconds.
const EFFECT_TIMEOUT_MS: i32 = 30_000;

const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// What a Metadata answer (api 3, version 1) says, reduced to what tests ask.
#[derive(Debug)]
pub(super) struct Metadata {
    /// How many brokers are registered and not fenced.
    pub(super) brokers: usize,
    /// How many partitions the asked topic has, if it exists and all of them have a leader.
    pub(super) partitions: Option<usize>,
    /// Whether the broker knows the asked topic at all.
    pub(super) topic_exists: bool,
}

/// Asks for the brokers and, if given, for one topic.
pub(super) fn metadata(port: u16, topic: Option<&str>) -> io::Result<Metadata> {
    let mut request = Request::new(3, 1);
    request.count(topic.iter().len())?;
    if let Some(topic) = topic {
        request.string(topic)?;
    }
    let mut answer = request.send(port)?;
    let brokers = answer.count()?;
    for _ in 0..brokers {
        answer.i32()?; // node
        answer.string()?; // host
        answer.i32()?; // port
        answer.string()?; // rack
    }
    answer.i32()?; // controller
    let mut found = Metadata { brokers, partitions: None, topic_exists: false };
    for _ in 0..answer.count()? {
        let error = answer.i16()?;
        answer.string()?;
        answer.i8()?; // internal
        let partitions = answer.count()?;
        let mut all_led = error == NONE;
        for _ in 0..partitions {
            let error = answer.i16()?;
            answer.i32()?; // index
            let leader = answer.i32()?;
            all_led &= error == NONE && leader >= 0;
            for _ in 0..2 {
                // The replicas, then those in sync.
                for _ in 0..answer.count()? {
                    answer.i32()?;
                }
            }
        }
        found.topic_exists = error != UNKNOWN_TOPIC_OR_PARTITION;
        found.partitions = (all_led && partitions > 0).then_some(partitions);
    }
    Ok(found)
}

/// Creates a topic (api 19, version 2).
pub(super) fn create_topic(
    port: u16,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> io::Result<()> {
    let mut request = Request::new(19, 2);
    request.count(1)?;
    request.string(topic)?;
    request.i32(partitions);
    request.i16(1); // replicas
    request.count(0)?; // no assignment by hand
    request.count(configs.len())?;
    for (name, value) in configs {
        request.string(name)?;
        request.string(value)?;
    }
    request.i32(EFFECT_TIMEOUT_MS);
    request.i8(0); // not only a validation
    let mut answer = request.send(port)?;
    answer.i32()?; // throttled ms
    for _ in 0..answer.count()? {
        answer.string()?;
        let error = answer.i16()?;
        let message = answer.string()?;
        accept(error, message.as_deref())?;
    }
    Ok(())
}

/// Deletes a topic (api 20, version 1).
pub(super) fn delete_topic(port: u16, topic: &str) -> io::Result<()> {
    let mut request = Request::new(20, 1);
    request.count(1)?;
    request.string(topic)?;
    request.i32(EFFECT_TIMEOUT_MS);
    let mut answer = request.send(port)?;
    answer.i32()?; // throttled ms
    for _ in 0..answer.count()? {
        answer.string()?;
        accept(answer.i16()?, None)?;
    }
    Ok(())
}

/// Deletes all records before `offset` (api 21, version 0); returns the first offset that is left.
pub(super) fn delete_records(
    port: u16,
    topic: &str,
    partition: i32,
    offset: i64,
) -> io::Result<i64> {
    let mut request = Request::new(21, 0);
    request.count(1)?;
    request.string(topic)?;
    request.count(1)?;
    request.i32(partition);
    request.i64(offset);
    request.i32(EFFECT_TIMEOUT_MS);
    let mut answer = request.send(port)?;
    answer.i32()?; // throttled ms
    let mut first_left = None;
    for _ in 0..answer.count()? {
        answer.string()?;
        for _ in 0..answer.count()? {
            answer.i32()?;
            let low = answer.i64()?;
            accept(answer.i16()?, None)?;
            first_left = Some(low);
        }
    }
    first_left.ok_or_else(|| malformed("an answer about no partition"))
}

fn accept(error: i16, message: Option<&str>) -> io::Result<()> {
    if error == NONE {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "Kafka refused with error code {error} {} \
         (https://kafka.apache.org/protocol#protocol_error_codes)",
        message.unwrap_or_default()
    )))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("Kafka's answer is malformed: {what}"))
}

/// A request being written: a length that is filled in last, the header (version 1), the body.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(api: i16, version: i16) -> Request {
        let mut request = Request { bytes: vec![0; 4] };
        request.i16(api);
        request.i16(version);
        request.i32(1); // correlation
        request.i16(-1); // no client id
        request
    }

    fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn count(&mut self, count: usize) -> io::Result<()> {
        self.i32(i32::try_from(count).map_err(io::Error::other)?);
        Ok(())
    }

    fn string(&mut self, text: &str) -> io::Result<()> {
        self.i16(i16::try_from(text.len()).map_err(io::Error::other)?);
        self.bytes.extend(text.as_bytes());
        Ok(())
    }

    fn send(mut self, port: u16) -> io::Result<Answer> {
        let length = u32::try_from(self.bytes.len() - 4).map_err(io::Error::other)?;
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&broker, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(&self.bytes)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > ANSWER_BYTES_MAX {
            return Err(malformed("its length"));
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes)?;
        let mut answer = Answer { bytes, read: 0 };
        if answer.i32()? != 1 {
            return Err(malformed("its correlation"));
        }
        Ok(answer)
    }
}

/// An answer being read, from its first byte to its last.
struct Answer {
    bytes: Vec<u8>,
    read: usize,
}

impl Answer {
    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let taken = rest.get(..length).ok_or_else(|| malformed("it ends early"))?;
        self.read += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        <[u8; N]>::try_from(self.take(N)?).map_err(io::Error::other)
    }

    fn i8(&mut self) -> io::Result<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    fn i16(&mut self) -> io::Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The length of an array; one that is absent (-1) counts as empty.
    fn count(&mut self) -> io::Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    fn string(&mut self) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else {
            return Ok(None);
        };
        let text = String::from_utf8(self.take(length)?.to_vec());
        text.map(Some).map_err(|_| malformed("a string that is not UTF-8"))
    }
}
