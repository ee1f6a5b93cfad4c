//! Removes files that no build needs any more from the cache, from the project's `dist` and `vendor`, and from the
//! folder for temporary files.
//!
//! [`scan::scan`] finds items and decides about them without changing anything. [`remove`] removes the items that it
//! found unused. All projects of a user share the cache, so an item that this project does not need counts as unused
//! only after a period without use. Each use is recorded as a modification time. Files of other programs are never
//! touched: if the cache's folder may contain such files, names alone do not identify the tool's own files, and nothing
//! is removed there.

mod items;
mod scan;

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use camino::Utf8Path;

pub use self::items::{CacheItemKind, CacheScan, CleanRequest, Error, Fate, Item};
pub use self::scan::scan;
use crate::base::fs;
use crate::base::paths::Cache;
use crate::base::progress::Progress;

/// Tags the cache's folder as a cache of this tool, unless it is tagged already. Backup programs skip tagged folders.
///
/// # Errors
///
/// [`fs::Error`] if the tag cannot be written.
pub fn tag(cache: &Cache) -> Result<(), fs::Error> {
    if is_tagged(cache)? { Ok(()) } else { fs::write_atomic(&cache.tag(), TAG.as_bytes()) }
}

/// Checks whether the cache's folder is tagged. An untagged folder may contain files of other programs.
///
/// # Errors
///
/// [`fs::Error`] if this user may not read the tag.
pub fn is_tagged(cache: &Cache) -> Result<bool, fs::Error> {
    if cache.tag().is_symlink() {
        return Ok(false);
    }
    match fs::read_at_most(&cache.tag(), TAG.len() as u64) {
        Ok(text) => Ok(text == TAG.as_bytes()),
        Err(error) if error.is_denied() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Content of the cache tag. Its first line is the signature that the specification requires.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # All in this folder is the cache of netboot-loaders: see <https://bford.info/cachedir/>.\n";

/// Removes the items that `scan` found unused. Returns the items that could not be removed, with the errors.
///
/// The caller must hold the lock of the cache, [`Cache::use_lock`]. A folder of the cache is renamed before it is
/// removed, so that an interruption never leaves a partial folder under its name.
///
/// # Errors
///
/// [`Error::Cancelled`] if the user cancelled the run.
pub fn remove(scan: &CacheScan, cache: &Cache, progress: &dyn Progress) -> Result<Vec<(Item, fs::Error)>, Error> {
    let mut failed = Vec::new();
    for item in scan.unused() {
        match remove_item(&item.path, cache, progress) {
            Ok(()) => {}
            Err(Error::Fs(error)) => failed.push((item.clone(), error)),
            Err(error) => return Err(error),
        }
    }
    Ok(failed)
}

fn remove_item(path: &Utf8Path, cache: &Cache, progress: &dyn Progress) -> Result<(), Error> {
    let is_folder = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    if !is_folder || !path.starts_with(cache.root()) {
        return delete(path.as_std_path(), progress);
    }
    make_writable(path.as_std_path());
    let aside = fs::Temporary::create(cache.root(), Cache::REMOVAL)?.keep();
    std::fs::rename(path, &aside).map_err(|error| {
        let _ = std::fs::remove_dir(&aside);
        fs::Error::new("remove", path, error)
    })?;
    delete(aside.as_std_path(), progress)
}

/// Removes `path` recursively without following links. Does nothing if it does not exist.
fn delete(path: &Path, progress: &dyn Progress) -> Result<(), Error> {
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    let failed = |action| move |error: io::Error| fs::Error::new(action, path.to_string_lossy().into_owned(), error);
    let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
    if !metadata.is_dir() {
        return Ok(std::fs::remove_file(path).map_err(failed("remove"))?);
    }
    make_writable(path);
    for entry in std::fs::read_dir(path).map_err(failed("list"))? {
        delete(&entry.map_err(failed("list"))?.path(), progress)?;
    }
    Ok(std::fs::remove_dir(path).map_err(failed("remove"))?)
}

/// Makes the folder `path`, unless it is a link, writable for its owner. A failure shows when its files are removed.
fn make_writable(path: &Path) {
    if let Ok(metadata) = path.symlink_metadata()
        && metadata.is_dir()
        && metadata.mode() & 0o700 != 0o700
    {
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(metadata.mode() | 0o700));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::progress::Silent;

    #[test]
    fn deleting_gets_through_read_only_folders_and_not_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(inside.join("a/b/file"), "x").unwrap();
        std::fs::write(outside.join("precious"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("a/link")).unwrap();
        for read_only in [inside.join("a/b"), inside.join("a")] {
            std::fs::set_permissions(read_only, std::fs::Permissions::from_mode(0o500)).unwrap();
        }
        delete(&inside, &Silent).unwrap();
        assert!(!inside.exists() && outside.join("precious").exists());
        delete(&inside, &Silent).unwrap();
    }
}
