//! Plan of a deployment, computed before anything is changed: from the wanted files, the known state of the target and
//! the result of a scan. It can be printed, and tested without a target.

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

/// Options of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeployOptions {
    /// Reads every file back instead of trusting size and time.
    pub read_all: bool,
    /// Removes files of earlier deployments that are no longer wanted.
    pub prune: bool,
    /// Replaces files that others put there.
    pub replace: bool,
}

/// Result of scanning a target.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Whether the target folder exists.
    pub there: bool,
    /// Files and folders at the paths of [`interest`].
    pub found: BTreeMap<Utf8PathBuf, Found>,
    /// Digests of files that were read, with the attributes that the files had then.
    pub read: BTreeMap<Utf8PathBuf, (Found, Sha256Digest)>,
}

/// Action for a wanted file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction {
    /// The file is already there.
    Unchanged,
    /// The file is sent to a path without a file.
    Send,
    /// The file replaces another one.
    Replace,
}

/// Wanted file and its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedUpload {
    /// File.
    pub wanted: UploadFile,
    /// Action.
    pub step: FileAction,
    /// Bytes that an earlier attempt left under the temporary name; `None` if there is no such file.
    pub partial: Option<u64>,
}

/// Plan of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeployPlan {
    /// Folders to create, outermost first; the empty path is the target itself.
    pub folders: Vec<Utf8PathBuf>,
    /// All wanted files, in the order in which they are sent.
    pub files: Vec<PlannedUpload>,
    /// Temporary files that are no longer useful, to be removed.
    pub leftovers: Vec<Utf8PathBuf>,
    /// Files to remove.
    pub prune: Vec<Utf8PathBuf>,
    /// Files that are already gone; their entries in the record are removed.
    pub gone: Vec<Utf8PathBuf>,
    /// Folders to remove if they are empty by then, innermost first.
    pub emptied: Vec<Utf8PathBuf>,
    /// Files of an earlier deployment that are no longer wanted, and stay.
    pub obsolete: Vec<Utf8PathBuf>,
    /// Files that are no longer wanted and are not what was deployed; they always stay.
    pub changed: Vec<Utf8PathBuf>,
    /// Files and folders that are as wanted, but not readable for other users; their modes are set.
    pub unreadable: Vec<(Utf8PathBuf, Found)>,
    /// Wanted paths at which others put files.
    pub strangers: Vec<Utf8PathBuf>,
    /// Record to write before the files are sent.
    pub record: DeployRecord,
}

/// Something that is never replaced, at a path that the tree needs.
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

/// Returns the paths to scan before planning: files, their temporary names and the folders above them.
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

/// Returns each path with each content that this tool may have put there.
fn known<'a>(
    wanted: &'a [UploadFile],
    remote_state: &'a RemoteState,
) -> impl Iterator<Item = (&'a Utf8PathBuf, Content)> {
    wanted.iter().map(|wanted| (&wanted.path, wanted.content)).chain(remote_state.all())
}

/// Returns the folders above a path, innermost first, without the target itself.
fn above(path: &Utf8Path) -> impl Iterator<Item = &Utf8Path> {
    path.ancestors().skip(1).filter(|folder| !folder.as_str().is_empty())
}

/// Input of a plan.
pub struct Planner<'a> {
    /// Wanted files.
    pub wanted: &'a [UploadFile],
    /// Known state of the target.
    pub remote_state: &'a RemoteState,
    /// Result of the scan.
    pub scan: &'a Scan,
    /// Options.
    pub options: DeployOptions,
}

