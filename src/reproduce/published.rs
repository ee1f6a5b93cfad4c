//! What a rebuild is compared with: a tree, its tarball, or its manifest alone; here or on the web.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use crate::fs;
use crate::progress::Progress;
use crate::source::download::{self, Address, download};
use crate::source::http::Network;
use crate::tree::checked::{self, CheckedTree};
use crate::tree::manifest::Manifest;

/// The largest release that is downloaded, in bytes.
const MAX_RELEASE: u64 = 4 << 30;

/// A published release.
#[derive(Debug)]
pub struct Published {
    /// What it was called when it was asked for.
    pub name: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its files, where they are there.
    tree: Option<CheckedTree>,
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("there is no `{0}`\nhint: give a tree, a tarball, a manifest.json, or the address of one")]
    NotThere(String),
    /// It has to be downloaded, which is forbidden.
    #[error("`{0}` is not downloaded because of `--offline`\nhint: download it, and give the file")]
    Offline(String),
    /// It cannot be downloaded.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// It is not what its own manifest says, or cannot be read.
    #[error(transparent)]
    Tree(#[from] checked::Error),
    /// It is no manifest.
    #[error("`{name}` is no manifest: {reason}\nhint: give the manifest.json of a tree, or its tarball")]
    NotAManifest {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Published {
    /// Opens the release `name`, a path or an address; what it takes is written below `scratch`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn open(name: &str, network: &Network, scratch: &Utf8Path, progress: &dyn Progress) -> Result<Self, Error> {
        let path = if name.starts_with("http://") || name.starts_with("https://") {
            let Network::Online(http) = network else { return Err(Error::Offline(name.to_owned())) };
            let file = scratch.join("published");
            let address = Address { url: name, remedy: "download the release by other means, and give the file" };
            download(http, address, &file, MAX_RELEASE, progress)?;
            file
        } else {
            Utf8PathBuf::from(name)
        };
        if !path.exists() {
            return Err(Error::NotThere(name.to_owned()));
        }
        let mut first = [0];
        let length = if path.is_file() { fs::open(&path)?.read(&mut first).unwrap_or(0) } else { 0 };
        if first[..length] == *b"{" {
            let manifest = Manifest::parse(&fs::read(&path)?)
                .map_err(|reason| Error::NotAManifest { name: name.to_owned(), reason })?;
            return Ok(Self { name: name.to_owned(), manifest, tree: None });
        }
        let tree = CheckedTree::open(&path, scratch, progress)?;
        Ok(Self { name: name.to_owned(), manifest: tree.manifest.clone(), tree: Some(tree) })
    }

    /// The file at `path` in the tree, where the files are there.
    #[must_use]
    pub fn file(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        self.tree.as_ref().map(|tree| tree.root.join(path))
    }
}
