//! What a deployment needs of the place that it goes to. Paths are relative to the place.

use std::fmt;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::sftp::failure::quoted;
use super::sftp::ssh;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Help};
use crate::base::fs::world_readable;
use crate::printable::printable;

/// A folder that files are put into.
pub trait Remote {
    /// Whether the folder itself is there.
    ///
    /// # Errors
    ///
    /// [`Error`], as everywhere here.
    fn is_there(&mut self) -> Result<bool, Error>;

    /// What stands at each of `paths`; a link is a link.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn lstat(&mut self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Found>>, Error>;

    /// Hands `range` of a file to `take`, piece after piece. Ends early where the file does.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error>;

    /// Puts `data` into a file from `offset` on, and waits until it is on the disk where that can be asked for. The
    /// file is made where it does not exist; nothing of it is cut off. `done` hears of each piece that is there.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn write(&mut self, path: &Utf8Path, data: &[u8], offset: u64, done: &mut dyn FnMut(u64)) -> Result<(), Error>;

    /// Renames a file; one of the new name gives way.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), Error>;

    /// Removes a file; nothing to remove is fine.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error>;

    /// Makes a folder in one that is there; the empty path is the place itself, with all above it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error>;

    /// Lets other users read what was `found` at `path`. False where the place refuses.
    ///
    /// # Errors
    ///
    /// [`Error`] where the connection is lost.
    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error>;

    /// The first folder on the way to the place, itself included, that other users cannot enter.
    ///
    /// # Errors
    ///
    /// [`Error`] where the connection is lost.
    fn first_closed(&mut self) -> Result<Option<String>, Error>;

    /// Removes a folder if nothing is in it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error>;
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: FoundKind,
    /// In bytes.
    pub size: u64,
    /// When it was changed, as the place counts. Where it does not tell, the content has to be read.
    pub modified: Option<u64>,
    /// Its permission bits, where the place has any.
    pub mode: Option<u32>,
}

impl Found {
    /// Whether other users can read it; true where the place does not say.
    #[must_use]
    pub fn is_world_readable(&self) -> bool {
        self.mode.is_none_or(|mode| world_readable::is_world_readable(mode, self.kind == FoundKind::Folder))
    }

    /// The permission bits with which other users can read it.
    #[must_use]
    pub fn world_readable_mode(&self) -> u32 {
        world_readable::world_readable_mode(self.mode.unwrap_or(0), self.kind == FoundKind::Folder)
    }
}

/// What may stand at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A link, a device, a socket or a pipe.
    Other,
}

/// Why something cannot be done at a place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ssh::Error),
    /// The connection is gone. It may come back.
    #[error("the connection was lost{}", quoted(words))]
    Lost {
        /// What ssh says.
        words: Vec<String>,
    },
    /// The place refuses.
    #[error("cannot {action} {subject}: {detail}")]
    Refused {
        /// As in "write".
        action: &'static str,
        /// The path and where it is, for a person.
        subject: RemoteSubject,
        /// Why, for programs.
        reason: RemoteReason,
        /// Why, in the words of the place.
        detail: String,
    },
    /// The other side does not keep to the protocol.
    #[error("`{host}` violates SFTP version 3: found {found}")]
    NotSftp {
        /// The server.
        host: String,
        /// What came.
        found: String,
    },
    /// The other side answers, but far too slowly: another attempt would take as long.
    #[error(
        "`{0}` is too slow: wanted an answer or 1,000 bytes a second on average, and each answer within two minutes"
    )]
    Slow(String),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Connect(error) => error.diagnosis(),
            Self::Lost { .. } => Class::Unavailable.into(),
            Self::Refused { subject, reason, .. } => Class::Failure.about(subject).help(remedy(*reason, subject)),
            Self::NotSftp { host, .. } => Class::Unavailable.about(host).help("report it, with what the server is"),
            Self::Slow(host) => Class::Unavailable
                .about(host)
                .help("find out what slows the server or the line down")
                .help(Help::Resume),
            Self::Cancelled => Class::Interrupted.into(),
        }
    }
}

/// A path, and where that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSubject {
    /// As the place takes it.
    pub path: String,
    /// The server, where it is one.
    pub host: Option<String>,
}

impl fmt::Display for RemoteSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "`{}` on `{host}`", printable(&self.path)),
            None => write!(f, "`{}`", printable(&self.path)),
        }
    }
}

/// Why a place refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteReason {
    /// This user may not.
    Denied,
    /// There is no room.
    Full,
    /// Something is not there that should be.
    Missing,
    /// The server cannot do that at all.
    Unsupported,
    /// It does not say.
    Unknown,
}

fn remedy(reason: RemoteReason, subject: &RemoteSubject) -> &'static str {
    match (reason, &subject.host) {
        (RemoteReason::Denied, None) => "let this user write there, or choose another folder",
        (RemoteReason::Denied, Some(_)) => {
            "let this user write there; RouterOS wants the policies `ftp` and `write` in the user's group"
        }
        (RemoteReason::Full, _) => "free space there, and run the command again: it resumes where it stopped",
        (RemoteReason::Missing, _) => "see whether somebody else changes that folder, and run the command again",
        (RemoteReason::Unsupported, _) => "deploy into a folder of this machine, and copy that by other means",
        (RemoteReason::Unknown, None) => "run the command again once that is put right",
        (RemoteReason::Unknown, Some(_)) => {
            "the server does not say why; a full disk and missing rights are the usual reasons"
        }
    }
}
