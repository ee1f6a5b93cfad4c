//! What is rehearsed.

use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::boot_test::network::TestNetwork;
use crate::config::network::Mac;
use crate::config::sites::Site;
use crate::loader::target::Loader;

/// What is rehearsed: a script, in the place of a loader, in a machine.
#[derive(Debug, Clone)]
pub struct Rehearsal<'s> {
    /// Its name: that of the site, and of the host if it is a known one.
    pub name: String,
    /// The site, for its configuration.
    pub site: &'s Site,
    /// The loader.
    pub loader: Loader,
    /// Its path in the tree.
    pub path: Utf8PathBuf,
    /// The script.
    pub script: Arc<[u8]>,
    /// The MAC address of the machine.
    pub mac: Mac,
    /// The network of the machine.
    pub network: TestNetwork,
}
