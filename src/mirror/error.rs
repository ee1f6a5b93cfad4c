//! Errors from changing the folder of a mirror.

use camino::Utf8PathBuf;

use super::record::Identity;
use crate::base::fs;

/// Why a mirror's folder cannot be used; what is served is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something stands where something of the mirror should be.
    #[error(
        "`{0}` is in the way: this tool did not put it there\nhint: move it away, or choose another folder with `--dest`"
    )]
    Foreign(Utf8PathBuf),
    /// Something else is mirrored there.
    #[error(
        "`{root}` is the mirror of `{found}`, wanted `{wanted}`\nhint: give each mirror a folder of its own with `--dest`"
    )]
    OtherMirror {
        /// The folder.
        root: Utf8PathBuf,
        /// What is mirrored there.
        found: Box<Identity>,
        /// What should be.
        wanted: Box<Identity>,
    },
    /// The file system does not have what was asked for.
    #[error("`{root}` cannot have {what}: {reason}\nhint: choose another way with `--links`, or leave it out")]
    NoLinks {
        /// The folder.
        root: Utf8PathBuf,
        /// What it cannot have.
        what: &'static str,
        /// What the system says.
        reason: String,
    },
    /// The user asked to stop.
    #[error("interrupted; what is served is as it was")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}
