//! Updates the pin of iPXE: selects a commit, and reports the changes that it brings.

use std::collections::HashMap;
use std::path::Path;

use camino::Utf8Path;
use git2::{ErrorCode, Oid, Repository};

use super::history::{Changes, Direction, id, parents, printable};
use super::{Error, LockedPins, UpdateRequest};
use crate::base::diagnostic::Diagnostic;
use crate::base::http::NetworkAccess;
use crate::base::parallel::detached_on_cancel;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::pins::{IpxePin, Pins};
use crate::config::version::{self, Version};
use crate::digest::CommitId;
use crate::fetch::InputSource;
use crate::fetch::git::{self, HEADS, TAGS, UpstreamHistory};
use crate::fetch::ipxe::{self, Patch, Source};

/// Maximum number of commits to list if an abbreviation is ambiguous.
const NAMED: usize = 20;
/// Maximum number of commits whose refs are determined in one walk: one bit each.
const MAX_WANTED: usize = 64;

/// Result of an iPXE update.
#[derive(Debug)]
pub struct IpxeUpdate {
    /// Pin before the update.
    pub old: IpxePin,
    /// Pin after the update, or the pin that a dry run would write.
    pub new: IpxePin,
    /// Repository that was queried.
    pub url: Url,
    /// Changes between the two; `None` if the repository lacks the old commit.
    pub changes: Option<Changes>,
    /// Whether the repository is a shallow clone, so that commits are missing.
    pub shallow: bool,
}

/// Moves the pin of iPXE to the newest release or to the requested tag, branch or commit.
///
/// # Errors
///
/// [`Error`]. The pins then stay unchanged.
pub fn update(request: &UpdateRequest<'_>, progress: &dyn Progress) -> Result<IpxeUpdate, Error> {
    let locked = LockedPins::acquire(request, progress)?;
    let old = locked.pins.ipxe.clone();
    let (upstream, url) = look(request, &old, progress)?;
    let shown = url.to_string();
    let position = RefPosition { upstream, url: shown.clone() };
    let (pinned, to) = (old.clone(), request.to.map(str::to_owned));
    // The author of the repository controls the length of its history, so the search can take very long.
    let found = detached_on_cancel(progress, move || {
        position.find(&pinned, to.as_deref()).map(|found| (found, position.upstream))
    });
    let (found, upstream) = found.ok_or(Error::Cancelled)??;
    let Found { new, git_ref, changes, warning } = found;
    if let Some(warning) = warning {
        progress.warn(warning);
    }
    if request.to.is_none() && is_older(&new, &old, changes.as_ref()) {
        let tag = git_ref.trim_start_matches(TAGS).to_owned();
        return Err(Error::Older { url: shown, tag, pinned: old.version });
    }
    let text = locked.rewrite(&Pins { ipxe: new.clone(), ..locked.pins.clone() })?;
    if !request.dry_run && new != old {
        keep(&new, &upstream.repository, request, progress)?;
    }
    locked.write(&text, request, progress)?;
    Ok(IpxeUpdate { old, new, changes, shallow: upstream.repository.is_shallow(), url })
}

fn oid(commit: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_bytes(commit.as_bytes())
}

/// Opens the first available repository.
fn look(request: &UpdateRequest<'_>, pin: &IpxePin, progress: &dyn Progress) -> Result<(UpstreamHistory, Url), Error> {
    let http = match &request.origins.network {
        NetworkAccess::Online(http) => Some(http),
        NetworkAccess::Offline => None,
    };
    let given = request.origins.ipxe_url.as_ref();
    let urls = given.map_or_else(|| pin.urls.clone(), |url| vec![url.clone()]);
    let shown: Vec<String> = urls.iter().map(Url::to_string).collect();
    let mut result = Err(Error::Offline(shown.join("`, `")));
    for url in urls.iter().filter(|url| http.is_some() || git::local_path(url.expose()).is_some()) {
        let upstream = git::upstream(&request.cache.ipxe_history(), url, http, progress);
        result = upstream.map(|upstream| (upstream, url.clone())).map_err(Error::from);
        if result.is_ok() || progress.cancelled() {
            break;
        }
    }
    result
}

