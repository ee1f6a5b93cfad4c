//! Results of publishing: a tree, or an error.

use camino::Utf8PathBuf;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;
use crate::loader::file_kind;
use crate::printable::{listed_names, printable};
use crate::publish::tree_contents;
use crate::tree::limits::{MAX_FILE, MAX_FILES};
use crate::tree::manifest::ManifestEntry;

/// Errors from publishing a tree; the old tree is then unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target path has something other than a tree.
    #[error(
        "`{}` is not a tree of this tool: it has no manifest",
        printable(.0)
    )]
    Occupied(Utf8PathBuf),
    /// The tree has foreign files.
    #[error(
        "`{}` has files that this tool did not put there, and publishing would remove them: {}",
        printable(tree),
        listed_names(files)
    )]
    Foreign {
        /// The tree.
        tree: Utf8PathBuf,
        /// The files.
        files: Vec<Utf8PathBuf>,
    },
    /// The content of the tree cannot be determined.
    #[error("{message}")]
    Unknown {
        /// The cause.
        message: String,
        /// Remedies.
        help: Vec<Help>,
    },
    /// A mount point cannot be exchanged.
    #[error(
        "`{shown}` is a mount point, and a tree is published by exchanging folders",
        shown = printable(.0)
    )]
    MountPoint(Utf8PathBuf),
    /// There are more files than a tree can have.
    #[error("`{}` would have {found} files, wanted {MAX_FILES} at most", printable(tree))]
    TooMany {
        /// The tree.
        tree: Utf8PathBuf,
        /// Number of files.
        found: usize,
    },
    /// The manifest exceeds the maximum size.
    #[error("the manifest of `{}` would have {found} bytes, wanted {MAX_FILE} at most", printable(tree))]
    LargeManifest {
        /// The tree.
        tree: Utf8PathBuf,
        /// Size of the manifest in bytes.
        found: u64,
    },
    /// Producing the content of a file failed.
    #[error(transparent)]
    Stamping(#[from] tree_contents::Error),
    /// A file is not of the kind that its name says.
    #[error("`{path}` does not belong in a tree: {mismatch}")]
    Unfit {
        /// Path of the file in the tree.
        path: Utf8PathBuf,
        /// The mismatch.
        mismatch: file_kind::Mismatch,
    },
    /// The user asked to stop.
    #[error("publishing was interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Occupied(tree) => Class::Failure.about(tree).help(Flag::Out).help("move that one away"),
            Self::Foreign { tree, .. } => Class::Failure.about(tree).help("move them away").help(Flag::Replace),
            Self::Unknown { help, .. } => Diagnosis { help: help.clone(), ..Class::Failure.into() }.help(Flag::Replace),
            Self::MountPoint(tree) => {
                Class::Failure.about(tree).help(Help::WithValue(Flag::Out, printable(&tree.join("tftp")).to_string()))
            }
            Self::TooMany { tree, .. } | Self::LargeManifest { tree, .. } => {
                Class::Failure.about(tree).help("build some of the sites to another folder")
            }
            Self::Stamping(error) => error.diagnosis(),
            Self::Unfit { path, .. } => Class::Failure.about(path).help("check its pin"),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Result of publishing.
#[derive(Debug, Default)]
pub struct Published {
    /// Whether the tree is new; otherwise it existed already, complete.
    pub new: bool,
    /// Number of files, without the manifest and the checksums.
    pub files: usize,
    /// Total size of the files in bytes.
    pub bytes: u64,
    /// Number of loaders and boot media made in this run.
    pub stamped: usize,
    /// Number of loaders and boot media reused from an earlier run.
    pub kept: usize,
    /// Number of files with the content of another file, as hard links to it.
    pub same: usize,
    /// Files that do not belong to a site.
    pub root: Vec<ManifestEntry>,
}
