//! Moves the pins: the only stage that writes `vendor/pins.toml`, and no build runs it.

pub mod history;
pub mod ipxe;
pub mod security_hints;
pub mod syslinux;
pub mod version;

use camino::Utf8PathBuf;

use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Diagnostics, Flag, Help};
use crate::base::fs::{self, Lock};
use crate::base::paths::{Cache, ProjectPaths};
use crate::base::plural::count;
use crate::base::progress::Progress;
use crate::config::pins::Pins;
use crate::config::pins_writer::{self, rewrite};
use crate::digest::CommitId;
use crate::fetch;
use crate::fetch::origins::Origins;

/// Why the pins stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins are wrong, or cannot be rewritten.
    #[error(transparent)]
    Pins(#[from] pins_writer::Error),
    /// Offline, and no repository is at hand.
    #[error("cannot look for updates at `{0}`: this run is offline")]
    Offline(String),
    /// The repository cannot be had.
    #[error(transparent)]
    Git(#[from] fetch::git::Error),
    /// The repository can be had, but not be read.
    #[error("cannot read the history of `{url}`: {reason}")]
    History {
        /// The repository.
        url: String,
        /// What libgit2 says.
        reason: String,
    },
    /// There is no tag that a release would have.
    #[error("`{0}` has no tag of a release, as in `v2.0.0`")]
    NoRelease(String),
    /// There is no such tag, branch or commit.
    #[error("`{url}` has no tag, branch or commit `{name}`")]
    UnknownRef {
        /// The repository.
        url: String,
        /// What was asked for.
        name: String,
        /// The newest tag of a release.
        newest: Option<String>,
    },
    /// Several commits begin so.
    #[error(
        "`{name}` is ambiguous: {} of `{url}` begin with it\n  {}",
        count(*number, "commit"),
        commits.join("\n  ")
    )]
    Ambiguous {
        /// The repository.
        url: String,
        /// What was asked for.
        name: String,
        /// How many there are.
        number: usize,
        /// The first of them, with their subjects.
        commits: Vec<String>,
    },
    /// There is no such commit, or nothing leads to it.
    #[error("no tag and no branch of `{url}` leads to the commit {commit}")]
    UnknownCommit {
        /// The repository.
        url: String,
        /// What was asked for.
        commit: CommitId,
    },
    /// The newest release is older than what is pinned.
    #[error("the newest release of `{url}` is `{tag}`, and the pinned {pinned} is newer")]
    Older {
        /// The repository.
        url: String,
        /// The tag.
        tag: String,
        /// The version of the pin.
        pinned: String,
    },
    /// The commit has something that no build can take.
    #[error("the commit {commit} cannot be pinned: {reason}")]
    Unfit {
        /// The commit.
        commit: CommitId,
        /// What is wrong with it.
        reason: String,
    },
    /// The new pin does not hold.
    #[error(transparent)]
    Ipxe(#[from] fetch::ipxe::Error),
    /// `--to` without an archive.
    #[error("a syslinux version has no files to pin without its release archive")]
    NoArchive,
    /// No version.
    #[error("found `{0}`, wanted a version of syslinux")]
    BadVersion(String),
    /// The archive cannot be had, or not be used.
    #[error(transparent)]
    Syslinux(#[from] fetch::syslinux::Error),
    /// The user asked to stop.
    #[error("interrupted; the pins are as they were")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Pins(error) => error.diagnosis(),
            Self::Offline(url) => Class::Unavailable.about(url).help(Flag::IpxeUrl),
            Self::Git(error) => error.diagnosis(),
            Self::History { url, .. } => {
                Class::Failure.about(url).help("check the repository with `git fsck`").help(Flag::IpxeUrl)
            }
            Self::NoRelease(url) => Class::Unavailable.about(url).help(Flag::To),
            Self::UnknownRef { url, newest, .. } => {
                let diagnosis = Class::Unavailable.about(url).help(Flag::To);
                match newest {
                    Some(tag) => diagnosis.help(Help::WithValue(Flag::To, tag.clone())),
                    None => diagnosis,
                }
            }
            Self::Ambiguous { url, .. } => Class::Unavailable.about(url).help("give more digits of the commit"),
            Self::UnknownCommit { url, .. } => {
                Class::Unavailable.about(url).help(Flag::IpxeUrl).help("make a branch there that leads to it")
            }
            Self::Older { url, tag, .. } => {
                Class::Failure.about(url).help(Help::WithValue(Flag::To, tag.clone())).help(Flag::To)
            }
            Self::Unfit { commit, .. } => Class::Failure.about(commit).help(Flag::To),
            Self::Ipxe(error) => error.diagnosis(),
            Self::NoArchive => Class::BadInput.about("syslinux").help(Flag::SyslinuxArchive),
            Self::BadVersion(version) => Class::BadInput.about(version).help("write it as in `6.03`"),
            Self::Syslinux(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl From<Diagnostics> for Error {
    fn from(findings: Diagnostics) -> Self {
        Self::Pins(findings.into())
    }
}

/// With what to update.
pub struct UpdateRequest<'a> {
    /// Whose pins.
    pub project: &'a ProjectPaths,
    /// The cache; what is new is in it afterwards.
    pub cache: &'a Cache,
    /// Where inputs may come from.
    pub origins: &'a Origins,
    /// What to pin; the newest release otherwise.
    pub to: Option<&'a str>,
    /// Whether to leave the pins alone.
    pub dry_run: bool,
}

/// The pins of a project, held for a change.
struct LockedPins {
    path: Utf8PathBuf,
    name: Utf8PathBuf,
    text: String,
    pins: Pins,
    _lock: Lock,
}

impl LockedPins {
    fn acquire(request: &UpdateRequest<'_>, progress: &dyn Progress) -> Result<Self, Error> {
        let lock = Lock::acquire(&request.cache.lock("fetch"), progress)?.ok_or(Error::Cancelled)?;
        let path = request.project.pins();
        let name = path.strip_prefix(request.project.root()).unwrap_or(&path).to_owned();
        let path = fs::resolve(&path)?;
        let content = fs::read_text(&path)?;
        let text = String::from_utf8(content).map_err(|_| pins_writer::Error::Layout(name.clone()))?;
        let pins = Pins::parse(&name, &text)?;
        Ok(Self { path, name, text, pins, _lock: lock })
    }

    /// What the file would be with `pins`.
    fn rewrite(&self, pins: &Pins) -> Result<String, Error> {
        Ok(rewrite(&self.name, &self.text, pins)?)
    }

    /// Writes `text`, where that changes anything and is wanted.
    fn write(&self, text: &str, request: &UpdateRequest<'_>, progress: &dyn Progress) -> Result<(), Error> {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        if request.dry_run || text == self.text {
            return Ok(());
        }
        Ok(fs::write_atomic(&self.path, text.as_bytes())?)
    }
}
