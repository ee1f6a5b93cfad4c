//! iPXE's official set for Secure Boot: read from the cache, or downloaded or copied into it. A file is accepted only if
//! it has its pinned digest and has been signed by all of its pinned signers.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::download::{self, DownloadUrl, download};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Page, Subcommand};
use crate::base::fs;
use crate::base::http::NetworkAccess;
use crate::base::paths::Cache;
use crate::base::plural::{choose, count};
use crate::base::progress::{Interruptible, Progress};
use crate::base::tarball::{self, EXTENSION, Limits, TarEntryKind};
use crate::base::url::Url;
use crate::config::signed_set::{MAX_FILE, SetArchivePin, SignedFilePin, SignedFileSource, SignedSetPin};
use crate::digest::Sha256Digest;
use crate::loader::signature::{Signatures, common_name};
use crate::printable::printable;

/// Limits for the archive. That of iPXE 2.0.0 has 12 MB, and is a few times as large when it is unpacked.
const LIMITS: Limits = Limits { entries: 5_000, extension: EXTENSION, entry: 64 << 20, total: 512 << 20 };

/// Maximum size of the archive, in bytes.
const MAX_ARCHIVE: u64 = 64 << 20;

/// Maximum number of names of signers that a message lists.
const MAX_NAMES: usize = 12;

/// Errors from fetching the set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run is offline, and files are missing.
    #[error("{} of the signed set {set} {} not in the cache `{cache}`, and this run is offline", missing.join(", "), choose(missing.len(), "is", "are"))]
    Offline {
        /// Names of the files, in backticks.
        missing: Vec<String>,
        /// The set.
        set: String,
        /// Path of the cache.
        cache: Utf8PathBuf,
    },
    /// There is neither a folder nor an archive at the given path.
    #[error("there is neither a folder nor an archive `{0}`")]
    NotGiven(Utf8PathBuf),
    /// A file does not match its pin.
    #[error("`{file}` in `{origin}` does not match its pin: found SHA-256 {found}, wanted {wanted}")]
    Mismatch {
        /// The file, or the archive.
        file: String,
        /// Where it is from.
        origin: String,
        /// SHA-256 of the file.
        found: Sha256Digest,
        /// The pinned SHA-256.
        wanted: Sha256Digest,
    },
    /// A file has the pinned digest, but another size than the pin says.
    #[error("`{file}` has {}, and its pin says {wanted}, although the digest is right", count(*found, "byte"))]
    SizeMismatch {
        /// The file.
        file: String,
        /// Its size in bytes.
        found: u64,
        /// The pinned size in bytes.
        wanted: u64,
    },
    /// A file with the pinned digest was not signed by all who should have signed it.
    #[error("`{file}` has its pinned digest, but not its signers: found {found}, wanted {wanted}")]
    Signers {
        /// The file.
        file: String,
        /// Who has signed it.
        found: String,
        /// Who should have signed it.
        wanted: String,
    },
    /// The archive cannot be read, or is none that a project would release.
    #[error("`{archive}` cannot be used: {reason}")]
    Archive {
        /// The archive.
        archive: String,
        /// What is wrong.
        reason: String,
    },
    /// The download failed.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Offline { .. } => Class::Unavailable
                .about("signed set")
                .help(Subcommand::Fetch)
                .help(Flag::SecureBootSet)
                .help(Flag::SourcesFrom)
                .page(Page::ClosedNetwork),
            Self::NotGiven(path) => Class::Unavailable.about(path).help(Flag::SecureBootSet),
            Self::Mismatch { file, .. } => Class::Mismatch
                .about(file)
                .help("do not change the digest before you know who replaced the file")
                .page(Page::PinsAndTrust),
            Self::SizeMismatch { file, .. } => Class::Mismatch.about(file).help("correct `size` in vendor/pins.toml"),
            Self::Signers { file, .. } => Class::Mismatch
                .about(file)
                .help("do not change the digest or `signers` before you know who replaced the file")
                .page(Page::PinsAndTrust),
            Self::Archive { archive, .. } => {
                Class::Mismatch.about(archive).help("find out where this file came from; do not use it")
            }
            Self::Download(error) => error.diagnosis(),
            Self::Cancelled => Class::Interrupted.into(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// Source of the set.
#[derive(Clone, Copy)]
pub struct SetSource<'a> {
    /// The network, or offline.
    pub network: &'a NetworkAccess,
    /// A folder with files of the set or their archive, or the archive itself.
    pub given: Option<&'a Utf8Path>,
}

