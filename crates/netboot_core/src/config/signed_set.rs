//! iPXE's official set for Secure Boot: a shim that firmware trusts, and loaders that the shim trusts. They are
//! downloaded, never built; each is pinned by its digest and by who has signed it.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::toml::Table;
use crate::base::closed_set::closed_set;
use crate::base::paths;
use crate::base::url::Url;
use crate::digest::Sha256Digest;
use crate::printable::printable;

/// Files of the set in a tree, sorted, with the pinned file that each is. A shim loads the file that is called as itself
/// without `-shimx64`, so there is one shim for each loader.
pub const FILES: [(&str, &str); 5] = [
    ("ipxe-shimx64.efi", SHIM),
    ("ipxe.efi", "ipxe.efi"),
    ("mmx64.efi", "mmx64.efi"),
    ("snponly-shimx64.efi", SHIM),
    ("snponly.efi", "snponly.efi"),
];

/// Name of the pinned shim.
const SHIM: &str = "ipxe-shimx64.efi";

/// What DHCP hands out to machines with UEFI on x86-64.
pub const FIRST: &str = "snponly-shimx64.efi";

/// Maximum plausible size of a file of the set, in bytes; the shim has 1,048,424.
pub const MAX_FILE: u64 = 16 << 20;

/// Maximum number of expected signers of a file.
const MAX_SIGNERS: usize = 16;

/// The pinned set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedSetPin {
    /// The version of iPXE that the loaders are.
    pub version: String,
    /// The release archive that some of the files are in.
    pub archive: Option<SetArchivePin>,
    /// The files; each of those that [`FILES`] needs, once.
    pub files: Vec<SignedFilePin>,
}

/// The release archive of the loaders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetArchivePin {
    /// The download URL.
    pub url: Url,
    /// The SHA-256.
    pub sha256: Sha256Digest,
    /// The size in bytes, if known.
    pub size: Option<u64>,
}

/// A file of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFilePin {
    /// Its name in the release.
    pub name: String,
    /// Where it comes from.
    pub source: SignedFileSource,
    /// The SHA-256.
    pub sha256: Sha256Digest,
    /// The size in bytes, if known.
    pub size: Option<u64>,
    /// Common names that must all occur in the chains of its signatures, as owner or issuer of a certificate.
    pub signers: Vec<String>,
}

/// Where a file of the set comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedFileSource {
    /// The end of its path in the archive.
    Member(Utf8PathBuf),
    /// An address of its own.
    Url(Url),
}

impl SignedSetPin {
    /// Returns the pinned file called `name` in the release.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&SignedFilePin> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl fmt::Display for SignedSetPin {
    /// Writes what a manifest calls the set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", SetName::Ipxe, self.version)
    }
}

closed_set! {
    /// A set that `set` can name.
    pub enum SetName {
        /// The set of the iPXE project.
        Ipxe = "ipxe",
    }
}

closed_set! {
    /// Where in the root of the tree, and in the folder of each site, the set is.
    pub enum SetPlace {
        /// In a folder of its own.
        Folder = "folder",
        /// Directly there: with some firmware, a shim looks for its loader only in the root of the TFTP server.
        Root = "root",
    }
}

impl SetPlace {
    /// Returns the path of the set's file `name`, relative to the root of the tree or the folder of a site.
    #[must_use]
    pub fn path(self, name: &str) -> Utf8PathBuf {
        match self {
            Self::Folder => Utf8Path::new(paths::SIGNED_SET).join(name),
            Self::Root => name.into(),
        }
    }
}

/// Returns `script` as an `autoexec.ipxe`. iPXE 2.0.0 keeps that script as an image, and kernels would get it as a part
/// of their initrd: its first command removes it.
#[must_use]
pub fn autoexec(script: &str) -> String {
    let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
    let end = if rest.is_empty() || rest.ends_with('\n') { "" } else { "\n" };
    format!("{first}\nimgfree {} ||\n{rest}{end}", paths::AUTOEXEC)
}

const HEX: &str = "copy the whole digest, never type it";

/// Reads the table `[secure-boot-set]`, if there is one.
pub(super) fn read(root: &Table<'_>) -> Option<SignedSetPin> {
    root.table("secure-boot-set", |table| {
        let version = table.require("version", table.string("version"), "set it to the version of iPXE");
        let archive = table.table("archive", |archive| {
            let url = archive.require("url", archive.string("url"), "set it");
            let sha256 = archive.require("sha256", archive.parsed("sha256", HEX, str::parse), "set it");
            let size = size(archive, u64::MAX);
            Some(SetArchivePin { url: url?.value.into(), sha256: sha256?.value, size })
        });
        let mut all_read = true;
        let files = table.list("file", |table| {
            let file = file(table);
            all_read &= file.is_some();
            file
        });
        for wanted in FILES.iter().filter(|(name, pinned)| name == pinned).map(|(_, pinned)| *pinned) {
            let message = match files.iter().filter(|file| file.name == wanted).count() {
                0 if all_read => format!("does not pin `{wanted}`"),
                0 | 1 => continue,
                _ => format!("pins `{wanted}` twice"),
            };
            table.report(table.location().finding(message, "have one [[secure-boot-set.file]] for each file"));
        }
        let is_member = |file: &SignedFilePin| matches!(file.source, SignedFileSource::Member(_));
        if archive.is_none() && files.iter().any(is_member) {
            let remedy = "add [secure-boot-set.archive] with its `url` and `sha256`";
            table.report(table.location().finding("has a `member` and no archive", remedy));
        }
        Some(SignedSetPin { version: version?.value, archive: archive.map(|at| at.value), files })
    })
    .map(|at| at.value)
}

