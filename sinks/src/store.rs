//! What a place for files must promise so that commits in it are exact: the contract of [`Store`],
//! its errors by reaction, and the one way to create a file whose outcome may get lost.
//!
//! Paths are relative, `/`-separated, and of plain components: no `.`, `..`, empty component,
//! backslash, control character, or name that starts with [`TEMPORARY`].

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;

/// How the names of unfinished files start; no listing shows them.
pub const TEMPORARY: &str = ".tmp-";

/// A place for whole files: a directory, or object storage.
///
/// - **Atomic**: a file is there as a whole or not at all, for every reader, even after a crash.
/// - **Durable**: when `create` or `put` returns `Ok`, the file outlives a power cut.
/// - **Exclusive**: of any number of concurrent `create` calls of one path, from any machine, at
///   most one returns `Ok`; the others learn [`StoreError::AlreadyExists`].
/// - **Consistent**: after `Ok`, every later `get`, `exists` and `list` sees the file.
/// - **Honest**: `Failed` means that nothing happened and nothing will; where that is not certain
///   the error is `Unknown`, and the change may even happen later.
///
/// All calls block. `crate::conformance` holds the suite that every implementation passes.
pub trait Store: Send + Sync {
    /// Creates a file that must not exist.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`], `Unknown` or `Failed`; see [`create_exact`] for `Unknown`.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Writes a file, replacing it where it exists. Only for files that no commit names yet.
    ///
    /// # Errors
    /// `Unknown` (write the same bytes again) or `Failed`.
    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Reads a file.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; `Unknown` where the reply got lost (ask again); or `Failed`.
    fn get(&self, path: &str) -> Result<Vec<u8>, StoreError>;

    /// Reads a file and makes sure that what was read is durable, whoever wrote it. This is how
    /// to find out what became of a `create` whose outcome is unknown.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn confirm(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.get(path)
    }

    /// Says whether a file exists.
    ///
    /// # Errors
    /// `Unknown` or `Failed`.
    fn exists(&self, path: &str) -> Result<bool, StoreError>;

    /// Lists the paths that start with `prefix` (any text, not only whole components), sorted by
    /// bytes.
    ///
    /// # Errors
    /// `Unknown` or `Failed`.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes a file; one that is not there is deleted already.
    ///
    /// # Errors
    /// `Unknown` (delete again) or `Failed`.
    fn delete(&self, path: &str) -> Result<(), StoreError>;
}

/// Why a store did not do what it was asked, by what the caller should do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("{path}: no such file in the store")]
    NotFound {
        /// The path within the store.
        path: String,
    },
    /// The file is there already, by this or another writer: read it.
    #[error("{path}: exists already")]
    AlreadyExists {
        /// The path within the store.
        path: String,
    },
    /// It may have happened, or may yet: read the store before anything else.
    #[error("{action} {path}: the outcome is unknown")]
    Unknown {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The path within the store.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not happen and will not by itself: tell the operator.
    #[error("{action} {path} failed: {advice}")]
    Failed {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The path, absolute where that is known.
        path: String,
        /// What the operator can do.
        advice: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Builds a definite failure with advice for the operator.
    pub(crate) fn failed(action: &'static str, path: &str, source: io::Error) -> StoreError {
        let advice = advice(source.kind());
        let path = path.to_owned();
        StoreError::Failed { action, path, advice, source }
    }

    /// Builds an unknown outcome.
    pub(crate) fn unknown(action: &'static str, path: &str, source: io::Error) -> StoreError {
        let path = path.to_owned();
        StoreError::Unknown { action, path, source }
    }

    /// Says whether the change may have happened, or may yet happen.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, StoreError::Unknown { .. })
    }
}

/// Returns what an operator can do about a kind of error.
fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull => "the volume is full; free space on it and start again",
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; raise it or free space",
        io::ErrorKind::PermissionDenied => {
            "permission denied; give the user that runs trueup access to the path"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "the volume is mounted read-only; mount it writable, or name another store"
        }
        io::ErrorKind::CrossesDevices => {
            "a folder of the store is another volume; keep the whole store on one"
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            "this is no path within a store"
        }
        io::ErrorKind::NotFound => "something removed a part of the store meanwhile; start again",
        _ => "see the cause; start again once it is gone",
    }
}

