//! The one line of `network.toml` that warnings about `sites.toml` depend on.

use std::net::Ipv4Addr;

use camino::Utf8Path;

use super::toml;
use crate::base::fs;

/// The TFTP server's address, where `file` is there and says it; what is wrong with the file is left to
/// `network`.
///
/// # Errors
///
/// [`fs::Error`] where it is there, and cannot be read.
pub fn tftp_server(file: &Utf8Path) -> Result<Option<Ipv4Addr>, fs::Error> {
    let content = fs::read_text_if_exists(file)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    Ok(toml::string_of(&text, "tftp-server").and_then(|address| address.parse().ok()))
}
