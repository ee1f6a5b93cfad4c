//! The one setting of `network.toml` that warnings about `sites.toml` depend on.

use std::net::Ipv4Addr;

use camino::Utf8Path;

use super::toml;
use crate::base::fs;

/// Returns the TFTP server's address if `file` exists and contains it. Other errors in the file are left to `network`.
///
/// # Errors
///
/// [`fs::Error`] if the file exists but cannot be read.
pub fn tftp_server(file: &Utf8Path) -> Result<Option<Ipv4Addr>, fs::Error> {
    let content = fs::read_text_if_exists(file)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    Ok(toml::string_of(&text, "tftp-server").and_then(|address| address.parse().ok()))
}
