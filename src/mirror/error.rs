//! Errors from changing the folder of a mirror.

use camino::Utf8PathBuf;

use super::record::Identity;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;

/// Errors from using a mirror's folder. The served files stay unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An unrelated file occupies a path of the mirror.
    #[error("`{0}` is in the way: this tool did not put it there")]
    Foreign(Utf8PathBuf),
    /// The folder contains a mirror of another product, stream or architecture.
    #[error("`{root}` is the mirror of `{found}`, wanted `{wanted}`")]
    OtherMirror {
        /// Folder of the mirror.
        root: Utf8PathBuf,
        /// Identity of the existing mirror.
        found: Box<Identity>,
        /// Requested identity.
        wanted: Box<Identity>,
    },
    /// The file system does not support the requested links.
    #[error("`{root}` cannot have {what}: {reason}")]
    NoLinks {
        /// Folder of the mirror.
        root: Utf8PathBuf,
        /// Unsupported kind of link.
        what: &'static str,
        /// Error message of the operating system.
        reason: String,
    },
    /// The user cancelled the run.
    #[error("interrupted; the served files are unchanged")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Foreign(path) => Class::Failure.about(path).help("move it away").help(Flag::Dest),
            Self::OtherMirror { root, .. } => Class::Failure.about(root).help(Flag::Dest),
            Self::NoLinks { root, .. } => Class::Failure.about(root).help(Flag::Links).help(Help::Without(Flag::Links)),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}
