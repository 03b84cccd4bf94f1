//! One partition of a local log: where it is read, and the proof that what was read stays.
//!
//! The reader keeps no bytes but the last [`TAIL_BYTES`] it read; each read takes them again and
//! compares. So a file that is rewritten under a running reader is noticed before the next record.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use trueup_ledger::Position;

use super::chunk::{behind_last_line, bytes_before, read_lines};
use super::folder::Files;
use crate::batch::{RawBatch, Shelf};
use crate::transport::{Partition, Polled, SourceError};

/// How many bytes before the position must stay what they were.
const TAIL_BYTES: usize = 4096;

/// A reader of one partition.
pub(super) struct LogPartition {
    source_name: String,
    id: String,
    files: Files,
    /// The file that is being read, `None` before the first.
    file: Option<File>,
    position: Position,
    /// The bytes before the position, [`TAIL_BYTES`] of them or all there are in the file.
    tail: Vec<u8>,
    /// The files before the current one, which are finished, and their bytes together.
    finished: Vec<String>,
    finished_bytes: u64,
    last_finished_bytes: u64,
    /// The file's length when it last ended in an incomplete line.
    incomplete: Option<u64>,
    shelf: Shelf,
}

impl LogPartition {
    pub(super) fn new(source_name: &str, id: String, files: Files) -> LogPartition {
        LogPartition {
            source_name: source_name.to_owned(),
            id,
            files,
            file: None,
            position: Position::default(),
            tail: Vec::new(),
            finished: Vec::new(),
            finished_bytes: 0,
            last_finished_bytes: 0,
            incomplete: None,
            shelf: Shelf::of_process(),
        }
    }

    fn changed(&self, wanted: &Position, detail: String) -> SourceError {
        SourceError::Changed {
            source_name: self.source_name.clone(),
            partition: self.id.clone(),
            wanted: wanted.clone(),
            oldest: None,
            detail,
        }
    }

    fn failed(&self, name: &str, error: io::Error) -> SourceError {
        if error.kind() == io::ErrorKind::NotFound {
            let detail = format!("the file {} is gone", self.shown(name));
            return self.changed(&self.position, detail);
        }
        super::failed(&self.source_name, &self.files.path(name), error)
    }

    fn shown(&self, name: &str) -> String {
        self.files.path(name).display().to_string()
    }

    fn length(&self, name: &str) -> Result<u64, SourceError> {
        let metadata = fs::metadata(self.files.path(name));
        Ok(metadata.map_err(|error| self.failed(name, error))?.len())
    }

    /// Checks the files before the current one, and returns the one after it.
    fn next_file(&self) -> Result<Option<String>, SourceError> {
        let mut names = self.files.names().map_err(|error| self.failed("", error))?;
        let current = self.position.segment.as_ref();
        let behind = names.partition_point(|name| name.as_str() <= current);
        let before =
            names[..behind].strip_suffix(&[current.to_owned()]).unwrap_or(&names[..behind]);
        if before != self.finished.as_slice() {
            let new = before.iter().find(|name| !self.finished.contains(name));
            let gone = self.finished.iter().find(|name| !before.contains(name));
            let detail = match (new, gone) {
                (Some(name), _) => format!(
                    "the file {} is new, but sorts before {current}, which is being read",
                    self.shown(name)
                ),
                (None, gone) => {
                    format!("the file {} is gone", self.shown(gone.map_or("", String::as_str)))
                }
            };
            return Err(self.changed(&self.position, detail));
        }
        if let Some(last) = before.last() {
            let bytes = self.length(last)?;
            if bytes != self.last_finished_bytes {
                let detail = format!(
                    "the file {} has {bytes} bytes; it had {} when reading went on to {current}",
                    self.shown(last),
                    self.last_finished_bytes
                );
                return Err(self.changed(&self.position, detail));
            }
        }
        Ok((behind < names.len()).then(|| names.swap_remove(behind)))
    }

    /// Opens a file of the log; everything before it is finished.
    fn enter(&mut self, name: &str) -> Result<(), SourceError> {
        let path = self.files.path(name);
        let file = File::open(&path).map_err(|error| self.failed(name, error))?;
        if self.file.is_some() {
            self.finished.push(self.position.segment.to_string());
            self.last_finished_bytes = self.position.offset;
            self.finished_bytes += self.position.offset;
        }
        self.file = Some(file);
        self.position = Position { segment: Arc::from(name), offset: 0 };
        self.tail.clear();
        self.incomplete = None;
        Ok(())
    }

