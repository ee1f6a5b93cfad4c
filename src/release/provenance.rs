//! Provenance of a tree: an unsigned in-toto Statement v1 with a SLSA Provenance v1 predicate.
//! `schemas/provenance-1.md` describes the build type and the builder.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use crate::digest::{CommitId, Sha256Digest};
use crate::release::attest::{IPXE_REPOSITORY, is_chosen_text, loaders, member_purl, project, to_text, unlisted};
use crate::stamp::slot::SlotSize;
use crate::tree::manifest::{Configuration, Manifest, ManifestEntry, PatchEntry, Syslinux};

/// Type of the statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// Type of the build. The UUID identifies `schemas/provenance-1.md`, because this project has no web address that it
/// could promise to keep.
pub const BUILD_TYPE: &str = "urn:uuid:f12a388a-13dc-4982-9cdd-b7bf51b1dfa6#build-type-1";
/// Identity of the builder to be trusted: the distributor of the statement, on an unspecified machine. It claims no
/// SLSA level.
pub const BUILDER: &str = "urn:uuid:f12a388a-13dc-4982-9cdd-b7bf51b1dfa6#builder-local-1";

/// A file that a statement covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProvenanceSubject {
    /// Name: a path in the tree, or the file name of a tarball.
    pub name: String,
    /// SHA-256 digest.
    pub sha256: Sha256Digest,
}

impl ProvenanceSubject {
    /// Returns all files of the tree, including `manifest.json` and `SHA256SUMS`.
    #[must_use]
    pub fn of_tree(manifest: &Manifest) -> Vec<Self> {
        let listed = manifest.files.iter().map(|file| (file.path.to_string(), file.sha256));
        let unlisted = unlisted(manifest).into_iter().map(|(path, sha256)| (path.to_owned(), sha256));
        listed.chain(unlisted).map(|(name, sha256)| Self { name, sha256 }).collect()
    }
}

/// Returns the statement that `subjects` were built as `manifest` describes, in JSON with a final newline.
///
/// Subjects are sorted by name and without duplicates. A statement needs at least one, and their names should differ.
/// The text contains no time and no invocation ID, so the same arguments give the same bytes.
///
/// # Panics
///
/// Never: the document only has string keys, which can always be serialised.
#[must_use]
pub fn statement(manifest: &Manifest, subjects: &[ProvenanceSubject]) -> String {
    let subjects: BTreeSet<&ProvenanceSubject> = subjects.iter().collect();
    let generator = &manifest.generator;
    to_text(&Statement {
        r#type: STATEMENT_TYPE,
        subject: subjects.into_iter().map(|subject| Descriptor::file(&subject.name, subject.sha256)).collect(),
        predicate_type: PREDICATE_TYPE,
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: external_parameters(manifest),
                internal_parameters: internal_parameters(manifest),
                resolved_dependencies: resolved_dependencies(manifest),
            },
            run_details: RunDetails {
                builder: Builder { id: BUILDER, version: BTreeMap::from([(&generator.name, &generator.version)]) },
            },
        },
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    r#type: &'static str,
    subject: Vec<Descriptor>,
    predicate_type: &'static str,
    predicate: Provenance<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provenance<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: ExternalParameters<'a>,
    internal_parameters: InternalParameters<'a>,
    resolved_dependencies: Vec<Descriptor>,
}

#[derive(Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'static str,
    version: BTreeMap<&'a String, &'a String>,
}

/// A `ResourceDescriptor` of in-toto.
#[derive(Serialize)]
struct Descriptor {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

impl Descriptor {
    fn file(name: impl Into<String>, sha256: Sha256Digest) -> Self {
        let digest = BTreeMap::from([("sha256", sha256.to_string())]);
        Self { name: name.into(), uri: None, digest, annotations: BTreeMap::new() }
    }
}

/// External parameters: pins and configuration.
#[derive(Serialize)]
struct ExternalParameters<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ipxe: Option<Ipxe<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syslinux: Option<&'a Syslinux>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    configurations: Vec<ConfigurationId<'a>>,
    files: Vec<ConfiguredFile<'a>>,
}

#[derive(Serialize)]
struct Ipxe<'a> {
    version: &'a str,
    commit: CommitId,
    patches: &'a [PatchEntry],
}

#[derive(Serialize)]
struct ConfigurationId<'a> {
    name: &'a str,
    sha256: Sha256Digest,
}

/// Origin of a file in the tree.
#[derive(Serialize)]
struct ConfiguredFile<'a> {
    path: &'a Utf8Path,
    #[serde(flatten)]
    origin: Origin<'a>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Origin<'a> {
    Built {
        target: &'a str,
        configuration: Sha256Digest,
        script: &'a Utf8Path,
        slot_size: SlotSize,
        slot_sha256: Sha256Digest,
    },
    Member {
        member: &'a Utf8Path,
    },
    Set {
        set: &'a str,
    },
    Text {
        sha256: Sha256Digest,
    },
}

/// Internal parameters: settings of this project.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InternalParameters<'a> {
    embedded_name: &'a str,
    source_date_epoch: u64,
    make: Vec<Make<'a>>,
}

#[derive(Serialize)]
struct Make<'a> {
    configuration: ConfigurationId<'a>,
    variables: &'a [String],
    environment: &'a [String],
}

