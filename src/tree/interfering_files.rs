//! Files that do not belong to a tree, but change how its loaders boot.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::manifest::Manifest;
use crate::base::diagnostic::Diagnostic;
use crate::base::paths;
use crate::loader::file_kind::FileKind;
use crate::printable::printable;

/// A file that changes how machines boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterferingFile {
    path: Utf8PathBuf,
    effect: Effect,
}

/// Effect of an interfering file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// iPXE 2.0.0 downloads the file when it starts in UEFI, and keeps it, whatever script is embedded.
    Initrd,
    /// PXELINUX looks for the file before it looks for the default configuration.
    PxelinuxConfig,
}

impl InterferingFile {
    /// Returns the warning about the file.
    #[must_use]
    pub fn warning(&self) -> Diagnostic {
        let path = printable(&self.path);
        match self.effect {
            Effect::Initrd => Diagnostic::new(format!(
                "`{path}` is not of this tree: iPXE downloads it when it starts in UEFI, and kernels that it boots get it \
                 as a part of their initrd"
            ))
            .help("move it away"),
            Effect::PxelinuxConfig => Diagnostic::new(format!(
                "`{path}` is not of this tree: PXELINUX reads it instead of `{}` on the machines that it is named after",
                paths::PXELINUX_DEFAULT
            ))
            .help("move it away if these machines should boot as the others do"),
        }
    }
}

/// Returns where the loaders of `manifest` look for an `autoexec.ipxe`: in their own folder, then in the root.
#[must_use]
pub fn autoexec_paths(manifest: &Manifest) -> Vec<Utf8PathBuf> {
    let loaders = manifest.files.iter().filter(|file| file.kind == FileKind::EfiApplication && file.ipxe.is_some());
    let folders: BTreeSet<&Utf8Path> =
        loaders.flat_map(|file| [file.path.parent().unwrap_or(Utf8Path::new("")), Utf8Path::new("")]).collect();
    let own: BTreeSet<&Utf8Path> = manifest.files.iter().map(|file| &*file.path).collect();
    // The script beside a signed set belongs to the tree.
    folders.into_iter().map(|folder| folder.join(paths::AUTOEXEC)).filter(|path| !own.contains(&**path)).collect()
}

impl InterferingFile {
    /// Returns the interfering file for the `autoexec.ipxe` at one of [`autoexec_paths`].
    #[must_use]
    pub fn autoexec(path: Utf8PathBuf) -> Self {
        Self { path, effect: Effect::Initrd }
    }

    /// Returns those of `others` that change how the loaders of `manifest` boot.
    #[must_use]
    pub fn among<'p>(others: impl Iterator<Item = &'p Utf8PathBuf>, manifest: &Manifest) -> Vec<Self> {
        let autoexec = autoexec_paths(manifest);
        let default = Utf8Path::new(paths::PXELINUX_DEFAULT);
        let has_default = manifest.files.iter().any(|file| file.path == default);
        let effect = |path: &Utf8PathBuf| {
            if autoexec.contains(path) {
                Some(Effect::Initrd)
            } else if has_default && path.parent() == default.parent() && is_per_host_config(path) {
                Some(Effect::PxelinuxConfig)
            } else {
                None
            }
        };
        others.filter_map(|path| Some(Self { path: path.clone(), effect: effect(path)? })).collect()
    }
}

/// Checks whether PXELINUX requests the configuration of a machine by this name: its UUID, its hardware address, or the
/// beginning of its IPv4 address.
fn is_per_host_config(path: &Utf8Path) -> bool {
    path.file_name().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_uuid_hardware_address_or_address() {
        for name in ["01-52-54-00-12-34-56", "C0A80001", "C0A8", "b8945908-d6a6-41a9-611d-74a6ab80b83d"] {
            assert!(is_per_host_config(name.into()), "{name}");
        }
        for name in ["default", "default.bak", "menu.cfg", "graphics.conf", "README"] {
            assert!(!is_per_host_config(name.into()), "{name}");
        }
    }
}
