//! The bare git cache: brings a commit in from any git URL or local path; and the one way to look
//! at a repository with its history.

use std::io::Write;

use camino::Utf8Path;
use git2::{AutotagOption, FetchOptions, Oid, Remote, RemoteCallbacks, Repository};

use super::http::Http;
use super::transport::{prepare, with_http};
use crate::choices::pins::IpxePin;
use crate::digest::{CommitId, Sha256Digest};
use crate::fs;
use crate::printable::printable;
use crate::progress::{Kind, Progress, Task};

/// Why a commit cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The remote cannot be reached or does not speak git.
    #[error(
        "cannot fetch from `{url}`: {}\nhint: check the address, or give a mirror or a local clone with `--ipxe-url`",
        printable(reason)
    )]
    Fetch {
        /// The remote.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The remote has no such commit.
    #[error(
        "`{url}` does not have the pinned commit {commit}\nhint: bring the mirror up to date with `git fetch --tags`, or give another one with `--ipxe-url`"
    )]
    NoCommit {
        /// The remote.
        url: String,
        /// The commit.
        commit: CommitId,
    },
    /// The user asked to stop.
    #[error("cannot fetch from `{url}`: interrupted")]
    Cancelled {
        /// The remote.
        url: String,
    },
    /// The cache is damaged.
    #[error("cannot use the git cache `{path}`: {reason}\nhint: {}", cache_remedy(path, reason))]
    Cache {
        /// The repository.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

fn cache_remedy(path: &str, reason: &str) -> String {
    if reason.contains("No space left on device") {
        format!("free space on the file system of `{path}`, or choose another one with `--cache-dir`")
    } else {
        "delete that folder; it is fetched anew".into()
    }
}

/// Opens the bare repository at `path`, which is made when there is none.
///
/// # Errors
///
/// [`Error::Cache`] where there is something else.
pub fn open(path: &Utf8Path) -> Result<Repository, Error> {
    prepare();
    if !path.exists() {
        // Made under another name first: a kill must not leave half a repository.
        let partial = path.with_extension("partial");
        fs::remove_dir_all(&partial)?;
        Repository::init_bare(&partial).map_err(|error| cache_error(path, &error))?;
        fs::rename(&partial, path)?;
    }
    Repository::open_bare(path).map_err(|error| cache_error(path, &error))
}

/// What libgit2 says of the repository at `path`, as an error of the cache.
pub(super) fn cache_error(path: &Utf8Path, error: &git2::Error) -> Error {
    Error::Cache { path: path.to_string(), reason: error.message().to_owned() }
}

/// Whether `repository` has `commit`.
#[must_use]
pub fn has(repository: &Repository, commit: &CommitId) -> bool {
    Oid::from_bytes(commit.as_bytes()).is_ok_and(|oid| repository.find_commit(oid).is_ok())
}

/// Brings `commit` from `url`, a git URL or a local path, into `repository`, without its history
/// where that can be had.
///
/// # Errors
///
/// [`Error::Fetch`] where the remote fails, [`Error::NoCommit`] where it works but has no such commit,
/// [`Error::Cancelled`].
pub fn fetch(
    repository: &Repository,
    url: &str,
    http: Option<&Http>,
    pin: &IpxePin,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let commit = &pin.commit;
    refuse_ssh(url)?;
    let mut task = Task::start(progress, Kind::Clone, url, None);
    let fetched = match local_path(url) {
        Some(path) => copy(repository, path, commit, &mut task),
        None => Fetcher { repository, url, http, progress }.fetch(pin, &mut task),
    };
    if has(repository, commit) {
        task.finish(format!("commit {commit}"));
        return Ok(());
    }
    Err(match fetched {
        Err(error) => failed(url, &error, progress),
        Ok(()) => Error::NoCommit { url: url.into(), commit: *commit },
    })
}

fn refuse_ssh(url: &str) -> Result<(), Error> {
    if url.starts_with("ssh://") || (local_path(url).is_none() && !url.contains("://")) {
        return Err(Error::Fetch { url: url.into(), reason: "ssh is not spoken here".into() });
    }
    Ok(())
}

fn failed(url: &str, error: &git2::Error, progress: &dyn Progress) -> Error {
    if progress.cancelled() {
        return Error::Cancelled { url: url.into() };
    }
    Error::Fetch { url: url.into(), reason: error.message().to_owned() }
}

/// Full names of branches and tags, sorted, and what they lead to: a commit, or a tag that leads to one.
pub type Refs = Vec<(String, Oid)>;

/// A repository with its history, and where its branches and tags lead.
pub struct Upstream {
    /// Has all that they lead to.
    pub repository: Repository,
    /// The branches and tags.
    pub refs: Refs,
    /// The full name of the default branch, where there is one.
    pub head: Option<String>,
}

/// Opens the repository that the local path `url` means, or brings all branches and tags of the git
/// URL `url` with their history into the bare repository at `scratch`, which may be that of another
/// URL already.
///
/// # Errors
///
/// As [`fetch`].
pub fn upstream(
    scratch: &Utf8Path,
    url: &str,
    http: Option<&Http>,
    progress: &dyn Progress,
) -> Result<Upstream, Error> {
    refuse_ssh(url)?;
    prepare();
    if let Some(path) = local_path(url) {
        return open_local(path).map_err(|error| failed(url, &error, progress));
    }
    let repository = open(scratch)?;
    let mut task = Task::start(progress, Kind::Clone, url, None);
    let own = format!("refs/mirror/{}/", Sha256Digest::of(url.as_bytes()).short());
    let fetched = Fetcher { repository: &repository, url, http, progress }.fetch_all(&own, &mut task);
    let (refs, head) = fetched.map_err(|error| failed(url, &error, progress))?;
    task.finish(format!("{} branches and tags", refs.len()));
    Ok(Upstream { repository, refs, head })
}

fn open_local(path: &Utf8Path) -> Result<Upstream, git2::Error> {
    let repository = Repository::open(path)?;
    let refs = branches_and_tags(&repository, "refs/")?;
    let head = repository.head().ok().and_then(|head| head.name().ok().map(str::to_owned));
    Ok(Upstream { repository, refs, head })
}

/// Where the refs below `root` lead that stand for branches and tags, with the names that these have.
fn branches_and_tags(repository: &Repository, root: &str) -> Result<Refs, git2::Error> {
    let mut refs = Vec::new();
    for reference in repository.references()? {
        let reference = reference?;
        // A name that is not UTF-8 cannot be pinned.
        let name = reference.name().ok().and_then(|name| name.strip_prefix(root)).map(|name| format!("refs/{name}"));
        let name = name.filter(|name| name.starts_with(HEADS) || name.starts_with(TAGS));
        // A branch may be another name for one that is not there.
        refs.extend(name.zip(reference.resolve().ok().and_then(|reference| reference.target())));
    }
    refs.sort_unstable();
    Ok(refs)
}

/// What the full names of branches begin with.
pub const HEADS: &str = "refs/heads/";
/// What the full names of tags begin with.
pub const TAGS: &str = "refs/tags/";

/// The path that `url` means, where it means one on this machine.
#[must_use]
pub fn local_path(url: &str) -> Option<&Utf8Path> {
    // As git reads it: what has a colon before the first slash, as in `git@host:path`, is a host.
    let host = url.contains("://") || url.split('/').next().is_some_and(|start| start.contains(':'));
    let path = url.strip_prefix("file://").or_else(|| (!host).then_some(url));
    path.map(Utf8Path::new)
}

/// Copies the commit and its tree, and not its history, out of the repository at `path`.
fn copy(repository: &Repository, path: &Utf8Path, commit: &CommitId, task: &mut Task<'_>) -> Result<(), git2::Error> {
    let source = Repository::open(path)?;
    if !has(&source, commit) {
        return Ok(());
    }
    let oid = Oid::from_bytes(commit.as_bytes())?;
    let mut builder = source.packbuilder()?;
    builder.insert_commit(oid)?;
    task.set(0, Some(builder.object_count() as u64));
    let odb = repository.odb()?;
    let mut writer = odb.packwriter()?;
    let mut broken = None;
    let packed = builder.foreach(|piece| {
        broken = writer.write_all(piece).err();
        broken.is_none()
    });
    if let Some(error) = broken {
        return Err(git2::Error::from_str(&error.to_string()));
    }
    packed?;
    task.set(builder.written() as u64, Some(builder.object_count() as u64));
    writer.commit()?;
    keep(repository, commit)
}

/// Makes sure that git keeps `commit`, whose parents are left out on purpose.
pub(super) fn keep(repository: &Repository, commit: &CommitId) -> Result<(), git2::Error> {
    let shallow = repository.path().join("shallow");
    let mut list = std::fs::read_to_string(&shallow).unwrap_or_default();
    list += &format!("{commit}\n");
    std::fs::write(&shallow, list).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let oid = Oid::from_bytes(commit.as_bytes())?;
    repository.reference(&format!("refs/pins/{commit}"), oid, true, "pinned").map(drop)
}

/// The depth that asks for all that earlier fetches left out; libgit2's `GIT_FETCH_DEPTH_UNSHALLOW`.
const UNSHALLOW: i32 = i32::MAX;

/// A fetch from a server.
struct Fetcher<'a> {
    repository: &'a Repository,
    url: &'a str,
    http: Option<&'a Http>,
    progress: &'a dyn Progress,
}

