//! Reproducible tarballs: ustar, one modification time, one owner, gzip without name and time.
//! [`crate::stamp::tarball`] reads tarballs from any source.

use std::io::{self, BufReader, Read};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

use crate::base::fs::{self, EntryKind};
use crate::base::progress::{Interruptible, Progress};
use crate::digest::Sha256Digest;
use crate::printable::printable;
use crate::stamp::tarball::{self, Tarball};

pub use crate::stamp::tarball::{EXTENSION, Error, Limits, Refusal, TarEntryKind};

/// Packs the folder at `tree` into the `.tar.gz` at `path`, sorted and atomically; `epoch` (seconds) is the
/// modification time of every file. Returns the tarball's SHA-256 digest and its size in bytes.
///
/// # Errors
///
/// [`fs::Error`] if the tree cannot be read or the tarball cannot be written.
pub fn pack(
    tree: &Utf8Path,
    epoch: u64,
    path: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(Sha256Digest, u64), fs::Error> {
    let mut packer = Packer::create(path, epoch, progress)?;
    for (member, kind) in fs::walk(tree)? {
        if kind == EntryKind::File {
            packer.add(&member, 0o644, &fs::read(&tree.join(&member))?)?;
        }
    }
    packer.publish()
}

/// Longest name that ustar has room for.
const LONGEST: &str = "a folder of 155 bytes and a name of 100 at most";

/// A tarball that is being written. It appears at its path only when it is published.
pub struct Packer<'p> {
    builder: Builder<GzEncoder<NamedTempFile>>,
    path: Utf8PathBuf,
    epoch: u64,
    progress: &'p dyn Progress,
}

impl<'p> Packer<'p> {
    /// Begins the `.tar.gz` at `path`; `epoch` (seconds) is the modification time of every file.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if it cannot be written there.
    pub fn create(path: &Utf8Path, epoch: u64, progress: &'p dyn Progress) -> Result<Self, fs::Error> {
        let failed = |error| fs::Error::new("write", path, error);
        let folder = path.parent().unwrap_or(Utf8Path::new("."));
        let file = fs::temporary_file(folder).map_err(failed)?;
        let compressor = GzBuilder::new().mtime(0).operating_system(255).write(file, Compression::best());
        Ok(Self { builder: Builder::new(compressor), path: path.to_owned(), epoch, progress })
    }

    /// Adds a file with `mode` (permission bits). To get the same bytes every time, the caller must add the same files
    /// in the same order.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the name is too long or the tarball cannot be written.
    pub fn add(&mut self, name: &Utf8Path, mode: u32, content: &[u8]) -> Result<(), fs::Error> {
        let mut header = Header::new_ustar();
        let mut append = |header: &mut Header| {
            header.set_path(name).map_err(|_| {
                let message = format!("the name `{}` is too long for a tarball, wanted {LONGEST}", printable(name));
                io::Error::new(io::ErrorKind::InvalidFilename, message)
            })?;
            header.set_size(content.len() as u64);
            header.set_entry_type(EntryType::Regular);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(self.epoch);
            header.set_cksum();
            self.builder.append(header, Interruptible::new(content, self.progress))
        };
        append(&mut header).map_err(|error| fs::Error::new("write", &self.path, error))
    }

    /// Finishes the tarball and moves it to its path; returns its SHA-256 digest and its size in bytes.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the tarball cannot be written.
    pub fn publish(self) -> Result<(Sha256Digest, u64), fs::Error> {
        let failed = |error| fs::Error::new("write", &self.path, error);
        let file = self.builder.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
        let written = Interruptible::new(file.reopen().map_err(failed)?, self.progress);
        let digest = Sha256Digest::of_reader(&mut BufReader::with_capacity(1 << 18, written)).map_err(failed)?;
        fs::sync_all_of(self.path.parent().unwrap_or(Utf8Path::new(".")), self.progress)?;
        fs::publish_file(file, &self.path)?;
        Ok(digest)
    }
}

/// An entry of a `.tar.gz`.
pub type GzTarEntry<'a, R> = tarball::TarEntry<'a, GzDecoder<BufReader<R>>>;

/// Passes each entry of a `.tar.gz` except folders to `visit`, with its path without a leading `./`.
///
/// # Errors
///
/// Errors from reading the tarball, and errors from `visit`.
pub fn visit<R: Read, E: From<Error>>(
    tarball: R,
    limits: Limits,
    visit: &mut impl FnMut(Utf8PathBuf, GzTarEntry<'_, R>) -> Result<(), E>,
) -> Result<(), E> {
    let mut tarball = Tarball::gzip(BufReader::new(tarball), limits);
    let mut entries = tarball.entries()?;
    while let Some(entry) = entries.next()? {
        if entry.kind != TarEntryKind::Folder {
            let path = entry.path.strip_prefix("./").unwrap_or(&entry.path).into();
            visit(path, entry)?;
        }
    }
    Ok(tarball.finish_file()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::progress::{Event, Silent};

    struct Cancelled;

    impl Progress for Cancelled {
        fn report(&self, _: &Event) {}

        fn cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn packing_that_is_interrupted_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let path = folder.join("t.tar.gz");
        let mut packer = Packer::create(&path, 0, &Cancelled).unwrap();
        let error = packer.add(Utf8Path::new("f"), 0o644, b"content").unwrap_err();
        assert_eq!(error.reason(), format!("cannot write `{path}`: interrupted"));
        drop(packer);
        let packer = Packer { progress: &Cancelled, ..Packer::create(&path, 0, &Silent).unwrap() };
        assert_eq!(packer.publish().unwrap_err().reason(), format!("cannot write `{path}`: interrupted"));
        assert_eq!(fs::entries(folder).unwrap(), Vec::<Utf8PathBuf>::new());
        let (digest, size) = Packer::create(&path, 0, &Silent).unwrap().publish().unwrap();
        assert_eq!((digest, size), fs::sha256(&path).unwrap());
    }
}
