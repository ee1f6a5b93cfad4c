//! Errors from file operations: what failed, on which path, and why.

use std::io;

use camino::{FromPathBufError, Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::printable::printable;

/// Something other than a regular file where the tool keeps one of its own files, as the cause of an [`Error`].
#[derive(Debug, thiserror::Error)]
#[error("found {0}, wanted a regular file")]
pub(super) struct NotRegular(pub(super) &'static str);

impl From<NotRegular> for io::Error {
    fn from(found: NotRegular) -> Self {
        Self::new(io::ErrorKind::InvalidInput, found)
    }
}

/// An entry of a folder whose name is not UTF-8, as the cause of an [`Error`]; contains its path, with U+FFFD in place of what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the name of `{}` is not UTF-8", printable(.0))]
struct NotUtf8(String);

/// A failed file operation and its path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", printable(path))]
pub struct Error {
    action: &'static str,
    path: Utf8PathBuf,
    source: io::Error,
}

/// The result of a file operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A file system that accepts no data or no changes, as a cause of an [`Error`]. Which other path can be used depends
/// on the purpose of this one, so the program words the remedy; see [`unwritable`].
#[derive(Debug, thiserror::Error)]
#[error("{reported}")]
pub struct Unwritable {
    /// The file or folder.
    pub path: Utf8PathBuf,
    /// Whether the file system is full; otherwise this user may not write there.
    pub full: bool,
    /// The error as reported by the operating system. It is not exposed as a cause, because it would be shown twice.
    reported: io::Error,
}

/// Returns the [`Unwritable`] file system among the causes of `error`.
#[must_use]
pub fn unwritable<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Unwritable> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref())
}

fn remedy(action: &str, error: &io::Error, path: &Utf8Path) -> Option<String> {
    if is::<NotRegular>(error) {
        Some("move it away".to_owned())
    } else if is::<NotUtf8>(error) {
        Some("rename or remove that file".to_owned())
    } else if error.kind() == io::ErrorKind::PermissionDenied && reads(action) {
        Some(match barrier(path) {
            Some(folder) => format!("let this user enter the folder `{}`", printable(folder)),
            None => format!("make `{}` readable for this user", printable(path)),
        })
    } else if error.kind() == io::ErrorKind::InvalidFilename {
        let longest = path.components().max_by_key(|part| part.as_str().len());
        let name = longest.map(|part| part.as_str()).unwrap_or_default();
        let (found, all) = (name.len(), path.as_str().len());
        Some(format!(
            "choose a shorter one: the name `{}` has {found} bytes, and the path {all}; most systems take 255 and 4095",
            printable(name)
        ))
    } else if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists) && action != "write" {
        Some("move away the file that stands where a folder is wanted, or choose another folder".to_owned())
    } else if error.kind() == io::ErrorKind::IsADirectory && action == "write" {
        Some("move that folder away".to_owned())
    } else if error.kind() == io::ErrorKind::IsADirectory && reads(action) {
        Some("give the path of a file, or move that folder away".to_owned())
    } else {
        None
    }
}

/// Returns the outermost folder on the way to `path` that this user cannot enter.
#[must_use]
pub fn barrier(path: &Utf8Path) -> Option<&Utf8Path> {
    let denied =
        |path: &Utf8Path| path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let within = path.ancestors().filter(|path| denied(path)).last()?;
    within.parent().filter(|folder| !folder.as_str().is_empty())
}

fn is<Cause: std::error::Error + 'static>(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Cause>)
}

/// Checks whether an action needs no write permission.
fn reads(action: &str) -> bool {
    ["read", "list"].contains(&action)
}

impl Error {
    /// Creates an error of `action` (an imperative, as in "read") on `path`.
    pub fn new(action: &'static str, path: impl Into<Utf8PathBuf>, source: io::Error) -> Self {
        let (path, kind) = (path.into(), source.kind());
        let full = matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let denied = matches!(kind, io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied);
        let source = if full || denied && !reads(action) {
            io::Error::new(kind, Unwritable { path: path.clone(), full, reported: source })
        } else if let Some(name) = source.get_ref().and_then(|cause| cause.downcast_ref::<FromPathBufError>()) {
            io::Error::new(kind, NotUtf8(name.as_path().to_string_lossy().into_owned()))
        } else {
            source
        };
        Self { action, path, source }
    }

    /// Creates an error of `action` on the folder `path`, in which a new entry has a name that begins with `prefix`.
    pub(super) fn within(action: &'static str, path: &Utf8Path, prefix: &str, source: io::Error) -> Self {
        Self { path: path.to_owned(), ..Self::new(action, path.join(prefix), source) }
    }

    /// Returns what failed and why, on one line and without a hint.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("cannot {} `{}`: {}", self.action, printable(&self.path), self.source)
    }

    /// Checks whether there is something other than a folder where a folder is needed.
    #[must_use]
    pub fn is_obstacle(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists)
    }

    /// Checks whether a file exceeds the size limit for reading.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge
    }

    /// Checks whether there is something other than a regular file where the tool keeps one of its own files.
    #[must_use]
    pub fn is_not_regular(&self) -> bool {
        is::<NotRegular>(&self.source)
    }

    /// Checks whether this user has no right to do that.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }

    /// Checks whether the file or folder does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        let diagnosis = Class::Failure.about(&self.path);
        match remedy(self.action, &self.source, &self.path) {
            Some(remedy) => diagnosis.help(remedy),
            None => diagnosis,
        }
    }
}

impl From<Error> for io::Error {
    /// Returns the error of the operating system.
    fn from(error: Error) -> Self {
        error.source
    }
}

pub(super) fn failing<'a>(action: &'static str, path: &'a Utf8Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::new(action, path, source)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_name_that_is_not_utf_8_is_shown_with_escapes() {
        let name = PathBuf::from(OsStr::from_bytes(b"/d/\xff\x1b\n.toml"));
        let cause = Utf8PathBuf::try_from(name).unwrap_err().into_io_error();
        let error = Error::new("list", "/d", cause);
        assert_eq!(error.reason(), "cannot list `/d`: the name of `/d/\u{FFFD}\\u{1b}\\n.toml` is not UTF-8");
        assert_eq!(error.diagnosis().help, ["rename or remove that file".into()]);
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
        assert_eq!(unreadable.to_string(), "cannot read `/d/f`");
        assert_eq!(unreadable.0.diagnosis().help, ["make `/d/f` readable for this user".into()]);
        assert!(unwritable(&error(io::ErrorKind::NotFound, "write")).is_none());
    }
}
