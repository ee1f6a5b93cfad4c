//! What is tested: a tree, or the tarball of one, that is what its manifest says; and the loaders in it.

use std::collections::{BTreeMap, HashMap};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use crate::choices::script::SLOT;
use crate::digest::Sha256Digest;
use crate::fs;
use crate::tarball;
use crate::tree::header::{Arch, Kind};
use crate::tree::manifest::{self, Manifest};
use crate::tree::verify;

/// A tree that is as its manifest says.
#[derive(Debug)]
pub struct Subject {
    /// The tree or the tarball, as it was named.
    pub name: Utf8PathBuf,
    /// The tree as a folder.
    pub root: Utf8PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    _unpacked: Option<TempDir>,
}

/// Why there is nothing to test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be compared with its manifest.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// It is not what its manifest says.
    #[error("`{path}` is not what its manifest says\n  {}\nhint: run `cargo xtask build-loaders` to publish it anew", differences.join("\n  "))]
    Different {
        /// The tree.
        path: Utf8PathBuf,
        /// What is different.
        differences: Vec<String>,
    },
    /// The tarball cannot be unpacked.
    #[error("cannot unpack `{path}`: {source}")]
    Unpack {
        /// The tarball.
        path: Utf8PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// A loader of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderFile {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// The site whose it is.
    pub site: Option<String>,
    /// The firmware and the CPU that it is for.
    pub target: Target,
    /// What it is.
    pub program: Program,
}

/// Firmware and CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A PC with a BIOS.
    Bios,
    /// UEFI of this CPU.
    Uefi(Arch),
}

/// What sort of loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// iPXE.
    Ipxe {
        /// The digest of its slot.
        slot: Sha256Digest,
        /// The file that the script in the slot was rendered from.
        source: Utf8PathBuf,
        /// The script in the slot, where it can be read from this loader or another one.
        script: Option<String>,
    },
    /// PXELINUX, or syslinux for UEFI.
    Syslinux,
}

impl Subject {
    /// Opens the tree or tarball at `path`; a tarball is unpacked below `scratch`.
    ///
    /// # Errors
    ///
    /// [`Error`], also where it is not what its manifest says: what does not verify is not booted.
    pub fn open(path: &Utf8Path, scratch: &Utf8Path) -> Result<Self, Error> {
        let report = verify::verify(path)?;
        if !report.differences.is_empty() {
            let differences = report.differences.iter().map(ToString::to_string).collect();
            return Err(Error::Different { path: path.to_owned(), differences });
        }
        let (root, unpacked) = if path.is_dir() {
            (path.to_owned(), None)
        } else {
            let failed = |source| Error::Unpack { path: path.to_owned(), source };
            let folder = tempfile::Builder::new().prefix("tree-").tempdir_in(scratch).map_err(failed)?;
            let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap_or_default();
            unpack(path, &root).map_err(failed)?;
            (root, Some(folder))
        };
        // A server that runs elsewhere needs a path that is right everywhere.
        let root = root.canonicalize_utf8().map_err(|source| Error::Unpack { path: path.to_owned(), source })?;
        Ok(Self { name: path.to_owned(), root, manifest: report.manifest, _unpacked: unpacked })
    }

    /// All loaders, in the order of the manifest.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where one cannot be read.
    pub fn loaders(&self) -> Result<Vec<LoaderFile>, fs::Error> {
        let mut scripts: HashMap<Sha256Digest, String> = HashMap::new();
        let mut loaders = Vec::new();
        for file in &self.manifest.files {
            let Some(mut loader) = loader(file) else { continue };
            if let Program::Ipxe { slot, .. } = &loader.program
                && matches!(loader.target, Target::Uefi(_))
                && !scripts.contains_key(slot)
                && let Some(script) = script_in(&fs::read(&self.root.join(&file.path))?, slot)
            {
                scripts.insert(*slot, script);
            }
            loader.site.clone_from(&file.site);
            loaders.push(loader);
        }
        // A BIOS loader is packed; what it runs is known from its sibling for UEFI.
        for loader in &mut loaders {
            if let Program::Ipxe { slot, script, .. } = &mut loader.program {
                *script = scripts.get(slot).cloned();
            }
        }
        Ok(loaders)
    }

    /// The entries of the tree's root, for a TFTP folder that shows them and more: name and path.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] where the root cannot be listed.
    pub fn top(&self) -> Result<BTreeMap<String, Utf8PathBuf>, fs::Error> {
        let paths = self.manifest.files.iter().filter_map(|file| file.path.iter().next());
        Ok(paths.map(|name| (name.to_owned(), self.root.join(name))).collect())
    }
}

fn unpack(tarball: &Utf8Path, root: &Utf8Path) -> std::io::Result<()> {
    let file = std::fs::File::open(tarball)?;
    // The tarball was verified: all its paths are in its manifest, and each is a plain file once.
    tarball::visit(file, &mut |entry| {
        let mut content = Vec::new();
        entry.content.read_to_end(&mut content)?;
        fs::write_atomic(&root.join(entry.path), &content).map_err(std::io::Error::other)
    })
}

fn loader(file: &manifest::File) -> Option<LoaderFile> {
    let target = match file.kind {
        Kind::IpxeNbp | Kind::PxelinuxNbp => Target::Bios,
        Kind::EfiApplication => Target::Uefi(file.arch?),
        Kind::SyslinuxModule | Kind::Text | Kind::Data => return None,
    };
    let program = match &file.ipxe {
        Some(embedded) => Program::Ipxe { slot: embedded.slot_sha256, source: embedded.script.clone(), script: None },
        None => Program::Syslinux,
    };
    Some(LoaderFile { path: file.path.clone(), sha256: file.sha256, site: None, target, program })
}

/// The script in the slot of an EFI loader, where the slot has the digest `slot`.
fn script_in(content: &[u8], slot: &Sha256Digest) -> Option<String> {
    let starts = memchr::memmem::find_iter(content, b"#!ipxe");
    let mut slots = starts.filter_map(|start| content.get(start..start + SLOT));
    let found = slots.find(|bytes| Sha256Digest::of(bytes) == *slot)?;
    Some(format!("{}\n", String::from_utf8_lossy(found).trim_end_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_by_the_digest_of_its_slot() {
        let mut slot = b"#!ipxe\nshell\n".to_vec();
        slot.resize(SLOT, b'\n');
        let loader = [b"MZ #!ipxe of something else".as_slice(), &slot, b"rest"].concat();
        assert_eq!(script_in(&loader, &Sha256Digest::of(&slot)).unwrap(), "#!ipxe\nshell\n");
        assert_eq!(script_in(&loader, &Sha256Digest::of(b"another")), None);
    }
}
