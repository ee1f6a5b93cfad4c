//! The bare git cache: brings a commit in from any git URL or local path; and the one way to look
//! at a repository with its history.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{AutotagOption, FetchOptions, ObjectType, Oid, Remote, RemoteCallbacks, RemoteUpdateFlags, Repository};
use serde::{Deserialize, Serialize};

use super::git_helper::{self, Job};
use super::git_stream::TOO_MUCH;
use super::http::{self, Http};
use super::transport::{prepare, with_http};
use crate::choices::pins::IpxePin;
use crate::digest::{CommitId, Sha256Digest};
use crate::fs;
use crate::plural::choose;
use crate::printable::{is_harmful, printable};
use crate::progress::{Kind, Progress, Task};
use crate::url::Url;

/// Why a commit cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The remote cannot be reached or does not speak git.
    #[error("cannot fetch from `{url}`: {}\nhint: {}, or give a mirror or a local clone with `--ipxe-url`", printable(&failure.reason), failure.check())]
    Fetch {
        /// The remote.
        url: String,
        /// What went wrong.
        failure: Failure,
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
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["No space left on device", "Disk quota exceeded"]) {
        format!("free space on the file system of `{path}`, or choose another one with `--cache-dir`")
    } else if says(&["Permission denied", "Read-only file system"]) {
        format!("let this user write below `{path}`, or choose another folder with `--cache-dir`")
    } else {
        "delete that folder; it is fetched anew".into()
    }
}

/// Why a fetch failed, in words that can go from one process to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub reason: String,
    /// What a person should check, where that is not the address.
    pub check: Option<String>,
    /// Whether it is the cache's fault, not the server's.
    pub is_of_cache: bool,
}

impl Failure {
    fn check(&self) -> &str {
        self.check.as_deref().unwrap_or("check the address")
    }

    /// What libgit2 says, and why there was no answer, where that is known.
    pub(super) fn new(error: &git2::Error, cause: Option<http::Error>) -> Self {
        if let Some(cause) = cause {
            return Self { reason: cause.to_string(), check: cause.hint(), is_of_cache: false };
        }
        Self::from(match error.message() {
            // libgit2 has no words for a packet that is none.
            "" | "no error" => "what the server sends is not git's protocol".to_owned(),
            message => message.to_owned(),
        })
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        // libgit2 adds the words of the system's error to its own, as in "cannot extend packfile 'x': No space left".
        const OF_FILES: [&str; 4] =
            ["No space left on device", "Disk quota exceeded", "Permission denied", "Read-only file system"];
        // A server can say the same words, and does not decide whose fault it is.
        let is_of_cache = OF_FILES.iter().any(|words| reason.ends_with(words)) && !reason.starts_with("remote error");
        let reason = if reason.eq_ignore_ascii_case("out of memory") { TOO_MUCH_MEMORY.into() } else { reason };
        Self { reason, check: None, is_of_cache }
    }
}

/// What is said of a server that makes libgit2 take too much memory.
pub(super) const TOO_MUCH_MEMORY: &str = "what the server sends takes more than 192 MiB of memory";

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
    // libgit2 would wait for a pipe.
    if let Some((odd, _)) = fs::walk(path)?.into_iter().find(|(_, kind)| *kind != fs::EntryKind::File) {
        return Err(Error::Cache {
            path: path.to_string(),
            reason: format!("`{}` is no regular file", printable(&odd)),
        });
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
    url: &Url,
    http: Option<&Http>,
    pin: &IpxePin,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let commit = &pin.commit;
    refuse_ssh(url)?;
    let mut task = Task::start(progress, Kind::Clone, url.to_string(), None);
    let fetched = match (local_path(url.expose()), http) {
        (Some(path), _) => {
            let copied = Repository::open(path).and_then(|source| copy(repository, &source, commit, &mut task));
            copied.map_err(|error| Failure::new(&error, None))
        }
        (None, None) => Err(Failure::from("there is no network".to_owned())),
        (None, Some(http)) => {
            let wanted = Wanted::Pin { commit: *commit, git_ref: pin.git_ref.clone() };
            Fetcher { repository, url, http, progress }.ask(&wanted, &mut task).map(drop)
        }
    };
    if has(repository, commit) {
        task.finish(format!("commit {commit}"));
        return Ok(());
    }
    Err(match fetched {
        Err(failure) => failed(repository, url, failure, progress),
        Ok(()) => Error::NoCommit { url: url.to_string(), commit: *commit },
    })
}

fn refuse_ssh(url: &Url) -> Result<(), Error> {
    let text = url.expose();
    let misspelled = url.misspelled();
    if misspelled.is_some() || text.starts_with("ssh://") || (local_path(text).is_none() && !text.contains("://")) {
        let failure = Failure::from(misspelled.unwrap_or_else(|| "ssh is not spoken here".to_owned()));
        return Err(Error::Fetch { url: url.to_string(), failure });
    }
    Ok(())
}

