//! Which files a partition has, and which folders a log has, in the order of their names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::SUFFIX;

/// The files of one partition.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// The only file, where the log is a plain file.
    only: Option<String>,
}

impl Files {
    /// Returns the files of a folder.
    pub(super) fn of_folder(folder: &Path) -> Files {
        Files { folder: folder.to_owned(), only: None }
    }

    /// Returns a single file, `None` if its name is not UTF-8.
    pub(super) fn one(path: &Path) -> Option<Files> {
        Some(Files {
            folder: path.parent()?.to_owned(),
            only: Some(path.file_name()?.to_str()?.to_owned()),
        })
    }

    /// Returns the path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Lists the names, in order.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        if let Some(only) = &self.only {
            return Ok(vec![only.clone()]);
        }
        sorted_names(&self.folder, |entry| {
            let name = entry.file_name();
            let is_log = name.as_encoded_bytes().ends_with(SUFFIX.as_bytes());
            // Follows symbolic links, as opening does.
            Ok(is_log && fs::metadata(entry.path())?.is_file())
        })
    }
}

/// Lists the folders in a directory, in the order of their names.
pub(super) fn folders(directory: &Path) -> io::Result<Vec<String>> {
    sorted_names(directory, |entry| Ok(fs::metadata(entry.path())?.is_dir()))
}

fn sorted_names(
    directory: &Path,
    mut wanted: impl FnMut(&fs::DirEntry) -> io::Result<bool>,
) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || !wanted(&entry)? {
            continue;
        }
        let name = name.into_string().map_err(|name| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is not UTF-8"))
        })?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}
