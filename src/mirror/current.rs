//! How the set in use is shown: as a link to its folder, or, where the file system has no links, as a folder with
//! its images once more.
//!
//! Either way it is one name, `current`, that changes as one step. Names beside it go through it.

use camino::Utf8Path;

use super::error::Error;
use super::record::MirrorRecord;
use crate::base::closed_set::closed_set;
use crate::base::fs::{self, world_readable};
use crate::base::paths::MirrorPaths;
use crate::base::paths::mirror::ImageNames;
use crate::base::progress::Progress;

closed_set! {
    /// How the set in use is to be shown.
    pub enum Links {
        /// By the first of these that the file system has.
        Auto = "auto",
        /// As a symbolic link.
        Symbolic = "symbolic",
        /// As a folder with hard links.
        Hard = "hard",
        /// As a folder with copies.
        Copies = "copy",
    }
}

/// The way that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurrentSet {
    /// A symbolic link.
    Link,
    /// A folder with hard links.
    HardLinks,
    /// A folder with copies.
    Copies,
}

impl CurrentSet {
    /// The way that `links` means in the folder at `paths`, where the images are called `names`.
    ///
    /// # Errors
    ///
    /// [`Error::NoLinks`] where the file system does not have what was asked for; [`Error::Foreign`] where
    /// something stands in the place of a name.
    pub fn choose(links: Links, paths: &MirrorPaths, names: ImageNames) -> Result<Self, Error> {
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
                let path = paths.stable(&name);
                if path.symlink_metadata().is_ok() && !leads(&path, &MirrorPaths::stable_target(&name)) {
                    return Err(Error::Foreign(path));
                }
            }
        }
        Ok(current)
    }

    /// Makes the names beside the sets, which lead through `current`. While there is none, they lead nowhere.
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

    /// Whether the set of `record`, which is the one in use, is shown this way and whole.
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

    /// Makes what is going to be `current`.
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

/// Tries something out on a path where nothing stands.
fn tried(paths: &MirrorPaths, attempt: impl FnOnce(&Utf8Path) -> Result<(), fs::Error>) -> Result<(), fs::Error> {
    let probe = paths.probe();
    fs::remove_file(&probe)?;
    attempt(&probe)?;
    fs::remove_file(&probe)
}

/// Whether a symbolic link stands at `path` and leads to `target`.
fn leads(path: &Utf8Path, target: &Utf8Path) -> bool {
    path.read_link_utf8().is_ok_and(|found| found == target)
}
