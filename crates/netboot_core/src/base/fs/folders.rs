//! Operations on folders: listing, temporary folders, and replacement of one by another.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use tempfile::TempDir;

use super::error::{Error, Result, failing};
use super::files::{create_dir_all, exchange, remove_dir_all, rename, sync_dir};
use super::lock::Lock;
use crate::base::progress::{Progress, Silent};
use crate::printable::printable;

/// The kind of entry at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A symbolic link, a device, a socket or a pipe.
    Other,
}

/// Maximum number of entries that [`walk`] lists: four times what a tree may have.
const MAX_ENTRIES: usize = 440_000;

/// Maximum total size of the paths that [`walk`] lists, in bytes, as for those in a tarball.
const MAX_PATHS: usize = 32 << 20;

/// Maximum number of nested folders that [`walk`] enters.
pub const MAX_FOLDERS: usize = 64;

/// Returns all entries below `root` except folders, as paths relative to it, sorted bytewise.
///
/// # Errors
///
/// [`Error`], also for a name that is not UTF-8, and if there are more entries than any tree or source has.
pub fn walk(root: &Utf8Path) -> Result<Vec<(Utf8PathBuf, EntryKind)>> {
    walk_with(root, &Silent)
}

/// Like [`walk`], but can be cancelled; for folders whose contents are not trusted.
///
/// # Errors
///
/// As for [`walk`], and if `progress` is cancelled meanwhile.
pub fn walk_with(root: &Utf8Path, progress: &dyn Progress) -> Result<Vec<(Utf8PathBuf, EntryKind)>> {
    walk_within(root, MAX_ENTRIES, progress)
}

/// Like [`walk_with`], for at most `most` entries, including folders.
fn walk_within(root: &Utf8Path, most: usize, progress: &dyn Progress) -> Result<Vec<(Utf8PathBuf, EntryKind)>> {
    let refused = |folder: &Utf8Path, text: String| Err(Error::new("list", folder, io::Error::other(text)));
    let mut found = Vec::new();
    let (mut listed, mut bytes) = (0, 0);
    let mut folders = vec![Utf8PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let absolute = root.join(&folder);
        if folder.components().count() > MAX_FOLDERS {
            return refused(&absolute, format!("it lies more than {MAX_FOLDERS} folders below `{}`", printable(root)));
        }
        let entries = absolute.read_dir_utf8().map_err(failing("list", &absolute))?;
        for entry in entries {
            if progress.cancelled() {
                return refused(root, "interrupted".to_owned());
            }
            let entry = entry.map_err(failing("list", &absolute))?;
            let kind = entry.file_type().map_err(failing("list", entry.path()))?;
            let relative = folder.join(entry.file_name());
            (listed, bytes) = (listed + 1, bytes + relative.as_str().len());
            if listed > most {
                return refused(root, format!("it has more than {most} entries"));
            }
            if bytes > MAX_PATHS {
                return refused(root, format!("the paths of its entries have more than {MAX_PATHS} bytes"));
            }
            if kind.is_dir() {
                folders.push(relative);
            } else {
                found.push((relative, if kind.is_file() { EntryKind::File } else { EntryKind::Other }));
            }
        }
    }
    found.sort_unstable_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    Ok(found)
}

