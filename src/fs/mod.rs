//! File operations whose errors carry the path, atomic writes, and locks between processes.
//!
//! Knows no stage and spells no path: callers bring them.

mod folders;
mod lock;
mod read;
pub mod served;
mod temporary;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, RenameFlags};
use tempfile::NamedTempFile;

pub use self::folders::{
    EntryKind, MAX_FOLDERS, Temporary, entries, is_mount_point, is_plain, remove_empty_folders, replace, restore, walk,
    walk_with,
};
pub use self::lock::Lock;
pub use self::read::{
    MAX_INVENTORY, MAX_READ, MAX_TEXT, open, open_regular, read, read_at_most, read_if_exists, read_text,
    read_text_if_exists,
};
pub use self::temporary::temporary_file;

use crate::digest::Sha256Digest;
use crate::parallel::leaving;
use crate::printable::printable;
use crate::progress::Progress;

/// A file operation that failed, on which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`{}", printable(path), hint(action, source, path))]
pub struct Error {
    action: &'static str,
    path: Utf8PathBuf,
    source: io::Error,
}

/// The result of a file operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A file system that accepts no data or no changes, as a cause of an [`Error`]. Which other place can be used depends
/// on what the path is for, so the program words the remedy; see [`unwritable`].
#[derive(Debug, thiserror::Error)]
#[error("{reported}")]
pub struct Unwritable {
    /// The file or folder.
    pub path: Utf8PathBuf,
    /// Whether it is full; otherwise this user may not write there.
    pub full: bool,
    /// The error as the operating system reported it; no cause of its own, or it would be shown twice.
    reported: io::Error,
}

/// The [`Unwritable`] file system among the causes of `error`.
#[must_use]
pub fn unwritable<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Unwritable> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}

fn hint(action: &str, error: &io::Error, path: &Utf8Path) -> String {
    if error.get_ref().and_then(|cause| cause.downcast_ref::<self::read::NotRegular>()).is_some() {
        "\nhint: move it away".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied && reads(action) {
        format!("\nhint: make `{}` readable for this user", printable(path))
    } else if error.kind() == io::ErrorKind::InvalidFilename {
        let longest = path.components().max_by_key(|part| part.as_str().len());
        let name = longest.map(|part| part.as_str()).unwrap_or_default();
        let (found, all) = (name.len(), path.as_str().len());
        format!(
            "\nhint: choose a shorter one: the name `{}` has {found} bytes, and the path {all}; most systems take 255 and 4095",
            printable(name)
        )
    } else if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) && action != "write" {
        "\nhint: a file stands where a folder is wanted: move it away, or choose another folder".to_owned()
    } else {
        String::new()
    }
}

/// Whether an action needs no right to write.
fn reads(action: &str) -> bool {
    ["read", "list"].contains(&action)
}

impl Error {
    /// An error of `action` (an imperative, as in "read") on `path`.
    pub fn new(action: &'static str, path: impl Into<Utf8PathBuf>, source: io::Error) -> Self {
        let (path, kind) = (path.into(), source.kind());
        let full = matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let denied = matches!(kind, io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied);
        let source = if full || denied && !reads(action) {
            io::Error::new(kind, Unwritable { path: path.clone(), full, reported: source })
        } else {
            source
        };
        Self { action, path, source }
    }

    /// What failed, and why, on one line and without a hint.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("cannot {} `{}`: {}", self.action, printable(&self.path), self.source)
    }

    /// Whether something else stands where a folder should be.
    #[must_use]
    pub fn is_obstacle(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists)
    }

    /// Whether a file has more than is read of it.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge
    }

    /// Whether what was looked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl From<Error> for io::Error {
    /// What the operating system says.
    fn from(error: Error) -> Self {
        error.source
    }
}

fn failing<'a>(action: &'static str, path: &'a Utf8Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::new(action, path, source)
}

/// Makes a folder and those above it.
///
/// # Errors
///
/// [`Error`].
pub fn create_dir_all(path: &Utf8Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(failing("create the folder", path))
}

