//! A tree, or the tarball of one, that is what its manifest says, as a folder.

use std::collections::BTreeMap;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use super::manifest::Manifest;
use super::verify;
use crate::fs;
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
    _unpacked: Option<TempDir>,
}

/// Why there is no such tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be compared with its manifest.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// It is not what its manifest says.
    #[error("`{path}` is not what its manifest says\n  {}\nhint: {}", differences.join("\n  "), remedy(path))]
    Different {
        /// The tree.
        path: Utf8PathBuf,
        /// What is different.
        differences: Vec<String>,
    },
    /// The tarball cannot be unpacked.
    #[error("cannot unpack `{path}`")]
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

/// What restores the tree at `path`: that depends on how it came there.
fn remedy(path: &Utf8Path) -> &'static str {
    if path.is_file() {
        "copy or download it again, or pack it anew with `cargo xtask build-loaders --archive`"
    } else if path.join(paths::DEPLOYED).is_file() {
        "deploy the tree there again; `--replace` replaces what somebody has changed"
    } else if paths::Staging::of(path).journal.is_file() {
        "run `cargo xtask build-loaders` to publish it anew"
    } else {
        "copy it again, or go back to the tree that it is a copy of"
    }
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
            let folder = fs::temporary_in(scratch, "tree-")?;
            let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap_or_default();
            unpack(path, &root).map_err(|error| match error.downcast::<fs::Error>() {
                Ok(error) => Error::Fs(error),
                Err(source) => Error::Unpack { path: path.to_owned(), source },
            })?;
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
