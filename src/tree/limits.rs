//! What a tree may have: publishing keeps to it, and whoever reads a tree refuses more.

use std::fs::File;

use crate::base::tarball::{EXTENSION, Limits};

/// The most files of a tree, be it 100,000 sites with a loader each, or 15,000 with seven.
pub const MAX_FILES: usize = 110_000;

/// The most bytes of a file. No loader comes near it; the manifest of 110,000 files has some 60 MB.
pub const MAX_FILE: u64 = crate::base::fs::MAX_READ;

/// The most bytes of a name: what file systems have room for.
pub const MAX_NAME: usize = 255;

/// What a tarball may unpack to in any case, in bytes.
const LEAST_UNPACKED: u64 = 256 << 20;

/// How many times its own size a larger tarball may unpack to. Loaders are packed to a half or a third; gzip packs
/// zeros to a thousandth.
const MAX_RATIO: u64 = 100;

/// What the tarball `file` of a tree may have.
#[must_use]
pub fn of_tarball(file: &File) -> Limits {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    Limits {
        // Whoever packs a tree anew also packs its folders, and writes long names.
        entries: 4 * MAX_FILES as u64,
        extension: EXTENSION,
        entry: MAX_FILE,
        total: LEAST_UNPACKED.max(size.saturating_mul(MAX_RATIO)),
    }
}