fn external_parameters(manifest: &Manifest) -> ExternalParameters<'_> {
    let Manifest { ipxe, syslinux, configurations, files, .. } = manifest;
    ExternalParameters {
        ipxe: loaders(manifest).next().map(|_| Ipxe {
            version: &ipxe.version,
            commit: ipxe.commit,
            patches: &ipxe.patches,
        }),
        syslinux: syslinux.as_ref(),
        configurations: ids(configurations),
        files: files
            .iter()
            .filter_map(|file| Some(ConfiguredFile { path: &file.path, origin: origin(file)? }))
            .collect(),
    }
}

/// Returns each configuration once: with Secure Boot, a manifest lists it with and without.
fn ids(configurations: &[Configuration]) -> Vec<ConfigurationId<'_>> {
    let mut ids: Vec<ConfigurationId<'_>> = Vec::new();
    for Configuration { name, sha256, .. } in configurations {
        if ids.last().is_none_or(|last| last.sha256 != *sha256) {
            ids.push(ConfigurationId { name, sha256: *sha256 });
        }
    }
    ids
}

/// Returns the origin of a file; `None` for a text that the build itself generated.
fn origin(file: &ManifestEntry) -> Option<Origin<'_>> {
    match (&file.ipxe, &file.member) {
        (Some(embedded), _) => Some(Origin::Built {
            target: &embedded.target,
            configuration: embedded.configuration,
            script: &embedded.script,
            slot_size: embedded.slot_size,
            slot_sha256: embedded.slot_sha256,
        }),
        (None, Some(member)) => Some(Origin::Member { member }),
        (None, None) if file.set.is_some() => file.set.as_ref().map(|set| Origin::Set { set }),
        (None, None) => is_chosen_text(file).then_some(Origin::Text { sha256: file.sha256 }),
    }
}

fn internal_parameters(manifest: &Manifest) -> InternalParameters<'_> {
    let make = manifest.configurations.iter().map(|known| Make {
        configuration: ConfigurationId { name: &known.name, sha256: known.sha256 },
        variables: &known.make,
        environment: &known.environment,
    });
    InternalParameters {
        embedded_name: &manifest.ipxe.embedded_name,
        source_date_epoch: manifest.ipxe.source_date_epoch,
        make: make.collect(),
    }
}

/// Returns the resolved dependencies: iPXE with its patches, headers and certificates, the syslinux files, and the
/// tools.
fn resolved_dependencies(manifest: &Manifest) -> Vec<Descriptor> {
    let mut all = Vec::new();
    if loaders(manifest).next().is_some() {
        all.push(ipxe(manifest));
        let patches = manifest.ipxe.patches.iter();
        all.extend(patches.map(|patch| Descriptor::file(project().patches().join(&patch.name), patch.sha256)));
    }
    all.extend(headers_and_trust(manifest).into_iter().map(|(path, sha256)| Descriptor::file(path, sha256)));
    if let Some(syslinux) = &manifest.syslinux {
        let members: BTreeSet<(&Utf8PathBuf, Sha256Digest)> =
            manifest.files.iter().filter_map(|file| Some((file.member.as_ref()?, file.sha256))).collect();
        all.extend(members.into_iter().map(|(member, sha256)| Descriptor {
            uri: Some(member_purl(&syslinux.version, member)),
            ..Descriptor::file(member.as_str(), sha256)
        }));
    }
    let of_set: BTreeSet<(&str, &str, Sha256Digest)> = manifest
        .files
        .iter()
        .filter_map(|file| Some((file.set.as_deref()?, file.path.file_name()?, file.sha256)))
        .collect();
    all.extend(of_set.into_iter().map(|(set, name, sha256)| Descriptor {
        annotations: BTreeMap::from([("set", set.to_owned())]),
        ..Descriptor::file(name, sha256)
    }));
    all.extend(manifest.toolchain.iter().map(|tool| Descriptor {
        annotations: BTreeMap::from([("version", tool.version.clone())]),
        ..Descriptor::file(&tool.name, tool.sha256)
    }));
    all
}

/// Returns the descriptor of iPXE. The content digest is in-toto's `dirHash`: `vendor/README.md` and in-toto's
/// `digest_set.md` compute it with the same command.
fn ipxe(manifest: &Manifest) -> Descriptor {
    let pin = &manifest.ipxe;
    Descriptor {
        name: "ipxe".into(),
        uri: Some(format!("{IPXE_REPOSITORY}@{}", pin.commit)),
        digest: BTreeMap::from([
            ("gitCommit", pin.commit.to_string()),
            ("gitTree", pin.tree.to_string()),
            ("dirHash", pin.content_sha256.to_string()),
        ]),
        annotations: BTreeMap::from([("version", pin.version.clone())]),
    }
}

/// Returns the files of all configurations without duplicates, because configurations can share files.
fn headers_and_trust(manifest: &Manifest) -> BTreeSet<(Utf8PathBuf, Sha256Digest)> {
    let mut files = BTreeSet::new();
    for configuration in &manifest.configurations {
        let folder = project().ipxe_configs().join(&configuration.name);
        files.extend(configuration.headers.iter().map(|(name, sha256)| (folder.join(name), *sha256)));
        files.extend(configuration.trust.iter().map(|(name, sha256)| (project().scripts().join(name), *sha256)));
    }
    files
}
