//! Brings pinned inputs in, and lets nothing through that is not as pinned.
//!
//! [`http`](crate::base::http) and [`git`] are the only modules that touch the network; both go through one TLS stack.

use crate::base::http::NetworkAccess;
use crate::base::url::Url;

pub mod archive;
pub mod download;
pub mod git;
mod git_fetch;
mod git_files;
pub mod git_helper;
mod git_stream;
mod git_tree;
pub mod ipxe;
pub mod origins;
pub mod source_bundle;
pub mod syslinux;
mod transport;

/// Reads what a git server may have sent as a list of refs, for fuzzing: gives how much of it is let through.
///
/// # Errors
///
/// Where that is more than any list may have, or no list.
#[cfg(fuzzing)]
pub fn read_refs(sent: &[u8], flushes: u8) -> std::io::Result<u64> {
    std::io::copy(&mut git_stream::LimitedPktReader::list(sent, flushes), &mut std::io::sink())
}

/// Where an input may come from.
#[derive(Clone, Copy)]
pub struct InputSource<'a> {
    /// The network, or none.
    pub network: &'a NetworkAccess,
    /// An address or a path that takes the place of the pin's own addresses.
    pub given: Option<&'a Url>,
}