fn file(table: &Table<'_>) -> Option<SignedFilePin> {
    let known = |name: &str| {
        let names: Vec<String> = FILES.iter().filter(|(n, p)| n == p).map(|(name, _)| format!("`{name}`")).collect();
        let found = || format!("found `{}`, wanted {}", printable(name), names.join(", "));
        FILES
            .iter()
            .find(|(in_tree, pinned)| in_tree == pinned && *in_tree == name)
            .map(|_| name.to_owned())
            .ok_or_else(found)
    };
    let name = table.require("name", table.parsed("name", "use the name of one of these files", known), "set it");
    let sha256 = table.require("sha256", table.parsed("sha256", HEX, str::parse), "set it");
    let member = table.parsed("member", "use a path as in the archive", path);
    let source = match (member, table.string("url")) {
        (None, None) if table.has("member") => None,
        (Some(member), None) => Some(SignedFileSource::Member(member.value)),
        (None, Some(url)) => Some(SignedFileSource::Url(url.value.into())),
        _ => {
            let remedy = "write `url`, or `member` for a file of the archive";
            table.report(table.location().finding("wanted one of `url` and `member`", remedy));
            None
        }
    };
    let remedy = "list who must have signed it, or nobody with []";
    let signers = table.require("signers", table.strings("signers"), remedy).and_then(|at| {
        if at.value.len() <= MAX_SIGNERS {
            return Some(at.value.into_iter().map(|name| name.value).collect());
        }
        let message = format!("has {} names, wanted {MAX_SIGNERS} at most", at.value.len());
        table.report(at.location.finding(message, "list fewer"));
        None
    });
    let size = size(table, MAX_FILE);
    Some(SignedFilePin { name: name?.value, source: source?, sha256: sha256?.value, size, signers: signers? })
}

fn size(table: &Table<'_>, most: u64) -> Option<u64> {
    let size = table.unsigned("size")?;
    if size.value <= most {
        return Some(size.value);
    }
    table
        .report(size.location.finding(format!("found {}, wanted at most {most}", size.value), "copy the number again"));
    None
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
    use super::super::toml::TomlFile;
    use super::*;
    use crate::base::diagnostic::told;

    #[test]
    fn a_script_frees_itself_first() {
        assert_eq!(autoexec("#!ipxe\nshell\n"), "#!ipxe\nimgfree autoexec.ipxe ||\nshell\n");
        assert_eq!(autoexec("#!ipxe\n\nshell"), "#!ipxe\nimgfree autoexec.ipxe ||\n\nshell\n");
        assert_eq!(autoexec("#!ipxe"), "#!ipxe\nimgfree autoexec.ipxe ||\n");
    }

    #[test]
    fn files_are_sorted_and_each_shim_has_its_loader() {
        assert!(FILES.is_sorted() && FILES.iter().any(|(name, _)| *name == FIRST));
        for (name, _) in FILES.iter().filter(|(_, pinned)| *pinned == SHIM) {
            let loaded = name.replace("-shimx64", "");
            assert!(FILES.iter().any(|(name, _)| *name == loaded), "{name}");
        }
    }

    #[test]
    fn every_bad_pin_of_the_set_is_told() {
        let text = "[secure-boot-set]\n[[secure-boot-set.file]]\nname = \"grub.efi\"\nsha256 = \"12\"\nmember = \"/x\"\nurl = \"u\"\n\
                    [[secure-boot-set.file]]\nname = \"ipxe.efi\"\nsize = 99999999\n";
        let error = TomlFile::new("p.toml".into(), text).read(|root| Some(read(root))).unwrap_err();
        let lines: Vec<String> = told(&error).lines().filter(|it| !it.starts_with(' ')).map(str::to_owned).collect();
        let at = |line: usize, key: &str, text: &str| format!("p.toml:{line}: `secure-boot-set{key}`: {text}");
        assert_eq!(
            lines,
            [
                at(1, ".version", "is missing"),
                at(2, ".file.signers", "is missing"),
                at(
                    3,
                    ".file.name",
                    "found `grub.efi`, wanted `ipxe-shimx64.efi`, `ipxe.efi`, `mmx64.efi`, `snponly.efi`"
                ),
                at(4, ".file.sha256", "found `12`, wanted 64 lowercase hexadecimal digits"),
                at(5, ".file.member", "found `/x`, wanted a relative path without `..`"),
                at(7, ".file", "wanted one of `url` and `member`"),
                at(7, ".file.sha256", "is missing"),
                at(7, ".file.signers", "is missing"),
                at(9, ".file.size", "found 99999999, wanted at most 16777216"),
            ]
        );
    }
}
