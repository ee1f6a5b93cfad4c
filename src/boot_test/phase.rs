//! Phases of a boot.

use crate::base::closed_set::closed_set;

closed_set! {
    /// A phase of a boot; each is reached once.
    pub enum Phase {
        /// The machine has an address.
        Address = "address",
        /// The loader was fetched.
        Loader = "loader",
        /// The script or the pxelinux configuration was fetched.
        Script = "script",
        /// The kernel was fetched.
        Kernel = "kernel",
        /// The initramfs was fetched.
        Initrd = "initrd",
        /// Userland has printed the nonce.
        Userland = "userland",
        /// Linux has powered the machine off.
        Off = "off",
    }
}

impl Phase {
    /// Describes what has just happened.
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
