//! Fetches pinned inputs, and rejects everything that does not match its pin.
//!
//! [`http`](crate::base::http) and [`git`] are the only modules that use the network; both share one TLS stack.

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
pub mod ranges;
pub mod signed_set;
pub mod source_bundle;
pub mod syslinux;
mod transport;

/// Reads `sent` as a git server's list of refs, for fuzzing, and returns the number of bytes accepted.
///
/// # Errors
///
/// An error if the input exceeds the limits of a list of refs.
#[cfg(fuzzing)]
pub fn read_refs(sent: &[u8], flushes: u8) -> std::io::Result<u64> {
    std::io::copy(&mut git_stream::LimitedPktReader::list(sent, flushes), &mut std::io::sink())
}

/// Source of an input.
#[derive(Clone, Copy)]
pub struct InputSource<'a> {
    /// The network, or offline.
    pub network: &'a NetworkAccess,
    /// An address or a path that replaces the addresses in the pin.
    pub given: Option<&'a Url>,
}
