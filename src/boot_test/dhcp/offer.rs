//! DHCP options for machines, and the TFTP folder that they refer to.

use crate::boot_test::case::BootSource;

/// TFTP root, in the server's working directory. All paths are relative to that directory, or go through the kernel's
/// name for it (`/proc/self/cwd`), so no character of a path has a special meaning in the configuration or the log.
pub const SERVED: &str = "tftp";

/// DHCP options for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Option 67: the loader's path in the TFTP folder, or its URL for HTTP Boot.
    pub loader: String,
    /// How firmware is meant to fetch it.
    pub boot_source: BootSource,
    /// Option 17 from the start.
    pub root_path: Option<String>,
    /// Option 17 in the network of a second card; `None` if the machine has one card only.
    pub second_nic_root_path: Option<Option<String>>,
    /// Services that do not answer.
    pub dead: DeadServices,
}

/// Services beside DHCP's options that do not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadServices {
    /// DHCP.
    pub dhcp: bool,
    /// DNS.
    pub dns: bool,
    /// TFTP.
    pub tftp: bool,
}