/// Removes a folder with all that is in it, or a link to one; nothing to remove is fine.
///
/// # Errors
///
/// [`Error`].
pub fn remove_dir_all(path: &Utf8Path) -> Result<()> {
    let mut patience = 100;
    loop {
        match std::fs::remove_dir_all(path) {
            // A process that is just ending, as after kill -9, may still write a file there.
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

/// Sets the permission bits of a file or folder, whatever the umask was.
///
/// # Errors
///
/// [`Error`].
pub fn set_mode(path: &Utf8Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failing("set the mode of", path))
}

/// Where `path` leads: itself, or the target of a symbolic link.
///
/// # Errors
///
/// [`Error`] where a link leads nowhere.
pub fn resolve(path: &Utf8Path) -> Result<Utf8PathBuf> {
    if path.is_symlink() {
        path.canonicalize_utf8().map_err(failing("follow the link", path))
    } else {
        Ok(path.to_owned())
    }
}

/// Notes that the file or folder at `path` is used now, as its modification time. Where that cannot be noted, it
/// is not: all that follows is that it counts as unused earlier.
pub fn touch(path: &Utf8Path) {
    use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
    let _ = rustix::fs::utimensat(CWD, path.as_std_path(), &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// Makes a symbolic link at `path` that leads to `target`.
///
/// # Errors
///
/// [`Error`].
pub fn symlink(target: &Utf8Path, path: &Utf8Path) -> Result<()> {
    std::os::unix::fs::symlink(target, path).map_err(failing("link", path))
}

/// Removes a file; nothing to remove is fine.
///
/// # Errors
///
/// [`Error`].
pub fn remove_file(path: &Utf8Path) -> Result<()> {
    let removed = std::fs::remove_file(path).map_err(failing("remove", path));
    removed.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

/// Renames within a file system, replacing a file.
///
/// # Errors
///
/// [`Error`].
pub fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    std::fs::rename(from, to).map_err(failing("rename to", to))
}

/// Swaps two existing paths as one step. `Ok(false)` where the file system cannot do that.
///
/// # Errors
///
/// [`Error`].
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
/// [`Error`].
pub fn write_new(path: &Utf8Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()
    };
    write().map_err(failing("write", path))
}

/// Writes a new file of a source tree: without waiting for the disk, since a tree that was not
/// finished is made anew, and with its modification time.
///
/// # Errors
///
/// [`Error`].
pub fn write_exported(path: &Utf8Path, content: &[u8], mode: u32, modified: SystemTime) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.set_modified(modified)
    };
    write().map_err(failing("write", path))
}

/// Writes a file whole or not at all: a temporary sibling, then a rename.
///
/// # Errors
///
/// [`Error`]; the file at `path` is then as it was.
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

/// Puts a finished temporary file, a sibling of `path`, in its place.
///
/// # Errors
///
/// [`Error`]; the file at `path` is then as it was.
pub fn publish_file(file: NamedTempFile, path: &Utf8Path) -> Result<()> {
    let publish = || {
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    publish().map_err(failing("write", path))
}

/// Waits until the entries of a folder are on the disk.
///
/// # Errors
///
/// [`Error`].
pub fn sync_dir(path: &Utf8Path) -> Result<()> {
    let folder = File::open(path).map_err(failing("open", path))?;
    folder.sync_all().map_err(failing("sync", path))
}

/// The SHA-256 and the size in bytes of a file.
///
/// # Errors
///
/// [`Error`].
pub fn sha256(path: &Utf8Path) -> Result<(Sha256Digest, u64)> {
    let mut reader = BufReader::with_capacity(1 << 18, open(path)?);
    Sha256Digest::of_reader(&mut reader).map_err(failing("read", path))
}

/// Makes `to` another name of the file `from`.
///
/// # Errors
///
/// [`Error`], also where the file system has no such thing.
pub fn hard_link(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    std::fs::hard_link(from, to).map_err(failing("link", to))
}

/// How many bytes of a file are copied before it is asked whether to stop.
const PIECE: u64 = 4 << 20;

/// Makes `to` a copy of the file `from`, with mode 0644.
///
/// # Errors
///
/// [`Error`], also where `progress` is cancelled meanwhile; a part of the copy is there then.
pub fn copy(from: &Utf8Path, to: &Utf8Path, progress: &dyn Progress) -> Result<()> {
    let source = open(from)?;
    let copy = || {
        let mut target = OpenOptions::new().write(true).create(true).truncate(true).open(to)?;
        loop {
            check_cancelled(progress)?;
            if io::copy(&mut (&source).take(PIECE), &mut target)? < PIECE {
                return Ok(());
            }
            // So that little is left to wait for at the end, when nobody can be asked.
            target.sync_data()?;
        }
    };
    copy().map_err(failing("write", to))?;
    set_mode(to, 0o644)
}

/// Makes `to` another name of the file `from`; where the file system has no such thing, a copy.
///
/// # Errors
///
/// As [`copy`].
pub fn link_or_copy(from: &Utf8Path, to: &Utf8Path, progress: &dyn Progress) -> Result<()> {
    remove_file(to)?;
    hard_link(from, to).or_else(|_| copy(from, to, progress))?;
    set_mode(to, 0o644)
}

/// Writes a file with mode 0644 in place of any that is there, without waiting for the disk: see [`sync_all_of`].
///
/// # Errors
///
/// [`Error`].
pub fn write_anew(path: &Utf8Path, content: &[u8]) -> Result<()> {
    remove_file(path)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))
    };
    write().map_err(failing("write", path))
}

