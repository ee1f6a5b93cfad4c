//! Files that a tree deploys to a target, in the order in which they are sent.

use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::digest::Content;
use crate::tree::interfering_files::autoexec_paths;
use crate::tree::open::{Changed, CheckedTree};

/// Wanted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFile {
    /// Path in the tree and at the target.
    pub path: Utf8PathBuf,
    /// Content.
    pub content: Content,
}

/// Files of a tree.
#[derive(Debug)]
pub struct UploadSet {
    tree: CheckedTree,
    /// Files in the order of the manifest. The checksums and the manifest come last: they must not list missing files.
    pub files: Arc<[UploadFile]>,
    /// Paths at which a file of others would change how the loaders boot.
    pub interfering_files: Vec<Utf8PathBuf>,
}

impl UploadSet {
    /// Creates the set of the files of `tree`. Drops the rest of its manifest, which is most of it.
    #[must_use]
    pub fn of(mut tree: CheckedTree) -> Self {
        let interfering_files = autoexec_paths(&tree.manifest);
        let listed = std::mem::take(&mut tree.manifest.files).into_iter();
        let listed = listed.map(|file| UploadFile { content: file.content(), path: file.path });
        let records = tree.records.iter().map(|(path, content)| UploadFile { path: (*path).into(), content: *content });
        let files = listed.chain(records).collect();
        Self { tree, files, interfering_files }
    }

    /// Returns the content of a file.
    ///
    /// # Errors
    ///
    /// [`Changed`] if the file has changed, or can no longer be read.
    pub fn read(&self, wanted: &UploadFile) -> Result<Vec<u8>, Changed> {
        self.tree.read(&wanted.path, &wanted.content)
    }
}
