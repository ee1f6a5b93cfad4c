//! Errors from changing the folder of a mirror.

use camino::Utf8PathBuf;

use super::record::Identity;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;

/// Why a mirror's folder cannot be used; what is served is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something stands where something of the mirror should be.
    #[error("`{0}` is in the way: this tool did not put it there")]
    Foreign(Utf8PathBuf),
    /// Something else is mirrored there.
    #[error("`{root}` is the mirror of `{found}`, wanted `{wanted}`")]
    OtherMirror {
        /// The folder.
        root: Utf8PathBuf,
        /// What is mirrored there.
        found: Box<Identity>,
        /// What should be.
        wanted: Box<Identity>,
    },
    /// The file system does not have what was asked for.
    #[error("`{root}` cannot have {what}: {reason}")]
    NoLinks {
        /// The folder.
        root: Utf8PathBuf,
        /// What it cannot have.
        what: &'static str,
        /// What the system says.
        reason: String,
    },
    /// The user asked to stop.
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
