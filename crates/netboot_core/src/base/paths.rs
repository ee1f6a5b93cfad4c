//! The only module that spells paths: those of the project's pins and configuration, of the cache, and of trees and
//! mirrors.

mod cache;
pub mod mirror;
mod temporary;

use camino::{Utf8Path, Utf8PathBuf};

pub use self::cache::{BasePaths, Cache, CachePart, GuestPaths, ProgramPaths, WorkPaths};
pub use self::mirror::MirrorPaths;
pub use self::temporary::{PARTIAL, TEMPORARY, is_partial, is_temporary};

use crate::digest::Sha256Digest;

/// Paths of a project: a folder with `vendor/` (pins) and `embed-scripts/` (configuration).
#[derive(Debug, Clone)]
pub struct ProjectPaths(Utf8PathBuf);

impl ProjectPaths {
    /// Returns the paths of the project at `root`.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// Returns the root folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.0
    }

    /// Returns the file of the pins.
    #[must_use]
    pub fn pins(&self) -> Utf8PathBuf {
        self.0.join("vendor/pins.toml")
    }

    /// Returns the file of the reference digests of known toolchains.
    #[must_use]
    pub fn toolchains(&self) -> Utf8PathBuf {
        self.0.join("vendor/toolchains.toml")
    }

    /// Returns the file of the sites.
    #[must_use]
    pub fn sites(&self) -> Utf8PathBuf {
        self.scripts().join("sites.toml")
    }

    /// Returns the file that describes the network that machines boot in.
    #[must_use]
    pub fn network(&self) -> Utf8PathBuf {
        self.scripts().join("network.toml")
    }

    /// Returns the folder that names of scripts, certificates and pxelinux configurations are relative to.
    #[must_use]
    pub fn scripts(&self) -> Utf8PathBuf {
        self.0.join("embed-scripts")
    }

    /// Returns the folder of the build configurations, with one subfolder each.
    #[must_use]
    pub fn ipxe_configs(&self) -> Utf8PathBuf {
        self.0.join("vendor/ipxe-config")
    }

    /// Returns the folder of the patches that are applied to iPXE.
    #[must_use]
    pub fn patches(&self) -> Utf8PathBuf {
        self.0.join("vendor/patches")
    }

    /// Returns the file of the baseline: the objects that should be linked into `loader` in the configuration `config`.
    #[must_use]
    pub fn linked(&self, config: &str, loader: &str) -> Utf8PathBuf {
        self.0.join("vendor").join(linked_in_tree(config, loader))
    }

    /// Returns the folder of all output for distribution.
    #[must_use]
    pub fn dist(&self) -> Utf8PathBuf {
        self.0.join("dist")
    }

    /// Returns the default path of the published tree.
    #[must_use]
    pub fn default_tree(&self) -> Utf8PathBuf {
        self.0.join("dist/tftp")
    }

    /// Returns the folders of the pins and of the configuration.
    #[must_use]
    pub fn vendor_and_config_dirs(&self) -> [Utf8PathBuf; 2] {
        [self.0.join("vendor"), self.scripts()]
    }

    /// Returns the default path of the source bundle.
    #[must_use]
    pub fn default_bundle(&self, version: &str) -> Utf8PathBuf {
        self.0.join("dist").join(ReleaseNames::new(version).sources)
    }

    /// Returns the default path of the bundle of bases.
    #[must_use]
    pub fn default_bases(&self, version: &str) -> Utf8PathBuf {
        self.0.join(format!("dist/netboot-loaders-{version}-bases.tar.gz"))
    }

    /// Returns the default folder of a release.
    #[must_use]
    pub fn default_release(&self) -> Utf8PathBuf {
        self.0.join("dist/release")
    }

    /// Returns the file of the changelog.
    #[must_use]
    pub fn changelog(&self) -> Utf8PathBuf {
        self.0.join("CHANGELOG.md")
    }

    /// Returns the default folder for loaders that could not be reproduced.
    #[must_use]
    pub fn default_evidence(&self) -> Utf8PathBuf {
        self.0.join("dist/reproduce")
    }

    /// Returns the folder of the fuzz targets.
    #[must_use]
    pub fn fuzz(&self) -> Utf8PathBuf {
        self.0.join("fuzz")
    }

    /// Returns the folder of the workflows and their files.
    #[must_use]
    pub fn github(&self) -> Utf8PathBuf {
        self.0.join(".github")
    }

    /// Returns the file of the workflows' pinned linters, in the format of pip.
    #[must_use]
    pub fn linters(&self) -> Utf8PathBuf {
        self.github().join("linters.txt")
    }

    /// Returns the folder in which the linters of the file with the digest `pinned` are installed.
    #[must_use]
    pub fn installed_linters(&self, pinned: &Sha256Digest) -> Utf8PathBuf {
        self.0.join("target/linters").join(pinned.short())
    }

    /// Returns the folder of the book's source.
    #[must_use]
    pub fn book(&self) -> Utf8PathBuf {
        self.0.join("docs")
    }

    /// Returns the page of the book about the program's commands.
    #[must_use]
    pub fn commands_page(&self) -> Utf8PathBuf {
        self.book().join("src/reference/commands.md")
    }

    /// Returns the page of the book about the rules for scripts.
    #[must_use]
    pub fn lint_page(&self) -> Utf8PathBuf {
        self.book().join("src/reference/lint.md")
    }

    /// Returns the default folder of the rendered book.
    #[must_use]
    pub fn default_book(&self) -> Utf8PathBuf {
        self.0.join("dist/book")
    }

    /// Returns the default file for the results of benchmarks.
    #[must_use]
    pub fn default_bench(&self) -> Utf8PathBuf {
        self.0.join("dist/bench.json")
    }

    /// Returns the default folder for the trees of benchmarks.
    #[must_use]
    pub fn default_bench_scratch(&self) -> Utf8PathBuf {
        self.0.join("target/bench")
    }

    /// Returns the default folder for the report of rehearsals.
    #[must_use]
    pub fn default_rehearsal(&self) -> Utf8PathBuf {
        self.0.join("dist/rehearsal")
    }

    /// Returns the default folder for the report of a boot test.
    #[must_use]
    pub fn default_report(&self) -> Utf8PathBuf {
        self.0.join("dist/boot-test")
    }
}

