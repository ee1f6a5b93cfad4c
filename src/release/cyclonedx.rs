//! The part of `CycloneDX` 1.6 that `sbom` writes, as types. Names and order of fields are the
//! standard's. There is no field for a time.

use serde::Serialize;

use crate::digest::Sha256Digest;

/// A bill of materials.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bom {
    #[serde(rename = "$schema")]
    pub schema: &'static str,
    pub bom_format: &'static str,
    pub spec_version: &'static str,
    pub serial_number: String,
    pub version: u32,
    pub metadata: Metadata,
    pub components: Vec<Component>,
    pub dependencies: Vec<Dependency>,
    pub compositions: Vec<Composition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formulation: Vec<Formula>,
}

/// What the bill is about, and what wrote it.
#[derive(Serialize)]
pub struct Metadata {
    pub lifecycles: [Lifecycle; 1],
    pub tools: Tools,
    pub component: Component,
}

/// When in the life of a product a bill is written.
#[derive(Serialize)]
pub struct Lifecycle {
    pub phase: &'static str,
}

/// What wrote the bill.
#[derive(Serialize)]
pub struct Tools {
    pub components: Vec<Component>,
}

/// A component; `Component::new` has the fields that every one has.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    pub r#type: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    pub bom_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplier: Option<Supplier>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<License>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub swhid: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pedigree: Option<Pedigree>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_references: Vec<ExternalReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
}

/// Who a component comes from.
#[derive(Serialize)]
pub struct Supplier {
    pub name: &'static str,
    pub url: [&'static str; 1],
}

/// A digest of a file.
#[derive(Serialize)]
pub struct Hash {
    pub alg: &'static str,
    pub content: Sha256Digest,
}

/// An SPDX expression: `declared` by the authors, or `concluded` here.
#[derive(Serialize)]
pub struct License {
    pub expression: &'static str,
    pub acknowledgement: &'static str,
}

/// What a changed component was made from, and by which changes.
#[derive(Serialize)]
pub struct Pedigree {
    pub ancestors: Vec<Component>,
    pub patches: Vec<BomPatch>,
}

/// A change.
#[derive(Serialize)]
pub struct BomPatch {
    pub r#type: &'static str,
    pub diff: Diff,
}

/// Where a change can be read.
#[derive(Serialize)]
pub struct Diff {
    pub url: String,
}

/// Something to be found elsewhere.
#[derive(Serialize)]
pub struct ExternalReference {
    pub r#type: &'static str,
    pub url: &'static str,
}

/// What the standard has no field for.
#[derive(Serialize)]
pub struct Property {
    pub name: String,
    pub value: String,
}

/// What a component directly consists of or needs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    pub r#ref: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// How much is known of the dependencies of some components.
#[derive(Serialize)]
pub struct Composition {
    pub aggregate: &'static str,
    pub dependencies: Vec<String>,
}

/// What took part in the build and is no part of the product.
#[derive(Serialize)]
pub struct Formula {
    pub components: Vec<Component>,
}

impl Component {
    /// A component that can be referred to as `bom_ref`.
    pub fn new(r#type: &'static str, bom_ref: impl Into<String>, name: impl Into<String>) -> Self {
        Self { bom_ref: Some(bom_ref.into()), ..Self::part(r#type, name) }
    }

    /// A component that nothing refers to.
    pub fn part(r#type: &'static str, name: impl Into<String>) -> Self {
        Self { r#type, name: name.into(), ..Self::default() }
    }

    /// The same with the SHA-256 of its file.
    pub fn hashed(self, sha256: Sha256Digest) -> Self {
        Self { hashes: vec![Hash { alg: "SHA-256", content: sha256 }], ..self }
    }

    /// The same with one more property.
    pub fn with(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.properties.push(Property { name: format!("netboot-loaders:{name}"), value: value.to_string() });
        self
    }
}
