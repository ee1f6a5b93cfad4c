//! Brings pinned inputs in, and lets nothing through that is not as pinned.
//!
//! [`http`] and [`git`] are the only modules that touch the network; both go through one TLS stack.

pub mod archive;
pub mod download;
pub mod git;
pub mod http;
pub mod ipxe;
pub mod syslinux;
mod transport;
