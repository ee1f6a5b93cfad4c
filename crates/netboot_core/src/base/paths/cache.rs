//! Where the cache keeps what.

use camino::{Utf8Path, Utf8PathBuf};

use super::temporary::{is_partial, is_random, is_temporary};
use crate::digest::Sha256Digest;

/// The user's cache: everything in it can be deleted, and is checked before it is used.
#[derive(Debug, Clone)]
pub struct Cache(Utf8PathBuf);

impl Cache {
    /// The cache at `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// The bare git repository that holds iPXE's pinned commits.
    #[must_use]
    pub fn ipxe_git(&self) -> Utf8PathBuf {
        self.0.join("ipxe.git")
    }

    /// The bare git repository that holds the history of what was looked at for newer commits.
    #[must_use]
    pub fn ipxe_history(&self) -> Utf8PathBuf {
        self.0.join("ipxe-history.git")
    }

    /// What stands in the cache under `name`; `None` where that is nothing of this tool.
    #[must_use]
    pub fn part(name: &str) -> Option<CachePart> {
        use CachePart as P;
        let is_temporary = |prefix: &&str| is_random(name.strip_prefix(*prefix));
        let known = match name {
            "ipxe.git" => P::Ipxe,
            "ipxe-history.git" => P::History,
            "blobs" => P::Blobs,
            "bases" => P::Bases,
            "trees" => P::Trees,
            "toolchains" => P::Toolchains,
            "locks" => P::Locks,
            Self::TAG => P::Tag,
            "downloads" | "stamping" => P::Scratch,
            "reproduce" | "ipxe.partial" | "ipxe-history.partial" => P::Leftover,
            _ if [Self::PROBE, Self::IMPORT, Self::REMOVAL].iter().any(is_temporary) => P::Leftover,
            _ if is_partial(name) => P::Leftover,
            _ => {
                let version = name.strip_prefix("syslinux-")?.strip_suffix(".json")?;
                return Some(P::SyslinuxRecord(version.to_owned()));
            }
        };
        Some(known)
    }

    /// Whether something called `name` is of use for one run: in the folder of downloads or of stamping.
    #[must_use]
    pub fn is_scratch(name: &str) -> bool {
        let download = name.strip_suffix(".validator").unwrap_or(name).strip_suffix(".partial");
        let is_digest = |name: &str| name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        download.is_some_and(is_digest) || is_partial(name) || is_random(name.strip_prefix(Self::PACK))
    }

    /// The file that says that all in the folder is a cache, by the Cache Directory Tagging Specification:
    /// <https://bford.info/cachedir/>. Where it is not, others may have files among those of the cache.
    #[must_use]
    pub fn tag(&self) -> Utf8PathBuf {
        self.0.join(Self::TAG)
    }

    const TAG: &str = "CACHEDIR.TAG";

    /// Shared by all that use the cache; held alone by what removes something from it.
    #[must_use]
    pub fn use_lock(&self) -> Utf8PathBuf {
        self.lock("use")
    }

    /// A file known by its digest.
    #[must_use]
    pub fn blob(&self, digest: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("blobs").join(digest.to_string())
    }

    /// The folder of downloads under way.
    #[must_use]
    pub fn downloads(&self) -> Utf8PathBuf {
        self.0.join("downloads")
    }

    /// What is known of the syslinux archive that the members of `version` came from.
    #[must_use]
    pub fn syslinux_record(&self, version: &str) -> Utf8PathBuf {
        self.0.join(format!("syslinux-{version}.json"))
    }

    /// The toolchain as it was last probed.
    #[must_use]
    pub fn toolchain_record(&self, key: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("toolchains").join(format!("{}.json", key.short()))
    }

    /// What the names of folders begin with in which a tool is tried, beside everything else.
    pub const PROBE: &str = "probe-";

    /// What the names of folders begin with in which sources from elsewhere are looked through, beside everything else.
    pub const IMPORT: &str = "import-";

    /// What the names of folders begin with in which what is being removed goes first, beside everything else.
    pub const REMOVAL: &str = "removal-";

    /// What the names of folders begin with in which another program packs a loader.
    pub const PACK: &str = "pack-";

    /// The build tree named `name`.
    #[must_use]
    pub fn work(&self, name: &str) -> WorkPaths {
        WorkPaths(self.0.join("trees").join(name))
    }

    /// Where everything is built once more.
    #[must_use]
    pub fn reproduce(&self) -> Utf8PathBuf {
        self.0.join("reproduce")
    }

