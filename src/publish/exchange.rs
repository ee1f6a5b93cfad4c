//! Publishes a tree as a whole or not at all.
//!
//! The new tree is written next to the old one and then exchanged with it in one step. If the file system cannot
//! exchange two folders, the old tree is renamed away first; the next run repairs a kill between the two renames.

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};

pub use super::outcome::{Error, Published};
use super::staging::StagingWriter;
use super::stamp_journal::{KnownStamps, StampJournal};
use crate::base::diagnostic::Diagnose;
use crate::base::fs::{self, Lock, world_readable};
use crate::base::paths::{self, Staging};
use crate::base::progress::{Progress, Task, TaskKind};
use crate::build::plan::PlannedFile;
use crate::publish::tree_contents::TreeContents;
use crate::tree::enclosing::is_ours;
use crate::tree::limits::{MAX_FILE, MAX_FILES};
use crate::tree::verify;

/// Target path of a tree, locked against other publishers.
pub struct PublishTarget<'a> {
    tree: &'a Utf8Path,
    staging: Staging,
    /// Whether the tree has foreign files.
    foreign: bool,
    _lock: Lock,
}

impl<'a> PublishTarget<'a> {
    /// Locks the path `tree`, and repairs leftovers of a killed process there.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn acquire(tree: &'a Utf8Path, progress: &dyn Progress) -> Result<Self, Error> {
        let staging = Staging::of(tree);
        // Before the lock file exists, so that a refusal leaves nothing behind.
        check_place(tree)?;
        world_readable::create_world_readable_dir_all(tree.parent().unwrap_or(Utf8Path::new(".")))?;
        let lock = Lock::acquire(&staging.lock, progress)?.ok_or(Error::Cancelled)?;
        fs::restore(tree, &staging.previous)?;
        check_place(tree)?;
        Ok(Self { tree, staging, foreign: false, _lock: lock })
    }

    /// Checks for foreign files in the tree. Publishing removes them, and therefore requires `replace`.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] if there are any; [`Error::Unknown`] if they cannot be determined.
    pub fn check_foreign(&mut self, replace: bool, progress: &dyn Progress) -> Result<(), Error> {
        if !self.tree.join(paths::MANIFEST).is_file() {
            return Ok(());
        }
        // Without a readable manifest, it is impossible to tell which files are foreign: that is an error.
        let foreign = verify::foreign(self.tree, progress).map_err(|error| match error {
            verify::Error::Cancelled => Error::Cancelled,
            error => Error::Unknown { message: error.to_string(), help: error.diagnosis().help },
        });
        self.foreign = !foreign.as_ref().is_ok_and(Vec::is_empty);
        if replace || !self.foreign {
            return Ok(());
        }
        Err(Error::Foreign { tree: self.tree.to_owned(), files: foreign? })
    }

    /// Publishes the files of `contents`. Reuses loaders that an earlier run stamped, from the old tree or from an
    /// unfinished new one.
    ///
    /// # Errors
    ///
    /// [`Error`]; the next run reuses everything made so far.
    pub fn publish(&self, contents: &TreeContents<'_>) -> Result<Published, Error> {
        let found = contents.plan.len();
        if found > MAX_FILES {
            return Err(Error::TooMany { tree: self.tree.to_owned(), found });
        }
        let total = found as u64;
        let mut task = Task::start(contents.progress, TaskKind::Publish, self.tree.as_str(), Some(total));
        self.make_folders(contents)?;
        let known = KnownStamps::read(&self.staging.journal)?;
        let mut journal = StampJournal::open(&self.staging.journal, &self.staging.next_journal)?;
        let mut filler = StagingWriter::new(self.tree, &self.staging.partial, contents)?;
        filler.fill(contents, &known, &mut journal, &mut task)?;
        let mut published = filler.finish()?;
        let manifest = self.staging.partial.join(paths::MANIFEST).metadata();
        let found = manifest.map_or(0, |metadata| metadata.len());
        if found > MAX_FILE {
            return Err(Error::LargeManifest { tree: self.tree.to_owned(), found });
        }
        published.new |= self.foreign;
        if published.new {
            self.remove_others(contents)?;
            fs::sync_all_of(&self.staging.partial, contents.progress)?;
            fs::replace(&self.staging.partial, self.tree, &self.staging.previous)?;
        }
        // Leftovers, if any, are a copy of the tree.
        fs::remove_dir_all(&self.staging.partial)?;
        journal.finish()?;
        self.make_readable(contents);
        task.finish(if published.new { "published" } else { "unchanged" });
        Ok(published)
    }

    /// Creates the folders of the new tree next to the old one.
    fn make_folders(&self, contents: &TreeContents<'_>) -> Result<(), fs::Error> {
        let partial = &self.staging.partial;
        let make = |folder: &Utf8Path| {
            world_readable::create_world_readable_dir_all(folder)?;
            // An earlier run may have created it, and another user may have restricted its permissions since.
            world_readable::open_to_all(folder);
            Ok(())
        };
        let make_all = || {
            make(partial)?;
            let planned = |path: &Utf8Path| partial.join(path);
            let mut last = Utf8PathBuf::new();
            for PlannedFile { path, .. } in contents.plan.files() {
                let folders = path.parent().into_iter().flat_map(Utf8Path::ancestors);
                let mut folders: Vec<&Utf8Path> = folders.filter(|folder| !folder.as_str().is_empty()).collect();
                folders.retain(|folder| !last.starts_with(folder));
                folders.iter().rev().try_for_each(|folder| make(&planned(folder)))?;
                if planned(&path).is_dir() {
                    fs::remove_dir_all(&planned(&path))?;
                }
                last = path.parent().unwrap_or(&path).to_owned();
            }
            Ok::<_, fs::Error>(())
        };
        if !fs::is_plain(partial) {
            fs::remove_dir_all(partial)?;
        }
        match make_all() {
            // A leftover of an earlier run may be a file where a folder is needed.
            Err(error) if error.is_obstacle() => {
                fs::remove_dir_all(partial)?;
                make_all()
            }
            made => made,
        }
    }

    /// Makes the tree readable for servers that run as other users, even if its permissions were changed since.
    fn make_readable(&self, contents: &TreeContents<'_>) {
        let files = || contents.plan.files().map(|file| file.path);
        world_readable::open_to_all(self.tree);
        let mut last = Utf8PathBuf::new();
        for path in files() {
            let folders = path.ancestors().filter(|folder| !folder.as_str().is_empty() && !last.starts_with(folder));
            folders.for_each(|path| world_readable::open_to_all(&self.tree.join(path)));
            last = path.parent().unwrap_or(&path).to_owned();
        }
        let files: Vec<Utf8PathBuf> = files().collect();
        if let Some(path) = world_readable::first_unreadable(self.tree, files.iter().map(|path| &**path)) {
            contents.progress.warn(world_readable::unreadable_warning(&path));
        }
    }

    /// Removes leftovers of an earlier run that are not in the new tree.
    fn remove_others(&self, contents: &TreeContents<'_>) -> Result<(), fs::Error> {
        let partial = &self.staging.partial;
        let mut planned: HashSet<Utf8PathBuf> = contents.plan.files().map(|file| file.path).collect();
        planned.extend([paths::MANIFEST, paths::SHA256SUMS].map(Utf8PathBuf::from));
        for (path, _) in fs::walk(partial)? {
            if !planned.contains(&path) {
                fs::remove_file(&partial.join(path))?;
            }
        }
        fs::remove_empty_folders(partial)
    }
}

/// Checks that a tree can be published at `tree`.
fn check_place(tree: &Utf8Path) -> Result<(), Error> {
    if fs::is_mount_point(tree) {
        return Err(Error::MountPoint(tree.to_owned()));
    }
    // A manifest that cannot be read could be anybody's.
    match fs::read_if_exists(&tree.join(paths::MANIFEST)) {
        Err(error) if error.is_denied() => return Err(error.into()),
        _ => {}
    }
    if tree.exists() && !is_empty(tree) && !is_ours(tree) {
        return Err(Error::Occupied(tree.to_owned()));
    }
    Ok(())
}

fn is_empty(folder: &Utf8Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}
