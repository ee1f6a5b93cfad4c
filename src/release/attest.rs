//! Attestations of a tree's origin for its users: a software bill of materials and build provenance, in standard
//! formats. They depend only on the manifest: not on the time, random numbers or the host.

use camino::Utf8Path;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use crate::base::paths;
use crate::base::url::RESERVED;
use crate::digest::Sha256Digest;
use crate::tree::manifest::{Embedded, Manifest, ManifestEntry};

/// Repository of iPXE, as an SPDX download location without the commit.
pub(super) const IPXE_REPOSITORY: &str = "git+https://github.com/ipxe/ipxe.git";

/// Returns the package URL of the pinned iPXE.
pub(super) fn ipxe_purl(manifest: &Manifest) -> String {
    format!("pkg:github/ipxe/ipxe@{}", manifest.ipxe.commit)
}

/// Returns the package URL of a syslinux release. It does not name an archive, because the manifest does not either.
pub(super) fn syslinux_purl(version: &str) -> String {
    format!("pkg:generic/syslinux@{}", percent_encoded(version))
}

/// Returns the package URL of a file in a syslinux release.
pub(super) fn member_purl(version: &str, member: &Utf8Path) -> String {
    let segments: Vec<String> = member.as_str().split('/').map(percent_encoded).collect();
    format!("{}#{}", syslinux_purl(version), segments.join("/"))
}

/// Percent-encodes `text` for package URLs, in which a colon stays as it is.
fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, const { &RESERVED.remove(b':') }).to_string()
}

/// Returns the iPXE loaders among the files, each with the record of its origin. A tree with only syslinux has none,
/// and its documents do not mention iPXE.
pub(super) fn loaders(manifest: &Manifest) -> impl Iterator<Item = (&Utf8Path, &Embedded)> {
    manifest.files.iter().filter_map(|file| Some((file.path.as_path(), file.ipxe.as_ref()?)))
}

/// Checks whether a file is a text that was copied into the tree unchanged.
pub(super) fn is_chosen_text(file: &ManifestEntry) -> bool {
    paths::is_chosen_text(&file.path)
}

/// Returns the project's paths relative to its root. They contain no path of the host.
pub(super) fn project() -> paths::ProjectPaths {
    paths::ProjectPaths::new("")
}

/// Returns the two files of a tree that its manifest does not list.
pub(super) fn unlisted(manifest: &Manifest) -> [(&'static str, Sha256Digest); 2] {
    let content = manifest.content();
    let sums = manifest.sums_content(&content);
    [(paths::MANIFEST, content.sha256), (paths::SHA256SUMS, sums.sha256)]
}

pub(super) fn to_text(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("these documents have string keys only");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_url_is_as_its_specification_says() {
        assert_eq!(syslinux_purl("6.04-pre1~x+y"), "pkg:generic/syslinux@6.04-pre1~x%2By");
        assert_eq!(
            member_purl("6.03", "bios/core/a b#.0".into()),
            "pkg:generic/syslinux@6.03#bios/core/a%20b%23.0",
            "a space and a `#` are data, a `/` is not"
        );
    }
}
