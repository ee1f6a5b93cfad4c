//! Permissions of files and folders that servers serve: other users can read them, regardless of the umask.
//!
//! Permission bits are added and never removed: a share can be writable for its group, and pass its group on to new
//! files.

use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::error::Result;
use super::files::{create_dir_all, set_mode};
use crate::base::diagnostic::Diagnostic;
use crate::printable::printable;

/// Permission bits of a served file.
pub const FILE_MODE: u32 = 0o644;
/// Permission bits of a served folder.
pub const FOLDER_MODE: u32 = 0o755;

/// Checks whether other users can read a file with this mode, or enter a folder with it.
#[must_use]
pub fn is_world_readable(mode: u32, folder: bool) -> bool {
    mode & if folder { 0o001 } else { 0o004 } != 0
}

/// Returns the permission bits that a file or a folder with this mode should have.
#[must_use]
pub fn world_readable_mode(mode: u32, folder: bool) -> u32 {
    mode & 0o7777 | if folder { FOLDER_MODE } else { FILE_MODE }
}

/// Creates a folder and its parents. Those that were missing become readable for other users.
///
/// # Errors
///
/// [`super::Error`] if a folder cannot be created.
pub fn create_world_readable_dir_all(path: &Utf8Path) -> Result<()> {
    let folders = path.ancestors().filter(|folder| !folder.as_str().is_empty());
    let missing: Vec<&Utf8Path> = folders.take_while(|folder| !folder.exists()).collect();
    create_dir_all(path)?;
    for folder in missing {
        open_new_folder(folder);
    }
    Ok(())
}

/// Makes the new folder at `path` readable for other users, and writable for no one except its owner and group,
/// regardless of the umask.
pub fn open_new_folder(path: &Utf8Path) {
    if let Some(now) = mode(path) {
        let _ = set_mode(path, new_folder_mode(now));
    }
}

/// Returns the mode of a new folder that has the mode `mode` by the umask; see [`open_new_folder`].
#[must_use]
pub fn new_folder_mode(mode: u32) -> u32 {
    world_readable_mode(mode, true) & !0o002
}

/// Makes the file or the folder at `path` readable for other users. If that fails, as for another user's file or on a
/// file system without modes, [`first_unreadable`] reports the path.
pub fn open_to_all(path: &Utf8Path) {
    if let Some(now) = mode(path) {
        let wanted = world_readable_mode(now, path.is_dir());
        if wanted != now & 0o7777 {
            let _ = set_mode(path, wanted);
        }
    }
}

/// Returns the first path that other users cannot read among `root`, `files` in it, and the folders of these files.
pub fn first_unreadable<'p>(root: &Utf8Path, files: impl Iterator<Item = &'p Utf8Path>) -> Option<Utf8PathBuf> {
    let unreadable = |path: &Utf8Path| mode(path).is_some_and(|mode| !is_world_readable(mode, path.is_dir()));
    if unreadable(root) {
        return Some(root.to_owned());
    }
    let mut last = Utf8Path::new("");
    for file in files {
        let folders = file.ancestors().filter(|path| !path.as_str().is_empty() && !last.starts_with(path));
        let mut paths: Vec<&Utf8Path> = folders.collect();
        paths.reverse();
        if let Some(path) = paths.into_iter().map(|path| root.join(path)).find(|path| unreadable(path)) {
            return Some(path);
        }
        last = file.parent().unwrap_or(file);
    }
    None
}

/// Returns the first folder on the way to `path`, including `path`, that other users cannot enter.
#[must_use]
pub fn first_closed(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut folders: Vec<&Utf8Path> = path.ancestors().filter(|folder| !folder.as_str().is_empty()).collect();
    folders.reverse();
    let closed = |folder: &&Utf8Path| mode(folder).is_some_and(|mode| !is_world_readable(mode, true));
    folders.into_iter().find(closed).map(ToOwned::to_owned)
}

/// Returns the warning about a path from [`first_unreadable`] or [`first_closed`].
#[must_use]
pub fn unreadable_warning(path: &Utf8Path) -> Diagnostic {
    let bits = if path.is_dir() { "rx" } else { "r" };
    let shown = printable(path);
    Diagnostic::new(format!("other users cannot read `{shown}`, so a server that runs as another user cannot serve it"))
        .help(format!("give it the mode `a+{bits}` with chmod, or where a mount decides the modes, in its options"))
}

fn mode(path: &Utf8Path) -> Option<u32> {
    path.metadata().ok().map(|metadata| metadata.permissions().mode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_added_and_none_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let share = root.join("share");
        create_dir_all(&share).unwrap();
        set_mode(&share, 0o2770).unwrap();
        create_world_readable_dir_all(&share.join("a/b")).unwrap();
        assert_eq!(mode(&share).unwrap() & 0o7777, 0o2770, "what was there is left alone");
        let made = ["a", "a/b"].map(|path| mode(&share.join(path)).unwrap());
        assert!(made.iter().all(|mode| mode & 0o2757 == 0o2755), "{made:?}");
        assert_eq!(first_unreadable(&share, std::iter::empty()), Some(share.clone()));
        open_to_all(&share);
        assert_eq!(mode(&share).unwrap() & 0o7777, 0o2775);
        let file = share.join("a/b/file");
        std::fs::write(&file, "").unwrap();
        for (before, after) in [(0o600, 0o644), (0o660, 0o664), (0o755, 0o755), (0o400, 0o644)] {
            set_mode(&file, before).unwrap();
            open_to_all(&file);
            assert_eq!(mode(&file).unwrap() & 0o7777, after, "{before:o}");
        }
        let files = [Utf8Path::new("a/b/file"), Utf8Path::new("a/gone")];
        assert_eq!(first_unreadable(&share, files.into_iter()), None);
        set_mode(&share.join("a"), 0o710).unwrap();
        assert_eq!(first_unreadable(&share, files.into_iter()), Some(share.join("a")));
        set_mode(root, 0o755).unwrap();
        assert_eq!(first_closed(&share.join("a/b")), Some(share.join("a")));
        set_mode(root, 0o700).unwrap();
        assert_eq!(first_closed(&share.join("a/b")).unwrap(), root);
    }
}
