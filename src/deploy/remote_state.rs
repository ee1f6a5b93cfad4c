//! Known state of a target: its manifest, and the record of earlier deployments.

use crate::base::plural::count;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use camino::{Utf8Path, Utf8PathBuf};

use super::record::{DeployRecord, Deployed};
use super::remote::{Error, Found, FoundKind, Remote};
use super::upload_set::UploadFile;
use crate::base::progress::Progress;
use crate::base::{parallel, paths};
use crate::digest::Content;
use crate::tree::limits::{MAX_FILE, MAX_FILES};
use crate::tree::manifest::{GENERATOR, Listing};
use crate::tree::verify::is_inside;

/// Maximum total size in bytes of the paths of a tree, or of a target's manifest and record together, with the folders
/// above them. It is enough for [`MAX_FILES`] sites with names of 30 characters and a loader each. Each path is kept up
/// to seven times.
pub(super) const MAX_PATHS: usize = 12 << 20;

/// Bytes that a path counts for besides its length: a short path takes memory, too.
const OF_A_PATH: usize = 16;

/// Maximum size of a record in bytes: its paths, and for each of [`MAX_FILES`], two digests, sizes and a time.
const MAX_RECORD: u64 = (MAX_PATHS + 360 * MAX_FILES) as u64;

/// Known state of a target.
#[derive(Debug, Clone, Default)]
pub struct RemoteState {
    /// Recorded files of earlier deployments.
    pub record: DeployRecord,
    /// File that is being renamed, whose time is already known. Whether the rename succeeded is unknown until the next
    /// scan.
    pub in_flight: Option<(Utf8PathBuf, Deployed)>,
    /// Reason why the manifest at the target is not one of this tool's.
    pub foreign: Option<String>,
    /// Files that the manifest at the target lists, and the manifest itself; empty if it is not one of this tool's.
    published: BTreeMap<Utf8PathBuf, Content>,
}

impl RemoteState {
    /// Reads the manifest and the record of a target.
    ///
    /// # Errors
    ///
    /// [`Error`] of the target. A manifest or record that cannot be parsed is not an error.
    pub fn read(remote: &mut dyn Remote, progress: &dyn Progress) -> Result<Self, Error> {
        if !remote.is_there()? {
            return Ok(Self::default());
        }
        let names = [Utf8PathBuf::from(paths::MANIFEST), Utf8PathBuf::from(paths::DEPLOYED)];
        let found = remote.lstat(&names)?;
        // Read one after the other, since each can take a quarter of the memory that is available for everything.
        let mut text = |index: usize, most| {
            let found: Option<Found> = found.get(index).copied().flatten();
            found.map(|found| text(remote, &names[index], found, most)).transpose()
        };
        let manifest = text(0, MAX_FILE)?;
        let manifest = move || manifest.map(|text| text.and_then(|text| published(&text)));
        let manifest = parallel::detached_on_cancel(progress, manifest).ok_or(Error::Cancelled)?;
        let record = text(1, MAX_RECORD)?.and_then(Result::ok).unwrap_or_default();
        let read = parallel::detached_on_cancel(progress, move || Self::new(manifest, DeployRecord::parse(&record)));
        read.ok_or(Error::Cancelled)
    }

    /// Creates the state from a record and a manifest's files, or the reason why the manifest is not one of this
    /// tool's.
    #[must_use]
    pub fn new(manifest: Option<Result<BTreeMap<Utf8PathBuf, Content>, String>>, mut record: DeployRecord) -> Self {
        record.files.retain(|path, deployed| {
            let sizes = [deployed.content.size, deployed.next.map_or(0, |next| next.size)];
            is_inside(path) && sizes.iter().all(|size| *size <= MAX_FILE)
        });
        let (published, foreign) = match manifest {
            None => (BTreeMap::new(), None),
            Some(Ok(published)) => (published, None),
            Some(Err(reason)) => (BTreeMap::new(), Some(reason)),
        };
        // A file that is deployed again and again is in both.
        let all: BTreeSet<&Utf8Path> = record.files.keys().chain(published.keys()).map(|path| &**path).collect();
        if are_too_long(all.into_iter()) {
            record = DeployRecord::default();
        }
        Self { record, in_flight: None, foreign, published }
    }

    /// Returns the contents that this tool may have put at `path`.
    pub fn ours(&self, path: &Utf8Path) -> impl Iterator<Item = Content> {
        let recorded = self.record.files.get(path).into_iter().flat_map(Deployed::contents);
        recorded.chain(self.published.get(path).copied())
    }

