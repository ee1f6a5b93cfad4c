//! The bare git cache: brings a commit in from any git URL or local path; and the one way to look
//! at a repository with its history.

use std::cell::Cell;
use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{
    AutotagOption, FetchOptions, ObjectType, Oid, Remote, RemoteCallbacks, RemoteUpdateFlags, Repository,
    RepositoryOpenFlags,
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::git_files;
use super::git_helper::{self, Job};
use super::git_stream::{MAX_REFS, TOO_MUCH};
use super::git_tree;
use super::http::{self, Http};
use super::transport::{prepare, with_http};
use crate::choices::pins::IpxePin;
use crate::digest::{CommitId, Sha256Digest};
use crate::fs;
use crate::parallel::leaving;
use crate::plural::choose;
use crate::printable::{is_harmful, printable};
use crate::progress::{Kind, Progress, Silent, Task};
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
            // libgit2 has no words for a packet that is none, and odd ones for names of objects that are no SHA-1.
            message if matches!(message, "" | "no error") || message.starts_with("unrecoverable internal error") => {
                "what the server sends is not git's protocol".to_owned()
            }
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
    git_files::check(path).map_err(|reason| Error::Cache { path: path.to_string(), reason })?;
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
    let folder = Utf8PathBuf::from(repository.path().to_string_lossy().into_owned());
    let before = packs(&folder);
    let fetched = match (local_path(url.expose()), http) {
        (Some(path), _) => {
            let (own, commit) = (repository.path().to_owned(), *commit);
            // What somebody has packed in his own way can take long to unpack.
            let copied = leaving(progress, move || {
                let given = open_given(&path)?;
                let copied = Repository::open_bare(own).and_then(|own| copy(&own, &given, &commit, &Silent));
                copied.map_err(|error| Failure::new(&error, None))
            });
            copied.unwrap_or_else(|| Err(Failure::new(&interrupted(), None)))
        }
        (None, None) => Err(Failure::from("there is no network".to_owned())),
        (None, Some(http)) => {
            let wanted = Wanted::Pin { commit: *commit, git_ref: pin.git_ref.clone() };
            Fetcher { repository, url, http, progress }.ask(&wanted, &mut task).map(drop)
        }
    };
    fetched.map_err(|failure| failed(repository, url, failure, progress))?;
    if !has(repository, commit) {
        // What came instead must not be in the way of the next server.
        remove_new_packs(&folder, &before);
        return Err(Error::NoCommit { url: url.to_string(), commit: *commit });
    }
    task.finish(format!("commit {commit}"));
    Ok(())
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
        let opened = leaving(progress, move || open_local(&path));
        return opened.unwrap_or_else(|| Err(Failure::new(&interrupted(), None))).map_err(|failure| {
            if progress.cancelled() {
                return Error::Cancelled { url: url.to_string() };
            }
            let failure = Failure { reason: url.hide_in(&failure.reason), ..failure };
            Error::Fetch { url: url.to_string(), failure }
        });
    }
    // Each fetch leaves a pack, and libgit2 keeps of each.
    if http.is_some() && packs(scratch).len() > MAX_OWN_FILES {
        fs::remove_dir_all(scratch)?;
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

fn interrupted() -> git2::Error {
    git2::Error::from_str("interrupted")
}

/// Opens a repository of this machine that anybody may have made.
fn open_given(path: &Utf8Path) -> Result<Repository, Failure> {
    let odd = |reason: String| {
        let copy = "make a copy without that with `git clone --bare --no-local`";
        let check =
            if reason.contains("index of several packs") { format!("delete it, or {copy}") } else { copy.into() };
        Failure { check: Some(check), ..Failure::from(reason) }
    };
    let said = |error: git2::Error| {
        let reftable = error.message().contains("extensions.refstorage");
        let check = "make a copy whose refs are files with `git clone --bare --no-local --ref-format=files`";
        Failure { check: reftable.then(|| check.into()), ..Failure::new(&error, None) }
    };
    let folder = git_files::folder(path)?;
    git_files::check(&folder).map_err(odd)?;
    // What was checked is what is opened.
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    let repository = Repository::open_ext(folder, flags, std::iter::empty::<&str>()).map_err(said)?;
    check_objects(&repository).map_err(|error| said(said_of("it has too much", error)))?;
    Ok(repository)
}

fn open_local(path: &Utf8Path) -> Result<Upstream, Failure> {
    let repository = open_given(path)?;
    let refs = branches_and_tags(&repository, "refs/").map_err(|error| Failure::new(&error, None))?;
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
        if refs.len() > MAX_REFS {
            return Err(git_tree::refused(&format!("it has more than {MAX_REFS} branches and tags")));
        }
    }
    refs.sort_unstable();
    Ok(refs)
}

/// What the full names of branches begin with.
pub const HEADS: &str = "refs/heads/";
/// What the full names of tags begin with.
pub const TAGS: &str = "refs/tags/";

