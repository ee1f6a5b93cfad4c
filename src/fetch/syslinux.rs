//! The pinned syslinux files: read from the cache, or copied from the release archive into the cache.

use crate::base::plural::{choose, count};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::InputSource;
use super::archive::{self, Contents, WantedMembers};
use super::download::{self, DownloadUrl, download};
use crate::base::diagnostic::{Class, Diagnose, Diagnosis, Flag, Page, Subcommand};
use crate::base::fs;
use crate::base::http::NetworkAccess;
use crate::base::paths::Cache;
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::pins::{ArchivePin, MAX_SIZE, MemberPin, SyslinuxPin};
use crate::digest::Sha256Digest;

/// Errors from fetching the syslinux files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run is offline, and files are missing in the cache.
    #[error("{} of syslinux {version} {} not in the cache `{cache}`, and this run is offline", missing.join(", "), choose(missing.len(), "is", "are"))]
    Offline {
        /// Names of the files, in backticks.
        missing: Vec<String>,
        /// The syslinux version.
        version: String,
        /// Path of the cache.
        cache: Utf8PathBuf,
    },
    /// `--syslinux-archive` names a path that does not exist.
    #[error("there is no archive `{0}`")]
    NoArchive(String),
    /// The archive does not match its pin.
    #[error("`{archive}` does not match its pin: found SHA-256 {found}, wanted {wanted}")]
    ArchiveMismatch {
        /// The archive.
        archive: String,
        /// SHA-256 of the archive.
        found: Sha256Digest,
        /// The pinned SHA-256.
        wanted: Sha256Digest,
    },
    /// A member does not match its pin.
    #[error("`{member}` in `{archive}` does not match its pin: found SHA-256 {found}, wanted {wanted}")]
    MemberMismatch {
        /// The archive.
        archive: String,
        /// Path of the member in the archive.
        member: Utf8PathBuf,
        /// SHA-256 of the member.
        found: Sha256Digest,
        /// The pinned SHA-256.
        wanted: Sha256Digest,
    },
    /// A member has the pinned digest, but another size than the pin says.
    #[error(
        "`{member}` has {}, and its pin says {wanted}, although the digest is right",
        count(*found, "byte")
    )]
    SizeMismatch {
        /// Path of the member in the archive.
        member: Utf8PathBuf,
        /// Size of the member in bytes.
        found: usize,
        /// The pinned size in bytes.
        wanted: u64,
    },
    /// The download failed.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// Reading the archive failed.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Offline { .. } => Class::Unavailable
                .about("syslinux")
                .help(Subcommand::Fetch)
                .help(Flag::SyslinuxArchive)
                .help(Flag::SourcesFrom)
                .page(Page::ClosedNetwork),
            Self::NoArchive(archive) => Class::Unavailable.about(archive).help(Flag::SyslinuxArchive),
            Self::ArchiveMismatch { archive, .. } => Class::Mismatch
                .about(archive)
                .help("find out which of them is right before you change the pin")
                .page(Page::PinsAndTrust),
            Self::MemberMismatch { archive, .. } => Class::Mismatch
                .about(archive)
                .help("do not just change the pin: this is a rebuild or another release")
                .page(Page::PinsAndTrust),
            Self::SizeMismatch { member, .. } => {
                Class::Mismatch.about(member).help("correct `size` in vendor/pins.toml")
            }
            Self::Download(error) => error.diagnosis(),
            Self::Archive(error) => error.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// The cache's record of the archive that the members came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArchiveRecord {
    /// File name of the archive.
    pub name: String,
    /// SHA-256 of the archive.
    pub sha256: Sha256Digest,
}

impl ArchiveRecord {
    fn new(path: &str, sha256: Sha256Digest) -> Self {
        Self { name: path.rsplit('/').next().unwrap_or(path).to_owned(), sha256 }
    }
}

