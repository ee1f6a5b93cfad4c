//! The closed sets of available loaders and of what they run on.

use std::fmt;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::base::closed_set::closed_set;

/// A CPU architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// 32-bit x86.
    I386,
    /// 64-bit x86.
    #[serde(rename = "x86-64")]
    X86_64,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM.
    Arm32,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit `LoongArch`.
    Loong64,
}

impl Arch {
    /// Returns the value of iPXE's setting `buildarch` in loaders that are compiled for it.
    #[must_use]
    pub fn buildarch(self) -> &'static str {
        match self {
            Self::I386 => "i386",
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
            Self::Arm32 => "arm32",
            Self::Riscv64 => "riscv64",
            Self::Loong64 => "loong64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::X86_64 { "x86-64" } else { self.buildarch() })
    }
}

/// Ending of the folder that iPXE's makefile uses for loaders that may be signed for Secure Boot: it refuses to link
/// what has not been reviewed for that.
pub const SECURE_BOOT: &str = "-sb";

closed_set! {
    /// The platform of a loader: firmware and CPU. Each platform is built in its own source tree.
    pub enum Platform {
        /// PC BIOS.
        Bios = "bios",
        /// UEFI on x86-64.
        EfiX64 = "efi-x64",
        /// UEFI on 32-bit x86.
        EfiIa32 = "efi-ia32",
        /// UEFI on 64-bit ARM.
        EfiArm64 = "efi-arm64",
        /// UEFI on 32-bit ARM.
        EfiArm32 = "efi-arm32",
        /// UEFI on 64-bit RISC-V.
        EfiRiscv64 = "efi-riscv64",
        /// UEFI on 64-bit `LoongArch`.
        EfiLoong64 = "efi-loong64",
    }
}

impl Platform {
    /// Returns the architecture that loaders are compiled for. BIOS starts them in 16-bit mode, which counts as i386.
    #[must_use]
    pub fn arch(self) -> Arch {
        match self {
            Self::Bios | Self::EfiIa32 => Arch::I386,
            Self::EfiX64 => Arch::X86_64,
            Self::EfiArm64 => Arch::Arm64,
            Self::EfiArm32 => Arch::Arm32,
            Self::EfiRiscv64 => Arch::Riscv64,
            Self::EfiLoong64 => Arch::Loong64,
        }
    }

    /// Returns the architecture of the kernels that its machines boot: a PC with BIOS boots what a 64-bit one boots.
    #[must_use]
    pub fn kernel_arch(self) -> Arch {
        if self == Self::Bios { Arch::X86_64 } else { self.arch() }
    }

    /// Returns the platform of UEFI on `arch`.
    #[must_use]
    pub fn efi(arch: Arch) -> Self {
        match arch {
            Arch::I386 => Self::EfiIa32,
            Arch::X86_64 => Self::EfiX64,
            Arch::Arm64 => Self::EfiArm64,
            Arch::Arm32 => Self::EfiArm32,
            Arch::Riscv64 => Self::EfiRiscv64,
            Arch::Loong64 => Self::EfiLoong64,
        }
    }

    /// Returns the name of the firmware in `network.toml` and in reports; without a CPU, it is that of a PC.
    #[must_use]
    pub fn firmware(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::EfiX64 => "uefi",
            Self::EfiIa32 => "uefi-ia32",
            Self::EfiArm64 => "uefi-arm64",
            Self::EfiArm32 => "uefi-arm32",
            Self::EfiRiscv64 => "uefi-riscv64",
            Self::EfiLoong64 => "uefi-loong64",
        }
    }

    /// Describes the firmware in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::EfiX64 => "UEFI",
            Self::EfiIa32 => "UEFI for i386",
            Self::EfiArm64 => "UEFI for arm64",
            Self::EfiArm32 => "UEFI for arm32",
            Self::EfiRiscv64 => "UEFI for riscv64",
            Self::EfiLoong64 => "UEFI for loong64",
        }
    }

    /// Checks whether the loader contains the embedded script verbatim; BIOS loaders are packed.
    #[must_use]
    pub fn holds_script_verbatim(self) -> bool {
        self != Self::Bios
    }

    /// Returns the folder below `src/` that iPXE's makefile uses for this platform's output.
    #[must_use]
    pub fn bin_dir(self) -> &'static str {
        match self {
            Self::Bios => "bin",
            Self::EfiX64 => "bin-x86_64-efi",
            Self::EfiIa32 => "bin-i386-efi",
            Self::EfiArm64 => "bin-arm64-efi",
            Self::EfiArm32 => "bin-arm32-efi",
            Self::EfiRiscv64 => "bin-riscv64-efi",
            Self::EfiLoong64 => "bin-loong64-efi",
        }
    }

    /// Returns the folders in iPXE's `src/arch` that this platform is built from.
    #[must_use]
    pub fn arch_dirs(self) -> &'static [&'static str] {
        match self {
            Self::Bios | Self::EfiIa32 => &["x86", "i386"],
            Self::EfiX64 => &["x86", "x86_64"],
            Self::EfiArm64 => &["arm", "arm64"],
            Self::EfiArm32 => &["arm", "arm32"],
            Self::EfiRiscv64 => &["riscv", "riscv64"],
            Self::EfiLoong64 => &["loong64"],
        }
    }
}

