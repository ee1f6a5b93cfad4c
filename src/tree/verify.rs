//! Verification of a tree, or the tarball of one, against its own manifest and checksums, in both directions.

use crate::base::plural::count;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::interfering_files::InterferingFile;
use super::limits::{self, MAX_FILE, MAX_FILES, MAX_NAME};
use super::manifest::{Manifest, ManifestEntry, SignerEntry};
use super::signed::{self, Signed};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Subcommand};
use crate::base::fs::{self, EntryKind, MAX_FOLDERS, world_readable};
use crate::base::progress::{Interruptible, Progress};
use crate::base::tarball::{self, Refusal, TarEntryKind};
use crate::base::{parallel, paths};
use crate::digest::{Content, Sha256Digest};
use crate::loader::file_kind::{self, FileKind, Mismatch};
use crate::loader::medium::Medium;
use crate::loader::signature::SigningCertificate;
use crate::loader::target::{Arch, Loader};
use crate::printable::printable;

/// Errors that prevent a verification.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no manifest.
    #[error("`{}` has no {}", printable(.0), paths::MANIFEST)]
    NoManifest(Utf8PathBuf),
    /// The manifest is invalid.
    #[error("the manifest of `{}` cannot be read: {reason}", printable(path))]
    BadManifest {
        /// The tree.
        path: Utf8PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is not a tarball.
    #[error("`{}` is neither a tree nor the tarball of one: {reason}", printable(path))]
    NotATarball {
        /// The file.
        path: Utf8PathBuf,
        /// Error from unpacking it.
        reason: tarball::Error,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::NoManifest(path) | Self::NotATarball { path, .. } => {
                Class::DamagedTree.about(path).help(Subcommand::BuildLoaders)
            }
            Self::BadManifest { path, .. } => Class::DamagedTree
                .about(path)
                .help("verify it with the version of this tool that wrote it")
                .help(Subcommand::BuildLoaders),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Maximum number of signers that are listed.
const MAX_SIGNERS: usize = 16;

/// A difference between a tree and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A file in the manifest that is not in the tree.
    Missing(Utf8PathBuf),
    /// A file in the tree that is not in the manifest.
    Extra(Utf8PathBuf),
    /// A link or a device.
    NotAFile(Utf8PathBuf),
    /// A path that no file in a tree can have, such as one with `..`.
    Outside(Utf8PathBuf),
    /// A file that is larger than any loader, with its size in bytes.
    TooLarge(Utf8PathBuf, u64),
    /// A path that occurs more than once in the tarball.
    Twice(Utf8PathBuf),
    /// A file with other content.
    Changed {
        /// The file.
        path: Utf8PathBuf,
        /// Its SHA-256 and size in bytes.
        found: (Sha256Digest, u64),
        /// SHA-256 and size in bytes according to the manifest.
        wanted: (Sha256Digest, u64),
    },
    /// A file with the content in the manifest, but of another kind than the manifest says.
    Misnamed(Utf8PathBuf, Mismatch),
    /// A path that the manifest lists twice.
    ListedTwice(Utf8PathBuf),
    /// The first path that the manifest lists before another one that sorts before it.
    Unsorted(Utf8PathBuf, Utf8PathBuf),
    /// A loader whose signature is not as it should be, with what is wrong.
    Signature(Utf8PathBuf, String),
    /// `SHA256SUMS` does not match the manifest.
    Sums,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(f, "`{}` is missing", printable(path)),
            Self::Extra(path) => write!(f, "`{}` is not in the manifest", printable(path)),
            Self::NotAFile(path) => write!(f, "`{}` is a link or a device, wanted a plain file", printable(path)),
            Self::Outside(path) => write!(f, "`{}` is not a path in a tree", printable(path)),
            Self::TooLarge(path, size) => {
                write!(f, "`{}` has {size} bytes, wanted {MAX_FILE} at most", printable(path))
            }
            Self::Twice(path) => write!(f, "`{}` is there more than once", printable(path)),
            Self::Changed { path, found, wanted } => write!(
                f,
                "`{}` has changed: found {} ({}), wanted {} ({})",
                printable(path),
                found.0,
                count(found.1, "byte"),
                wanted.0,
                count(wanted.1, "byte")
            ),
            Self::Misnamed(path, mismatch) => {
                write!(f, "`{}` is not what the manifest says: {mismatch}", printable(path))
            }
            Self::ListedTwice(path) => write!(f, "`{}` is in the manifest more than once", printable(path)),
            Self::Unsorted(path, next) => write!(
                f,
                "the manifest is not sorted by path: found `{}` before `{}`",
                printable(path),
                printable(next)
            ),
            Self::Signature(path, problem) => write!(f, "`{}` {problem}", printable(path)),
            Self::Sums => write!(f, "`{}` does not say what the manifest says", paths::SHA256SUMS),
        }
    }
}

