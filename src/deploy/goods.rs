//! The files that a tree brings to a place, in the order in which they are put there.

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::Content;
use crate::fs;
use crate::paths;
use crate::tree::checked::CheckedTree;
use crate::tree::neighbours::autoexec_paths;

/// A file as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its path in the tree and at the place.
    pub path: Utf8PathBuf,
    /// Its content.
    pub content: Content,
}

/// The files of a tree.
#[derive(Debug)]
pub struct Goods<'t> {
    root: &'t Utf8Path,
    /// In the order of the manifest. Checksums and manifest come last: these must not name what is not there.
    pub files: Vec<Wanted>,
    /// Where a file of others would change how the loaders boot.
    pub neighbours: Vec<Utf8PathBuf>,
}

/// A tree that has changed since it was checked.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` has changed since the tree was checked\nhint: run the command again, while no build replaces the tree")]
pub struct Changed(Utf8PathBuf);

impl<'t> Goods<'t> {
    /// Those of `tree`.
    #[must_use]
    pub fn of(tree: &'t CheckedTree) -> Self {
        let manifest = &tree.manifest;
        let listed = manifest
            .files
            .iter()
            .map(|file| Wanted { path: file.path.clone(), content: Content { sha256: file.sha256, size: file.size } });
        // The tree's own are these texts, or it would not have been found to be as its manifest says.
        let texts = [(paths::SHA256SUMS, manifest.sha256sums()), (paths::MANIFEST, manifest.to_json())];
        let texts = texts.map(|(path, text)| Wanted { path: path.into(), content: Content::of(text.as_bytes()) });
        Self { root: &tree.root, files: listed.chain(texts).collect(), neighbours: autoexec_paths(manifest) }
    }

    /// The bytes of a file.
    ///
    /// # Errors
    ///
    /// [`Changed`] where it is not what it was, or cannot be read any more.
    pub fn read(&self, wanted: &Wanted) -> Result<Vec<u8>, Changed> {
        let path = self.root.join(&wanted.path);
        let content = fs::read(&path).ok().filter(|content| Content::of(content) == wanted.content);
        content.ok_or(Changed(path))
    }
}
