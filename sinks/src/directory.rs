//! The store in a directory of a local file system.
//!
//! A file is written under a temporary name in the root of the store, synced, linked (create) or
//! renamed (put) to its name, and the directory synced. So it is whole or absent at every instant,
//! and there for good when the call returns. A hard link fails where the name exists: that is the
//! fence. `object_store`'s local put syncs nothing, which is why this exists.
//!
//! A writer holds a lock on its temporary file. Opening the store removes the temporary files that
//! nobody holds, which are those of crashed writers. Whoever has the lock first decides: a writer
//! whose file was removed before it had the lock begins anew.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::{Store, StoreError, TEMPORARY, check_path};

mod direct;

/// Files below a directory. Several processes may have one store open.
#[derive(Debug)]
pub struct DirectoryStore {
    root: PathBuf,
    /// Directories whose own entry is known to be durable: this process has synced them all the
    /// way up. One that merely exists may be another's, not yet synced.
    durable: Mutex<HashSet<PathBuf>>,
    next: AtomicU64,
}

impl DirectoryStore {
    /// Opens the store in `dir`, making it where it does not exist, and removes what crashed
    /// writers left unfinished.
    ///
    /// # Errors
    /// [`StoreError::Failed`] where the directory cannot be made or read.
    pub fn open(dir: impl AsRef<Path>) -> Result<DirectoryStore, StoreError> {
        let dir = dir.as_ref();
        let failed = |error| StoreError::failed("opening", &dir.display().to_string(), error);
        let root = std::path::absolute(dir).map_err(failed)?;
        make_durable(&root, Path::new("/")).map_err(failed)?;
        let store = DirectoryStore::at(root);
        store.remove_unfinished().map_err(failed)?;
        Ok(store)
    }

    /// Opens a store that exists, to read it: makes nothing and removes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where `dir` is no directory.
    pub fn open_existing(dir: impl AsRef<Path>) -> Result<DirectoryStore, StoreError> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(StoreError::NotFound { path: dir.display().to_string() });
        }
        Ok(DirectoryStore::at(dir.to_owned()))
    }

    fn at(root: PathBuf) -> DirectoryStore {
        DirectoryStore { root, durable: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Returns the directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else {
                continue;
            };
            match file.try_lock() {
                Ok(()) => {
                    tracing::info!(path = %entry.path().display(), "removing an unfinished file");
                    remove_quietly(&entry.path());
                }
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
            }
        }
        Ok(())
    }

    fn full(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn failed(&self, action: &'static str, path: &str, source: io::Error) -> StoreError {
        StoreError::failed(action, &self.full(path).display().to_string(), source)
    }

    /// Makes the directory of `target`, and its entry durable up to the root.
    fn prepare_parent(&self, target: &Path) -> io::Result<PathBuf> {
        let parent = target.parent().unwrap_or(&self.root).to_owned();
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if !durable.contains(&parent) || !parent.is_dir() {
            make_durable(&parent, &self.root)?;
            durable.insert(parent.clone());
        }
        Ok(parent)
    }

    /// Writes and syncs a new temporary file. It stays locked while the handle lives.
    fn write_temporary(&self, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let name = format!("{TEMPORARY}{}-{number}", std::process::id());
            let path = self.root.join(name);
            let file = match File::create_new(&path) {
                Ok(file) => file,
                // Another container's process of the same number, or a crashed one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // Without locks (some network file systems) nobody removes unfinished files either.
            let _ = file.lock();
            // Who opened the store before the lock was there has taken the file for a dead writer's.
            if file.metadata()?.nlink() == 0 {
                continue;
            }
            let written = direct::write_all(&file, &path, bytes).and_then(|()| file.sync_all());
            return match written {
                Ok(()) => Ok((path, file)),
                Err(error) => {
                    remove_quietly(&path);
                    Err(error)
                }
            };
        }
    }

    /// Writes a file under a temporary name and lets `publish` give it its own.
    fn write(
        &self,
        action: &'static str,
        path: &str,
        bytes: &[u8],
        publish: fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        check_path(action, path)?;
        let target = self.full(path);
        let failed = |error| self.failed(action, path, error);
        let parent = self.prepare_parent(&target).map_err(failed)?;
        let (temporary, _locked) = self.write_temporary(bytes).map_err(failed)?;
        let published = publish(&temporary, &target);
        match published {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StoreError::AlreadyExists { path: path.to_owned() });
            }
            Err(error) if is_definite(error.kind()) => return Err(failed(error)),
            Err(error) => return Err(StoreError::unknown(action, path, error)),
        }
        // The file is visible from here on, but a power cut may still undo it.
        sync_directory(&parent).map_err(|error| StoreError::unknown(action, path, error))
    }

    fn collect(&self, dir: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if is_absent(error.kind()) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let Some(name) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) else {
                continue;
            };
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() && (name.starts_with(prefix) || prefix.starts_with(name)) {
                self.collect(&path, prefix, found)?;
            } else if kind.is_file() && name.starts_with(prefix) {
                found.push(name.to_owned());
            }
        }
        Ok(())
    }
}

