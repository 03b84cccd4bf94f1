//! The local log: folders of append-only `*.jsonl` files (SPEC §6).
//!
//! ```text
//!  log/                     log/                   events.jsonl
//!  ├── 0000/                ├── 2026-10.jsonl
//!  │   ├── 000…0.jsonl      └── 2026-11.jsonl
//!  │   └── 000…1.jsonl
//!  └── 0001/ …
//!  a partition a folder     one partition, "0"     one partition, "0"
//! ```
//!
//! A record is a line, its position the file's name and the offset of its first byte. Files are
//! read in the order of their names (bytes), to the end, and then never again: what is appended to
//! a finished file, or sorts before it, stops the run. New files are followed; new partition
//! folders are found at the next start. Names that begin with `.`, and files that do not end in
//! `.jsonl`, are no part of the log.
//!
//! What is checked: that no file vanished, shrank or was replaced, that the last 4 KiB before the
//! position are what they were, and on resume how many files and bytes lie before. A change of
//! bytes of the same length further back is not noticed here; `trueup verify` notices it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::transport::{Partition, SourceError, Transport};
use folder::Files;
use partition::LogPartition;

pub mod append;
mod chunk;
mod folder;
mod partition;

/// The ending of the files that make a log.
pub const SUFFIX: &str = ".jsonl";

/// How long [`Transport::wait`] sleeps at most: files are looked at, nobody tells us.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A local log, or a plain file as a log of one partition.
#[derive(Clone, Debug)]
pub struct LocalLog {
    name: String,
    path: PathBuf,
}

impl LocalLog {
    /// Names the log at `path`; nothing is read before [`Transport::partitions`].
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> LocalLog {
        let path = path.into();
        LocalLog { name: path.display().to_string(), path }
    }

    fn configuration(&self, detail: impl Into<String>) -> SourceError {
        SourceError::Configuration { source_name: self.name.clone(), detail: detail.into() }
    }

    fn list(&self) -> Result<Vec<(String, Files)>, SourceError> {
        let metadata = fs::metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.configuration("there is no such file or directory"),
            _ => failed(&self.name, &self.path, error),
        })?;
        if metadata.is_file() {
            let files = Files::one(&self.path)
                .ok_or_else(|| self.configuration("the file name is not UTF-8"))?;
            return Ok(vec![("0".to_owned(), files)]);
        }
        let folders =
            folder::folders(&self.path).map_err(|error| failed(&self.name, &self.path, error))?;
        let directly = Files::of_folder(&self.path);
        let names = directly.names().map_err(|error| failed(&self.name, &self.path, error))?;
        match (folders.is_empty(), names.is_empty()) {
            (false, true) => Ok(folders
                .into_iter()
                .map(|name| {
                    let files = Files::of_folder(&self.path.join(&name));
                    (name, files)
                })
                .collect()),
            (true, false) => Ok(vec![("0".to_owned(), directly)]),
            (true, true) => Err(self.configuration("there is no folder and no .jsonl file in it")),
            (false, false) => Err(self.configuration(
                "there are both folders and .jsonl files in it; a log has one or the other",
            )),
        }
    }
}

impl Transport for LocalLog {
    fn name(&self) -> &str {
        &self.name
    }

    fn partitions(&mut self) -> Result<Vec<Box<dyn Partition>>, SourceError> {
        let found = self.list()?;
        Ok(found
            .into_iter()
            .map(|(id, files)| {
                Box::new(LogPartition::new(&self.name, id, files)) as Box<dyn Partition>
            })
            .collect())
    }

    fn wait(&mut self, timeout: Duration) {
        thread::sleep(timeout.min(LOOK_INTERVAL));
    }
}

/// Says that the operating system refused; that is not worth trying again by itself.
fn failed(source_name: &str, path: &Path, error: io::Error) -> SourceError {
    SourceError::Failed {
        source_name: source_name.to_owned(),
        detail: format!("{}: {error}", path.display()),
        cause: Some(Box::new(error)),
    }
}
