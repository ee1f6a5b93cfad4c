//! The folder of a mirror: which sets stand there, which one is in use, how another one takes its place, and
//! which ones go.
//!
//! Knows nothing of publishers.

use camino::Utf8Path;

use super::current::CurrentSet;
pub use super::error::Error;
use super::image_set::{ImageSet, ImageVersion};
use super::record::{Identity, MirrorRecord};
use crate::base::diagnostic::Diagnostic;
use crate::base::fs::{self, Lock, world_readable};
use crate::base::paths::MirrorPaths;
use crate::base::progress::Progress;
use crate::config::signers::KeyFingerprint;

/// How many sets are kept: at least two, because a machine that is booting while another set comes into use goes
/// on with the one that it has begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(usize);

impl std::fmt::Display for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for Keep {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(keep @ 2..) => Ok(Self(keep)),
            _ => Err("wanted at least 2: a machine that boots while the set changes goes on with the one before"),
        }
    }
}

/// A mirror's folder, which nobody else changes while this lives.
pub struct MirrorStore<'a> {
    pub(super) paths: MirrorPaths,
    progress: &'a dyn Progress,
    _lock: Lock,
}

impl<'a> MirrorStore<'a> {
    /// Takes the folder `root` for the mirror of `identity`, and repairs what a killed process may have left there.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn acquire(root: &Utf8Path, identity: &Identity, progress: &'a dyn Progress) -> Result<Self, Error> {
        let paths = MirrorPaths::new(root);
        // What is in there and of no use is removed.
        if !is_own(&paths)? {
            return Err(Error::Foreign(paths.own()));
        }
        if !root.exists() {
            world_readable::create_world_readable_dir_all(root)?;
        }
        let lock = Lock::acquire(&paths.lock(), progress)?.ok_or(Error::Cancelled)?;
        let store = Self { paths, progress, _lock: lock };
        store.repair()?;
        for (_, record) in store.sets()? {
            if record.identity != *identity {
                let (found, wanted) = (Box::new(record.identity), Box::new(identity.clone()));
                return Err(Error::OtherMirror { root: root.to_owned(), found, wanted });
            }
        }
        Ok(store)
    }

    fn check_cancelled(&self) -> Result<(), Error> {
        if self.progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn repair(&self) -> Result<(), fs::Error> {
        let paths = &self.paths;
        let of_use = [paths.lock(), paths.history(), paths.unfinished(), paths.previous(), paths.replaced()];
        for remains in fs::entries(&paths.own())?.iter().filter(|path| !of_use.contains(path)) {
            fs::remove_dir_all(remains)?;
        }
        fs::restore(&paths.current(), &paths.previous())?;
        for old in fs::entries(&paths.replaced())? {
            fs::restore(&paths.set(old.file_name().unwrap_or_default()), &old)?;
        }
        fs::remove_dir_all(&paths.replaced())
    }

    /// The sets that stand here, whole or not.
    fn sets(&self) -> Result<Vec<(ImageVersion, MirrorRecord)>, Error> {
        let mut sets = Vec::new();
        for path in fs::entries(self.paths.root())? {
            let version = path.file_name().and_then(|name| name.parse::<ImageVersion>().ok());
            if let Some(version) = version.filter(|_| path.is_dir())
                && let Some(record) = MirrorRecord::read(&path)?
            {
                sets.push((version, record));
            }
        }
        Ok(sets)
    }

    /// The version in use; none before the first.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] where that was made by somebody else.
    pub fn in_use(&self) -> Result<Option<ImageVersion>, Error> {
        let current = self.paths.current();
        let foreign = || Error::Foreign(current.clone());
        if current.is_symlink() {
            let target = current.read_link_utf8().map_err(|error| fs::Error::new("read", &current, error))?;
            return target.as_str().parse().map(Some).map_err(|_| foreign());
        }
        if !current.exists() {
            return Ok(None);
        }
        let record = if current.is_dir() { MirrorRecord::read(&current)? } else { None };
        Ok(Some(record.ok_or_else(foreign)?.version))
    }

    /// The record of `set`, if it stands here whole: with signatures by `trusted` keys where that is asked for, and with
    /// the digests that it should have where that is to be looked at.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn find(
        &self,
        image_set: &ImageSet,
        trusted: Option<&[KeyFingerprint]>,
        thorough: bool,
    ) -> Result<Option<MirrorRecord>, Error> {
        let folder = self.paths.set(image_set.version.as_str());
        if folder.symlink_metadata().is_err() {
            return Ok(None);
        }
        let record = if folder.is_dir() { MirrorRecord::read(&folder)? } else { None };
        let record = record.ok_or_else(|| Error::Foreign(folder.clone()))?;
        if !record.is_of(image_set, trusted) {
            return Ok(None);
        }
        let Some(damage) = record.damage(&folder, thorough, self.progress)? else { return Ok(Some(record)) };
        let warning = Diagnostic::new(format!("{damage}; the set is brought in anew"));
        self.progress.warn(warning.help("check the disk if this happens again"));
        Ok(None)
    }

    /// The record of the set of `version`, if there is one here.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn recorded(&self, version: &ImageVersion) -> Result<Option<MirrorRecord>, fs::Error> {
        let folder = self.paths.set(version.as_str());
        if folder.is_dir() { MirrorRecord::read(&folder) } else { Ok(None) }
    }

    /// Gives the set in `folder`, which is whole, its place.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn publish(&self, folder: &Utf8Path, version: &ImageVersion) -> Result<(), Error> {
        self.check_cancelled()?;
        let replaced = self.paths.replaced();
        fs::create_dir_all(&replaced)?;
        fs::replace(folder, &self.paths.set(version.as_str()), &replaced.join(version.as_str()))?;
        fs::remove_dir_all(&replaced)?;
        Ok(fs::remove_dir_all(&self.paths.unfinished())?)
    }

    /// Brings the set of `record` into use, as `display` does that. Says whether that was not so already.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn bring_into_use(&self, record: &MirrorRecord, current: CurrentSet, thorough: bool) -> Result<bool, Error> {
        self.check_cancelled()?;
        current.make_names(&self.paths, record)?;
        if self.in_use()?.as_ref() == Some(&record.version)
            && current.is_shown(&self.paths, record, thorough, self.progress)?
        {
            return Ok(false);
        }
        // Written before the switch: what was in use is not forgotten, whenever a kill comes.
        let mut history = self.history()?;
        history.push(record.version.clone());
        let lines: String = history.iter().map(|version| format!("{version}\n")).collect();
        fs::write_atomic(&self.paths.history(), lines.as_bytes())?;
        current.prepare(&self.paths, record, self.progress)?;
        self.check_cancelled()?;
        fs::replace(&self.paths.next(), &self.paths.current(), &self.paths.previous())?;
        Ok(true)
    }

    /// Which versions were in use, the one that is last.
    fn history(&self) -> Result<Vec<ImageVersion>, Error> {
        let text = fs::read_text_if_exists(&self.paths.history())?.unwrap_or_default();
        let mut history: Vec<ImageVersion> =
            String::from_utf8_lossy(&text).lines().filter_map(|line| line.parse().ok()).collect();
        let in_use = self.in_use()?;
        // What follows has never been in use: a kill came between the note and the switch.
        let end = history.iter().rposition(|version| Some(version) == in_use.as_ref());
        history.truncate(end.map_or(0, |position| position + 1));
        history.extend(in_use.filter(|_| end.is_none()));
        let known: Vec<ImageVersion> = self.sets()?.into_iter().map(|(version, _)| version).collect();
        history.retain(|version| known.contains(version));
        Ok(history)
    }

    /// Removes all sets but the one in use and those that were in use last, `keep` of them together. Notes each
    /// in `removed`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn retain(&self, keep: Keep, removed: &mut Vec<ImageVersion>) -> Result<(), Error> {
        let mut order = self.history()?;
        order.reverse();
        let mut unused: Vec<ImageVersion> = self.sets()?.into_iter().map(|(version, _)| version).collect();
        unused.reverse();
        order.extend(unused);
        let mut seen: Vec<ImageVersion> = Vec::new();
        for version in order {
            if seen.contains(&version) {
                continue;
            }
            seen.push(version.clone());
            if seen.len() > keep.0 {
                // In one step, so that nobody takes a set for whole that is half removed.
                fs::create_dir_all(&self.paths.trash())?;
                fs::rename(&self.paths.set(version.as_str()), &self.paths.trash().join(version.as_str()))?;
                fs::remove_dir_all(&self.paths.trash())?;
                removed.push(version);
            }
        }
        Ok(())
    }
}

/// Whether nothing but this tool's own folder stands in its place: a lock is the first thing that it has.
fn is_own(paths: &MirrorPaths) -> Result<bool, fs::Error> {
    let own = paths.own();
    match own.symlink_metadata() {
        Err(_) => Ok(true),
        Ok(metadata) => Ok(metadata.is_dir() && (paths.lock().is_file() || fs::entries(&own)?.is_empty())),
    }
}