/// The path that `url` means, where it means one on this machine. In an address that begins with `file://`, it is encoded
/// as in other addresses.
#[must_use]
pub fn local_path(url: &str) -> Option<Utf8PathBuf> {
    // As git reads it: what has a colon before the first slash, as in `git@host:path`, is a host.
    let host = url.contains("://") || url.split('/').next().is_some_and(|start| start.contains(':'));
    let Some(path) = url.strip_prefix("file://") else { return (!host).then(|| url.into()) };
    let path = path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path);
    let decoded = percent_decode_str(path).decode_utf8().unwrap_or(path.into());
    Some(decoded.into_owned().into())
}

/// Copies the commit and its tree, and not its history, from `source` into `repository`: object by object, since
/// libgit2 would pack them with as much memory as `source` asks for.
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
    // The commit comes last: whoever finds it finds all of it.
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
        let folder = Utf8PathBuf::from(self.repository.path().to_string_lossy().into_owned());
        let before = packs(&folder);
        let downloaded = remote.download(refspecs, Some(&mut options));
        if too_many.get() {
            return Err(git2::Error::from_str(&format!("{TOO_MUCH}: more than {MAX_OBJECTS} objects")));
        }
        downloaded?;
        let deep = prune && remote.list()?.iter().any(|head| head.name().split('/').count() > MAX_PARTS);
        let checked = if deep {
            Err(git_tree::refused(&format!("a ref of more than {MAX_PARTS} parts")))
        } else {
            check_objects(self.repository)
        };
        checked.map_err(|error| {
            // What was refused must not be in the way of the next server.
            remove_new_packs(&folder, &before);
            said_of(TOO_MUCH, error)
        })?;
        if prune {
            // Before new ones come: `foo` would be in the way of `foo/bar`.
            remote.prune(None)?;
        }
        remote.update_tips(None, RemoteUpdateFlags::empty(), AutotagOption::None, None)?;
        Ok(remote)
    }
}

/// The most files of packs, two for each, that a history has before it is fetched anew.
const MAX_OWN_FILES: usize = 24;

/// The files of the packs in the repository in `folder`.
pub(super) fn packs(folder: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    fs::entries(&folder.join("objects/pack")).unwrap_or_default().into_iter().collect()
}

/// Removes the files of packs that were not there `before`.
pub(super) fn remove_new_packs(folder: &Utf8Path, before: &BTreeSet<Utf8PathBuf>) {
    for path in packs(folder).difference(before) {
        let _ = fs::remove_file(path);
    }
}

/// The most parts that the name of a ref may have: each is a folder in the cache.
const MAX_PARTS: usize = 16;
/// The most objects that a server may send; iPXE has 85,000 with its whole history.
pub(super) const MAX_OBJECTS: usize = 500_000;
/// The most commits among these; iPXE has 8,000. All of two histories are kept in memory where these are compared.
const MAX_COMMITS: usize = 100_000;
/// The most parents that merges may have beside two each: each is kept as well, there or not.
const MAX_PARENTS: usize = 16_384;

/// Refuses what no honest source has, before a ref leads to it. Errors of this tool's own have no class.
fn check_objects(repository: &Repository) -> Result<(), git2::Error> {
    let odb = repository.odb()?;
    let (mut count, mut commits, mut parents) = (0, 0, 0);
    let mut check = |oid| {
        if let (_, ObjectType::Commit) = git_tree::header(&odb, oid)? {
            commits += 1;
            parents += parents_of(odb.read(oid)?.data()).count().saturating_sub(2);
        }
        count += 1;
        if count > MAX_OBJECTS {
            return Err(git_tree::refused(&format!("more than {MAX_OBJECTS} objects")));
        }
        if commits > MAX_COMMITS {
            return Err(git_tree::refused(&format!("more than {MAX_COMMITS} commits")));
        }
        if parents > MAX_PARENTS {
            return Err(git_tree::refused(&format!("merges with more than {MAX_PARENTS} parents")));
        }
        Ok(())
    };
    let mut refused = None;
    let walked = odb.foreach(|oid| {
        refused = check(*oid).err();
        refused.is_none()
    });
    // That the walk was ended is no error of its own.
    refused.map_or(walked, Err)
}

/// What a commit names as its parents, from its content.
pub(crate) fn parents_of(commit: &[u8]) -> impl Iterator<Item = Result<Oid, git2::Error>> {
    let lines = commit.split(|byte| *byte == b'\n').skip(1);
    lines.map_while(|line| line.strip_prefix(b"parent ")).map(|name| Oid::from_str(&String::from_utf8_lossy(name)))
}

/// Puts `who` before an error of [`check_objects`] that is no libgit2's.
fn said_of(who: &str, error: git2::Error) -> git2::Error {
    match error.class() {
        git2::ErrorClass::None => git_tree::refused(&format!("{who}: {}", error.message())),
        _ => error,
    }
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
