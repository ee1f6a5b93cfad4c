//! Limits of a tree. Publishing stays within them, and reading rejects a tree that exceeds them.

use std::fs::File;

use crate::base::tarball::{EXTENSION, Limits};

/// Maximum number of files in a tree: 100,000 sites with a loader each, or 15,000 sites with seven.
pub const MAX_FILES: usize = 110_000;

/// Maximum size of a file in bytes. No loader comes near it; the manifest of 110,000 files has about 60 MB.
pub const MAX_FILE: u64 = crate::base::fs::MAX_READ;

/// Maximum length of a name in bytes, as in file systems.
pub const MAX_NAME: usize = 255;

/// Size in bytes that any tarball may unpack to.
const LEAST_UNPACKED: u64 = 256 << 20;

/// Maximum ratio of unpacked to packed size for larger tarballs. Loaders compress to a half or a third; gzip compresses
/// zeros to a thousandth.
const MAX_RATIO: u64 = 100;

/// Returns the limits for the tarball `file` of a tree.
#[must_use]
pub fn of_tarball(file: &File) -> Limits {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    Limits {
        // A repacked tree also contains entries for its folders and for long names.
        entries: 4 * MAX_FILES as u64,
        extension: EXTENSION,
        entry: MAX_FILE,
        total: LEAST_UNPACKED.max(size.saturating_mul(MAX_RATIO)),
    }
}
