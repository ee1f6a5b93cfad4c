//! Writes `manifest.json` and `SHA256SUMS` into a tree file by file, without a list of all entries in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use camino::Utf8Path;

use crate::base::{fs, paths};
use crate::digest::{Hasher, Sha256Digest};
use crate::tree::manifest::{self, Manifest, Writer};

/// Writer for both files of a tree.
pub struct ManifestWriter<'t> {
    tree: &'t Utf8Path,
    manifest: Writer<Hashed>,
    sums: BufWriter<File>,
    /// Number of bytes written to `SHA256SUMS`.
    written: u64,
    /// Offset of the manifest's line in `SHA256SUMS`; the manifest's digest is known last.
    manifest_line: Option<u64>,
}

/// Writer that computes the digest of the data.
struct Hashed {
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.write_all(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<'t> ManifestWriter<'t> {
    /// Starts both files in the folder `tree`, and replaces existing ones; `head` is the manifest without files.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn create(tree: &'t Utf8Path, head: &Manifest) -> Result<Self, fs::Error> {
        let create = |name: &str| {
            let path = tree.join(name);
            // The existing file may be a hard link to a file of a published tree.
            fs::remove_file(&path)?;
            let file = OpenOptions::new().write(true).create_new(true).open(&path);
            let file = file.map_err(|error| fs::Error::new("write", &path, error))?;
            fs::set_mode(&path, 0o644)?;
            Ok(BufWriter::new(file))
        };
        let hashed = Hashed { file: create(paths::MANIFEST)?, hasher: Hasher::default() };
        let manifest =
            Writer::new(head, hashed).map_err(|error| fs::Error::new("write", tree.join(paths::MANIFEST), error))?;
        Ok(Self { tree, manifest, sums: create(paths::SHA256SUMS)?, written: 0, manifest_line: None })
    }

    /// Adds a file; files must come sorted bytewise by path.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn add(&mut self, file: &manifest::ManifestEntry) -> Result<(), fs::Error> {
        let failed = |error| fs::Error::new("write", self.tree.join(&file.path), error);
        self.manifest.add(file).map_err(failed)?;
        if self.manifest_line.is_none() && file.path.as_str() > paths::MANIFEST {
            self.reserve()?;
        }
        self.line(file.path.as_str(), &file.sha256)
    }

    /// Finishes both files.
    ///
    /// # Errors
    ///
    /// [`fs::Error`].
    pub fn finish(mut self) -> Result<(), fs::Error> {
        let offset = match self.manifest_line {
            Some(offset) => offset,
            None => self.reserve()?,
        };
        let Self { tree, manifest, mut sums, .. } = self;
        let end = || {
            let mut hashed = manifest.finish()?;
            hashed.flush()?;
            sums.seek(SeekFrom::Start(offset))?;
            sums.write_all(manifest::sum(paths::MANIFEST, &hashed.hasher.finish()).as_bytes())?;
            sums.flush()
        };
        end().map_err(|error| fs::Error::new("write", tree.join(paths::SHA256SUMS), error))
    }

    /// Reserves space for the manifest's line: all lines with the same path have the same length.
    fn reserve(&mut self) -> Result<u64, fs::Error> {
        let offset = self.written;
        self.manifest_line = Some(offset);
        self.line(paths::MANIFEST, &Sha256Digest::of(b""))?;
        Ok(offset)
    }

    fn line(&mut self, path: &str, digest: &Sha256Digest) -> Result<(), fs::Error> {
        let line = manifest::sum(path, digest);
        self.written += line.len() as u64;
        let written = self.sums.write_all(line.as_bytes());
        written.map_err(|error| fs::Error::new("write", self.tree.join(paths::SHA256SUMS), error))
    }
}
