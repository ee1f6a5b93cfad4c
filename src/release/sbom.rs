//! Software bill of materials of a tree, in `CycloneDX` 1.6.

use std::collections::{BTreeMap, BTreeSet};

use super::cyclonedx::{
    Bom, BomPatch, Component, Composition, Dependency, Diff, ExternalReference, Formula, License, Lifecycle, Metadata,
    Pedigree, Supplier, Tools,
};
use crate::base::paths::is_linked_list;
use crate::digest::Sha256Digest;
use crate::loader::file_kind::FileKind;
use crate::release::attest::{ipxe_purl, is_chosen_text, loaders, project, syslinux_purl, to_text, unlisted};
use crate::tree::manifest::{Configuration, Embedded, Manifest, ManifestEntry, Syslinux, ToolEntry};

/// Licences that the files below `src` of iPXE 2.0.0 declare with `FILE_LICENCE`. UBDL, the Unmodified Binary
/// Distribution Licence, is an exception to the GPL in SPDX's list, which has no name for public domain. Must be
/// reviewed for another version of iPXE.
const IPXE_DECLARED: &str = "GPL-2.0-only AND GPL-2.0-or-later AND GPL-2.0-or-later WITH UBDL-exception \
     AND GPL-1.0-or-later AND BSD-2-Clause AND BSD-2-Clause-Patent AND BSD-3-Clause AND MIT";

/// Licence that iPXE's own `licence.pl` concludes from the declarations in `ipxe.pxe` and `ipxe.efi`. According to it,
/// this licence subsumes all others in iPXE, so it applies to every loader, whichever files were linked into it. The
/// manifest does not list those files. UBDL does not apply: every loader contains files without it.
const LOADER_CONCLUDED: &str = "GPL-2.0-only";

/// Licence according to `doc/syslinux.txt` of syslinux 6.03. Parts of it are under BSD and MIT licences.
const SYSLINUX_DECLARED: &str = "GPL-2.0-or-later";

const TREE: &str = "tree";
const IPXE: &str = "ipxe";
const SYSLINUX: &str = "syslinux";
const SIGNED_SET: &str = "signed-set";

/// Returns the bill of materials of a tree, as a `CycloneDX` 1.6 document in JSON with a final newline.
///
/// The tree depends on each of its files, including `manifest.json` and `SHA256SUMS`, and each file is a component with
/// its SHA-256. A loader or boot medium depends on iPXE, on its configuration and on its script; a syslinux file or an
/// image of a CD or disk depends on syslinux. The build tools are listed in `formulation`. Third-party code inside iPXE
/// and syslinux is not examined, and `compositions` states that.
///
/// The same manifest gives the same bytes: there is no time, and `serialNumber` is a version 8 UUID from the first 16
/// bytes of the SHA-256 of `manifest.json`.
///
/// # Panics
///
/// Never: the document only has string keys, which can always be serialised.
#[must_use]
pub fn cyclonedx(manifest: &Manifest) -> String {
    let parts = Parts::of(manifest);
    let generator = &manifest.generator;
    let tree = Component {
        version: Some(generator.version.clone()),
        description: Some("a TFTP tree of network boot loaders".into()),
        ..Component::new("firmware", TREE, "netboot-loaders-tftp")
    };
    let tool =
        Component { version: Some(generator.version.clone()), ..Component::part("application", &generator.name) };
    let tools: Vec<Component> = manifest.toolchain.iter().map(build_tool).collect();
    to_text(&Bom {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: serial_number(&unlisted(manifest)[0].1),
        version: 1,
        metadata: Metadata {
            lifecycles: [Lifecycle { phase: "build" }],
            tools: Tools { components: vec![tool] },
            component: tree,
        },
        compositions: compositions(manifest, &parts),
        components: parts.components,
        dependencies: parts.dependencies,
        formulation: if tools.is_empty() { Vec::new() } else { vec![Formula { components: tools }] },
    })
}