/// Result of a verification.
#[derive(Debug)]
pub struct VerifyReport {
    /// The tree's manifest.
    pub manifest: Manifest,
    /// Digests and sizes of `SHA256SUMS` and `manifest.json` in the tree, if they exist.
    pub records: Vec<(&'static Utf8Path, Content)>,
    /// All differences, sorted.
    pub differences: Vec<Difference>,
    /// Files that do not belong to the tree, but change how its loaders boot.
    pub interfering_files: Vec<InterferingFile>,
    /// The first file or folder of the tree that other users cannot read.
    pub unreadable: Option<Utf8PathBuf>,
    /// Files beside a deployed tree that do not belong to it, sorted.
    pub others: Vec<Utf8PathBuf>,
    /// Certificates of those who have signed files of the tree, each once.
    pub signers: Vec<SigningCertificate>,
    /// Number of programs whose signer was demanded.
    pub checked: usize,
}

/// Verifies the tree or the tarball at `path`.
///
/// # Errors
///
/// [`Error`] if there is nothing to compare; differences are not an error.
pub fn verify(path: &Utf8Path, progress: &dyn Progress) -> Result<VerifyReport, Error> {
    verify_signed(path, None, progress)
}

/// Signer that the user demands for the programs for UEFI in a tree.
#[derive(Debug, Clone)]
pub struct DemandedSigner {
    /// Certificate that they must be signed with, or one that leads to it.
    pub certificate: SigningCertificate,
    /// Digests of the `syslinux.efi` that may have no signature: it is published without one.
    pub unsigned: Vec<Sha256Digest>,
}

/// Verifies the tree or the tarball at `path`, whose UEFI loaders must all be signed by the `demanded` signer.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_signed(
    path: &Utf8Path,
    demanded: Option<&DemandedSigner>,
    progress: &dyn Progress,
) -> Result<VerifyReport, Error> {
    if path.is_dir() { folder(path, demanded, progress) } else { tarball(path, fs::open(path)?, demanded, progress) }
}

/// Verifies the tree at `path`. Does not read files that the manifest does not list.
fn folder(path: &Utf8Path, demanded: Option<&DemandedSigner>, progress: &dyn Progress) -> Result<VerifyReport, Error> {
    let (manifest, content) = read_manifest(path, progress)?;
    let known = known(&manifest);
    let mut seen = Seen { manifest: Some(content), demanded: demanded.cloned(), ..Seen::default() };
    // A deployment keeps the files of other users in its target, and marks the target with a record of its own.
    let deployed = path.join(paths::DEPLOYED).is_file();
    // An interrupted deployment may have left the last of these.
    let own =
        [paths::MANIFEST, paths::DEPLOYED, paths::DEPLOYING, paths::partial_record().as_str()].map(Utf8PathBuf::from);
    let walked = fs::walk_with(path, progress);
    let interrupted = |error| if progress.cancelled() { Error::Cancelled } else { Error::Fs(error) };
    let walked = walked.map_err(interrupted)?;
    let mut other_case = in_other_case(path, &walked, &known);
    for (file, kind) in walked {
        if progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let file = other_case.remove(&file).unwrap_or(file);
        match kind {
            EntryKind::File if own.contains(&file) => {}
            // What is demanded of programs for UEFI holds wherever they come from.
            _ if deployed && !known.contains(&*file) && !(demanded.is_some() && is_named_efi(&file)) => {
                seen.others.push(file);
            }
            EntryKind::Other => seen.differences.push(Difference::NotAFile(file)),
            EntryKind::File if !known.contains(&*file) => seen.differences.push(Difference::Extra(file)),
            EntryKind::File => seen.read(path, file)?,
        }
    }
    let mut report = seen.report(manifest, progress)?;
    // Paths that no tree has, with thousands of folders, take too long.
    if report.differences.is_empty() {
        report.unreadable = world_readable::first_unreadable(path, known_files(&report.manifest).into_iter());
    }
    Ok(report)
}

