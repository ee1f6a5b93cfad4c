//! The loaders that can be asked for: a closed set.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// What a loader runs on. Each platform is built in a source tree of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// PC BIOS.
    Bios,
    /// UEFI on x86-64.
    EfiX64,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Bios, Self::EfiX64];

    /// The name used for folders and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::EfiX64 => "efi-x64",
        }
    }

    /// Whether the embedded script stands in the loader as it is; BIOS loaders are packed.
    #[must_use]
    pub fn holds_script_verbatim(self) -> bool {
        match self {
            Self::Bios => false,
            Self::EfiX64 => true,
        }
    }

    /// The folder, below `src/`, that iPXE's make puts this platform's output in.
    #[must_use]
    pub fn bin_dir(self) -> &'static str {
        match self {
            Self::Bios => "bin",
            Self::EfiX64 => "bin-x86_64-efi",
        }
    }

    /// The folders in iPXE's `src/arch` that this platform is built from.
    #[must_use]
    pub fn arch_dirs(self) -> [&'static str; 2] {
        match self {
            Self::Bios => ["x86", "i386"],
            Self::EfiX64 => ["x86", "x86_64"],
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An iPXE loader, named as its file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loader {
    /// BIOS, with all of iPXE's own network drivers.
    IpxePxe,
    /// UEFI, with all of iPXE's own network drivers.
    IpxeEfi,
    /// BIOS, through the network card's own driver (UNDI).
    UndionlyKpxe,
    /// As [`Loader::IpxePxe`] without USB network drivers, which can take the USB keyboard away.
    IpxeLegacyPxe,
    /// As [`Loader::IpxeEfi`] without USB network drivers.
    IpxeLegacyEfi,
    /// UEFI, through the firmware's own network driver (SNP), on the card that it was loaded from.
    SnponlyEfi,
}

impl Loader {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::IpxePxe, Self::IpxeEfi, Self::UndionlyKpxe, Self::IpxeLegacyPxe, Self::IpxeLegacyEfi, Self::SnponlyEfi];

    /// The file name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IpxePxe => "ipxe.pxe",
            Self::IpxeEfi => "ipxe.efi",
            Self::UndionlyKpxe => "undionly.kpxe",
            Self::IpxeLegacyPxe => "ipxe-legacy.pxe",
            Self::IpxeLegacyEfi => "ipxe-legacy.efi",
            Self::SnponlyEfi => "snponly.efi",
        }
    }

    /// What it runs on.
    #[must_use]
    pub fn platform(self) -> Platform {
        match self {
            Self::IpxePxe | Self::UndionlyKpxe | Self::IpxeLegacyPxe => Platform::Bios,
            Self::IpxeEfi | Self::IpxeLegacyEfi | Self::SnponlyEfi => Platform::EfiX64,
        }
    }

    /// What iPXE's make calls it.
    #[must_use]
    pub fn target(self) -> String {
        format!("{}/{}", self.platform().bin_dir(), self.as_str())
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Loader {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Loader {
    type Err = UnknownLoader;

    fn from_str(text: &str) -> Result<Self, UnknownLoader> {
        Self::ALL.into_iter().find(|loader| loader.as_str() == text).ok_or_else(|| UnknownLoader(text.to_owned()))
    }
}

/// A name that is no loader's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("found `{0}`, wanted the name of an iPXE loader")]
pub struct UnknownLoader(String);

impl UnknownLoader {
    /// What could have been meant.
    #[must_use]
    pub fn remedy() -> String {
        format!("choose from {}", Loader::ALL.map(|loader| format!("`{loader}`")).join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_targets_are_what_make_knows() {
        for loader in Loader::ALL {
            assert_eq!(loader.as_str().parse(), Ok(loader));
        }
        assert_eq!(Loader::UndionlyKpxe.target(), "bin/undionly.kpxe");
        assert_eq!(Loader::SnponlyEfi.target(), "bin-x86_64-efi/snponly.efi");
        assert!("ipxe.iso".parse::<Loader>().is_err());
    }
}
