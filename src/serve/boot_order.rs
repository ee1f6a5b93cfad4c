//! Boot order of the machines that the network does not name, from their firmware to the kernel, as far as a tree
//! decides it. It knows the order, and nothing of how a page draws it.

use crate::config::sites::Sites;
use crate::loader::target::{DriverSet, Loader, Platform};
use crate::serve::boot_policy::{CLIENT_ARCHITECTURES, ClientArchitecture, root_loader, root_script_asks};

/// Boot order of the machines that the network does not name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootOrder {
    /// Answers to the firmware; none for firmware that gets no loader.
    pub answers: Vec<FirmwareAnswer>,
    /// Whether the script of the iPXE loaders follows option 17.
    pub asks: bool,
    /// Name of the first boot entry's script, and how many there are.
    pub scripts: Option<(String, usize)>,
    /// Whether the tree has a configuration for syslinux.
    pub configured: bool,
    /// Whether the root has a loader without USB network drivers.
    pub legacy: bool,
}

/// Answer of DHCP to one kind of firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareAnswer {
    /// Platform of its loaders.
    pub platform: Platform,
    /// Whether it fetches the loader over HTTP.
    pub http: bool,
    /// Its values of option 93.
    pub codes: Vec<u16>,
    /// Path of its loader.
    pub loader: String,
    /// Loader for cards whose own driver works better.
    pub other: Option<Loader>,
}

impl FirmwareAnswer {
    /// Checks whether the loader is iPXE; the others are syslinux.
    #[must_use]
    pub fn is_ipxe(&self) -> bool {
        self.loader.parse::<Loader>().is_ok()
    }
}

impl BootOrder {
    /// Determines the boot order of the tree that `sites` describes.
    #[must_use]
    pub fn new(sites: &Sites) -> Self {
        let loaders = sites.default.as_ref().map_or(&[][..], |site| &site.loaders[..]);
        let mut answers: Vec<FirmwareAnswer> = Vec::new();
        for ClientArchitecture { code, platform, http, .. } in &CLIENT_ARCHITECTURES {
            let (code, platform, http) = (*code, *platform, *http);
            let Some(loader) = root_loader(sites, platform) else { continue };
            match answers.iter_mut().find(|answer| (answer.platform, answer.http) == (platform, http)) {
                Some(answer) => answer.codes.push(code),
                None => answers.push(FirmwareAnswer {
                    platform,
                    http,
                    codes: vec![code],
                    other: by_card(platform, loaders).filter(|other| loader != other.as_str()),
                    loader: loader.into(),
                }),
            }
        }
        Self {
            answers,
            asks: root_script_asks(sites),
            scripts: sites.boot.first().map(|entry| (entry.file(), sites.boot.len())),
            configured: sites.pxelinux_config.is_some(),
            legacy: loaders.iter().any(|loader| loader.drivers() == DriverSet::AllButUsb),
        }
    }
}

/// Returns the one of `loaders` that uses the driver of the card or of the firmware.
fn by_card(platform: Platform, loaders: &[Loader]) -> Option<Loader> {
    loaders.iter().copied().find(|loader| loader.platform() == platform && loader.drivers() == DriverSet::Firmware)
}
