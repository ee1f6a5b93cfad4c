//! What a deployment does, computed before any of it is done: from what is wanted, what is known of the place, and
//! what was found there. It can be printed, and tested without a place.

mod display;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::record::{DeployRecord, Deployed};
use super::remote::{Found, FoundKind};
use super::remote_state::RemoteState;
use super::upload_set::UploadFile;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::paths;
use crate::digest::{Content, Sha256Digest};
use crate::printable::printable;

/// How it is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeployOptions {
    /// Reads every file back instead of going by size and time.
    pub read_all: bool,
    /// Removes what an earlier deployment put there and is not wanted any more.
    pub prune: bool,
    /// Replaces files that somebody else put there.
    pub replace: bool,
}

/// What was found at a place.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Whether the place itself is there.
    pub there: bool,
    /// What stands at the paths of [`interest`].
    pub found: BTreeMap<Utf8PathBuf, Found>,
    /// The contents of files that were read, and what these looked like then.
    pub read: BTreeMap<Utf8PathBuf, (Found, Sha256Digest)>,
}

/// What is done with a wanted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction {
    /// It is there already.
    Unchanged,
    /// It is put where nothing is.
    Send,
    /// It takes the place of another one.
    Replace,
}

/// A wanted file, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedUpload {
    /// The file.
    pub wanted: UploadFile,
    /// What is done.
    pub step: FileAction,
    /// How much of it an earlier attempt has left under its temporary name; `None` where there is no such file.
    pub partial: Option<u64>,
}

/// All that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployPlan {
    /// Folders that are made, outermost first; the empty path is the place itself.
    pub folders: Vec<Utf8PathBuf>,
    /// All wanted files, in the order in which they are put there.
    pub files: Vec<PlannedUpload>,
    /// Files under temporary names that are of no use any more, and are removed.
    pub leftovers: Vec<Utf8PathBuf>,
    /// Files that are removed.
    pub prune: Vec<Utf8PathBuf>,
    /// Files that are gone already, and are forgotten then.
    pub gone: Vec<Utf8PathBuf>,
    /// Folders that are removed if that leaves nothing in them, innermost first.
    pub emptied: Vec<Utf8PathBuf>,
    /// Files of an earlier deployment that are not wanted any more, and stay.
    pub obsolete: Vec<Utf8PathBuf>,
    /// The same where they are not what was put there: these always stay.
    pub changed: Vec<Utf8PathBuf>,
    /// What is there as it is wanted, and other users cannot read: they get to.
    pub unreadable: Vec<(Utf8PathBuf, Found)>,
    /// Files that somebody else put where something is wanted.
    pub strangers: Vec<Utf8PathBuf>,
    /// What is written down before anything is done.
    pub record: DeployRecord,
}

/// Something that nobody replaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is {found} there, wanted {wanted}", printable(path))]
pub struct Obstacle {
    path: Utf8PathBuf,
    found: &'static str,
    wanted: &'static str,
}

impl Diagnose for Obstacle {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.about(&self.path).help("move it away, or choose another folder")
    }
}

/// What has to be looked at before anything can be decided: files, their temporary names, the folders above them.
#[must_use]
pub fn interest(wanted: &[UploadFile], remote_state: &RemoteState) -> BTreeSet<Utf8PathBuf> {
    let mut paths = BTreeSet::from([paths::partial_record()]);
    for (path, content) in known(wanted, remote_state) {
        paths.extend(above(path).map(Utf8Path::to_owned));
        paths.insert(path.clone());
        paths.insert(paths::partial_of(path, &content.sha256));
    }
    paths
}

/// Every content that may be at a path because of this tool.
fn known<'a>(
    wanted: &'a [UploadFile],
    remote_state: &'a RemoteState,
) -> impl Iterator<Item = (&'a Utf8PathBuf, Content)> {
    wanted.iter().map(|wanted| (&wanted.path, wanted.content)).chain(remote_state.all())
}

/// The folders above a path, innermost first, without the place itself.
fn above(path: &Utf8Path) -> impl Iterator<Item = &Utf8Path> {
    path.ancestors().skip(1).filter(|folder| !folder.as_str().is_empty())
}

/// All that a decision is made of.
pub struct Planner<'a> {
    /// What is wanted.
    pub wanted: &'a [UploadFile],
    /// What is known.
    pub remote_state: &'a RemoteState,
    /// What was found.
    pub scan: &'a Scan,
    /// How it is decided.
    pub options: DeployOptions,
}

