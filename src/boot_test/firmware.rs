//! The firmware of a machine.

use std::fmt;

use serde::Serialize;

use crate::loader::target::Platform;

/// The firmware of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// `SeaBIOS`, and the boot ROM of the network card.
    Bios,
    /// OVMF, with its own PXE client.
    Uefi,
}

impl Firmware {
    /// Returns the firmware that loaders for `platform` run on.
    #[must_use]
    pub fn of(platform: Platform) -> Self {
        match platform {
            Platform::Bios => Self::Bios,
            Platform::EfiX64 => Self::Uefi,
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
        })
    }
}