impl Fetcher<'_> {
    /// Fetches the commit first by its own name and without history; where the server does not give
    /// commits by name, by the ref that leads to it; then with all branches and tags.
    fn fetch(&self, pin: &IpxePin, task: &mut Task<'_>) -> Result<(), git2::Error> {
        let (commit, git_ref) = (&pin.commit, &pin.git_ref);
        let attempts = [
            (vec![format!("+{commit}:refs/pins/{commit}")], true),
            (vec![format!("+{git_ref}:refs/mirror/pinned")], true),
            (vec!["+refs/heads/*:refs/mirror/heads/*".into(), "+refs/tags/*:refs/mirror/tags/*".into()], false),
        ];
        let mut result = Ok(());
        for (refspecs, shallow) in attempts {
            let depth = match (shallow, self.repository.is_shallow()) {
                (true, _) => 1,
                // Without this, a server is right to think that the history is here already.
                (false, true) => UNSHALLOW,
                (false, false) => 0,
            };
            result = self.fetch_once(&refspecs, depth, task).map(drop);
            if has(self.repository, commit) || self.progress.cancelled() {
                break;
            }
        }
        result
    }

    /// Fetches all branches and tags with their history, and keeps them below `own`, where those go
    /// that the server has no more. Gives where they lead, and the default branch.
    fn fetch_all(&self, own: &str, task: &mut Task<'_>) -> Result<(Refs, Option<String>), git2::Error> {
        let refspecs = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:{own}{kind}/*"));
        let mut remote = self.fetch_once(&refspecs, 0, task)?;
        remote.prune(None)?;
        let head = remote.default_branch().ok().and_then(|name| name.as_str().ok().map(str::to_owned));
        Ok((branches_and_tags(self.repository, own)?, head))
    }

    fn fetch_once(&self, refspecs: &[String], depth: i32, task: &mut Task<'_>) -> Result<Remote<'_>, git2::Error> {
        let mut once = || {
            let mut callbacks = RemoteCallbacks::new();
            callbacks.transfer_progress(|stats| {
                task.set(stats.received_objects() as u64, Some(stats.total_objects() as u64));
                !self.progress.cancelled()
            });
            let mut options = FetchOptions::new();
            options.remote_callbacks(callbacks).download_tags(AutotagOption::None).update_fetchhead(false).depth(depth);
            let mut remote = self.repository.remote_anonymous(self.url)?;
            remote.fetch(refspecs, Some(&mut options), None)?;
            Ok(remote)
        };
        match self.http {
            Some(http) => with_http(http, || http.interruptible(self.progress, &mut once)),
            None => once(),
        }
    }
}