/// Returns the paths of all entries in `folder`, sorted bytewise; none if there is no such folder.
///
/// # Errors
///
/// [`Error`], also for a name that is not UTF-8.
pub fn entries(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let entries = match folder.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failing("list", folder))?,
    };
    let paths = entries.map(|entry| Ok(entry.map_err(failing("list", folder))?.into_path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// A folder that is removed when the value is dropped, and remains if the process is killed. While it is in use, it is
/// locked, so that other processes can tell.
#[derive(Debug)]
pub struct Temporary {
    path: Utf8PathBuf,
    folder: TempDir,
    _lock: Option<Lock>,
}

impl Temporary {
    /// Creates a folder in `parent` whose name begins with `prefix`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the folder cannot be created.
    pub fn create(parent: &Utf8Path, prefix: &str) -> Result<Self> {
        create_dir_all(parent)?;
        let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
        let folder = folder.map_err(|error| Error::within("create a folder in", parent, prefix, error))?;
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap_or_else(|_| parent.to_owned());
        // If the file system cannot lock a folder, the folder counts as in use while it is recent.
        let lock = Lock::try_existing(&path).ok().flatten();
        Ok(Self { path, folder, _lock: lock })
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Keeps the folder and returns its path.
    #[must_use]
    pub fn keep(self) -> Utf8PathBuf {
        let _ = self.folder.keep();
        self.path
    }
}

/// Removes all folders below `root` that contain no files.
///
/// # Errors
///
/// [`Error`] if a folder cannot be listed or removed.
pub fn remove_empty_folders(root: &Utf8Path) -> Result<()> {
    for entry in root.read_dir_utf8().map_err(failing("list", root))? {
        let entry = entry.map_err(failing("list", root))?;
        if entry.file_type().map_err(failing("list", entry.path()))?.is_dir() {
            remove_empty_folders(entry.path())?;
            match std::fs::remove_dir(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(Error::new("remove", entry.path(), error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Checks whether `path` is a mount point, where another file system begins, or the same one once more.
#[must_use]
pub fn is_mount_point(path: &Utf8Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Utf8Path| path.metadata().map(|metadata| metadata.dev()).ok();
    // Old kernels do not tell it.
    let is_root = rustix::fs::statx(CWD, path.as_std_path(), AtFlags::empty(), StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    is_root || path.exists() && device(path) != path.parent().and_then(device)
}

/// Checks whether `folder` is a folder that contains only folders and plain files. Through a link, files elsewhere
/// would be written and removed.
#[must_use]
pub fn is_plain(folder: &Utf8Path) -> bool {
    let itself = folder.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    itself && walk(folder).is_ok_and(|found| found.iter().all(|(_, kind)| *kind == EntryKind::File))
}

/// Replaces the folder or link at `path`, if there is one, with the folder or link `new`, and removes the old one. The
/// replacement is atomic if the file system can swap two of them. Otherwise the old one is at `previous` for a moment,
/// and [`restore`] repairs what a kill at that moment leaves.
///
/// # Errors
///
/// [`Error`]; unless only the removal failed, `path` is then unchanged.
pub fn replace(new: &Utf8Path, path: &Utf8Path, previous: &Utf8Path) -> Result<()> {
    // Every file system can rename a link over another one.
    if !is_there(path) || (new.is_symlink() && path.is_symlink()) {
        rename(new, path)?;
    } else if exchange(new, path)? {
        // `new` now holds the old entry, which a later run must not mistake for a new one.
        rename(new, previous)?;
    } else {
        rename(path, previous)?;
        if let Err(error) = rename(new, path) {
            rename(previous, path)?;
            return Err(error);
        }
    }
    sync_dir(path.parent().unwrap_or(Utf8Path::new(".")))?;
    remove_dir_all(previous)
}

/// Repairs what a kill during [`replace`] may have left.
///
/// # Errors
///
/// [`Error`] if the old entry cannot be renamed or removed.
pub fn restore(path: &Utf8Path, previous: &Utf8Path) -> Result<()> {
    match (is_there(previous), is_there(path)) {
        (false, _) => Ok(()),
        (true, true) => remove_dir_all(previous),
        (true, false) => rename(previous, path),
    }
}

/// Checks whether there is anything at `path`, even a dangling link.
fn is_there(path: &Utf8Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_folder_that_is_too_deep_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let deepest = root.join(["a"; MAX_FOLDERS].join("/"));
        create_dir_all(&deepest).unwrap();
        std::fs::write(deepest.join("file"), "").unwrap();
        assert_eq!(walk(root).unwrap().len(), 1);
        std::fs::create_dir(deepest.join("b")).unwrap();
        let error = walk(root).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot list `{deepest}/b`"));
        assert_eq!(error.source().unwrap().to_string(), format!("it lies more than 64 folders below `{root}`"));
        assert!(!is_plain(root));
    }

    #[test]
    fn a_folder_whose_paths_are_too_long_is_named_and_a_walk_can_be_cancelled() {
        struct Impatient;
        impl Progress for Impatient {
            fn report(&self, _: &crate::base::progress::Event) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let long = root.join(["a".repeat(200).as_str(); 15].join("/"));
        create_dir_all(&long).unwrap();
        for number in 0..(MAX_PATHS / 3300) {
            std::fs::write(long.join(format!("{number:0200}")), "").unwrap();
        }
        walk(root).unwrap();
        let cause = |error: Error| error.source().unwrap().to_string();
        assert_eq!(cause(walk_with(root, &Impatient).unwrap_err()), "interrupted");
        for number in 0..500 {
            std::fs::write(long.join(format!("x{number:0200}")), "").unwrap();
        }
        let error = walk(root).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot list `{root}`"));
        assert_eq!(cause(error), "the paths of its entries have more than 33554432 bytes");
    }

    #[test]
    fn a_walk_ends_where_there_is_more_than_it_may_list() {
        let guard = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(guard.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for name in ["1", "a/2", "a/b/3"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        // Folders count, though they are not listed.
        assert_eq!(walk_within(root, 5, &Silent).unwrap().len(), 3);
        let error = walk_within(root, 4, &Silent).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            (error.to_string(), cause.as_str()),
            (format!("cannot list `{root}`"), "it has more than 4 entries")
        );
        assert_eq!(MAX_ENTRIES, 440_000);
    }
}
