//! What publishing came to: a tree, or an error.

use camino::Utf8PathBuf;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;
use crate::loader::file_kind;
use crate::printable::{listed_names, printable};
use crate::publish::tree_contents;
use crate::tree::limits::{MAX_FILE, MAX_FILES};
use crate::tree::manifest::ManifestEntry;

/// Why a tree could not be published; the old one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else than a tree stands where the tree should go.
    #[error(
        "`{}` is not a tree of this tool: it has no manifest",
        printable(.0)
    )]
    Occupied(Utf8PathBuf),
    /// Somebody has put files into the tree.
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
    /// It cannot be told what is in the tree.
    #[error("{message}")]
    Unknown {
        /// Why.
        message: String,
        /// What would make it known.
        help: Vec<Help>,
    },
    /// A tree cannot be exchanged there.
    #[error(
        "`{shown}` is a mount point, and a tree is published by exchanging folders",
        shown = printable(.0)
    )]
    MountPoint(Utf8PathBuf),
    /// There are more files than a tree may have.
    #[error("`{}` would have {found} files, wanted {MAX_FILES} at most", printable(tree))]
    TooMany {
        /// The tree.
        tree: Utf8PathBuf,
        /// How many it would have.
        found: usize,
    },
    /// The manifest is larger than one may be.
    #[error("the manifest of `{}` would have {found} bytes, wanted {MAX_FILE} at most", printable(tree))]
    LargeManifest {
        /// The tree.
        tree: Utf8PathBuf,
        /// Its size in bytes.
        found: u64,
    },
    /// A file has no content.
    #[error(transparent)]
    Stamping(#[from] tree_contents::Error),
    /// A file is not what its name says.
    #[error("`{path}` does not belong in a tree: {mismatch}")]
    Unfit {
        /// Its path in the tree.
        path: Utf8PathBuf,
        /// What is wrong.
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

/// What publishing came to.
#[derive(Debug, Default)]
pub struct Published {
    /// Whether the tree is new; else it was there already, whole.
    pub new: bool,
    /// How many files it has besides the manifest and the checksums.
    pub files: usize,
    /// What they have together, in bytes.
    pub bytes: u64,
    /// How many loaders were stamped now.
    pub stamped: usize,
    /// How many loaders were there already, from an earlier run.
    pub kept: usize,
    /// How many files have the content of another one, and are hard links to it.
    pub same: usize,
    /// The files that are no site's.
    pub root: Vec<ManifestEntry>,
}
