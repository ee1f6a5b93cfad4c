//! The closed set of available loaders.

use crate::base::closed_set::closed_set;

closed_set! {
    /// The platform of a loader. Each platform is built in its own source tree.
    pub enum Platform {
        /// PC BIOS.
        Bios = "bios",
        /// UEFI on x86-64.
        EfiX64 = "efi-x64",
    }
}

impl Platform {
    /// Checks whether the loader contains the embedded script verbatim; BIOS loaders are packed.
    #[must_use]
    pub fn holds_script_verbatim(self) -> bool {
        match self {
            Self::Bios => false,
            Self::EfiX64 => true,
        }
    }

    /// Returns the folder below `src/` that iPXE's makefile uses for this platform's output.
    #[must_use]
    pub fn bin_dir(self) -> &'static str {
        match self {
            Self::Bios => "bin",
            Self::EfiX64 => "bin-x86_64-efi",
        }
    }

    /// Returns the folders in iPXE's `src/arch` that this platform is built from.
    #[must_use]
    pub fn arch_dirs(self) -> [&'static str; 2] {
        match self {
            Self::Bios => ["x86", "i386"],
            Self::EfiX64 => ["x86", "x86_64"],
        }
    }
}

closed_set! {
    /// An iPXE loader, identified by its file name.
    pub enum Loader {
        /// BIOS, with all of iPXE's own network drivers.
        IpxePxe = "ipxe.pxe",
        /// UEFI, with all of iPXE's own network drivers.
        IpxeEfi = "ipxe.efi",
        /// BIOS, through the network card's own driver (UNDI).
        UndionlyKpxe = "undionly.kpxe",
        /// Like [`Loader::IpxePxe`], without USB network drivers, which can disable the USB keyboard.
        IpxeLegacyPxe = "ipxe-legacy.pxe",
        /// Like [`Loader::IpxeEfi`], without USB network drivers.
        IpxeLegacyEfi = "ipxe-legacy.efi",
        /// UEFI, through the firmware's own network driver (SNP), on the card that it was loaded from.
        SnponlyEfi = "snponly.efi",
    }
}

impl Loader {
    /// Finds the loader called `name`.
    ///
    /// # Errors
    ///
    /// Returns a message and a remedy.
    pub fn named(name: &str) -> Result<Self, (String, String)> {
        name.parse().map_err(|_| {
            let all = Self::ALL.map(|loader| format!("`{loader}`")).join(", ");
            (format!("found `{name}`, wanted the name of an iPXE loader"), format!("choose from {all}"))
        })
    }

    /// Returns the platform.
    #[must_use]
    pub fn platform(self) -> Platform {
        match self {
            Self::IpxePxe | Self::UndionlyKpxe | Self::IpxeLegacyPxe => Platform::Bios,
            Self::IpxeEfi | Self::IpxeLegacyEfi | Self::SnponlyEfi => Platform::EfiX64,
        }
    }

    /// Returns the name of the make target in iPXE.
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
