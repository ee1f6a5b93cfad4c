//! Locks between processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::time::Duration;

use camino::Utf8Path;

use super::{Error, Result, create_dir_all, failing};
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
    /// [`Error`] where the lock file cannot be made.
    pub fn acquire(path: &Utf8Path, progress: &dyn Progress) -> Result<Option<Self>> {
        create_dir_all(path.parent().unwrap_or(Utf8Path::new(".")))?;
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failing("open", path))?;
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
}
