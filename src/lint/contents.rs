//! What builds have, read from the lists of what is linked into their loaders.

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::Utf8PathBuf;
use netboot_script::{BuildContents, ScriptPlatform};

use crate::base::fs;
use crate::base::paths::{LINKED_FOR_SECURE_BOOT, ProjectPaths};
use crate::loader::linked_objects::{LinkedObjects, ObjectClass};
use crate::loader::target::{Loader, Platform};

/// The schemes of addresses, each with the source that brings it into a loader.
const SCHEMES: [(&str, &str); 15] = [
    ("http", "net/tcp/http"),
    ("https", "net/tcp/https"),
    ("tftp", "net/udp/tftp"),
    ("tftm", "net/udp/tftp"),
    ("mtftp", "net/udp/tftp"),
    ("ftp", "net/tcp/ftp"),
    ("nfs", "net/oncrpc/nfs_open"),
    ("x-slam", "net/udp/slam"),
    ("file", "interface/efi/efi_local"),
    ("data", "core/datauri"),
    ("iscsi", "net/tcp/iscsi"),
    ("aoe", "net/aoe"),
    ("fcp", "net/fcp"),
    ("ib_srp", "net/infiniband/ib_srp"),
    ("usb", "drivers/usb/usbblk"),
];

/// The build for Linux. It is no loader, so that only scripts for Linux are checked against it.
const LINUX: &str = "tap.linux";

/// A build that a script is checked against.
#[derive(Debug, Clone)]
pub struct LintBuild {
    /// The platform.
    pub platform: ScriptPlatform,
    /// What it has; `None` for what builds usually have.
    pub contents: Option<Arc<BuildContents>>,
}

impl LintBuild {
    /// Creates the build of a loader for `platform`, which messages call `name`, from the list of what is linked into it.
    #[must_use]
    pub fn of(name: impl Into<String>, platform: ScriptPlatform, linked: &LinkedObjects) -> Self {
        let sources: BTreeSet<&str> = ObjectClass::ALL.into_iter().flat_map(|class| linked.names(class)).collect();
        let schemes = SCHEMES.iter().filter(|(_, source)| sources.contains(source)).map(|(scheme, _)| *scheme);
        let of_images = |source: &&str| source.rsplit('/').nth(1) == Some("image");
        let images = sources.iter().filter(|source| of_images(source)).filter_map(|source| source.rsplit('/').next());
        let contents = BuildContents {
            name: name.into(),
            commands: linked.names(ObjectClass::Command).map(str::to_owned).collect(),
            schemes: schemes.map(str::to_owned).collect(),
            ipv6: sources.contains("net/ipv6"),
            images: images.map(str::to_owned).collect(),
        };
        Self { platform, contents: Some(Arc::new(contents)) }
    }

    /// Reads the builds of the configuration `config` that the baseline of `project` lists, as far as `wanted` includes
    /// their platform.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if a list cannot be read.
    pub fn of_config(project: &ProjectPaths, config: &str, wanted: ScriptPlatform) -> Result<Vec<Self>, fs::Error> {
        let folders = [(config.to_owned(), false), (format!("{config}{LINKED_FOR_SECURE_BOOT}"), true)];
        let mut builds: Vec<Self> = Vec::new();
        for (folder, secure) in folders {
            for loader in Loader::ALL {
                let platform = platform_of(loader.platform(), secure);
                let list = project.linked(&folder, loader.as_str());
                if (wanted != ScriptPlatform::Any && wanted != platform) || !list.is_file() {
                    continue;
                }
                let name = format!("`{}` of the configuration `{config}`", loader.as_str());
                builds.push(Self::of(name, platform, &LinkedObjects::read(&list)?));
            }
        }
        let list = project.linked(config, LINUX);
        if wanted == ScriptPlatform::Linux && list.is_file() {
            let name = format!("`{LINUX}` of the configuration `{config}`");
            builds.push(Self::of(name, ScriptPlatform::Linux, &LinkedObjects::read(&list)?));
        }
        Ok(builds)
    }

    /// Returns the configurations that the baseline of `project` has lists of.
    ///
    /// # Errors
    ///
    /// [`fs::Error`] if the folder of the lists cannot be read.
    pub fn configs(project: &ProjectPaths) -> Result<Vec<String>, fs::Error> {
        let folder: Utf8PathBuf = project.linked("x", "y").ancestors().nth(2).map(Into::into).unwrap_or_default();
        fs::exists(&folder)?;
        let names = fs::entries(&folder)?;
        Ok(names.iter().filter_map(|path| path.file_name()).map(str::to_owned).collect())
    }
}

/// Returns the platform of a script for loaders of `platform`, which are for Secure Boot if `secure`.
pub(super) fn platform_of(platform: Platform, secure: bool) -> ScriptPlatform {
    match platform {
        Platform::Bios => ScriptPlatform::Bios,
        _ if secure => ScriptPlatform::SecureBoot,
        _ => ScriptPlatform::Efi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netboot_script::BuildKind;
    use netboot_script::address::{IPV6, Scheme};

    /// The lists of the loaders with all drivers have what the tables of the script crate say.
    #[test]
    fn the_lists_say_what_the_tables_say() {
        let project = ProjectPaths::new(env!("CARGO_MANIFEST_DIR"));
        let builds = LintBuild::of_config(&project, "default", ScriptPlatform::Any).unwrap();
        let contents = || builds.iter().filter_map(|build| build.contents.as_ref());
        let of = |name: &str| contents().find(|contents| contents.name.starts_with(name)).unwrap();
        for (name, kind) in [("`ipxe.pxe`", BuildKind::Bios), ("`ipxe.efi`", BuildKind::EfiX86)] {
            let contents = of(name);
            for (scheme, _) in SCHEMES.iter().filter(|(scheme, _)| *scheme != "data") {
                let usual = Scheme::of(scheme).unwrap().availability.missing(kind).is_none();
                assert_eq!(contents.schemes.contains(*scheme), usual, "{name} {scheme}");
            }
            assert_eq!(contents.ipv6, IPV6.missing(kind).is_none());
        }
        assert!(of("`ipxe.efi`").images.contains("efi_image") && of("`ipxe.pxe`").images.contains("bzimage"));
        assert!(of("`undionly.kpxe`").commands.contains("chain"));
        let secure = LintBuild::of_config(&project, "default", ScriptPlatform::SecureBoot).unwrap();
        assert!(!secure.is_empty() && secure.iter().all(|build| build.platform == ScriptPlatform::SecureBoot));
        assert_eq!(LintBuild::configs(&project).unwrap(), ["default", "https"]);
    }
}
