//! Distributions with live systems that `mirror` supports.

use std::fmt::Write as _;

use crate::base::closed_set::closed_set;
use crate::base::paths::mirror::{ImageNames, version_variable};
use crate::config::network::address::WebAddress;
use crate::loader::target::Arch;

closed_set! {
    /// A distribution that `mirror` supports.
    pub enum Distribution {
        /// Fedora `CoreOS`.
        FedoraCoreos = "fedora-coreos",
        /// Flatcar Container Linux.
        Flatcar = "flatcar",
    }
}

impl Distribution {
    /// Returns the publisher's name of `arch`, if the distribution supports it on machines that boot over the network.
    pub(super) fn cpu(self, arch: Arch) -> Option<&'static str> {
        match (self, arch) {
            (Self::FedoraCoreos, Arch::X86_64) => Some("x86_64"),
            (Self::FedoraCoreos, Arch::Arm64) => Some("aarch64"),
            (Self::Flatcar, Arch::X86_64) => Some("amd64"),
            (Self::Flatcar, Arch::Arm64) => Some("arm64"),
            _ => None,
        }
    }

    /// Returns the names of the images for `arch` in their mirror.
    pub(super) fn images(self, arch: Arch) -> ImageNames {
        match self {
            Self::FedoraCoreos => ImageNames::fedora_coreos(self.cpu(arch).unwrap_or_default()),
            Self::Flatcar => ImageNames::flatcar(),
        }
    }

    /// Returns the name of the variable in which the mirror names its current set.
    pub(super) fn version_variable(self) -> String {
        version_variable(self.as_str())
    }

    /// Returns the kernel arguments for images for `arch` in the folder `set`.
    pub(super) fn arguments(self, set: &str, arch: Arch, ignition: Option<&WebAddress>) -> String {
        let mut arguments =
            self.images(arch).rootfs.map(|name| format!("coreos.live.rootfs_url={set}/{name}")).unwrap_or_default();
        let first_boot = match self {
            Self::FedoraCoreos => "ignition.firstboot ignition.platform.id=metal",
            Self::Flatcar => "flatcar.first_boot=1",
        };
        if let Some(address) = ignition {
            let _ = write!(arguments, " {first_boot} ignition.config.url={address}");
        }
        arguments.trim_start().to_owned()
    }
}
