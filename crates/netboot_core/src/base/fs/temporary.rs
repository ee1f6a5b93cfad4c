//! Temporary files beside the files that they replace.

use std::fs::{File, OpenOptions};
use std::io;

use camino::Utf8Path;
use tempfile::NamedTempFile;

use super::read::open_regular;
use crate::base::paths::{PARTIAL, is_partial};

/// Creates a hidden file in `folder`, which is removed unless it is renamed. Also removes those that killed processes
/// have left there.
///
/// # Errors
///
/// Errors of the operating system.
pub fn temporary_file(folder: &Utf8Path) -> io::Result<NamedTempFile> {
    remove_abandoned(folder);
    loop {
        let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
        // Held while this process lives and the file is open. On a file system without locks, no other process gets one
        // to remove the file either.
        let _ = file.as_file().lock();
        // Another process may have removed the file as abandoned before it was locked.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files in `folder` that no living process holds. Files that cannot be removed remain.
fn remove_abandoned(folder: &Utf8Path) {
    for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
        if is_partial(entry.file_name())
            && let Ok(file) = open_regular(entry.path(), OpenOptions::new().write(true))
            && File::try_lock(&file).is_ok()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_nobody_holds_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let held = temporary_file(folder).unwrap();
        for name in [".partial-aB3xYz", ".partial-abc", ".partial-aB3xY.", "partial-aB3xYz"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        std::fs::create_dir(folder.join(".partial-folder")).unwrap();
        let other = temporary_file(folder).unwrap();
        let mut names: Vec<_> = super::super::entries(folder).unwrap();
        names.retain(|path| path != held.path() && path != other.path());
        let names: Vec<&str> = names.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, [".partial-aB3xY.", ".partial-abc", ".partial-folder", "partial-aB3xYz"]);
        assert!(held.path().exists() && other.path().exists());
    }

    #[test]
    fn concurrent_writers_do_not_remove_each_other_s_files() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for number in 0..50 {
                        super::super::write_atomic(&folder.join(format!("{thread}-{number}")), b"x").unwrap();
                    }
                });
            }
        });
        assert_eq!(super::super::entries(folder).unwrap().len(), 200);
    }
}
