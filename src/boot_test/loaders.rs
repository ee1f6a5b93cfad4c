//! Loaders of the tree under test, and what each of them runs.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_script::MAGICS;

use crate::base::diagnostic::Diagnostic;
use crate::base::fs;
use crate::base::plural::count;
use crate::digest::Sha256Digest;
use crate::loader::file_kind::FileKind;
use crate::loader::medium::Medium;
use crate::loader::signature::{self, Signatures};
use crate::loader::target::{Loader, Platform};
use crate::printable::printable;
use crate::stamp::slot::SlotSize;
use crate::tree::manifest::{Embedded, ManifestEntry};
use crate::tree::open::{Changed, CheckedTree};

/// Number of bytes that contain the headers of an EFI application.
const HEADERS: u64 = 1 << 14;

/// A loader of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderFile {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Owning site; `None` for the root of the tree.
    pub site: Option<String>,
    /// Firmware and CPU that it runs on.
    pub platform: Platform,
    /// The medium that it is on, if `path` is one.
    pub medium: Option<Medium>,
    /// Kind of loader.
    pub program: Program,
    /// Last certificate (DER) of its first valid signature, if it is iPXE and has one: the certificate of the authority,
    /// as far as that comes with the signature.
    pub signer: Option<Arc<[u8]>>,
}

/// Kind of loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// iPXE.
    Ipxe {
        /// The digest of its slot.
        slot: Sha256Digest,
        /// The file that the script in the slot was rendered from.
        source: Utf8PathBuf,
        /// The script in the slot, if it is readable in this loader or another one with the same slot.
        script: Option<String>,
    },
    /// PXELINUX, or syslinux for UEFI.
    Syslinux,
}

/// Returns all loaders of `tree`, in the order of its manifest.
///
/// # Errors
///
/// [`Changed`] if a loader has changed since the tree was checked.
pub fn loaders(tree: &CheckedTree) -> Result<Vec<LoaderFile>, Changed> {
    let mut scripts: HashMap<Sha256Digest, String> = HashMap::new();
    let mut loaders = Vec::new();
    for file in &tree.manifest.files {
        let mut found = of_file(file);
        if file.ipxe.is_some() && file.kind == FileKind::EfiApplication && is_signed(&tree.root.join(&file.path)) {
            let signer = signer_of(&tree.read(&file.path, &file.content())?);
            for loader in &mut found {
                loader.signer.clone_from(&signer);
            }
        }
        loaders.extend(found);
        if let Some(Embedded { slot_size, slot_sha256, .. }) = &file.ipxe
            && file.kind == FileKind::EfiApplication
            && !scripts.contains_key(slot_sha256)
            && let Some(script) = script_in(&tree.read(&file.path, &file.content())?, *slot_size, slot_sha256)
        {
            scripts.insert(*slot_sha256, script);
        }
    }
    // BIOS loaders are packed; the UEFI loader with the same slot shows what they run.
    for loader in &mut loaders {
        if let Program::Ipxe { slot, script, .. } = &mut loader.program {
            *script = scripts.get(slot).cloned();
        }
    }
    Ok(loaders)
}

/// Returns the loader in `file`, or those on the medium that it is: one for each platform. What is for a machine's own
/// EFI system partition is in the tree as loaders, too.
fn of_file(file: &ManifestEntry) -> Vec<LoaderFile> {
    if file.set.is_some() {
        return Vec::new();
    }
    let of_medium = || file.ipxe.iter().flat_map(Embedded::loaders).map(Loader::platform).collect();
    let (platforms, medium): (BTreeSet<Platform>, _) = match (file.kind, file.arch) {
        (FileKind::IpxeNbp | FileKind::PxelinuxNbp, _) => ([Platform::Bios].into(), None),
        (FileKind::EfiApplication, Some(arch)) => ([Platform::efi(arch)].into(), None),
        (FileKind::IsoImage, _) => (of_medium(), Some(Medium::Iso)),
        (FileKind::DiskImage, _) => (of_medium(), Some(Medium::Usb)),
        _ => (BTreeSet::new(), None),
    };
    let program = match &file.ipxe {
        Some(embedded) => Program::Ipxe { slot: embedded.slot_sha256, source: embedded.script.clone(), script: None },
        None => Program::Syslinux,
    };
    let (path, sha256, site) = (&file.path, file.sha256, &file.site);
    let loader = |platform| LoaderFile {
        path: path.clone(),
        sha256,
        site: site.clone(),
        platform,
        medium,
        program: program.clone(),
        signer: None,
    };
    platforms.into_iter().map(loader).collect()
}

/// Checks whether an EFI application has a table of signatures, by its headers. So a tree of a thousand loaders without
/// signatures is not read as a whole.
fn is_signed(path: &Utf8Path) -> bool {
    let mut headers = Vec::new();
    let read = fs::open(path).is_ok_and(|file| file.take(HEADERS).read_to_end(&mut headers).is_ok());
    read && signature::has_table(&headers)
}

/// Returns the last certificate of the first valid signature of an EFI application.
fn signer_of(content: &[u8]) -> Option<Arc<[u8]>> {
    let signature = Signatures::of(content).ok()?.signatures.into_iter().find_map(Result::ok)?;
    Some(signature.chain.last()?.der.as_slice().into())
}

/// Returns the warning that the files of a signed set in `tree` are not booted, if it has one: what they are for is a
/// machine that demands their publisher's signatures.
#[must_use]
pub fn skipped(tree: &CheckedTree) -> Option<Diagnostic> {
    let of_set = tree.manifest.files.iter().filter(|file| file.set.is_some());
    let names: BTreeSet<&str> = of_set.clone().filter_map(|file| file.path.file_name()).collect();
    let set = of_set.clone().find_map(|file| file.set.as_ref())?;
    let names = names.into_iter().map(|name| format!("`{}`", printable(name))).collect::<Vec<_>>().join(", ");
    let (files, set) = (count(of_set.count(), "file"), printable(set));
    let message =
        format!("{names} are not booted ({files} of the signed set {set}): no machine here demands signatures");
    Some(Diagnostic::new(message).help("boot a machine with Secure Boot from it before you hand it out to others"))
}

/// Returns the script in the slot of an EFI loader. The slot has this `size`, and the digest `slot`.
fn script_in(content: &[u8], size: SlotSize, slot: &Sha256Digest) -> Option<String> {
    let starts = MAGICS.iter().flat_map(|magic| memchr::memmem::find_iter(content, magic));
    let mut slots = starts.filter_map(|start| content.get(start..start + size.bytes()));
    let found = slots.find(|bytes| Sha256Digest::of(bytes) == *slot)?;
    Some(format!("{}\n", String::from_utf8_lossy(found).trim_end_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::slot::Slot;

    #[test]
    fn a_script_is_found_by_the_digest_of_its_slot() {
        let slot = Slot::fill(b"#!ipxe\nshell\n", SlotSize::DEFAULT).unwrap();
        let loader = [b"MZ #!ipxe of something else".as_slice(), slot.bytes(), b"rest"].concat();
        assert_eq!(script_in(&loader, slot.size(), &slot.digest()).unwrap(), "#!ipxe\nshell\n");
        let older = Slot::fill(b"#!gpxe\nshell\n", SlotSize::DEFAULT).unwrap();
        assert_eq!(script_in(older.bytes(), older.size(), &older.digest()).unwrap(), "#!gpxe\nshell\n");
        assert_eq!(script_in(&loader, slot.size(), &Sha256Digest::of(b"another")), None);
    }
}