    /// Reads complete lines of the current file, or nothing.
    fn read(&mut self, limit: usize, until: Option<u64>) -> Result<Option<RawBatch>, SourceError> {
        let name = Arc::clone(&self.position.segment);
        let Some(mut file) = self.file.take() else {
            return Ok(None);
        };
        let result = self.read_file(&mut file, &name, limit, until);
        self.file = Some(file);
        result
    }

    fn read_file(
        &mut self,
        file: &mut File,
        name: &Arc<str>,
        limit: usize,
        until: Option<u64>,
    ) -> Result<Option<RawBatch>, SourceError> {
        let length = file.metadata().map_err(|error| self.failed(name, error))?.len();
        let from = self.position.offset;
        let end = until.unwrap_or(length);
        if length < from.max(end) {
            let detail = format!("the file {} shrank to {length} bytes", self.shown(name));
            return Err(self
                .changed(&Position { segment: Arc::clone(name), offset: from.max(end) }, detail));
        }
        if end <= from || (until.is_none() && self.incomplete == Some(length)) {
            return self.check_same_file(file, name).map(|()| None);
        }
        let lines = read_lines(file, from, end, self.tail.len(), limit, &self.shelf)
            .map_err(|error| self.failed(name, error))?;
        if lines.bytes.get(..self.tail.len()) != Some(self.tail.as_slice()) {
            return Err(self.changed(&self.position, self.rewritten(name)));
        }
        if lines.frames.is_empty() {
            self.shelf.put(lines.bytes);
            if until.is_some() {
                let detail =
                    format!("no line of {} ends before byte {end} any more", self.shown(name));
                return Err(self.changed(&self.position, detail));
            }
            self.incomplete = Some(length);
            return self.check_same_file(file, name).map(|()| None);
        }
        self.tail = match lines.last_bytes(TAIL_BYTES) {
            Some(tail) => tail.to_vec(),
            None => bytes_before(file, lines.to, TAIL_BYTES)
                .map_err(|error| self.failed(name, error))?,
        };
        self.position.offset = lines.to;
        Ok(Some(RawBatch {
            partition: 0,
            segment: Arc::clone(name),
            bytes: self.shelf.lend(lines.bytes),
            frames: lines.frames,
            to: self.position.clone(),
        }))
    }

    /// Checks, when there is nothing to read, that the open file still is the one of that name.
    fn check_same_file(&self, file: &File, name: &str) -> Result<(), SourceError> {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let open = file.metadata().map(identity).map_err(|error| self.failed(name, error))?;
        let named = fs::metadata(self.files.path(name)).map(identity);
        if named.map_err(|error| self.failed(name, error))? != open {
            let detail = format!("the file {} was replaced by another", self.shown(name));
            return Err(self.changed(&self.position, detail));
        }
        Ok(())
    }

    fn rewritten(&self, name: &str) -> String {
        format!("the already read end of the file {} changed", self.shown(name))
    }

    /// Returns the file to go on with, if the current one is finished and there is one.
    fn advance(
        &mut self,
        next: Option<String>,
        until: Option<&Position>,
    ) -> Result<bool, SourceError> {
        let Some(next) = next else {
            return match until {
                Some(until) if until.segment > self.position.segment => {
                    let detail = format!("the file {} is gone", self.shown(&until.segment));
                    Err(self.changed(until, detail))
                }
                _ => Ok(false),
            };
        };
        if let Some(until) = until
            && next.as_str() > until.segment.as_ref()
        {
            let detail = format!("the file {} is gone", self.shown(&until.segment));
            return Err(self.changed(until, detail));
        }
        let current = Arc::clone(&self.position.segment);
        if self.file.is_some() && self.length(&current)? != self.position.offset {
            return Err(SourceError::Failed {
                source_name: self.source_name.clone(),
                detail: format!(
                    "the file {} ends in a line without a line feed although {next} follows: end \
                     the line, or remove what is torn",
                    self.shown(&current)
                ),
                cause: None,
            });
        }
        self.enter(&next)?;
        Ok(true)
    }

