//! The pin of iPXE: which commit to move to, and what that brings.

use std::path::Path;

use camino::Utf8Path;
use git2::{Oid, Repository};

use super::history::{Changes, Direction, id, printable};
use super::version::{self, Version};
use super::{Error, Held, Request};
use crate::choices::pins::{IpxePin, Pins};
use crate::digest::CommitId;
use crate::progress::{Event, Progress};
use crate::source::Supply;
use crate::source::git::{self, HEADS, TAGS, Upstream};
use crate::source::http::Network;
use crate::source::ipxe::{self, Patch, Source};
use crate::url::Url;

/// How many commits are named where an abbreviation is ambiguous.
const NAMED: usize = 20;
/// For how many commits that begin alike it is found out what leads to them, which takes a walk for each.
const TRIED: usize = 64;

/// What an update of iPXE comes to.
#[derive(Debug)]
pub struct Outcome {
    /// The pin as it was.
    pub old: IpxePin,
    /// The pin as it is now, or would be.
    pub new: IpxePin,
    /// The repository that was asked.
    pub url: Url,
    /// What lies between; `None` where the repository does not have the old commit.
    pub changes: Option<Changes>,
    /// Whether the repository is a clone without its whole history, so that commits are missing.
    pub shallow: bool,
}

/// Moves the pin of iPXE to the newest release, or to what is asked for: a tag, a branch or a commit.
///
/// # Errors
///
/// [`Error`]; the pins are then as they were.
pub fn update(request: &Request<'_>, progress: &dyn Progress) -> Result<Outcome, Error> {
    let held = Held::take(request, progress)?;
    let old = held.pins.ipxe.clone();
    let (upstream, url) = look(request, &old, progress)?;
    let shown = url.to_string();
    let place = Place { upstream: &upstream, url: &shown };
    let (git_ref, commit) = place.choose(request.to)?;
    let known = git::has(&upstream.repository, &old.commit);
    let changes = known.then(|| Changes::between(&upstream.repository, oid(&old.commit)?, commit)).transpose();
    let changes = changes.map_err(|error| place.broken(&error))?;
    let new = place.pin(&git_ref, commit, &old, progress)?;
    if request.to.is_none() && is_older(&new, &old, changes.as_ref()) {
        let tag = git_ref.trim_start_matches(TAGS).to_owned();
        return Err(Error::Older { url: shown, tag, pinned: old.version });
    }
    let text = held.rewrite(&Pins { ipxe: new.clone(), ..held.pins.clone() })?;
    if !request.dry_run && new != old {
        keep(&new, &upstream.repository, request, progress)?;
    }
    held.write(&text, request, progress)?;
    Ok(Outcome { old, new, changes, shallow: upstream.repository.is_shallow(), url })
}

fn oid(commit: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_bytes(commit.as_bytes())
}

