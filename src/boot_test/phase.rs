//! The stages of a boot.

use serde::Serialize;

/// A stage of a boot, reached once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The machine has an address.
    Address,
    /// The loader was fetched.
    Loader,
    /// The script or the pxelinux configuration was fetched.
    Script,
    /// The kernel was fetched.
    Kernel,
    /// The initramfs was fetched.
    Initrd,
    /// Userland has said the nonce.
    Userland,
    /// Linux has switched the machine off.
    Off,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Address, Self::Loader, Self::Script, Self::Kernel, Self::Initrd, Self::Userland, Self::Off];

    /// In words, what was just done.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Address => "the machine got an address",
            Self::Loader => "the loader was fetched",
            Self::Script => "the boot script was fetched",
            Self::Kernel => "the kernel was fetched",
            Self::Initrd => "the initramfs was fetched",
            Self::Userland => "userland was reached",
            Self::Off => "the machine was switched off",
        }
    }
}