/// Checks that `path` is one a store can hold.
///
/// # Errors
/// [`StoreError::Failed`] where it is not.
pub(crate) fn check_path(action: &'static str, path: &str) -> Result<(), StoreError> {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with(TEMPORARY);
    let odd = |c: char| c == '\\' || c.is_control();
    if path.split('/').all(plain) && !path.contains(odd) {
        return Ok(());
    }
    let source = io::Error::from(io::ErrorKind::InvalidInput);
    Err(StoreError::failed(action, path, source))
}

/// How often, and after which pauses, an unknown outcome is looked into again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts in all, at least one.
    pub attempts: u32,
    /// The pause before the second attempt; each later one is twice as long, up to one second.
    pub first_pause: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 12, first_pause: Duration::from_millis(10) }
    }
}

impl Retry {
    /// Returns a retry without pauses, for tests.
    #[must_use]
    pub fn immediate(attempts: u32) -> Retry {
        Retry { attempts, first_pause: Duration::ZERO }
    }

    /// Waits before attempt number `attempt`; the first, number 0, does not wait.
    fn pause(self, attempt: u32) {
        if attempt > 0 && !self.first_pause.is_zero() {
            let factor = 1_u32 << (attempt - 1).min(16);
            thread::sleep(self.first_pause.saturating_mul(factor).min(Duration::from_secs(1)));
        }
    }

    /// Repeats a call that changes nothing, or nothing more the second time, while its outcome is
    /// unknown.
    ///
    /// # Errors
    /// Those of `call`; `Unknown` once the attempts are used up.
    pub fn ask<T>(self, mut call: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut attempt = 0;
        loop {
            self.pause(attempt);
            attempt += 1;
            match call() {
                Err(error) if error.is_unknown() && attempt < self.attempts => {}
                outcome => return outcome,
            }
        }
    }
}

/// What [`create_exact`] found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The file is there, with these bytes, durably: by this call, or by an earlier one.
    Ours,
    /// The path is taken by other bytes: these.
    Taken(Vec<u8>),
}

/// Creates a file, or finds out that it is there. After an unknown outcome it reads the path back;
/// only where nothing is there does it create again, which cannot replace anything.
///
/// # Errors
/// `Failed` where certainly nothing was created by this call; `Unknown` where the attempts are
/// used up without an answer: the file may be there, or appear later.
pub fn create_exact<S: Store + ?Sized>(
    store: &S,
    path: &str,
    bytes: &[u8],
    retry: Retry,
) -> Result<Creation, StoreError> {
    let mut doubt: Option<StoreError> = None;
    for attempt in 0..retry.attempts.max(1) {
        retry.pause(attempt);
        match store.create(path, bytes) {
            Ok(()) => return Ok(Creation::Ours),
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(error) if error.is_unknown() => doubt = Some(error),
            // An earlier attempt of this call may still happen, so this one does not settle it.
            Err(error) => return Err(doubt.unwrap_or(error)),
        }
        match store.confirm(path) {
            Ok(found) if found == bytes => return Ok(Creation::Ours),
            Ok(found) => return Ok(Creation::Taken(found)),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => doubt = Some(in_doubt(error)),
        }
    }
    Err(doubt.unwrap_or_else(|| {
        let source = io::Error::other("the file is said to exist, and is not there");
        StoreError::unknown("creating", path, source)
    }))
}

/// A read-back that failed leaves the creation open, whatever it says about the read itself.
fn in_doubt(error: StoreError) -> StoreError {
    match error {
        StoreError::Failed { action, path, source, .. } => {
            StoreError::Unknown { action, path, source }
        }
        other => other,
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
                (**self).create(path, bytes)
            }
            fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
                (**self).put(path, bytes)
            }
            fn get(&self, path: &str) -> Result<Vec<u8>, StoreError> {
                (**self).get(path)
            }
            fn confirm(&self, path: &str) -> Result<Vec<u8>, StoreError> {
                (**self).confirm(path)
            }
            fn exists(&self, path: &str) -> Result<bool, StoreError> {
                (**self).exists(path)
            }
            fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
                (**self).list(prefix)
            }
            fn delete(&self, path: &str) -> Result<(), StoreError> {
                (**self).delete(path)
            }
        }
    )*};
}

forward!(&S, Arc<S>, Box<S>);