fn is_older(new: &IpxePin, old: &IpxePin, changes: Option<&Changes>) -> bool {
    match changes.map(|changes| changes.direction) {
        Some(Direction::Forward) => false,
        Some(Direction::Back) => true,
        Some(Direction::Diverged) | None => Version::of(&new.version) < Version::of(old.version.trim_end_matches('+')),
    }
}

/// Fetches the new commit into the cache, so that the next build finds it. Warns about patches that no longer apply.
fn keep(
    new: &IpxePin,
    repository: &Repository,
    request: &UpdateRequest<'_>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let path = Utf8Path::from_path(repository.commondir()).map(|path| Url::from(path.as_str()));
    let supply = InputSource { network: &NetworkAccess::Offline, given: path.as_ref() };
    ipxe::fetch(new, request.cache, &supply, progress)?;
    match Source::open(new, request.cache, &Patch::read_all(&request.project.patches())?, progress) {
        Err(error @ ipxe::Error::Patch { .. }) => progress.warn(error.warning()),
        other => drop(other?),
    }
    Ok(())
}

/// Target of an update.
struct Found {
    new: IpxePin,
    git_ref: String,
    changes: Option<Changes>,
    warning: Option<Diagnostic>,
}

/// A repository and its address.
struct RefPosition {
    upstream: UpstreamHistory,
    url: String,
}

impl RefPosition {
    /// Resolves `to`, or selects the newest release, and compares it with the pin `old`.
    fn find(&self, old: &IpxePin, to: Option<&str>) -> Result<Found, Error> {
        let repository = &self.upstream.repository;
        let (git_ref, commit) = self.choose(to)?;
        let known = git::has(repository, &old.commit);
        let changes = known.then(|| Changes::between(repository, oid(&old.commit)?, commit)).transpose();
        let changes = changes.map_err(|error| self.broken(&error))?;
        let (new, warning) = self.pin(&git_ref, commit, old)?;
        Ok(Found { new, git_ref, changes, warning })
    }

    fn broken(&self, error: &git2::Error) -> Error {
        Error::History { url: self.url.clone(), reason: error.message().to_owned() }
    }

    /// Returns the commit that `found`, a commit or a tag, resolves to.
    fn commit(&self, found: Oid) -> Result<Oid, git2::Error> {
        Ok(self.upstream.repository.find_object(found, None)?.peel_to_commit()?.id())
    }

    /// Checks whether `found` is a tree or a file, or a tag of one. What is damaged may be a commit.
    fn is_no_commit(&self, found: Oid) -> bool {
        let peeled = |error: git2::Error| matches!(error.code(), ErrorCode::InvalidSpec | ErrorCode::Peel);
        self.commit(found).is_err_and(peeled)
    }

    /// Returns the tag of the newest release.
    fn newest(&self) -> Option<&(String, Oid)> {
        let release = |name: &str| name.strip_prefix(TAGS).and_then(Version::of);
        let tags = self.upstream.refs.iter().filter(|(name, _)| release(name).is_some());
        let tags = tags.filter(|(_, found)| !self.is_no_commit(*found));
        tags.max_by_key(|(name, _)| release(name))
    }

    /// Resolves `to`, or selects the newest release. Returns a ref and the commit.
    fn choose(&self, to: Option<&str>) -> Result<(String, Oid), Error> {
        let newest = self.newest();
        let found = match to {
            None => newest.ok_or_else(|| Error::NoRelease(self.url.clone()))?,
            Some(to) => {
                if let Ok(commit) = to.to_ascii_lowercase().parse() {
                    let unknown = || Error::UnknownCommit { url: self.url.clone(), commit };
                    let wanted = oid(&commit).ok().filter(|oid| self.commit(*oid) == Ok(*oid)).ok_or_else(unknown)?;
                    let leading = self.leading_to(&[wanted]).map_err(|error| self.broken(&error))?.remove(0);
                    return leading.map(|name| (name, wanted)).ok_or_else(unknown);
                }
                let full = [to.to_owned(), format!("{TAGS}{to}"), format!("{HEADS}{to}")];
                match full.iter().find_map(|full| self.upstream.refs.iter().find(|(name, _)| name == full)) {
                    Some(named) => {
                        self.is_no_other_commit(to, named)?;
                        named
                    }
                    None => return self.abbreviated(to),
                }
            }
        };
        if self.is_no_commit(found.1) {
            return Err(Error::NoCommit { url: self.url.clone(), git_ref: found.0.clone() });
        }
        Ok((found.0.clone(), self.commit(found.1).map_err(|error| self.broken(&error))?))
    }

