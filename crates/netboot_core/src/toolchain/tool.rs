//! Tools found on the host with the files that identify them, and errors from finding them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;
use crate::base::process::find_program;
use crate::digest::Sha256Digest;

/// A program or library found on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The name, for example `gcc`.
    pub name: String,
    /// The version that the tool reports.
    pub version: String,
    /// The SHA-256 of the file that determines the tool's behaviour: the compiler itself, not its driver.
    pub sha256: Sha256Digest,
    /// The package that owns this file, by name and version, if the system can tell.
    pub package: Option<String>,
    /// The examined files, to detect a change in any of them.
    pub(super) files: Vec<Fingerprint>,
}

/// A file in the state in which it was examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    pub(super) path: Utf8PathBuf,
    /// Whether it was found by name in `PATH`, where a different file can come to precede it.
    looked_up: bool,
    pub(super) sha256: Sha256Digest,
    size: u64,
    modified: i64,
    modified_nanos: i64,
    inode: u64,
}

impl Tool {
    /// Returns all examined files by name, each with its SHA-256.
    #[must_use]
    pub fn programs(&self) -> BTreeMap<String, Sha256Digest> {
        let name = |file: &Fingerprint| file.path.file_name().unwrap_or_default().to_owned();
        self.files.iter().map(|file| (name(file), file.sha256)).collect()
    }

    /// Returns what a digest of the tool contains: its name, version and contents, and not their paths.
    pub(super) fn lines(&self) -> String {
        let files: String = self.files.iter().map(|file| format!("{}\n", file.sha256)).collect();
        format!("{} {} {}\n{files}", self.name, self.version, self.sha256)
    }

    /// Returns a digest of the tool's version and contents.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.lines().as_bytes())
    }

    /// Returns the file that determines the tool's behaviour.
    #[must_use]
    pub fn file(&self) -> &Utf8Path {
        self.files.first().map_or(Utf8Path::new(""), |file| &file.path)
    }
}

impl Fingerprint {
    /// Examines the file at `path`; `search` is a list of folders like `PATH`.
    pub(super) fn of(path: &Utf8Path, search: &str) -> Option<Self> {
        Some(Self { sha256: fs::sha256(path).ok()?.0, ..Self::glance(path, search)? })
    }

    /// Checks whether the file is unchanged, without reading its content.
    pub(super) fn is_as_it_was(&self, search: &str) -> bool {
        Self::glance(&self.path, search).is_some_and(|now| Self { sha256: self.sha256, ..now } == *self)
    }

    /// Examines the file without reading its content.
    fn glance(path: &Utf8Path, search: &str) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        Some(Self {
            path: path.to_owned(),
            looked_up: find_program(path.file_name()?, search).as_deref() == Some(path),
            sha256: Sha256Digest::of(b""),
            size: metadata.len(),
            modified: metadata.mtime(),
            modified_nanos: metadata.mtime_nsec(),
            inode: metadata.ino(),
        })
    }
}

/// Errors from finding a toolchain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is missing or unsuitable.
    #[error("found no usable {}", missing.join("\nfound no usable "))]
    Missing {
        /// Each missing tool with its purpose and the problem.
        missing: Vec<String>,
        /// Remedies that install it.
        install: Vec<String>,
    },
    /// The cache is on a file system that cannot run programs.
    #[error(
        "the cache `{0}` is on a file system that runs no programs (mounted `noexec`), and builds run their own there"
    )]
    NotExecutable(Utf8PathBuf),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The cache cannot be used.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Missing { install, .. } => {
                let help = install.iter().map(|line| Help::from(line.as_str())).chain([Flag::InstallDeps.into()]);
                Diagnosis { help: help.collect(), ..Class::MissingTool.into() }
            }
            Self::NotExecutable(cache) => {
                Class::Failure.about(cache).help(Flag::CacheDir).help("mount that file system without `noexec`")
            }
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}
