//! What happened between two commits.

use git2::{Oid, Repository, Sort};
use serde::Serialize;

use super::subjects::is_about_security;
use crate::digest::CommitId;
use crate::printable::is_harmful;

/// How many commits are kept that say something about security.
const MAX_COMMITS: usize = 1000;
/// How many characters of a subject.
const MAX_SUBJECT: usize = 200;

/// How two commits stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The new one has all of the old one.
    Forward,
    /// The old one has all of the new one.
    Back,
    /// Each has what the other has not.
    Diverged,
}

/// A commit, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its name.
    pub commit: CommitId,
    /// The first line of its message, without control characters.
    pub subject: String,
}

/// What a pin gets or loses when it moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changes {
    /// Where it moves.
    pub direction: Direction,
    /// Where the two were last the same, if ever they were.
    pub base: Option<CommitId>,
    /// How many commits come in; where it goes back, how many go out.
    pub commits: usize,
    /// How many commits go out because the histories have diverged.
    pub lost: usize,
    /// Those of `commits` that say something about security, newest first.
    pub security: Vec<Commit>,
}

impl Changes {
    /// What lies between `old` and `new`.
    ///
    /// # Errors
    ///
    /// What libgit2 says where `repository` lacks one of them.
    pub fn between(repository: &Repository, old: Oid, new: Oid) -> Result<Self, git2::Error> {
        let (ahead, behind) = repository.graph_ahead_behind(new, old)?;
        let direction = match (ahead, behind) {
            (_, 0) => Direction::Forward,
            (0, _) => Direction::Back,
            _ => Direction::Diverged,
        };
        let back = direction == Direction::Back;
        let (from, to) = if back { (new, old) } else { (old, new) };
        let mut walk = repository.revwalk()?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
        walk.push(to)?;
        walk.hide(from)?;
        let mut security = Vec::new();
        for oid in walk {
            let oid = oid?;
            let commit = repository.find_commit(oid)?;
            let subject = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default());
            if security.len() < MAX_COMMITS && is_about_security(&subject) {
                security.push(Commit { commit: id(oid)?, subject: printable(&subject) });
            }
        }
        Ok(Self {
            direction,
            base: repository.merge_base(old, new).ok().map(id).transpose()?,
            commits: if back { behind } else { ahead },
            lost: if back { 0 } else { behind },
            security,
        })
    }
}

/// The name of a commit, which is a SHA-1.
pub(super) fn id(oid: Oid) -> Result<CommitId, git2::Error> {
    oid.to_string().parse().map_err(|_| git2::Error::from_str("not a SHA-1 repository"))
}

/// `subject` without characters that steer a terminal or hide, and no longer than people write them.
pub(super) fn printable(subject: &str) -> String {
    subject.chars().filter(|c| !is_harmful(*c)).take(MAX_SUBJECT).collect()
}