/// Fetches the files of the set `pin` that the cache lacks, and checks who has signed all of them.
///
/// # Errors
///
/// [`Error`].
pub fn fetch(pin: &SignedSetPin, cache: &Cache, source: &SetSource<'_>, progress: &dyn Progress) -> Result<(), Error> {
    let mut missing = Vec::new();
    for file in &pin.files {
        match cached(cache, file)? {
            Some(content) => check_signers(file, &content)?,
            None => missing.push(file),
        }
    }
    let mut fetcher = Fetcher { pin, missing, cache, progress };
    if let Some(given) = source.given.filter(|_| !fetcher.missing.is_empty()) {
        fetcher.take_given(given)?;
    }
    match source.network {
        _ if fetcher.missing.is_empty() => Ok(()),
        NetworkAccess::Offline => Err(fetcher.offline()),
        NetworkAccess::Online(http) => fetcher.download(&|url, partial, limit| {
            let address = DownloadUrl { url, remedy: Flag::SecureBootSet.into() };
            download(http, &address, partial, limit, progress)
        }),
    }
}

/// Returns the content of a file in the cache, verified; `None` if it is missing or has wrong content.
///
/// # Errors
///
/// [`fs::Error`] if it exists and cannot be read.
pub fn cached(cache: &Cache, pin: &SignedFilePin) -> Result<Option<Vec<u8>>, fs::Error> {
    let path = cache.blob(&pin.sha256);
    let content = fs::read_if_exists(&path)?;
    let right = |content: &Vec<u8>| Sha256Digest::of(content) == pin.sha256;
    Ok(content.filter(right).inspect(|_| fs::touch(&path)))
}

/// Returns the size of a file in the cache, in bytes.
///
/// # Errors
///
/// [`fs::Error`] if it cannot be read.
pub fn size(cache: &Cache, pin: &SignedFilePin) -> Result<u64, fs::Error> {
    let path = cache.blob(&pin.sha256);
    Ok(fs::open(&path)?.metadata().map_err(|error| fs::Error::new("read", &path, error))?.len())
}

/// Checks `content`, which is from `origin`, against its pin, and puts it into the cache.
///
/// # Errors
///
/// [`Error`].
pub fn accept(pin: &SignedFilePin, content: &[u8], origin: &str, cache: &Cache) -> Result<(), Error> {
    let (file, found) = (pin.name.clone(), Sha256Digest::of(content));
    if found != pin.sha256 {
        return Err(Error::Mismatch { file, origin: origin.to_owned(), found, wanted: pin.sha256 });
    }
    let found = content.len() as u64;
    if let Some(wanted) = pin.size.filter(|wanted| *wanted != found) {
        return Err(Error::SizeMismatch { file, found, wanted });
    }
    check_signers(pin, content)?;
    Ok(fs::write_atomic(&cache.blob(&pin.sha256), content)?)
}

/// Checks that each of the pinned signers occurs in the chain of a signature that holds.
fn check_signers(pin: &SignedFilePin, content: &[u8]) -> Result<(), Error> {
    let signatures = Signatures::of(content).map(|it| it.signatures).unwrap_or_default();
    let chains = signatures.iter().flatten().flat_map(|it| &it.chain);
    let names: BTreeSet<&str> =
        chains.flat_map(|it| [&it.subject, &it.issuer]).filter_map(|it| common_name(it)).collect();
    if pin.signers.iter().all(|wanted| names.contains(wanted.as_str())) {
        return Ok(());
    }
    let list = |names: &mut dyn Iterator<Item = &str>| {
        let names: Vec<String> = names.take(MAX_NAMES).map(|name| format!("`{}`", printable(name))).collect();
        if names.is_empty() { "no signature that holds".to_owned() } else { names.join(", ") }
    };
    let wanted = list(&mut pin.signers.iter().map(String::as_str));
    Err(Error::Signers { file: pin.name.clone(), found: list(&mut names.into_iter()), wanted })
}

/// Fetches the files that the cache lacks.
struct Fetcher<'a> {
    pin: &'a SignedSetPin,
    missing: Vec<&'a SignedFilePin>,
    cache: &'a Cache,
    progress: &'a dyn Progress,
}

/// Downloads an address to a file of a limited size.
type Download<'d> = dyn Fn(&Url, &Utf8Path, u64) -> Result<(), download::Error> + 'd;