impl Planner<'_> {
    /// The files that have to be read back before anything can be decided.
    #[must_use]
    pub fn to_read(&self) -> Vec<(Utf8PathBuf, Found)> {
        let mut paths = Vec::new();
        for UploadFile { path, content } in self.wanted {
            // A file of another size is read only to tell whose it is, which does not matter where all are replaced.
            let ours = self.remote_state.ours(path).filter(|_| !self.options.replace);
            paths.extend(self.doubtful(path, ours.chain([*content])));
        }
        for path in self.unwanted().filter(|_| self.options.prune) {
            paths.extend(self.doubtful(path, self.remote_state.ours(path)));
        }
        paths
    }

    /// A file whose content nobody knows, though it may be one of `contents`.
    fn doubtful(&self, path: &Utf8Path, mut contents: impl Iterator<Item = Content>) -> Option<(Utf8PathBuf, Found)> {
        let found = *self.scan.found.get(path).filter(|found| found.kind == FoundKind::File)?;
        let known = self.content(path, found).is_some();
        (!known && contents.any(|content| content.size == found.size)).then(|| (path.to_owned(), found))
    }

    /// The content of a file that is there, as far as that is known.
    fn content(&self, path: &Utf8Path, found: Found) -> Option<Content> {
        let vouched = self.remote_state.vouched(path, found).filter(|_| !self.options.read_all);
        vouched.or_else(|| {
            let (_, sha256) = self.scan.read.get(path).filter(|(then, _)| *then == found)?;
            Some(Content { sha256: *sha256, size: found.size })
        })
    }

    /// What this tool may have put there and is not wanted.
    fn unwanted(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        let wanted: BTreeSet<&Utf8PathBuf> = self.wanted.iter().map(|wanted| &wanted.path).collect();
        let ours: BTreeSet<&Utf8PathBuf> = self.remote_state.all().map(|(path, _)| path).collect();
        ours.into_iter().filter(move |path| !wanted.contains(path))
    }

    /// Decides.
    ///
    /// # Errors
    ///
    /// [`Obstacle`] where something stands in the way.
    pub fn plan(&self) -> Result<DeployPlan, Obstacle> {
        let mut plan = DeployPlan { record: self.remote_state.record.clone(), ..DeployPlan::default() };
        for wanted in self.wanted {
            self.remote(wanted, &mut plan)?;
        }
        self.make_folders(&mut plan)?;
        self.sort_out(&mut plan);
        let used: BTreeSet<Utf8PathBuf> =
            plan.under_way().filter(|planned| planned.partial.is_some()).map(PlannedUpload::partial_path).collect();
        let partials =
            known(self.wanted, self.remote_state).map(|(path, content)| paths::partial_of(path, &content.sha256));
        // Half a record is of no use: the whole one says something else by now.
        let partials = partials.chain([paths::partial_record()]);
        let leftovers: BTreeSet<_> =
            partials.filter(|path| self.scan.found.contains_key(path) && !used.contains(path)).collect();
        plan.leftovers = leftovers.into_iter().collect();
        Ok(plan)
    }

    /// Decides about a wanted file.
    fn remote(&self, wanted: &UploadFile, plan: &mut DeployPlan) -> Result<(), Obstacle> {
        let UploadFile { path, content } = wanted;
        let mut deployed = Deployed { content: *content, modified: None, next: None };
        let step = match self.scan.found.get(path) {
            None => FileAction::Send,
            Some(found) if found.kind != FoundKind::File => return Err(obstacle(path, *found, "a plain file")),
            Some(found) => match self.content(path, *found) {
                Some(now) if now == *content => {
                    if !found.is_world_readable() {
                        plan.unreadable.push((path.clone(), *found));
                    }
                    deployed.modified = found.modified;
                    FileAction::Unchanged
                }
                Some(now) if self.remote_state.ours(path).any(|ours| ours == now) => {
                    // Until the moment when it is replaced, this is what is there.
                    deployed = Deployed { content: now, modified: found.modified, next: Some(*content) };
                    FileAction::Replace
                }
                _ => {
                    plan.strangers.push(path.clone());
                    FileAction::Replace
                }
            },
        };
        let partial = self.scan.found.get(&paths::partial_of(path, &content.sha256));
        let partial = partial.filter(|partial| partial.kind == FoundKind::File && partial.size <= content.size);
        plan.record.files.insert(path.clone(), deployed);
        plan.files.push(PlannedUpload { wanted: wanted.clone(), step, partial: partial.map(|partial| partial.size) });
        Ok(())
    }

    fn make_folders(&self, plan: &mut DeployPlan) -> Result<(), Obstacle> {
        let mut missing = BTreeSet::new();
        for folder in plan.under_way().flat_map(|planned| above(&planned.wanted.path)) {
            match self.scan.found.get(folder) {
                None => _ = missing.insert(folder.to_owned()),
                Some(found) if found.kind == FoundKind::Folder => {}
                Some(found) => return Err(obstacle(folder, *found, "a folder")),
            }
        }
        let folders: BTreeSet<&Utf8Path> = self.wanted.iter().flat_map(|wanted| above(&wanted.path)).collect();
        for folder in folders {
            let found = self.scan.found.get(folder).filter(|found| found.kind == FoundKind::Folder);
            plan.unreadable
                .extend(found.filter(|found| !found.is_world_readable()).map(|found| (folder.to_owned(), *found)));
        }
        let remote = (!self.scan.there).then(Utf8PathBuf::new);
        plan.folders = remote.into_iter().chain(missing).collect();
        Ok(())
    }

    /// Decides about what is not wanted any more.
    fn sort_out(&self, plan: &mut DeployPlan) {
        let mut folders = BTreeSet::new();
        for path in self.unwanted() {
            let Some(found) = self.scan.found.get(path) else {
                // An earlier attempt may have removed it, and not come to the folders.
                plan.gone.push(path.clone());
                folders.extend(above(path));
                continue;
            };
            // Nothing is removed through a link: what is there may be anybody's.
            let plain = found.kind == FoundKind::File && above(path).all(|folder| self.is_folder(folder));
            let content =
                self.content(path, *found).filter(|content| self.remote_state.ours(path).any(|ours| ours == *content));
            if !plain || self.options.prune && content.is_none() {
                plan.changed.push(path.clone());
            } else if self.options.prune {
                plan.prune.push(path.clone());
                folders.extend(above(path));
            } else {
                plan.obsolete.push(path.clone());
            }
            // The manifest that lists it is going to be replaced.
            if let (None, Some(content)) =
                (self.remote_state.record.files.get(path), self.remote_state.ours(path).next())
            {
                plan.record.files.insert(path.clone(), Deployed { content, modified: None, next: None });
            }
        }
        for wanted in self.wanted {
            above(&wanted.path).for_each(|folder| _ = folders.remove(folder));
        }
        if self.options.prune {
            let emptied = folders.into_iter().rev().filter(|folder| self.is_folder(folder));
            plan.emptied = emptied.map(Utf8Path::to_owned).collect();
        } else {
            plan.gone.clear();
        }
    }

    fn is_folder(&self, path: &Utf8Path) -> bool {
        self.scan.found.get(path).is_some_and(|found| found.kind == FoundKind::Folder)
    }
}

