//! Types for the part of `CycloneDX` 1.6 that `sbom` writes. Names and order of the fields follow the standard. There
//! is no field for a time.

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

/// Subject of the bill, and the tool that wrote it.
#[derive(Serialize)]
pub struct Metadata {
    pub lifecycles: [Lifecycle; 1],
    pub tools: Tools,
    pub component: Component,
}

/// Phase of the product's life cycle in which the bill was written.
#[derive(Serialize)]
pub struct Lifecycle {
    pub phase: &'static str,
}

/// Tools that wrote the bill.
#[derive(Serialize)]
pub struct Tools {
    pub components: Vec<Component>,
}

/// A component. `Component::new` sets the fields that every component has.
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

/// Supplier of a component.
#[derive(Serialize)]
pub struct Supplier {
    pub name: &'static str,
    pub url: [&'static str; 1],
}

/// Digest of a file.
#[derive(Serialize)]
pub struct Hash {
    pub alg: &'static str,
    pub content: Sha256Digest,
}

/// An SPDX expression: `declared` by the authors, or `concluded` by this project.
#[derive(Serialize)]
pub struct License {
    pub expression: &'static str,
    pub acknowledgement: &'static str,
}

/// Origin of a modified component, and its modifications.
#[derive(Serialize)]
pub struct Pedigree {
    pub ancestors: Vec<Component>,
    pub patches: Vec<BomPatch>,
}

/// A modification.
#[derive(Serialize)]
pub struct BomPatch {
    pub r#type: &'static str,
    pub diff: Diff,
}

/// Location of a modification.
#[derive(Serialize)]
pub struct Diff {
    pub url: String,
}

/// A reference to an external resource.
#[derive(Serialize)]
pub struct ExternalReference {
    pub r#type: &'static str,
    pub url: &'static str,
}

/// A property that the standard has no field for.
#[derive(Serialize)]
pub struct Property {
    pub name: String,
    pub value: String,
}

/// Direct dependencies of a component.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    pub r#ref: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// Completeness of the dependencies of some components.
#[derive(Serialize)]
pub struct Composition {
    pub aggregate: &'static str,
    pub dependencies: Vec<String>,
}

/// Components that took part in the build but are not part of the product.
#[derive(Serialize)]
pub struct Formula {
    pub components: Vec<Component>,
}

impl Component {
    /// Creates a component that `bom_ref` refers to.
    pub fn new(r#type: &'static str, bom_ref: impl Into<String>, name: impl Into<String>) -> Self {
        Self { bom_ref: Some(bom_ref.into()), ..Self::part(r#type, name) }
    }

    /// Creates a component without a reference.
    pub fn part(r#type: &'static str, name: impl Into<String>) -> Self {
        Self { r#type, name: name.into(), ..Self::default() }
    }

    /// Returns the component with the SHA-256 of its file.
    pub fn hashed(self, sha256: Sha256Digest) -> Self {
        Self { hashes: vec![Hash { alg: "SHA-256", content: sha256 }], ..self }
    }

    /// Returns the component with an additional property.
    pub fn with(mut self, name: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.properties.push(Property { name: format!("netboot-loaders:{name}"), value: value.to_string() });
        self
    }
}
