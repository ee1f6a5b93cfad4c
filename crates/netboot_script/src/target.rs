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
            Self::Any | Self::Linux => None,
        }
    }

    /// Checks whether a kernel can be an EFI application there.
    #[must_use]
    pub const fn can_be_efi(self) -> bool {
        matches!(self, Self::Any | Self::Efi | Self::SecureBoot)
    }
}
