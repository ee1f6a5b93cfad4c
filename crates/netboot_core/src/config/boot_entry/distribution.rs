//! The distributions with live systems that `mirror` knows.

use std::fmt::Write as _;

use crate::base::closed_set::closed_set;
use crate::base::paths::mirror::{ImageNames, version_variable};
use crate::config::network::address::WebAddress;

closed_set! {
    /// A distribution that `mirror` knows.
    pub enum Distribution {
        /// Fedora `CoreOS`.
        FedoraCoreos = "fedora-coreos",
        /// Flatcar Container Linux.
        Flatcar = "flatcar",
    }
}

impl Distribution {
    /// What its mirror calls its images. Loaders are for one processor, and so are these.
    pub(super) fn images(self) -> ImageNames {
        match self {
            Self::FedoraCoreos => ImageNames::fedora_coreos("x86_64"),
            Self::Flatcar => ImageNames::flatcar(),
        }
    }

    /// The variable in which its mirror says which set is in use.
    pub(super) fn version_variable(self) -> String {
        version_variable(self.as_str())
    }

    /// The arguments of its kernel, where its files are in the folder `set`.
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
