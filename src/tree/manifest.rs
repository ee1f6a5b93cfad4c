//! `manifest.json` and `SHA256SUMS`: what is in a tree, and all that it was made from. Nothing in
//! them varies from one build to the next; so the archive that the syslinux files were found in is not
//! there, since any archive with the pinned members will do.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::header::{self, Arch, Kind};
use crate::build::outputs::Content;
use crate::build::{Built, make};
use crate::choices::loader::Loader;
use crate::choices::script::{IMAGE_NAME, SLOT};
use crate::digest::{CommitId, Sha256Digest, TreeId};
use crate::paths;
use crate::plan::{Inputs, Origin, Plan, PlannedFile};
use crate::toolchain;

/// What writes manifests.
pub const GENERATOR: &str = env!("CARGO_PKG_NAME");

/// The version of the manifest's own form, described by `schemas/manifest-1.schema.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What wrote it.
    pub generator: Generator,
    /// Which iPXE.
    pub ipxe: Ipxe,
    /// Which syslinux, where the tree has any of it.
    pub syslinux: Option<Syslinux>,
    /// The tools of the build.
    pub toolchain: Vec<Tool>,
    /// The build configurations, by name and digest.
    pub configurations: Vec<Configuration>,
    /// All files but the manifest itself and `SHA256SUMS`, sorted bytewise by path.
    pub files: Vec<File>,
}

/// What wrote a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Generator {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Which iPXE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ipxe {
    /// The version.
    pub version: String,
    /// The commit.
    pub commit: CommitId,
    /// The commit's tree.
    pub tree: TreeId,
    /// The digest of the tree's content.
    pub content_sha256: Sha256Digest,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub source_date_epoch: u64,
    /// The patches, in the order in which they were applied.
    pub patches: Vec<Patch>,
    /// The size of the slot for the embedded script, in bytes.
    pub slot_size: usize,
    /// The name of the embedded script as an image.
    pub embedded_name: String,
}

/// A patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Patch {
    /// Its file name.
    pub name: String,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
}

/// Which syslinux.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Syslinux {
    /// The version.
    pub version: String,
}

/// A tool of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// The SHA-256 of the file that decides what it does.
    pub sha256: Sha256Digest,
    /// The package that this file came with, by name and version, where the system can tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<String>,
    /// All files that were looked at, by name: programs, headers, libraries.
    #[serde(default)]
    pub files: BTreeMap<String, Sha256Digest>,
}

impl From<&toolchain::Tool> for Tool {
    fn from(tool: &toolchain::Tool) -> Self {
        let toolchain::Tool { name, version, sha256, package, .. } = tool.clone();
        Self { name, version, sha256, package, files: tool.programs() }
    }
}

/// A build configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configuration {
    /// Its name.
    pub name: String,
    /// Identifies it, with its trusted certificates.
    pub sha256: Sha256Digest,
    /// The variables that make was given; `<tree>` stands for the path of the source.
    pub make: Vec<String>,
    /// The environment that make was given.
    pub environment: Vec<String>,
    /// The headers, by name.
    pub headers: BTreeMap<String, Sha256Digest>,
    /// The trusted certificates, by name.
    pub trust: BTreeMap<String, Sha256Digest>,
}

/// A file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct File {
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
    /// What it is, by its content.
    pub kind: Kind,
    /// The CPU that it is for, by its content.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arch: Option<Arch>,
    /// The site whose it is; the root of the tree where absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub site: Option<String>,
    /// For an iPXE loader: how it came to be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ipxe: Option<Embedded>,
    /// For a syslinux file: its path in the archive.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub member: Option<Utf8PathBuf>,
}

/// How an iPXE loader came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Embedded {
    /// The target of make.
    pub target: String,
    /// The configuration's digest, as in `configurations`.
    pub configuration: Sha256Digest,
    /// The file that the script was rendered from.
    pub script: Utf8PathBuf,
    /// The SHA-256 of the slot's content: the script, padded with newlines.
    pub slot_sha256: Sha256Digest,
}

