//! Deployment to a folder on this machine. Any file system works: links, permission bits and locks are not required.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::remote::{Error, Found, FoundKind, Remote, RemoteReason, RemoteSubject};
use crate::base::fs::world_readable;
use crate::base::progress::Progress;

/// Number of bytes that are read or written between two checks for cancellation.
const PIECE: usize = 1 << 20;

/// Flags for whatever is opened in the target: no link is followed, and nothing waits for the other end of a pipe.
const BELOW: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

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
            ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists => RemoteReason::Obstacle,
            _ => RemoteReason::Unknown,
        };
        let subject = RemoteSubject { path: self.at(path).into_string(), host: None };
        Error::Refused { action, subject, reason, detail: error.to_string() }
    }

    /// Returns the open folder that has `path`, and the name there. No folder on the way is a link: another user who can
    /// write to the target could lead elsewhere with one.
    fn parent<'u>(&self, path: &'u Utf8Path) -> io::Result<(OwnedFd, &'u str)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(self.root.as_str(), flags, Mode::empty())?;
        let mut names: Vec<&str> = path.components().map(|component| component.as_str()).collect();
        let name = names.pop().unwrap_or(".");
        for name in names {
            folder = rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok((folder, name))
    }

    /// Opens the regular file at `path`, and creates it with `mode` if `flags` say so.
    fn open(&self, path: &Utf8Path, flags: OFlags, mode: Mode) -> io::Result<fs::File> {
        let (folder, name) = self.parent(path)?;
        let file = fs::File::from(rustix::fs::openat(&folder, name, BELOW | flags, mode)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
    }

    fn unlink(&self, path: &Utf8Path, flags: AtFlags) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&folder, name, flags)?)
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
        let look = |path: &Utf8PathBuf| {
            let found = self
                .parent(path)
                .and_then(|(folder, name)| Ok(rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?));
            match found {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
                Err(error) => Err(self.failed("look at", path, &error)),
                Ok(found) => {
                    let kind = match FileType::from_raw_mode(found.st_mode) {
                        FileType::RegularFile => FoundKind::File,
                        FileType::Directory => FoundKind::Folder,
                        _ => FoundKind::Other,
                    };
                    // No time is given, so files are read back: that is cheap here, and more reliable than a time.
                    let size = u64::try_from(found.st_size).unwrap_or_default();
                    Ok(Some(Found { kind, size, modified: None, mode: Some(found.st_mode) }))
                }
            }
        };
        paths.iter().map(|path| self.go_on().and_then(|()| look(path))).collect()
    }

    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let failed = |error: io::Error| self.failed("read", path, &error);
        let mut file = self.open(path, OFlags::RDONLY, Mode::empty()).map_err(failed)?;
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
        let mode = Mode::from_raw_mode(world_readable::FILE_MODE);
        let mut file = self.open(path, OFlags::WRONLY | OFlags::CREATE, mode).map_err(failed)?;
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
        let rename = || {
            let ((old, from), (new, to)) = (self.parent(from)?, self.parent(to)?);
            Ok(rustix::fs::renameat(&old, from, &new, to)?)
        };
        rename().map_err(|error: io::Error| self.failed("replace", to, &error))
    }

    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        match self.unlink(path, AtFlags::empty()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("remove", path, &error)),
            _ => Ok(()),
        }
    }

    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        if path.as_str().is_empty() {
            return world_readable::create_world_readable_dir_all(&self.root)
                .map_err(|error| self.failed("make the folder", path, &error.into()));
        }
        let make = || {
            let (folder, name) = self.parent(path)?;
            rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777))?;
            let flags = BELOW | OFlags::RDONLY | OFlags::DIRECTORY;
            let made = rustix::fs::openat(&folder, name, flags, Mode::empty()).map(fs::File::from);
            // On a file system without modes there is nothing to set.
            if let Ok(made) = made
                && let Ok(now) = made.metadata()
            {
                let mode = world_readable::new_folder_mode(now.permissions().mode());
                let _ = made.set_permissions(Permissions::from_mode(mode));
            }
            Ok(())
        };
        match make() {
            Err(error) if io::Error::kind(&error) != ErrorKind::AlreadyExists => {
                Err(self.failed("make the folder", path, &error))
            }
            _ => Ok(()),
        }
    }

    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error> {
        self.go_on()?;
        let open = || {
            let (folder, name) = self.parent(path)?;
            Ok(fs::File::from(rustix::fs::openat(&folder, name, BELOW | OFlags::RDONLY, Mode::empty())?))
        };
        // What another user has put there meanwhile keeps its mode.
        let Ok::<_, io::Error>(file) = open() else { return Ok(false) };
        let same = |metadata: fs::Metadata| match found.kind {
            FoundKind::File => metadata.is_file(),
            FoundKind::Folder => metadata.is_dir(),
            FoundKind::Other => false,
        };
        let mode = Permissions::from_mode(found.world_readable_mode());
        Ok(file.metadata().is_ok_and(same) && file.set_permissions(mode).is_ok())
    }

    fn first_closed(&mut self) -> Result<Option<String>, Error> {
        Ok(world_readable::first_closed(&self.root).map(Utf8PathBuf::into_string))
    }

    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error> {
        self.go_on()?;
        match self.unlink(path, AtFlags::REMOVEDIR) {
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

    #[test]
    fn links_and_pipes_of_others_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        for path in ["own/precious", "target/sub/a"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "photographs").unwrap();
        }
        let own = root.join("own/precious");
        fs::set_permissions(&own, Permissions::from_mode(0o600)).unwrap();
        let mut remote = Folder::new(&root.join("target"), &Silent);
        let found = Found { kind: FoundKind::File, size: 11, modified: None, mode: Some(0o600) };
        let (link, below) = (Utf8Path::new("link"), Utf8Path::new("sub/precious"));
        std::os::unix::fs::symlink(&own, root.join("target/link")).unwrap();
        assert!(!remote.make_world_readable(link, found).unwrap());
        assert!(remote.read(link, 0..11, &mut |_| {}).is_err());
        // Somebody exchanges a folder for a link.
        fs::rename(root.join("target/sub"), root.join("target/old")).unwrap();
        std::os::unix::fs::symlink(root.join("own"), root.join("target/sub")).unwrap();
        assert_eq!(remote.lstat(&[below.to_owned()]).unwrap(), [None]);
        assert!(!remote.make_world_readable(below, found).unwrap());
        assert!(remote.read(below, 0..11, &mut |_| {}).is_err());
        assert!(remote.write(below, b"x", 0, &mut |_| {}).is_err());
        assert!(remote.rename("old/a".into(), below).is_err());
        assert!(remote.make_folder("sub/new".into()).is_err());
        assert!(remote.remove(below).is_err());
        assert_eq!(fs::read(&own).unwrap(), b"photographs");
        assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
        // Nobody writes to the other end.
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("target/pipe").as_str(), Mode::from_raw_mode(0o644)).unwrap();
        let error = remote.read("pipe".into(), 0..1, &mut |_| {}).unwrap_err();
        assert!(error.to_string().ends_with("target/pipe`: it is no regular file"), "{error}");
    }
}
