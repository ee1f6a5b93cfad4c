//! Items of a scan, their fates, and errors.

use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::base::closed_set::closed_set;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::fs::{self, Lock};
use crate::base::paths::{Cache, ProjectPaths};
use crate::base::progress::Progress;
use crate::build::plan::Plan;
use crate::config::pins::Pins;
use crate::printable::printable;

/// Maximum number of folder entries to list.
pub(super) const MAX_ENTRIES: usize = 50_000;

/// Maximum length of all listed paths together, in bytes.
pub(super) const MAX_PATHS: usize = 16 << 20;

/// Errors from searching for unused files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user cancelled the run.
    #[error("interrupted; what is left is removed by the next run")]
    Cancelled,
    /// There are more entries than this tool ever creates.
    #[error(
        "`{}` has too many entries: wanted {MAX_ENTRIES} entries at most, with paths of {MAX_PATHS} bytes, in all that is \
         looked through",
        printable(.0)
    )]
    TooMuch(Utf8PathBuf),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Cancelled => Class::Interrupted.into(),
            Self::TooMuch(folder) => Class::Failure
                .about(folder)
                .help("remove by hand what you do not need of it, and run the command again"),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Scope of a scan, and the criteria for use.
pub struct CleanRequest<'a> {
    /// Cache.
    pub cache: &'a Cache,
    /// Whether the cache's folder may contain files of other programs. It is then skipped.
    pub shared: bool,
    /// Project.
    pub project: &'a ProjectPaths,
    /// Folder for temporary files.
    pub temporary: &'a Utf8Path,
    /// Pins of the project. If `None` because they are unknown, all sources count as needed.
    pub pins: Option<&'a Pins>,
    /// Build plan of the project. If `None` because it is unknown, all bases, programs and build trees count as needed.
    pub plan: Option<&'a Plan>,
    /// Minimum time since the last use.
    pub unused_for: Duration,
    /// Current time.
    pub now: SystemTime,
    /// Reports whether the user cancelled the run.
    pub progress: &'a dyn Progress,
}

closed_set! {
    /// Kind of an item.
    pub enum CacheItemKind {
        /// Base.
        Base = "base",
        /// iPXE for Linux, for rehearsals.
        Program = "program",
        /// Build tree.
        BuildTree = "build-tree",
        /// Pinned input.
        Source = "source",
        /// History that `update` searches.
        History = "history",
        /// Recorded information about a toolchain or an archive.
        Record = "record",
        /// Remains of a killed run, or a rebuild that was kept.
        Leftover = "leftover",
    }
}

impl CacheItemKind {
    /// Returns the noun for an item of this kind.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Program => "program",
            Self::BuildTree => "build tree",
            Self::Source => "source",
            Self::History => "history",
            Self::Record => "record",
            Self::Leftover => "leftover",
        }
    }
}

/// Fate of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Removed: unused.
    Unused,
    /// Kept: this project needs it.
    Needed,
    /// Kept: it was used recently.
    Recent,
    /// Kept: it changed within the last hour, so a process may still be writing it.
    Changing,
    /// Kept: a process is using it.
    Busy,
}

/// A file or folder of this tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// Kind of the item.
    pub kind: CacheItemKind,
    /// Path of the item.
    pub path: Utf8PathBuf,
    /// Disk usage in bytes.
    pub bytes: u64,
    /// Fate of the item.
    pub fate: Fate,
}

/// Result of a scan.
#[derive(Debug, Default)]
pub struct CacheScan {
    /// Files and folders of this tool, sorted by path.
    pub items: Vec<Item>,
    /// Files and folders of other programs between them. They are kept.
    pub foreign: Vec<Utf8PathBuf>,
    /// Locks that prevent other processes from starting to use the items to be removed.
    pub(super) locks: Vec<Lock>,
}

impl CacheScan {
    /// Returns the items to be removed.
    pub fn unused(&self) -> impl Iterator<Item = &Item> + Clone {
        self.items.iter().filter(|item| item.fate == Fate::Unused)
    }
}