/// Returns the paths of the `known` files that the file system of `root`, which ignores case, shows in another case, by the
/// paths that it shows.
fn in_other_case(
    root: &Utf8Path,
    walked: &[(Utf8PathBuf, EntryKind)],
    known: &BTreeSet<&Utf8Path>,
) -> HashMap<Utf8PathBuf, Utf8PathBuf> {
    let shown: HashSet<&Utf8Path> = walked.iter().map(|(path, _)| &**path).collect();
    let probe = Utf8PathBuf::from(paths::MANIFEST.to_uppercase());
    if shown.contains(&*probe) || !root.join(&probe).exists() {
        return HashMap::new();
    }
    let lower = |path: &Utf8Path| path.as_str().to_lowercase();
    let known: HashMap<String, &Utf8Path> = known.iter().map(|path| (lower(path), *path)).collect();
    let is_other = |path: &Utf8Path| {
        let name = known.get(&lower(path)).filter(|name| **name != path)?;
        Some((path.to_owned(), (*name).to_owned()))
    };
    walked.iter().filter_map(|(path, _)| is_other(path)).collect()
}

/// Checks whether a file is named as programs for UEFI are.
fn is_named_efi(path: &Utf8Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("efi"))
}

/// Returns the manifest of the tree at `path` without comparing anything.
///
/// # Errors
///
/// As [`verify`].
pub fn manifest(path: &Utf8Path, progress: &dyn Progress) -> Result<Manifest, Error> {
    read_manifest(path, progress).map(|(manifest, _)| manifest)
}

fn read_manifest(path: &Utf8Path, progress: &dyn Progress) -> Result<(Manifest, Written), Error> {
    let json = fs::read_if_exists(&path.join(paths::MANIFEST))?.ok_or_else(|| Error::NoManifest(path.to_owned()))?;
    parse(path, json, progress)
}

/// Parses a manifest, and returns it with the properties of its text.
fn parse(path: &Utf8Path, json: Vec<u8>, progress: &dyn Progress) -> Result<(Manifest, Written), Error> {
    let parsed = parallel::detached_on_cancel(progress, move || {
        let manifest = Manifest::parse(&json)?;
        let written = Written { content: Content::of(&json), as_usual: manifest.is_written_as(&json) };
        Ok((manifest, written))
    });
    parsed.ok_or(Error::Cancelled)?.map_err(|reason| Error::BadManifest { path: path.to_owned(), reason })
}

/// Returns the paths in the tree at `path` that are not in its manifest, or not plain files. Looks at names only.
///
/// # Errors
///
/// As [`verify`].
pub fn foreign(path: &Utf8Path, progress: &dyn Progress) -> Result<Vec<Utf8PathBuf>, Error> {
    let manifest = manifest(path, progress)?;
    let known = known(&manifest);
    let mut found = fs::walk(path)?;
    found.retain(|(file, kind)| *kind != EntryKind::File || !known.contains(&**file));
    Ok(found.into_iter().map(|(file, _)| file).collect())
}

/// Returns the paths of everything that belongs to the tree of `manifest`.
fn known(manifest: &Manifest) -> BTreeSet<&Utf8Path> {
    let own = [paths::DEPLOYED, paths::DEPLOYING].map(Utf8Path::new);
    known_files(manifest).into_iter().chain(own).collect()
}

