//! Published release to compare a rebuild with: a tree, its tarball, or only its manifest, as a local file or on the
//! web.

use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::diagnostic::{Class, Diagnose, Diagnosis};
use crate::base::http::NetworkAccess;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::base::{fs, parallel};
use crate::fetch::download::{self, DownloadUrl, download};
use crate::loader::file_kind;
use crate::tree::manifest::{Manifest, SignerEntry};
use crate::tree::open::{self, CheckedTree};
use crate::tree::verify;

/// Maximum size of a tree without its loaders, in bytes: manifest, lists of linked objects, and syslinux files.
const MAX_REST: u64 = 64 << 20;
/// Maximum size of a file in a tree, in bytes. The largest loaders are about 1 MB.
const MAX_FILE: u64 = 4 << 20;
/// Maximum size of a manifest, in bytes. A manifest with 1,000 sites is about 1 MB.
const MAX_MANIFEST: u64 = 32 << 20;

/// Number of bytes from which a download is identified.
const FIRST: u64 = 1 << 10;
/// First bytes of a compressed tarball.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A published release.
#[derive(Debug)]
pub struct PublishedTree {
    /// Path or address that the user gave.
    pub name: String,
    content: Contents,
}

/// Available content of a release.
#[derive(Debug)]
enum Contents {
    Manifest(Manifest),
    Tree(CheckedTree),
}

/// Errors from opening a published release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path does not exist.
    #[error("there is no `{0}`")]
    NotThere(String),
    /// The release must be downloaded, but the run is offline.
    #[error("cannot download `{0}`: this run is offline")]
    Offline(String),
    /// The download failed.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The tree is unreadable or differs from its own manifest.
    #[error(transparent)]
    Tree(#[from] open::Error),
    /// The file is not a manifest.
    #[error("`{name}` is not a manifest: {reason}")]
    NotAManifest {
        /// Path or address of the file.
        name: String,
        /// Reason for the rejection.
        reason: String,
    },
    /// What came from the address is something else.
    #[error("`{name}` is {found}, wanted a tarball or a manifest")]
    NotARelease {
        /// Address of the file.
        name: String,
        /// Description of its content.
        found: String,
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
            Self::NotARelease { name, .. } => {
                Class::DamagedTree.about(name).help("give the address of the file itself")
            }
            Self::NotAManifest { name, .. } => {
                Class::DamagedTree.about(name).help("give the manifest.json of a tree, or its tarball")
            }
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

impl PublishedTree {
    /// Opens the release at `place`, a path or an address, of a tree with about `files` files. Writes temporary files
    /// below `scratch`.
    ///
    /// # Errors
    ///
    /// [`Error`] if the release is unavailable or invalid.
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
            let mut first = Vec::new();
            let read = fs::open(&file)?.take(FIRST).read_to_end(&mut first);
            read.map_err(|error| fs::Error::new("read", &file, error))?;
            if !first.starts_with(b"{") && !first.starts_with(GZIP) {
                return Err(Error::NotARelease { name, found: file_kind::describe(&first) });
            }
            file
        } else {
            Utf8PathBuf::from(place.expose())
        };
        if !fs::exists(&path)? {
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

    /// Returns the manifest of the release.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        match &self.content {
            Contents::Manifest(manifest) => manifest,
            Contents::Tree(tree) => &tree.manifest,
        }
    }

    /// Checks whether its loaders for Secure Boot are signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.manifest().secure_boot.is_some()
    }

    /// Returns who has signed its loaders; `None` if nobody has, or if their signatures were not there to be checked.
    #[must_use]
    pub fn signer(&self) -> Option<&SignerEntry> {
        let Contents::Tree(tree) = &self.content else { return None };
        tree.manifest.secure_boot.as_ref()
    }

    /// Returns the path of the file `path` of the tree; `None` if only the manifest is available.
    #[must_use]
    pub fn file(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        match &self.content {
            Contents::Manifest(_) => None,
            Contents::Tree(tree) => Some(tree.root.join(path)),
        }
    }
}
