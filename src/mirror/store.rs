//! The folder of a mirror: lists the sets, switches the set in use, and removes old sets.
//!
//! Independent of any particular publisher.

use camino::Utf8Path;

use super::current::CurrentSet;
pub use super::error::Error;
use super::image_set::{ImageSet, ImageVersion};
use super::record::{Identity, MirrorRecord, ShimRecord};
use crate::base::diagnostic::Diagnostic;
use crate::base::fs::{self, Lock, world_readable};
use crate::base::paths::MirrorPaths;
use crate::base::progress::Progress;
use crate::config::signers::KeyFingerprint;

/// Number of sets to keep. The minimum is two, because a machine that is booting during a switch continues with the set
/// that it started with.
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

/// A mirror's folder, locked for the lifetime of the value.
pub struct MirrorStore<'a> {
    pub(super) paths: MirrorPaths,
    progress: &'a dyn Progress,
    _lock: Lock,
}

impl<'a> MirrorStore<'a> {
    /// Locks the folder `root` for the mirror of `identity`, and repairs what a killed process may have left there.
    ///
    /// # Errors
    ///
    /// [`Error`] if the folder contains unrelated files or another mirror, or if the run is cancelled while it waits
    /// for the lock.
    pub fn acquire(root: &Utf8Path, identity: &Identity, progress: &'a dyn Progress) -> Result<Self, Error> {
        let paths = MirrorPaths::new(root);
        // Checked first, because the repair removes unneeded files from that folder.
        if !is_own(&paths)? {
            return Err(Error::Foreign(paths.own()));
        }
        if !fs::exists(root)? {
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

    /// Returns the versions and records of the sets that are present, complete or not.
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

    /// Returns the shim of the newest set that has one.
    ///
    /// # Errors
    ///
    /// [`Error`] if the sets cannot be read.
    pub fn newest_shim(&self) -> Result<Option<ShimRecord>, Error> {
        let with_shim = self.sets()?.into_iter().filter_map(|(version, record)| Some((version, record.shim?)));
        Ok(with_shim.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, shim)| shim))
    }

    /// Returns the version in use; `None` before the first switch.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] if another program created `current`.
    pub fn in_use(&self) -> Result<Option<ImageVersion>, Error> {
        let current = self.paths.current();
        let foreign = || Error::Foreign(current.clone());
        if current.is_symlink() {
            let target = current.read_link_utf8().map_err(|error| fs::Error::new("read", &current, error))?;
            return target.as_str().parse().map(Some).map_err(|_| foreign());
        }
        if !fs::exists(&current)? {
            return Ok(None);
        }
        let record = if current.is_dir() { MirrorRecord::read(&current)? } else { None };
        Ok(Some(record.ok_or_else(foreign)?.version))
    }

    /// Returns the record of `image_set` if that set is present and complete. If `trusted` is given, its signatures
    /// must be by those keys. If `thorough` is set, its images' digests must match.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] if an unrelated file occupies the path of the set; [`Error::Fs`] if a file cannot be read.
    pub fn find(
        &self,
        image_set: &ImageSet,
        trusted: Option<&[KeyFingerprint]>,
        thorough: bool,
    ) -> Result<Option<MirrorRecord>, Error> {
        let folder = self.paths.set(image_set.version.as_str());
        if !fs::entry_exists(&folder)? {
            return Ok(None);
        }
        let record = if folder.is_dir() { MirrorRecord::read(&folder)? } else { None };
        let record = record.ok_or_else(|| Error::Foreign(folder.clone()))?;
        if !record.is_of(image_set, trusted) {
            return Ok(None);
        }
        let Some(damage) = record.damage(&folder, thorough, self.progress)? else { return Ok(Some(record)) };
        let warning = Diagnostic::new(format!("{damage}; the set is downloaded again"));
        self.progress.warn(warning.help("check the disk if this happens again"));
        Ok(None)
    }