    /// Returns each path with each content that this tool may have put there.
    pub fn all(&self) -> impl Iterator<Item = (&Utf8PathBuf, Content)> {
        let recorded =
            self.record.files.iter().flat_map(|(path, deployed)| iter::repeat(path).zip(deployed.contents()));
        recorded.chain(self.published.iter().map(|(path, content)| (path, *content)))
    }

    /// Returns the paths of files that differ only in case from one of `wanted`, each with that one.
    #[must_use]
    pub fn in_other_case(&self, wanted: &[UploadFile]) -> Vec<(Utf8PathBuf, Utf8PathBuf)> {
        let lower = |path: &Utf8Path| path.as_str().to_lowercase();
        let names: BTreeSet<&Utf8PathBuf> = wanted.iter().map(|wanted| &wanted.path).collect();
        let unwanted = self.all().map(|(path, _)| path).filter(|path| !names.contains(path));
        // Several of them can be names of one file.
        let unwanted: BTreeSet<&Utf8PathBuf> = unwanted.collect();
        if unwanted.is_empty() {
            return Vec::new();
        }
        let wanted: HashMap<String, &Utf8PathBuf> = names.into_iter().map(|path| (lower(path), path)).collect();
        let pair = |old: &Utf8PathBuf| Some((old.clone(), (*wanted.get(&lower(old))?).clone()));
        unwanted.into_iter().filter_map(pair).collect()
    }

    /// Takes each of the files `renamed` for the one that is named after it, because both names lead to the same file.
    pub fn rename(&mut self, renamed: Vec<(Utf8PathBuf, Utf8PathBuf)>) {
        for (old, new) in renamed {
            if let Some(deployed) = self.record.files.remove(&old) {
                self.record.files.entry(new.clone()).or_insert(deployed);
            }
            if let Some(content) = self.published.remove(&old) {
                self.published.entry(new).or_insert(content);
            }
        }
    }

    /// Returns the content of `path` if it has not changed since it was deployed, judging by size and time.
    #[must_use]
    pub fn vouched(&self, path: &Utf8Path, found: Found) -> Option<Content> {
        let in_flight = self.in_flight.iter().filter(|(flying, _)| flying == path).map(|(_, deployed)| deployed);
        let mut known = self.record.files.get(path).into_iter().chain(in_flight);
        let same = |known: &&Deployed| known.content.size == found.size && known.modified == found.modified;
        known.find(same).filter(|_| found.modified.is_some()).map(|known| known.content)
    }
}

/// Returns the content of a file, or the reason why it cannot be the wanted one.
fn text(remote: &mut dyn Remote, path: &Utf8Path, found: Found, most: u64) -> Result<Result<Vec<u8>, String>, Error> {
    if found.kind != FoundKind::File || found.size > most {
        return Ok(Err(format!("found {}, wanted a file of at most {most}", count(found.size, "byte"))));
    }
    let mut text = Vec::new();
    remote.read(path, 0..found.size, &mut |piece| text.extend_from_slice(piece))?;
    Ok(Ok(text))
}

/// Returns the files that a manifest lists, and the tree's own records.
///
/// # Errors
///
/// The reason why the manifest is not one of this tool's.
pub fn published(manifest: &[u8]) -> Result<BTreeMap<Utf8PathBuf, Content>, String> {
    let listing = Listing::parse(manifest)?;
    if listing.generator.name != GENERATOR {
        let found = listing.generator.name;
        return Err(format!("found the generator `{found}`, wanted `{GENERATOR}`"));
    }
    let manifest = Content::of(manifest);
    let sums = listing.sums_content(&manifest);
    let listed = listing.files.into_iter().map(|file| {
        let content = file.content();
        (file.path, content)
    });
    let listed = listed.filter(|(path, content)| is_inside(path) && content.size <= MAX_FILE);
    let records = [(paths::SHA256SUMS.into(), sums), (paths::MANIFEST.into(), manifest)];
    let published: BTreeMap<Utf8PathBuf, Content> = listed.chain(records).collect();
    if are_too_long(published.keys().map(|path| &**path)) {
        return Err(format!("found paths of more than {MAX_PATHS} bytes with their folders, wanted those of a tree"));
    }
    Ok(published)
}

/// Checks whether `paths`, which must be sorted, have more than [`MAX_PATHS`] bytes. A folder of several files counts
/// once.
pub(super) fn are_too_long<'p>(paths: impl Iterator<Item = &'p Utf8Path>) -> bool {
    let (mut total, mut last) = (0, Utf8Path::new(""));
    for path in paths {
        let new = path.ancestors().take_while(|path| !path.as_str().is_empty() && !last.starts_with(path));
        total += new.map(|path| path.as_str().len() + OF_A_PATH).sum::<usize>();
        last = path;
    }
    total > MAX_PATHS
}
