//! Updates the pins. This is the only stage that writes `vendor/pins.toml`, and no build runs it.

pub mod history;
pub mod ipxe;
pub mod security_hints;
pub mod syslinux;

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

/// Errors from updating the pins. The pins then stay unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pins are invalid, or cannot be rewritten.
    #[error(transparent)]
    Pins(#[from] pins_writer::Error),
    /// The run is offline, and no local repository is available.
    #[error("cannot look for updates at `{0}`: this run is offline")]
    Offline(String),
    /// Fetching the repository failed.
    #[error(transparent)]
    Git(#[from] fetch::git::Error),
    /// The repository was fetched, but its history cannot be read.
    #[error("cannot read the history of `{url}`: {reason}")]
    History {
        /// Address of the repository.
        url: String,
        /// Error message of libgit2.
        reason: String,
    },
    /// The repository has no release tag.
    #[error("`{0}` has no tag of a release, as in `v2.0.0`")]
    NoRelease(String),
    /// The repository has no such tag, branch or commit.
    #[error("`{url}` has no tag, branch or commit `{name}`")]
    UnknownRef {
        /// Address of the repository.
        url: String,
        /// Requested tag, branch or commit.
        name: String,
        /// Newest release tag.
        newest: Option<String>,
    },
    /// A ref leads to something else than a commit.
    #[error("`{git_ref}` of `{url}` leads to a tree or a file, wanted a commit")]
    NoCommit {
        /// Address of the repository.
        url: String,
        /// The ref.
        git_ref: String,
    },
    /// Several commits begin with the given digits.
    #[error(
        "`{name}` is ambiguous: {} of `{url}` begin with it\n  {}",
        count(*number, "commit"),
        commits.join("\n  ")
    )]
    Ambiguous {
        /// Address of the repository.
        url: String,
        /// Requested abbreviation.
        name: String,
        /// Number of matching commits.
        number: usize,
        /// The first matching commits with their subjects.
        commits: Vec<String>,
    },
    /// A tag or a branch is called like the abbreviation of another commit.
    #[error("`{name}` is ambiguous: it is `{git_ref}` of `{url}`, and the beginning of\n  {}", commits.join("\n  "))]
    NameOrCommit {
        /// Address of the repository.
        url: String,
        /// Requested name or abbreviation.
        name: String,
        /// Full name of the tag or branch.
        git_ref: String,
        /// The first such commits with their subjects.
        commits: Vec<String>,
    },
    /// The commit does not exist, or no ref contains it.
    #[error("no tag and no branch of `{url}` leads to the commit {commit}")]
    UnknownCommit {
        /// Address of the repository.
        url: String,
        /// Requested commit.
        commit: CommitId,
    },
    /// The newest release is older than the pinned version.
    #[error("the newest release of `{url}` is `{tag}`, and the pinned {pinned} is newer")]
    Older {
        /// Address of the repository.
        url: String,
        /// Tag of the newest release.
        tag: String,
        /// Pinned version.
        pinned: String,
    },
    /// The commit contains something that a build cannot use.
    #[error("the commit {commit} cannot be pinned: {reason}")]
    Unfit {
        /// Rejected commit.
        commit: CommitId,
        /// Reason for the rejection.
        reason: String,
    },
    /// The new pin failed verification.
    #[error(transparent)]
    Ipxe(#[from] fetch::ipxe::Error),
    /// `--to` was given without an archive.
    #[error("a syslinux version has no files to pin without its release archive")]
    NoArchive,
    /// The text is not a version.
    #[error("found `{0}`, wanted a version of syslinux")]
    BadVersion(String),
    /// The archive is unavailable or unusable.
    #[error(transparent)]
    Syslinux(#[from] fetch::syslinux::Error),
    /// The user cancelled the run.
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
            Self::NoRelease(url) | Self::NoCommit { url, .. } => Class::Unavailable.about(url).help(Flag::To),
            Self::UnknownRef { url, newest, .. } => {
                let diagnosis = Class::Unavailable.about(url).help(Flag::To);
                match newest {
                    Some(tag) => diagnosis.help(Help::WithValue(Flag::To, tag.clone())),
                    None => diagnosis,
                }
            }
            Self::Ambiguous { url, .. } => Class::Unavailable.about(url).help("give more digits of the commit"),
            Self::NameOrCommit { url, git_ref, .. } => Class::Unavailable
                .about(url)
                .help("give more digits of the commit")
                .help(Help::WithValue(Flag::To, git_ref.clone())),
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

/// Parameters of an update.
pub struct UpdateRequest<'a> {
    /// Project whose pins to update.
    pub project: &'a ProjectPaths,
    /// Cache. It contains the new inputs afterwards.
    pub cache: &'a Cache,
    /// Permitted origins of inputs.
    pub origins: &'a Origins,
    /// Version, tag, branch or commit to pin; `None` for the newest release.
    pub to: Option<&'a str>,
    /// Whether to leave the pins unchanged.
    pub dry_run: bool,
}

/// Pins of a project, locked for a change.
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

    /// Returns the content of the file with `pins`.
    fn rewrite(&self, pins: &Pins) -> Result<String, Error> {
        Ok(rewrite(&self.name, &self.text, pins)?)
    }

    /// Writes `text` unless it equals the current content or the run is dry.
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