impl Planner<'_> {
    /// Returns the files that must be read back before planning.
    #[must_use]
    pub fn to_read(&self) -> Vec<(Utf8PathBuf, Found)> {
        let mut paths = Vec::new();
        for UploadFile { path, content } in self.wanted {
            // A file of another size is read only to find out whether this tool deployed it, which does not matter if
            // all files are replaced.
            let ours = self.remote_state.ours(path).filter(|_| !self.options.replace);
            paths.extend(self.doubtful(path, ours.chain([*content])));
        }
        for path in self.unwanted().filter(|_| self.options.prune) {
            paths.extend(self.doubtful(path, self.remote_state.ours(path)));
        }
        paths
    }

    /// Returns the file at `path` if its content is unknown and can be one of `contents`.
    fn doubtful(&self, path: &Utf8Path, mut contents: impl Iterator<Item = Content>) -> Option<(Utf8PathBuf, Found)> {
        let found = *self.scan.found.get(path).filter(|found| found.kind == FoundKind::File)?;
        let known = self.content(path, found).is_some();
        (!known && contents.any(|content| content.size == found.size)).then(|| (path.to_owned(), found))
    }

    /// Returns the content of a file at the target, if it is known.
    fn content(&self, path: &Utf8Path, found: Found) -> Option<Content> {
        let vouched = self.remote_state.vouched(path, found).filter(|_| !self.options.read_all);
        vouched.or_else(|| {
            let (_, sha256) = self.scan.read.get(path).filter(|(then, _)| *then == found)?;
            Some(Content { sha256: *sha256, size: found.size })
        })
    }

    /// Returns the paths at which this tool may have put files that are no longer wanted.
    fn unwanted(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        let wanted: BTreeSet<&Utf8PathBuf> = self.wanted.iter().map(|wanted| &wanted.path).collect();
        let ours: BTreeSet<&Utf8PathBuf> = self.remote_state.all().map(|(path, _)| path).collect();
        ours.into_iter().filter(move |path| !wanted.contains(path))
    }

    /// Computes the plan.
    ///
    /// # Errors
    ///
    /// [`Obstacle`] if something that is never replaced is at a wanted path.
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
        // A partial record is useless, since the record has changed since.
        let partials = partials.chain([paths::partial_record()]);
        let leftovers: BTreeSet<_> =
            partials.filter(|path| self.scan.found.contains_key(path) && !used.contains(path)).collect();
        plan.leftovers = leftovers.into_iter().collect();
        Ok(plan)
    }

    /// Adds the action for a wanted file to the plan.
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
                    // Until it is replaced, the old content is at the target.
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

    /// Adds the actions for files that are no longer wanted to the plan.
    fn sort_out(&self, plan: &mut DeployPlan) {
        let mut folders = BTreeSet::new();
        for path in self.unwanted() {
            let Some(found) = self.scan.found.get(path) else {
                // An earlier attempt may have removed the file, but not its folders.
                plan.gone.push(path.clone());
                folders.extend(above(path));
                continue;
            };
            // Nothing is removed through a link: the files behind it can belong to anyone.
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
            // The manifest that lists it is about to be replaced, so the record must list it.
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
    /// Returns the temporary name under which the file is sent.
    #[must_use]
    pub fn partial_path(&self) -> Utf8PathBuf {
        paths::partial_of(&self.wanted.path, &self.wanted.content.sha256)
    }

    /// Returns the number of bytes still to send.
    #[must_use]
    pub fn to_send(&self) -> u64 {
        self.wanted.content.size - self.partial.unwrap_or(0)
    }
}

impl DeployPlan {
    /// Returns the files to send.
    pub fn under_way(&self) -> impl Iterator<Item = &PlannedUpload> {
        self.files.iter().filter(|planned| planned.step != FileAction::Unchanged)
    }

    /// Checks whether nothing is left to do at a target whose record has the digest `stored`.
    #[must_use]
    pub fn is_done(&self, stored: Option<Sha256Digest>) -> bool {
        let Self { leftovers, prune, gone, emptied, unreadable, .. } = self;
        let paths = [leftovers, prune, gone, emptied];
        self.under_way().next().is_none()
            && unreadable.is_empty()
            && paths.iter().all(|paths| paths.is_empty())
            && Some(self.record.digest()) == stored
    }

    /// Returns the files that the manifest lists: all but the tree's own records.
    pub fn listed(&self) -> impl Iterator<Item = &PlannedUpload> {
        self.files.iter().filter(|planned| !paths::is_tree_record(&planned.wanted.path))
    }

    /// Returns the number of listed files with the action `step`.
    #[must_use]
    pub fn count(&self, step: FileAction) -> usize {
        self.listed().filter(|planned| planned.step == step).count()
    }

    /// Returns the number of bytes still to send.
    #[must_use]
    pub fn to_send(&self) -> u64 {
        self.under_way().map(PlannedUpload::to_send).sum()
    }

    /// Returns the progress so far, in bytes and finished files. It tells a slow link from a dead one.
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
