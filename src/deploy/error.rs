//! Errors from deploying a tree.

use camino::Utf8PathBuf;

use super::plan::Obstacle;
use super::remote;
use super::remote_state;
use super::sftp::ssh;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help, Page};
use crate::base::{fs, paths};
use crate::printable::printable;
use crate::tree::enclosing::InsideTree;
use crate::tree::open;

/// Errors from deploying a tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target is unavailable or refuses an operation.
    #[error(transparent)]
    Remote(remote::Error),
    /// The connection was lost too often.
    #[error("the connection to `{host}` was lost {times}{at}{words}")]
    Lost {
        /// Server.
        host: String,
        /// Number of losses, as a phrase.
        times: String,
        /// Transfer that was interrupted, as a phrase.
        at: String,
        /// Output of ssh.
        words: String,
    },
    /// Files of others are at paths that the tree needs.
    #[error("`{target}` has files that somebody else put there or changed, and deploying would replace them: {files}")]
    UnmanagedFiles {
        /// Target.
        target: String,
        /// Paths of the files.
        files: String,
    },
    /// The manifest at the target was not written by this tool.
    #[error("the `{}` in `{target}` was not written by this tool: {reason}", paths::MANIFEST)]
    ForeignManifest {
        /// Target.
        target: String,
        /// Reason why the manifest is not accepted.
        reason: String,
    },
    /// Something that is not replaced is at a path that the tree needs.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
    /// The file at the target differs from what was sent.
    #[error("`{path}` differed twice when it was read back")]
    ReadBackMismatch {
        /// File.
        path: Utf8PathBuf,
        /// Target.
        target: String,
    },
    /// The tree changed during the deployment.
    #[error(transparent)]
    Changed(#[from] open::Changed),
    /// The paths of the tree are so long that no later deployment would accept its manifest.
    #[error(
        "the paths of `{tree}` have more than {most} bytes with their folders",
        tree = printable(.0),
        most = remote_state::MAX_PATHS
    )]
    TooLong(Utf8PathBuf),
    /// The target is the tree, or a folder in it.
    #[error("`{0}` is the tree itself, or in it")]
    TargetIsTree(Utf8PathBuf),
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(fs::Error),
    /// Another deployment changes the target at the same time.
    #[error("`{0}` is being changed by another deployment")]
    ConcurrentDeploy(String),
    /// The target is in another published tree.
    #[error(transparent)]
    Inside(#[from] InsideTree),
    /// The user interrupted the deployment.
    #[error("interrupted")]
    Cancelled,
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Remote(error) => error.diagnosis(),
            Self::Lost { host, .. } => Class::Unavailable.about(host).help(Help::Resume),
            Self::UnmanagedFiles { target, .. } => {
                Class::Failure.about(target).help("move them away").help(Flag::Replace).page(Page::Deploy)
            }
            Self::ForeignManifest { target, .. } => {
                Class::Failure.about(target).help("choose another folder").help(Flag::Replace).page(Page::Deploy)
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
