//! Describes a plan in the form of a manifest: head, entries, and identical loaders.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::build::make;
use crate::build::plan::{Build, ContentSource, Inputs, Other, Plan, PlannedFile, Stamped};
use crate::config::script::IMAGE_NAME;
use crate::config::sites::Site;
use crate::digest::{Content, Sha256Digest};
use crate::loader::file_kind::{self, FileKind};
use crate::loader::target::{Arch, Loader};
use crate::tree::manifest::{
    Configuration, Embedded, GENERATOR, Generator, IpxeEntry, Manifest, ManifestEntry, PatchEntry, SCHEMA_VERSION,
    Syslinux, ToolEntry,
};

/// Digests of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigests {
    /// Of all its bytes, with their number.
    #[serde(flatten)]
    pub content: Content,
    /// Of what a signature covers, for a loader that is built for Secure Boot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub authenticode: Option<Sha256Digest>,
}

impl From<Content> for FileDigests {
    fn from(content: Content) -> Self {
        Self { content, authenticode: None }
    }
}

impl Manifest {
    /// Creates the manifest of a plan, without files.
    #[must_use]
    pub fn head(plan: &Plan) -> Self {
        let Inputs { pins, patches, toolchain, .. } = &plan.inputs;
        let members = !plan.members().is_empty();
        let mut configurations: Vec<Configuration> =
            plan.builds.iter().map(|build| configuration(plan, build)).collect();
        configurations.sort();
        configurations.dedup();
        Self {
            schema_version: SCHEMA_VERSION,
            generator: Generator { name: GENERATOR.into(), version: env!("CARGO_PKG_VERSION").into() },
            ipxe: IpxeEntry {
                version: pins.ipxe.version.clone(),
                commit: pins.ipxe.commit,
                tree: pins.ipxe.tree,
                content_sha256: pins.ipxe.content,
                source_date_epoch: pins.ipxe.epoch,
                patches: patches
                    .iter()
                    .map(|patch| PatchEntry { name: patch.name.clone(), sha256: Sha256Digest::of(&patch.content) })
                    .collect(),
                embedded_name: IMAGE_NAME.into(),
            },
            syslinux: members.then(|| Syslinux { version: pins.syslinux.version.clone() }),
            toolchain: toolchain.tools.iter().map(ToolEntry::from).collect(),
            configurations,
            secure_boot: None,
            files: Vec::new(),
        }
    }
}

fn configuration(plan: &Plan, build: &Build) -> Configuration {
    let digests = |files: &BTreeMap<String, Vec<u8>>| {
        files.iter().map(|(name, content)| (name.clone(), Sha256Digest::of(content))).collect()
    };
    let pin = &plan.inputs.pins.ipxe;
    Configuration {
        name: build.config.name.clone(),
        sha256: build.config.digest(),
        make: make::variables(pin, &build.config, build.platform),
        environment: make::environment(pin).into(),
        headers: digests(&build.config.headers),
        trust: digests(&build.config.trust),
        sbat: build.config.sbat(build.platform).map(|sbat| format!("ipxe.{},{}", sbat.name, sbat.generation)),
    }
}

impl ManifestEntry {
    /// Creates the entry of a planned file that has `digests`.
    #[must_use]
    pub fn new(file: &PlannedFile<'_>, digests: FileDigests) -> Self {
        let (kind, arch) = match file.origin {
            ContentSource::Stamped(Stamped { loader, .. }) => loader_kind(loader),
            ContentSource::Medium(planned) => (planned.medium.file_kind(), None),
            ContentSource::OfSet(planned) => match planned.pin {
                Some(_) => (FileKind::EfiApplication, Some(Arch::X86_64)),
                None => (FileKind::Text, None),
            },
            ContentSource::Other(Other::Member(member)) => file_kind::member_kind(&member.name),
            ContentSource::Other(Other::Linked { .. } | Other::Text(_)) => (FileKind::Text, None),
        };
        let FileDigests { content: Content { sha256, size }, authenticode } = digests;
        let plain = Self {
            path: file.path.clone(),
            size,
            sha256,
            authenticode_sha256: authenticode,
            kind,
            arch,
            site: None,
            same_as: None,
            ipxe: None,
            member: None,
            set: None,
        };
        let of_site = |site: &Site, target: String| {
            let embedded = Embedded {
                target,
                configuration: site.config.digest(),
                script: site.source().to_owned(),
                slot_size: site.slot,
                slot_sha256: site.slot_sha256,
            };
            Self { site: site.name.clone(), ipxe: Some(embedded), ..plain.clone() }
        };
        match file.origin {
            ContentSource::Stamped(Stamped { loader, site, .. }) => of_site(site, site.config.target(loader)),
            ContentSource::Medium(planned) => {
                let targets: Vec<String> = planned.parts().map(|part| part.site.config.target(part.loader)).collect();
                of_site(planned.site, targets.join(" "))
            }
            ContentSource::OfSet(planned) => {
                Self { site: planned.site.name.clone(), set: planned.pin.map(|_| planned.set.to_string()), ..plain }
            }
            ContentSource::Other(Other::Member(member)) => Self { member: Some(member.path.clone()), ..plain },
            ContentSource::Other(_) => plain,
        }
    }
}

/// The loaders described so far, by identity: path and content of the first loader with these bytes. Later entries with
/// the same bytes refer to it.
#[derive(Debug, Default)]
pub struct Dedup(HashMap<Sha256Digest, (Utf8PathBuf, FileDigests)>);

impl Dedup {
    /// Describes the loader `file`, which has `digests`. Loaders must come in the order of the tree.
    pub fn describe(&mut self, file: &PlannedFile<'_>, identity: Sha256Digest, digests: FileDigests) -> ManifestEntry {
        let described = ManifestEntry::new(file, digests);
        match self.0.entry(identity) {
            Entry::Occupied(first) => ManifestEntry { same_as: Some(first.get().0.clone()), ..described },
            Entry::Vacant(empty) => {
                empty.insert((file.path.clone(), digests));
                described
            }
        }
    }

    /// Returns the first described loader with these bytes.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn get(&self, identity: &Sha256Digest) -> (&Utf8Path, FileDigests) {
        let (path, digests) = &self.0[identity];
        (path, *digests)
    }
}

fn loader_kind(loader: Loader) -> (FileKind, Option<Arch>) {
    let (kind, arch) = file_kind::loader_kind(loader);
    (kind, Some(arch))
}