closed_set! {
    /// An iPXE loader, identified by its path in the root of a tree. Loaders for other CPUs than x86-64 are in folders
    /// named as in iPXE's own releases.
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
        /// Like [`Loader::IpxePxe`], in the form of a Linux kernel, for boot media.
        IpxeLkrn = "ipxe.lkrn",
        /// Like [`Loader::IpxeLegacyPxe`], in the form of a Linux kernel, for boot media.
        IpxeLegacyLkrn = "ipxe-legacy.lkrn",
        /// Like [`Loader::IpxeEfi`], for 32-bit x86.
        I386IpxeEfi = "i386/ipxe.efi",
        /// Like [`Loader::SnponlyEfi`], for 32-bit x86.
        I386SnponlyEfi = "i386/snponly.efi",
        /// Like [`Loader::IpxeLegacyEfi`], for 32-bit x86.
        I386IpxeLegacyEfi = "i386/ipxe-legacy.efi",
        /// Like [`Loader::IpxeEfi`], for 64-bit ARM.
        Arm64IpxeEfi = "arm64/ipxe.efi",
        /// Like [`Loader::SnponlyEfi`], for 64-bit ARM.
        Arm64SnponlyEfi = "arm64/snponly.efi",
        /// Like [`Loader::IpxeLegacyEfi`], for 64-bit ARM.
        Arm64IpxeLegacyEfi = "arm64/ipxe-legacy.efi",
        /// Like [`Loader::IpxeEfi`], for 32-bit ARM.
        Arm32IpxeEfi = "arm32/ipxe.efi",
        /// Like [`Loader::SnponlyEfi`], for 32-bit ARM.
        Arm32SnponlyEfi = "arm32/snponly.efi",
        /// Like [`Loader::IpxeLegacyEfi`], for 32-bit ARM.
        Arm32IpxeLegacyEfi = "arm32/ipxe-legacy.efi",
        /// Like [`Loader::IpxeEfi`], for 64-bit RISC-V.
        Riscv64IpxeEfi = "riscv64/ipxe.efi",
        /// Like [`Loader::SnponlyEfi`], for 64-bit RISC-V.
        Riscv64SnponlyEfi = "riscv64/snponly.efi",
        /// Like [`Loader::IpxeLegacyEfi`], for 64-bit RISC-V.
        Riscv64IpxeLegacyEfi = "riscv64/ipxe-legacy.efi",
        /// Like [`Loader::IpxeEfi`], for 64-bit `LoongArch`.
        Loong64IpxeEfi = "loong64/ipxe.efi",
        /// Like [`Loader::SnponlyEfi`], for 64-bit `LoongArch`.
        Loong64SnponlyEfi = "loong64/snponly.efi",
        /// Like [`Loader::IpxeLegacyEfi`], for 64-bit `LoongArch`.
        Loong64IpxeLegacyEfi = "loong64/ipxe-legacy.efi",
    }
}

/// The drivers that a loader has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverSet {
    /// All of iPXE's own.
    All,
    /// All of iPXE's own but those for USB network cards.
    AllButUsb,
    /// The network card's own, or the firmware's.
    Firmware,
}

impl Loader {
    /// Finds the loader called `name` that machines can load over the network.
    ///
    /// # Errors
    ///
    /// Returns a message and a remedy.
    pub fn named(name: &str) -> Result<Self, (String, String)> {
        name.parse().ok().filter(|loader: &Self| !loader.is_kernel()).ok_or_else(|| {
            let listed = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
            let ours = |it: &&Self| it.folder().is_empty() && !it.is_kernel();
            let all = listed(&mut Self::ALL.iter().filter(ours).map(|it| format!("`{it}`")));
            let mut folders: Vec<&str> = Self::ALL.iter().map(|it| it.folder()).filter(|it| !it.is_empty()).collect();
            folders.dedup();
            let folders = listed(&mut folders.iter().map(|folder| format!("`{folder}/`")));
            let help = format!("choose from {all}; the UEFI loaders for other CPUs begin with {folders}");
            (format!("found `{name}`, wanted the name of an iPXE loader"), help)
        })
    }