/// Names in the root of a tree that have, or would get, a special meaning.
const RESERVED: [&str; 9] =
    [MANIFEST, SHA256SUMS, DEPLOYED, DEPLOYING, LINKED_OBJECTS, SIGNED_SET, "sites", "pxelinux.cfg", AUTOEXEC];

/// Returns the reserved name that a file called `name` would take. Some TFTP servers ignore case.
#[must_use]
pub fn reserved(name: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|reserved| reserved.eq_ignore_ascii_case(name))
}

/// Name of the manifest in a tree.
pub const MANIFEST: &str = "manifest.json";
/// Name of the checksum list in a tree.
pub const SHA256SUMS: &str = "SHA256SUMS";
/// Name of the record of the deployed files, in the target folder of a deployment.
pub const DEPLOYED: &str = "netboot-loaders-deployed.json";
/// Name of the lock in the target folder of a deployment, which exists while the deployment runs.
pub const DEPLOYING: &str = "netboot-loaders-deploying.lock";
/// Name of the script that iPXE downloads when it starts under UEFI. A tree contains one only beside the loaders of
/// iPXE's signed set, which have no script of their own.
pub const AUTOEXEC: &str = "autoexec.ipxe";
/// Name of the folder with iPXE's signed set, in the root of a tree and in the folder of a site.
pub const SIGNED_SET: &str = "secureboot";
/// Name of the folder with the lists of the objects linked into the loaders, in a tree and in `vendor/`.
const LINKED_OBJECTS: &str = "linked-objects";
/// Path of the pxelinux configuration in a tree.
pub const PXELINUX_DEFAULT: &str = "pxelinux.cfg/default";

/// Returns the path of a site's loader in a tree; that of the root's own loader if `site` is `None`.
#[must_use]
pub fn loader_in_tree(site: Option<&str>, loader: &str) -> Utf8PathBuf {
    match site {
        Some(site) => Utf8PathBuf::from(format!("sites/{site}/{loader}")),
        None => loader.into(),
    }
}

/// Ending of the folder with the lists of loaders that are built for Secure Boot.
pub const LINKED_FOR_SECURE_BOOT: &str = "/sb";

/// Returns the path in a tree of the list of the objects linked into `loader` in the configuration `config`.
#[must_use]
pub fn linked_in_tree(config: &str, loader: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{LINKED_OBJECTS}/{config}/{loader}.txt"))
}

/// Checks whether a path in a tree is that of one of its records: the manifest or the checksum list. Counts of a tree's
/// files include only the files that these records list.
#[must_use]
pub fn is_tree_record(path: &Utf8Path) -> bool {
    path == MANIFEST || path == SHA256SUMS
}

/// Checks whether a path in a tree is that of a text from the project: the script of a boot entry or of a signed set, or
/// the pxelinux configuration.
#[must_use]
pub fn is_chosen_text(path: &Utf8Path) -> bool {
    path == PXELINUX_DEFAULT
        || path.file_name() == Some(AUTOEXEC)
        || (path.extension() == Some("ipxe") && path.components().count() == 1)
}

/// Checks whether a path in a tree is that of a list of the objects linked into a loader.
#[must_use]
pub fn is_linked_list(path: &Utf8Path) -> bool {
    path.starts_with(LINKED_OBJECTS)
}

/// Returns the temporary path that a deployment writes a file to before renaming it. The name contains a digest of the
/// content, so that the intended content of a file that is found later is known. It has no leading dot, because not
/// every server lists or accepts such names.
#[must_use]
pub fn partial_of(path: &Utf8Path, content: &Sha256Digest) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}.{}.partial", content.short()))
}

/// Returns the temporary path that the record of a deployment is written to before it is renamed.
#[must_use]
pub fn partial_record() -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{DEPLOYED}.partial"))
}

