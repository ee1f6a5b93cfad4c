//! What a consumer reads of a tree's origin: a software bill of materials and build provenance, in
//! the standard forms. Pure functions of a manifest: no clock, no random numbers, no host.

use camino::Utf8Path;
use percent_encoding::utf8_percent_encode;
use serde::Serialize;

use crate::base::paths;
use crate::base::url::RESERVED;
use crate::digest::Sha256Digest;
use crate::tree::manifest::{Embedded, Manifest, ManifestEntry};

/// Where iPXE's commits are published, as an SPDX download location without the commit.
pub(super) const IPXE_REPOSITORY: &str = "git+https://github.com/ipxe/ipxe.git";

/// The package URL of the iPXE that was pinned.
pub(super) fn ipxe_purl(manifest: &Manifest) -> String {
    format!("pkg:github/ipxe/ipxe@{}", manifest.ipxe.commit)
}

/// The package URL of a syslinux release. It names no archive, as the manifest does not.
pub(super) fn syslinux_purl(version: &str) -> String {
    format!("pkg:generic/syslinux@{}", percent_encoded(version))
}

/// The package URL of a file in a syslinux release.
pub(super) fn member_purl(version: &str, member: &Utf8Path) -> String {
    let segments: Vec<String> = member.as_str().split('/').map(percent_encoded).collect();
    format!("{}#{}", syslinux_purl(version), segments.join("/"))
}

/// `text` as package URLs have it, where a colon stays as it is.
fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, const { &RESERVED.remove(b':') }).to_string()
}

/// The iPXE loaders among the files, each with how it came to be. A tree of syslinux alone has none,
/// and then iPXE is no part of it.
pub(super) fn loaders(manifest: &Manifest) -> impl Iterator<Item = (&Utf8Path, &Embedded)> {
    manifest.files.iter().filter_map(|file| Some((file.path.as_path(), file.ipxe.as_ref()?)))
}

/// Whether a file is a text that was put into the tree as it was.
pub(super) fn is_chosen_text(file: &ManifestEntry) -> bool {
    paths::is_chosen_text(&file.path)
}

/// The folder of the project with its files named from there: no path of a host.
pub(super) fn project() -> paths::ProjectPaths {
    paths::ProjectPaths::new("")
}

/// The two files of a tree that its manifest does not list.
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
