//! Operations on single files, and atomic writes.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, RenameFlags};
use tempfile::NamedTempFile;

use super::error::{Error, Result, failing, unwritable};
use super::read::open;
use super::temporary::temporary_file;
use crate::base::parallel::detached_on_cancel;
use crate::base::progress::Progress;
use crate::digest::Sha256Digest;

/// Creates a folder and its parents.
///
/// # Errors
///
/// [`Error`] if a folder cannot be created.
pub fn create_dir_all(path: &Utf8Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(failing("create the folder", path))
}

/// Removes a folder with its contents, or a link to one; it is not an error if there is nothing to remove.
///
/// # Errors
///
/// [`Error`] if something cannot be removed.
pub fn remove_dir_all(path: &Utf8Path) -> Result<()> {
    let mut patience = 100;
    loop {
        match std::fs::remove_dir_all(path) {
            // A process that is just ending, as after kill -9, may still create a file in the folder.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return remove_file(path),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::new("remove", path, error)),
            _ => return Ok(()),
        }
    }
}

/// Like [`remove_dir_all`], but returns `None` as soon as `progress` is cancelled; the rest of the folder then remains.
pub fn remove_dir_all_with(path: &Utf8Path, progress: &dyn Progress) -> Option<Result<()>> {
    let path = path.to_owned();
    detached_on_cancel(progress, move || remove_dir_all(&path))
}

/// Sets the permission bits of a file or folder of this user, regardless of the umask. On a file system without modes, as
/// exFAT or a share, a mode that keeps no one from reading counts as set: the mount decides who can read.
///
/// # Errors
///
/// [`Error`] if the mode cannot be set.
pub fn set_mode(path: &Utf8Path, mode: u32) -> Result<()> {
    let set = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    or_without_modes(set, mode).map_err(failing("set the mode of", path))
}

/// Does the same with an open file.
fn set_mode_of(file: &File, mode: u32) -> io::Result<()> {
    or_without_modes(file.set_permissions(std::fs::Permissions::from_mode(mode)), mode)
}

fn or_without_modes(set: io::Result<()>, mode: u32) -> io::Result<()> {
    set.or_else(|error| {
        let keeps_out = mode & 0o044 != 0o044;
        if error.kind() == io::ErrorKind::PermissionDenied && !keeps_out { Ok(()) } else { Err(error) }
    })
}

/// Checks whether there is something at `path`, and at the target if that is a link.
///
/// # Errors
///
/// [`Error`] if this cannot be told, as behind a folder that this user cannot enter.
pub fn exists(path: &Utf8Path) -> Result<bool> {
    told(path, path.metadata())
}

/// Checks whether there is something at `path`, even a link that leads nowhere.
///
/// # Errors
///
/// As for [`exists`].
pub fn entry_exists(path: &Utf8Path) -> Result<bool> {
    told(path, path.symlink_metadata())
}

fn told(path: &Utf8Path, metadata: io::Result<std::fs::Metadata>) -> Result<bool> {
    match metadata {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(Error::new("read", path, error)),
    }
}

/// Returns `path`, or its target if it is a symbolic link.
///
/// # Errors
///
/// [`Error`] if the link has no existing target.
pub fn resolve(path: &Utf8Path) -> Result<Utf8PathBuf> {
    if path.is_symlink() {
        path.canonicalize_utf8().map_err(failing("follow the link", path))
    } else {
        Ok(path.to_owned())
    }
}

/// Marks the file or folder at `path` as used now by setting its modification time. Errors are ignored: the only
/// consequence is that it counts as unused earlier.
pub fn touch(path: &Utf8Path) {
    use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
    let _ = rustix::fs::utimensat(CWD, path.as_std_path(), &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// Creates a symbolic link at `path` that points to `target`.
///
/// # Errors
///
/// [`Error`] if the link cannot be created.
pub fn symlink(target: &Utf8Path, path: &Utf8Path) -> Result<()> {
    std::os::unix::fs::symlink(target, path).map_err(failing("link", path))
}

/// Removes a file; it is not an error if there is nothing to remove.
///
/// # Errors
///
/// [`Error`] if the file exists and cannot be removed.
pub fn remove_file(path: &Utf8Path) -> Result<()> {
    let removed = std::fs::remove_file(path).map_err(failing("remove", path));
    removed.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

/// Renames within a file system and replaces an existing file.
///
/// # Errors
///
/// [`Error`] if the path cannot be renamed.
pub fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    std::fs::rename(from, to).map_err(failing("rename to", to))
}

/// Swaps two existing paths atomically. Returns `Ok(false)` if the file system cannot do that.
///
/// # Errors
///
/// [`Error`] if the paths cannot be swapped for another reason.
pub fn exchange(a: &Utf8Path, b: &Utf8Path) -> Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, a.as_std_path(), CWD, b.as_std_path(), RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(Error::new("exchange", b, error.into())),
    }
}

