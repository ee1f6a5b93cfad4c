//! Presents the set in use: as a link to its folder or, if the file system does not support links, as a second folder
//! with the same images.
//!
//! In both cases there is a single name, `current`, that changes atomically. The names beside it resolve through it.

use camino::Utf8Path;

use super::error::Error;
use super::record::MirrorRecord;
use crate::base::closed_set::closed_set;
use crate::base::fs::{self, world_readable};
use crate::base::paths::MirrorPaths;
use crate::base::progress::Progress;

closed_set! {
    /// Requested way of presenting the set in use.
    pub enum Links {
        /// The first of the following that the file system supports.
        Auto = "auto",
        /// Symbolic link.
        Symbolic = "symbolic",
        /// Folder with hard links.
        Hard = "hard",
        /// Folder with copies.
        Copies = "copy",
    }
}

/// Selected way of presenting the set in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurrentSet {
    /// Symbolic link.
    Link,
    /// Folder with hard links.
    HardLinks,
    /// Folder with copies.
    Copies,
}

impl CurrentSet {
    /// Resolves `links` for the mirror at `paths`, whose images are called `names`.
    ///
    /// # Errors
    ///
    /// [`Error::NoLinks`] if the file system does not support the requested links; [`Error::Foreign`] if another file
    /// occupies one of the names.
    pub fn choose(links: Links, paths: &MirrorPaths, names: &[String]) -> Result<Self, Error> {
        let refused = |what, error: fs::Error| Error::NoLinks {
            root: paths.root().to_owned(),
            what,
            reason: std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default(),
        };
        let symbolic = || tried(paths, |probe| fs::symlink(Utf8Path::new(MirrorPaths::CURRENT), probe));
        let hard = || tried(paths, |probe| fs::hard_link(&paths.lock(), probe));
        let current = match links {
            Links::Symbolic => symbolic().map(|()| Self::Link).map_err(|error| refused("symbolic links", error))?,
            Links::Hard => hard().map(|()| Self::HardLinks).map_err(|error| refused("hard links", error))?,
            Links::Auto if symbolic().is_ok() => Self::Link,
            Links::Auto if hard().is_ok() => Self::HardLinks,
            Links::Auto | Links::Copies => Self::Copies,
        };
        if current == Self::Link {
            for name in names {
                let path = paths.stable(name);
                if path.symlink_metadata().is_ok() && !leads(&path, &MirrorPaths::stable_target(name)) {
                    return Err(Error::Foreign(path));
                }
            }
        }
        Ok(current)
    }

    /// Creates the names beside the sets, which resolve through `current`. They dangle until `current` exists.
    pub(super) fn make_names(self, paths: &MirrorPaths, record: &MirrorRecord) -> Result<(), fs::Error> {
        if self == Self::Link {
            for file in &record.files {
                let path = paths.stable(&file.name);
                if path.symlink_metadata().is_err() {
                    fs::symlink(&MirrorPaths::stable_target(&file.name), &path)?;
                }
            }
        }
        Ok(())
    }

    /// Checks whether `current` presents the set of `record`, the set in use, in this way and completely.
    pub(super) fn is_shown(
        self,
        paths: &MirrorPaths,
        record: &MirrorRecord,
        thorough: bool,
        progress: &dyn Progress,
    ) -> Result<bool, fs::Error> {
        let current = paths.current();
        match self {
            Self::Link => Ok(current.is_symlink()),
            Self::HardLinks | Self::Copies => Ok(!current.is_symlink()
                && MirrorRecord::read(&current)?.as_ref() == Some(record)
                && record.damage(&current, thorough, progress)?.is_none()),
        }
    }

    /// Creates the next `current` under a temporary name.
    pub(super) fn prepare(
        self,
        paths: &MirrorPaths,
        record: &MirrorRecord,
        progress: &dyn Progress,
    ) -> Result<(), fs::Error> {
        let (image_set, next) = (paths.set(record.version.as_str()), paths.next());
        fs::remove_dir_all(&next)?;
        if self == Self::Link {
            return fs::symlink(Utf8Path::new(record.version.as_str()), &next);
        }
        fs::create_dir_all(&next)?;
        for path in fs::entries(&image_set)? {
            let shown = next.join(path.file_name().unwrap_or_default());
            match self {
                Self::HardLinks => fs::hard_link(&path, &shown)?,
                Self::Link | Self::Copies => fs::copy(&path, &shown, progress)?,
            }
        }
        world_readable::open_to_all(&next);
        fs::sync_all_of(&next, progress)
    }
}

/// Attempts an operation on a path that does not exist, and removes the result.
fn tried(paths: &MirrorPaths, attempt: impl FnOnce(&Utf8Path) -> Result<(), fs::Error>) -> Result<(), fs::Error> {
    let probe = paths.probe();
    fs::remove_file(&probe)?;
    attempt(&probe)?;
    fs::remove_file(&probe)
}

/// Checks whether `path` is a symbolic link to `target`.
fn leads(path: &Utf8Path, target: &Utf8Path) -> bool {
    path.read_link_utf8().is_ok_and(|found| found == target)
}
