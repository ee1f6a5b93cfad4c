//! Identifies a single loader by its bytes, a manifest, and the reference builds.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::base::progress::Progress;
use crate::base::{fs, parallel, paths};
use crate::build::reference_builds::ReferenceBuild;
use crate::digest::Sha256Digest;
use crate::loader::facts::LoaderFacts;
use crate::loader::file_kind::{self, FileKind};
use crate::loader::linked_objects::LinkedObjects;
use crate::loader::signature::{Signatures, SigningCertificate};
use crate::loader::target::Arch;
use crate::loader::vendor_certificate::vendor_certificates;
use crate::tree::manifest::{Manifest, ManifestEntry};

/// Description of a loader.
#[derive(Debug)]
pub struct Inspection {
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: usize,
    /// Its kind and architecture according to its first bytes; `None` if the kind is unknown.
    pub identity: Option<(FileKind, Option<Arch>)>,
    /// Facts that the loader contains about itself.
    pub facts: LoaderFacts,
    /// Signatures of an EFI application, or why they cannot be read.
    pub signatures: Option<Result<Signatures, String>>,
    /// Certificates in a shim, which starts what they or signers below them have signed.
    pub vendor_certificates: Vec<SigningCertificate>,
    /// Manifest entry for these bytes.
    pub known: Option<KnownLoader>,
    /// Names of the toolchains whose reference build has these bytes.
    pub toolchains: Vec<String>,
}

/// A loader that a manifest lists.
#[derive(Debug)]
pub struct KnownLoader {
    /// Path of the manifest.
    pub manifest: Utf8PathBuf,
    /// The manifest's entry for the file.
    pub file: ManifestEntry,
    /// Name of the configuration.
    pub configuration: Option<String>,
    /// Objects linked into it.
    pub linked: Option<LinkedObjects>,
}

/// Returns the reason why the tree or manifest at `path` cannot be used, if there is one.
#[must_use]
pub fn unusable(path: &Utf8Path) -> Option<String> {
    match fs::read(&manifest_of(path)) {
        Ok(json) => Manifest::parse(&json).err(),
        Err(error) => Some(error.to_string()),
    }
}

/// Inspects the loader at `path`. `candidates` are trees or manifests; the first manifest that lists the loader's bytes
/// is used. If the user cancels, the result lacks facts and manifest entry.
///
/// # Errors
///
/// [`fs::Error`] if the loader cannot be read. A manifest that cannot be read is skipped.
pub fn inspect(
    path: &Utf8Path,
    candidates: &[Utf8PathBuf],
    known: &[ReferenceBuild],
    progress: &dyn Progress,
) -> Result<Inspection, fs::Error> {
    let content = Arc::new(fs::read(path)?);
    let sha256 = Sha256Digest::of(&content);
    let gives = |known: &&ReferenceBuild| known.loaders.values().any(|loader| *loader == sha256);
    let identity = file_kind::identify(&content);
    let is_efi = identity.is_some_and(|(kind, _)| kind == FileKind::EfiApplication);
    let signatures = is_efi.then(|| Signatures::of(&content));
    Ok(Inspection {
        sha256,
        size: content.len(),
        identity,
        signatures,
        vendor_certificates: if is_efi { vendor_certificates(&content).unwrap_or_default() } else { Vec::new() },
        facts: parallel::detached_on_cancel(progress, move || LoaderFacts::of(&content)).unwrap_or_default(),
        known: candidates.iter().find_map(|candidate| look_up(candidate, &sha256, progress)),
        toolchains: known.iter().filter(gives).map(|known| known.name.clone()).collect(),
    })
}

/// Returns the trees that a file may belong to: the folders above it that have a manifest.
pub fn trees_above(path: &Utf8Path) -> impl Iterator<Item = Utf8PathBuf> {
    path.ancestors().skip(1).map(Utf8Path::to_owned).filter(|folder| folder.join(paths::MANIFEST).is_file())
}

/// Returns the path of the manifest of `candidate`, a tree or a manifest.
fn manifest_of(candidate: &Utf8Path) -> Utf8PathBuf {
    if candidate.is_dir() { candidate.join(paths::MANIFEST) } else { candidate.to_owned() }
}

fn look_up(candidate: &Utf8Path, sha256: &Sha256Digest, progress: &dyn Progress) -> Option<KnownLoader> {
    let path = manifest_of(candidate);
    let json = fs::read(&path).ok()?;
    let manifest = parallel::detached_on_cancel(progress, move || Manifest::parse(&json).ok())??;
    let file = manifest.files.into_iter().find(|file| file.sha256 == *sha256)?;
    let configuration = file.ipxe.as_ref().and_then(|ipxe| {
        let mut configurations = manifest.configurations.iter();
        configurations.find(|configuration| configuration.sha256 == ipxe.configuration).map(|it| it.name.clone())
    });
    let linked = file.ipxe.as_ref().zip(configuration.as_ref()).and_then(|(ipxe, configuration)| {
        let list = path.with_file_name("").join(ipxe.linked_list(configuration)?);
        LinkedObjects::read(&list).ok()
    });
    Some(KnownLoader { manifest: path, file, configuration, linked })
}