/// Writes a new file with `mode` (permission bits) and waits until it is on the disk.
///
/// # Errors
///
/// [`Error`] if the file exists or cannot be written.
pub fn write_new(path: &Utf8Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        set_mode_of(&file, mode)?;
        file.sync_all()
    };
    write().map_err(failing("write", path))
}

/// Number of bytes that must fit into a folder whose file system is not full.
const ROOM: usize = 1 << 18;

/// Checks that the file system of `folder` is not full, after a program failed there, or a library to write a file of `size`
/// bytes: some do not say why.
///
/// # Errors
///
/// [`Error`] if it is full.
pub fn check_room(folder: &Utf8Path, size: usize) -> Result<()> {
    let room = folder.join("room");
    let written = write_new(&room, &vec![0; ROOM + size], 0o600);
    remove_file(&room)?;
    match written {
        Err(error) if unwritable(&error).is_some() => Err(error),
        _ => Ok(()),
    }
}

/// Writes a new file of a source tree with its modification time. It does not wait for the disk, because an unfinished
/// tree is created again.
///
/// # Errors
///
/// [`Error`] if the file exists or cannot be written.
pub fn write_exported(path: &Utf8Path, content: &[u8], mode: u32, modified: SystemTime) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        set_mode_of(&file, mode)?;
        file.set_modified(modified)
    };
    write().map_err(failing("write", path))
}

/// Writes a file atomically: writes a temporary sibling and renames it.
///
/// # Errors
///
/// [`Error`]; the file at `path` is then unchanged.
pub fn write_atomic(path: &Utf8Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    create_dir_all(folder)?;
    let write = || {
        let mut file = temporary_file(folder)?;
        file.write_all(content)?;
        Ok(file)
    };
    publish_file(write().map_err(failing("write", path))?, path)
}

/// Writes a file that must not exist, whole or not at all.
///
/// # Errors
///
/// [`Error`]; nothing is left of it, and what is at `path` is unchanged.
pub fn write_new_atomic(path: &Utf8Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    let write = || {
        let mut file = temporary_file(folder)?;
        file.write_all(content)?;
        set_mode_of(file.as_file(), 0o644)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map(drop).map_err(|error| error.error)
    };
    write().map_err(failing("write", path))
}

