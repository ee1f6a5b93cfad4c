//! Why no DHCP server runs.

use crate::base::quote::Unquotable;
use crate::base::{fs, process};

/// Something was given that is no configuration of Kea's.
#[derive(Debug, thiserror::Error)]
#[error("the configuration of Kea is no JSON with `Dhcp4`: {0}\nhint: `kea-dhcp4 -t FILE` says more")]
pub struct NotConfiguration(pub(super) String);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// The configuration that was given is not one.
    #[error(transparent)]
    Configuration(#[from] NotConfiguration),
    /// The loader has a name that no configuration can hold.
    #[error("the tree has a loader that no DHCP server can offer: {0}\nhint: build the tree anew")]
    Name(#[from] Unquotable),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}
