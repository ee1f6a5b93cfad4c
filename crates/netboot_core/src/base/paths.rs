//! The only module that spells paths: where the project keeps its facts and choices, where the
//! cache keeps what it knows, and how trees and mirrors are laid out.

mod cache;
pub mod mirror;
mod temporary;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::cache::{BasePaths, Cache, CachePart, WorkPaths};
pub use self::mirror::MirrorPaths;
pub use self::temporary::{PARTIAL, TEMPORARY, is_partial, is_temporary};

use crate::digest::Sha256Digest;

/// A folder with `vendor/` (facts) and `embed-scripts/` (choices).
#[derive(Debug, Clone)]
pub struct ProjectPaths(Utf8PathBuf);

impl ProjectPaths {
    /// The project at `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// The pinned facts.
    #[must_use]
    pub fn pins(&self) -> Utf8PathBuf {
        self.0.join("vendor/pins.toml")
    }

    /// What known toolchains give.
    #[must_use]
    pub fn toolchains(&self) -> Utf8PathBuf {
        self.0.join("vendor/toolchains.toml")
    }

    /// The choices.
    #[must_use]
    pub fn sites(&self) -> Utf8PathBuf {
        self.scripts().join("sites.toml")
    }

    /// The network that machines boot in.
    #[must_use]
    pub fn network(&self) -> Utf8PathBuf {
        self.scripts().join("network.toml")
    }

    /// The folder that script, certificate and pxelinux configuration names are relative to.
    #[must_use]
    pub fn scripts(&self) -> Utf8PathBuf {
        self.0.join("embed-scripts")
    }

    /// The folder of the build configurations, one subfolder each.
    #[must_use]
    pub fn ipxe_configs(&self) -> Utf8PathBuf {
        self.0.join("vendor/ipxe-config")
    }

    /// The folder of the patches that are applied to iPXE.
    #[must_use]
    pub fn patches(&self) -> Utf8PathBuf {
        self.0.join("vendor/patches")
    }

    /// The baseline: what should be linked into `loader` in the configuration `config`.
    #[must_use]
    pub fn linked(&self, config: &str, loader: &str) -> Utf8PathBuf {
        self.0.join("vendor").join(linked_in_tree(config, loader))
    }

    /// The folder of all that is written for others.
    #[must_use]
    pub fn dist(&self) -> Utf8PathBuf {
        self.0.join("dist")
    }

    /// The tree that is published when no other place was asked for.
    #[must_use]
    pub fn default_tree(&self) -> Utf8PathBuf {
        self.0.join("dist/tftp")
    }

    /// The folders of what is pinned and what is chosen.
    #[must_use]
    pub fn vendor_and_config_dirs(&self) -> [Utf8PathBuf; 2] {
        [self.0.join("vendor"), self.scripts()]
    }

    /// The source bundle that is written when no other place was asked for.
    #[must_use]
    pub fn default_bundle(&self, version: &str) -> Utf8PathBuf {
        self.0.join("dist").join(ReleaseNames::new(version).sources)
    }

    /// The bundle of bases that is written when no other place was asked for.
    #[must_use]
    pub fn default_bases(&self, version: &str) -> Utf8PathBuf {
        self.0.join(format!("dist/netboot-loaders-{version}-bases.tar.gz"))
    }

    /// Where a release goes when no other place was asked for.
    #[must_use]
    pub fn default_release(&self) -> Utf8PathBuf {
        self.0.join("dist/release")
    }

    /// What has changed from version to version.
    #[must_use]
    pub fn changelog(&self) -> Utf8PathBuf {
        self.0.join("CHANGELOG.md")
    }

    /// Where loaders that could not be reproduced go when no other place was asked for.
    #[must_use]
    pub fn default_evidence(&self) -> Utf8PathBuf {
        self.0.join("dist/reproduce")
    }

    /// The folder of the fuzz targets.
    #[must_use]
    pub fn fuzz(&self) -> Utf8PathBuf {
        self.0.join("fuzz")
    }

    /// The folder of the workflows and of what belongs to them.
    #[must_use]
    pub fn github(&self) -> Utf8PathBuf {
        self.0.join(".github")
    }

    /// The linters of the workflows, pinned, as pip reads them.
    #[must_use]
    pub fn linters(&self) -> Utf8PathBuf {
        self.github().join("linters.txt")
    }