/// Returns the paths of the files that `manifest` lists, and of the tree's records.
fn known_files(manifest: &Manifest) -> Vec<&Utf8Path> {
    let records = [paths::MANIFEST, paths::SHA256SUMS].map(Utf8Path::new);
    manifest.files.iter().map(|file| &*file.path).chain(records).collect()
}

/// Verifies the tarball `file`, named `path`, from its current offset to its end.
pub(super) fn tarball(
    path: &Utf8Path,
    file: std::fs::File,
    demanded: Option<&DemandedSigner>,
    progress: &dyn Progress,
) -> Result<VerifyReport, Error> {
    let (mut seen, mut json) = (Seen { demanded: demanded.cloned(), ..Seen::default() }, None);
    let limits = limits::of_tarball(&file);
    let visited = tarball::visit(Interruptible::new(file, progress), limits, &mut |path, mut entry| {
        if entry.kind != TarEntryKind::File {
            seen.different(Difference::NotAFile(path))
        } else if !is_inside(&path) {
            seen.different(Difference::Outside(path))
        } else if path == paths::MANIFEST {
            let content = entry.content()?;
            if json.replace(content).is_some() { seen.different(Difference::Twice(path)) } else { Ok(()) }
        } else {
            seen.add(path, &entry.content()?)
        }
    });
    visited.map_err(|reason| {
        if progress.cancelled() { Error::Cancelled } else { Error::NotATarball { path: path.to_owned(), reason } }
    })?;
    let json = json.ok_or_else(|| Error::NoManifest(path.to_owned()))?;
    let (manifest, written) = parse(path, json, progress)?;
    seen.manifest = Some(written);
    seen.report(manifest, progress)
}

/// Checks whether a path leads to a file inside the tree that it is joined to, wherever that is, and is not one of a
/// deployment's own files.
#[must_use]
pub fn is_inside(path: &Utf8Path) -> bool {
    let parts = || path.as_str().split('/');
    let own = [paths::DEPLOYED, paths::DEPLOYING].map(Utf8Path::new).contains(&path) || path == paths::partial_record();
    parts().all(|part| !["", ".", ".."].contains(&part) && part.len() <= MAX_NAME)
        && parts().count() <= MAX_FOLDERS + 1
        && !own
}

/// Properties of a file; its content is not kept.
struct Found {
    content: Content,
    identity: Option<(FileKind, Option<Arch>)>,
    description: String,
    /// Whether it begins as programs for UEFI do.
    is_program: bool,
    signed: Option<Signed>,
}

/// Properties of the text of a manifest.
struct Written {
    content: Content,
    /// Whether the text is exactly what this tool writes for this manifest.
    as_usual: bool,
}

#[derive(Default)]
struct Seen {
    files: BTreeMap<Utf8PathBuf, Found>,
    manifest: Option<Written>,
    sums: Option<Content>,
    differences: Vec<Difference>,
    others: Vec<Utf8PathBuf>,
    /// Signer of all loaders.
    demanded: Option<DemandedSigner>,
    signers: Vec<SigningCertificate>,
    checked: usize,
}

impl Seen {
    /// Reads a file of the tree at `root`, unless it is too large.
    fn read(&mut self, root: &Utf8Path, file: Utf8PathBuf) -> Result<(), Error> {
        let path = root.join(&file);
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        if size > MAX_FILE {
            self.differences.push(Difference::TooLarge(file, size));
        } else {
            let content = fs::read_at_most(&path, MAX_FILE)?;
            // Paths in a folder are unique, and only the files in the manifest are read.
            let _ = self.add(file, &content);
        }
        Ok(())
    }