    /// Ensures that `to`, by which `named` was found, is not the beginning of another commit as well: git takes the ref,
    /// and whoever can push a tag to the repository would choose what is pinned.
    fn is_no_other_commit(&self, to: &str, named: &(String, Oid)) -> Result<(), Error> {
        let commits = match self.abbreviated(to) {
            Ok((_, commit)) if self.commit(named.1) == Ok(commit) => return Ok(()),
            Ok((_, commit)) => vec![self.described(commit)],
            Err(Error::Ambiguous { commits, .. }) => commits,
            Err(Error::UnknownCommit { commit, .. }) => vec![commit.to_string()],
            Err(_) => return Ok(()),
        };
        Err(Error::NameOrCommit { url: self.url.clone(), name: to.into(), git_ref: named.0.clone(), commits })
    }

    /// Resolves the abbreviation `to`. Returns a ref that contains the commit, and the commit.
    fn abbreviated(&self, to: &str) -> Result<(String, Oid), Error> {
        let newest = || self.newest().map(|(name, _)| name.trim_start_matches(TAGS).to_owned());
        let unknown = || Error::UnknownRef { url: self.url.clone(), name: to.into(), newest: newest() };
        let digits = digits(to).ok_or_else(unknown)?;
        let mut commits = self.beginning_with(&digits).map_err(|error| self.broken(&error))?;
        commits.truncate(MAX_WANTED);
        let leading = self.leading_to(&commits).map_err(|error| self.broken(&error))?;
        // A commit without a ref is left over from an earlier fetch, possibly of another repository.
        let found: Vec<(String, Oid)> =
            leading.into_iter().zip(&commits).filter_map(|(name, commit)| Some((name?, *commit))).collect();
        match found.as_slice() {
            [] => Err(match commits.last() {
                Some(last) => {
                    let commit = id(*last).map_err(|error| self.broken(&error))?;
                    Error::UnknownCommit { url: self.url.clone(), commit }
                }
                None => unknown(),
            }),
            [only] => Ok(only.clone()),
            many => Err(Error::Ambiguous {
                url: self.url.clone(),
                name: to.into(),
                number: many.len(),
                commits: many.iter().take(NAMED).map(|(_, commit)| self.described(*commit)).collect(),
            }),
        }
    }

    /// Returns all commits of the repository whose IDs begin with `digits`, sorted. An annotated tag counts as its
    /// commit.
    fn beginning_with(&self, digits: &str) -> Result<Vec<Oid>, git2::Error> {
        let mut found = Vec::new();
        self.upstream.repository.odb()?.foreach(|oid| {
            if oid.to_string().starts_with(digits) {
                found.push(*oid);
            }
            true
        })?;
        let mut commits: Vec<Oid> = found.into_iter().filter_map(|oid| self.commit(oid).ok()).collect();
        commits.sort_unstable();
        commits.dedup();
        Ok(commits)
    }

    /// Returns the ID of a commit with its subject.
    fn described(&self, commit: Oid) -> String {
        let found = self.upstream.repository.find_commit(commit);
        let subject = found.as_ref().ok().and_then(git2::Commit::summary_bytes).map(String::from_utf8_lossy);
        format!("{commit}  {}", printable(&subject.unwrap_or_default()))
    }

    /// Returns for each of `wanted`, at most 64 commits, a ref that contains it, if there is one: preferably its own
    /// tag, then the default branch, then any other branch or tag.
    fn leading_to(&self, wanted: &[Oid]) -> Result<Vec<Option<String>>, git2::Error> {
        let tip = |(name, found): &'_ (String, Oid)| Some((name.clone(), self.commit(*found).ok()?));
        let tips: Vec<(String, Oid)> = self.upstream.refs.iter().filter_map(tip).collect();
        let reached = self.reached(&tips, wanted)?;
        let best = |(bit, wanted): (usize, &Oid)| {
            let leads = tips.iter().filter(|(_, tip)| reached.get(tip).is_some_and(|reached| reached >> bit & 1 == 1));
            let rank = |(name, tip): &&(String, Oid)| {
                let own_tag = tip == wanted && name.starts_with(TAGS);
                (!own_tag, self.upstream.head.as_ref() != Some(name), name.clone())
            };
            leads.min_by_key(rank).map(|(name, _)| name.clone())
        };
        Ok(wanted.iter().enumerate().map(best).collect())
    }

