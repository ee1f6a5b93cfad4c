//! Opens a tree, or the tarball of one, as a folder whose content matches its manifest.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use camino::{Utf8Path, Utf8PathBuf};

use super::limits;
use super::manifest::{Manifest, ManifestEntry};
use super::verify;
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Page, Subcommand};
use crate::base::fs::{self, Temporary};
use crate::base::paths;
use crate::base::progress::{Interruptible, Progress, Silent};
use crate::base::tarball::{self, Limits, TarEntryKind};
use crate::digest::{Content, Sha256Digest};
use crate::printable::{listed, printable};

/// A tree whose content matches its manifest.
#[derive(Debug)]
pub struct CheckedTree {
    /// Path of the tree or the tarball, as the user named it.
    pub name: Utf8PathBuf,
    /// The tree's folder.
    pub root: Utf8PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// `SHA256SUMS` and `manifest.json`, which the manifest does not list; empty in a copy of some of the files.
    pub records: Vec<(&'static Utf8Path, Content)>,
    _unpacked: Option<Temporary>,
}

/// Errors from opening a tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree cannot be compared with its manifest.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The tree differs from its manifest.
    #[error("`{}` differs from its manifest\n{}", printable(path), listed(differences))]
    Different {
        /// The tree.
        path: Utf8PathBuf,
        /// The differences.
        differences: Vec<verify::Difference>,
    },
    /// The tree has changed since it was compared.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// The tarball cannot be unpacked.
    #[error("cannot unpack `{}`", printable(path))]
    Unpack {
        /// The tarball.
        path: Utf8PathBuf,
        /// Error from the operating system.
        source: std::io::Error,
    },
    /// The tarball cannot be read a second time.
    #[error(transparent)]
    Tarball(#[from] tarball::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Verify(error) => error.diagnosis(),
            Self::Different { path, .. } => remedies(path).page(Page::VerifyAndInspect),
            Self::Changed(error) => Diagnosis { class: Class::DamagedTree, ..error.diagnosis() },
            Self::Unpack { path, .. } => Class::Failure.about(path),
            Self::Tarball(_) => Class::DamagedTree.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Returns what restores the tree at `path`, which depends on where it came from.
fn remedies(path: &Utf8Path) -> Diagnosis {
    let diagnosis = Class::DamagedTree.about(path);
    if path.is_file() {
        diagnosis.help("copy or download it again").help(Subcommand::PackTarball)
    } else if path.join(paths::DEPLOYED).is_file() {
        diagnosis.help(Subcommand::Deploy)
    } else if paths::Staging::of(path).journal.is_file() {
        diagnosis.help(Subcommand::BuildLoaders)
    } else {
        diagnosis.help("copy it again, or go back to the tree that it is a copy of")
    }
}

/// Error for a tree that has changed since it was checked.
#[derive(Debug, thiserror::Error)]
#[error("`{}` has changed since the tree was checked", printable(.0))]
pub struct Changed(pub Utf8PathBuf);

impl Diagnose for Changed {
    fn diagnosis(&self) -> Diagnosis {
        Class::Failure.about(&self.0).help("run the command again, while no build replaces the tree")
    }
}

impl CheckedTree {
    /// Opens the tree or tarball at `path`; unpacks a tarball below `scratch`.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be read, or differs from its manifest.
    pub fn open(path: &Utf8Path, scratch: &Utf8Path, progress: &dyn Progress) -> Result<Self, Error> {
        if path.is_dir() {
            let report = same(path, verify::verify(path, progress)?)?;
            return Self::at(path, path, report, None);
        }
        // The file stays open, so replacing it by name has no effect.
        let mut tarball = fs::open(path)?;
        let failed = |source| Error::Unpack { path: path.to_owned(), source };
        let report = same(path, verify::tarball(path, tarball.try_clone().map_err(failed)?, None, progress)?)?;
        tarball.rewind().map_err(failed)?;
        let limits = limits::of_tarball(&tarball);
        let folder = Temporary::create(scratch, paths::TEMPORARY)?;
        let root = folder.path().to_owned();
        unpack(path, limits, Interruptible::new(tarball, progress), &report, &root)?;
        Self::at(path, &root, report, Some(folder))
    }

    fn at(
        path: &Utf8Path,
        root: &Utf8Path,
        report: verify::VerifyReport,
        unpacked: Option<Temporary>,
    ) -> Result<Self, Error> {
        // A server that runs in another folder needs an absolute path.
        let root = root.canonicalize_utf8().map_err(|source| Error::Unpack { path: path.to_owned(), source })?;
        let verify::VerifyReport { manifest, records, .. } = report;
        Ok(Self { name: path.to_owned(), root, manifest, records, _unpacked: unpacked })
    }

    /// Returns the bytes of the file at `path`, which must be `content`, as when the tree was checked.
    ///
    /// # Errors
    ///
    /// [`Changed`] if they are not, or if the file is no longer readable.
    pub fn read(&self, path: &Utf8Path, content: &Content) -> Result<Vec<u8>, Changed> {
        let path = self.root.join(path);
        let found = fs::read_at_most(&path, content.size).ok().filter(|found| Content::of(found) == *content);
        found.ok_or(Changed(path))
    }

    /// Copies the `wanted` files to the new folder `root`, as they were when the tree was checked. The copy stays as it
    /// is, even if other users write into the original folder.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if a file has changed; [`Error::Fs`] if a file cannot be written.
    pub fn copy(&self, root: &Utf8Path, wanted: impl Fn(&ManifestEntry) -> bool) -> Result<Self, Error> {
        fs::create_dir_all(root)?;
        let mut first: BTreeMap<Sha256Digest, Utf8PathBuf> = BTreeMap::new();
        let files: Vec<ManifestEntry> = self.manifest.files.iter().filter(|file| wanted(file)).cloned().collect();
        for file in &files {
            let path = root.join(&file.path);
            fs::create_dir_all(path.parent().unwrap_or(root))?;
            match first.get(&file.sha256) {
                Some(same) => fs::link_or_copy(same, &path, &Silent)?,
                None => {
                    fs::write_anew(&path, &self.read(&file.path, &file.content())?)?;
                    first.insert(file.sha256, path);
                }
            }
        }
        let manifest = self.manifest.with_files(files);
        Ok(Self { name: self.name.clone(), root: root.to_owned(), manifest, records: Vec::new(), _unpacked: None })
    }

    /// Returns the same tree, for a test that deploys it twice.
    #[cfg(test)]
    pub(crate) fn again(&self) -> Self {
        let (name, root, manifest) = (self.name.clone(), self.root.clone(), self.manifest.clone());
        Self { name, root, manifest, records: self.records.clone(), _unpacked: None }
    }

    /// Returns the names and paths of the entries in the tree's root, for a TFTP folder that contains them and more.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the root cannot be listed.
    pub fn top(&self) -> Result<BTreeMap<String, Utf8PathBuf>, fs::Error> {
        let paths = self.manifest.files.iter().filter_map(|file| file.path.iter().next());
        Ok(paths.map(|name| (name.to_owned(), self.root.join(name))).collect())
    }
}

/// Returns the report on a tree that matches its manifest.
fn same(path: &Utf8Path, report: verify::VerifyReport) -> Result<verify::VerifyReport, Error> {
    if report.differences.is_empty() {
        Ok(report)
    } else {
        Err(Error::Different { path: path.to_owned(), differences: report.differences })
    }
}

/// Unpacks the tarball `file`, named `path`, to the folder `root`. It was compared with the manifest of `report`
/// before, but may have been replaced since, so the content that is written is compared again.
fn unpack(
    path: &Utf8Path,
    limits: Limits,
    file: impl Read,
    report: &verify::VerifyReport,
    root: &Utf8Path,
) -> Result<(), Error> {
    let changed = || Error::Changed(Changed(path.to_owned()));
    let listed = report.manifest.files.iter().map(|file| (&*file.path, file.content()));
    let mut wanted: BTreeMap<&Utf8Path, Content> = listed.chain(report.records.iter().copied()).collect();
    tarball::visit(file, limits, &mut |name, mut entry| {
        let content = wanted.remove(&*name).ok_or_else(changed)?;
        if entry.kind != TarEntryKind::File || entry.size != content.size || !verify::is_inside(&name) {
            return Err(changed());
        }
        let bytes = entry.content()?;
        if Content::of(&bytes) != content {
            return Err(changed());
        }
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        Ok(fs::write_anew(&path, &bytes)?)
    })?;
    if wanted.is_empty() { Ok(()) } else { Err(changed()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::progress::Silent;
    use crate::deploy::samples;

    const LIMITS: Limits = Limits { entries: 100, extension: 0, entry: 10_000, total: 100_000 };

    /// Returns a tree, and its tarball at `name` beside it.
    fn packed(name: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, CheckedTree, Utf8PathBuf) {
        let (folder, tree) = samples::tree(files);
        let path = tree.root.join("..").join(name);
        tarball::pack(&tree.root, 1, &path, &Silent).unwrap();
        (folder, tree, path)
    }

    #[test]
    fn a_tarball_is_unpacked_as_it_was_checked() {
        let (_guard, tree, path) = packed("a.tar.gz", &[("a", "1"), ("sites/b", "2")]);
        let scratch = tempfile::tempdir().unwrap();
        let scratch = Utf8Path::from_path(scratch.path()).unwrap();
        let opened = CheckedTree::open(&path, scratch, &Silent).unwrap();
        for file in &tree.manifest.files {
            assert_eq!(
                opened.read(&file.path, &file.content()).unwrap(),
                fs::read(&tree.root.join(&file.path)).unwrap()
            );
        }
        std::fs::write(opened.root.join("a"), "2").unwrap();
        let file = &opened.manifest.files[0];
        let error = opened.read(&file.path, &file.content()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{}/a` has changed since the tree was checked", opened.root)));
    }

    #[test]
    fn a_copy_is_what_was_checked_and_stays_that() {
        let (_guard, tree) = samples::tree(&[("a", "1"), ("b", "2"), ("sites/c", "1"), ("sites/d", "3")]);
        let scratch = tempfile::tempdir().unwrap();
        let scratch = Utf8Path::from_path(scratch.path()).unwrap();
        let copy = tree.copy(&scratch.join("1"), |file| file.path != "b").unwrap();
        std::fs::write(tree.root.join("a"), "evil").unwrap();
        std::fs::write(tree.root.join("b"), "evil").unwrap();
        let read = |path: &str| fs::read(&copy.root.join(path)).ok();
        assert_eq!(
            ["a", "b", "sites/c", "sites/d"].map(read),
            [Some(b"1"), None, Some(b"1"), Some(b"3")].map(|text| text.map(Vec::from))
        );
        assert_eq!(copy.top().unwrap().keys().collect::<Vec<_>>(), ["a", "sites"]);
        // A file that other users replaced meanwhile is not copied, even if it is a link to the same content.
        let error = tree.copy(&scratch.join("2"), |_| true).unwrap_err();
        assert!(matches!(&error, Error::Changed(Changed(path)) if *path == tree.root.join("a")), "{error}");
    }

    #[test]
    fn what_has_changed_meanwhile_is_not_unpacked() {
        let (_guard, tree, path) = packed("a.tar.gz", &[("a", "1"), ("b", "2")]);
        let report = verify::verify(&tree.root, &Silent).unwrap();
        // Other content, another size, an additional file, a missing file.
        for others in [
            &[("a", "1"), ("b", "3")][..],
            &[("a", "1"), ("b", "22")],
            &[("a", "1"), ("b", "2"), ("c", "3")],
            &[("a", "1")],
        ] {
            let (_guard, _, other) = packed("b.tar.gz", others);
            let scratch = tempfile::tempdir().unwrap();
            let scratch = Utf8Path::from_path(scratch.path()).unwrap();
            let error = unpack(&path, LIMITS, fs::open(&other).unwrap(), &report, scratch).unwrap_err();
            assert!(matches!(&error, Error::Changed(Changed(it)) if *it == path), "{error}");
            assert!(
                !scratch.join("c").exists() && fs::read(&scratch.join("b")).map_or(true, |content| content == b"2")
            );
        }
        // A complete tarball without its checksums.
        let short = tree.root.join("../short.tar.gz");
        let mut packer = tarball::Packer::create(&short, 1, &Silent).unwrap();
        packer.add(Utf8Path::new("a"), 0o644, b"1").unwrap();
        packer.publish().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let scratch = Utf8Path::from_path(scratch.path()).unwrap();
        unpack(&path, LIMITS, fs::open(&short).unwrap(), &report, scratch).unwrap_err();
    }
}
