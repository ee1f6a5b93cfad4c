//! What a rebuild is compared with: a tree, its tarball, or its manifest alone; here or on the web.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::http::NetworkAccess;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::base::{fs, parallel};
use crate::fetch::download::{self, DownloadUrl, download};
use crate::tree::manifest::Manifest;
use crate::tree::open::{self, CheckedTree};
use crate::tree::verify;

/// The most that a tree weighs besides its loaders, in bytes: manifest, lists of what is linked, syslinux files.
const MAX_REST: u64 = 64 << 20;
/// The most that a file of a tree weighs, in bytes; the largest loaders have about 1 MB.
const MAX_FILE: u64 = 4 << 20;
/// The most that a manifest weighs, in bytes; that of 1,000 sites has about 1 MB.
const MAX_MANIFEST: u64 = 32 << 20;

/// A published release.
#[derive(Debug)]
pub struct PublishedTree {
    /// What it was called when it was asked for.
    pub name: String,
    content: Contents,
}

/// What there is of a release.
#[derive(Debug)]
enum Contents {
    Manifest(Manifest),
    Tree(CheckedTree),
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("there is no `{0}`")]
    NotThere(String),
    /// It has to be downloaded, which is forbidden.
    #[error("cannot download `{0}`: this run is offline")]
    Offline(String),
    /// It cannot be downloaded.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// It is not what its own manifest says, or cannot be read.
    #[error(transparent)]
    Tree(#[from] open::Error),
    /// It is no manifest.
    #[error("`{name}` is no manifest: {reason}")]
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

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::NotThere(name) => {
                Class::Unavailable.about(name).help("give a tree, a tarball, a manifest.json, or the address of one")
            }
            Self::Offline(name) => Class::Unavailable.about(name).help("download it, and give the file"),
            Self::Download(error) => error.diagnosis(),
            Self::Tree(error) => error.diagnosis(),
            Self::NotAManifest { name, .. } => {
                Class::DamagedTree.about(name).help("give the manifest.json of a tree, or its tarball")
            }
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl PublishedTree {
    /// Opens the release `place`, a path or an address, of a tree with about `files` files; what it takes is written
    /// below `scratch`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn open(
        place: &Url,
        files: usize,
        network: &NetworkAccess,
        scratch: &Utf8Path,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let name = place.to_string();
        let path = if place.expose().starts_with("http://") || place.expose().starts_with("https://") {
            let NetworkAccess::Online(http) = network else { return Err(Error::Offline(name)) };
            let file = scratch.join(Cache::PUBLISHED);
            let address =
                DownloadUrl { url: place, remedy: "download the release by other means, and give the file".into() };
            let is_manifest = name.split('?').next().map(Utf8Path::new).and_then(Utf8Path::extension) == Some("json");
            let limit = if is_manifest { MAX_MANIFEST } else { MAX_REST + MAX_FILE * files as u64 };
            download(http, &address, &file, limit, progress)?;
            file
        } else {
            Utf8PathBuf::from(place.expose())
        };
        if !path.exists() {
            return Err(Error::NotThere(name));
        }
        let mut first = [0];
        let length = if path.is_file() { fs::open(&path)?.read(&mut first).unwrap_or(0) } else { 0 };
        if first[..length] == *b"{" {
            let json = fs::read(&path)?;
            let parsed = parallel::detached_on_cancel(progress, move || Manifest::parse(&json));
            let parsed = parsed.ok_or(open::Error::Verify(verify::Error::Cancelled))?;
            let manifest = parsed.map_err(|reason| Error::NotAManifest { name: name.clone(), reason })?;
            return Ok(Self { name, content: Contents::Manifest(manifest) });
        }
        let tree = CheckedTree::open(&path, scratch, progress)?;
        Ok(Self { name, content: Contents::Tree(tree) })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        match &self.content {
            Contents::Manifest(manifest) => manifest,
            Contents::Tree(tree) => &tree.manifest,
        }
    }

    /// The file at `path` in the tree, where the files are there.
    #[must_use]
    pub fn file(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        match &self.content {
            Contents::Manifest(_) => None,
            Contents::Tree(tree) => Some(tree.root.join(path)),
        }
    }
}