    /// Compares the files before the current one with what a fingerprint says of them.
    fn verify(&self, from: &Position, fingerprint: &str) -> Result<(), SourceError> {
        let now = self.fingerprint().unwrap_or_default();
        if now == fingerprint {
            return Ok(());
        }
        let tail = |mark: &str| mark.split('-').next().unwrap_or_default().to_owned();
        let detail = if tail(&now) == tail(fingerprint) {
            let (files, bytes) = (self.finished.len(), self.finished_bytes);
            format!(
                "the files before {} are not what they were: {files} with {bytes} bytes now",
                self.shown(&from.segment)
            )
        } else {
            self.rewritten(&from.segment)
        };
        Err(self.changed(from, detail))
    }
}

impl Partition for LogPartition {
    fn id(&self) -> &str {
        &self.id
    }

    fn resume(&mut self, from: &Position, fingerprint: Option<&str>) -> Result<(), SourceError> {
        let blank = LogPartition::new(&self.source_name, self.id.clone(), self.files.clone());
        *self = blank;
        if from.segment.is_empty() {
            return Ok(());
        }
        self.position = from.clone();
        let names = self.files.names().map_err(|error| self.failed("", error))?;
        for name in names.into_iter().take_while(|name| name.as_str() < from.segment.as_ref()) {
            self.last_finished_bytes = self.length(&name)?;
            self.finished_bytes += self.last_finished_bytes;
            self.finished.push(name);
        }
        let failed = |error| self.failed(&from.segment, error);
        let mut file = File::open(self.files.path(&from.segment)).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length < from.offset {
            let detail = format!("the file {} shrank to {length} bytes", self.shown(&from.segment));
            return Err(self.changed(from, detail));
        }
        let tail = bytes_before(&mut file, from.offset, TAIL_BYTES).map_err(failed)?;
        if tail.last().is_some_and(|byte| *byte != b'\n') {
            let detail =
                format!("no line begins at byte {} of {}", from.offset, self.shown(&from.segment));
            return Err(self.changed(from, detail));
        }
        self.tail = tail;
        self.file = Some(file);
        fingerprint.map_or(Ok(()), |fingerprint| self.verify(from, fingerprint))
    }

    fn poll(&mut self, limit: usize, until: Option<&Position>) -> Result<Polled, SourceError> {
        loop {
            if limit == 0 || until.is_some_and(|until| self.position >= *until) {
                return Ok(Polled::Idle);
            }
            // Looked up before reading: what is in the current file once a next one exists is
            // all that will be in it.
            let next = self.next_file()?;
            let last_file = until.filter(|until| until.segment == self.position.segment);
            if let Some(batch) = self.read(limit, last_file.map(|until| until.offset))? {
                return Ok(Polled::Batch(batch));
            }
            if !self.advance(next, until)? {
                return Ok(Polled::Idle);
            }
        }
    }

    fn position(&self) -> Position {
        self.position.clone()
    }

    /// The BLAKE3 hash of the last 4 KiB before the position, how many files are finished, and how
    /// many bytes these have.
    fn fingerprint(&self) -> Option<String> {
        self.file.as_ref().map(|_| {
            let tail = blake3::hash(&self.tail).to_hex();
            format!("{tail}-{}-{}", self.finished.len(), self.finished_bytes)
        })
    }

    fn end(&mut self) -> Result<Position, SourceError> {
        let names = self.files.names().map_err(|error| self.failed("", error))?;
        for name in names.iter().rev() {
            if name.as_str() < self.position.segment.as_ref() {
                break;
            }
            let mut file =
                File::open(self.files.path(name)).map_err(|error| self.failed(name, error))?;
            let length = file.metadata().map_err(|error| self.failed(name, error))?.len();
            let offset =
                behind_last_line(&mut file, length).map_err(|error| self.failed(name, error))?;
            if offset < length {
                let (file, bytes) = (self.shown(name), length - offset);
                tracing::warn!(file, bytes, "the last line has no line feed: not yet a record");
            }
            if offset > 0 {
                let segment = Arc::from(name.as_str());
                return Ok(Position { segment, offset });
            }
        }
        Ok(self.position.clone())
    }
}