/// Returns the path of a tree's tarball, which is beside the tree.
#[must_use]
pub fn archive_of(tree: &Utf8Path, version: &str) -> Utf8PathBuf {
    tree.with_file_name(ReleaseNames::new(version).tarball)
}

/// Returns the path of the page about a tree, which is beside the tree.
#[must_use]
pub fn index_of(tree: &Utf8Path) -> Utf8PathBuf {
    tree.with_file_name("index.html")
}

/// Names of the files of a release, except those that have the same name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseNames {
    /// Tarball of the tree.
    pub tarball: String,
    /// Bundle of all sources.
    pub sources: String,
    /// Tarball of the rendered book.
    pub book: String,
    /// Bill of materials.
    pub sbom: String,
    /// Provenance statement.
    pub provenance: String,
    /// Release notes.
    pub notes: String,
}

impl ReleaseNames {
    /// Returns the names for `version`.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let name = |suffix: &str| format!("netboot-loaders-{version}-{suffix}");
        Self {
            tarball: name("tftp.tar.gz"),
            sources: name("sources.tar.gz"),
            book: name("book.tar.gz"),
            sbom: name("sbom.cdx.json"),
            provenance: name("provenance.intoto.json"),
            notes: name("notes.md"),
        }
    }

    /// Checks whether a release of any version can have a file called `name`.
    #[must_use]
    pub fn is_any(name: &str) -> bool {
        let suffixes = Self::new("").all();
        let suffixes = suffixes.iter().map(|name| name.trim_start_matches("netboot-loaders--"));
        let rest = name.strip_prefix("netboot-loaders-");
        [MANIFEST, SHA256SUMS].contains(&name)
            || rest.is_some_and(|rest| suffixes.clone().any(|suffix| rest.ends_with(&format!("-{suffix}"))))
    }

    /// Returns the names of all files of a release.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let Self { tarball, sources, book, sbom, provenance, notes } = self;
        let mut all = vec![MANIFEST.to_owned(), SHA256SUMS.to_owned(), self.sha256(tarball), self.sha256(sources)];
        all.extend([tarball, sources, book, sbom, provenance, notes].map(Clone::clone));
        all.sort_unstable();
        all
    }

    /// Returns the name of the file with the checksum of `name`.
    #[must_use]
    pub fn sha256(&self, name: &str) -> String {
        format!("{name}.sha256")
    }
}

/// Returns the paths in the folder `evidence` of two versions of the loader at `path` in a tree: the one built here,
/// and the one it was compared with.
#[must_use]
pub fn both_versions(evidence: &Utf8Path, path: &Utf8Path) -> (Utf8PathBuf, Utf8PathBuf) {
    (evidence.join("here").join(path), evidence.join("there").join(path))
}

/// Returns the lock in the folder `scratch` of measurements. By its name, the folder is known to be this tool's.
#[must_use]
pub fn bench_lock(scratch: &Utf8Path) -> Utf8PathBuf {
    scratch.join(".netboot-loaders-bench.lock")
}

/// Returns the path of a boot test's machine-readable report in the folder `report`.
#[must_use]
pub fn report_json(report: &Utf8Path) -> Utf8PathBuf {
    report.join("report.json")
}

/// Returns the path of a boot test's human-readable report in the folder `report`.
#[must_use]
pub fn report_html(report: &Utf8Path) -> Utf8PathBuf {
    report.join("report.html")
}

/// Returns the folder of the evidence of all cases of a boot test, in the folder `report`.
#[must_use]
pub fn evidence(report: &Utf8Path) -> Utf8PathBuf {
    report.join(EVIDENCE)
}

/// Returns the folder of the evidence of the case `name`, relative to the report.
#[must_use]
pub fn evidence_of(name: &str) -> Utf8PathBuf {
    Utf8Path::new(EVIDENCE).join(name.replace(['/', ':'], "-"))
}

/// Name of the folder of the evidence in a report.
const EVIDENCE: &str = "cases";

/// Hidden siblings of a tree or a release that is being published.
#[derive(Debug, Clone)]
pub struct Staging {
    /// Folder that the new tree is written to.
    pub partial: Utf8PathBuf,
    /// Short-lived path of the old tree on file systems that cannot swap two folders.
    pub previous: Utf8PathBuf,
    /// Journal of the loaders that were stamped into the tree, or were about to be.
    pub journal: Utf8PathBuf,
    /// Journal for a tree that is being written.
    pub next_journal: Utf8PathBuf,
    /// Lock that is held while a tree is published.
    pub lock: Utf8PathBuf,
}

impl Staging {
    /// Returns the name of the tree that the hidden sibling `name` belongs to, judging only by its name.
    #[must_use]
    pub fn tree_of(name: &str) -> Option<&str> {
        let name = name.strip_prefix('.')?;
        let ends = [".partial", ".previous", ".journal", ".next-journal", ".lock"];
        ends.iter().find_map(|end| name.strip_suffix(end)).filter(|tree| !tree.is_empty())
    }

    /// Returns the siblings of `tree`.
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
