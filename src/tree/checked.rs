//! A tree, or the tarball of one, that is what its manifest says, as a folder.

use std::collections::BTreeMap;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use super::manifest::Manifest;
use super::verify;
use crate::fs::{self, Temporary};
use crate::paths;
use crate::tarball;

/// A tree that is as its manifest says.
#[derive(Debug)]
pub struct CheckedTree {
    /// The tree or the tarball, as it was named.
    pub name: Utf8PathBuf,
    /// The tree as a folder.
    pub root: Utf8PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    _unpacked: Option<Temporary>,
}

/// Why there is no such tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be compared with its manifest.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// It is not what its manifest says.
    #[error("`{path}` is not what its manifest says\n  {}\nhint: run `cargo xtask build-loaders` to publish it anew", differences.join("\n  "))]
    Different {
        /// The tree.
        path: Utf8PathBuf,
        /// What is different.
        differences: Vec<String>,
    },
    /// The tarball cannot be unpacked.
    #[error("cannot unpack `{path}`: {source}")]
    Unpack {
        /// The tarball.
        path: Utf8PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl CheckedTree {
    /// Opens the tree or tarball at `path`; a tarball is unpacked below `scratch`.
    ///
    /// # Errors
    ///
    /// [`Error`], also where it is not what its manifest says.
    pub fn open(path: &Utf8Path, scratch: &Utf8Path) -> Result<Self, Error> {
        let report = verify::verify(path)?;
        if !report.differences.is_empty() {
            let differences = report.differences.iter().map(ToString::to_string).collect();
            return Err(Error::Different { path: path.to_owned(), differences });
        }
        let (root, unpacked) = if path.is_dir() {
            (path.to_owned(), None)
        } else {
            let failed = |source| Error::Unpack { path: path.to_owned(), source };
            let folder = Temporary::create(scratch, paths::TEMPORARY)?;
            let root = folder.path().to_owned();
            unpack(path, &root).map_err(failed)?;
            (root, Some(folder))
        };
        // A server that runs elsewhere needs a path that is right everywhere.
        let root = root.canonicalize_utf8().map_err(|source| Error::Unpack { path: path.to_owned(), source })?;
        Ok(Self { name: path.to_owned(), root, manifest: report.manifest, _unpacked: unpacked })
    }

    /// The entries of the tree's root, for a TFTP folder that shows them and more: name and path.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where the root cannot be listed.
    pub fn top(&self) -> Result<BTreeMap<String, Utf8PathBuf>, fs::Error> {
        let paths = self.manifest.files.iter().filter_map(|file| file.path.iter().next());
        Ok(paths.map(|name| (name.to_owned(), self.root.join(name))).collect())
    }
}

fn unpack(tarball: &Utf8Path, root: &Utf8Path) -> std::io::Result<()> {
    let file = std::fs::File::open(tarball)?;
    // The tarball was verified: all its paths are in its manifest, and each is a plain file once. It may have
    // become another one since then.
    tarball::visit(file, &mut |entry| {
        if !verify::is_inside(&entry.path) {
            return Err(std::io::Error::other(format!("`{}` is no path in a tree", entry.path)));
        }
        let mut content = Vec::new();
        entry.content.take(verify::MAX_FILE).read_to_end(&mut content)?;
        fs::write_atomic(&root.join(entry.path), &content).map_err(std::io::Error::other)
    })
}
