//! Why a deployment did not come to its end.

use camino::Utf8PathBuf;

use super::plan::Obstacle;
use super::remote;
use super::remote_state;
use super::sftp::ssh;
use crate::base::{fs, paths};
use crate::printable::printable;
use crate::tree::enclosing::InsideTree;
use crate::tree::open;

/// Why a deployment did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place cannot be had, or refuses.
    #[error(transparent)]
    Remote(remote::Error),
    /// The connection was lost too often.
    #[error(
        "the connection with `{host}` was lost {times}{at}{words}\nhint: run the command again: it goes on from there"
    )]
    Lost {
        /// The server.
        host: String,
        /// How often.
        times: String,
        /// What was done at the time.
        at: String,
        /// What ssh says.
        words: String,
    },
    /// Files of others are where something is wanted.
    #[error(
        "`{target}` has files that somebody else put there or changed, and deploying would replace them: {files}\nhint: move them away, or deploy with `--replace`"
    )]
    UnmanagedFiles {
        /// The place.
        target: String,
        /// Which.
        files: String,
    },
    /// There is a manifest of something else.
    #[error(
        "the `{}` in `{target}` is none of this tool's: {reason}\nhint: choose another folder, or deploy with `--replace`, which replaces it",
        paths::MANIFEST
    )]
    ForeignManifest {
        /// The place.
        target: String,
        /// Why.
        reason: String,
    },
    /// Something stands in the way.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// What is there is not what was sent.
    #[error(
        "`{path}` did not read back as it was sent, twice\nhint: check the storage of `{target}`; what has that name there is as it was"
    )]
    ReadBackMismatch {
        /// The file.
        path: Utf8PathBuf,
        /// The place.
        target: String,
    },
    /// The tree has changed meanwhile.
    #[error(transparent)]
    Changed(#[from] open::Changed),
    /// No later deployment would believe a manifest of such a tree.
    #[error(
        "the paths of `{tree}` have more than {most} bytes with their folders\nhint: give the sites shorter names, or deploy fewer of them",
        tree = printable(.0),
        most = remote_state::MAX_PATHS
    )]
    TooLong(Utf8PathBuf),
    /// The place is the tree.
    #[error("`{0}` is the tree itself, or in it\nhint: choose another folder")]
    TargetIsTree(Utf8PathBuf),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(fs::Error),
    /// Another deployment takes place at the same time.
    #[error(
        "`{0}` is changed by somebody else at the same time\nhint: run the command again once the other deployment has ended"
    )]
    ConcurrentDeploy(String),
    /// The place is in another published tree.
    #[error(transparent)]
    Inside(#[from] InsideTree),
    /// The user asked to stop.
    #[error("interrupted\nhint: run the command again: it goes on from there")]
    Cancelled,
}

impl From<remote::Error> for Error {
    fn from(error: remote::Error) -> Self {
        match error {
            remote::Error::Cancelled | remote::Error::Connect(ssh::Error::Cancelled) => Self::Cancelled,
            other => Self::Remote(other),
        }
    }
}