    /// Whether something called `name` in [`Self::reproduce`] is of a rebuild. A folder of that name may be somebody's
    /// own where the cache stands among other files.
    #[must_use]
    pub fn is_of_rebuild(name: &str) -> bool {
        let numbered = |prefix| {
            let number: Option<&str> = name.strip_prefix(prefix);
            number.is_some_and(|number| number.parse::<usize>().is_ok())
        };
        let known = [Self::USUAL, Self::LONGER, Self::PUBLISHED];
        known.contains(&name)
            || numbered(Self::BUILD)
            || numbered(Self::SETTINGS)
            || is_temporary(name)
            || Self::is_scratch(name)
    }

    /// The folder of a rebuild whose path does not vary.
    pub const USUAL: &str = "usual";
    /// The folder of a rebuild whose path does.
    pub const LONGER: &str = "another-and-much-longer-path";
    /// What a rebuild is compared with, where that was downloaded.
    pub const PUBLISHED: &str = "published";
    /// What the names of folders begin with that keep what was built.
    pub const BUILD: &str = "build-";
    /// What the names of folders begin with that have what a variation needs.
    pub const SETTINGS: &str = "for-";

    /// Where loaders are packed by another program.
    #[must_use]
    pub fn stamping(&self) -> Utf8PathBuf {
        self.0.join("stamping")
    }

    /// A base and its record.
    #[must_use]
    pub fn base(&self, key: &Sha256Digest) -> BasePaths {
        BasePaths(self.0.join("bases").join(key.to_string()))
    }

    /// The lock `name`.
    #[must_use]
    pub fn lock(&self, name: &str) -> Utf8PathBuf {
        self.0.join("locks").join(name)
    }
}

/// What stands in the root of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePart {
    /// The bare repository of pinned commits.
    Ipxe,
    /// The bare repository with the history.
    History,
    /// Files known by their digests.
    Blobs,
    /// Bases, by their keys.
    Bases,
    /// Build trees, by their names.
    Trees,
    /// Toolchains as they were found.
    Toolchains,
    /// Locks.
    Locks,
    /// What says that it is a cache.
    Tag,
    /// What is known of the archive of that syslinux version.
    SyslinuxRecord(String),
    /// A folder of what is of use for one run.
    Scratch,
    /// Of no use once its run has ended.
    Leftover,
}

/// A build tree: iPXE's exported source, with what make put into it.
#[derive(Debug, Clone)]
pub struct WorkPaths(Utf8PathBuf);

impl WorkPaths {
    /// The folder of it all.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// The exported tree.
    #[must_use]
    pub fn tree(&self) -> Utf8PathBuf {
        self.0.join("tree")
    }

    /// The folder that make runs in.
    #[must_use]
    pub fn src(&self) -> Utf8PathBuf {
        self.0.join("tree/src")
    }

    /// The record of what is in the tree and was made whole.
    #[must_use]
    pub fn seal(&self) -> Utf8PathBuf {
        self.0.join("seal.json")
    }

    /// The names of all that a build tree has in its root.
    pub const NAMES: [&str; 4] = ["tree", "seal.json", "tmp", "make.log"];

    /// Where programs that make runs put their temporary files.
    #[must_use]
    pub fn temporary(&self) -> Utf8PathBuf {
        self.0.join("tmp")
    }

    /// All that the last make said.
    #[must_use]
    pub fn log(&self) -> Utf8PathBuf {
        self.0.join("make.log")
    }
}

/// A base in the cache.
#[derive(Debug, Clone)]
pub struct BasePaths(Utf8PathBuf);

impl BasePaths {
    /// The names of all that a base has.
    pub const NAMES: [&str; 5] = ["image", "zinfo", "zbin", "linked-objects.txt", "record.json"];

    /// What a script is put into.
    #[must_use]
    pub fn image(&self) -> Utf8PathBuf {
        self.0.join("image")
    }

    /// How the image of a BIOS loader is packed.
    #[must_use]
    pub fn zinfo(&self) -> Utf8PathBuf {
        self.0.join("zinfo")
    }

    /// The program that packs it.
    #[must_use]
    pub fn zbin(&self) -> Utf8PathBuf {
        self.0.join("zbin")
    }

    /// The list of what is linked into it.
    #[must_use]
    pub fn linked(&self) -> Utf8PathBuf {
        self.0.join("linked-objects.txt")
    }

    /// What they should be.
    #[must_use]
    pub fn record(&self) -> Utf8PathBuf {
        self.0.join("record.json")
    }
}