/// Fetches `members`, some or all of the pin's, into the cache.
///
/// # Errors
///
/// [`Error`].
pub fn fetch(
    pin: &SyslinuxPin,
    members: &[MemberPin],
    cache: &Cache,
    supply: &InputSource<'_>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let missing = lacking(members, cache)?;
    let fetcher = Fetcher { pin, missing, cache, progress };
    if fetcher.missing.is_empty() {
        return Ok(());
    }
    match supply.given {
        Some(given) => fetcher.given(given, supply.network, |path, name| fetcher.take(path, name, None)),
        None => fetcher.first_of(&pin.archives, supply.network),
    }
}

/// Copies the members at the paths in `pin` from the archive `given` into the cache, whatever their content. Returns
/// their new pins and a record of the archive.
///
/// # Errors
///
/// [`Error`].
pub fn import_archive(
    pin: &SyslinuxPin,
    given: &Url,
    network: &NetworkAccess,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<(Vec<MemberPin>, ArchiveRecord), Error> {
    let fetcher = Fetcher { pin, missing: pin.members.iter().collect(), cache, progress };
    fetcher.given(given, network, |path, name| {
        let (sha256, _) = fs::sha256(path)?;
        let wanted = pin.members.iter().map(|member| (member.path.clone(), MAX_SIZE)).collect();
        let contents = archive::read_members(path, &wanted, progress)?;
        let found = |member: &MemberPin| {
            let content = &contents[&member.path];
            MemberPin { sha256: Sha256Digest::of(content), size: content.len() as u64, ..member.clone() }
        };
        let members: Vec<_> = pin.members.iter().map(found).collect();
        let record = ArchiveRecord::new(name, sha256);
        fetcher.keep(&members.iter().collect::<Vec<_>>(), &contents, &record)?;
        Ok((members, record))
    })
}

/// Fetches the members that the cache lacks.
struct Fetcher<'a> {
    pin: &'a SyslinuxPin,
    missing: Vec<&'a MemberPin>,
    cache: &'a Cache,
    progress: &'a dyn Progress,
}