fn failed(repository: &Repository, url: &Url, failure: Failure, progress: &dyn Progress) -> Error {
    let failure = Failure { reason: url.hide_in(&failure.reason), ..failure };
    if progress.cancelled() {
        return Error::Cancelled { url: url.to_string() };
    }
    if failure.is_of_cache {
        let path = repository.path().to_string_lossy().trim_end_matches('/').to_owned();
        return Error::Cache { path, reason: failure.reason };
    }
    Error::Fetch { url: url.to_string(), failure }
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
    url: &Url,
    http: Option<&Http>,
    progress: &dyn Progress,
) -> Result<Upstream, Error> {
    refuse_ssh(url)?;
    prepare();
    if let Some(path) = local_path(url.expose()) {
        return open_local(path).map_err(|error| {
            let failure = Failure::from(url.hide_in(error.message()));
            Error::Fetch { url: url.to_string(), failure }
        });
    }
    let repository = open(scratch)?;
    fs::touch(scratch);
    let mut task = Task::start(progress, Kind::Clone, url.to_string(), None);
    let own = format!("refs/mirror/{}/", Sha256Digest::of(url.expose().as_bytes()).short());
    let fetched = match http {
        Some(http) => {
            let fetcher = Fetcher { repository: &repository, url, http, progress };
            fetcher.ask(&Wanted::All { own: own.clone() }, &mut task)
        }
        None => Err(Failure::from("there is no network".to_owned())),
    };
    let head = fetched.map_err(|failure| failed(&repository, url, failure, progress))?;
    let refs = branches_and_tags(&repository, &own).map_err(|error| cache_error(scratch, &error))?;
    task.finish(format!("{} {}", refs.len(), choose(refs.len(), "branch or tag", "branches and tags")));
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
        // A name that is not UTF-8 cannot be pinned, and one that hides something should not be.
        let name = reference
            .name()
            .ok()
            .filter(|name| !name.contains(is_harmful))
            .and_then(|name| name.strip_prefix(root))
            .map(|name| format!("refs/{name}"));
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

/// Copies the commit and its tree, and not its history, from `source` into `repository`.
pub(super) fn copy(
    repository: &Repository,
    source: &Repository,
    commit: &CommitId,
    task: &mut Task<'_>,
) -> Result<(), git2::Error> {
    if !has(source, commit) {
        return Ok(());
    }
    let oid = Oid::from_bytes(commit.as_bytes())?;
    let mut builder = source.packbuilder()?;
    let asked = task.progress();
    builder.set_progress_callback(move |_, _, _| !asked.cancelled())?;
    builder.insert_commit(oid)?;
    task.set(0, Some(builder.object_count() as u64));
    let odb = repository.odb()?;
    let mut writer = odb.packwriter()?;
    let mut broken = None;
    let packed = builder.foreach(|piece| {
        // The writer's own error has no cause.
        broken = writer.write_all(piece).err().map(|_| git2::Error::last_error(-1));
        broken.is_none() && !task.progress().cancelled()
    });
    if let Some(error) = broken {
        return Err(error);
    }
    packed?;
    task.set(builder.written() as u64, Some(builder.object_count() as u64));
    writer.commit()?;
    keep(repository, commit)
}

/// Makes sure that git keeps `commit`, whose parents are left out on purpose.
fn keep(repository: &Repository, commit: &CommitId) -> Result<(), git2::Error> {
    let shallow = repository.path().join("shallow");
    let mut list = std::fs::read_to_string(&shallow).unwrap_or_default();
    list += &format!("{commit}\n");
    std::fs::write(&shallow, list).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    let oid = Oid::from_bytes(commit.as_bytes())?;
    repository.reference(&format!("refs/pins/{commit}"), oid, true, "pinned").map(drop)
}

/// The depth that asks for all that earlier fetches left out; libgit2's `GIT_FETCH_DEPTH_UNSHALLOW`.
const UNSHALLOW: i32 = i32::MAX;

/// What is to be fetched from a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// A commit, and the ref that leads to it.
    Pin { commit: CommitId, git_ref: String },
    /// All branches and tags with their history, kept below `own`.
    All { own: String },
}

/// A fetch from a server.
pub(super) struct Fetcher<'a> {
    pub(super) repository: &'a Repository,
    pub(super) url: &'a Url,
    pub(super) http: &'a Http,
    pub(super) progress: &'a dyn Progress,
}

