//! Compares a tree, or the tarball of one, with its own manifest and checksums, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use super::header::{self, Mismatch};
use super::manifest::{File, Manifest};
use super::neighbours::Neighbour;
use crate::digest::Sha256Digest;
use crate::fs::{self, EntryKind, served};
use crate::paths;
use crate::tarball;

/// The most that a file in a tarball may have, in bytes; no loader comes near it.
pub(super) const MAX_FILE: u64 = 64 << 20;

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no manifest.
    #[error("`{0}` has no manifest.json\nhint: give a tree or a tarball that `cargo xtask build-loaders` wrote")]
    NoManifest(Utf8PathBuf),
    /// The manifest cannot be understood.
    #[error(
        "the manifest of `{path}` cannot be read: {reason}\nhint: verify it with the version of this tool that wrote it, or build it anew"
    )]
    BadManifest {
        /// The tree.
        path: Utf8PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is no tarball.
    #[error(
        "`{path}` is neither a tree nor the tarball of one: {reason}\nhint: give a tree or a tarball that `cargo xtask build-loaders` wrote"
    )]
    NotATarball {
        /// The file.
        path: Utf8PathBuf,
        /// What unpacking it says.
        reason: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// A way in which a tree is not what its manifest says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// In the manifest, not in the tree.
    Missing(Utf8PathBuf),
    /// In the tree, not in the manifest.
    Extra(Utf8PathBuf),
    /// A link or a device.
    NotAFile(Utf8PathBuf),
    /// A path that is none of a file in a tree, as one with `..`.
    Outside(Utf8PathBuf),
    /// Larger than any loader.
    TooLarge(Utf8PathBuf),
    /// More than once in the tarball.
    Twice(Utf8PathBuf),
    /// Another content.
    Changed {
        /// The file.
        path: Utf8PathBuf,
        /// Its SHA-256 and size.
        found: (Sha256Digest, u64),
        /// Those in the manifest.
        wanted: (Sha256Digest, u64),
    },
    /// The content is as in the manifest, and is not what the manifest says it is.
    Misnamed(Utf8PathBuf, Mismatch),
    /// `SHA256SUMS` says something else than the manifest.
    Sums,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "`{path}` is missing"),
            Self::Extra(path) => write!(f, "`{path}` is not in the manifest"),
            Self::NotAFile(path) => write!(f, "`{path}` is a link or a device, wanted a plain file"),
            Self::Outside(path) => write!(f, "`{path}` is no path in a tree"),
            Self::TooLarge(path) => write!(f, "`{path}` has more than {MAX_FILE} bytes"),
            Self::Twice(path) => write!(f, "`{path}` is there more than once"),
            Self::Changed { path, found, wanted } => write!(
                f,
                "`{path}` has changed: found {} ({} bytes), wanted {} ({} bytes)",
                found.0, found.1, wanted.0, wanted.1
            ),
            Self::Misnamed(path, mismatch) => write!(f, "`{path}` is not what the manifest says: {mismatch}"),
            Self::Sums => write!(f, "`{}` does not say what the manifest says", paths::SHA256SUMS),
        }
    }
}

/// What comparing came to.
#[derive(Debug)]
pub struct Report {
    /// The tree's manifest.
    pub manifest: Manifest,
    /// All differences, sorted.
    pub differences: Vec<Difference>,
    /// Files of others that change how the tree's loaders boot.
    pub neighbours: Vec<Neighbour>,
    /// The first file or folder of the tree that other users cannot read.
    pub unreadable: Option<Utf8PathBuf>,
    /// The files of others beside the tree's, where it was deployed to; sorted.
    pub others: Vec<Utf8PathBuf>,
}

/// Verifies the tree or the tarball at `path`.
///
/// # Errors
///
/// [`Error`] where there is nothing to compare; differences are no error.
pub fn verify(path: &Utf8Path) -> Result<Report, Error> {
    if path.is_dir() { folder(path) } else { tarball(path) }
}

/// Verifies the tree at `path`.
///
/// # Errors
///
/// As [`verify`].
pub fn folder(path: &Utf8Path) -> Result<Report, Error> {
    let mut seen = Seen::default();
    // A deployment leaves alone what others have at the place, and says so in a record of its own.
    let deployed = path.join(paths::DEPLOYED).is_file();
    let known = if deployed { Some(known(&manifest(path)?)) } else { None };
    for (file, kind) in fs::walk(path)? {
        match kind {
            EntryKind::File if file == paths::DEPLOYED => {}
            _ if known.as_ref().is_some_and(|known| !known.contains(&file)) => seen.others.push(file),
            EntryKind::File => seen.add(&file, &fs::read(&path.join(&file))?),
            EntryKind::Other => seen.differences.push(Difference::NotAFile(file)),
        }
    }
    let mut report = seen.report(path)?;
    report.unreadable = served::first_unreadable(path, known_files(&report.manifest).into_iter());
    Ok(report)
}

/// The manifest of the tree at `path`; nothing is compared with it.
///
/// # Errors
///
/// As [`verify`].
pub fn manifest(path: &Utf8Path) -> Result<Manifest, Error> {
    let json = fs::read_regular(&path.join(paths::MANIFEST))?.ok_or_else(|| Error::NoManifest(path.to_owned()))?;
    Manifest::parse(&json).map_err(|reason| Error::BadManifest { path: path.to_owned(), reason })
}