impl Fetcher<'_> {
    fn offline(&self) -> Error {
        Error::Offline {
            missing: self.missing.iter().map(|member| format!("`{}`", member.name)).collect(),
            version: self.pin.version.clone(),
            cache: self.cache.root().into(),
        }
    }

    /// Takes the members from the first of `archives` that is available.
    fn first_of(&self, archives: &[ArchivePin], network: &NetworkAccess) -> Result<(), Error> {
        let mut result = Err(self.offline());
        for archive in archives {
            result = self.download(&archive.url, network, |path, name| self.take(path, name, archive.sha256));
            // A file that does not match its pin is a reason to stop and investigate, not to try another source.
            if !matches!(result, Err(Error::Download(_))) || self.progress.cancelled() {
                break;
            }
        }
        result
    }

    /// Calls `take` with the archive at `url`, a path or an address, and the archive's name.
    fn given<T>(
        &self,
        url: &Url,
        network: &NetworkAccess,
        take: impl FnOnce(&Utf8Path, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if url.expose().contains("://") || url.misspelled().is_some() {
            return self.download(url, network, take);
        }
        let file = Utf8Path::new(url.expose());
        if !file.exists() {
            return Err(Error::NoArchive(url.to_string()));
        }
        archive::check_size(file)?;
        take(file, file.as_str())
    }

    /// Downloads the archive at `url`, and calls `take` with the file and the archive's name.
    fn download<T>(
        &self,
        url: &Url,
        network: &NetworkAccess,
        take: impl FnOnce(&Utf8Path, &str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let NetworkAccess::Online(http) = network else { return Err(self.offline()) };
        // The name becomes part of the manifest.
        let shown = url.to_string();
        let path = shown.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let short = Sha256Digest::of(url.expose().as_bytes()).short();
        let partial = self.cache.downloads().join(format!("{short}.partial"));
        let address = DownloadUrl { url, remedy: Flag::SyslinuxArchive.into() };
        download(http, &address, &partial, archive::MAX_ARCHIVE, self.progress)
            .map_err(Error::from)
            .and_then(|()| {
                let taken = take(&partial, name);
                fs::remove_file(&partial)?;
                taken
            })
            .map_err(|error| name_by_url(error, &shown, &partial))
    }

    /// Verifies the archive at `path`, called `name`, against `sha256` if given, and verifies each missing member; then
    /// stores the members in the cache.
    fn take(&self, path: &Utf8Path, name: &str, sha256: Option<Sha256Digest>) -> Result<(), Error> {
        let (found, _) = fs::sha256(path)?;
        if let Some(wanted) = sha256.filter(|wanted| *wanted != found) {
            return Err(Error::ArchiveMismatch { archive: name.into(), found, wanted });
        }
        let wanted: WantedMembers = self.missing.iter().map(|member| (member.path.clone(), member.size)).collect();
        let contents = archive::read_members(path, &wanted, self.progress)?;
        for pin in &self.missing {
            let found = Sha256Digest::of(&contents[&pin.path]);
            if found == pin.sha256 && contents[&pin.path].len() as u64 != pin.size {
                let (member, found) = (pin.path.clone(), contents[&pin.path].len());
                return Err(Error::SizeMismatch { member, found, wanted: pin.size });
            }
            if found != pin.sha256 {
                let (archive, member) = (name.into(), pin.path.clone());
                return Err(Error::MemberMismatch { archive, member, found, wanted: pin.sha256 });
            }
        }
        self.keep(&self.missing, &contents, &ArchiveRecord::new(name, found))
    }

    fn keep(&self, members: &[&MemberPin], contents: &Contents, record: &ArchiveRecord) -> Result<(), Error> {
        for pin in members {
            fs::write_atomic(&self.cache.blob(&pin.sha256), &contents[&pin.path])?;
        }
        let record = serde_json::json!(record).to_string();
        Ok(fs::write_atomic(&self.cache.syslinux_record(&self.pin.version), record.as_bytes())?)
    }
}

/// Replaces the path `partial` in `error` by `url`: users know the archive by its address, not by its path in the
/// cache.
fn name_by_url(error: Error, url: &str, partial: &Utf8Path) -> Error {
    use archive::Error as Archive;
    let named = |path: Utf8PathBuf| if path == partial { url.into() } else { path };
    match error {
        Error::Archive(Archive::Format { path, found }) => Archive::Format { path: named(path), found }.into(),
        Error::Archive(Archive::Damaged { path, reason }) => Archive::Damaged { path: named(path), reason }.into(),
        Error::Archive(Archive::Hostile { path, reason }) => Archive::Hostile { path: named(path), reason }.into(),
        Error::Archive(Archive::Missing { path, member }) => Archive::Missing { path: named(path), member }.into(),
        other => other,
    }
}

/// Returns those of `members` that the cache lacks or has with wrong content.
///
/// # Errors
///
/// [`fs::Error`] if one cannot be read: a download would not help then.
pub fn lacking<'m>(members: &'m [MemberPin], cache: &Cache) -> Result<Vec<&'m MemberPin>, fs::Error> {
    let mut lacking = Vec::new();
    for member in members {
        if cached(cache, member)?.is_none() {
            lacking.push(member);
        }
    }
    Ok(lacking)
}

/// Returns the content of a member in the cache, verified; `None` if the member is missing or has wrong content.
///
/// # Errors
///
/// [`fs::Error`] if it exists and cannot be read.
pub fn cached(cache: &Cache, member: &MemberPin) -> Result<Option<Vec<u8>>, fs::Error> {
    let path = cache.blob(&member.sha256);
    let content = fs::read_if_exists(&path)?;
    let right = |content: &Vec<u8>| Sha256Digest::of(content) == member.sha256 && content.len() as u64 == member.size;
    Ok(content.filter(right).inspect(|_| fs::touch(&path)))
}

/// Returns the cache's record of the archive that the members came from, if there is one.
#[must_use]
pub fn archive_record(cache: &Cache, version: &str) -> Option<ArchiveRecord> {
    let path = cache.syslinux_record(version);
    let text = fs::read_if_exists(&path).ok()??;
    fs::touch(&path);
    serde_json::from_slice(&text).ok()
}
