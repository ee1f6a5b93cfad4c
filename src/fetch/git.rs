//! The bare git cache: fetches a commit from any git URL or local path, and opens repositories with their history.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{Oid, Repository, RepositoryOpenFlags};
use percent_encoding::percent_decode_str;

pub(crate) use super::git_fetch::parents_of;
use super::git_fetch::{Fetcher, GitWant, check_objects, explain, packs, remove_new_packs};
pub use super::git_fetch::{GitFailure, has};
use super::git_files;
use super::git_helper::{self, GitJob};
use super::git_stream::MAX_REFS;
use super::git_tree;
use super::transport::init_libgit2;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Page};
use crate::base::fs;
use crate::base::http::HttpClient;
use crate::base::parallel::detached_on_cancel;
use crate::base::plural::choose;
use crate::base::progress::{Progress, Silent, Task, TaskKind};
use crate::base::url::Url;
use crate::config::pins::IpxePin;
use crate::digest::{CommitId, Sha256Digest};
use crate::printable::{is_harmful, printable};

/// Errors from fetching a commit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The remote is unreachable or does not speak git.
    #[error("cannot fetch from `{url}`: {}", printable(&failure.reason))]
    Fetch {
        /// The remote.
        url: String,
        /// What went wrong.
        failure: GitFailure,
    },
    /// The remote has no such commit.
    #[error("`{url}` does not have the pinned commit {commit}")]
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
    #[error("cannot use the git cache `{path}`: {reason}")]
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

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Fetch { url, failure } => Class::Unavailable
                .about(url)
                .help(failure.check())
                .help(Flag::IpxeUrl)
                .page(failure.is_of_network.then_some(Page::ClosedNetwork)),
            Self::NoCommit { url, .. } => Class::Unavailable
                .about(url)
                .help("bring the mirror up to date with `git fetch`, tags included")
                .help(Flag::IpxeUrl),
            Self::Cancelled { url } => Class::Interrupted.about(url),
            Self::Cache { path, reason } => of_cache(path, reason),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

fn of_cache(path: &str, reason: &str) -> Diagnosis {
    let (diagnosis, says) =
        (Class::Failure.about(path), |words: &[&str]| words.iter().any(|word| reason.contains(word)));
    if says(&["No space left on device", "Disk quota exceeded"]) {
        diagnosis.help(format!("free space on the file system of `{path}`")).help(Flag::CacheDir)
    } else if says(&["Permission denied", "Read-only file system"]) {
        diagnosis.help(format!("let this user write below `{path}`")).help(Flag::CacheDir)
    } else {
        diagnosis.help("delete that folder: it is fetched again")
    }
}

/// Opens the bare repository at `path`, and creates it if it does not exist.
///
/// # Errors
///
/// [`Error::Cache`] if `path` is something else.
pub fn open(path: &Utf8Path) -> Result<Repository, Error> {
    init_libgit2();
    if !fs::exists(path)? {
        // Created under another name first, so that a kill cannot leave half a repository.
        let partial = path.with_extension("partial");
        fs::remove_dir_all(&partial)?;
        Repository::init_bare(&partial).map_err(|error| cache_error(path, &error))?;
        fs::rename(&partial, path)?;
    }
    git_files::check(path).map_err(|reason| Error::Cache { path: path.to_string(), reason })?;
    Repository::open_bare(path).map_err(|error| cache_error(path, &error))
}

/// Converts a libgit2 error about the repository at `path` into a cache error.
pub(super) fn cache_error(path: &Utf8Path, error: &git2::Error) -> Error {
    Error::Cache { path: path.to_string(), reason: error.message().to_owned() }
}

/// Fetches the commit of `pin` from `url`, a git URL or a local path, into `repository`; without its history if the
/// server supports that.
///
/// # Errors
///
/// [`Error::Fetch`] if the remote fails, [`Error::NoCommit`] if it works but lacks the commit, [`Error::Cancelled`].
pub fn fetch(
    repository: &Repository,
    url: &Url,
    http: Option<&HttpClient>,
    pin: &IpxePin,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let commit = &pin.commit;
    refuse_ssh(url)?;
    let mut task = Task::start(progress, TaskKind::Clone, url.to_string(), None);
    let folder = Utf8PathBuf::from(repository.path().to_string_lossy().into_owned());
    let before = packs(&folder);
    let fetched = match (local_path(url.expose()), http) {
        (Some(path), _) => {
            let (own, commit) = (repository.path().to_owned(), *commit);
            // An unusually packed repository can take long to unpack.
            let copied = detached_on_cancel(progress, move || {
                let given = open_given(&path)?;
                let copied = Repository::open_bare(own).and_then(|own| copy(&own, &given, &commit, &Silent));
                copied.map_err(|error| GitFailure::new(&error, None))
            });
            copied.unwrap_or_else(|| Err(GitFailure::new(&interrupted(), None)))
        }
        (None, None) => Err(GitFailure::from("there is no network".to_owned())),
        (None, Some(http)) => {
            let wanted = GitWant::Pin { commit: *commit, git_ref: pin.git_ref.clone() };
            ask(&Fetcher { repository, url, http, progress }, &wanted, &mut task).map(drop)
        }
    };
    fetched.map_err(|failure| failed(repository, url, failure, progress))?;
    if !has(repository, commit) {
        // Objects that came instead must not affect the fetch from the next server.
        remove_new_packs(&folder, &before);
        return Err(Error::NoCommit { url: url.to_string(), commit: *commit });
    }
    task.finish(format!("commit {}", &commit.to_string()[..12]));
    Ok(())
}

