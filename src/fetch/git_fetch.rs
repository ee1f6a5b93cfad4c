//! Fetches from a git server into a bare repository, with limits on what the server sends; and why a fetch failed.

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

/// Why a fetch failed, in words that can go from one process to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitFailure {
    /// What went wrong.
    pub reason: String,
    /// What a person should check, where that is not the address.
    pub check: Option<String>,
    /// Whether it is the cache's fault, not the server's.
    pub is_of_cache: bool,
}

impl GitFailure {
    /// What a person should check.
    pub(super) fn check(&self) -> &str {
        self.check.as_deref().unwrap_or("check the address")
    }

    /// What libgit2 says, and why there was no answer, where that is known.
    pub(super) fn new(error: &git2::Error, cause: Option<http::Error>) -> Self {
        if let Some(cause) = cause {
            return Self { reason: cause.to_string(), check: cause.remedy(), is_of_cache: false };
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

impl From<String> for GitFailure {
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

/// Whether `repository` has `commit`.
#[must_use]
pub fn has(repository: &Repository, commit: &CommitId) -> bool {
    Oid::from_bytes(commit.as_bytes()).is_ok_and(|oid| repository.find_commit(oid).is_ok())
}

/// The depth that asks for all that earlier fetches left out; libgit2's `GIT_FETCH_DEPTH_UNSHALLOW`.
const UNSHALLOW: i32 = i32::MAX;

/// What is to be fetched from a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum GitWant {
    /// A commit, and the ref that leads to it.
    Pin { commit: CommitId, git_ref: String },
    /// All branches and tags with their history, kept below `own`.
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
    /// Fetches what is wanted in this process.
    pub(super) fn fetch(&self, wanted: &GitWant, task: &mut Task<'_>) -> Result<Option<String>, GitFailure> {
        let work = || match wanted {
            GitWant::Pin { commit, git_ref } => self.fetch_pin(commit, git_ref, task).map(|()| None),
            GitWant::All { own } => self.fetch_all(own, task),
        };
        let (fetched, cause) = with_http(self.http, self.progress, work);
        fetched.map_err(|error| GitFailure::new(&error, cause))
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
                error.class() == git2::ErrorClass::NoMemory || error.message().starts_with(LIMIT_EXCEEDED)
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
            // What was refused must not be in the way of the next server.
            remove_new_packs(&folder, &before);
            explain(LIMIT_EXCEEDED, error)
        })?;
        if prune {
            // Before new ones come: `foo` would be in the way of `foo/bar`.
            remote.prune(None)?;
        }
        remote.update_tips(None, RemoteUpdateFlags::empty(), AutotagOption::None, None)?;
        Ok(remote)
    }
}

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
/// The most commits among these; iPXE has 8,000. All of two histories are kept in memory where these are compared.
const MAX_COMMITS: usize = 100_000;
/// The most parents that merges may have beside two each: each is kept as well, there or not.
const MAX_PARENTS: usize = 16_384;

/// Refuses what no honest source has, before a ref leads to it. Errors of this tool's own have no class.
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
    // That the walk was ended is no error of its own.
    refused.map_or(walked, Err)
}

/// What a commit names as its parents, from its content.
pub(crate) fn parents_of(commit: &[u8]) -> impl Iterator<Item = Result<Oid, git2::Error>> {
    let lines = commit.split(|byte| *byte == b'\n').skip(1);
    lines.map_while(|line| line.strip_prefix(b"parent ")).map(|name| Oid::from_str(&String::from_utf8_lossy(name)))
}

/// Puts `who` before an error of [`check_objects`] that is no libgit2's.
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
            "found `Permission denied`, wanted `application/x-git-upload-pack-advertisement`: this is no git repository",
        ] {
            assert!(!of_cache(words), "{words}");
        }
    }
}
