//! What was found, what becomes of it, and why it cannot be told.

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

/// The most entries of folders that are listed.
pub(super) const MAX_ENTRIES: usize = 50_000;

/// The most bytes of all paths that are listed.
pub(super) const MAX_PATHS: usize = 16 << 20;

/// Errors from looking for what is unused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user asked to stop.
    #[error("interrupted; what is left is removed by the next run")]
    Cancelled,
    /// There is more than this tool ever makes.
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

/// What is looked through, and what counts as used.
pub struct CleanRequest<'a> {
    /// The cache.
    pub cache: &'a Cache,
    /// Whether others may have files in the cache's folder, so that it is left alone.
    pub shared: bool,
    /// The project.
    pub project: &'a ProjectPaths,
    /// The folder for temporary files.
    pub temporary: &'a Utf8Path,
    /// What the project pins; where that cannot be told, all sources count as needed.
    pub pins: Option<&'a Pins>,
    /// What the project builds; where that cannot be told, all bases and build trees count as needed.
    pub plan: Option<&'a Plan>,
    /// For how long something has to be unused.
    pub unused_for: Duration,
    /// The present time.
    pub now: SystemTime,
    /// Receives the question whether to stop.
    pub progress: &'a dyn Progress,
}

closed_set! {
    /// What something is.
    pub enum CacheItemKind {
        /// A base.
        Base = "base",
        /// A build tree.
        BuildTree = "build-tree",
        /// A pinned input.
        Source = "source",
        /// The history that `update` looks through.
        History = "history",
        /// What is known of a toolchain or an archive.
        Record = "record",
        /// What a killed run has left, or a rebuild that was kept.
        Leftover = "leftover",
    }
}

impl CacheItemKind {
    /// What one is called.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::BuildTree => "build tree",
            Self::Source => "source",
            Self::History => "history",
            Self::Record => "record",
            Self::Leftover => "leftover",
        }
    }
}

/// Whether something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It goes: nobody uses it.
    Unused,
    /// It stays: this project needs it.
    Needed,
    /// It stays: somebody has used it not long ago.
    Recent,
    /// It stays: it was changed within the last hour, so that a process may still be writing it.
    Changing,
    /// It stays: a process uses it now.
    Busy,
}

/// Something of this tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// What it is.
    pub kind: CacheItemKind,
    /// Where it is.
    pub path: Utf8PathBuf,
    /// How much room it takes on the disk, in bytes.
    pub bytes: u64,
    /// Whether it goes.
    pub fate: Fate,
}

/// What there is.
#[derive(Debug, Default)]
pub struct CacheScan {
    /// What this tool made, in the order of the paths.
    pub items: Vec<Item>,
    /// What somebody else put between that, and what stays.
    pub foreign: Vec<Utf8PathBuf>,
    /// Held so that nobody begins to use what is going to be removed.
    pub(super) locks: Vec<Lock>,
}

impl CacheScan {
    /// What goes.
    pub fn unused(&self) -> impl Iterator<Item = &Item> + Clone {
        self.items.iter().filter(|item| item.fate == Fate::Unused)
    }
}
