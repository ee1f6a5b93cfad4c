//! The pins in `vendor/pins.toml`: the exact inputs of a tree. This module reads the file; `pins_writer` writes it.

use camino::{Utf8Path, Utf8PathBuf};

use super::signed_set::{self, SignedSetPin};
use super::signers::{self, SignerPin};
use super::toml::{self, Located, Table, TomlFile};
use super::version::Version;
use crate::base::diagnostic::{Diagnose, Diagnosis, Diagnostic, Diagnostics};
use crate::base::fs;
use crate::base::paths::{ProjectPaths, reserved};
use crate::base::url::Url;
use crate::digest::{CommitId, Sha256Digest, TreeId};
use crate::loader::medium::Medium;
use crate::loader::target::Loader;

/// All pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The iPXE pin.
    pub ipxe: IpxePin,
    /// The prebuilt syslinux loaders.
    pub syslinux: SyslinuxPin,
    /// iPXE's official set for Secure Boot, if it is pinned; in the inputs of a build, only if the tree has it.
    pub signed_set: Option<SignedSetPin>,
    /// Keys whose signatures are accepted for mirrored releases.
    pub signers: Vec<SignerPin>,
}

/// Errors from reading pins.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Errors in the content of the file.
    #[error(transparent)]
    Findings(#[from] Diagnostics),
    /// The file cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Diagnose for Error {
    fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Findings(findings) => findings.diagnosis(),
            Self::Fs(error) => error.diagnosis(),
        }
    }
}

/// The pinned iPXE commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpxePin {
    /// Human-readable version.
    pub version: String,
    /// A ref of the remote that leads to the commit, for servers that do not serve commits by ID.
    pub git_ref: String,
    /// The git URLs to fetch from, tried in order.
    pub urls: Vec<Url>,
    /// The commit ID.
    pub commit: CommitId,
    /// The tree ID of the commit.
    pub tree: TreeId,
    /// The SHA-256 of the tree's content, as defined in `vendor/README.md`.
    pub content: Sha256Digest,
    /// The commit's time in seconds, used as the build's `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
}

/// The newest release of iPXE that this tool was tried with.
pub const NEWEST_KNOWN: &str = "2.0.0";

impl IpxePin {
    /// Checks whether it is a release whose first number is `major`, or follows one.
    #[must_use]
    pub fn is_of_series(&self, major: u64) -> bool {
        self.release().is_some_and(|version| version.major() == major)
    }

    /// Returns its version, unless it is a commit without one.
    fn release(&self) -> Option<Version> {
        Version::of(self.version.trim_end_matches('+'))
    }

    /// Checks whether it lacks what the release `release` introduced. A commit after an older release can have it.
    #[must_use]
    pub fn precedes(&self, release: &str) -> bool {
        Version::of(&self.version).zip(Version::of(release)).is_some_and(|(pin, release)| pin < release)
    }

    /// Checks whether it can have commands that this tool does not know, and mended faults: it is newer than
    /// [`NEWEST_KNOWN`], or a commit that no release is.
    #[must_use]
    pub fn can_have_unknown_commands(&self) -> bool {
        let (pin, known) = (self.release(), Version::of(NEWEST_KNOWN));
        pin.is_none() || pin > known || self.version.ends_with('+')
    }

    /// Returns the warning about a release that is newer than what this tool knows.
    #[must_use]
    pub fn warning(&self) -> Option<Diagnostic> {
        (self.release() > Version::of(NEWEST_KNOWN)).then(|| {
            let message = format!(
                "iPXE {} is newer than {NEWEST_KNOWN}, the newest that this tool was tried with, so its checks of scripts and \
                 loaders may be wrong",
                self.version
            );
            Diagnostic::new(message).help("compare with make, and boot the loaders, before you deploy them")
        })
    }
}

/// The pinned syslinux release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslinuxPin {
    /// The version.
    pub version: String,
    /// Archives of the release, tried in order.
    pub archives: Vec<ArchivePin>,
    /// Files of the release that may enter a tree.
    pub members: Vec<MemberPin>,
}

/// A release archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivePin {
    /// The download URL.
    pub url: Url,
    /// The SHA-256, if a published one is known.
    pub sha256: Option<Sha256Digest>,
}

/// A file in the release archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPin {
    /// The file name in a tree.
    pub name: String,
    /// The path in the archive, relative to the release's own folder if there is one.
    pub path: Utf8PathBuf,
    /// The SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// The size in bytes.
    pub size: u64,
}

impl Pins {
    /// Reads the pins of `project`.
    ///
    /// # Errors
    ///
    /// [`Error`] with all errors in the file, or if it cannot be read.
    pub fn read(project: &ProjectPaths) -> Result<Self, Error> {
        let file = project.pins();
        let content = fs::read_text(&file)?;
        let name = file.strip_prefix(project.root()).unwrap_or(&file);
        Ok(Self::parse(name, toml::utf8(name, &content)?)?)
    }

