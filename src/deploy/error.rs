//! Why a deployment did not come to its end.

use camino::Utf8PathBuf;

use super::plan::Obstacle;
use super::remote;
use super::remote_state;
use super::sftp::ssh;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
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
    #[error("the connection to `{host}` was lost {times}{at}{words}")]
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
    #[error("`{target}` has files that somebody else put there or changed, and deploying would replace them: {files}")]
    UnmanagedFiles {
        /// The place.
        target: String,
        /// Which.
        files: String,
    },
    /// There is a manifest of something else.
    #[error("the `{}` in `{target}` was not written by this tool: {reason}", paths::MANIFEST)]
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
    #[error("`{path}` differed twice when it was read back")]
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
        "the paths of `{tree}` have more than {most} bytes with their folders",
        tree = printable(.0),
        most = remote_state::MAX_PATHS
    )]
    TooLong(Utf8PathBuf),
    /// The place is the tree.
    #[error("`{0}` is the tree itself, or in it")]
    TargetIsTree(Utf8PathBuf),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(fs::Error),
    /// Another deployment takes place at the same time.
    #[error("`{0}` is being changed by another deployment")]
    ConcurrentDeploy(String),
    /// The place is in another published tree.
    #[error(transparent)]
    Inside(#[from] InsideTree),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Remote(error) => error.diagnosis(),
            Self::Lost { host, .. } => Class::Unavailable.about(host).help(Help::Resume),
            Self::UnmanagedFiles { target, .. } => {
                Class::Failure.about(target).help("move them away").help(Flag::Replace)
            }
            Self::ForeignManifest { target, .. } => {
                Class::Failure.about(target).help("choose another folder").help(Flag::Replace)
            }
            Self::Obstacle(error) => error.diagnosis(),
            Self::ReadBackMismatch { path, target } => Class::DamagedTree
                .about(path)
                .help(format!("check the storage of `{target}`; what has that name there is as it was")),
            Self::Changed(error) => error.diagnosis(),
            Self::TooLong(tree) => {
                Class::Failure.about(tree).help("give the sites shorter names, or deploy fewer of them")
            }
            Self::TargetIsTree(folder) => Class::Failure.about(folder).help("choose another folder"),
            Self::Lock(error) => error.diagnosis(),
            Self::ConcurrentDeploy(target) => {
                Class::Failure.about(target).help("run the command again once the other deployment has ended")
            }
            Self::Inside(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.help(Help::Resume),
        }
    }
}

impl From<remote::Error> for Error {
    fn from(error: remote::Error) -> Self {
        match error {
            remote::Error::Cancelled | remote::Error::Connect(ssh::Error::Cancelled) => Self::Cancelled,
            other => Self::Remote(other),
        }
    }
}
