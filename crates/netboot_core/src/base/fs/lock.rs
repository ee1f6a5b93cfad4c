//! Locks between processes.

use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Mode, OFlags};

use super::error::{Error, NotRegular, Result};
use super::files::create_dir_all;
use super::read::open_regular;
use crate::base::progress::{Progress, Task, TaskKind};

/// A lock between processes, held until it is dropped (or until the process ends in any way).
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// The lock file, if it is removed together with the lock.
    removed: Option<Utf8PathBuf>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock is still held here, so no other process holds one of this name.
        if let Some(path) = self.removed.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Lock {
    /// Acquires the lock at `path`. While another process holds it, reports that and waits; returns `Ok(None)` if
    /// cancelled meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`] if the lock file cannot be created, or if `path` is not a regular file.
    pub fn acquire(path: &Utf8Path, progress: &dyn Progress) -> Result<Option<Self>> {
        Self::wait(path, File::try_lock, progress)
    }

    /// Acquires the lock at `path`, shared with others; otherwise like [`Lock::acquire`].
    ///
    /// # Errors
    ///
    /// [`Error`] if the lock file cannot be created.
    pub fn share(path: &Utf8Path, progress: &dyn Progress) -> Result<Option<Self>> {
        Self::wait(path, File::try_lock_shared, progress)
    }

    /// Locks the file or folder at `path`, which must exist and must not be a link, without waiting; returns `None`
    /// while another process holds the lock.
    ///
    /// # Errors
    ///
    /// [`Error`] if there is no such file, or it cannot be locked.
    pub fn try_existing(path: &Utf8Path) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path.as_std_path(), flags, Mode::empty());
        let file = File::from(opened.map_err(|error| Error::new("open", path, error.into()))?);
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, removed: None })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::new("lock", path, error)),
        }
    }

    /// Acquires the lock at `path`, a file with `mode` (permission bits) that exists only while the lock is held.
    /// `make` allows creating the file. On a file system without locks, nothing is locked. Users who cannot open the
    /// file cannot hold the lock. Returns `Ok(None)` if cancelled meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`] if there is no such file and it cannot or must not be created, or if `path` is not a regular file or a
    /// link to one.
    pub fn acquire_temporary(path: &Utf8Path, mode: u32, make: bool, progress: &dyn Progress) -> Result<Option<Self>> {
        loop {
            let file = open_regular(path, OpenOptions::new().create(make).append(true).mode(mode))?;
            let metadata = file.metadata().map_err(|error| Error::new("open", path, error))?;
            // Another user who can write in the folder can link any file of this user there.
            if metadata.nlink() > 1 {
                return Err(Error::new("open", path, NotRegular("a hard link").into()));
            }
            // The umask may have cleared bits. Another user's file keeps its mode.
            if metadata.uid() == rustix::process::geteuid().as_raw() {
                let _ = file.set_permissions(Permissions::from_mode(mode));
            }
            let mut lock = match file.try_lock() {
                // Network file systems lock only files, and some lock nothing at all.
                Ok(()) | Err(TryLockError::Error(_)) => Self { file, removed: None },
                Err(TryLockError::WouldBlock) => match Self::wait_for(file, path, File::try_lock, progress)? {
                    Some(lock) => lock,
                    None => return Ok(None),
                },
            };
            // The previous holder has removed the file, and another process may hold a new one by now.
            if same_file(&lock.file, path) {
                lock.removed = Some(path.to_owned());
                return Ok(Some(lock));
            }
        }
    }

    fn wait(
        path: &Utf8Path,
        try_lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
        progress: &dyn Progress,
    ) -> Result<Option<Self>> {
        create_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
        let file = open_regular(path, OpenOptions::new().create(true).append(true))?;
        Self::wait_for(file, path, try_lock, progress)
    }

    fn wait_for(
        file: File,
        path: &Utf8Path,
        try_lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
        progress: &dyn Progress,
    ) -> Result<Option<Self>> {
        let mut waiting = None;
        loop {
            match try_lock(&file) {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(Error::new("lock", path, error)),
                Err(TryLockError::WouldBlock) => {
                    if progress.cancelled() {
                        return Ok(None);
                    }
                    waiting.get_or_insert_with(|| {
                        Task::start(progress, TaskKind::Wait, format!("for another process to release `{path}`"), None)
                    });
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        if let Some(task) = waiting {
            task.finish("released");
        }
        Ok(Some(Self { file, removed: None }))
    }
}

/// Checks whether `file` is the file at `path`.
fn same_file(file: &File, path: &Utf8Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (held, there) = (file.metadata().map(identity), path.symlink_metadata().map(identity));
    matches!((held, there), (Ok(held), Ok(there)) if held == there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;
    use crate::base::progress::{Event, Silent};

    #[test]
    fn a_shared_lock_is_held_by_many_and_keeps_one_out_that_wants_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        let first = Lock::share(&path, &Silent).unwrap().unwrap();
        let second = Lock::share(&path, &Silent).unwrap().unwrap();
        drop(first);
        assert!(Lock::try_existing(&path).unwrap().is_none());
        drop(second);
        assert!(Lock::try_existing(&path).unwrap().is_some());
        assert!(Lock::try_existing(&path.with_file_name("none")).unwrap_err().is_not_found());
        std::os::unix::fs::symlink(&path, path.with_file_name("link")).unwrap();
        Lock::try_existing(&path.with_file_name("link")).unwrap_err();
    }

    #[test]
    fn a_held_lock_is_waited_for_and_a_cancelled_wait_ends() {
        struct Impatient;
        impl Progress for Impatient {
            fn report(&self, _: &Event) {}
            fn cancelled(&self) -> bool {
                true
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        let held = Lock::acquire(&path, &Silent).unwrap().unwrap();
        assert!(Lock::acquire(&path, &Impatient).unwrap().is_none());
        drop(held);
        assert!(Lock::acquire(&path, &Impatient).unwrap().is_some());
    }

    #[test]
    fn a_temporary_lock_goes_with_whoever_holds_it_and_keeps_others_out_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        assert!(Lock::acquire_temporary(&path, 0o600, false, &Silent).unwrap_err().is_not_found());
        let count = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _lock = Lock::acquire_temporary(&path, 0o660, true, &Silent).unwrap().unwrap();
                        assert_eq!(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
                        count.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(!path.exists());
        // Nobody holds the lock file that a killed process has left.
        std::fs::write(&path, "").unwrap();
        drop(Lock::acquire_temporary(&path, 0o600, false, &Silent).unwrap().unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_link_to_another_file_is_no_temporary_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        let other = path.with_file_name("other");
        std::fs::write(&other, "").unwrap();
        std::fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        let error = Lock::acquire_temporary(&path, 0o660, true, &Silent).unwrap_err();
        assert!(error.is_not_regular());
        assert_eq!(error.reason(), format!("cannot open `{path}`: found a hard link, wanted a regular file"));
        assert_eq!(other.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_regular_file_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        let refused = |what: &str| {
            let error = Lock::acquire(&path, &Silent).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(told(&error), format!("cannot open `{path}`\nhint: move it away"));
            assert_eq!(cause, format!("found {what}, wanted a regular file"));
        };
        rustix::fs::mknodat(rustix::fs::CWD, path.as_std_path(), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
        refused("a FIFO");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("a folder");
        std::fs::remove_dir(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        refused("a socket");
        std::fs::remove_file(&path).unwrap();
        // Following a link would create a file elsewhere.
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        refused("a symbolic link");
        assert!(!path.with_file_name("elsewhere").exists());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        refused("a symbolic link");
    }
}
