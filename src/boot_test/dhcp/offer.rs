//! What machines are told, and where what they are told of stands.

use camino::Utf8PathBuf;

/// The folder that TFTP serves, in the folder that the server works in. All its paths are relative to that, or go
/// through the kernel's name for it: no character in a path can then have a meaning of its own in the
/// configuration or the log.
pub const SERVED: &str = "tftp";

/// What machines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Option 67, a path in the TFTP folder.
    pub loader: Utf8PathBuf,
    /// Option 17 from the beginning.
    pub root_path: Option<String>,
    /// Option 17 in the network of a second card, where the machine has one.
    pub second_nic_root_path: Option<Option<String>>,
}
