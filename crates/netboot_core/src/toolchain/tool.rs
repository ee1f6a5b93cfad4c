//! A tool that was found, with the files that it is known by; and why there is none.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Help};
use crate::base::fs;
use crate::base::process::find_program;
use crate::digest::Sha256Digest;

/// A program or library that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name, as in `gcc`.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// The SHA-256 of the file that decides what it does: a compiler's own, not its driver's.
    pub sha256: Sha256Digest,
    /// The package that this file came with, by name and version, where the system can tell.
    pub package: Option<String>,
    /// The files that were looked at, so that a change of any of them is noticed.
    pub(super) files: Vec<Fingerprint>,
}

/// A file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    pub(super) path: Utf8PathBuf,
    /// Whether it was found by its name in `PATH`, where another one may come to stand before it.
    looked_up: bool,
    pub(super) sha256: Sha256Digest,
    size: u64,
    modified: i64,
    modified_nanos: i64,
    inode: u64,
}

impl Tool {
    /// All files that were looked at, by name, each with its SHA-256.
    #[must_use]
    pub fn programs(&self) -> BTreeMap<String, Sha256Digest> {
        let name = |file: &Fingerprint| file.path.file_name().unwrap_or_default().to_owned();
        self.files.iter().map(|file| (name(file), file.sha256)).collect()
    }

    /// The file that decides what it does.
    #[must_use]
    pub fn file(&self) -> &Utf8Path {
        self.files.first().map_or(Utf8Path::new(""), |file| &file.path)
    }
}

impl Fingerprint {
    /// That of the file at `path` now; `search` is a list of folders as in `PATH`.
    pub(super) fn of(path: &Utf8Path, search: &str) -> Option<Self> {
        Some(Self { sha256: fs::sha256(path).ok()?.0, ..Self::glance(path, search)? })
    }

    /// Whether the file is as it was, without a look at its content.
    pub(super) fn is_as_it_was(&self, search: &str) -> bool {
        Self::glance(&self.path, search).is_some_and(|now| Self { sha256: self.sha256, ..now } == *self)
    }

    /// The same without a look at the content.
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

/// Why there is no toolchain to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is missing or unfit.
    #[error("found no usable {}", missing.join("\nfound no usable "))]
    Missing {
        /// What, for what, and why it will not do.
        missing: Vec<String>,
        /// How to install it.
        install: Vec<String>,
    },
    /// Programs in the cache cannot be run.
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