    /// Parses `text`; diagnostics call it `file`.
    ///
    /// # Errors
    ///
    /// Returns all errors in the text.
    pub fn parse(file: &Utf8Path, text: &str) -> Result<Self, Diagnostics> {
        TomlFile::new(file, text).read(|root| {
            // Plans, manifests and messages print each of these values on one line.
            root.require_plain_text();
            let ipxe = root.require("ipxe", root.table("ipxe", ipxe), "add the table [ipxe]");
            let syslinux = root.require("syslinux", root.table("syslinux", syslinux), "add the table [syslinux]");
            let signed_set = signed_set::read(root);
            let signers = signers::read(root);
            Some(Self { ipxe: ipxe?.value, syslinux: syslinux?.value, signed_set, signers })
        })
    }
}

const HEX: &str = "copy the whole digest, never type it";

fn required(table: &Table<'_>, key: &str) -> Option<String> {
    table.require(key, table.string(key), "set it").map(|at| at.value)
}

fn digest<T: std::str::FromStr>(table: &Table<'_>, key: &str) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    table.require(key, table.parsed(key, HEX, str::parse), "set it").map(|at| at.value)
}

fn ipxe(table: &Table<'_>) -> Option<IpxePin> {
    let version = required(table, "version");
    let git_ref = required(table, "ref");
    let urls = table.require("urls", table.strings("urls"), "give at least one git URL");
    if let Some(urls) = urls.as_ref().filter(|urls| urls.value.is_empty()) {
        table.report(urls.location.finding("is empty", "give at least one git URL"));
    }
    let (commit, tree, content) = (digest(table, "commit"), digest(table, "tree"), digest(table, "content-sha256"));
    let epoch = table.require("epoch", table.unsigned("epoch"), "set it to the commit's time in seconds");
    let epoch = epoch.and_then(|at| bounded(table, at, u64::from(u32::MAX)));
    Some(IpxePin {
        version: version?,
        git_ref: git_ref?,
        urls: urls?.value.into_iter().map(|at| at.value.into()).collect(),
        commit: commit?,
        tree: tree?,
        content: content?,
        epoch: epoch?.value,
    })
}

fn syslinux(table: &Table<'_>) -> Option<SyslinuxPin> {
    let version = required(table, "version");
    let archives = table.list("archive", |archive| {
        let url = required(archive, "url");
        let sha256 = archive.parsed("sha256", HEX, str::parse).map(|at| at.value);
        Some(ArchivePin { url: url?.into(), sha256 })
    });
    let members = table.list("member", |member| {
        let name =
            member.require("name", member.parsed("name", "use one file name without `/` and `_`", name), "set it");
        let path = member.require("path", member.parsed("path", "use a path as in the archive", path), "set it");
        let sha256 = digest(member, "sha256");
        let size = member.require("size", member.unsigned("size"), "set it to the size in bytes");
        let size = size.and_then(|at| bounded(member, at, MAX_SIZE));
        Some(MemberPin { name: name?.value, path: path?.value, sha256: sha256?, size: size?.value })
    });
    if archives.is_empty() {
        table.report(table.location().finding("has no archive", "add one as [[syslinux.archive]] with its `url`"));
    }
    for (i, member) in members.iter().enumerate() {
        if members[..i].iter().any(|other| other.name == member.name) {
            table.report(table.location().finding(format!("pins `{}` twice", member.name), "remove one of them"));
        }
    }
    Some(SyslinuxPin { version: version?, archives, members })
}

/// Maximum plausible size of a syslinux file, in bytes.
pub const MAX_SIZE: u64 = 16 << 20;

fn bounded(table: &Table<'_>, at: Located<u64>, most: u64) -> Option<Located<u64>> {
    if at.value <= most {
        return Some(at);
    }
    table.report(at.location.finding(format!("found {}, wanted at most {most}", at.value), "copy the number again"));
    None
}

/// Parses the name of a member. A syslinux loader truncates its own name at an underscore to find `ldlinux.*`, so no
/// name may contain one.
fn name(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    let of_set = signed_set::FILES.iter().map(|(name, _)| *name);
    let known = Loader::ALL.iter().map(|it| it.as_str()).chain(Medium::ALL.iter().map(|it| it.file_name()));
    let mut known = known.chain(of_set);
    let taken = known.any(|name| name.eq_ignore_ascii_case(text)) || reserved(text).is_some();
    if fine && !text.starts_with('.') && !taken {
        Ok(text.to_owned())
    } else {
        Err(format!("found `{text}`, wanted a safe file name"))
    }
}