/// Looks at the first repository that can be had.
fn look(request: &Request<'_>, pin: &IpxePin, progress: &dyn Progress) -> Result<(Upstream, Url), Error> {
    let http = match &request.origins.network {
        Network::Online(http) => Some(http),
        Network::Offline => None,
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

/// Brings the new commit into the cache, so that the next build has it, and says which patches do
/// not fit any more.
fn keep(new: &IpxePin, repository: &Repository, request: &Request<'_>, progress: &dyn Progress) -> Result<(), Error> {
    let path = Utf8Path::from_path(repository.commondir()).map(|path| Url::from(path.as_str()));
    let supply = Supply { network: &Network::Offline, given: path.as_ref() };
    ipxe::fetch(new, request.cache, &supply, progress)?;
    match Source::open(new, request.cache, &Patch::read_all(&request.project.patches())?) {
        Err(error @ ipxe::Error::Patch { .. }) => progress.report(&Event::Warning { message: error.to_string() }),
        other => drop(other?),
    }
    Ok(())
}

/// A repository, and where it is.
struct Place<'a> {
    upstream: &'a Upstream,
    url: &'a str,
}

impl Place<'_> {
    fn broken(&self, error: &git2::Error) -> Error {
        Error::History { url: self.url.into(), reason: error.message().to_owned() }
    }

    /// The commit that `found`, a commit or a tag of one, means.
    fn commit(&self, found: Oid) -> Result<Oid, git2::Error> {
        Ok(self.upstream.repository.find_object(found, None)?.peel_to_commit()?.id())
    }

    /// The tag of the newest release.
    fn newest(&self) -> Option<&(String, Oid)> {
        let release = |name: &str| name.strip_prefix(TAGS).and_then(Version::of);
        let tags = self.upstream.refs.iter().filter(|(name, _)| release(name).is_some());
        tags.max_by_key(|(name, _)| release(name))
    }

    /// What `to` means, or the newest release: a ref and the commit.
    fn choose(&self, to: Option<&str>) -> Result<(String, Oid), Error> {
        let newest = self.newest();
        let found = match to {
            None => newest.ok_or_else(|| Error::NoRelease(self.url.into()))?,
            Some(to) => {
                if let Ok(commit) = to.to_ascii_lowercase().parse() {
                    return self.leading_to(&commit);
                }
                let full = [to.to_owned(), format!("{TAGS}{to}"), format!("{HEADS}{to}")];
                match full.iter().find_map(|full| self.upstream.refs.iter().find(|(name, _)| name == full)) {
                    Some(named) => named,
                    None => return self.abbreviated(to),
                }
            }
        };
        Ok((found.0.clone(), self.commit(found.1).map_err(|error| self.broken(&error))?))
    }

    /// The commit that `to` abbreviates, and a ref that leads to it.
    fn abbreviated(&self, to: &str) -> Result<(String, Oid), Error> {
        let newest = || self.newest().map(|(name, _)| name.trim_start_matches(TAGS).to_owned());
        let unknown = || Error::UnknownRef { url: self.url.into(), name: to.into(), newest: newest() };
        let digits = digits(to).ok_or_else(unknown)?;
        let (mut found, mut loose) = (Vec::new(), None);
        for commit in self.beginning_with(&digits).map_err(|error| self.broken(&error))?.into_iter().take(TRIED) {
            match self.leading_to(&id(commit).map_err(|error| self.broken(&error))?) {
                Ok(leading) => found.push(leading),
                // Of an old fetch, or of another repository that was asked before.
                Err(error) => loose = Some(error),
            }
        }
        match found.as_slice() {
            [] => Err(loose.unwrap_or_else(unknown)),
            [only] => Ok(only.clone()),
            many => Err(Error::Ambiguous {
                url: self.url.into(),
                name: to.into(),
                number: many.len(),
                commits: many.iter().take(NAMED).map(|(_, commit)| self.described(*commit)).collect(),
            }),
        }
    }

    /// All commits of the repository whose names begin with `digits`, sorted. A tag with an object of its own
    /// counts as its commit.
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

    /// A commit with its subject.
    fn described(&self, commit: Oid) -> String {
        let found = self.upstream.repository.find_commit(commit);
        let subject = found.as_ref().ok().and_then(git2::Commit::summary_bytes).map(String::from_utf8_lossy);
        format!("{commit}  {}", printable(&subject.unwrap_or_default()))
    }

    /// A ref that leads to `commit`: its own tag, else the default branch, else any branch or tag.
    fn leading_to(&self, commit: &CommitId) -> Result<(String, Oid), Error> {
        let unknown = || Error::UnknownCommit { url: self.url.into(), commit: *commit };
        let wanted = oid(commit).ok().filter(|oid| self.commit(*oid) == Ok(*oid)).ok_or_else(unknown)?;
        let rank = |(name, found): &(String, Oid)| {
            let tip = self.commit(*found).ok()?;
            let leads = tip == wanted || self.upstream.repository.graph_descendant_of(tip, wanted).ok()?;
            let own_tag = tip == wanted && name.starts_with(TAGS);
            let is_head = self.upstream.head.as_ref() == Some(name);
            leads.then(|| (!own_tag, !is_head, name.clone()))
        };
        let best = self.upstream.refs.iter().filter_map(rank).min();
        best.map(|(_, _, name)| (name, wanted)).ok_or_else(unknown)
    }

    /// The pin of `commit`, to which `git_ref` leads.
    fn pin(&self, git_ref: &str, commit: Oid, old: &IpxePin, progress: &dyn Progress) -> Result<IpxePin, Error> {
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
        if let (Some(tag), Some(said)) = (tag, said.as_deref().filter(|said| Some(*said) != tag)) {
            let message = format!(
                "`{git_ref}` is called {tag}, and its src/Makefile says {said}\nhint: find out whether the tag is where it should be"
            );
            progress.report(&Event::Warning { message });
        }
        let version = tag.map(str::to_owned).or(said).unwrap_or_else(|| name.to_string()[..12].to_owned());
        let (git_ref, urls, epoch) = (git_ref.to_owned(), old.urls.clone(), epoch.into());
        Ok(IpxePin { version, git_ref, urls, commit: name, tree, content, epoch })
    }
}

/// The digits of an abbreviated commit: at least four, as git wants them, also at the end of what `git describe`
/// prints.
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
