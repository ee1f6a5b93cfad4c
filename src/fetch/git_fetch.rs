//! Fetches from a git server into a bare repository, with limits on what the server sends, and explains failures.

use std::cell::Cell;
use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{AutotagOption, FetchOptions, ObjectType, Oid, Remote, RemoteCallbacks, RemoteUpdateFlags, Repository};
use serde::{Deserialize, Serialize};

use super::git_stream::{LIMIT_EXCEEDED, MAX_OBJECTS};
use super::git_tree;
use super::transport::with_http;
use crate::base::fs;
use crate::base::http::{self, HttpClient};
use crate::base::progress::{Progress, Task};
use crate::base::url::Url;
use crate::digest::CommitId;

/// Reason of a failed fetch, as text that can be passed between processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitFailure {
    /// What went wrong.
    pub reason: String,
    /// Advice for the user, if it is other than to check the address.
    pub check: Option<String>,
    /// Whether the cache caused the failure, not the server.
    pub is_of_cache: bool,
    /// As [`http::Error::is_of_network`] says.
    pub is_of_network: bool,
}

impl GitFailure {
    /// Returns advice for the user.
    pub(super) fn check(&self) -> &str {
        self.check.as_deref().unwrap_or("check the address")
    }

    /// Creates a failure from libgit2's error, or from `cause` if the server did not respond.
    pub(super) fn new(error: &git2::Error, cause: Option<http::Error>) -> Self {
        if let Some(cause) = cause {
            let (reason, is_of_network) = (cause.to_string(), cause.is_of_network());
            return Self { reason, check: cause.remedy(), is_of_cache: false, is_of_network };
        }
        Self::from(match error.message() {
            // libgit2 has no message for a malformed packet, and a misleading one for object names that are not SHA-1.
            message if matches!(message, "" | "no error") || message.starts_with("unrecoverable internal error") => {
                "what the server sends is not git's protocol".to_owned()
            }
            message => message.to_owned(),
        })
    }
}

impl From<String> for GitFailure {
    fn from(reason: String) -> Self {
        // libgit2 appends the system's message to its own, as in "cannot extend packfile 'x': No space left".
        const OF_FILES: [&str; 4] =
            ["No space left on device", "Disk quota exceeded", "Permission denied", "Read-only file system"];
        // A server can send the same text, and must not decide where the fault lies.
        let is_of_cache = OF_FILES.iter().any(|words| reason.ends_with(words)) && !reason.starts_with("remote error");
        let reason = if reason.eq_ignore_ascii_case("out of memory") { TOO_MUCH_MEMORY.into() } else { reason };
        Self { reason, check: None, is_of_cache, is_of_network: false }
    }
}

/// Message for a server whose data makes libgit2 exceed the memory limit.
pub(super) const TOO_MUCH_MEMORY: &str = "what the server sends takes more than 192 MiB of memory";

/// Returns whether `repository` has `commit`.
#[must_use]
pub fn has(repository: &Repository, commit: &CommitId) -> bool {
    Oid::from_bytes(commit.as_bytes()).is_ok_and(|oid| repository.find_commit(oid).is_ok())
}

/// The depth that requests everything earlier fetches omitted; libgit2's `GIT_FETCH_DEPTH_UNSHALLOW`.
const UNSHALLOW: i32 = i32::MAX;

/// Objects to fetch from a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum GitWant {
    /// A commit, and the ref that leads to it.
    Pin { commit: CommitId, git_ref: String },
    /// All branches and tags with their history, stored below `own`.
    All { own: String },
}

/// A fetch from a server.
pub(super) struct Fetcher<'a> {
    pub(super) repository: &'a Repository,
    pub(super) url: &'a Url,
    pub(super) http: &'a HttpClient,
    pub(super) progress: &'a dyn Progress,
}