/// What is in the tree at `path` and not in its manifest, or is no plain file, by names alone.
///
/// # Errors
///
/// As [`verify`].
pub fn foreign(path: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let known = known(&manifest(path)?);
    let mut found = fs::walk(path)?;
    found.retain(|(file, kind)| *kind != EntryKind::File || !known.contains(file));
    Ok(found.into_iter().map(|(file, _)| file).collect())
}

/// The paths of all that belongs to the tree of `manifest`.
fn known(manifest: &Manifest) -> BTreeSet<Utf8PathBuf> {
    let own = [paths::DEPLOYED.into()];
    known_files(manifest).into_iter().map(Utf8Path::to_owned).chain(own).collect()
}

/// The paths of the files that `manifest` lists, and of the tree's records.
fn known_files(manifest: &Manifest) -> Vec<&Utf8Path> {
    let records = [paths::MANIFEST, paths::SHA256SUMS].map(Utf8Path::new);
    manifest.files.iter().map(|file| &*file.path).chain(records).collect()
}

fn tarball(path: &Utf8Path) -> Result<Report, Error> {
    let mut seen = Seen::default();
    let visited = tarball::visit(fs::open(path)?, &mut |entry| {
        let mut content = Vec::new();
        entry.content.take(MAX_FILE + 1).read_to_end(&mut content)?;
        if !entry.plain {
            seen.differences.push(Difference::NotAFile(entry.path));
        } else if !is_inside(&entry.path) {
            seen.differences.push(Difference::Outside(entry.path));
        } else if content.len() as u64 > MAX_FILE {
            seen.differences.push(Difference::TooLarge(entry.path));
        } else {
            seen.add(&entry.path, &content);
        }
        Ok(())
    });
    visited.map_err(|error| Error::NotATarball { path: path.to_owned(), reason: error.to_string() })?;
    seen.report(path)
}

/// Whether a path leads to something in the tree that it is joined to, wherever that is.
#[must_use]
pub fn is_inside(path: &Utf8Path) -> bool {
    let parts: Vec<&str> = path.as_str().split('/').collect();
    parts.iter().all(|part| !["", ".", ".."].contains(part))
}

/// What a file was found to be; its content is not kept.
struct Found {
    sha256: Sha256Digest,
    size: u64,
    identity: Option<(header::Kind, Option<header::Arch>)>,
    description: String,
}

#[derive(Default)]
struct Seen {
    files: BTreeMap<Utf8PathBuf, Found>,
    manifest: Option<Vec<u8>>,
    sums: Option<Vec<u8>>,
    differences: Vec<Difference>,
    others: Vec<Utf8PathBuf>,
}

impl Seen {
    fn add(&mut self, path: &Utf8Path, content: &[u8]) {
        let twice = match path.as_str() {
            paths::MANIFEST => self.manifest.replace(content.to_vec()).is_some(),
            paths::SHA256SUMS => self.sums.replace(content.to_vec()).is_some(),
            _ => {
                let found = Found {
                    sha256: Sha256Digest::of(content),
                    size: content.len() as u64,
                    identity: header::identify(content),
                    description: header::describe(content),
                };
                self.files.insert(path.to_owned(), found).is_some()
            }
        };
        if twice {
            self.differences.push(Difference::Twice(path.to_owned()));
        }
    }

    fn report(mut self, path: &Utf8Path) -> Result<Report, Error> {
        let json = self.manifest.take().ok_or_else(|| Error::NoManifest(path.to_owned()))?;
        let bad = |reason: String| Error::BadManifest { path: path.to_owned(), reason };
        let manifest = Manifest::parse(&json).map_err(bad)?;
        for file in &manifest.files {
            if !is_inside(&file.path) {
                self.differences.push(Difference::Outside(file.path.clone()));
            }
            match self.files.remove(&file.path) {
                Some(found) => self.differences.extend(compare(file, found)),
                None => self.differences.push(Difference::Missing(file.path.clone())),
            }
        }
        self.differences.extend(self.files.into_keys().map(Difference::Extra));
        match self.sums {
            None => self.differences.push(Difference::Missing(paths::SHA256SUMS.into())),
            Some(sums) if sums != manifest.sha256sums().as_bytes() || json != manifest.to_json().as_bytes() => {
                self.differences.push(Difference::Sums);
            }
            Some(_) => {}
        }
        self.differences.sort();
        let extra = self.differences.iter().filter_map(|difference| match difference {
            Difference::Extra(path) | Difference::NotAFile(path) => Some(path),
            _ => None,
        });
        let neighbours = Neighbour::among(extra.chain(&self.others), &manifest);
        Ok(Report { manifest, differences: self.differences, neighbours, unreadable: None, others: self.others })
    }
}

fn compare(file: &File, found: Found) -> Option<Difference> {
    let (is, wanted) = ((found.sha256, found.size), (file.sha256, file.size));
    if is != wanted {
        return Some(Difference::Changed { path: file.path.clone(), found: is, wanted });
    }
    let fits = file.kind == header::Kind::Data || found.identity == Some((file.kind, file.arch));
    (!fits).then(|| Difference::Misnamed(file.path.clone(), Mismatch::new(found.description, file.kind, file.arch)))
}
