//! The loaders that can be asked for: a closed set.

use crate::base::closed_set::closed_set;

closed_set! {
    /// What a loader runs on. Each platform is built in a source tree of its own.
    pub enum Platform {
        /// PC BIOS.
        Bios = "bios",
        /// UEFI on x86-64.
        EfiX64 = "efi-x64",
    }
}

impl Platform {
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

closed_set! {
    /// An iPXE loader, named as its file is.
    pub enum Loader {
        /// BIOS, with all of iPXE's own network drivers.
        IpxePxe = "ipxe.pxe",
        /// UEFI, with all of iPXE's own network drivers.
        IpxeEfi = "ipxe.efi",
        /// BIOS, through the network card's own driver (UNDI).
        UndionlyKpxe = "undionly.kpxe",
        /// As [`Loader::IpxePxe`] without USB network drivers, which can take the USB keyboard away.
        IpxeLegacyPxe = "ipxe-legacy.pxe",
        /// As [`Loader::IpxeEfi`] without USB network drivers.
        IpxeLegacyEfi = "ipxe-legacy.efi",
        /// UEFI, through the firmware's own network driver (SNP), on the card that it was loaded from.
        SnponlyEfi = "snponly.efi",
    }
}

impl Loader {
    /// The loader called `name`.
    ///
    /// # Errors
    ///
    /// What was found and what was wanted, and what to do about it.
    pub fn named(name: &str) -> Result<Self, (String, String)> {
        name.parse().map_err(|_| {
            let all = Self::ALL.map(|loader| format!("`{loader}`")).join(", ");
            (format!("found `{name}`, wanted the name of an iPXE loader"), format!("choose from {all}"))
        })
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
