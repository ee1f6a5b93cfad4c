//! Deployment to a folder on this machine. Any file system works: links, permission bits and locks are not required.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::OFlags;

use super::remote::{Error, Found, FoundKind, Remote, RemoteReason, RemoteSubject};
use crate::base::fs::world_readable;
use crate::base::progress::Progress;

/// Number of bytes that are read or written between two checks for cancellation.
const PIECE: usize = 1 << 20;

/// Folder on this machine.
pub struct Folder<'p> {
    root: Utf8PathBuf,
    progress: &'p dyn Progress,
}

impl<'p> Folder<'p> {
    /// Creates a remote for the folder at `root`.
    #[must_use]
    pub fn new(root: &Utf8Path, progress: &'p dyn Progress) -> Self {
        Self { root: root.to_owned(), progress }
    }

    fn at(&self, path: &Utf8Path) -> Utf8PathBuf {
        if path.as_str().is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn failed(&self, action: &'static str, path: &Utf8Path, error: &io::Error) -> Error {
        let reason = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => RemoteReason::Denied,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => RemoteReason::Full,
            ErrorKind::NotFound => RemoteReason::Missing,
            _ => RemoteReason::Unknown,
        };
        let subject = RemoteSubject { path: self.at(path).into_string(), host: None };
        Error::Refused { action, subject, reason, detail: error.to_string() }
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl Remote for Folder<'_> {
    fn is_there(&mut self) -> Result<bool, Error> {
        match fs::metadata(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("look at", "".into(), &error)),
            Ok(metadata) if metadata.is_dir() => Ok(true),
            Ok(_) => Err(self.failed("list", "".into(), &ErrorKind::NotADirectory.into())),
        }
    }

    fn lstat(&mut self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Found>>, Error> {
        let look = |path: &Utf8PathBuf| match fs::symlink_metadata(self.at(path)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(self.failed("look at", path, &error)),
            Ok(metadata) => {
                let kind = match metadata.file_type() {
                    kind if kind.is_file() => FoundKind::File,
                    kind if kind.is_dir() => FoundKind::Folder,
                    _ => FoundKind::Other,
                };
                // No time is given, so files are read back: that is cheap here, and more reliable than a time.
                let mode = Some(metadata.permissions().mode());
                Ok(Some(Found { kind, size: metadata.len(), modified: None, mode }))
            }
        };
        paths.iter().map(|path| self.go_on().and_then(|()| look(path))).collect()
    }

    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let failed = |error: io::Error| self.failed("read", path, &error);
        let mut file = fs::File::open(self.at(path)).map_err(failed)?;
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let mut rest = file.take(range.end.saturating_sub(range.start));
        let mut piece = vec![0; PIECE];
        loop {
            self.go_on()?;
            match rest.read(&mut piece).map_err(failed)? {
                0 => return Ok(()),
                count => take(&piece[..count]),
            }
        }
    }

    fn write(&mut self, path: &Utf8Path, data: &[u8], offset: u64, done: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let failed = |error: io::Error| self.failed("write", path, &error);
        let mut options = OpenOptions::new();
        // Following a link that another user has put there meanwhile would overwrite another file.
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        options.write(true).create(true).truncate(false).mode(world_readable::FILE_MODE).custom_flags(nofollow);
        let mut file = options.open(self.at(path)).map_err(failed)?;
        // On a file system without modes there is nothing to set.
        let _ = file.set_permissions(Permissions::from_mode(world_readable::FILE_MODE));
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        for piece in data.chunks(PIECE) {
            self.go_on()?;
            file.write_all(piece).map_err(failed)?;
            done(piece.len() as u64);
        }
        file.sync_all().map_err(failed)
    }

    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        fs::rename(self.at(from), self.at(to)).map_err(|error| self.failed("replace", to, &error))
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        match fs::remove_file(self.at(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("remove", path, &error)),
            _ => Ok(()),
        }
    }

    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        let folder = self.at(path);
        if path.as_str().is_empty() {
            return world_readable::create_world_readable_dir_all(&folder)
                .map_err(|error| self.failed("make the folder", path, &error.into()));
        }
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(self.failed("make the folder", path, &error)),
            made => {
                if made.is_ok() {
                    world_readable::open_new_folder(&folder);
                }
                Ok(())
            }
        }
    }

    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error> {
        self.go_on()?;
        Ok(fs::set_permissions(self.at(path), Permissions::from_mode(found.world_readable_mode())).is_ok())
    }

    fn first_closed(&mut self) -> Result<Option<String>, Error> {
        Ok(world_readable::first_closed(&self.root).map(Utf8PathBuf::into_string))
    }

    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        match fs::remove_dir(self.at(path)) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(self.failed("remove the folder", path, &error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;
    use crate::base::progress::{Event, Silent};

    struct Stopped;

    impl Progress for Stopped {
        fn report(&self, _: &Event) {}

        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn nothing_is_begun_once_the_user_has_asked_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        fs::write(root.join("a"), "x").unwrap();
        fs::create_dir(root.join("b")).unwrap();
        let (mut remote, a) = (Folder::new(root, &Stopped), Utf8Path::new("a"));
        let found = Found { kind: FoundKind::File, size: 1, modified: None, mode: Some(0o600) };
        assert!(matches!(remote.lstat(&[a.to_owned()]), Err(Error::Cancelled)));
        assert!(matches!(remote.rename(a, "c".into()), Err(Error::Cancelled)));
        assert!(matches!(remote.remove(a), Err(Error::Cancelled)));
        assert!(matches!(remote.make_folder("d".into()), Err(Error::Cancelled)));
        assert!(matches!(remote.make_world_readable(a, found), Err(Error::Cancelled)));
        assert!(matches!(remote.remove_empty_folder("b".into()), Err(Error::Cancelled)));
        assert!(root.join("a").exists() && root.join("b").exists() && !root.join("d").exists());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        fs::write(root.join("precious"), "photographs").unwrap();
        std::os::unix::fs::symlink("precious", root.join("a.partial")).unwrap();
        let error = Folder::new(root, &Silent).write("a.partial".into(), b"x", 0, &mut |_| {}).unwrap_err();
        assert_eq!(
            told(&error),
            format!(
                "cannot write `{root}/a.partial`: Too many levels of symbolic links (os error 40)\n\
                 hint: run the command again once that is put right"
            )
        );
        assert_eq!(fs::read(root.join("precious")).unwrap(), b"photographs");
    }
}