    /// Adds a file with `content`; refuses more files than a tree may have.
    fn add(&mut self, path: Utf8PathBuf, content: &[u8]) -> Result<(), tarball::Error> {
        let found = Content::of(content);
        let twice = if path == paths::SHA256SUMS {
            self.sums.replace(found).is_some()
        } else {
            let (identity, description) = (file_kind::identify(content), file_kind::describe(content));
            let is_program = content.starts_with(b"MZ");
            let certificate = self.demanded.as_ref().map(|demanded| &demanded.certificate);
            let signed = if is_program { Signed::of(content, certificate) } else { None };
            let signed = signed.map(|(signed, certificates)| {
                self.add_signers(certificates);
                signed
            });
            let found = Found { content: found, identity, description, is_program, signed };
            self.files.insert(path.clone(), found).is_some()
        };
        if self.files.len() > MAX_FILES {
            return Err(Refusal::Entries(MAX_FILES as u64).into());
        }
        if twice { self.different(Difference::Twice(path)) } else { Ok(()) }
    }

    /// Adds certificates of signers, up to a number that no tree has.
    fn add_signers(&mut self, certificates: Vec<SigningCertificate>) {
        for certificate in certificates {
            if self.signers.len() < MAX_SIGNERS && !self.signers.contains(&certificate) {
                self.signers.push(certificate);
            }
        }
    }

    /// Records an entry of a tarball that no tree has; refuses more such entries than a tree may have files.
    fn different(&mut self, difference: Difference) -> Result<(), tarball::Error> {
        self.differences.push(difference);
        if self.differences.len() > MAX_FILES { Err(Refusal::Entries(MAX_FILES as u64).into()) } else { Ok(()) }
    }

    /// Returns the report; stops waiting for it if the user asks to stop.
    fn report(self, manifest: Manifest, progress: &dyn Progress) -> Result<VerifyReport, Error> {
        parallel::detached_on_cancel(progress, move || self.compared(manifest)).ok_or(Error::Cancelled)
    }

    /// Compares a file with its entry, and its signatures with those that the user demands or the manifest claims.
    fn compare(&mut self, file: &ManifestEntry, found: Found, signer: Option<&SignerEntry>) {
        let demanded = self.demanded.as_ref();
        let is_demanded = demanded.is_some_and(|demanded| is_demanded(file, &found, &demanded.unsigned));
        let certificate = demanded.map(|demanded| &demanded.certificate);
        let problem = signed::problem(file, (found.signed.as_ref(), is_demanded), signer, certificate);
        self.checked += usize::from(is_demanded);
        let difference = compare(file, found);
        let is_changed = matches!(difference, Some(Difference::Changed { .. }));
        self.differences.extend(difference);
        let signature = problem.filter(|_| !is_changed);
        self.differences.extend(signature.map(|problem| Difference::Signature(file.path.clone(), problem)));
    }

    fn compared(mut self, manifest: Manifest) -> VerifyReport {
        let too_large = |difference: &Difference| match difference {
            Difference::TooLarge(path, _) => Some(path.clone()),
            _ => None,
        };
        let too_large: BTreeSet<Utf8PathBuf> = self.differences.iter().filter_map(too_large).collect();
        let (listed, misplaced) = listed(&manifest);
        self.differences.extend(misplaced);
        // As texts: a path is compared part by part, which takes much longer where there are many.
        let below_file = |path: &str| path.match_indices('/').any(|(end, _)| listed.contains_key(&path[..end]));
        for file in &manifest.files {
            if listed.get(file.path.as_str()).is_some_and(|first| !std::ptr::eq(*first, file)) {
                continue;
            }
            if !is_inside(&file.path) || below_file(file.path.as_str()) {
                self.differences.push(Difference::Outside(file.path.clone()));
            }
            match self.files.remove(&file.path) {
                Some(found) => self.compare(file, found, manifest.secure_boot.as_ref()),
                None if too_large.contains(&file.path) => {}
                None => self.differences.push(Difference::Missing(file.path.clone())),
            }
        }
        self.differences.extend(self.files.into_keys().map(Difference::Extra));
        let written = self.manifest.as_ref().map(|written| written.content);
        let records = [(paths::SHA256SUMS, self.sums), (paths::MANIFEST, written)];
        let records = records.into_iter().filter_map(|(path, content)| Some((Utf8Path::new(path), content?))).collect();
        match (self.sums, self.manifest) {
            (Some(sums), Some(Written { content, as_usual: true })) if manifest.sums_content(&content) == sums => {}
            (Some(_), _) => self.differences.push(Difference::Sums),
            (None, _) => self.differences.push(Difference::Missing(paths::SHA256SUMS.into())),
        }
        self.differences.sort();
        let extra = self.differences.iter().filter_map(|difference| match difference {
            Difference::Extra(path) | Difference::NotAFile(path) => Some(path),
            _ => None,
        });
        let interfering_files = InterferingFile::among(extra.chain(&self.others), &manifest);
        let Self { differences, others, signers, checked, .. } = self;
        VerifyReport { manifest, records, differences, interfering_files, unreadable: None, others, signers, checked }
    }
}