    /// Returns the record of the set of `version`, if it is present.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the record cannot be read.
    pub fn recorded(&self, version: &ImageVersion) -> Result<Option<MirrorRecord>, fs::Error> {
        let folder = self.paths.set(version.as_str());
        if folder.is_dir() { MirrorRecord::read(&folder) } else { Ok(None) }
    }

    /// Moves the complete set in `folder` to its final path.
    ///
    /// # Errors
    ///
    /// [`Error`] if the run is cancelled or a file operation fails.
    pub fn publish(&self, folder: &Utf8Path, version: &ImageVersion) -> Result<(), Error> {
        self.check_cancelled()?;
        let replaced = self.paths.replaced();
        fs::create_dir_all(&replaced)?;
        fs::replace(folder, &self.paths.set(version.as_str()), &replaced.join(version.as_str()))?;
        fs::remove_dir_all(&replaced)?;
        Ok(fs::remove_dir_all(&self.paths.unfinished())?)
    }

    /// Switches to the set of `record`, presented as `current` specifies. Returns whether that changed anything.
    ///
    /// # Errors
    ///
    /// [`Error`] if the run is cancelled or a file operation fails.
    pub fn bring_into_use(&self, record: &MirrorRecord, current: CurrentSet, thorough: bool) -> Result<bool, Error> {
        self.check_cancelled()?;
        current.make_names(&self.paths, record)?;
        if self.in_use()?.as_ref() == Some(&record.version)
            && current.is_shown(&self.paths, record, thorough, self.progress)?
        {
            return Ok(false);
        }
        // Written before the switch, so that the history includes the old version even if the process is killed in
        // between.
        let mut history = self.history()?;
        history.push(record.version.clone());
        let lines: String = history.iter().map(|version| format!("{version}\n")).collect();
        fs::write_atomic(&self.paths.history(), lines.as_bytes())?;
        current.prepare(&self.paths, record, self.progress)?;
        self.check_cancelled()?;
        fs::replace(&self.paths.next(), &self.paths.current(), &self.paths.previous())?;
        Ok(true)
    }

    /// Returns the versions that have been in use, the latest last.
    fn history(&self) -> Result<Vec<ImageVersion>, Error> {
        let text = fs::read_text_if_exists(&self.paths.history())?.unwrap_or_default();
        let mut history: Vec<ImageVersion> =
            String::from_utf8_lossy(&text).lines().filter_map(|line| line.parse().ok()).collect();
        let in_use = self.in_use()?;
        // The entries that follow were never in use: the process was killed between writing the history and the switch.
        let end = history.iter().rposition(|version| Some(version) == in_use.as_ref());
        history.truncate(end.map_or(0, |position| position + 1));
        history.extend(in_use.filter(|_| end.is_none()));
        let known: Vec<ImageVersion> = self.sets()?.into_iter().map(|(version, _)| version).collect();
        history.retain(|version| known.contains(version));
        Ok(history)
    }

    /// Removes all sets except the one in use and those used most recently, `keep` in total. Appends the removed
    /// versions to `removed`.
    ///
    /// # Errors
    ///
    /// [`Error`] if a file operation fails.
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
                // Renamed first, so that no client takes a partly removed set for a complete one.
                fs::create_dir_all(&self.paths.trash())?;
                fs::rename(&self.paths.set(version.as_str()), &self.paths.trash().join(version.as_str()))?;
                fs::remove_dir_all(&self.paths.trash())?;
                removed.push(version);
            }
        }
        Ok(())
    }
}

/// Checks whether the tool's own folder is absent or was created by this tool, which creates the lock file first.
fn is_own(paths: &MirrorPaths) -> Result<bool, fs::Error> {
    let own = paths.own();
    match own.symlink_metadata() {
        Err(_) => Ok(true),
        Ok(metadata) => Ok(metadata.is_dir() && (paths.lock().is_file() || fs::entries(&own)?.is_empty())),
    }
}