fn refuse_ssh(url: &Url) -> Result<(), Error> {
    let text = url.expose();
    let misspelled = url.misspelled();
    if misspelled.is_some() || text.starts_with("ssh://") || (local_path(text).is_none() && !text.contains("://")) {
        let kind = if text.contains("::") { "remote helpers of git" } else { "ssh addresses" };
        let failure = GitFailure::from(misspelled.unwrap_or_else(|| format!("{kind} are not supported")));
        return Err(Error::Fetch { url: url.to_string(), failure });
    }
    Ok(())
}

fn failed(repository: &Repository, url: &Url, failure: GitFailure, progress: &dyn Progress) -> Error {
    let failure = GitFailure { reason: url.hide_in(&failure.reason), ..failure };
    if progress.cancelled() {
        return Error::Cancelled { url: url.to_string() };
    }
    if failure.is_of_cache {
        let path = repository.path().to_string_lossy().trim_end_matches('/').to_owned();
        return Error::Cache { path, reason: failure.reason };
    }
    Error::Fetch { url: url.to_string(), failure }
}

/// Fetches `wanted`, in a separate process if the client names a program for it: such a process has less memory and can
/// be killed at any moment. Returns the default branch for [`GitWant::All`].
fn ask(fetcher: &Fetcher<'_>, wanted: &GitWant, task: &mut Task<'_>) -> Result<Option<String>, GitFailure> {
    match &fetcher.http.git_helper {
        Some(program) => {
            if fetcher.url.expose().starts_with("https://") {
                let checked = fetcher.http.check_authorities();
                checked.map_err(|error| GitFailure::new(&git2::Error::from_str(""), Some(error)))?;
            }
            let job = GitJob::new(fetcher.repository, fetcher.url, fetcher.http, wanted);
            git_helper::ask(program, &job, task, fetcher.progress)
        }
        None => fetcher.fetch(wanted, task),
    }
}

/// Maximum number of pack files, two for each pack, in a history before it is fetched anew.
const MAX_OWN_FILES: usize = 24;

/// Full names of branches and tags, sorted, with their targets: a commit, or a tag that leads to one.
pub type Refs = Vec<(String, Oid)>;

/// A repository with its history, branches and tags.
pub struct UpstreamHistory {
    /// The repository; it has everything that `refs` lead to.
    pub repository: Repository,
    /// The branches and tags.
    pub refs: Refs,
    /// Full name of the default branch, if there is one.
    pub head: Option<String>,
}

/// Opens the repository at the local path `url`, or fetches all branches and tags of the git URL `url`, with their
/// history, into the bare repository at `scratch`. `scratch` may already hold the refs of another URL.
///
/// # Errors
///
/// As [`fetch`].
pub fn upstream(
    scratch: &Utf8Path,
    url: &Url,
    http: Option<&HttpClient>,
    progress: &dyn Progress,
) -> Result<UpstreamHistory, Error> {
    refuse_ssh(url)?;
    init_libgit2();
    if let Some(path) = local_path(url.expose()) {
        let opened = detached_on_cancel(progress, move || open_local(&path));
        return opened.unwrap_or_else(|| Err(GitFailure::new(&interrupted(), None))).map_err(|failure| {
            if progress.cancelled() {
                return Error::Cancelled { url: url.to_string() };
            }
            let failure = GitFailure { reason: url.hide_in(&failure.reason), ..failure };
            Error::Fetch { url: url.to_string(), failure }
        });
    }
    // Each fetch adds a pack, and libgit2 keeps memory for each pack.
    if http.is_some() && packs(scratch).len() > MAX_OWN_FILES {
        fs::remove_dir_all(scratch)?;
    }
    let repository = open(scratch)?;
    fs::touch(scratch);
    let mut task = Task::start(progress, TaskKind::Clone, url.to_string(), None);
    let own = format!("refs/mirror/{}/", Sha256Digest::of(url.expose().as_bytes()).short());
    let fetched = match http {
        Some(http) => {
            let fetcher = Fetcher { repository: &repository, url, http, progress };
            ask(&fetcher, &GitWant::All { own: own.clone() }, &mut task)
        }
        None => Err(GitFailure::from("there is no network".to_owned())),
    };
    let head = fetched.map_err(|failure| failed(&repository, url, failure, progress))?;
    let refs = branches_and_tags(&repository, &own).map_err(|error| cache_error(scratch, &error))?;
    task.finish(format!("{} {}", refs.len(), choose(refs.len(), "branch or tag", "branches and tags")));
    Ok(UpstreamHistory { repository, refs, head })
}

fn interrupted() -> git2::Error {
    git2::Error::from_str("interrupted")
}