    /// The folder that the linters of a file with that digest are installed in.
    #[must_use]
    pub fn installed_linters(&self, pinned: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("target/linters").join(pinned.short())
    }

    /// Where measurements go when no other place was asked for.
    #[must_use]
    pub fn default_bench(&self) -> Utf8PathBuf {
        self.0.join("dist/bench.json")
    }

    /// Where what is measured has its trees when no other place was asked for.
    #[must_use]
    pub fn default_bench_scratch(&self) -> Utf8PathBuf {
        self.0.join("target/bench")
    }

    /// Where the report of a boot test goes when no other place was asked for.
    #[must_use]
    pub fn default_report(&self) -> Utf8PathBuf {
        self.0.join("dist/boot-test")
    }
}

/// Names in the root of a tree that have a meaning of their own, or would get one.
pub const RESERVED: [&str; 8] =
    [MANIFEST, SHA256SUMS, DEPLOYED, DEPLOYING, LINKED_OBJECTS, "sites", "pxelinux.cfg", AUTOEXEC];

/// The manifest's name in a tree.
pub const MANIFEST: &str = "manifest.json";
/// The checksum list's name in a tree.
pub const SHA256SUMS: &str = "SHA256SUMS";
/// The record of what a deployment has put where, in the folder that it went to.
pub const DEPLOYED: &str = "netboot-loaders-deployed.json";
/// The lock of a deployment, in the folder that it goes to, for as long as it takes.
pub const DEPLOYING: &str = "netboot-loaders-deploying.lock";
/// The script that iPXE downloads when it starts in UEFI; no tree has one.
pub const AUTOEXEC: &str = "autoexec.ipxe";
/// The folder of the lists of what is linked into the loaders, in a tree and among the facts.
const LINKED_OBJECTS: &str = "linked-objects";
/// The pxelinux configuration's name in a tree.
pub const PXELINUX_DEFAULT: &str = "pxelinux.cfg/default";

/// Where a site's loader stands in a tree; the root's own where `site` is `None`.
#[must_use]
pub fn loader_in_tree(site: Option<&str>, loader: &str) -> Utf8PathBuf {
    match site {
        Some(site) => Utf8PathBuf::from(format!("sites/{site}/{loader}")),
        None => loader.into(),
    }
}

/// The list of what is linked into `loader` in the configuration `config`, in a tree.
#[must_use]
pub fn linked_in_tree(config: &str, loader: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{LINKED_OBJECTS}/{config}/{loader}.txt"))
}

/// Whether a path in a tree is that of one of its records: manifest and checksums. What counts the files of a tree
/// counts those that these list.
#[must_use]
pub fn is_tree_record(path: &Utf8Path) -> bool {
    path == MANIFEST || path == SHA256SUMS
}

/// Whether a path in a tree is that of a text of the project: a script of a boot entry, or the pxelinux configuration.
#[must_use]
pub fn is_chosen_text(path: &Utf8Path) -> bool {
    path == PXELINUX_DEFAULT || (path.extension() == Some("ipxe") && path.components().count() == 1)
}

/// Whether a path in a tree is that of a list of what is linked into a loader.
#[must_use]
pub fn is_linked_list(path: &Utf8Path) -> bool {
    path.starts_with(LINKED_OBJECTS)
}

/// Where a file of a deployment is written before it gets its name. The name tells the content, so that whoever
/// finds it knows what it is going to be. It has no dot in front: not every server shows or takes such names.
#[must_use]
pub fn partial_of(path: &Utf8Path, content: &Sha256Digest) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.{}.partial", content.short()))
}

/// Where the record of a deployment is written before it gets its name.
#[must_use]
pub fn partial_record() -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{DEPLOYED}.partial"))
}

/// The tarball of a tree: it stands beside it.
#[must_use]
pub fn archive_of(tree: &Utf8Path, version: &str) -> Utf8PathBuf {
    tree.with_file_name(ReleaseNames::new(version).tarball)
}

/// The page about a tree: it stands beside it.
#[must_use]
pub fn index_of(tree: &Utf8Path) -> Utf8PathBuf {
    tree.with_file_name("index.html")
}

/// What the files of a release are called, but for those that have the same name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseNames {
    /// The tree.
    pub tarball: String,
    /// All that it was made from.
    pub sources: String,
    /// The bill of materials.
    pub sbom: String,
    /// The provenance statement.
    pub provenance: String,
    /// What is new, for people.
    pub notes: String,
}