/// Returns the entries of `manifest` by path, the first one of each path, and what is wrong with their order.
fn listed(manifest: &Manifest) -> (HashMap<&str, &ManifestEntry>, Vec<Difference>) {
    let (mut listed, mut differences) = (HashMap::with_capacity(manifest.files.len()), BTreeSet::new());
    for file in &manifest.files {
        match listed.entry(file.path.as_str()) {
            Entry::Vacant(empty) => {
                empty.insert(file);
            }
            Entry::Occupied(_) => {
                differences.insert(Difference::ListedTwice(file.path.clone()));
            }
        }
    }
    let unsorted = manifest.files.windows(2).find(|pair| pair[0].path.as_str() > pair[1].path.as_str());
    differences.extend(unsorted.map(|pair| Difference::Unsorted(pair[0].path.clone(), pair[1].path.clone())));
    (listed, differences.into_iter().collect())
}

fn compare(file: &ManifestEntry, found: Found) -> Option<Difference> {
    let wanted = Content { sha256: file.sha256, size: file.size };
    if found.content != wanted {
        let pair = |content: Content| (content.sha256, content.size);
        return Some(Difference::Changed { path: file.path.clone(), found: pair(found.content), wanted: pair(wanted) });
    }
    let claimed = (file.kind, file.arch);
    let wanted = kind_by_path(file).unwrap_or(claimed);
    let is_data = wanted.0 == FileKind::Data && may_be_data(file, found.identity);
    let (kind, arch) = if is_data || found.identity == Some(wanted) { claimed } else { wanted };
    // Other commands go by the manifest: a loader that it calls a text would never be booted.
    let fits = is_data || found.identity == Some((kind, arch));
    (!fits).then(|| Difference::Misnamed(file.path.clone(), Mismatch::new(found.description, kind, arch)))
}

/// Returns the kind and the CPU of an iPXE loader or a boot medium. They follow from its path, by which firmware and
/// people get it, and those of a loader also from its make target, whatever the manifest says of its kind.
fn kind_by_path(file: &ManifestEntry) -> Option<(FileKind, Option<Arch>)> {
    let name = in_root_or_site(&file.path);
    let is_claimed = file.ipxe.is_some() || file.kind != FileKind::Data;
    let of_path = || name.parse().ok().filter(|_| is_claimed);
    let of_target = || file.ipxe.as_ref().and_then(|embedded| Loader::of_target(&embedded.target));
    let medium = Medium::ALL.into_iter().find(|medium| is_claimed && medium.file_name() == name);
    match medium {
        Some(medium) => Some((medium.file_kind(), None)),
        None => of_path().or_else(of_target).map(file_kind::loader_kind).map(|(kind, arch)| (kind, Some(arch))),
    }
}

/// Checks whether the manifest may call a file data: one that no firmware starts, or a syslinux file whose name has no
/// meaning for syslinux.
fn may_be_data(file: &ManifestEntry, identity: Option<(FileKind, Option<Arch>)>) -> bool {
    match identity.map(|(kind, _)| kind) {
        None | Some(FileKind::Text | FileKind::Data) => true,
        Some(FileKind::IpxeNbp) => false,
        Some(_) => file.member.is_some() && file_kind::member_kind(file.path.as_str()).0 == FileKind::Data,
    }
}

