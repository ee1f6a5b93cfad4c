//! Boot media: images from which machines start iPXE without a network boot.

use super::file_kind::FileKind;
use super::target::{DriverSet, Loader, Platform};
use crate::base::closed_set::closed_set;

closed_set! {
    /// A kind of boot medium.
    pub enum Medium {
        /// A CD. UEFI also boots it from a USB stick.
        Iso = "iso",
        /// A USB stick or another disk.
        Usb = "usb",
        /// Files for a machine's own EFI system partition.
        Esp = "esp",
    }
}

impl Medium {
    /// Returns the name of its file in a tree.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Iso => "ipxe.iso",
            Self::Usb => "ipxe.usb",
            Self::Esp => "ipxe-esp.zip",
        }
    }

    /// Returns the kind of its file.
    #[must_use]
    pub fn file_kind(self) -> FileKind {
        match self {
            Self::Iso => FileKind::IsoImage,
            Self::Usb => FileKind::DiskImage,
            Self::Esp => FileKind::ZipArchive,
        }
    }

    /// Returns the names of the pinned syslinux files that it is made with.
    #[must_use]
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Self::Iso => &["isolinux.bin", "ldlinux.c32"],
            Self::Usb => &["mbr.bin"],
            Self::Esp => &[],
        }
    }

    /// Returns the loaders on a medium for the machines that boot `loaders`: one for each platform, with iPXE's own
    /// network drivers, since firmware lends its driver only to a loader that came over the network. An EFI system
    /// partition is nothing to a BIOS.
    #[must_use]
    pub fn parts(self, loaders: &[Loader]) -> Vec<Loader> {
        let on = |platform: Platform| loaders.iter().filter(move |loader| loader.platform() == platform);
        let part = |platform| {
            let legacy = on(platform).any(|it| it.drivers() == DriverSet::AllButUsb)
                && !on(platform).any(|it| it.drivers() == DriverSet::All);
            let drivers = if legacy { DriverSet::AllButUsb } else { DriverSet::All };
            let fits = |it: &Loader| it.platform() == platform && it.drivers() == drivers;
            Loader::ALL.into_iter().find(|it| fits(it) && it.is_kernel() == (platform == Platform::Bios))
        };
        let platforms = Platform::ALL.into_iter().filter(|platform| on(*platform).next().is_some());
        platforms.filter(|platform| self != Self::Esp || *platform != Platform::Bios).filter_map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_boots_the_machines_that_the_loaders_are_for() {
        let all = [Loader::UndionlyKpxe, Loader::SnponlyEfi, Loader::Arm64SnponlyEfi, Loader::Arm64IpxeEfi];
        assert_eq!(Medium::Iso.parts(&all), [Loader::IpxeLkrn, Loader::IpxeEfi, Loader::Arm64IpxeEfi]);
        assert_eq!(Medium::Usb.parts(&all), Medium::Iso.parts(&all));
        assert_eq!(Medium::Esp.parts(&all), [Loader::IpxeEfi, Loader::Arm64IpxeEfi]);
        assert_eq!(Medium::Esp.parts(&[Loader::IpxePxe]), []);
        assert_eq!(Medium::Iso.parts(&[Loader::IpxePxe, Loader::IpxeLegacyPxe]), [Loader::IpxeLkrn]);
    }

    #[test]
    fn who_has_the_legacy_loader_alone_gets_it_on_media() {
        let legacy = [Loader::IpxeLegacyPxe, Loader::UndionlyKpxe, Loader::IpxeLegacyEfi];
        assert_eq!(Medium::Iso.parts(&legacy), [Loader::IpxeLegacyLkrn, Loader::IpxeLegacyEfi]);
    }
}
