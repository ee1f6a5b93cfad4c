//! Layout of the cache.

use camino::{Utf8Path, Utf8PathBuf};

use super::temporary::{is_partial, is_random, is_temporary};
use crate::digest::Sha256Digest;

/// The user's cache. Everything in it can be deleted, and is verified before use.
#[derive(Debug, Clone)]
pub struct Cache(Utf8PathBuf);

impl Cache {
    /// Returns the cache at `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// Returns the root folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// Returns the bare git repository that holds iPXE's pinned commits.
    #[must_use]
    pub fn ipxe_git(&self) -> Utf8PathBuf {
        self.0.join("ipxe.git")
    }

    /// Returns the bare git repository with the history that is searched for newer commits.
    #[must_use]
    pub fn ipxe_history(&self) -> Utf8PathBuf {
        self.0.join("ipxe-history.git")
    }

    /// Returns the part of the cache that is called `name`; `None` if the name is not one of this tool.
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
            "programs" => P::Programs,
            "toolchains" => P::Toolchains,
            "guests" => P::Guests,
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

    /// Checks whether an entry called `name` in the folder of downloads or of stamping is of use for one run only.
    #[must_use]
    pub fn is_scratch(name: &str) -> bool {
        let download = name.strip_suffix(".validator").unwrap_or(name).strip_suffix(".partial");
        let is_digest = |name: &str| name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        download.is_some_and(is_digest) || is_partial(name) || is_random(name.strip_prefix(Self::PACK))
    }

    /// Returns the file that marks the whole folder as a cache, according to the Cache Directory Tagging Specification:
    /// <https://bford.info/cachedir/>. Without it, the folder may contain files that are not of the cache.
    #[must_use]
    pub fn tag(&self) -> Utf8PathBuf {
        self.0.join(Self::TAG)
    }

    const TAG: &str = "CACHEDIR.TAG";

    /// Returns the lock that all users of the cache share and that a command holds exclusively to remove something from
    /// it.
    #[must_use]
    pub fn use_lock(&self) -> Utf8PathBuf {
        self.lock("use")
    }

    /// Returns the path of the file with this digest.
    #[must_use]
    pub fn blob(&self, digest: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("blobs").join(digest.to_string())
    }

    /// Returns the folder of downloads in progress.
    #[must_use]
    pub fn downloads(&self) -> Utf8PathBuf {
        self.0.join("downloads")
    }

    /// Returns the record of the syslinux archive that the members of `version` came from.
    #[must_use]
    pub fn syslinux_record(&self, version: &str) -> Utf8PathBuf {
        self.0.join(format!("syslinux-{version}.json"))
    }

    /// Returns the record of a toolchain as it was last probed.
    #[must_use]
    pub fn toolchain_record(&self, key: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("toolchains").join(format!("{}.json", key.short()))
    }

    /// Returns the paths of what machines with the CPU called `arch` boot.
    #[must_use]
    pub fn guest(&self, arch: &str) -> GuestPaths {
        GuestPaths(self.0.join("guests").join(arch))
    }

    /// Name prefix of folders in the root of the cache in which a tool is tried.
    pub const PROBE: &str = "probe-";

    /// Name prefix of folders in the root of the cache in which external sources are examined.
    pub const IMPORT: &str = "import-";

    /// Name prefix of folders in the root of the cache that files are moved to before they are removed.
    pub const REMOVAL: &str = "removal-";

    /// Name prefix of folders in which another program packs a loader.
    pub const PACK: &str = "pack-";

    /// Returns the paths of the build tree `name`.
    #[must_use]
    pub fn work(&self, name: &str) -> WorkPaths {
        WorkPaths(self.0.join("trees").join(name))
    }

    /// Returns the folder in which everything is built again.
    #[must_use]
    pub fn reproduce(&self) -> Utf8PathBuf {
        self.0.join("reproduce")
    }

    /// Checks whether an entry called `name` in [`Self::reproduce`] belongs to a rebuild. If the cache shares its
    /// folder with other files, a folder of that name may belong to something else.
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

    /// Name of the folder of a rebuild whose path does not vary.
    pub const USUAL: &str = "usual";
    /// Name of the folder of a rebuild whose path varies.
    pub const LONGER: &str = "another-and-much-longer-path";
    /// Name of the downloaded file that a rebuild is compared with.
    pub const PUBLISHED: &str = "published";
    /// Name prefix of folders that keep the results of a build.
    pub const BUILD: &str = "build-";
    /// Name prefix of folders with the files that a variation needs.
    pub const SETTINGS: &str = "for-";

    /// Returns the folder in which other programs pack loaders and make boot media.
    #[must_use]
    pub fn stamping(&self) -> Utf8PathBuf {
        self.0.join("stamping")
    }

    /// Returns the paths of a base and its record.
    #[must_use]
    pub fn base(&self, key: &Sha256Digest) -> BasePaths {
        BasePaths(self.0.join("bases").join(key.to_string()))
    }

