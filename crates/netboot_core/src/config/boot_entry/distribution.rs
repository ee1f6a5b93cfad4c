//! Distributions with live systems that `mirror` supports.

use std::fmt::Write as _;

use crate::base::closed_set::closed_set;
use crate::base::paths::mirror::{ImageNames, version_variable};
use crate::config::network::address::WebAddress;

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
    /// Returns the names of the images in the mirror. Loaders support a single CPU architecture, and so do these.
    pub(super) fn images(self) -> ImageNames {
        match self {
            Self::FedoraCoreos => ImageNames::fedora_coreos("x86_64"),
            Self::Flatcar => ImageNames::flatcar(),
        }
    }

    /// Returns the name of the variable in which the mirror names its current set.
    pub(super) fn version_variable(self) -> String {
        version_variable(self.as_str())
    }

    /// Returns the kernel arguments for images in the folder `set`.
    pub(super) fn arguments(self, set: &str, ignition: Option<&WebAddress>) -> String {
        let mut arguments =
            self.images().rootfs.map(|name| format!("coreos.live.rootfs_url={set}/{name}")).unwrap_or_default();
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
