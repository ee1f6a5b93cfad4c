//! Locks between processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::time::Duration;

use camino::Utf8Path;

use super::{Error, Result, create_dir_all, open, open_regular};
use crate::progress::{Kind, Progress, Task};

/// A lock between processes, held until dropped (or until the process ends, however it ends).
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Takes the lock at `path`. While another process holds it, says so and waits; `Ok(None)`
    /// when cancelled meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`] where the lock file cannot be made, or something else than a regular file stands there.
    pub fn acquire(path: &Utf8Path, progress: &dyn Progress) -> Result<Option<Self>> {
        create_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
        let file = open_regular(path, OpenOptions::new().create(true).append(true))?;
        Self::wait(file, path, progress)
    }

    /// Takes the lock of the folder at `path`, as far as its file system has such locks: nothing is left there.
    /// `Ok(None)` when cancelled meanwhile.
    ///
    /// # Errors
    ///
    /// None but [`Error`] of a file system whose locks fail otherwise than by not being there.
    pub fn acquire_folder(path: &Utf8Path, progress: &dyn Progress) -> Result<Option<Self>> {
        let file = open(path)?;
        // Network file systems lock files alone, and some nothing at all.
        let without = match file.try_lock() {
            Err(TryLockError::Error(_)) => true,
            Ok(()) | Err(TryLockError::WouldBlock) => false,
        };
        if without { Ok(Some(Self(file))) } else { Self::wait(file, path, progress) }
    }

    fn wait(file: File, path: &Utf8Path, progress: &dyn Progress) -> Result<Option<Self>> {
        let mut waiting = None;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(Error::new("lock", path, error)),
                Err(TryLockError::WouldBlock) => {
                    if progress.cancelled() {
                        return Ok(None);
                    }
                    waiting.get_or_insert_with(|| {
                        Task::start(progress, Kind::Wait, format!("for another process to release `{path}`"), None)
                    });
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
        if let Some(task) = waiting {
            task.finish("released");
        }
        Ok(Some(Self(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Event, Silent};

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
    fn what_is_no_regular_file_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("lock");
        let refused = |what: &str| {
            let error = Lock::acquire(&path, &Silent).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(error.to_string(), format!("cannot open `{path}`\nhint: move it away"));
            assert_eq!(cause, format!("found {what}, wanted a regular file"));
        };
        let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(status.success());
        refused("a FIFO");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("a folder");
        std::fs::remove_dir(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        refused("a socket");
        std::fs::remove_file(&path).unwrap();
        // Through a link, somebody else's file would be made.
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        refused("a symbolic link");
        assert!(!path.with_file_name("elsewhere").exists());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        refused("a symbolic link");
    }
}