/// Opens a local repository whose content is untrusted.
fn open_given(path: &Utf8Path) -> Result<Repository, GitFailure> {
    let odd = |reason: String| {
        let copy = "make a copy without that with `git clone --bare --no-local`";
        let check =
            if reason.contains("index of several packs") { format!("delete it, or {copy}") } else { copy.into() };
        GitFailure { check: Some(check), ..GitFailure::from(reason) }
    };
    let explained = |error: git2::Error| {
        let reftable = error.message().contains("extensions.refstorage");
        let check = "make a copy whose refs are files with `git clone --bare --no-local --ref-format=files`";
        GitFailure { check: reftable.then(|| check.into()), ..GitFailure::new(&error, None) }
    };
    let folder = git_files::folder(path)?;
    git_files::check(&folder).map_err(odd)?;
    // Opens exactly the folder that was checked.
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    let repository = Repository::open_ext(folder, flags, std::iter::empty::<&str>()).map_err(explained)?;
    check_objects(&repository).map_err(|error| explained(explain("it has too much", error)))?;
    Ok(repository)
}

fn open_local(path: &Utf8Path) -> Result<UpstreamHistory, GitFailure> {
    let repository = open_given(path)?;
    let refs = branches_and_tags(&repository, "refs/").map_err(|error| GitFailure::new(&error, None))?;
    let head = repository.head().ok().and_then(|head| head.name().ok().map(str::to_owned));
    Ok(UpstreamHistory { repository, refs, head })
}

/// Returns the branches and tags below the ref prefix `root` under their own names, with their targets.
fn branches_and_tags(repository: &Repository, root: &str) -> Result<Refs, git2::Error> {
    let mut refs = Vec::new();
    for reference in repository.references()? {
        let reference = reference?;
        // A name that is not UTF-8 cannot be pinned, and one with harmful characters should not be.
        let name = reference
            .name()
            .ok()
            .filter(|name| !name.contains(is_harmful))
            .and_then(|name| name.strip_prefix(root))
            .map(|name| format!("refs/{name}"));
        let name = name.filter(|name| name.starts_with(HEADS) || name.starts_with(TAGS));
        // A symbolic ref can name a branch that does not exist.
        refs.extend(name.zip(reference.resolve().ok().and_then(|reference| reference.target())));
        if refs.len() > MAX_REFS {
            return Err(git_tree::refused(&format!("it has more than {MAX_REFS} branches and tags")));
        }
    }
    refs.sort_unstable();
    Ok(refs)
}

/// Prefix of the full names of branches.
pub const HEADS: &str = "refs/heads/";
/// Prefix of the full names of tags.
pub const TAGS: &str = "refs/tags/";

/// Returns the local path that `url` denotes, or `None` if it denotes a remote. In a `file://` URL, the path is
/// percent-encoded.
#[must_use]
pub fn local_path(url: &str) -> Option<Utf8PathBuf> {
    // As in git: a colon before the first slash, as in `git@host:path`, denotes a host.
    let host = url.contains("://") || url.split('/').next().is_some_and(|start| start.contains(':'));
    let Some(path) = url.strip_prefix("file://") else { return (!host).then(|| url.into()) };
    let path = path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path);
    let decoded = percent_decode_str(path).decode_utf8().unwrap_or(path.into());
    Some(decoded.into_owned().into())
}

/// Copies the commit and its tree, without history, from `source` into `repository`. Copies object by object, because
/// libgit2 would pack them with as much memory as `source` demands.
pub(super) fn copy(
    repository: &Repository,
    source: &Repository,
    commit: &CommitId,
    progress: &dyn Progress,
) -> Result<(), git2::Error> {
    let (from, to) = (source.odb()?, repository.odb()?);
    let oid = Oid::from_bytes(commit.as_bytes())?;
    if !from.exists(oid) {
        return Ok(());
    }
    git_tree::header(&from, oid)?;
    let listed = git_tree::list(source, source.find_commit(oid)?.tree_id())?;
    let files = listed.files.iter().map(|file| file.oid);
    let objects: BTreeSet<Oid> = files.chain(listed.trees).filter(|oid| !to.exists(*oid)).collect();
    // The commit comes last, so that a repository with the commit has all of its objects.
    for oid in objects.into_iter().chain([oid]) {
        if progress.cancelled() {
            return Err(interrupted());
        }
        git_tree::header(&from, oid)?;
        let object = from.read(oid)?;
        to.write(object.kind(), object.data())?;
    }
    keep(repository, commit)
}

/// Marks `commit` as shallow, because its parents are omitted on purpose, and adds a ref so that git retains it.
fn keep(repository: &Repository, commit: &CommitId) -> Result<(), git2::Error> {
    let shallow = repository.path().join("shallow");
    let mut list = std::fs::read_to_string(&shallow).unwrap_or_default();
    list += &format!("{commit}\n");
    std::fs::write(&shallow, list).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let oid = Oid::from_bytes(commit.as_bytes())?;
    repository.reference(&format!("refs/pins/{commit}"), oid, true, "pinned").map(drop)
}
