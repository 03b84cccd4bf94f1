//! What a power cut leaves of a directory, worked out from a journal of steps.
//!
//! The model is what POSIX promises and no more. Bytes of a file are safe once the file was synced
//! after they were written. A change of a folder's entries (create, link, rename, unlink, mkdir,
//! rmdir) is safe once the folder was synced after it; syncing the file is not enough. Of what is
//! not safe, any first part may have made it: the changes of one folder, and the bytes of one file,
//! come to the disk in their order, but folders and files do not wait for each other.
//!
//! A rename from one folder to another counts as a change of the one it leads to. What was cut off
//! a file is not brought back.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::Step;

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Changes of entries that were undone.
    pub entries: usize,
    /// Files that lost some of their end.
    pub files: usize,
}

/// A file, by any of the names it has had.
type FileNumber = usize;

#[derive(Debug, Default)]
struct File {
    /// Up to where it is safe.
    safe: u64,
    /// Where each piece ends that was written since.
    pieces: Vec<u64>,
    /// Where it may be found: names below the directory, and graves.
    places: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct Model {
    files: Vec<File>,
    names: HashMap<PathBuf, FileNumber>,
    /// The numbers of the steps that changed the entries of a folder since it was synced.
    folders: HashMap<PathBuf, Vec<usize>>,
}

impl Model {
    fn add(&mut self, path: &Path, safe: u64) -> FileNumber {
        self.files.push(File { safe, ..File::default() });
        self.names.insert(path.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    /// A file that nothing was seen of yet is from before, and safe as far as it is not written to.
    fn number(&mut self, path: &Path, safe: u64) -> FileNumber {
        self.names.get(path).copied().unwrap_or_else(|| self.add(path, safe))
    }

    fn entry(&mut self, path: &Path, step: usize) {
        let folder = match path.parent() {
            // The directory itself is in a folder that is not watched.
            _ if path == Path::new(".") => return,
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        self.folders.entry(folder.to_owned()).or_default().push(step);
    }

    fn take(&mut self, number: usize, step: &Step, graves: &Path) -> anyhow::Result<()> {
        let to = step.to.as_deref().unwrap_or(&step.path);
        let grave = step.grave.as_ref().map(|grave| graves.join(grave));
        match step.call.as_str() {
            "write" => {
                let number = self.number(&step.path, step.offset);
                let file = &mut self.files[number];
                let end = file.pieces.last().copied().unwrap_or(file.safe);
                ensure!(step.offset >= end, "{} is overwritten", step.path.display());
                file.pieces.push(step.end());
            }
            "truncate" => {
                let number = self.number(&step.path, step.end());
                let file = &mut self.files[number];
                if step.end() < file.safe {
                    file.safe = step.end();
                    file.pieces.clear();
                }
                file.pieces.push(step.end());
            }
            "sync" => {
                if let Some(number) = self.names.get(&step.path) {
                    let file = &mut self.files[*number];
                    file.safe = file.pieces.drain(..).next_back().unwrap_or(file.safe);
                }
                self.folders.remove(&step.path);
            }
            "create" => {
                self.add(to, 0);
                self.entry(to, number);
            }
            "link" | "rename" => {
                let file = self.number(&step.path, u64::MAX);
                if step.call == "rename" {
                    self.names.remove(&step.path);
                }
                if let (Some(old), Some(grave)) = (self.names.insert(to.to_owned(), file), grave) {
                    self.files[old].places.push(grave);
                }
                self.entry(to, number);
            }
            "unlink" => {
                if let (Some(old), Some(grave)) = (self.names.remove(to), grave) {
                    self.files[old].places.push(grave);
                }
                self.entry(to, number);
            }
            "mkdir" | "rmdir" => self.entry(to, number),
            other => anyhow::bail!("a step is {other}"),
        }
        Ok(())
    }
}

/// Takes from the directory `under` what a power cut after the last step takes.
pub(super) fn cut(
    under: &Path,
    graves: &Path,
    steps: &[Step],
    mut keep: impl FnMut(usize) -> usize,
) -> anyhow::Result<Lost> {
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate().filter(|(_, step)| step.happened()) {
        model.take(number, step, graves).with_context(|| format!("step {number}: {step:?}"))?;
    }
    for (name, file) in &model.names {
        model.files[*file].places.push(under.join(name));
    }
    let mut lost = Lost::default();
    for file in &model.files {
        let kept = keep(file.pieces.len()).min(file.pieces.len());
        if kept < file.pieces.len() {
            let end = kept.checked_sub(1).map_or(file.safe, |last| file.pieces[last]);
            lost.files += usize::from(shorten(file, end)?);
        }
    }
    // Folders are asked in the order of their names, so that equal seeds give equal answers.
    let mut folders: Vec<_> = model.folders.into_iter().collect();
    folders.sort();
    let undone: HashSet<usize> = folders
        .into_iter()
        .flat_map(|(_, steps)| steps[keep(steps.len()).min(steps.len())..].to_vec())
        .collect();
    for number in (0..steps.len()).rev().filter(|number| undone.contains(number)) {
        undo(under, graves, &steps[number])
            .with_context(|| format!("undoing step {number}: {:?}", steps[number]))?;
        lost.entries += 1;
    }
    Ok(lost)
}

/// Cuts a file off; says whether it is still anywhere.
fn shorten(file: &File, end: u64) -> anyhow::Result<bool> {
    let Some(place) = file.places.iter().find(|place| place.is_file()) else { return Ok(false) };
    let opened = fs::File::options().write(true).open(place)?;
    opened.set_len(end).with_context(|| format!("cutting {}", place.display()))?;
    Ok(true)
}

fn undo(under: &Path, graves: &Path, step: &Step) -> io::Result<()> {
    let path = under.join(&step.path);
    let entry = step.to.as_ref().map_or_else(|| path.clone(), |to| under.join(to));
    if entry.parent().is_some_and(|folder| !folder.is_dir()) {
        // The folder was removed for good, and with it whatever it had.
        return Ok(());
    }
    let restore = |to: &Path| match &step.grave {
        Some(grave) => fs::hard_link(graves.join(grave), to),
        None => Ok(()),
    };
    match (step.call.as_str(), &step.to) {
        ("create", _) => fs::remove_file(path),
        ("mkdir", _) => fs::remove_dir_all(path),
        ("rmdir", _) => fs::create_dir(path),
        ("unlink", _) => restore(&path),
        ("link", Some(to)) => fs::remove_file(under.join(to)),
        ("rename", Some(to)) => {
            let to = under.join(to);
            fs::rename(&to, path)?;
            restore(&to)
        }
        _ => Ok(()),
    }
}
