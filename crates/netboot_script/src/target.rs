//! What a script has to work with: the platform, the version of iPXE, and what a certain build has.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::commands::{BuildKind, IpxeRelease};

/// What a script has to work with.
#[derive(Debug, Clone, Default)]
pub struct LintTarget {
    /// The platform.
    pub platform: ScriptPlatform,
    /// The version of iPXE.
    pub ipxe: IpxeRelease,
    /// What a certain build has; `None` for what builds usually have.
    pub available: Option<Arc<BuildContents>>,
}

/// Commands and schemes that no build for Secure Boot has: its drivers for InfiniBand and wireless cards are left out.
const NOT_FOR_SECURE_BOOT: [&str; 4] = ["ib_srp", "ibstat", "iwlist", "iwstat"];

/// Commands and schemes that a build for Linux such as `tap.linux` lacks: it has neither the drivers for cards and USB, nor
/// a way to turn the machine off, nor one to the files of EFI.
const NOT_FOR_LINUX: [&str; 11] =
    ["fcp", "file", "ib_srp", "ibstat", "iwlist", "iwstat", "pciscan", "poweroff", "reboot", "usb", "usbscan"];

/// The platform that a script is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScriptPlatform {
    /// Any of them.
    #[default]
    Any,
    /// BIOS.
    Bios,
    /// UEFI.
    Efi,
    /// UEFI with Secure Boot.
    SecureBoot,
    /// A process of Linux.
    Linux,
}

/// What a certain build has.
#[derive(Debug, Clone, Default)]
pub struct BuildContents {
    /// The name of the build, as a message shows it.
    pub name: String,
    /// Its commands.
    pub commands: BTreeSet<String>,
    /// The schemes of addresses that it fetches from.
    pub schemes: BTreeSet<String>,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// The kinds of images that it executes, by the source of each, such as `efi_image`.
    pub images: BTreeSet<String>,
}

impl ScriptPlatform {
    /// Returns the kind of build that the platform has by default.
    #[must_use]
    pub const fn build(self) -> Option<BuildKind> {
        match self {
            Self::Bios => Some(BuildKind::Bios),
            Self::Efi | Self::SecureBoot => Some(BuildKind::EfiX86),
            Self::Linux => Some(BuildKind::Linux),
            Self::Any => None,
        }
    }

    /// Checks whether builds for the platform lack the command or scheme `name` because they have no driver that needs
    /// it, or because the platform has no such thing.
    #[must_use]
    pub fn lacks_driver_of(self, name: &str) -> bool {
        match self {
            Self::SecureBoot => NOT_FOR_SECURE_BOOT.contains(&name),
            Self::Linux => NOT_FOR_LINUX.contains(&name),
            Self::Any | Self::Bios | Self::Efi => false,
        }
    }

    /// Returns the kind of its builds, as messages name it.
    #[must_use]
    pub const fn builds(self) -> &'static str {
        match self {
            Self::Any => "a build",
            Self::Bios => "a BIOS build",
            Self::Efi => "a UEFI build",
            Self::SecureBoot => "a build for Secure Boot",
            Self::Linux => "a build for Linux",
        }
    }

    /// Checks whether a kernel can be an EFI application there.
    #[must_use]
    pub const fn can_be_efi(self) -> bool {
        matches!(self, Self::Any | Self::Efi | Self::SecureBoot)
    }
}
