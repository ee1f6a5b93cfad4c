//! Fills the folder of a new tree: several files at a time, none of them twice, and reuses the files of an earlier run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;

use super::description::{Dedup, FileDigests};
use super::manifest_writer::ManifestWriter;
use super::outcome::{Error, Published};
use super::stamp_journal::{KnownStamps, StampJournal};
use crate::base::progress::Task;
use crate::base::{fs, parallel, paths};
use crate::build::plan::{ContentSource, PlannedFile};
use crate::digest::{Content, Sha256Digest};
use crate::loader::file_kind;
use crate::publish::tree_contents::{FileJob, TreeContents};
use crate::stamp::stamper::Stamper;
use crate::tree::manifest::ManifestEntry;

/// Writer for a new tree.
pub struct StagingWriter<'t> {
    old: &'t Utf8Path,
    new: &'t Utf8Path,
    records: ManifestWriter<'t>,
    dedup: Dedup,
    /// Whether all files so far are in the old tree, too.
    unchanged: AtomicBool,
    published: Published,
}

/// A file that is in the new tree, or is about to be.
enum Made<'p> {
    /// A loader or a boot medium.
    Loader { file: PlannedFile<'p>, identity: Sha256Digest, digests: FileDigests, stamped: bool },
    /// A loader with the same bytes as a previous one.
    Repeated { file: PlannedFile<'p>, identity: Sha256Digest },
    /// Any other file; with its identity if others can be the same.
    Other { file: PlannedFile<'p>, identity: Option<Sha256Digest>, digests: FileDigests },
}

impl<'t> StagingWriter<'t> {
    /// Starts to fill the folder `new`, which is to replace `old`.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn new(old: &'t Utf8Path, new: &'t Utf8Path, contents: &TreeContents<'_>) -> Result<Self, fs::Error> {
        let records = ManifestWriter::create(new, &contents.head())?;
        let (unchanged, published) = (AtomicBool::new(true), Published::default());
        Ok(Self { old, new, records, dedup: Dedup::default(), unchanged, published })
    }

    /// Produces all files of `contents`, or reuses those that `known` lists.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn fill(
        &mut self,
        contents: &TreeContents<'_>,
        known: &KnownStamps,
        journal: &mut StampJournal,
        task: &mut Task<'_>,
    ) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let items = contents.jobs().map(|job| {
            let identity = contents.identity(&job.file.origin);
            let repeated = identity.is_some_and(|identity| !seen.insert(identity));
            (job, identity, repeated)
        });
        let (old, new) = (self.old, self.new);
        let unchanged = std::mem::take(&mut self.unchanged);
        let maker = Maker { old, new, contents, known, unchanged: &unchanged };
        let make = |stamper: &mut Stamper, (job @ FileJob { .. }, identity, repeated)| match identity {
            Some(identity) if repeated => Ok(Made::Repeated { file: job.file, identity }),
            Some(identity) if !matches!(job.file.origin, ContentSource::OfSet(_)) => {
                maker.loader(job, identity, stamper)
            }
            identity => maker.other(job, identity, stamper),
        };
        let filled = parallel::in_order(items, contents.threads, make, |made| {
            task.advance();
            self.settle(made, &maker, journal)
        });
        self.unchanged = unchanged;
        filled
    }

    /// Finishes the manifest and the checksums. Returns the outcome: the tree is new unless the old one has all of its
    /// files.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn finish(mut self) -> Result<Published, fs::Error> {
        self.records.finish()?;
        let digest = |tree: &Utf8Path, name: &str| fs::sha256(&tree.join(name)).ok();
        let same = |name: &&str| digest(self.old, name) == digest(self.new, name);
        let recorded = [paths::MANIFEST, paths::SHA256SUMS].iter().all(same);
        self.published.new = !(recorded && self.unchanged.into_inner());
        Ok(self.published)
    }

    /// Records a finished file. Files come in the order of the plan.
    fn settle(&mut self, made: Made<'_>, maker: &Maker<'_>, journal: &mut StampJournal) -> Result<(), Error> {
        let published = &mut self.published;
        let entry = match made {
            Made::Other { file, identity: Some(identity), digests } => self.dedup.describe(&file, identity, digests),
            Made::Other { file, identity: None, digests } => ManifestEntry::new(&file, digests),
            Made::Loader { file, identity, digests, stamped } => {
                if stamped {
                    published.stamped += 1;
                    journal.add(&file.path, identity, digests)?;
                } else {
                    published.kept += 1;
                    journal.keep(&file.path, identity, digests)?;
                }
                self.dedup.describe(&file, identity, digests)
            }
            Made::Repeated { file, identity } => {
                let (first, digests) = self.dedup.get(&identity);
                maker.repeat(&file.path, first, digests.content)?;
                published.same += 1;
                self.dedup.describe(&file, identity, digests)
            }
        };
        self.records.add(&entry)?;
        (published.files, published.bytes) = (published.files + 1, published.bytes + entry.size);
        if entry.site.is_none() {
            published.root.push(entry);
        }
        Ok(())
    }
}

