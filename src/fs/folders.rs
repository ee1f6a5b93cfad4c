//! Folders, and what is in them.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Error, Result, failing};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A symbolic link, a device, a socket or a pipe.
    Other,
}

/// All that is below `root` but folders, as paths relative to it, sorted bytewise.
///
/// # Errors
///
/// [`Error`], also for a name that is not UTF-8.
pub fn walk(root: &Utf8Path) -> Result<Vec<(Utf8PathBuf, EntryKind)>> {
    let mut found = Vec::new();
    let mut folders = vec![Utf8PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let absolute = root.join(&folder);
        let entries = absolute.read_dir_utf8().map_err(failing("list", &absolute))?;
        for entry in entries {
            let entry = entry.map_err(failing("list", &absolute))?;
            let kind = entry.file_type().map_err(failing("list", entry.path()))?;
            let relative = folder.join(entry.file_name());
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

/// Removes all folders below `root` that have no files in them.
///
/// # Errors
///
/// [`Error`].
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

/// Whether `path` is where another file system begins.
#[must_use]
pub fn is_mount_point(path: &Utf8Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Utf8Path| path.metadata().map(|metadata| metadata.dev()).ok();
    path.exists() && device(path) != path.parent().and_then(device)
}