    /// Finds the loader that the make target `target` builds, for Secure Boot or not.
    #[must_use]
    pub fn of_target(target: &str) -> Option<Self> {
        let (folder, file) = target.rsplit_once('/')?;
        let folder = folder.strip_suffix(SECURE_BOOT).unwrap_or(folder);
        Self::ALL.into_iter().find(|it| it.file_name() == file && it.platform().bin_dir() == folder)
    }

    /// Checks whether it has the form of a Linux kernel, which a boot loader on a disk starts.
    #[must_use]
    pub fn is_kernel(self) -> bool {
        matches!(self, Self::IpxeLkrn | Self::IpxeLegacyLkrn)
    }

    /// Returns the folder that it is in; empty for those in the root of the tree.
    fn folder(self) -> &'static str {
        self.as_str().split_once('/').map_or("", |(folder, _)| folder)
    }

    /// Returns the file name without folders, which loaders for different CPUs share.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// Returns the platform.
    #[must_use]
    pub fn platform(self) -> Platform {
        match self.folder() {
            "i386" => Platform::EfiIa32,
            "arm64" => Platform::EfiArm64,
            "arm32" => Platform::EfiArm32,
            "riscv64" => Platform::EfiRiscv64,
            "loong64" => Platform::EfiLoong64,
            _ if Utf8Path::new(self.as_str()).extension() == Some("efi") => Platform::EfiX64,
            _ => Platform::Bios,
        }
    }

    /// Returns the drivers.
    #[must_use]
    pub fn drivers(self) -> DriverSet {
        match self.file_name() {
            "undionly.kpxe" | "snponly.efi" => DriverSet::Firmware,
            "ipxe-legacy.pxe" | "ipxe-legacy.lkrn" | "ipxe-legacy.efi" => DriverSet::AllButUsb,
            _ => DriverSet::All,
        }
    }

    /// Returns the name of the make target in iPXE.
    #[must_use]
    pub fn target(self) -> String {
        format!("{}/{}", self.platform().bin_dir(), self.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_targets_are_what_make_knows() {
        for loader in Loader::ALL {
            assert_eq!(loader.as_str().parse(), Ok(loader));
            assert_eq!(Loader::of_target(&loader.target()), Some(loader));
        }
        assert_eq!(Loader::UndionlyKpxe.target(), "bin/undionly.kpxe");
        assert_eq!(Loader::SnponlyEfi.target(), "bin-x86_64-efi/snponly.efi");
        assert_eq!(Loader::Arm64IpxeEfi.target(), "bin-arm64-efi/ipxe.efi");
        assert_eq!(Loader::of_target("bin-arm64-efi-sb/ipxe.efi"), Some(Loader::Arm64IpxeEfi));
        assert_eq!(Loader::of_target("bin-arm64-efi-sb-sb/ipxe.efi"), None);
        assert!("ipxe.iso".parse::<Loader>().is_err());
    }

    #[test]
    fn a_loader_runs_on_the_platform_of_its_folder() {
        let of = |platform| Loader::ALL.into_iter().filter(|loader| loader.platform() == platform).collect::<Vec<_>>();
        let kernels = [Loader::IpxeLkrn, Loader::IpxeLegacyLkrn];
        let bios = [Loader::IpxePxe, Loader::UndionlyKpxe, Loader::IpxeLegacyPxe];
        assert_eq!(of(Platform::Bios), [&bios[..], &kernels].concat());
        assert_eq!(of(Platform::EfiX64), [Loader::IpxeEfi, Loader::IpxeLegacyEfi, Loader::SnponlyEfi]);
        for platform in Platform::ALL {
            let mut drivers =
                of(platform).into_iter().filter(|it| !it.is_kernel()).map(Loader::drivers).collect::<Vec<_>>();
            drivers.sort_by_key(|drivers| *drivers as u8);
            assert_eq!(drivers, [DriverSet::All, DriverSet::AllButUsb, DriverSet::Firmware], "{platform}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_exist() {
        assert!(Loader::named("ipxe.lkrn").unwrap_err().0.starts_with("found `ipxe.lkrn`, "));
        let (message, help) = Loader::named("aarch64/ipxe.efi").unwrap_err();
        assert!(!help.contains("lkrn"), "{help}");
        assert_eq!(message, "found `aarch64/ipxe.efi`, wanted the name of an iPXE loader");
        assert!(help.starts_with("choose from `ipxe.pxe`, `ipxe.efi`, ") && help.contains("`arm64/`"), "{help}");
    }
}