impl Store for DirectoryStore {
    fn create(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write("creating", path, bytes, |from, to| {
            let linked = fs::hard_link(from, to);
            remove_quietly(from);
            linked
        })
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write("writing", path, bytes, |from, to| {
            // After a rename the old name is free, and may be another writer's by now.
            fs::rename(from, to).inspect_err(|_| remove_quietly(from))
        })
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        check_path("reading", path)?;
        fs::read(self.full(path)).map_err(|error| {
            if is_absent(error.kind()) {
                StoreError::NotFound { path: path.to_owned() }
            } else {
                self.failed("reading", path, error)
            }
        })
    }

    fn confirm(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        let bytes = self.get(path)?;
        // Another process may have died between the link and the sync of its directory.
        let target = self.full(path);
        let synced = File::open(&target)
            .and_then(|file| file.sync_all())
            .and_then(|()| make_durable(target.parent().unwrap_or(&self.root), &self.root));
        match synced {
            Ok(()) => Ok(bytes),
            Err(error) if is_absent(error.kind()) => {
                Err(StoreError::NotFound { path: path.to_owned() })
            }
            Err(error) => Err(StoreError::unknown("syncing", path, error)),
        }
    }

    fn exists(&self, path: &str) -> Result<bool, StoreError> {
        check_path("looking for", path)?;
        match fs::metadata(self.full(path)) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if is_absent(error.kind()) => Ok(false),
            Err(error) => Err(self.failed("looking for", path, error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let dir = prefix.rsplit_once('/').map_or("", |(dir, _)| dir);
        if !dir.is_empty() {
            check_path("listing", dir)?;
        }
        let mut found = Vec::new();
        self.collect(&self.full(dir), prefix, &mut found)
            .map_err(|error| self.failed("listing", prefix, error))?;
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, path: &str) -> Result<(), StoreError> {
        check_path("deleting", path)?;
        let target = self.full(path);
        match fs::remove_file(&target) {
            Ok(()) => {}
            Err(error) if is_absent(error.kind()) => return Ok(()),
            Err(error) => return Err(self.failed("deleting", path, error)),
        }
        sync_directory(target.parent().unwrap_or(&self.root))
            .map_err(|error| StoreError::unknown("deleting", path, error))
    }
}

/// Makes `dir` with its parents, and syncs it and every directory above it up to `root`, so that
/// their entries are durable. Directories above `root` are synced only where they had to be made.
fn make_durable(dir: &Path, root: &Path) -> io::Result<()> {
    let made_above = dir.ancestors().take_while(|above| !above.is_dir()).count();
    fs::create_dir_all(dir)?;
    for (index, above) in dir.ancestors().enumerate() {
        let inside = root != Path::new("/") && above.starts_with(root);
        if !inside && index > made_above {
            break;
        }
        sync_directory(above)?;
    }
    Ok(())
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    // A relative root has an empty parent.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

fn remove_quietly(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "an unfinished file stays behind");
    }
}

/// Says whether an error means that there is no such file; a folder of that name is none.
fn is_absent(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(kind, NotFound | NotADirectory | IsADirectory)
}

/// Says whether a link or rename that ended so certainly did nothing. A network file system may
/// have done it and lost the reply, so anything else is not certain.
fn is_definite(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        CrossesDevices, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, TooManyLinks,
        Unsupported,
    };
    matches!(
        kind,
        CrossesDevices
            | InvalidFilename
            | InvalidInput
            | IsADirectory
            | NotADirectory
            | NotFound
            | PermissionDenied
            | QuotaExceeded
            | ReadOnlyFilesystem
            | StorageFull
            | TooManyLinks
            | Unsupported
    )
}