/// Writes files into the new tree.
struct Maker<'a> {
    old: &'a Utf8Path,
    new: &'a Utf8Path,
    contents: &'a TreeContents<'a>,
    known: &'a KnownStamps,
    unchanged: &'a AtomicBool,
}

impl Maker<'_> {
    /// Reuses a loader from the old tree or from an earlier attempt at the new one, if it exists with its recorded
    /// content; otherwise stamps it.
    fn loader<'p>(&self, job: FileJob<'p>, identity: Sha256Digest, stamper: &mut Stamper) -> Result<Made<'p>, Error> {
        self.check_cancelled()?;
        let path = &job.file.path;
        if let Some(digests) = self.known.content(path, identity)
            && (self.is_made(path, digests.content)? || self.keep(path, digests.content)?)
        {
            let new = self.new.join(path);
            if self.contents.is_signed_as_now(&job.file, digests, &new) {
                return Ok(Made::Loader { file: job.file, identity, digests, stamped: false });
            }
            self.unchanged.store(false, Ordering::Relaxed);
            fs::remove_file(&new)?;
        }
        let digests = self.write(&job, stamper)?;
        Ok(Made::Loader { file: job.file, identity, digests, stamped: true })
    }

    /// Produces a file other than an iPXE loader.
    fn other<'p>(
        &self,
        job: FileJob<'p>,
        identity: Option<Sha256Digest>,
        stamper: &mut Stamper,
    ) -> Result<Made<'p>, Error> {
        self.check_cancelled()?;
        let digests = self.write(&job, stamper)?;
        Ok(Made::Other { file: job.file, identity, digests })
    }

    fn check_cancelled(&self) -> Result<(), Error> {
        if self.contents.progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Writes a file, unless the old tree has an identical one.
    fn write(&self, job: &FileJob<'_>, stamper: &mut Stamper) -> Result<FileDigests, Error> {
        let made = self.contents.content(job, stamper);
        self.check_cancelled()?;
        let bytes = made?;
        let file = &job.file;
        let digests = TreeContents::digests(file, &bytes)?;
        let ManifestEntry { kind, arch, .. } = ManifestEntry::new(file, digests);
        file_kind::check(&bytes, kind, arch).map_err(|mismatch| Error::Unfit { path: file.path.clone(), mismatch })?;
        if !self.keep(&file.path, digests.content)? {
            fs::write_anew(&self.new.join(&file.path), &bytes)?;
        }
        Ok(digests)
    }

    /// Links or copies the file `first` of the new tree to `path`.
    fn repeat(&self, path: &Utf8Path, first: &Utf8Path, content: Content) -> Result<(), fs::Error> {
        // In most trees it is a link to the file that `first` was taken from, which needs no second look.
        let (old, first) = (self.old.join(path), self.new.join(first));
        if !fs::is_same_file(&old, &first) && !has(&old, content) {
            self.unchanged.store(false, Ordering::Relaxed);
        }
        fs::link_or_copy(&first, &self.new.join(path), self.contents.progress)
    }

    /// Returns whether an earlier attempt left `content` at `path` in the new tree.
    fn is_made(&self, path: &Utf8Path, content: Content) -> Result<bool, fs::Error> {
        let new = self.new.join(path);
        if !has(&new, content) {
            return Ok(false);
        }
        if !has(&self.old.join(path), content) {
            self.unchanged.store(false, Ordering::Relaxed);
        }
        fs::set_mode(&new, 0o644)?;
        Ok(true)
    }

    /// Returns whether the old tree has `content` at `path`; if so, it is linked or copied into the new tree.
    fn keep(&self, path: &Utf8Path, content: Content) -> Result<bool, fs::Error> {
        let (old, new) = (self.old.join(path), self.new.join(path));
        if is_plain(&old, content.size) {
            // Verifies the file that will be published, even if the old one is replaced meanwhile.
            fs::link_or_copy(&old, &new, self.contents.progress)?;
            if has(&new, content) {
                return Ok(true);
            }
            fs::remove_file(&new)?;
        }
        self.unchanged.store(false, Ordering::Relaxed);
        Ok(false)
    }
}

/// Returns whether `path` is a plain file of `size` bytes.
fn is_plain(path: &Utf8Path, size: u64) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Returns whether `path` is a plain file with `content`.
fn has(path: &Utf8Path, content: Content) -> bool {
    is_plain(path, content.size) && fs::sha256(path).is_ok_and(|(found, _)| found == content.sha256)
}