impl Fetcher<'_> {
    /// Fetches `wanted` in this process. Returns the default branch for [`GitWant::All`].
    pub(super) fn fetch(&self, wanted: &GitWant, task: &mut Task<'_>) -> Result<Option<String>, GitFailure> {
        let work = || match wanted {
            GitWant::Pin { commit, git_ref } => self.fetch_pin(commit, git_ref, task).map(|()| None),
            GitWant::All { own } => self.fetch_all(own, task),
        };
        let (fetched, cause) = with_http(self.http, self.progress, work);
        fetched.map_err(|error| GitFailure::new(&error, cause))
    }

    /// Fetches the commit by its own name and without history. If the server does not offer commits by name, fetches
    /// the ref that leads to it; if that fails, all branches and tags with their history.
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
                // Otherwise the server correctly assumes that the history is already here.
                (false, true) => UNSHALLOW,
                (false, false) => 0,
            };
            result = self.fetch_once(&refspecs, depth, !shallow, task).map(drop);
            let too_much = |error: &git2::Error| {
                error.class() == git2::ErrorClass::NoMemory || error.message().starts_with(LIMIT_EXCEEDED)
            };
            if has(self.repository, commit) || self.progress.cancelled() || result.as_ref().is_err_and(too_much) {
                break;
            }
        }
        result
    }

    /// Fetches all branches and tags with their history, and stores them below `own`. Removes refs there that the
    /// server no longer has. Returns the default branch.
    fn fetch_all(&self, own: &str, task: &mut Task<'_>) -> Result<Option<String>, git2::Error> {
        let refspecs = ["heads", "tags"].map(|kind| format!("+refs/{kind}/*:{own}{kind}/*"));
        let remote = self.fetch_once(&refspecs, 0, true, task)?;
        Ok(remote.default_branch().ok().and_then(|name| name.as_str().ok().map(str::to_owned)))
    }

    /// Fetches `refspecs`. With `prune`, removes the local refs of those that the server no longer has.
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
            return Err(git2::Error::from_str(&format!("{LIMIT_EXCEEDED}: more than {MAX_OBJECTS} objects")));
        }
        downloaded?;
        let deep = prune && remote.list()?.iter().any(|head| head.name().split('/').count() > MAX_PARTS);
        let checked = if deep {
            Err(git_tree::refused(&format!("a ref of more than {MAX_PARTS} parts")))
        } else {
            check_objects(self.repository)
        };
        checked.map_err(|error| {
            // Refused objects must not affect the fetch from the next server.
            remove_new_packs(&folder, &before);
            explain(LIMIT_EXCEEDED, error)
        })?;
        if prune {
            // Before new refs are created: an old `foo` would conflict with a new `foo/bar`.
            remote.prune(None)?;
        }
        remote.update_tips(None, RemoteUpdateFlags::empty(), AutotagOption::None, None)?;
        Ok(remote)
    }
}

/// Returns the files of the packs in the repository in `folder`.
pub(super) fn packs(folder: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    fs::entries(&folder.join("objects/pack")).unwrap_or_default().into_iter().collect()
}

/// Removes the pack files that did not exist `before`.
pub(super) fn remove_new_packs(folder: &Utf8Path, before: &BTreeSet<Utf8PathBuf>) {
    for path in packs(folder).difference(before) {
        let _ = fs::remove_file(path);
    }
}

/// Maximum number of components in the name of a ref: each becomes a folder in the cache.
const MAX_PARTS: usize = 16;
/// Maximum number of commits among the objects; iPXE has 8,000. Comparing two histories keeps all commits of both in
/// memory.
const MAX_COMMITS: usize = 100_000;
/// Maximum number of parents of merges, beyond two each: each parent is kept in memory, whether or not it exists.
const MAX_PARENTS: usize = 16_384;

/// Refuses objects that no honest source has, before a ref leads to them. Errors of this tool's own have no class.
pub(super) fn check_objects(repository: &Repository) -> Result<(), git2::Error> {
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
    // Ending the walk early is not an error of its own.
    refused.map_or(walked, Err)
}

/// Returns the parents that a commit names, from its content.
pub(crate) fn parents_of(commit: &[u8]) -> impl Iterator<Item = Result<Oid, git2::Error>> {
    let lines = commit.split(|byte| *byte == b'\n').skip(1);
    lines.map_while(|line| line.strip_prefix(b"parent ")).map(|name| Oid::from_str(&String::from_utf8_lossy(name)))
}

/// Prefixes an error of [`check_objects`] with `who`, unless it is an error of libgit2.
pub(super) fn explain(who: &str, error: git2::Error) -> git2::Error {
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
        let of_cache = |reason: &str| GitFailure::from(reason.to_owned()).is_of_cache;
        assert!(of_cache("cannot extend packfile 'x': No space left on device"));
        for words in [
            "remote error: access denied: Permission denied (publickey)",
            "remote error: No space left on device",
            "found `Permission denied`, wanted `application/x-git-upload-pack-advertisement`: this is not a git repository",
        ] {
            assert!(!of_cache(words), "{words}");
        }
    }
}
