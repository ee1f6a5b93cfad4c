//! The files that a tree brings to a place, in the order in which they are put there.

use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::digest::Content;
use crate::tree::interfering_files::autoexec_paths;
use crate::tree::open::{Changed, CheckedTree};

/// A file as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFile {
    /// Its path in the tree and at the place.
    pub path: Utf8PathBuf,
    /// Its content.
    pub content: Content,
}

/// The files of a tree.
#[derive(Debug)]
pub struct UploadSet {
    tree: CheckedTree,
    /// In the order of the manifest. Checksums and manifest come last: these must not name what is not there.
    pub files: Arc<[UploadFile]>,
    /// Where a file of others would change how the loaders boot.
    pub interfering_files: Vec<Utf8PathBuf>,
}

impl UploadSet {
    /// Those of `tree`. Whatever else its manifest says of them is let go, which is most of it.
    #[must_use]
    pub fn of(mut tree: CheckedTree) -> Self {
        let interfering_files = autoexec_paths(&tree.manifest);
        let listed = std::mem::take(&mut tree.manifest.files).into_iter();
        let listed = listed.map(|file| UploadFile { content: file.content(), path: file.path });
        let records = tree.records.iter().map(|(path, content)| UploadFile { path: (*path).into(), content: *content });
        let files = listed.chain(records).collect();
        Self { tree, files, interfering_files }
    }

    /// The bytes of a file.
    ///
    /// # Errors
    ///
    /// [`Changed`] where it is not what it was, or cannot be read any more.
    pub fn read(&self, wanted: &UploadFile) -> Result<Vec<u8>, Changed> {
        self.tree.read(&wanted.path, &wanted.content)
    }
}
