//! History between two commits.

use std::collections::{BinaryHeap, HashMap, HashSet};

use git2::{ErrorCode, Odb, Oid, Repository};
use serde::Serialize;

use super::security_hints::is_about_security;
use crate::digest::CommitId;
use crate::fetch::git::parents_of;
use crate::printable::is_harmful;

/// Maximum number of security-related commits to keep.
const MAX_COMMITS: usize = 1000;
/// Maximum length of a subject, in characters.
const MAX_SUBJECT: usize = 200;

/// Relation between two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The new commit contains all of the old one.
    Forward,
    /// The old commit contains all of the new one.
    Back,
    /// Each contains commits that the other lacks.
    Diverged,
}

/// A commit, for display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Commit ID.
    pub commit: CommitId,
    /// First line of the message, without control characters.
    pub subject: String,
}

/// Commits that a pin gains or loses when it moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changes {
    /// Direction of the move.
    pub direction: Direction,
    /// Merge base, if the histories have a common commit.
    pub base: Option<CommitId>,
    /// Number of commits gained, or lost if the pin moves back.
    pub commits: usize,
    /// Number of commits lost because the histories have diverged.
    pub lost: usize,
    /// Number of security-related commits among `commits`.
    pub about_security: usize,
    /// The newest of them, newest first.
    pub security: Vec<Commit>,
}

impl Changes {
    /// Compares the histories of `old` and `new`.
    ///
    /// # Errors
    ///
    /// An error of libgit2 if `repository` lacks one of the commits, or a commit between them.
    pub fn between(repository: &Repository, old: Oid, new: Oid) -> Result<Self, git2::Error> {
        let (of_new, of_old) = (ancestors(repository, new)?, ancestors(repository, old)?);
        let without = |all: &Parents, others: &Parents| all.keys().filter(|oid| !others.contains_key(oid)).count();
        let (ahead, behind) = (without(&of_new, &of_old), without(&of_old, &of_new));
        let direction = match (ahead, behind) {
            (_, 0) => Direction::Forward,
            (0, _) => Direction::Back,
            _ => Direction::Diverged,
        };
        let back = direction == Direction::Back;
        let (from, to) = if back { (&of_new, &of_old) } else { (&of_old, &of_new) };
        let (mut security, mut about_security) = (Vec::new(), 0);
        for oid in newest_first(repository, to, from)? {
            let commit = repository.find_commit(oid)?;
            let subject = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default());
            if !is_about_security(&subject) {
                continue;
            }
            about_security += 1;
            if security.len() < MAX_COMMITS {
                security.push(Commit { commit: id(oid)?, subject: printable(&subject) });
            }
        }
        Ok(Self {
            direction,
            base: last_common(repository, &of_new, &of_old)?.map(id).transpose()?,
            commits: if back { behind } else { ahead },
            lost: if back { 0 } else { behind },
            about_security,
            security,
        })
    }
}

/// Commits with the parents that they name.
type Parents = HashMap<Oid, Vec<Oid>>;

/// Returns the parents that the commit `oid` names; `None` if a shallow clone lacks the commit.
///
/// libgit2 would trust the files `info/grafts` and `shallow` and the commit graph that a repository has beside its
/// objects. Their author could make an old release look like a newer one.
pub(super) fn parents(odb: &Odb<'_>, oid: Oid, is_shallow: bool) -> Result<Option<Vec<Oid>>, git2::Error> {
    match odb.read(oid) {
        Ok(commit) => parents_of(commit.data()).collect::<Result<_, _>>().map(Some),
        Err(error) if is_shallow && error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the commit `tip` and all its ancestors.
fn ancestors(repository: &Repository, tip: Oid) -> Result<Parents, git2::Error> {
    let (odb, is_shallow) = (repository.odb()?, repository.is_shallow());
    let (mut found, mut waiting) = (Parents::new(), vec![tip]);
    while let Some(oid) = waiting.pop() {
        if !found.contains_key(&oid)
            && let Some(parents) = parents(&odb, oid, is_shallow)?
        {
            waiting.extend(&parents);
            found.insert(oid, parents);
        }
    }
    Ok(found)
}

/// Returns the commit time of `oid`, in seconds since the Unix epoch.
fn time(repository: &Repository, oid: Oid) -> Result<i64, git2::Error> {
    Ok(repository.find_commit(oid)?.time().seconds())
}

/// Returns the commits of `all` that are not in `others`: newest first, and each before its parents.
fn newest_first(repository: &Repository, all: &Parents, others: &Parents) -> Result<Vec<Oid>, git2::Error> {
    let own = || all.iter().filter(|(oid, _)| !others.contains_key(oid));
    let mut children: HashMap<Oid, usize> = own().map(|(oid, _)| (*oid, 0)).collect();
    for parent in own().flat_map(|(_, parents)| parents) {
        children.entry(*parent).and_modify(|children| *children += 1);
    }
    let mut next = BinaryHeap::new();
    for (oid, _) in children.iter().filter(|(_, children)| **children == 0) {
        next.push((time(repository, *oid)?, *oid));
    }
    let mut sorted = Vec::new();
    while let Some((_, oid)) = next.pop() {
        sorted.push(oid);
        for parent in &all[&oid] {
            if let Some(children) = children.get_mut(parent) {
                *children -= 1;
                if *children == 0 {
                    next.push((time(repository, *parent)?, *parent));
                }
            }
        }
    }
    Ok(sorted)
}

/// Returns the merge base: the newest common ancestor from which no other common ancestor descends.
fn last_common(repository: &Repository, one: &Parents, other: &Parents) -> Result<Option<Oid>, git2::Error> {
    let common = || one.iter().filter(|(oid, _)| other.contains_key(oid));
    let surpassed: HashSet<&Oid> = common().flat_map(|(_, parents)| parents).collect();
    let last = common().map(|(oid, _)| *oid).filter(|oid| !surpassed.contains(oid));
    let last = last.map(|oid| Ok((time(repository, oid)?, oid))).collect::<Result<Vec<_>, git2::Error>>()?;
    Ok(last.into_iter().max().map(|(_, oid)| oid))
}

/// Converts `oid`, a SHA-1, to a commit ID.
pub(super) fn id(oid: Oid) -> Result<CommitId, git2::Error> {
    oid.to_string().parse().map_err(|_| git2::Error::from_str("not a SHA-1 repository"))
}

/// Returns `subject` without control characters and invisible characters, shortened to a usual length.
pub(super) fn printable(subject: &str) -> String {
    subject.chars().filter(|c| !is_harmful(*c)).take(MAX_SUBJECT).collect()
}
