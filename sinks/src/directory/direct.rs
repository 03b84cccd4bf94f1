//! Writing a large file past the page cache.
//!
//! What is written here is read again hardly ever, and seldom soon, while the state beside it is read all the
//! time: in the page cache it would only take that one's place, and the memory that it takes there has
//! to be found, filled and written back. A file that cannot be written so, on whatever file system, is
//! written as any other.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Below this nothing is gained.
const BYTES_MIN: usize = 128 << 10;

/// How many bytes are written at once.
const PIECE_BYTES: usize = 2 << 20;

/// Where in memory and in the file, and by how many bytes, such writes have to be: the largest block of any
/// disk that there is.
const BLOCK_BYTES: usize = 4096;

/// Writes all bytes to a file that is new and empty: by its path past the page cache, if that is worth it and
/// can be. What is written is durable when the file is synced.
pub(super) fn write_all(file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_either(file, bytes, |bytes| write_direct(path, bytes))
}

fn write_either(
    mut file: &File,
    bytes: &[u8],
    direct: impl FnOnce(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    if bytes.len() >= BYTES_MIN {
        match direct(bytes) {
            // The last block is filled up.
            Ok(()) => return file.set_len(bytes.len() as u64),
            Err(error) if is_refusal(error.kind()) => file.set_len(0)?,
            Err(error) => return Err(error),
        }
    }
    file.write_all(bytes)
}

fn write_direct(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_direct(path)?;
    let room = bytes.len().min(PIECE_BYTES).next_multiple_of(BLOCK_BYTES);
    let mut memory = vec![0; room + BLOCK_BYTES];
    let start = memory.as_ptr().align_offset(BLOCK_BYTES);
    let piece = &mut memory[start..start + room];
    for part in bytes.chunks(room) {
        let blocks = part.len().next_multiple_of(BLOCK_BYTES);
        piece[..part.len()].copy_from_slice(part);
        piece[part.len()..blocks].fill(0);
        file.write_all(&piece[..blocks])?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    std::fs::OpenOptions::new().write(true).custom_flags(flags).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether a file system that takes no such writes answers so.
fn is_refusal(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_length_are_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [0, 1, BYTES_MIN, BYTES_MIN - 1, BYTES_MIN + 1, PIECE_BYTES, PIECE_BYTES + 1];
        let more =
            [PIECE_BYTES - BLOCK_BYTES, 2 * PIECE_BYTES + BLOCK_BYTES, 3 * PIECE_BYTES + 4097];
        for length in lengths.into_iter().chain(more) {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect();
            let path = folder.path().join(length.to_string());
            let file = File::create_new(&path).unwrap();
            write_all(&file, &path, &bytes).unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "{length}");
        }
    }

    /// Which file systems refuse differs by kernel, so that one is made up: it takes a block, and no more.
    #[test]
    fn where_no_such_write_is_taken_a_file_is_written_as_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes = vec![7; BYTES_MIN + 1];
        let write = |kind: io::ErrorKind| {
            let file = File::create(&path).unwrap();
            write_either(&file, &bytes, |_| {
                std::fs::write(&path, [1; BLOCK_BYTES]).unwrap();
                Err(kind.into())
            })
        };
        for refusal in [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported] {
            write(refusal).unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "{refusal}");
        }
        let full = write(io::ErrorKind::StorageFull).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}