fn path(text: &str) -> Result<Utf8PathBuf, String> {
    let path = Utf8PathBuf::from(text);
    let plain = path.components().all(|part| matches!(part, camino::Utf8Component::Normal(_)));
    if plain && !text.is_empty() {
        Ok(path)
    } else {
        Err(format!("found `{text}`, wanted a relative path without `..`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::diagnostic::told;

    #[test]
    fn the_pins_that_are_shipped_are_valid() {
        let pins = Pins::parse("vendor/pins.toml".into(), include_str!("../../../../vendor/pins.toml")).unwrap();
        let names: Vec<_> = pins.syslinux.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["lpxelinux.0", "ldlinux.c32", "syslinux.efi", "ldlinux.e64", "isolinux.bin", "mbr.bin"]);
        let signers: Vec<_> = pins.signers.iter().map(|pin| (pin.name.as_str(), pin.fingerprints.len())).collect();
        assert_eq!(signers, [("fedora-coreos", 3), ("flatcar", 1)]);
    }

    #[test]
    fn a_version_that_nobody_tried_is_warned_of() {
        let mut pin = Pins::parse("p".into(), include_str!("../../../../vendor/pins.toml")).unwrap().ipxe;
        for (version, known) in [
            ("2.0.0", true),
            ("2.0.0+", true),
            ("1.21.1", true),
            ("0ab2277c40f1", true),
            ("2.0.1", false),
            ("3.0", false),
        ] {
            pin.version = version.into();
            assert_eq!(pin.warning().is_none(), known, "{version}");
        }
        let told = pin.warning().unwrap().message;
        assert!(told.starts_with("iPXE 3.0 is newer than 2.0.0, the newest that this tool was tried with, "), "{told}");
    }

    #[test]
    fn a_version_says_what_ipxe_can_have() {
        let mut pin = Pins::parse("p".into(), include_str!("../../../../vendor/pins.toml")).unwrap().ipxe;
        for (version, precedes, can_have_unknown_commands) in [
            ("1.21.1", true, false),
            // Commits shortly before 2.0.0 call themselves so, too.
            ("1.21.1+", false, true),
            ("2.0.0", false, false),
            ("2.0.0+", false, true),
            ("2.0.1", false, true),
            ("0ab2277c40f1", false, true),
        ] {
            pin.version = version.into();
            assert_eq!(
                (pin.precedes("2.0.0"), pin.can_have_unknown_commands()),
                (precedes, can_have_unknown_commands),
                "{version}"
            );
        }
    }

    #[test]
    fn every_bad_pin_is_told() {
        let text = "[ipxe]\nversion = \"2\"\nref = \"r\"\nurls = []\ncommit = \"12798\"\ntree = 3\nepoch = -1\n\
                    [syslinux]\nversion = \"6\"\n[[syslinux.member]]\nname = \"a_b\"\npath = \"../x\"\nsize = 1\n";
        assert_eq!(
            told(&Pins::parse("p.toml".into(), text).unwrap_err()),
            "p.toml:1: `ipxe.content-sha256`: is missing\n  hint: set it\n\
             p.toml:4: `ipxe.urls`: is empty\n  hint: give at least one git URL\n\
             p.toml:5: `ipxe.commit`: found `12798`, wanted 40 lowercase hexadecimal digits\n  hint: copy the whole digest, never type it\n\
             p.toml:6: `ipxe.tree`: found integer, wanted a string\n  hint: write a string\n\
             p.toml:7: `ipxe.epoch`: found integer, wanted a whole number from 0\n  hint: write a whole number from 0\n\
             p.toml:8: `syslinux`: has no archive\n  hint: add one as [[syslinux.archive]] with its `url`\n\
             p.toml:10: `syslinux.member.sha256`: is missing\n  hint: set it\n\
             p.toml:11: `syslinux.member.name`: found `a_b`, wanted a safe file name\n  hint: use one file name without `/` and `_`\n\
             p.toml:12: `syslinux.member.path`: found `../x`, wanted a relative path without `..`\n  hint: use a path as in the archive"
        );
    }

    #[test]
    fn no_member_takes_the_name_of_another_file_of_the_tree() {
        for taken in ["manifest.json", "Manifest.json", "ipxe.efi", "iPXE.EFI", "ipxe.ISO", "sha256sums"] {
            name(taken).unwrap_err();
        }
        name("ldlinux.c32").unwrap();
    }

    #[test]
    fn a_pin_that_would_not_be_seen_as_it_is_is_refused() {
        let shipped = include_str!("../../../../vendor/pins.toml");
        for (from, to, key) in [
            ("version = \"", "version = \"1\\n  sites: none", "ipxe.version"),
            ("\nref = \"", "\nref = \"\\u202e", "ipxe.ref"),
            ("urls = [\"", "urls = [\"\\u001b[2J", "ipxe.urls"),
            ("\nurl = \"", "\nurl = \"\\u3164", "syslinux.archive.url"),
            ("\nname = \"", "\nname = \"\\u115f", "syslinux.member.name"),
            ("\npath = \"", "\npath = \"\\t", "syslinux.member.path"),
            ("\nkeys = \"", "\nkeys = \"\\u2800", "signers.fedora-coreos.keys"),
            ("[signers.flatcar]", "[signers.\"a\\nb\"]", "signers.a\\nb"),
        ] {
            let text = shipped.replacen(from, to, 1);
            assert!(text != shipped, "{from}");
            let error = told(&Pins::parse("p.toml".into(), &text).unwrap_err());
            let line = error.lines().find(|line| line.contains(&format!("`{key}`: has `")));
            assert!(line.is_some_and(|line| line.contains("wanted one line")), "{key}\n{error}");
        }
    }
}
