//! The pinned syslinux files: out of the cache, or out of the release archive and into the cache.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::archive::{self, Wanted};
use super::download::{self, download};
use super::http::Network;
use crate::choices::pins::{ArchivePin, MemberPin, SyslinuxPin};
use crate::digest::Sha256Digest;
use crate::fs;
use crate::paths::Cache;
use crate::progress::Progress;

/// The most that a release archive may weigh, in bytes; syslinux 6.03's have 7 to 12 MB.
const MAX_ARCHIVE: u64 = 64 << 20;

/// Why the files cannot be had, or are not what was pinned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Offline, and not in the cache.
    #[error("{} of syslinux {version} {} not in the cache `{cache}`, and `--offline` forbids to download {}\nhint: run `cargo xtask fetch` where there is a network, or give the release archive with `--syslinux-archive`", missing.join(", "), if missing.len() == 1 { "is" } else { "are" }, if missing.len() == 1 { "it" } else { "them" })]
    Offline {
        /// Their names, in backticks.
        missing: Vec<String>,
        /// The version.
        version: String,
        /// The cache.
        cache: Utf8PathBuf,
    },
    /// `--syslinux-archive` names nothing.
    #[error(
        "there is no archive `{0}`\nhint: give the path or the address of a syslinux release, .zip or .tar.xz, with `--syslinux-archive`"
    )]
    NoArchive(String),
    /// The archive is not the pinned one.
    #[error(
        "`{archive}` does not match its pin: found SHA-256 {found}, wanted {wanted}\nhint: do not just update the pin: find out first which of them is right"
    )]
    ArchiveMismatch {
        /// The archive.
        archive: String,
        /// Its SHA-256.
        found: Sha256Digest,
        /// The pin's.
        wanted: Sha256Digest,
    },
    /// A member is not the pinned one.
    #[error(
        "`{member}` in `{archive}` does not match its pin: found SHA-256 {found}, wanted {wanted}\nhint: do not just update the pin: this is a rebuild or another release"
    )]
    MemberMismatch {
        /// The archive.
        archive: String,
        /// The member's path in it.
        member: Utf8PathBuf,
        /// Its SHA-256.
        found: Sha256Digest,
        /// The pin's.
        wanted: Sha256Digest,
    },
    /// From the download.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// From the archive.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// What the cache knows of the archive that the members came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArchiveRecord {
    /// Its file name.
    pub name: String,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
}

/// Brings `members` into the cache, from the archive `given` (a path or an address) or from the
/// pin's own addresses.
///
/// # Errors
///
/// [`Error`].
pub fn fetch(
    pin: &SyslinuxPin,
    members: &[MemberPin],
    cache: &Cache,
    network: &Network,
    given: Option<&str>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let missing: Vec<&MemberPin> =
        members.iter().filter(|member| !matches!(cached(cache, member), Ok(Some(_)))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let offline = || Error::Offline {
        missing: missing.iter().map(|member| format!("`{}`", member.name)).collect(),
        version: pin.version.clone(),
        cache: cache.root().into(),
    };
    let take = |path: &Utf8Path, name: &str, sha256| take_members(pin, path, name, sha256, &missing, cache);
    match given {
        Some(given) if !given.contains("://") => {
            let path = Utf8Path::new(given);
            if !path.is_file() {
                return Err(Error::NoArchive(given.into()));
            }
            take(path, given, None)
        }
        Some(url) => {
            from_network(&[ArchivePin { url: url.into(), sha256: None }], cache, network, &offline, progress, &take)
        }
        None => from_network(&pin.archives, cache, network, &offline, progress, &take),
    }
}

/// Takes what is wanted out of an archive (its path, its name for people, its pinned digest).
type Take<'a> = dyn Fn(&Utf8Path, &str, Option<Sha256Digest>) -> Result<(), Error> + 'a;

fn from_network(
    archives: &[ArchivePin],
    cache: &Cache,
    network: &Network,
    offline: &dyn Fn() -> Error,
    progress: &dyn Progress,
    take: &Take<'_>,
) -> Result<(), Error> {
    let Network::Online(http) = network else { return Err(offline()) };
    let mut result = Err(offline());
    for archive in archives {
        // A query may hold what is nobody's business; the name ends up in the manifest.
        let path = archive.url.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let partial = cache.downloads().join(format!("{}.partial", Sha256Digest::of(archive.url.as_bytes()).short()));
        result = download(http, &archive.url, &partial, MAX_ARCHIVE, progress)
            .map_err(Error::from)
            .and_then(|()| {
                let taken = take(&partial, name, archive.sha256);
                fs::remove_file(&partial)?;
                taken
            })
            .map_err(|error| name_by_url(error, &archive.url, &partial));
        // A file that is not what was pinned is a reason to stop and look, not to try elsewhere.
        if !matches!(result, Err(Error::Download(_))) || progress.cancelled() {
            break;
        }
    }
    result
}

/// People know the archive by its address, not by its place in the cache.
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

/// Verifies the archive, where `sha256` is known for it, and each member; then keeps the members.
fn take_members(
    pin: &SyslinuxPin,
    path: &Utf8Path,
    name: &str,
    sha256: Option<Sha256Digest>,
    members: &[&MemberPin],
    cache: &Cache,
) -> Result<(), Error> {
    let (found, _) = fs::sha256(path)?;
    if let Some(wanted) = sha256.filter(|wanted| *wanted != found) {
        return Err(Error::ArchiveMismatch { archive: name.into(), found, wanted });
    }
    let wanted: Wanted = members.iter().map(|member| (member.path.clone(), member.size)).collect();
    let contents = archive::read_members(path, &wanted)?;
    for member in members {
        let content = &contents[&member.path];
        let digest = Sha256Digest::of(content);
        if digest != member.sha256 {
            return Err(Error::MemberMismatch {
                archive: name.into(),
                member: member.path.clone(),
                found: digest,
                wanted: member.sha256,
            });
        }
    }
    for member in members {
        fs::write_atomic(&cache.blob(&member.sha256), &contents[&member.path])?;
    }
    let file_name = name.rsplit('/').next().unwrap_or(name).to_owned();
    let record = serde_json::json!(ArchiveRecord { name: file_name, sha256: found });
    fs::write_atomic(&cache.syslinux_record(&pin.version), record.to_string().as_bytes())?;
    Ok(())
}

/// The content of a member in the cache, verified; `None` where it is not there or not right.
///
/// # Errors
///
/// [`fs::Error`] where it is there and cannot be read.
pub fn cached(cache: &Cache, member: &MemberPin) -> Result<Option<Vec<u8>>, fs::Error> {
    let content = fs::read_if_exists(&cache.blob(&member.sha256))?;
    Ok(content.filter(|content| Sha256Digest::of(content) == member.sha256))
}

/// The archive that the members came from, as far as the cache knows.
#[must_use]
pub fn archive_record(cache: &Cache, version: &str) -> Option<ArchiveRecord> {
    let text = fs::read_if_exists(&cache.syslinux_record(version)).ok()??;
    serde_json::from_slice(&text).ok()
}