impl Manifest {
    /// The manifest of a plan that was built.
    #[must_use]
    pub fn new(plan: &Plan, built: &Built) -> Self {
        let Inputs { pins, patches, toolchain, .. } = &plan.inputs;
        let members = plan.files.iter().any(|file| matches!(file.origin, Origin::Member(_)));
        let mut configurations: Vec<Configuration> =
            plan.builds.iter().map(|build| configuration(plan, build)).collect();
        configurations.sort();
        configurations.dedup();
        Self {
            schema_version: SCHEMA_VERSION,
            generator: Generator { name: GENERATOR.into(), version: env!("CARGO_PKG_VERSION").into() },
            ipxe: Ipxe {
                version: pins.ipxe.version.clone(),
                commit: pins.ipxe.commit,
                tree: pins.ipxe.tree,
                content_sha256: pins.ipxe.content,
                source_date_epoch: pins.ipxe.epoch,
                patches: patches
                    .iter()
                    .map(|patch| Patch { name: patch.name.clone(), sha256: Sha256Digest::of(&patch.content) })
                    .collect(),
                slot_size: SLOT,
                embedded_name: IMAGE_NAME.into(),
            },
            syslinux: members.then(|| Syslinux { version: pins.syslinux.version.clone() }),
            toolchain: toolchain.tools.iter().map(Tool::from).collect(),
            configurations,
            files: plan.files.iter().map(|file| File::new(file, built)).collect(),
        }
    }

    /// Reads the text of a `manifest.json`.
    ///
    /// # Errors
    ///
    /// Why it cannot be understood.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if manifest.schema_version == SCHEMA_VERSION {
            Ok(manifest)
        } else {
            Err(format!("found schema version {}, wanted {SCHEMA_VERSION}", manifest.schema_version))
        }
    }

    /// As the text of `manifest.json`.
    ///
    /// # Panics
    ///
    /// Never: a manifest has string keys only, and those can always be written.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest has string keys only");
        text.push('\n');
        text
    }

    /// The text of `SHA256SUMS`: all files but itself, sorted bytewise by path.
    #[must_use]
    pub fn sha256sums(&self) -> String {
        let mut lines: Vec<(String, Sha256Digest)> =
            self.files.iter().map(|file| (file.path.to_string(), file.sha256)).collect();
        lines.push((paths::MANIFEST.into(), Sha256Digest::of(self.to_json().as_bytes())));
        lines.sort_unstable();
        lines.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect()
    }
}

fn configuration(plan: &Plan, build: &crate::plan::Build) -> Configuration {
    let digests = |files: &BTreeMap<String, Vec<u8>>| {
        files.iter().map(|(name, content)| (name.clone(), Sha256Digest::of(content))).collect()
    };
    let pin = &plan.inputs.pins.ipxe;
    Configuration {
        name: build.config.name.clone(),
        sha256: build.config.digest(),
        make: make::variables(pin, &build.config),
        environment: make::environment(pin).into(),
        headers: digests(&build.config.headers),
        trust: digests(&build.config.trust),
    }
}

impl File {
    fn new(file: &PlannedFile, built: &Built) -> Self {
        let plain = |size, sha256, (kind, arch): (Kind, Option<Arch>)| Self {
            path: file.path.clone(),
            size,
            sha256,
            kind,
            arch,
            site: file.site.clone(),
            ipxe: None,
            member: None,
        };
        match &file.origin {
            Origin::Built { loader, key, script, config } => {
                let Content { sha256, size } = built.output(key).loader;
                let embedded = Embedded {
                    target: loader.target(),
                    configuration: config.digest(),
                    script: script.source.clone(),
                    slot_sha256: script.digest(),
                };
                Self { ipxe: Some(embedded), ..plain(size, sha256, loader_kind(*loader)) }
            }
            Origin::Linked { key, .. } => {
                let Content { sha256, size } = built.output(key).linked;
                plain(size, sha256, (Kind::Text, None))
            }
            Origin::Member(member) => {
                let kind = header::member_kind(&member.name);
                Self { member: Some(member.path.clone()), ..plain(member.size, member.sha256, kind) }
            }
            Origin::Text(text) => plain(text.len() as u64, Sha256Digest::of(text), (Kind::Text, None)),
        }
    }
}

fn loader_kind(loader: Loader) -> (Kind, Option<Arch>) {
    let (kind, arch) = header::loader_kind(loader);
    (kind, Some(arch))
}
