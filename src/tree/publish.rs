//! Publishes a tree whole or not at all.
//!
//! The new tree is written beside the old one and then swapped with it in one step. Where the file
//! system cannot swap two folders, the old tree is renamed away first; a kill between the two
//! renames is repaired by whatever comes next.

use std::collections::BTreeSet;

use camino::Utf8Path;

use super::header;
use super::manifest::{GENERATOR, Manifest};
use super::verify::{self, Difference};
use crate::digest::Sha256Digest;
use crate::fs::{self, Lock};
use crate::paths::{self, Cache, Staging};
use crate::plan::{Origin, Plan, PlannedFile};
use crate::progress::{Kind, Progress, Task};
use crate::source::syslinux;

/// Why a tree could not be published; the old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else than a tree stands where the tree should go.
    #[error(
        "`{0}` is not a tree that this tool wrote: it has no manifest.json of its\nhint: choose another folder with `--out`, or move that one away"
    )]
    Occupied(camino::Utf8PathBuf),
    /// Somebody has put files into the tree.
    #[error("`{tree}` has files that this tool did not put there, and publishing would remove them: {}\nhint: move them away, or publish with `--replace`", files.join(", "))]
    Foreign {
        /// The tree.
        tree: camino::Utf8PathBuf,
        /// The files, in backticks.
        files: Vec<String>,
    },
    /// It cannot be told what is in the tree.
    #[error("{0}\nhint: or replace it, with all that is in it, with `--replace`")]
    Unknown(String),
    /// A tree cannot be exchanged there.
    #[error(
        "`{0}` is a mount point, and a tree is published by exchanging folders\nhint: publish to a folder inside it, as `--out {0}/tftp`"
    )]
    MountPoint(camino::Utf8PathBuf),
    /// A file in the cache changed while it was used.
    #[error("`{0}` in the cache is not what it was a moment ago\nhint: run the command again")]
    Changed(camino::Utf8PathBuf),
    /// A file is not what its name says.
    #[error("`{path}` does not belong in a tree: {mismatch}\nhint: check its pin")]
    Unfit {
        /// Its path in the tree.
        path: camino::Utf8PathBuf,
        /// What is wrong.
        mismatch: header::Mismatch,
    },
    /// The user asked to stop.
    #[error("publishing was interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// What publishing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The tree is new.
    New,
    /// The tree was there already, whole.
    Unchanged,
}

/// A tree's place, which nobody else publishes to while this lives.
pub struct Place<'a> {
    tree: &'a Utf8Path,
    staging: Staging,
    _lock: Lock,
}

