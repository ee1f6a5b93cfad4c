//! Boot entries of a tree. Their scripts are the tree's own; stand-ins replace the files that they boot.

use std::sync::Arc;

use super::network::{DhcpSetup, TestNetwork};
use crate::base::paths::mirror::version_script;
use crate::config::boot_entry::{BootEntry, Files};
use crate::loader::target::Platform;
use crate::tree::open::{Changed, CheckedTree};

/// Version of the image set that stands in for one from a mirror.
const VERSION: &str = "0.boot-test";

/// Platforms of machines that boot entries.
const PLATFORMS: [Platform; 4] = [Platform::EfiX64, Platform::Bios, Platform::EfiArm64, Platform::EfiIa32];

/// A boot entry under test on one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestedEntry {
    /// Its name.
    pub name: String,
    /// The machine's platform.
    pub platform: Platform,
    /// Path and content of its script in the tree.
    pub script: (String, Arc<[u8]>),
    /// Files that a machine fetches, as far as they are known.
    pub fetched: Option<Files>,
    /// The same, or why a test cannot have stand-ins for them.
    pub files: Result<Files, String>,
    /// URL and content of the script that names the current image set of a mirror.
    pub version: Option<(String, String)>,
}

/// Returns those of `entries` whose scripts are in `tree`, for each platform that they have a system for.
///
/// # Errors
///
/// [`Changed`] if a script has changed since the tree was checked.
pub fn entries(tree: &CheckedTree, entries: &[BootEntry]) -> Result<Vec<Arc<TestedEntry>>, Changed> {
    let file = |entry: &BootEntry| tree.manifest.files.iter().find(|file| file.path == entry.file());
    let mut tested = Vec::new();
    for entry in entries {
        let Some(file) = file(entry) else { continue };
        let script: Arc<[u8]> = tree.read(&file.path, &file.content())?.into();
        let platforms = PLATFORMS.into_iter().filter(|platform| entry.system(*platform).is_some());
        tested.extend(platforms.map(|platform| Arc::new(TestedEntry::new(entry, platform, Arc::clone(&script)))));
    }
    Ok(tested)
}

impl TestedEntry {
    /// Creates the test of `entry` on `platform`; `script` is its script in the tree.
    #[must_use]
    pub fn new(entry: &BootEntry, platform: Platform, script: Arc<[u8]>) -> Self {
        let name = entry.name.clone();
        // What iPXE itself expands is the same for all machines of a platform.
        let expand = |text: &mut String| *text = text.replace("${buildarch}", platform.arch().buildarch());
        let fetched = entry.files(platform, VERSION).map(|mut files| {
            expand(&mut files.kernel);
            files.initrds.iter_mut().chain([&mut files.arguments]).for_each(expand);
            files
        });
        let unknown = |files: &Files| {
            let mut addresses = files.initrds.iter().chain([&files.kernel]);
            addresses.find(|address| address.contains("${")).cloned()
        };
        let files = match fetched.clone() {
            None => Err(format!("what `{name}` boots is decided by another server")),
            Some(files) if files.initrds.is_empty() => {
                Err(format!("`{name}` has no initial RAM disk, from which a machine could tell that it got there"))
            }
            Some(files) => match unknown(&files) {
                Some(address) => Err(format!("`{address}` is an address that only the machine itself can complete")),
                None => Ok(files),
            },
        };
        let version = entry.version_script(platform).map(|(product, mut url)| {
            expand(&mut url);
            (url, version_script(product.as_str(), VERSION))
        });
        Self { name, platform, script: (entry.file(), script), fetched, files, version }
    }

    /// Returns the URL of its script in `network`.
    #[must_use]
    pub fn url(&self, network: &TestNetwork) -> String {
        format!("{}/{}", network.tree, self.script.0)
    }

    /// Returns why the entry cannot be tested in `network` with loaders that follow option 17.
    #[must_use]
    pub fn obstacle(&self, network: &TestNetwork) -> Option<String> {
        if let Err(reason) = &self.files {
            return Some(reason.clone());
        }
        let sent = (network.dhcp != DhcpSetup::Own && self.url(network) != network.boot).then_some(&network.boot)?;
        Some(format!("DHCP sends loaders to `{sent}`"))
    }

    /// Returns the URLs among the kernel's arguments that userland fetches. Plain HTTP only: it is unknown which
    /// certificates the real system trusts.
    pub fn for_userland(&self) -> impl Iterator<Item = &str> {
        let arguments = self.files.as_ref().map_or("", |files| files.arguments.as_str());
        let values = arguments.split(' ').filter_map(|word| Some(word.split_once('=')?.1));
        values.filter(|value| value.starts_with("http://"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::samples::entries;

    #[test]
    fn what_cannot_be_stood_in_for_says_why() {
        let text = "[boot.memtest]\nkind = \"linux\"\nkernel = \"http://a/memtest\"\n\
                    [boot.cluster]\nkind = \"matchbox\"\nserver = \"http://a\"\n";
        let reasons: Vec<String> = entries(text)
            .iter()
            .filter_map(|entry| TestedEntry::new(entry, Platform::EfiX64, Arc::from(&b""[..])).files.err())
            .collect();
        assert_eq!(
            reasons,
            [
                "`memtest` has no initial RAM disk, from which a machine could tell that it got there",
                "what `cluster` boots is decided by another server",
            ]
        );
    }

    #[test]
    fn userland_fetches_what_the_kernel_is_told_of() {
        let text = "[boot.a]\nkind = \"fedora-coreos\"\nmirror = \"http://a/m\"\nignition = \"http://a/c.ign?x=http://b\"\narguments = \"x=https://a/d\"\n";
        let entry = TestedEntry::new(&entries(text)[0], Platform::EfiX64, Arc::from(&b""[..]));
        let found: Vec<&str> = entry.for_userland().collect();
        assert_eq!(found, ["http://a/m/0.boot-test/rootfs.x86_64.img", "http://a/c.ign?x=http://b"]);
        assert_eq!(
            entry.version.unwrap(),
            ("http://a/m/current/version.ipxe".into(), "#!ipxe\nset fedora-coreos-version 0.boot-test\n".into())
        );
    }
}