impl ReleaseNames {
    /// Those of `version`.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let name = |suffix: &str| format!("netboot-loaders-{version}-{suffix}");
        Self {
            tarball: name("tftp.tar.gz"),
            sources: name("sources.tar.gz"),
            sbom: name("sbom.cdx.json"),
            provenance: name("provenance.intoto.json"),
            notes: name("notes.md"),
        }
    }

    /// Whether a release of any version can have a file called `name`.
    #[must_use]
    pub fn is_any(name: &str) -> bool {
        let suffixes = Self::new("").all();
        let suffixes = suffixes.iter().map(|name| name.trim_start_matches("netboot-loaders--"));
        let rest = name.strip_prefix("netboot-loaders-");
        [MANIFEST, SHA256SUMS].contains(&name)
            || rest.is_some_and(|rest| suffixes.clone().any(|suffix| rest.ends_with(&format!("-{suffix}"))))
    }

    /// All files of a release.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let Self { tarball, sources, sbom, provenance, notes } = self;
        let mut all = vec![MANIFEST.to_owned(), SHA256SUMS.to_owned(), self.sha256(tarball), self.sha256(sources)];
        all.extend([tarball, sources, sbom, provenance, notes].map(Clone::clone));
        all.sort_unstable();
        all
    }

    /// The file with the checksum of `name`.
    #[must_use]
    pub fn sha256(&self, name: &str) -> String {
        format!("{name}.sha256")
    }
}

/// Where two versions of the loader at `path` in a tree are kept in the folder `evidence`: that which was
/// built here, and that which it was compared with.
#[must_use]
pub fn both_versions(evidence: &Utf8Path, path: &Utf8Path) -> (Utf8PathBuf, Utf8PathBuf) {
    (evidence.join("here").join(path), evidence.join("there").join(path))
}

/// The report of a boot test for programs, in the folder `report`.
#[must_use]
pub fn report_json(report: &Utf8Path) -> Utf8PathBuf {
    report.join("report.json")
}

/// The report of a boot test for people, in the folder `report`.
#[must_use]
pub fn report_html(report: &Utf8Path) -> Utf8PathBuf {
    report.join("report.html")
}

/// The evidence of all cases of a boot test, in the folder `report`.
#[must_use]
pub fn evidence(report: &Utf8Path) -> Utf8PathBuf {
    report.join(EVIDENCE)
}

/// The evidence of the case `name`, relative to the report.
#[must_use]
pub fn evidence_of(name: &str) -> Utf8PathBuf {
    Utf8Path::new(EVIDENCE).join(name.replace(['/', ':'], "-"))
}

/// The folder of the evidence in a report.
const EVIDENCE: &str = "cases";

/// Hidden siblings of a tree or a release that is being published.
#[derive(Debug, Clone)]
pub struct Staging {
    /// Where the new tree is written.
    pub partial: Utf8PathBuf,
    /// Where the old tree stands for a moment, on file systems that cannot swap two folders.
    pub previous: Utf8PathBuf,
    /// What was stamped into the tree, or was going to be.
    pub journal: Utf8PathBuf,
    /// The same for a tree that is being written.
    pub next_journal: Utf8PathBuf,
    /// Held while a tree is published.
    pub lock: Utf8PathBuf,
}

impl Staging {
    /// The name of the tree whose hidden sibling `name` is, as far as names tell.
    #[must_use]
    pub fn tree_of(name: &str) -> Option<&str> {
        let name = name.strip_prefix('.')?;
        let ends = [".partial", ".previous", ".journal", ".next-journal", ".lock"];
        ends.iter().find_map(|end| name.strip_suffix(end)).filter(|tree| !tree.is_empty())
    }

    /// The siblings of `tree`.
    #[must_use]
    pub fn of(tree: &Utf8Path) -> Self {
        let name = tree.file_name().unwrap_or("tftp");
        let sibling = |suffix: &str| tree.with_file_name(format!(".{name}.{suffix}"));
        Self {
            partial: sibling("partial"),
            previous: sibling("previous"),
            journal: sibling("journal"),
            next_journal: sibling("next-journal"),
            lock: sibling("lock"),
        }
    }
}