/// Returns the URN of a version 8 UUID (RFC 9562) from the first 16 bytes of `digest`.
fn serial_number(digest: &Sha256Digest) -> String {
    let hex = digest.to_string();
    // The variant occupies the two upper bits of this digit.
    let variant = ["8", "9", "a", "b"][usize::from(digest.as_bytes()[8] >> 4 & 0b11)];
    format!("urn:uuid:{}-{}-8{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// Components of a bill, with their dependencies.
#[derive(Default)]
struct Parts {
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

impl Parts {
    fn of(manifest: &Manifest) -> Self {
        let mut parts = Self::default();
        let files: Vec<String> = manifest.files.iter().map(|file| file_ref(file.path.as_str())).collect();
        let unlisted = unlisted(manifest);
        let all = files.into_iter().chain(unlisted.iter().map(|(path, _)| file_ref(path))).collect();
        parts.dependencies.push(Dependency { r#ref: TREE.into(), depends_on: all });
        for file in &manifest.files {
            parts.add(file_component(file), ingredients(file));
        }
        for (path, sha256) in unlisted {
            parts.add(Component::new("file", file_ref(path), path).hashed(sha256), Vec::new());
        }
        if loaders(manifest).next().is_some() {
            parts.add(ipxe(manifest), Vec::new());
        }
        if let Some(syslinux) = &manifest.syslinux {
            parts.add(syslinux_release(syslinux), Vec::new());
        }
        if let Some(set) = manifest.files.iter().find_map(|file| file.set.as_ref()) {
            parts.add(signed_set(set), Vec::new());
        }
        // Two configuration names can have the same content, and a loader only records its digest.
        let configurations: BTreeMap<Sha256Digest, &Configuration> =
            manifest.configurations.iter().rev().map(|configuration| (configuration.sha256, configuration)).collect();
        for configuration in configurations.into_values() {
            parts.add(configuration_component(configuration), Vec::new());
        }
        let scripts: BTreeMap<String, &Embedded> =
            loaders(manifest).map(|(_, embedded)| (script_ref(embedded), embedded)).collect();
        for (bom_ref, embedded) in scripts {
            parts.add(script(bom_ref, embedded), Vec::new());
        }
        parts
    }

    fn add(&mut self, component: Component, depends_on: Vec<String>) {
        let r#ref = component.bom_ref.clone().unwrap_or_default();
        self.dependencies.push(Dependency { r#ref, depends_on });
        self.components.push(component);
    }
}

/// Lists the components whose dependencies are completely known, and those whose dependencies are unknown.
fn compositions(manifest: &Manifest, parts: &Parts) -> Vec<Composition> {
    let explained = |file: &ManifestEntry| is_chosen_text(file) || is_linked_list(&file.path);
    let unexplained = manifest.files.iter().filter(|file| ingredients(file).is_empty() && !explained(file));
    let mut opaque: BTreeSet<String> = unexplained.map(|file| file_ref(file.path.as_str())).collect();
    opaque.extend([IPXE.into(), SYSLINUX.into(), SIGNED_SET.into()]);
    let all = parts.dependencies.iter().map(|known| known.r#ref.clone());
    let (unknown, complete): (Vec<String>, Vec<String>) = all.partition(|known| opaque.contains(known));
    let both = [("complete", complete), ("unknown", unknown)];
    let some = both.into_iter().filter(|(_, dependencies)| !dependencies.is_empty());
    some.map(|(aggregate, dependencies)| Composition { aggregate, dependencies }).collect()
}

fn file_ref(path: &str) -> String {
    format!("file:{path}")
}

fn configuration_ref(sha256: &Sha256Digest) -> String {
    format!("configuration:{sha256}")
}

fn script_ref(embedded: &Embedded) -> String {
    format!("script:{}@{}", embedded.script, embedded.slot_sha256)
}

fn file_component(file: &ManifestEntry) -> Component {
    let mut component = Component {
        description: Some(file.arch.map_or(file.kind.to_string(), |arch| format!("{} for {arch}", file.kind))),
        ..Component::new("file", file_ref(file.path.as_str()), file.path.as_str())
    }
    .hashed(file.sha256)
    .with("size", &file.size);
    if let Some(site) = &file.site {
        component = component.with("site", site);
    }
    if let Some(embedded) = &file.ipxe {
        component.licenses = vec![License { expression: LOADER_CONCLUDED, acknowledgement: "concluded" }];
        component = component.with("make-target", &embedded.target);
    }
    if let Some(set) = &file.set {
        component = component.with("signed-set", set);
    }
    if let Some(member) = &file.member {
        component = component.with("archive-member", member);
    }
    component
}

/// Returns the references of the components that a file was made from.
fn ingredients(file: &ManifestEntry) -> Vec<String> {
    match (&file.ipxe, &file.member) {
        (Some(embedded), _) => {
            let mut made_from = vec![IPXE.into(), configuration_ref(&embedded.configuration), script_ref(embedded)];
            // A BIOS starts these with files of syslinux.
            let with_syslinux = matches!(file.kind, FileKind::IsoImage | FileKind::DiskImage);
            made_from.extend(with_syslinux.then(|| SYSLINUX.into()));
            made_from
        }
        (None, Some(_)) => vec![SYSLINUX.into()],
        (None, None) => file.set.iter().map(|_| SIGNED_SET.into()).collect(),
    }
}

/// Returns the component of the iPXE source as built: the pinned commit, with patches applied if there are any.
fn ipxe(manifest: &Manifest) -> Component {
    let pin = &manifest.ipxe;
    let swhid = vec![format!("swh:1:rev:{}", pin.commit), format!("swh:1:dir:{}", pin.tree)];
    let component = Component {
        supplier: Some(Supplier { name: "iPXE project", url: ["https://ipxe.org/"] }),
        version: Some(pin.version.clone()),
        licenses: vec![License { expression: IPXE_DECLARED, acknowledgement: "declared" }],
        purl: Some(ipxe_purl(manifest)),
        external_references: vec![ExternalReference { r#type: "vcs", url: "https://github.com/ipxe/ipxe" }],
        ..Component::new("firmware", IPXE, "ipxe")
    }
    .with("content-sha256", &pin.content_sha256);
    if pin.patches.is_empty() {
        return Component { swhid, ..component };
    }
    let ancestor = Component {
        version: Some(pin.version.clone()),
        purl: Some(ipxe_purl(manifest)),
        swhid,
        ..Component::part("firmware", "ipxe")
    };
    let url = |name: &str| project().patches().join(name).into_string();
    let patches = pin.patches.iter();
    Component {
        pedigree: Some(Pedigree {
            ancestors: vec![ancestor],
            patches: patches
                .clone()
                .map(|patch| BomPatch { r#type: "unofficial", diff: Diff { url: url(&patch.name) } })
                .collect(),
        }),
        // The patches of a pedigree have no field for a digest.
        components: patches.map(|patch| Component::part("file", url(&patch.name)).hashed(patch.sha256)).collect(),
        ..component
    }
}

fn syslinux_release(syslinux: &Syslinux) -> Component {
    Component {
        supplier: Some(Supplier { name: "Syslinux project", url: ["https://www.syslinux.org/"] }),
        version: Some(syslinux.version.clone()),
        licenses: vec![License { expression: SYSLINUX_DECLARED, acknowledgement: "declared" }],
        purl: Some(syslinux_purl(&syslinux.version)),
        external_references: vec![ExternalReference {
            r#type: "source-distribution",
            url: "https://mirrors.edge.kernel.org/pub/linux/utils/boot/syslinux/",
        }],
        ..Component::new("application", SYSLINUX, "syslinux")
    }
}

/// Returns the component of iPXE's signed set, called `set`, which was downloaded as it was released.
fn signed_set(set: &str) -> Component {
    let (name, version) = set.split_once(' ').unwrap_or((set, ""));
    Component {
        supplier: Some(Supplier { name: "iPXE project", url: ["https://ipxe.org/"] }),
        version: Some(version.to_owned()),
        description: Some("loaders that their publisher has signed for Secure Boot, and a shim".into()),
        external_references: vec![ExternalReference {
            r#type: "website",
            url: "https://github.com/ipxe/ipxe/releases",
        }],
        ..Component::new("firmware", SIGNED_SET, format!("{name}-signed-set"))
    }
}

/// Returns the component of a configuration, including its headers and certificates. Its digest serves as its version.
fn configuration_component(configuration: &Configuration) -> Component {
    let folder = project().ipxe_configs().join(&configuration.name);
    let headers = configuration.headers.iter().map(|(name, sha256)| (folder.join(name), sha256));
    let trust = configuration.trust.iter().map(|(name, sha256)| (project().scripts().join(name), sha256));
    let mut component = Component {
        version: Some(configuration.sha256.to_string()),
        description: Some("an iPXE build configuration".into()),
        components: headers.chain(trust).map(|(path, sha256)| Component::part("file", path).hashed(*sha256)).collect(),
        ..Component::new("data", configuration_ref(&configuration.sha256), &configuration.name)
    };
    for variable in &configuration.make {
        component = component.with("make-variable", variable);
    }
    for variable in &configuration.environment {
        component = component.with("environment", variable);
    }
    component
}

/// Returns the component of a script as embedded in loaders. Its source file has another digest, or none in the
/// manifest.
fn script(bom_ref: String, embedded: &Embedded) -> Component {
    Component {
        description: Some("an embedded iPXE script, rendered and padded".into()),
        ..Component::new("data", bom_ref, project().scripts().join(&embedded.script))
    }
    .hashed(embedded.slot_sha256)
}

fn build_tool(tool: &ToolEntry) -> Component {
    Component {
        version: Some(tool.version.clone()).filter(|version| !version.is_empty()),
        ..Component::new("application", format!("tool:{}", tool.name), &tool.name)
    }
    .hashed(tool.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_a_uuid_of_version_8() {
        assert_eq!(
            serial_number(&Sha256Digest::of(b"abc")),
            "urn:uuid:ba7816bf-8f01-8fea-8141-40de5dae2223",
            "ba7816bf8f01cfea414140de5dae2223 with the bits of version and variant"
        );
    }
}
