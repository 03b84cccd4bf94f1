//! Appending JSONL to a local log: `trueup append`.
//!
//! Records of one target transaction go to one partition, in the order of the input. When
//! [`append`] returns, everything is on disk, names included. When it fails, or the machine does, a
//! part of the input may be in the log: append it all again, since what is there twice is counted
//! once. One program appends at a time, kept apart by the file `.lock`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use trueup_ledger::{EventDraft, TransactionKey};

use super::SUFFIX;
use super::folder::{Files, folders};
use crate::format::Format;
use crate::format::json::Json;

/// A file that has reached this size gets a successor instead of further records.
pub const ROLL_BYTES: u64 = 1 << 30;
/// How much may be written before it is made durable, so that the last sync is a short one.
const SYNC_BYTES: u64 = 64 << 20;
const LOCK: &str = ".lock";
const FIRST_FILE: &str = "00000000000000000000.jsonl";

/// What was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records, blank lines among them.
    pub records: u64,
    /// Their bytes, line feeds included.
    pub bytes: u64,
    /// How many partitions the log has.
    pub partitions: usize,
    /// Torn last lines, of a writer that crashed, that were ended so that the next line is whole.
    pub healed: u64,
}

/// Why a log cannot be appended to.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Try again later: another program holds the log's lock.
    #[error("another program is appending to {}", .0.display())]
    Locked(PathBuf),
    /// Correct the call: this is no log of folders.
    #[error("{}: {detail}", path.display())]
    NotALog {
        /// The path that was to be a log.
        path: PathBuf,
        /// What it is instead.
        detail: &'static str,
    },
    /// Cure the cause and append all again.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or directory; the log itself where reading the input failed.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
}

/// Routes a record by its target transaction, or else its own; one that says neither to 0.
#[must_use]
pub fn by_target_transaction(raw: &[u8], partitions: usize) -> usize {
    let key = Json.decode(raw).ok().and_then(|decoded| {
        let EventDraft { tenant, transaction_id, reverses, refunds, captures, releases, .. } =
            decoded.draft;
        let target = reverses.or(refunds).or(captures).or(releases);
        let transaction = target.or(transaction_id)?;
        Some(TransactionKey::of(&tenant?, &transaction))
    });
    let place = key.map_or(0, |key| key.0 % partitions.max(1) as u128);
    usize::try_from(place).unwrap_or(0)
}

/// Appends each line of `input` to the partition that `route` names for it, modulo their number.
/// A new log gets `partitions` folders, `0000` and up; one that exists keeps those it has.
///
/// # Errors
/// As each variant of [`AppendError`] says.
pub fn append(
    log: &Path,
    partitions: usize,
    mut input: impl BufRead,
    route: impl Fn(&[u8], usize) -> usize,
) -> Result<Summary, AppendError> {
    fs::create_dir_all(log).map_err(at(log))?;
    let _lock = lock(log)?;
    let mut tails = open_partitions(log, partitions)?;
    let mut summary = Summary { partitions: tails.len(), ..Summary::default() };
    let count = tails.len();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(at(log))? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        let partition = route(&line[..line.len() - 1], count) % count;
        tails[partition].write(&line)?;
        summary.records += 1;
        summary.bytes += line.len() as u64;
    }
    for tail in &mut tails {
        tail.sync()?;
        summary.healed += u64::from(tail.healed);
    }
    Ok(summary)
}

fn at(path: &Path) -> impl Fn(io::Error) -> AppendError {
    let path = path.to_owned();
    move |cause| AppendError::Io { path: path.clone(), cause }
}

fn lock(log: &Path) -> Result<File, AppendError> {
    let path = log.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AppendError::Locked(log.to_owned())),
        Err(TryLockError::Error(cause)) => Err(AppendError::Io { path, cause }),
    }
}

fn open_partitions(log: &Path, partitions: usize) -> Result<Vec<Tail>, AppendError> {
    if !Files::of_folder(log).names().map_err(at(log))?.is_empty() {
        return Err(AppendError::NotALog {
            path: log.to_owned(),
            detail: "has .jsonl files of its own; append takes a log of folders",
        });
    }
    let mut names = folders(log).map_err(at(log))?;
    for name in &names {
        if !is_partition(&log.join(name)).map_err(at(log))? {
            return Err(AppendError::NotALog {
                path: log.join(name),
                detail: "is no partition of a log: a partition has .jsonl files only; is this a \
                         store, or the folder around a log?",
            });
        }
    }
    if names.is_empty() {
        names = (0..partitions.max(1)).map(|n| format!("{n:04}")).collect();
        for name in &names {
            fs::create_dir(log.join(name)).map_err(at(log))?;
        }
        sync_directory(log)?;
        sync_directory(log.parent().unwrap_or(log))?;
    }
    names.iter().map(|name| Tail::new(log.join(name))).collect()
}

