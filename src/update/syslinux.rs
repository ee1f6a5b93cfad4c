//! Updates the pins of the syslinux files from a release archive.

use super::{Error, LockedPins, UpdateRequest};
use crate::base::diagnostic::{Diagnostic, Flag};
use crate::base::progress::Progress;
use crate::base::url::Url;
use crate::config::pins::{ArchivePin, MemberPin, Pins, SyslinuxPin};
use crate::fetch::syslinux::{ArchiveRecord, import_archive};

/// Result of a syslinux update.
#[derive(Debug)]
pub struct SyslinuxUpdate {
    /// Pin before the update.
    pub old: SyslinuxPin,
    /// Pin after the update, or the pin that a dry run would write.
    pub new: SyslinuxPin,
    /// Release archive; `None` if none was given and nothing changed.
    pub archive: Option<ArchiveRecord>,
}

/// Pins the files in the given archive as the requested version.
///
/// # Errors
///
/// [`Error`]. The pins then stay unchanged.
pub fn update(request: &UpdateRequest<'_>, progress: &dyn Progress) -> Result<SyslinuxUpdate, Error> {
    let locked = LockedPins::acquire(request, progress)?;
    let old = locked.pins.syslinux.clone();
    let Some(given) = &request.origins.syslinux_archive else {
        return if request.to.is_some() {
            Err(Error::NoArchive)
        } else {
            Ok(SyslinuxUpdate { new: old.clone(), old, archive: None })
        };
    };
    let version = request.to.unwrap_or(&old.version);
    // The version becomes part of addresses and of a file name.
    if !version.starts_with(|c: char| c.is_ascii_digit())
        || !version.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
    {
        return Err(Error::BadVersion(version.into()));
    }
    let named = SyslinuxPin { version: version.into(), ..old.clone() };
    let (members, archive) = import_archive(&named, given, &request.origins.network, request.cache, progress)?;
    if let Some(warning) = version_mismatch(given, &named, &members, &old) {
        progress.warn(warning);
    }
    let archives = old.archives.iter().map(|pin| retarget(pin, &old.version, version, &archive)).collect();
    let new = SyslinuxPin { archives, members, ..named };
    let text = locked.rewrite(&Pins { syslinux: new.clone(), ..locked.pins.clone() })?;
    locked.write(&text, request, progress)?;
    Ok(SyslinuxUpdate { old, new, archive: Some(archive) })
}

/// Returns a warning if `members`, the files of `given`, are implausible: different releases have different files, and
/// the same release has the same files.
fn version_mismatch(given: &Url, new: &SyslinuxPin, members: &[MemberPin], old: &SyslinuxPin) -> Option<Diagnostic> {
    let (version, known) = (&new.version, &old.version);
    match (version == known, members == old.members) {
        (true, false) => Some(
            Diagnostic::new(format!("`{given}` has other files than are pinned of syslinux {known}"))
                .help("find out whether it is a rebuild before you commit the pins")
                .help(Flag::To),
        ),
        (false, true) => Some(
            Diagnostic::new(format!(
                "`{given}` has the very files that were pinned as syslinux {known}, not those of {version}"
            ))
            .help(format!("give the archive of {version}")),
        ),
        _ => None,
    }
}

/// Returns the pin of a release archive for the version `new`. `seen` is an archive of that version.
fn retarget(pin: &ArchivePin, old: &str, new: &str, seen: &ArchiveRecord) -> ArchivePin {
    let url = pin.url.expose().replace(old, new);
    let same_extension = |ending: &str| url.ends_with(ending) && seen.name.ends_with(ending);
    let sha256 = if same_extension(".zip") || same_extension(".tar.xz") {
        Some(seen.sha256)
    } else {
        // The digest of another file does not apply to this one.
        pin.sha256.filter(|_| url == pin.url.expose())
    };
    ArchivePin { url: url.into(), sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn an_archive_moves_with_its_version_and_loses_a_digest_that_is_not_its_own() {
        let (old, seen) = (Sha256Digest::of(b"old"), Sha256Digest::of(b"seen"));
        let pin = |url: &str, sha256| ArchivePin { url: url.into(), sha256 };
        let archive = ArchiveRecord { name: "syslinux-6.04.zip".into(), sha256: seen };
        let (xz, zip) = ("https://x/6.03/syslinux-6.03.tar.xz", "https://x/6.03/syslinux-6.03.zip");
        let to = |url: &str, version| retarget(&pin(url, Some(old)), "6.03", version, &archive);
        assert_eq!(to(xz, "6.04"), pin("https://x/6.04/syslinux-6.04.tar.xz", None));
        assert_eq!(to(zip, "6.04"), pin("https://x/6.04/syslinux-6.04.zip", Some(seen)));
        assert_eq!(to(xz, "6.03"), pin(xz, Some(old)));
        assert_eq!(to(zip, "6.03"), pin(zip, Some(seen)));
    }
}