    /// Returns the paths of a program for rehearsals and its record.
    #[must_use]
    pub fn program(&self, key: &Sha256Digest) -> ProgramPaths {
        ProgramPaths(self.0.join("programs").join(key.to_string()))
    }

    /// Returns the lock `name`.
    #[must_use]
    pub fn lock(&self, name: &str) -> Utf8PathBuf {
        self.0.join("locks").join(name)
    }
}

/// An entry in the root of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePart {
    /// The bare repository of pinned commits.
    Ipxe,
    /// The bare repository with the history.
    History,
    /// Files, by their digests.
    Blobs,
    /// Bases, by their keys.
    Bases,
    /// Build trees, by their names.
    Trees,
    /// Programs for rehearsals, by their keys.
    Programs,
    /// Records of toolchains as they were probed.
    Toolchains,
    /// Kernels and userlands for machines of the boot test, by CPU.
    Guests,
    /// Locks.
    Locks,
    /// The file that marks the folder as a cache.
    Tag,
    /// The record of the archive of this syslinux version.
    SyslinuxRecord(String),
    /// A folder of files that are of use for one run only.
    Scratch,
    /// An entry that is of no use once its run has ended.
    Leftover,
}

/// Paths of a kernel and a userland for machines of the boot test.
#[derive(Debug, Clone)]
pub struct GuestPaths(Utf8PathBuf);

impl GuestPaths {
    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        &self.0
    }

    /// Returns the Linux kernel.
    #[must_use]
    pub fn kernel(&self) -> Utf8PathBuf {
        self.0.join("vmlinuz")
    }

    /// Returns the folder of those of the kernel's modules that its machine needs.
    #[must_use]
    pub fn modules(&self) -> Utf8PathBuf {
        self.0.join("modules")
    }

    /// Returns the static busybox, which is written last.
    #[must_use]
    pub fn busybox(&self) -> Utf8PathBuf {
        self.0.join("busybox")
    }

    /// Checks whether all of them exist.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.kernel().is_file() && self.modules().is_dir() && self.busybox().is_file()
    }
}

/// Paths of a build tree: iPXE's exported source, with the files that make added.
#[derive(Debug, Clone)]
pub struct WorkPaths(Utf8PathBuf);

impl WorkPaths {
    /// Returns the root folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// Returns the folder of the exported source.
    #[must_use]
    pub fn tree(&self) -> Utf8PathBuf {
        self.0.join("tree")
    }

    /// Returns the folder that make runs in.
    #[must_use]
    pub fn src(&self) -> Utf8PathBuf {
        self.0.join("tree/src")
    }

    /// Returns the record of the complete files in the tree.
    #[must_use]
    pub fn seal(&self) -> Utf8PathBuf {
        self.0.join("seal.json")
    }

    /// Names of all entries in the root of a build tree.
    pub const NAMES: [&str; 4] = ["tree", "seal.json", "tmp", "make.log"];

    /// Returns the folder for temporary files of the programs that make runs.
    #[must_use]
    pub fn temporary(&self) -> Utf8PathBuf {
        self.0.join("tmp")
    }

    /// Returns the file with all output of the last make.
    #[must_use]
    pub fn log(&self) -> Utf8PathBuf {
        self.0.join("make.log")
    }
}

/// Paths of a base in the cache.
#[derive(Debug, Clone)]
pub struct BasePaths(Utf8PathBuf);

impl BasePaths {
    /// Names of all files of a base.
    pub const NAMES: [&str; 6] = ["image", "zinfo", "zbin", "genfsimg", "linked-objects.txt", "record.json"];

    /// Returns the image that a script is put into.
    #[must_use]
    pub fn image(&self) -> Utf8PathBuf {
        self.0.join("image")
    }

    /// Returns the packing instructions for the image of a BIOS loader.
    #[must_use]
    pub fn zinfo(&self) -> Utf8PathBuf {
        self.0.join("zinfo")
    }

    /// Returns the program that packs the image.
    #[must_use]
    pub fn zbin(&self) -> Utf8PathBuf {
        self.0.join("zbin")
    }

    /// Returns the script that makes boot media.
    #[must_use]
    pub fn genfsimg(&self) -> Utf8PathBuf {
        self.0.join("genfsimg")
    }

    /// Returns the list of the objects linked into the base.
    #[must_use]
    pub fn linked(&self) -> Utf8PathBuf {
        self.0.join("linked-objects.txt")
    }

    /// Returns the record of what the other files should contain.
    #[must_use]
    pub fn record(&self) -> Utf8PathBuf {
        self.0.join("record.json")
    }
}

/// Paths of a program for rehearsals in the cache.
#[derive(Debug, Clone)]
pub struct ProgramPaths(Utf8PathBuf);

impl ProgramPaths {
    /// Names of all files of a program.
    pub const NAMES: [&str; 2] = ["program", "record.json"];

    /// Returns the program.
    #[must_use]
    pub fn program(&self) -> Utf8PathBuf {
        self.0.join("program")
    }

    /// Returns the record of what the program should contain.
    #[must_use]
    pub fn record(&self) -> Utf8PathBuf {
        self.0.join("record.json")
    }
}