impl Fetcher<'_> {
    fn offline(&self) -> Error {
        Error::Offline {
            missing: self.missing.iter().map(|file| format!("`{}`", file.name)).collect(),
            set: self.pin.to_string(),
            cache: self.cache.root().into(),
        }
    }

    /// Takes what there is at the path `given`: files by their names, and members of the archive.
    fn take_given(&mut self, given: &Utf8Path) -> Result<(), Error> {
        let archive = self.pin.archive.as_ref();
        if given.is_file() {
            return archive.map_or(Ok(()), |archive| self.take_archive(archive, given, given.as_str()));
        }
        if !fs::exists(given)? || !given.is_dir() {
            return Err(Error::NotGiven(given.to_owned()));
        }
        let mut missing = Vec::new();
        for file in std::mem::take(&mut self.missing) {
            let path = given.join(&file.name);
            if path.is_file() {
                accept(file, &fs::read_at_most(&path, MAX_FILE)?, given.as_str(), self.cache)?;
            } else {
                missing.push(file);
            }
        }
        self.missing = missing;
        let beside = archive.map(|archive| (archive, given.join(file_name(&archive.url))));
        match beside.filter(|(_, path)| path.is_file() && !self.members().is_empty()) {
            Some((archive, path)) => self.take_archive(archive, &path, path.as_str()),
            None => Ok(()),
        }
    }

    fn download(&mut self, download: &Download<'_>) -> Result<(), Error> {
        let partial = |url: &Url| {
            let short = Sha256Digest::of(url.expose().as_bytes()).short();
            self.cache.downloads().join(format!("{short}.partial"))
        };
        for file in &self.missing {
            let SignedFileSource::Url(url) = &file.source else { continue };
            let (partial, shown) = (partial(url), url.to_string());
            download(url, &partial, file.size.unwrap_or(MAX_FILE).max(1 << 10))?;
            let content = fs::read_at_most(&partial, MAX_FILE)?;
            fs::remove_file(&partial)?;
            accept(file, &content, &shown, self.cache)?;
        }
        let archive = self.pin.archive.as_ref().filter(|_| !self.members().is_empty());
        let Some(archive) = archive else { return Ok(()) };
        let (partial, shown) = (partial(&archive.url), archive.url.to_string());
        download(&archive.url, &partial, archive.size.unwrap_or(MAX_ARCHIVE).min(MAX_ARCHIVE))?;
        let taken = self.take_archive(archive, &partial, &shown);
        fs::remove_file(&partial)?;
        taken
    }

    /// Returns the missing files that are in the archive, with their paths there.
    fn members(&self) -> Vec<(&SignedFilePin, &Utf8Path)> {
        let member = |file: &&'_ SignedFilePin| matches!(file.source, SignedFileSource::Member(_));
        let members = self.missing.iter().copied().filter(member);
        members
            .filter_map(|file| match &file.source {
                SignedFileSource::Member(path) => Some((file, path.as_path())),
                SignedFileSource::Url(_) => None,
            })
            .collect()
    }

    /// Takes the missing members from the archive at `path`, which messages call `shown`.
    fn take_archive(&mut self, pin: &SetArchivePin, path: &Utf8Path, shown: &str) -> Result<(), Error> {
        let refused = |reason: String| Error::Archive { archive: shown.to_owned(), reason };
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        if size > MAX_ARCHIVE {
            return Err(refused(format!("it has {size} bytes, wanted {MAX_ARCHIVE} at most")));
        }
        let (found, _) = fs::sha256(path)?;
        if found != pin.sha256 {
            let file = file_name(&pin.url);
            return Err(Error::Mismatch { file, origin: shown.to_owned(), found, wanted: pin.sha256 });
        }
        let members = self.members();
        let mut contents: Vec<Option<Vec<u8>>> = vec![None; members.len()];
        let file = Interruptible::new(fs::open(path)?, self.progress);
        let visited = tarball::visit(file, LIMITS, &mut |name, mut entry| {
            let Some(index) = members.iter().position(|(_, member)| name.ends_with(member)) else { return Ok(()) };
            if entry.kind != TarEntryKind::File || entry.size > MAX_FILE || contents[index].is_some() {
                let wanted = format!("wanted one plain file of {MAX_FILE} bytes at most called `{}`", members[index].1);
                return Err(tarball::Error::Read(std::io::Error::other(wanted)));
            }
            contents[index] = Some(entry.content()?);
            Ok(())
        });
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        visited.map_err(|error: tarball::Error| refused(error.to_string()))?;
        for ((file, member), content) in members.into_iter().zip(contents) {
            let content = content.ok_or_else(|| refused(format!("it has no member `{member}`")))?;
            accept(file, &content, shown, self.cache)?;
        }
        self.missing.retain(|file| !matches!(file.source, SignedFileSource::Member(_)));
        Ok(())
    }
}

/// Returns the name of the file at `url`.
fn file_name(url: &Url) -> String {
    let shown = url.to_string();
    let path = shown.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_from_the_rest_of_a_distinguished_name() {
        let microsoft =
            "CN=Microsoft Corporation UEFI CA 2011,O=Microsoft Corporation,L=Redmond,STATEORPROVINCENAME=W,C=US";
        assert_eq!(common_name(microsoft), Some("Microsoft Corporation UEFI CA 2011"));
        assert_eq!(common_name("O=CN=x"), None);
        assert_eq!(common_name("C=GB,O=iPXE+CN=a b"), Some("a b"));
    }
}