/// Waits until everything on the file system of `path` is on the disk. What is published afterwards is so only if
/// nobody has asked to stop until then.
///
/// # Errors
///
/// [`Error`], also where `progress` is cancelled; nothing has to wait for the disk then.
pub fn sync_all_of(path: &Utf8Path, progress: &dyn Progress) -> Result<()> {
    let place = File::open(path).map_err(failing("open", path))?;
    let synced = leaving(progress, move || rustix::fs::syncfs(place));
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
    use crate::progress::Silent;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    #[test]
    fn errors_carry_the_path() {
        let error = read(Utf8Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/nowhere/at/all`");
        assert!(error.is_not_found());
    }

    /// Cancelled once it was asked so often.
    struct After(std::sync::atomic::AtomicU32);

    impl Progress for After {
        fn report(&self, _: &crate::progress::Event) {}

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
        // A longer one is replaced as well.
        std::fs::write(&from, "short").unwrap();
        copy(&from, &to, &Silent).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"short");
        sync_all_of(&folder, &Silent).unwrap();
        let error = sync_all_of(&folder, &After(0.into())).unwrap_err();
        assert_eq!(error.reason(), format!("cannot sync `{folder}`: interrupted"));
    }

    #[test]
    fn a_full_disk_is_found_among_the_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Outer(#[from] Error);
        let error = |kind: io::ErrorKind, action| Outer(Error::new(action, "/d/f", io::Error::from(kind)));
        let full = error(io::ErrorKind::StorageFull, "write");
        assert_eq!(full.to_string(), "cannot write `/d/f`");
        let found = unwritable(&full).unwrap();
        assert_eq!((found.path.as_str(), found.full), ("/d/f", true));
        assert_eq!(found.to_string(), io::Error::from(io::ErrorKind::StorageFull).to_string());
        let denied = error(io::ErrorKind::PermissionDenied, "write");
        assert!(!unwritable(&denied).unwrap().full);
        let unreadable = error(io::ErrorKind::PermissionDenied, "read");
        assert!(unwritable(&unreadable).is_none());
        assert_eq!(unreadable.to_string(), "cannot read `/d/f`\nhint: make `/d/f` readable for this user");
        assert!(unwritable(&error(io::ErrorKind::NotFound, "write")).is_none());
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