impl PlannedUpload {
    /// Where it is written before it gets its name.
    #[must_use]
    pub fn partial_path(&self) -> Utf8PathBuf {
        paths::partial_of(&self.wanted.path, &self.wanted.content.sha256)
    }

    /// How many bytes are still to be sent.
    #[must_use]
    pub fn to_send(&self) -> u64 {
        self.wanted.content.size - self.partial.unwrap_or(0)
    }
}

impl DeployPlan {
    /// The files that are put there.
    pub fn under_way(&self) -> impl Iterator<Item = &PlannedUpload> {
        self.files.iter().filter(|planned| planned.step != FileAction::Unchanged)
    }

    /// Whether there is nothing to do at a place that has the record with the digest `stored`.
    #[must_use]
    pub fn is_done(&self, stored: Option<Sha256Digest>) -> bool {
        let Self { leftovers, prune, gone, emptied, unreadable, .. } = self;
        let paths = [leftovers, prune, gone, emptied];
        self.under_way().next().is_none()
            && unreadable.is_empty()
            && paths.iter().all(|paths| paths.is_empty())
            && Some(self.record.digest()) == stored
    }

    /// The files that the manifest lists: all but the tree's own records.
    pub fn listed(&self) -> impl Iterator<Item = &PlannedUpload> {
        self.files.iter().filter(|planned| !paths::is_tree_record(&planned.wanted.path))
    }

    /// Number of listed files for which `step` is done.
    #[must_use]
    pub fn count(&self, step: FileAction) -> usize {
        self.listed().filter(|planned| planned.step == step).count()
    }

    /// How many bytes are still to be sent.
    #[must_use]
    pub fn to_send(&self) -> u64 {
        self.under_way().map(PlannedUpload::to_send).sum()
    }

    /// How far all of it is. Whoever comes further each time has not to be given up.
    #[must_use]
    pub fn reached(&self) -> u64 {
        let reached = |planned: &PlannedUpload| match planned.step {
            FileAction::Unchanged => planned.wanted.content.size + 1,
            FileAction::Send | FileAction::Replace => planned.partial.unwrap_or(0),
        };
        self.files.iter().map(reached).sum()
    }
}

fn obstacle(path: &Utf8Path, found: Found, wanted: &'static str) -> Obstacle {
    let found = match found.kind {
        FoundKind::File => "a file",
        FoundKind::Folder => "a folder",
        FoundKind::Other => "a link or a device",
    };
    Obstacle { path: path.to_owned(), found, wanted }
}