impl Fetcher<'_> {
    /// Fetches what is wanted: in a process of its own, where the client names one, which has less memory and can be
    /// ended at any moment. Gives the default branch, where all is wanted.
    fn ask(&self, wanted: &Wanted, task: &mut Task<'_>) -> Result<Option<String>, Failure> {
        match &self.http.git_helper {
            Some(program) => {
                let job = Job::new(self.repository, self.url, self.http, wanted);
                git_helper::ask(program, &job, task, self.progress)
            }
            None => self.fetch(wanted, task),
        }
    }

    /// Fetches what is wanted in this process.
    pub(super) fn fetch(&self, wanted: &Wanted, task: &mut Task<'_>) -> Result<Option<String>, Failure> {
        let work = || match wanted {
            Wanted::Pin { commit, git_ref } => self.fetch_pin(commit, git_ref, task).map(|()| None),
            Wanted::All { own } => self.fetch_all(own, task),
        };
        let (fetched, cause) = with_http(self.http, self.progress, work);
        fetched.map_err(|error| Failure::new(&error, cause))
    }

    /// Fetches the commit first by its own name and without history; where the server does not give
    /// commits by name, by the ref that leads to it; then with all branches and tags.
    fn fetch_pin(&self, commit: &CommitId, git_ref: &str, task: &mut Task<'_>) -> Result<(), git2::Error> {
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
            result = self.fetch_once(&refspecs, depth, !shallow, task).map(drop);
            let too_much = |error: &git2::Error| {
                error.class() == git2::ErrorClass::NoMemory || error.message().starts_with(TOO_MUCH)
            };
            if has(self.repository, commit) || self.progress.cancelled() || result.as_ref().is_err_and(too_much) {
                break;
            }
        }
        result
    }

    /// Fetches all branches and tags with their history, and keeps them below `own`, where those go
    /// that the server has no more. Gives the default branch.
    fn fetch_all(&self, own: &str, task: &mut Task<'_>) -> Result<Option<String>, git2::Error> {
        let refspecs = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:{own}{kind}/*"));
        let remote = self.fetch_once(&refspecs, 0, true, task)?;
        Ok(remote.default_branch().ok().and_then(|name| name.as_str().ok().map(str::to_owned)))
    }

    /// Fetches what `refspecs` ask for; with `prune`, what they kept of refs that the server has no more goes.
    fn fetch_once(
        &self,
        refspecs: &[String],
        depth: i32,
        prune: bool,
        task: &mut Task<'_>,
    ) -> Result<Remote<'_>, git2::Error> {
        let mut callbacks = RemoteCallbacks::new();
        let too_many = Cell::new(false);
        callbacks.transfer_progress(|stats| {
            task.set(stats.received_objects() as u64, Some(stats.total_objects() as u64));
            too_many.set(stats.total_objects() > MAX_OBJECTS);
            !too_many.get() && !self.progress.cancelled()
        });
        let mut options = FetchOptions::new();
        options.remote_callbacks(callbacks).download_tags(AutotagOption::None).update_fetchhead(false).depth(depth);
        let mut remote = self.repository.remote_anonymous(self.url.expose())?;
        let before = packs(self.repository);
        let downloaded = remote.download(refspecs, Some(&mut options));
        if too_many.get() {
            return Err(git2::Error::from_str(&format!("{TOO_MUCH}: more than {MAX_OBJECTS} objects")));
        }
        downloaded?;
        check_sizes(self.repository).inspect_err(|_| {
            // What was refused must not be in the way of the next server.
            for path in packs(self.repository).difference(&before) {
                let _ = fs::remove_file(path);
            }
        })?;
        if prune {
            // Before new ones come: `foo` would be in the way of `foo/bar`.
            remote.prune(None)?;
        }
        remote.update_tips(None, RemoteUpdateFlags::empty(), AutotagOption::None, None)?;
        Ok(remote)
    }
}

/// The files of the packs in `repository`.
fn packs(repository: &Repository) -> BTreeSet<Utf8PathBuf> {
    let folder = Utf8PathBuf::from_path_buf(repository.path().join("objects/pack"));
    folder.ok().and_then(|folder| fs::entries(&folder).ok()).unwrap_or_default().into_iter().collect()
}

/// The most objects that a server may send; iPXE has 85,000 with its whole history.
const MAX_OBJECTS: usize = 500_000;
/// The most bytes that an object may have; the largest of iPXE has 3 MB.
const MAX_OBJECT: usize = 8 << 20;

/// The most bytes that a commit or a tag may have; the largest of iPXE has 5 kB.
const MAX_COMMIT: usize = 64 << 10;

/// Refuses objects of a size that no honest source has, before a ref leads to one: whoever looks at one has all of
/// it in memory, however small the pack is.
fn check_sizes(repository: &Repository) -> Result<(), git2::Error> {
    let odb = repository.odb()?;
    let mut refused = None;
    let walked = odb.foreach(|oid| {
        refused = match odb.read_header(*oid) {
            Ok((size, kind)) => {
                let is_small = matches!(kind, ObjectType::Commit | ObjectType::Tag);
                let most = if is_small { MAX_COMMIT } else { MAX_OBJECT };
                (size > most).then(|| git2::Error::from_str(&format!("{TOO_MUCH}: an object of {size} bytes, {oid}")))
            }
            Err(error) => Some(error),
        };
        refused.is_none()
    });
    // That the walk was ended is no error of its own.
    refused.map_or(walked, Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_does_not_decide_whose_fault_it_is() {
        let of_cache = |reason: &str| Failure::from(reason.to_owned()).is_of_cache;
        assert!(of_cache("cannot extend packfile 'x': No space left on device"));
        for words in [
            "remote error: access denied: Permission denied (publickey)",
            "remote error: No space left on device",
            "found `Permission denied`, wanted `application/x-git-upload-pack-advertisement`: this is no git repository",
        ] {
            assert!(!of_cache(words), "{words}");
        }
    }
}