/// Renames a finished temporary file, a sibling of `path`, to `path`.
///
/// # Errors
///
/// [`Error`]; the file at `path` is then unchanged.
pub fn publish_file(file: NamedTempFile, path: &Utf8Path) -> Result<()> {
    let publish = || {
        set_mode_of(file.as_file(), 0o644)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    publish().map_err(failing("write", path))
}

/// Waits until the entries of a folder are on the disk.
///
/// # Errors
///
/// [`Error`] if the folder cannot be opened or synchronised.
pub fn sync_dir(path: &Utf8Path) -> Result<()> {
    let folder = File::open(path).map_err(failing("read", path))?;
    folder.sync_all().map_err(failing("sync", path))
}

/// Returns the SHA-256 digest and the size in bytes of a file.
///
/// # Errors
///
/// [`Error`] if the file cannot be read.
pub fn sha256(path: &Utf8Path) -> Result<(Sha256Digest, u64)> {
    let mut reader = BufReader::with_capacity(1 << 18, open(path)?);
    Sha256Digest::of_reader(&mut reader).map_err(failing("read", path))
}

/// Creates `to` as a hard link to the file `from`.
///
/// # Errors
///
/// [`Error`], also if the file system does not support hard links.
pub fn hard_link(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    std::fs::hard_link(from, to).map_err(failing("link", to))
}

/// Number of bytes of a file that are copied between two checks for cancellation.
const PIECE: u64 = 4 << 20;

/// Copies the file `from` to `to`, with mode 0644.
///
/// # Errors
///
/// [`Error`], also if `progress` is cancelled meanwhile; a part of the copy then remains.
pub fn copy(from: &Utf8Path, to: &Utf8Path, progress: &dyn Progress) -> Result<()> {
    let source = open(from)?;
    let copy = || {
        let mut target = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
        loop {
            check_cancelled(progress)?;
            if io::copy(&mut (&source).take(PIECE), &mut target)? < PIECE {
                return Ok(());
            }
            // Leaves little to wait for at the end, when cancellation cannot be checked.
            target.sync_data()?;
        }
    };
    copy().map_err(failing("write", to))?;
    set_mode(to, 0o644)
}

/// Checks whether `one` and `other` are one plain file with two names.
#[must_use]
pub fn is_same_file(one: &Utf8Path, other: &Utf8Path) -> bool {
    let identity = |path: &Utf8Path| {
        let metadata = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((metadata.dev(), metadata.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Creates `to` as a hard link to the file `from`, or as a copy if the file system does not support hard links.
///
/// # Errors
///
/// As for [`copy`].
pub fn link_or_copy(from: &Utf8Path, to: &Utf8Path, progress: &dyn Progress) -> Result<()> {
    remove_file(to)?;
    hard_link(from, to).or_else(|_| copy(from, to, progress))?;
    set_mode(to, 0o644)
}

/// Writes a file with mode 0644 and replaces an existing one, without waiting for the disk: see [`sync_all_of`].
///
/// # Errors
///
/// [`Error`] if the file cannot be written.
pub fn write_anew(path: &Utf8Path, content: &[u8]) -> Result<()> {
    remove_file(path)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        set_mode_of(&file, 0o644)
    };
    write().map_err(failing("write", path))
}

/// Waits until everything on the file system of `path` is on the disk. It fails if the user has asked to stop by then,
/// so that nothing is published afterwards.
///
/// # Errors
///
/// [`Error`], also if `progress` is cancelled; it then does not wait for the disk.
pub fn sync_all_of(path: &Utf8Path, progress: &dyn Progress) -> Result<()> {
    let folder = File::open(path).map_err(failing("open", path))?;
    let synced = detached_on_cancel(progress, move || rustix::fs::syncfs(folder));
    let result = check_cancelled(progress).and_then(|()| synced.unwrap_or(Ok(())).map_err(Into::into));
    result.map_err(failing("sync", path))
}

fn check_cancelled(progress: &dyn Progress) -> io::Result<()> {
    if progress.cancelled() { Err(io::Error::other("interrupted")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::base::fs::read;
    use crate::base::progress::Silent;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_system_without_modes_keeps_only_secrets_out() {
        // No user sets the mode of such a file.
        let fixed = Utf8Path::new("/proc/self/comm");
        let file = OpenOptions::new().write(true).open(fixed).unwrap();
        assert_eq!(
            file.set_permissions(std::fs::Permissions::from_mode(0o644)).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert!(set_mode(fixed, 0o644).is_ok() && set_mode_of(&file, 0o755).is_ok());
        let text = set_mode(fixed, 0o600).unwrap_err().to_string();
        assert_eq!(text, "cannot set the mode of `/proc/self/comm`");
        assert!(set_mode_of(&file, 0o600).is_err());
    }

    #[test]
    fn errors_carry_the_path() {
        let error = read(Utf8Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/nowhere/at/all`");
        assert!(error.is_not_found());
    }

    /// Is cancelled after this number of checks.
    struct After(std::sync::atomic::AtomicU32);

    impl Progress for After {
        fn report(&self, _: &crate::base::progress::Event) {}

        fn cancelled(&self) -> bool {
            let left = &self.0;
            left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
        }
    }

    #[test]
    fn a_copy_and_a_wait_for_the_disk_can_be_interrupted() {
        let (_guard, folder) = folder();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let content: Vec<u8> = (0..PIECE * 2 + 5).map(|number| u8::try_from(number % 251).unwrap()).collect();
        std::fs::write(&from, &content).unwrap();
        let error = copy(&from, &to, &After(1.into())).unwrap_err();
        assert_eq!(error.reason(), format!("cannot write `{to}`: interrupted"));
        assert_eq!(to.metadata().unwrap().len(), PIECE);
        copy(&from, &to, &After(3.into())).unwrap();
        assert!(std::fs::read(&to).unwrap() == content);
        // A longer file is replaced as well.
        std::fs::write(&from, "short").unwrap();
        copy(&from, &to, &Silent).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"short");
        sync_all_of(&folder, &Silent).unwrap();
        let error = sync_all_of(&folder, &After(0.into())).unwrap_err();
        assert_eq!(error.reason(), format!("cannot sync `{folder}`: interrupted"));
    }

    #[test]
    fn an_atomic_write_that_fails_leaves_nothing_behind() {
        let (_guard, folder) = folder();
        let target = folder.join("taken");
        create_dir_all(&target.join("by-a-folder")).unwrap();
        write_atomic(&target, b"x").unwrap_err();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
}