impl<'a> Place<'a> {
    /// Takes the place `tree`, and repairs what a killed process may have left there.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn take(tree: &'a Utf8Path, progress: &dyn Progress) -> Result<Self, Error> {
        let staging = Staging::of(tree);
        let lock = Lock::acquire(&staging.lock, progress)?.ok_or(Error::Cancelled)?;
        if staging.previous.exists() {
            if tree.exists() {
                fs::remove_dir_all(&staging.previous)?;
            } else {
                fs::rename(&staging.previous, tree)?;
            }
        }
        fs::remove_dir_all(&staging.partial)?;
        if fs::is_mount_point(tree) {
            return Err(Error::MountPoint(tree.to_owned()));
        }
        if tree.exists() && !is_empty(tree) && !is_ours(tree) {
            return Err(Error::Occupied(tree.to_owned()));
        }
        Ok(Self { tree, staging, _lock: lock })
    }

    /// Refuses to go on where somebody has put files into the tree: publishing would remove them.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`]; [`Error::Unknown`] where that cannot be told.
    pub fn check_foreign(&self) -> Result<(), Error> {
        if !self.tree.join(paths::MANIFEST).is_file() {
            return Ok(());
        }
        // Where the manifest cannot be understood, nobody can tell what is foreign: that is an error.
        let report = verify::folder(self.tree).map_err(|error| Error::Unknown(error.to_string()))?;
        let foreign = report.differences.into_iter().filter_map(|difference| match difference {
            Difference::Extra(path) | Difference::NotAFile(path) => Some(format!("`{path}`")),
            _ => None,
        });
        let files: Vec<String> = foreign.collect();
        if files.is_empty() { Ok(()) } else { Err(Error::Foreign { tree: self.tree.to_owned(), files }) }
    }

    /// Publishes `plan`, whose manifest is `manifest`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn publish(
        &self,
        plan: &Plan,
        manifest: &Manifest,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Published, Error> {
        let current = fs::read_if_exists(&self.tree.join(paths::MANIFEST))?;
        if current.as_deref() == Some(manifest.to_json().as_bytes())
            && verify::folder(self.tree).is_ok_and(|report| report.differences.is_empty())
        {
            return Ok(Published::Unchanged);
        }
        let mut task = Task::start(progress, Kind::Publish, self.tree.as_str(), Some(plan.files.len() as u64));
        let result = self.write(plan, manifest, cache, (progress, &mut task)).and_then(|()| self.swap());
        // What is left is either an unfinished new tree or the old one.
        let removed = fs::remove_dir_all(&self.staging.partial);
        result?;
        removed?;
        task.finish("published");
        Ok(Published::New)
    }

    fn write(
        &self,
        plan: &Plan,
        manifest: &Manifest,
        cache: &Cache,
        (progress, task): (&dyn Progress, &mut Task<'_>),
    ) -> Result<(), Error> {
        let partial = &self.staging.partial;
        fs::create_dir_all(partial)?;
        let mut folders = BTreeSet::from([partial.clone()]);
        for (file, entry) in plan.files.iter().zip(&manifest.files) {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let content = content(file, cache)?;
            if Sha256Digest::of(&content) != entry.sha256 {
                return Err(Error::Changed(file.path.clone()));
            }
            header::check(&content, entry.kind, entry.arch)
                .map_err(|mismatch| Error::Unfit { path: file.path.clone(), mismatch })?;
            let target = partial.join(&file.path);
            fs::create_dir_all(target.parent().unwrap_or(partial))?;
            folders.extend(target.ancestors().skip(1).take_while(|folder| *folder != partial).map(Utf8Path::to_owned));
            fs::write_new(&target, &content, 0o644)?;
            task.advance();
        }
        fs::write_new(&partial.join(paths::MANIFEST), manifest.to_json().as_bytes(), 0o644)?;
        fs::write_new(&partial.join(paths::SHA256SUMS), manifest.sha256sums().as_bytes(), 0o644)?;
        for folder in folders {
            // A TFTP server runs as another user, and the umask may have been 077.
            fs::set_mode(&folder, 0o755)?;
        }
        Ok(fs::sync_dir(partial)?)
    }

    fn swap(&self) -> Result<(), Error> {
        let Staging { partial, previous, .. } = &self.staging;
        if !self.tree.exists() {
            fs::rename(partial, self.tree)?;
        } else if !fs::exchange(partial, self.tree)? {
            fs::rename(self.tree, previous)?;
            if let Err(error) = fs::rename(partial, self.tree) {
                fs::rename(previous, self.tree)?;
                return Err(error.into());
            }
            fs::remove_dir_all(previous)?;
        }
        Ok(fs::sync_dir(self.tree.parent().unwrap_or(Utf8Path::new(".")))?)
    }
}

/// Whether the folder has a manifest that this tool wrote, of whatever version.
fn is_ours(folder: &Utf8Path) -> bool {
    let text = fs::read(&folder.join(paths::MANIFEST)).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    manifest["generator"]["name"] == GENERATOR && manifest["schema-version"].is_u64()
}

fn is_empty(folder: &Utf8Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn content(file: &PlannedFile, cache: &Cache) -> Result<Vec<u8>, Error> {
    let changed = || Error::Changed(file.path.clone());
    match &file.origin {
        Origin::Built { key, .. } => Ok(fs::read(&cache.output(key).loader())?),
        Origin::Linked { key, .. } => Ok(fs::read(&cache.output(key).linked())?),
        Origin::Member(member) => syslinux::cached(cache, member)?.ok_or_else(changed),
        Origin::Text(text) => Ok(text.clone()),
    }
}