    /// Returns for each commit reachable from `tips` which of `wanted` it contains, as bits. Visits each commit once,
    /// regardless of how many branches contain it.
    fn reached(&self, tips: &[(String, Oid)], wanted: &[Oid]) -> Result<HashMap<Oid, u64>, git2::Error> {
        let odb = self.upstream.repository.odb()?;
        let mut reached = HashMap::new();
        // Each entry has the number of its parents that are done.
        let mut waiting: Vec<(Oid, usize)> = tips.iter().map(|(_, tip)| (*tip, 0)).collect();
        while let Some((commit, done)) = waiting.last_mut() {
            let commit = *commit;
            if reached.contains_key(&commit) {
                waiting.pop();
                continue;
            }
            // Commits that a shallow clone lacks contain nothing.
            let parents = parents(&odb, commit, true)?.unwrap_or_default();
            if let Some(next) = parents.iter().skip(*done).position(|parent| !reached.contains_key(parent)) {
                *done += next;
                let parent = parents[*done];
                waiting.push((parent, 0));
                continue;
            }
            waiting.pop();
            let own = wanted.iter().position(|wanted| *wanted == commit).map_or(0, |bit| 1 << bit);
            let all = parents.iter().filter_map(|parent| reached.get(parent)).fold(own, |all, parent| all | parent);
            reached.insert(commit, all);
        }
        Ok(reached)
    }

    /// Creates the pin of `commit`, which `git_ref` contains. Returns a warning if the tag and the makefile disagree
    /// about the version.
    fn pin(&self, git_ref: &str, commit: Oid, old: &IpxePin) -> Result<(IpxePin, Option<Diagnostic>), Error> {
        let repository = &self.upstream.repository;
        let name = id(commit).map_err(|error| self.broken(&error))?;
        let unfit = |error: git2::Error| Error::Unfit { commit: name, reason: error.message().to_owned() };
        let (tree, content) = ipxe::describe(repository, commit).map_err(unfit)?;
        let found = repository.find_commit(commit).map_err(unfit)?;
        let epoch = u32::try_from(found.time().seconds()).map_err(|_| Error::Unfit {
            commit: name,
            reason: "found no honest date, wanted one from 1970 on".into(),
        })?;
        let said = makefile(repository, &found).as_deref().and_then(version::of_makefile);
        let tag =
            git_ref.strip_prefix(TAGS).map(version::bare).filter(|tag| tag.starts_with(|c: char| c.is_ascii_digit()));
        let warning = tag.zip(said.as_deref()).filter(|(tag, said)| tag != said).map(|(tag, said)| {
            let message = format!("`{git_ref}` is called {tag}, and its src/Makefile says {said}");
            Diagnostic::new(message).help("find out whether the tag is where it should be")
        });
        let version = tag.map(str::to_owned).or(said).unwrap_or_else(|| name.to_string()[..12].to_owned());
        let (git_ref, urls, epoch) = (git_ref.to_owned(), old.urls.clone(), epoch.into());
        Ok((IpxePin { version, git_ref, urls, commit: name, tree, content, epoch }, warning))
    }
}

/// Returns the hexadecimal digits of an abbreviated commit: at least four, as git requires. Also accepts the output of
/// `git describe`, which ends with them.
fn digits(to: &str) -> Option<String> {
    let digits = to.rsplit_once("-g").map_or(to, |(_, digits)| digits).to_ascii_lowercase();
    let fit = (4..=40).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fit.then_some(digits)
}

fn makefile(repository: &Repository, commit: &git2::Commit<'_>) -> Option<String> {
    let entry = commit.tree().ok()?.get_path(Path::new("src/Makefile")).ok()?;
    let blob = repository.find_blob(entry.id()).ok()?;
    Some(String::from_utf8_lossy(blob.content()).into_owned())
}
