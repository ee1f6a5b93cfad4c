//! Operations that a deployment needs from its target. Paths are relative to the target.

use std::fmt;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};

use super::sftp::failure::quoted;
use super::sftp::ssh;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Help};
use crate::base::fs::world_readable;
use crate::printable::printable;

/// Folder that receives a deployment.
pub trait Remote {
    /// Checks whether the folder itself exists.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn is_there(&mut self) -> Result<bool, Error>;

    /// Returns the attributes of each of `paths`, or `None` if nothing is there. Does not follow links.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn lstat(&mut self, paths: &[Utf8PathBuf]) -> Result<Vec<Option<Found>>, Error>;

    /// Passes `range` of a file to `take` in pieces. Ends early if the file does.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn read(&mut self, path: &Utf8Path, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Error>;

    /// Writes `data` to a file from `offset` on, and syncs it to disk if the target supports that. Creates the file if
    /// it does not exist, and never truncates it. Calls `done` with the size of each piece that was written.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn write(&mut self, path: &Utf8Path, data: &[u8], offset: u64, done: &mut dyn FnMut(u64)) -> Result<(), Error>;

    /// Renames a file; replaces an existing file.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<(), Error>;

    /// Removes a file; succeeds if there is none.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn remove(&mut self, path: &Utf8Path) -> Result<(), Error>;

    /// Creates a folder in an existing one; the empty path is the target itself, with all folders above it.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn make_folder(&mut self, path: &Utf8Path) -> Result<(), Error>;

    /// Makes `found` at `path` readable for other users. Returns false if the target refuses.
    ///
    /// # Errors
    ///
    /// [`Error`] if the connection is lost.
    fn make_world_readable(&mut self, path: &Utf8Path, found: Found) -> Result<bool, Error>;

    /// Returns the first folder on the path to the target, including the target itself, that other users cannot enter.
    ///
    /// # Errors
    ///
    /// [`Error`] if the connection is lost.
    fn first_closed(&mut self) -> Result<Option<String>, Error>;

    /// Removes a folder if it is empty.
    ///
    /// # Errors
    ///
    /// [`Error`] if the target refuses, or the connection is lost.
    fn remove_empty_folder(&mut self, path: &Utf8Path) -> Result<(), Error>;
}

/// Attributes of a file or folder at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Kind.
    pub kind: FoundKind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time by the target's clock. If it is unknown, the content must be read.
    pub modified: Option<u64>,
    /// Permission bits, if the target has any.
    pub mode: Option<u32>,
}

impl Found {
    /// Checks whether other users can read it; true if the target does not report permission bits.
    #[must_use]
    pub fn is_world_readable(&self) -> bool {
        self.mode.is_none_or(|mode| world_readable::is_world_readable(mode, self.kind == FoundKind::Folder))
    }

    /// Returns the permission bits with which other users can read it.
    #[must_use]
    pub fn world_readable_mode(&self) -> u32 {
        world_readable::world_readable_mode(self.mode.unwrap_or(0), self.kind == FoundKind::Folder)
    }
}

/// Kind of a file or folder at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// Regular file.
    File,
    /// Folder.
    Folder,
    /// Link, device, socket or pipe.
    Other,
}

/// Errors from an operation at a target.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ssh::Error),
    /// The connection was lost. It may come back.
    #[error("the connection was lost{}", quoted(words))]
    Lost {
        /// Output of ssh.
        words: Vec<String>,
    },
    /// The target refused.
    #[error("cannot {action} {subject}: {detail}")]
    Refused {
        /// Verb, such as "write".
        action: &'static str,
        /// Path and host, for messages.
        subject: RemoteSubject,
        /// Reason, for programs.
        reason: RemoteReason,
        /// Reason, in the words of the target.
        detail: String,
    },
    /// The server violates the protocol.
    #[error("`{host}` violates SFTP version 3: found {found}")]
    NotSftp {
        /// Server.
        host: String,
        /// What the server sent.
        found: String,
    },
    /// The server answers, but far too slowly: another attempt would take as long.
    #[error(
        "`{0}` is too slow: wanted an answer or 1,000 bytes a second on average, and each answer within two minutes"
    )]
    Slow(String),
    /// The user interrupted the operation.
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

/// Path and its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSubject {
    /// Path in the target's notation.
    pub path: String,
    /// Server; `None` for this machine.
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

/// Reason why a target refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteReason {
    /// This user lacks the permission.
    Denied,
    /// The disk is full.
    Full,
    /// Something that must exist is missing.
    Missing,
    /// Something of another kind is there.
    Obstacle,
    /// The server does not support the operation.
    Unsupported,
    /// The target gives no reason.
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
        (RemoteReason::Obstacle, _) => "move away what is there, or choose another folder",
        (RemoteReason::Unsupported, _) => "deploy into a folder of this machine, and copy that by other means",
        (RemoteReason::Unknown, None) => "run the command again once that is put right",
        (RemoteReason::Unknown, Some(_)) => {
            "the server does not say why; a full disk and missing rights are the usual reasons"
        }
    }
}