/// Says whether a folder may be a partition: nothing but `.jsonl` files is in it.
fn is_partition(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() || path.extension().is_none_or(|extension| extension != "jsonl") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sync_directory(path: &Path) -> Result<(), AppendError> {
    // The parent of a relative path of one name is the empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(at(path))
}

/// The newest file of a partition, opened at the first write to it.
struct Tail {
    folder: PathBuf,
    name: Option<String>,
    file: Option<BufWriter<File>>,
    bytes: u64,
    unsynced: u64,
    healed: bool,
}

impl Tail {
    fn new(folder: PathBuf) -> Result<Tail, AppendError> {
        let mut names = Files::of_folder(&folder).names().map_err(at(&folder))?;
        Ok(Tail { name: names.pop(), folder, file: None, bytes: 0, unsynced: 0, healed: false })
    }

    fn write(&mut self, line: &[u8]) -> Result<(), AppendError> {
        if self.file.is_none() {
            match self.name.clone() {
                Some(name) => self.open(&name)?,
                None => self.create(FIRST_FILE.to_owned())?,
            }
        }
        if self.bytes >= ROLL_BYTES {
            self.sync()?;
            let next = self.name.as_deref().map_or_else(|| FIRST_FILE.to_owned(), successor);
            self.create(next)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(line).map_err(at(&self.folder))?;
        }
        self.bytes += line.len() as u64;
        self.unsynced += line.len() as u64;
        if self.unsynced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    fn create(&mut self, name: String) -> Result<(), AppendError> {
        let path = self.folder.join(&name);
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        self.file = Some(BufWriter::new(file.map_err(at(&path))?));
        self.name = Some(name);
        self.bytes = 0;
        sync_directory(&self.folder)
    }

    /// Opens the newest file and ends its last line if a crash tore it.
    fn open(&mut self, name: &str) -> Result<(), AppendError> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().read(true).append(true).open(&path).map_err(at(&path))?;
        self.bytes = file.metadata().map_err(at(&path))?.len();
        if self.bytes > 0 {
            let mut last = [0];
            file.seek(SeekFrom::Start(self.bytes - 1)).map_err(at(&path))?;
            file.read_exact(&mut last).map_err(at(&path))?;
            if last != *b"\n" {
                file.write_all(b"\n").map_err(at(&path))?;
                self.bytes += 1;
                self.unsynced += 1;
                self.healed = true;
            }
        }
        self.file = Some(BufWriter::new(file));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        if let Some(file) = &mut self.file {
            let synced = file.flush().and_then(|()| file.get_ref().sync_all());
            synced.map_err(at(&self.folder))?;
        }
        self.unsynced = 0;
        Ok(())
    }
}

/// Returns the name of the file after `name`, which sorts behind it and all before it.
fn successor(name: &str) -> String {
    let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
    let (prefix, number) = stem
        .rsplit_once('~')
        .map_or(("", stem), |(prefix, number)| (&stem[..=prefix.len()], number));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if digits && let Some(next) = number.parse::<u128>().ok().and_then(|n| n.checked_add(1)) {
        let next = format!("{next:0width$}", width = number.len());
        if next.len() == number.len() {
            return format!("{prefix}{next}{SUFFIX}");
        }
    }
    // `~` sorts behind `.`, digits and letters.
    format!("{stem}~00000001{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_sort_behind() {
        let rows = [
            ("00000000000000000000.jsonl", "00000000000000000001.jsonl"),
            ("0009.jsonl", "0010.jsonl"),
            ("9999.jsonl", "9999~00000001.jsonl"),
            ("events.jsonl", "events~00000001.jsonl"),
            ("events~00000001.jsonl", "events~00000002.jsonl"),
            ("events~99999999.jsonl", "events~99999999~00000001.jsonl"),
            ("2026-10.jsonl", "2026-10~00000001.jsonl"),
        ];
        for (name, next) in rows {
            assert_eq!(successor(name), next);
            assert!(successor(name).as_str() > name);
        }
    }
}
