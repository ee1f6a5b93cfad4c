//! Reads files that anyone may have created: plain files only, and only up to a size limit.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use camino::Utf8Path;
use rustix::fs::OFlags;

#[cfg(doc)]
use super::error::Error;
use super::error::{NotRegular, Result, failing};

/// Maximum number of bytes that [`read`] reads: more than any file of a tree, a source tree or a machine's firmware
/// has.
pub const MAX_READ: u64 = 64 << 20;

/// Maximum size of a file that people write, in bytes: configuration, scripts, certificates.
///
/// A thousand sites as TOML tables have 100 kB. Parsed TOML can take seventy times as much memory as its text.
pub const MAX_TEXT: u64 = 2 << 20;

/// Maximum size of a CSV inventory, in bytes. An inventory of 100,000 sites has 3 MB, one of 10,000 with a dozen
/// columns 4 MB.
pub const MAX_INVENTORY: u64 = 8 << 20;

/// Returns the content of a plain file of at most [`MAX_READ`] bytes.
///
/// # Errors
///
/// [`Error`] if the file cannot be read, as everywhere in this module.
pub fn read(path: &Utf8Path) -> Result<Vec<u8>> {
    read_at_most(path, MAX_READ)
}

/// Returns the content of a plain file of at most [`MAX_TEXT`] bytes.
///
/// # Errors
///
/// [`Error`] if the file cannot be read or is larger.
pub fn read_text(path: &Utf8Path) -> Result<Vec<u8>> {
    read_at_most(path, MAX_TEXT)
}

/// Returns the content of a plain file of at most `most` bytes. A larger file is not read.
///
/// # Errors
///
/// [`Error`] if the file cannot be read or is larger.
pub fn read_at_most(path: &Utf8Path, most: u64) -> Result<Vec<u8>> {
    let read = || {
        let (file, metadata) = open_plain(path)?;
        let too_large = |found: &str| {
            let text = format!("it has {found} bytes, wanted {most} at most");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
        };
        if metadata.len() > most {
            return too_large(&metadata.len().to_string());
        }
        // The file may grow meanwhile, or report no size, as in /proc, so the limit applies here too.
        let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most { too_large("more") } else { Ok(content) }
    };
    read().map_err(failing("read", path))
}

/// Like [`read`], but returns `None` if there is no such file.
///
/// # Errors
///
/// [`Error`] for any other reason.
pub fn read_if_exists(path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    if_exists(read(path))
}

/// Like [`read_text`], but returns `None` if there is no such file.
///
/// # Errors
///
/// [`Error`] for any other reason.
pub fn read_text_if_exists(path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    if_exists(read_text(path))
}

fn if_exists(read: Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match read {
        Err(error) if error.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}

/// Opens a plain file for reading.
///
/// # Errors
///
/// [`Error`] if the file cannot be opened or is not a plain file.
pub fn open(path: &Utf8Path) -> Result<File> {
    open_plain(path).map(|(file, _)| file).map_err(failing("read", path))
}

/// Opens a plain file. A pipe would make every reader wait for a writer, and a device can have side effects or no end.
fn open_plain(path: &Utf8Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(rustix::io::Errno::ISDIR.into());
    }
    match special(metadata.file_type()) {
        None => Ok((file, metadata)),
        Some(found) => Err(io::Error::other(NotRegular(found).to_string())),
    }
}

/// Opens one of the tool's own files, which must be a regular file. It may be missing if `options` allow that. A link
/// is not followed.
///
/// # Errors
///
/// [`Error`] if the file cannot be opened or is not a regular file.
pub fn open_regular(path: &Utf8Path, options: &mut OpenOptions) -> Result<File> {
    let mut open = || {
        // Opening a device can already have side effects.
        match path.symlink_metadata() {
            Ok(found) => require_regular(found.file_type())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
        require_regular(file.metadata()?.file_type())?;
        Ok(file)
    };
    open().map_err(failing("open", path))
}

fn require_regular(found: FileType) -> io::Result<()> {
    special(found).map_or(Ok(()), |found| Err(NotRegular(found).into()))
}

/// Describes a file that is not a regular file; `None` for a regular file.
fn special(found: FileType) -> Option<&'static str> {
    match found {
        found if found.is_file() => None,
        found if found.is_dir() => Some("a folder"),
        found if found.is_symlink() => Some("a symbolic link"),
        found if found.is_fifo() => Some("a FIFO"),
        found if found.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(error: &crate::base::fs::Error) -> String {
        std::error::Error::source(error).unwrap().to_string()
    }

    #[test]
    fn a_large_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("large");
        File::create(&path).unwrap().set_len(40 << 30).unwrap();
        assert_eq!(cause(&read(&path).unwrap_err()), "it has 42949672960 bytes, wanted 67108864 at most");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_at_most(&path, 5).unwrap(), b"12345");
        assert_eq!(cause(&read_at_most(&path, 4).unwrap_err()), "it has 5 bytes, wanted 4 at most");
        // A file without a size.
        assert!(!read(Utf8Path::new("/proc/self/status")).unwrap().is_empty());
        let endless = read_at_most(Utf8Path::new("/proc/self/status"), 10).unwrap_err();
        assert_eq!(cause(&endless), "it has more bytes, wanted 10 at most");
    }

    #[test]
    fn only_plain_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let pipe = folder.join("pipe");
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            pipe.as_std_path(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        );
        made.unwrap();
        for (path, found) in [(pipe.as_path(), "a FIFO"), (Utf8Path::new("/dev/zero"), "a device")] {
            let special = format!("found {found}, wanted a regular file");
            assert_eq!(cause(&read(path).unwrap_err()), special);
            assert_eq!(cause(&open(path).unwrap_err()), special);
        }
        let socket = folder.join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(read(&socket).is_err());
        assert_eq!(cause(&read(folder).unwrap_err()), "Is a directory (os error 21)");
        std::os::unix::fs::symlink("/dev/zero", folder.join("link")).unwrap();
        assert_eq!(cause(&read(&folder.join("link")).unwrap_err()), "found a device, wanted a regular file");
    }
}