/// Checks whether a file has to be signed with a certificate that the user demands: each program for UEFI, by its
/// content. Nobody signs `syslinux.efi`, which has one of the digests in `unsigned`, and the files of an official signed
/// set are signed by others.
fn is_demanded(file: &ManifestEntry, found: &Found, unsigned: &[Sha256Digest]) -> bool {
    let name = in_root_or_site(&file.path);
    let is_of_set = file.set.is_some() && Utf8Path::new(name).starts_with(paths::SIGNED_SET) && found.signed.is_some();
    let is_syslinux = name == SYSLINUX && unsigned.contains(&found.content.sha256);
    found.is_program && !is_of_set && !is_syslinux
}

/// The syslinux loader for UEFI.
const SYSLINUX: &str = "syslinux.efi";

/// Returns the rest of `path` in the folder of its site, or in the root of the tree.
fn in_root_or_site(path: &Utf8Path) -> &str {
    let site = path.strip_prefix("sites").ok().and_then(|path| path.as_str().split_once('/'));
    site.map_or(path.as_str(), |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::slot::SlotSize;
    use crate::tree::manifest::Embedded;

    #[test]
    fn a_loader_for_another_cpu_than_its_path_or_make_target_is_refused_whatever_the_manifest_says() {
        let content = Content::of(b"x");
        let refused = |path: &str, target: &str, arch: Arch| {
            let own = !target.is_empty();
            let embedded = Embedded {
                target: target.into(),
                configuration: content.sha256,
                script: "a.ipxe".into(),
                slot_size: SlotSize::DEFAULT,
                slot_sha256: content.sha256,
            };
            let file = ManifestEntry {
                path: path.into(),
                size: content.size,
                sha256: content.sha256,
                authenticode_sha256: None,
                kind: FileKind::EfiApplication,
                arch: Some(arch),
                site: None,
                same_as: None,
                ipxe: own.then_some(embedded),
                member: None,
                set: None,
            };
            let identity = Some((FileKind::EfiApplication, Some(arch)));
            compare(
                &file,
                Found { content, identity, description: "an EFI application".into(), is_program: true, signed: None },
            )
            .is_some()
        };
        let target = "bin-arm64-efi/ipxe.efi";
        // A medium with one loader has the make target of that loader.
        assert!(refused("ipxe.iso", target, Arch::Arm64) && refused("sites/a/ipxe-esp.zip", target, Arch::Arm64));
        assert!(refused("other.efi", target, Arch::X86_64) && !refused("other.efi", target, Arch::Arm64));
        for path in ["arm64/ipxe.efi", "sites/a/arm64/ipxe.efi"] {
            assert!(!refused(path, target, Arch::Arm64));
            for target in [target, "bin-i386-efi/ipxe.efi", "bin/another", ""] {
                assert!(refused(path, target, Arch::I386), "{path} {target}");
            }
        }
    }

    #[test]
    fn a_file_that_is_shown_in_another_case_is_the_one_in_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let known = ["manifest.json", "sites/rack-2/a", "c"].map(Utf8Path::new).into();
        let walked = ["manifest.json", "c", "sites/Rack-2/a", "sites/Rack-2/b"];
        let walked = walked.map(|path| (Utf8PathBuf::from(path), EntryKind::File)).to_vec();
        std::fs::write(root.join("manifest.json"), "x").unwrap();
        assert!(in_other_case(root, &walked, &known).is_empty());
        // Where case does not count, a file is found by names that are not shown.
        std::fs::write(root.join("MANIFEST.JSON"), "x").unwrap();
        let renamed = in_other_case(root, &walked, &known);
        assert_eq!(renamed, HashMap::from([("sites/Rack-2/a".into(), "sites/rack-2/a".into())]));
        // Here it is another file.
        let walked = [&walked[..], &[("MANIFEST.JSON".into(), EntryKind::File)]].concat();
        assert!(in_other_case(root, &walked, &known).is_empty());
    }
}
