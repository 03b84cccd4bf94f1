//! Messages on a connection: a length of four bytes, then so many bytes of JSON.
//!
//! Memory grows with what has arrived, never with what a length promises.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a message of at most `bytes_max` bytes.
pub(crate) fn write<T: Serialize>(
    to: &mut impl Write,
    bytes_max: usize,
    message: &T,
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= bytes_max);
    let Some(length) = length else {
        return Err(invalid(format!("a message of {} bytes is too long", body.len())));
    };
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    to.write_all(&bytes)?;
    to.flush()
}

/// Reads a message of at most `bytes_max` bytes.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read, bytes_max: usize) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if usize::try_from(length).map_or(true, |length| length > bytes_max) {
        return Err(invalid(format!(
            "a message of {length} bytes is announced, which is too long"
        )));
    }
    let mut body = Vec::new();
    let read = from.take(u64::from(length)).read_to_end(&mut body)?;
    if read as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&body).map_err(|error| invalid(format!("no message of ours: {error}")))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, 100, &vec![1_u32, 2]).unwrap();
        write(&mut bytes, 100, &"x").unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read::<Vec<u32>>(&mut from, 100).unwrap(), [1, 2]);
        assert_eq!(read::<String>(&mut from, 100).unwrap(), "x");
        assert_eq!(
            read::<String>(&mut from, 100).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn what_is_too_long_cut_or_no_json_is_refused() {
        let rows: &[(&[u8], io::ErrorKind)] = &[
            (b"GET / HTTP/1.1\r\n\r\n", io::ErrorKind::InvalidData),
            (&[0xff; 8], io::ErrorKind::InvalidData),
            (&[0, 0, 0, 11, b'1'], io::ErrorKind::InvalidData),
            (&[0, 0, 0, 3, b'1'], io::ErrorKind::UnexpectedEof),
            (&[0, 0], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 1, b'{'], io::ErrorKind::InvalidData),
        ];
        for (bytes, kind) in rows {
            let mut from = *bytes;
            assert_eq!(read::<u64>(&mut from, 10).unwrap_err().kind(), *kind, "{bytes:?}");
        }
        let long = "x".repeat(100);
        assert_eq!(
            write(&mut Vec::new(), 10, &long).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
